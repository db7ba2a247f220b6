"""Prints 100 MB, then works."""

from omserver_master import Module, Run


class Modulehandle(Module):
    repeat = "read_only"

    def steps(self, host):
        for _ in range(100):
            print("x" * 1_000_000)
        yield Run("echo done")
