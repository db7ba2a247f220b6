"""Two steps: the second depends on the first."""

from omserver_master import Failed, Module, Ok, Run, Skipped


class Modulehandle(Module):
    repeat = "idempotent"

    def steps(self, host):
        first = yield Run("echo first")
        if host.name.endswith("skip"):
            return Skipped("not meant for this one")
        yield Run("echo", first.text.strip() + " then " + host.name)
        if host.name.endswith("bad"):
            return Failed("that name is bad")
        return Ok()
