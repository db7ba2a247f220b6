"""Wait; nothing else of the kind runs on the same host meanwhile."""

from omserver_master import Number, ShellModule


class Modulehandle(ShellModule):
    repeat = "once"
    timeout = 60
    lock = "host"
    seconds = Number(default=0, minimum=0, maximum=60)
    command = "sleep", seconds
