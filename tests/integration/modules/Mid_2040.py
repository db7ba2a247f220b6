"""Say a word, on two hosts at a time."""

from omserver_master import ShellModule


class Modulehandle(ShellModule):
    repeat = "idempotent"
    rollout = {"batch": "2", "stop_after": "1"}
    command = "echo hi"
