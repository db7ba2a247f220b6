"""Never says anything."""

from omserver_master import Module


class Modulehandle(Module):
    timeout = 2

    def steps(self, host):
        while True:
            pass
        yield
