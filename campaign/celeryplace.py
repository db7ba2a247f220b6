"""A real OMServer whose jobs are carried out by a Celery worker, with a Redis that is killed and flushed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import psutil

from tests.brokers import Redis
from tests.system import CHECKOUT

from .place import Place


class CeleryPlace(Place):
    """As `Place`; the workers are those of ``omserver celery``."""

    redis: Redis
    _thaw_at = 0.0
    _celery: subprocess.Popen[bytes]

    def hurt_redis(self, chance: random.Random) -> bool:
        """Kill it, or let it forget everything."""
        if chance.random() < 0.5:
            self.redis.kill()
        else:
            self.redis.say("FLUSHALL")
        return True

    def freeze_redis(self, seconds: float) -> None:
        """SIGSTOP; :meth:`mend` sends SIGCONT after *seconds*."""
        with self._lock:
            if self.redis.lives():
                self.redis.freeze()
                self._thaw_at = time.monotonic() + seconds

    def kill_celery(self, number: int = signal.SIGKILL) -> None:
        """A signal to the Celery worker alone: its workers end what they have begun."""
        self.workers()
        with self._lock:
            self._celery.send_signal(number)

    def heal(self) -> None:
        """As without Celery; Redis wakes."""
        self._thaw_at = 0.0
        super().heal()

    def mend(self) -> None:
        """As without Celery; and wake or start Redis, and start the Celery worker."""
        super().mend()
        with self._lock:
            if self.redis.lives() and time.monotonic() >= self._thaw_at:
                self.redis.thaw()
            if not self.redis.lives():
                self.redis.start()
            if self._celery.poll() is not None:
                self._celery = self._start_celery()

    def workers(self) -> list[psutil.Process]:
        """Those of the Celery worker."""
        self._know(self._celery.pid)
        return super().workers()

    def _prepare(self, ends: contextlib.ExitStack) -> None:
        self.redis = Redis().start()
        ends.callback(self.redis.close)
        self.system.environment |= {"OMSERVER_EXECUTOR": "celery", "OMSERVER_BROKER_URL": self.redis.url}
        self._celery = self._start_celery()
        ends.callback(self._end_celery)

    def _start_celery(self) -> subprocess.Popen[bytes]:
        with (self.folder / "celery.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "campaign.process", "celery"],
                env=self.system.environment,
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _end_celery(self) -> None:
        self.workers()  # so that all are known when the others end them
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._celery.pid, signal.SIGKILL)
        self._celery.wait(10)
