"""The worker processes of one machine: started again when they die, rung when there is something to do."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection

from sqlalchemy import Connection, Engine

from omserver_client.errors import Unavailable

from .failpoints import reach
from .jobs.bell import ANY, PASS_ON, Bell
from .store import leases, workers
from .store.engine import transact

log = logging.getLogger(__name__)

#: A worker that ends is started again after so many seconds, at most.
LONGEST_PAUSE = 10.0
#: Seconds that workers get to end.
STOP_LIMIT = 8.0
#: Seconds after which a worker that nobody saw is forgotten: its machine died, or has another name now.
FORGOTTEN = 86_400.0

#: Told which jobs the workers have changed.
Heard = Callable[[Collection[int]], None]


class Crew:
    """So many workers, from :meth:`start` to :meth:`stop`. They end by themselves when this process dies."""

    def __init__(self, number: int, engine: Engine, heard: Heard) -> None:
        self._engine = engine
        names = [f"{os.uname().nodename}-{os.getpid()}-{one}" for one in range(1, number + 1)]
        self._workers = [WorkerProcess(name, heard, self._bury, self._pass_on) for name in names]
        self._turns = itertools.cycle(self._workers)

    def start(self) -> None:
        """Start all of them; does not wait until they work."""
        for worker in self._workers:
            worker.start()

    def ring(self, job: int = ANY) -> None:
        """There is a new job, or there is news for one. Never blocks.

        For a new job one worker is rung, each in its turn: two would only be in each other's way. If it does
        not come, others see the job when they look by themselves.
        """
        for worker in [next(self._turns)] if job == ANY else self._workers:
            worker.bell.ring(job)

    def _pass_on(self, full: WorkerProcess) -> None:
        for worker in self._workers:
            if worker is not full:
                worker.bell.ring(PASS_ON)

    def stop(self) -> None:
        """Let running jobs write their end, and wait until all workers are gone."""
        end = time.monotonic() + STOP_LIMIT
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.stop(max(0.1, end - time.monotonic()))

    def _bury(self, worker: str) -> None:
        """A worker process is gone: what it held is settled at once, not when its leases run out."""
        try:
            transact(self._engine, lambda conn: self._give_up(conn, worker))
            transact(self._engine, lambda conn: workers.forget_worker(conn, worker, FORGOTTEN))
        except Unavailable as error:
            log.warning("the leases of %s run out by themselves: %s", worker, error)

    @staticmethod
    def _give_up(conn: Connection, worker: str) -> None:
        leases.give_up_leases(conn, worker)
        reach("bury.before_commit")


class WorkerProcess:
    """A worker process that is started again when it ends by itself."""

    def __init__(
        self,
        name: str,
        heard: Heard,
        bury: Callable[[str], None],
        pass_on: Callable[[WorkerProcess], None],
    ) -> None:
        self.name = name
        self.bell, self._far_end = Bell.pair()
        self._heard = heard
        self._bury = bury
        self._pass_on = pass_on
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name=f"keeps {name}", daemon=True)
        self._listener = threading.Thread(target=self._listen, name=f"hears {name}", daemon=True)

    def start(self) -> None:
        self._keeper.start()
        self._listener.start()

    def ask_to_stop(self) -> None:
        """Tell the process to end; does not wait."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float) -> None:
        """Wait until the process is gone; after *seconds*, end it the hard way."""
        self.ask_to_stop()
        self._keeper.join(seconds)
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(5.0)
        self._listener.join(2.0)
        self.bell.close()
        self._far_end.close()

    def _keep(self) -> None:
        pause = 0.2
        while not self._stopping.is_set():
            began = time.monotonic()
            self._process = self._spawn()
            if self._stopping.is_set():
                self._process.terminate()
            code = self._process.wait()
            self._bury(self.name)
            if self._stopping.is_set():
                return
            log.error("worker %s ended with code %s; starting it again", self.name, code)
            pause = 0.2 if time.monotonic() - began > 60 else min(LONGEST_PAUSE, pause * 2)
            self._stopping.wait(pause)

    def _spawn(self) -> subprocess.Popen[bytes]:
        fd = self._far_end.fileno()
        argv = [sys.executable, "-m", "omserver_master", "worker", "--name", self.name, "--bell", str(fd)]
        argv += ["--parent", str(os.getpid())]
        return subprocess.Popen(argv, pass_fds=[fd], stdin=subprocess.DEVNULL)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            heard = self.bell.wait(1.0)
            if PASS_ON in heard:
                heard.discard(PASS_ON)
                self._pass_on(self)
            if heard:
                self._heard(heard)
