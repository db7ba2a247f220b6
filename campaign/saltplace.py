"""A real OMServer over a real Salt master with three real minions, which write a ledger, too.

It needs root: each minion is a host of its own (tests/fleet).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from tests.fleet.fleet import SaltFleet

from .acks import MODULES as IDS
from .acks import module_of
from .place import Place

WITNESS = Path(__file__).with_name("witness.sh")
#: Seconds that all minions get to find a Salt master that was started again.
MINIONS_BACK = 30.0
_ONE_STEP = '''"""Say a token, take a while."""

from omserver_master import Number, ShellModule, Text


class Modulehandle(ShellModule):
    repeat = "{repeat}"
    timeout = 60
    token = Text()
    seconds = Number(default=0, minimum=0, maximum=60)
    command = "sh {witness} {ledger}", token, seconds
'''
_TWO_STEPS = '''"""Say a token twice, in two steps, each of which takes a while."""

from omserver_master import Module, Number, Ok, Run, Text


class Modulehandle(Module):
    repeat = "{repeat}"
    timeout = 60
    token = Text()
    seconds = Number(default=0, minimum=0, maximum=60)

    def steps(self, host):
        for step in "first", "second":
            yield Run(shell=f"sh {witness} {ledger} {{self.token}}/{{step}} {{self.seconds}}")
        return Ok()
'''


class SaltPlace(Place):
    """As `Place`, with real hosts; the Salt master can be killed."""

    slow = ()
    odd = ()
    tells_of_stops = False

    def kill_salt_master(self) -> bool:
        """SIGKILL to the Salt master with all its processes."""
        with self._lock:
            self.salt.stop_master()
        return True

    def stop_salt_master(self, seconds: float) -> bool:
        """SIGSTOP to the Salt master with all its processes; :meth:`mend` wakes them after *seconds*."""
        if "master" not in self.salt.spaces.pids:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.salt.spaces.pids["master"])
            for process in [first, *first.children(recursive=True)]:
                self.suspend(process, seconds)
        return True

    def mend(self) -> None:
        """As for invented hosts; and start the Salt master, and give its minions time."""
        super().mend()
        with self._lock:
            if "master" not in self.salt.spaces.pids:
                self.salt.spaces.start_one("master")
                with contextlib.suppress(TimeoutError):  # on a busy machine: then the next job finds out
                    self.salt.wait_for(self.salt.minions, MINIONS_BACK)

    def _start_fleet(self, ends: contextlib.ExitStack) -> None:
        self.salt = SaltFleet()
        ends.callback(self.salt.stop)
        self.salt.start()
        self.obedient = self.salt.minions
        self.ledger_file = self.salt.folder / "ledger"
        self.ledger_file.touch()
        self.modules = self.folder / "modules"
        self.modules.mkdir()
        for repeat in IDS:
            for steps, text in (1, _ONE_STEP), (2, _TWO_STEPS):
                file = self.modules / f"Mid_{module_of(repeat, steps)}.py"
                file.write_text(text.format(repeat=repeat, witness=WITNESS, ledger=self.ledger_file))

    def _add_hosts(self) -> None:
        way = self.system.add_connection("salt", "salt", self.salt.connection_settings)
        self.system.add_hosts(self.salt.minions, way)
