"""Wait; never to be done twice."""

from omserver_master import Number, ShellModule


class Modulehandle(ShellModule):
    repeat = "once"
    timeout = 60
    seconds = Number(default=0, minimum=0, maximum=60)
    command = "sleep", seconds
