"""What is kept, and for how long: outputs, then whole jobs, then the oldest rows of the audit.

A purge goes in small transactions with pauses as long as they took, so that nobody waits long for it. It may
be stopped anywhere and run again, or twice at once. A pinned job is kept whole.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, RowMapping

from omserver_client.errors import Unavailable

from .settings import Settings
from .store import audit, clock, retention
from .store.engine import read, transact
from .store.sitekey import SiteKey

log = logging.getLogger(__name__)

T = TypeVar("T")

DAY: Final = 86_400.0
#: Seconds from a master's start to its first purge, and from one to the next.
FIRST, EVERY = 60.0, 3600.0
#: Seconds of a pause, at most.
LONGEST_PAUSE = 1.0
#: The name under which the master itself cuts the audit.
ITSELF = "omserver"


@dataclass(frozen=True)
class Keep:
    """For how many days after its end what is kept; *output_bytes*: how much all outputs may take, stored."""

    output_days: float
    job_days: float
    audit_days: float
    output_bytes: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Keep:
        """As the site's settings say."""
        return cls(
            settings.keep_output_days,
            settings.keep_jobs_days,
            settings.keep_audit_days,
            settings.keep_output_bytes,
        )


@dataclass
class Purged:
    """What a purge did: texts and bytes are what was stored, each distinct text once."""

    jobs_emptied: int = 0
    texts: int = 0
    bytes: int = 0
    jobs_removed: int = 0
    host_rows: int = 0
    audit_rows: int = 0

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


class Purge:
    """One run over the database.

    Args:
        stop: ends it after the transaction under way.
        pauses: whether to leave room for others between two transactions.
    """

    def __init__(
        self,
        engine: Engine,
        site: SiteKey,
        keep: Keep,
        stop: threading.Event | None = None,
        *,
        pauses: bool = True,
    ) -> None:
        self._engine = engine
        self._site = site
        self._keep = keep
        self._stop = stop or threading.Event()
        self._pauses = pauses
        self.done = Purged()

    def run(self, who: str = ITSELF) -> Purged:
        """Remove all that need not be kept; answer what that was. The audit says that *who* cut it."""
        with read(self._engine) as conn:
            now = clock.now(conn)
        self._each(now - min(self._keep.output_days, self._keep.job_days) * DAY, False, self._empty)
        if self._keep.output_bytes is not None:
            self._shrink(now, self._keep.output_bytes)
        self._each(now - self._keep.job_days * DAY, True, self._remove)
        self._cut_audit(now - self._keep.audit_days * DAY, who)
        return self.done

    def sweep(self) -> Purged:
        """Remove texts that nothing refers to: only a purge that met others at its work leaves any."""
        last: int | None = 0
        while last is not None and not self._stop.is_set():
            with read(self._engine) as conn:
                unused, last = retention.unused_after(conn, last)
            for start in range(0, len(unused), retention.ROWS):
                self._drop(unused[start : start + retention.ROWS])
        return self.done

    def would(self) -> tuple[Purged, int]:
        """What `run` would do by age, as far as that can be counted beforehand, and what outputs take now."""
        with read(self._engine) as conn:
            now = clock.now(conn)
        found = Purged()
        for row in self._jobs(now - min(self._keep.output_days, self._keep.job_days) * DAY):
            found.jobs_emptied += row["purged"] is None
            if row["finished"] < now - self._keep.job_days * DAY:
                found.jobs_removed += 1
                found.host_rows += row["host_count"]
        with read(self._engine) as conn:
            found.audit_rows = audit.rows_before(conn, now - self._keep.audit_days * DAY)
        return found, self._stored()

    def _jobs(self, before: float) -> Iterator[RowMapping]:
        """Jobs that ended *before* and are not pinned, oldest first."""
        last = 0
        while not self._stop.is_set():
            with read(self._engine) as conn:
                page = retention.jobs_after(conn, last)
            for row in page:
                if row["finished"] is not None and row["finished"] < before and not row["pinned"]:
                    yield row
            if len(page) < retention.PAGE or page[-1]["created"] >= before:
                return
            last = page[-1]["id"]

    def _each(self, before: float, emptied: bool, work: Callable[[list[int]], None]) -> None:
        """Do *work* on the jobs that ended *before*, and have been emptied or not, in batches of few rows."""
        for batch in _batches(row for row in self._jobs(before) if (row["purged"] is not None) is emptied):
            if self._stop.is_set():
                return
            work(batch)

    def _empty(self, job_ids: list[int]) -> None:
        over = False
        while not over and not self._stop.is_set():
            over, emptied, texts, size = self._write(lambda conn: retention.empty_jobs(conn, job_ids))
            self.done.jobs_emptied += emptied
            self.done.texts += texts
            self.done.bytes += size

    def _remove(self, job_ids: list[int]) -> None:
        over = False
        while not over and not self._stop.is_set():
            over, removed, rows = self._write(lambda conn: retention.remove_jobs(conn, job_ids))
            self.done.jobs_removed += removed
            self.done.host_rows += rows

    def _drop(self, texts: list[int]) -> None:
        number, size = self._write(lambda conn: retention.drop_unused(conn, texts))
        self.done.texts += number
        self.done.bytes += size

    def _shrink(self, now: float, most: int) -> None:
        """Empty the oldest jobs until all outputs take no more than *most* bytes."""
        stored, before = self._stored(), self.done.bytes

        def empty(job_ids: list[int]) -> None:
            for job_id in job_ids:
                if stored - (self.done.bytes - before) > most:
                    self._empty([job_id])

        if stored > most:
            self._each(now, False, empty)

    def _stored(self) -> int:
        total = 0
        last: int | None = 0
        while last is not None and not self._stop.is_set():
            with read(self._engine) as conn:
                size, last = retention.bytes_after(conn, last)
            total += size
        return total

    def _cut_audit(self, before: float, who: str) -> None:
        more = True
        while more and not self._stop.is_set():
            number, more = self._write(lambda conn: audit.cut(conn, self._site, before, who))
            self.done.audit_rows += number

    def _write(self, work: Callable[[Connection], T]) -> T:
        """One transaction, and a pause for the others."""
        began = time.monotonic()
        answer = transact(self._engine, work)
        if self._pauses:
            self._stop.wait(min(LONGEST_PAUSE, time.monotonic() - began))
        return answer


class Keeper:
    """Purges every hour, in a thread of the master, from :meth:`start` to :meth:`stop`."""

    def __init__(self, engine: Engine, site: SiteKey, keep: Keep) -> None:
        self._engine, self._site, self._keep = engine, site, keep
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="purges what is old", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it; a transaction under way is finished first."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def _run(self) -> None:
        pause = FIRST
        while not self._stop.wait(pause):
            pause = EVERY
            try:
                done = Purge(self._engine, self._site, self._keep, self._stop).run()
            except Unavailable as error:
                log.warning("nothing was purged: %s", error)
            except Exception:
                log.exception("the purge failed; it is tried again in an hour")
            else:
                if done:
                    log.info("purged: %s", done)


def _batches(rows: Iterator[RowMapping]) -> Iterator[list[int]]:
    """Ids of jobs that have about as many host rows together as one transaction may change."""
    batch: list[int] = []
    size = 0
    for row in rows:
        if batch and size + row["host_count"] > retention.ROWS:
            yield batch
            batch, size = [], 0
        batch.append(row["id"])
        size += max(1, row["host_count"])
    if batch:
        yield batch
