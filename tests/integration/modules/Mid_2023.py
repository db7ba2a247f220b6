"""Works on this machine only."""

from omserver_master import ShellModule


class Modulehandle(ShellModule):
    repeat = "read_only"
    engines = ("local",)
    command = "true"
