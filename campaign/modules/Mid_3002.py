"""Say a token, take a while; doing it again: idempotent."""

from omserver_master import Number, ShellModule, Text


class Modulehandle(ShellModule):
    repeat = "idempotent"
    timeout = 30
    token = Text()
    seconds = Number(default=0, minimum=0, maximum=60)
    command = "echo", token, "; hostname ; sleep", seconds
