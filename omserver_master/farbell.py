"""Rings workers on other machines, from a thread of its own: whoever rings waits for nothing."""

from __future__ import annotations

import logging
import threading

from .celeryapp import make_app, publish
from .jobs.bell import ANY
from .settings import Settings

log = logging.getLogger(__name__)

#: Seconds between two tries to reach a broker that is gone.
PAUSE = 1.0
#: With more jobs than that waiting to be rung for, one ring says that any may have changed.
MOST = 500
#: Seconds that the last rings get when the master ends.
STOP_LIMIT = 1.0


class FarBell:
    """The master's end of the doorbell, from :meth:`start` to :meth:`stop`.

    A ring that the broker does not take is dropped: the workers look by themselves.

    Raises:
        SettingsError: what reaches the broker is not installed here.
    """

    def __init__(self, settings: Settings) -> None:
        self._app = make_app(settings)
        self._jobs: set[int] = set()
        self._rung = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="rings", daemon=True)
        self._lost = False

    def start(self) -> None:
        self._thread.start()

    def ring(self, job: int = ANY) -> None:
        """There is a new job, or there is news for one. Never blocks."""
        with self._rung:
            self._jobs.add(job)
            if len(self._jobs) > MOST:
                self._jobs = {ANY}
            self._rung.notify()

    def stop(self) -> None:
        """End the thread; a broker that is gone is not waited for."""
        self._stopping.set()
        with self._rung:
            self._rung.notify()
        self._thread.join(STOP_LIMIT)
        if not self._thread.is_alive():
            self._app.close()

    def _work(self) -> None:
        while jobs := self._next():
            try:
                publish(self._app, jobs)
            except Exception as error:  # noqa: BLE001 -- each broker fails in ways of its own; none matters
                self._note(lost=True, reason=f": {error}")
                self._stopping.wait(PAUSE)
            else:
                self._note(lost=False)

    def _next(self) -> set[int]:
        """What there is to ring for; empty when it is time to end."""
        with self._rung:
            self._rung.wait_for(lambda: self._jobs or self._stopping.is_set())
            jobs, self._jobs = self._jobs, set()
            return jobs

    def _note(self, *, lost: bool, reason: str = "") -> None:
        if lost == self._lost:
            return
        self._lost = lost
        text = "cannot be reached; the workers look by themselves" if lost else "is back"
        log.log(logging.WARNING if lost else logging.INFO, "the broker %s%s", text, reason)
