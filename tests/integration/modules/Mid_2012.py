"""Crashes in its steps."""

from omserver_master import Module


class Modulehandle(Module):
    def steps(self, host):
        raise RuntimeError("boom")
        yield
