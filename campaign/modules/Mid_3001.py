"""Say a token, take a while; doing it again: read_only."""

from omserver_master import Number, ShellModule, Text


class Modulehandle(ShellModule):
    repeat = "read_only"
    timeout = 30
    token = Text()
    seconds = Number(default=0, minimum=0, maximum=60)
    command = "echo", token, "; hostname ; sleep", seconds
