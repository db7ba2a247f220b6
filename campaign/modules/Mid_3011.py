"""Say a token twice, in two steps, each of which takes a while; doing it again: read_only."""

from omserver_master import Module, Number, Ok, Run, Text


class Modulehandle(Module):
    repeat = "read_only"
    timeout = 30
    token = Text()
    seconds = Number(default=0, minimum=0, maximum=60)

    def steps(self, host):
        for step in "first", "second":
            yield Run(shell=f"echo {self.token}/{step} ; hostname ; sleep {self.seconds}")
        return Ok()
