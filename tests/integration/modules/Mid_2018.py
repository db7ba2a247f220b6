"""Asks before it reaches many hosts."""

from omserver_master import ShellModule


class Modulehandle(ShellModule):
    repeat = "once"
    most_hosts = 1
    command = "echo changed"
