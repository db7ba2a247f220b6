"""Works with Salt only."""

from omserver_master import ShellModule


class Modulehandle(ShellModule):
    repeat = "read_only"
    engines = ("salt",)
    command = "true"
