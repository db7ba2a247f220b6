"""From a wish to a committed job: everything is checked, frozen and written before it is acknowledged."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping
from sqlalchemy.exc import IntegrityError

from omserver_client.errors import (
    BadRequest,
    BrokenModule,
    ConfirmationNeeded,
    Forbidden,
    IdempotencyConflict,
    Refused,
)
from omserver_client.omctl.params import param_words
from omserver_master import audit
from omserver_master.access import rights
from omserver_master.access.rights import Person
from omserver_master.caller import Caller
from omserver_master.failpoints import reach
from omserver_master.registry.moduleinfo import ModuleInfo
from omserver_master.registry.registry import Registry
from omserver_master.store import connections, hosts, jobs, machines, modules
from omserver_master.store import engine as store
from omserver_master.store.locks import Taken
from omserver_master.store.together import transact_together

from . import freezing, locking, reaching
from .locking import WantedLocks
from .rerun import Again, Rerun, changed_module, choose_again, may_have_run, narrowed
from .selection import Named, choose

#: Seconds that a job may wait for its first dispatch, unless the caller says otherwise.
START_BEFORE = 3600
#: A host that was not seen for so many seconds is warned about.
LONG_UNSEEN = 3600.0
#: Seconds that hosts which were off are tried again at most.
LONGEST_UNTIL = 31 * 86_400.0


@dataclass(frozen=True)
class Plan:
    """What exactly would run where."""

    module: ModuleInfo
    params: Mapping[str, Any] | Sequence[str]
    """As the module gets them: by name, or a list for one that takes them by position."""
    rows: list[RowMapping]
    confirm: int | None
    warnings: list[Mapping[str, str]] = field(default_factory=list)
    dry_run: bool = False
    rerun: Rerun | None = None
    rollout: Mapping[str, Any] | None = None
    """How it goes over them; None: over all at once."""
    locks: WantedLocks = field(default_factory=WantedLocks)
    machines: reaching.Machines = None
    """The machines that reach all its hosts; None: any."""

    @property
    def omctl(self) -> str:
        """The command line that asks for the same."""
        if self.rerun is not None:
            return self.rerun.omctl + (" --dry-run" if self.dry_run else "")
        words = ["omctl", "run", self.module.id]
        for row in self.rows:
            words += ["--host", row["name"]]
        words += ["--dry-run"] if self.dry_run else []
        words += freezing.words(self.rollout) + self.locks.words()
        return shlex.join(words + param_words(self.params))


@dataclass(frozen=True)
class Wish:
    """What a caller asked for, and who it is."""

    module: str
    params: Mapping[str, Any] | Sequence[Any]
    named: Sequence[Named]
    confirm: int | None = None
    timeout: int | None = None
    start_before: int | None = None
    dry_run: bool = False
    #: Whose hosts it is for; then *named* is empty.
    rerun: Rerun | None = None
    #: Until when hosts that are unreachable are tried again, in unix seconds.
    until: float | None = None
    #: How it is to go over its hosts, see docs/jobs.md; None: as its module says, else over all at once.
    rollout: Mapping[str, Any] | None = None
    #: The locks that it wants beside its module's, and what to do while one is held: see docs/jobs.md.
    locks: Sequence[str] = ()
    lock_mode: str = "queue"

    def fingerprint(self) -> str:
        """The same for the same wish, whatever message it came in."""
        hosts_named = [[n.id, n.name, n.ip] for n in self.named]
        fields: list[Any] = [self.module, self.params, hosts_named, self.timeout, self.start_before]
        fields += ["dry run"] if self.dry_run else []
        fields += [["rerun", *self.rerun.fields()]] if self.rerun else []
        fields += [["until", self.until]] if self.until is not None else []
        fields += [["rollout", self.rollout]] if self.rollout else []
        fields += (
            [["locks", sorted(self.locks), self.lock_mode]] if self.locks or self.lock_mode != "queue" else []
        )
        return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Rules:
    """What a wish is checked against: the modules there are, and when many hosts are many."""

    registry: Registry
    confirm_above: int


@dataclass(frozen=True)
class Submitted:
    """The job that a wish led to; *repeated* if an earlier message had asked for it already."""

    job_id: int
    repeated: bool
    #: The job as it was written, see `store.jobs.add_job`; None if an earlier message had asked for it.
    row: Mapping[str, Any] | None = None


def usable_module(rules: Rules, wish: Wish) -> ModuleInfo:
    """The module that is wished for. It may be described now, which takes a while: hold no lock meanwhile.

    Raises:
        UnknownModule: there is none.
        BrokenModule: its file is broken.
    """
    module = rules.registry.load(wish.module)
    module.check()
    try:
        module.source.decode()
    except UnicodeDecodeError as error:
        raise BrokenModule(
            f"Mid_{module.id}.py is not UTF-8.", module=module.id, line=None, reason=str(error)
        ) from error
    return module


def plan(conn: Connection, rules: Rules, person: Person, wish: Wish, module: ModuleInfo) -> Plan:
    """Check a wish completely, without storing anything.

    Raises:
        Refused: the first thing that is wrong with it, as its own class.
    """
    found, again = _checked(conn, rules, person, wish, module)
    warnings = _warnings(conn, found.rows)
    if again is not None:
        warnings = [*_warnings_again(again, module, _twice(again, module, wish)), *warnings]
    if taken := _taken(conn, found, person):
        warnings = [*warnings, locking.warning(taken)]
    return replace(found, warnings=warnings)


def _taken(conn: Connection, found: Plan, person: Person) -> Taken | None:
    """A lock of the plan that another job has, as it may be told to *person*."""
    host_ids = [row["id"] for row in found.rows]
    return locking.taken(conn, found.locks, host_ids, rights.visible_hosts(person))


def _checked(
    conn: Connection, rules: Rules, person: Person, wish: Wish, module: ModuleInfo
) -> tuple[Plan, Again | None]:
    """What a wish comes to, checked completely, without what `plan` warns of; and what it does again."""
    _check_dry_run(module, wish)
    _check_until(module, wish)
    again = choose_again(conn, wish.rerun, rights.visible_hosts(person)) if wish.rerun else None
    rows = _rows(conn, person, again.named if again else wish.named)
    _check_rights(conn, person, module.id, rows)
    _check_engines(conn, module, rows)
    reached_by = reaching.check(conn, rows, module.engines)
    params = module.read_params(wish.params)
    confirm = None if wish.dry_run else _confirm(module, len(rows), rules.confirm_above)
    if again is not None and _twice(again, module, wish):
        confirm = len(rows)
    wanted = wish.rollout
    if again is not None and wanted is None:
        wanted = freezing.shown(
            narrowed(again.first["rollout"], {row["id"]: row["name"] for row in rows}) or {}
        )
    rollout = freezing.freeze(
        wanted,
        module,
        rows,
        may_loosen=rights.reaches(person.role, "admin"),
        dry_run=wish.dry_run,
        for_these=wish.rollout is not None,
        labels_of=partial(hosts.labels_of, conn),
    )
    locks = _locks(module, wish, again)
    found = Plan(module, params, rows, confirm, [], wish.dry_run, wish.rerun, rollout, locks, reached_by)
    return found, again


def submit(
    engine: Engine, rules: Rules, person: Person, caller: Caller, wish: Wish, message_id: str, key: str | None
) -> Submitted:
    """Commit a job with all its hosts and its audit row, in one transaction.

    Args:
        message_id: the sealed message's own id; the same message never makes a second job.
        key: the idempotency key, or None.

    Raises:
        IdempotencyConflict: the key was used for another wish.
        ConfirmationNeeded: so many hosts need their number said.
        Refused: as :func:`plan`.
    """
    try:
        done = _submitted(engine, rules, person, caller, wish, message_id, key)
    except (Refused, IntegrityError) as error:
        # Most often nobody has asked before. If so, their job is the answer, even if nobody may ask now.
        with store.read(engine) as conn:
            before = _before(conn, person, caller, wish, key)
            if before is not None:
                return before
            if isinstance(error, Refused):
                raise
            twin = jobs.find_by_message(conn, caller.key.kid, message_id)
            if twin is None:
                raise
            return Submitted(twin["id"], True)
    reach("submit.after_commit")
    return done


def _submitted(
    engine: Engine, rules: Rules, person: Person, caller: Caller, wish: Wish, message_id: str, key: str | None
) -> Submitted:
    module = usable_module(rules, wish)

    def work(conn: Connection) -> Submitted:
        found, _ = _checked(conn, rules, person, wish, module)
        done = _insert(conn, found, person, caller, wish, message_id, key)
        reach("submit.before_commit")
        return done

    return transact_together(engine, work)


def _before(
    conn: Connection, person: Person, caller: Caller, wish: Wish, key: str | None
) -> Submitted | None:
    row = jobs.find_by_idempotency(conn, caller.key.kid, person.id, key) if key else None
    if row is None:
        return None
    if row["request_hash"] != wish.fingerprint():
        raise IdempotencyConflict(f"That idempotency key belongs to job {row['id']}, which is another one.")
    return Submitted(row["id"], True)


def _insert(
    conn: Connection,
    found: Plan,
    person: Person,
    caller: Caller,
    wish: Wish,
    message_id: str,
    key: str | None,
) -> Submitted:
    _check_confirmed(found, wish)
    locking.refuse_if(_taken(conn, found, person), found.locks)
    module = found.module
    modules.keep_version(conn, module.id, module.sha256, module.source.decode())
    timeout = wish.timeout or math.ceil(module.timeout)
    row = {
        "module": module.id,
        "module_sha256": module.sha256,
        "title": module.title,
        "title_zh": module.title_zh,
        "params": found.params,
        "user_id": person.id,
        "user": person.name,
        "key_kid": caller.key.kid,
        "message_id": message_id,
        "idempotency_key": key,
        "request_hash": wish.fingerprint(),
        # A dry run changes nothing, so it may be repeated whatever the module does otherwise.
        "repeat": "read_only" if wish.dry_run else module.repeat,
        "direct": module.direct and not module.driven,
        "dry_run": wish.dry_run,
        "engines": list(module.engines),
        "timeout": timeout,
        "start_within": float(wish.start_before or START_BEFORE),
        "rerun_of": wish.rerun.job if wish.rerun else None,
        "until": wish.until,
        "rollout": found.rollout,
        "machines": machines.packed(found.machines),
        **found.locks.columns(),
    }
    members = [{"host_id": h["id"], "host": h["name"], "ip": h["lip"] or h["wip"]} for h in found.rows]
    job = jobs.add_job(conn, row, members)
    names = ", ".join(h["name"] for h in found.rows[:50])
    how = "dry run of module" if wish.dry_run else "module"
    how = f"again after job {wish.rerun.job}: {how}" if wish.rerun else how
    detail = f"{how} {module.id} on {_hosts(len(found.rows))}: {names}; {json.dumps(found.params)}"
    detail += f"; {freezing.in_words(found.rollout)}" if found.rollout else ""
    audit.accepted(conn, caller, person, "job.submit", f"job {job['id']}", detail[:4000])
    return Submitted(job["id"], False, job)


def _check_confirmed(found: Plan, wish: Wish) -> None:
    """A number that was said must be right, also where none had to be said."""
    number = len(found.rows)
    if (found.confirm, wish.confirm) != (None, None) and wish.confirm != number:
        raise ConfirmationNeeded(f"This would run on {_hosts(number)}; confirm the number.", number=number)


def _hosts(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"


class _HostTable:
    """Looks hosts up for :func:`.selection.choose`."""

    def __init__(self, conn: Connection, person: Person) -> None:
        self._conn = conn
        self._scope = rights.visible_hosts(person)

    def by_ids(self, ids: Any) -> list[Any]:
        return [_KnownHost(row) for row in hosts.hosts_by_id(self._conn, list(ids), self._scope).values()]

    def by_names(self, names: Any) -> list[Any]:
        return [_KnownHost(row) for row in hosts.hosts_by_name(self._conn, list(names), self._scope).values()]


class _KnownHost:
    """A row of the host table, as selection sees it."""

    def __init__(self, row: RowMapping) -> None:
        self.row = row
        self.id: int = row["id"]
        self.name: str = row["name"]
        self.addresses = (row["wip"], row["lip"])
        self.state: str = row["state"]


def _rows(conn: Connection, person: Person, named: Sequence[Named]) -> list[RowMapping]:
    return [known.row for known in choose(named, _HostTable(conn, person))]  # type: ignore[attr-defined]


def _check_rights(conn: Connection, person: Person, module: str, rows: Sequence[RowMapping]) -> None:
    forbidden = rights.may_run(conn, person, module, [row["id"] for row in rows])
    if forbidden:
        names = [row["name"] for row in rows if row["id"] in forbidden]
        text = f"{person.name} may not run {module} on {', '.join(names[:20])}."
        raise Forbidden(text, module=module, hosts=names)


def _check_dry_run(module: ModuleInfo, wish: Wish) -> None:
    if wish.dry_run and not module.can_dry_run:
        text = f"Module {module.id} can't be run dry: it does not say what it would change."
        raise BadRequest(text, field="dry_run")


def _check_until(module: ModuleInfo, wish: Wish) -> None:
    if wish.until is None:
        return
    if module.repeat == "once" and not wish.dry_run:
        text = f"Module {module.id} is never repeated by itself, so its hosts can't be tried again."
        raise BadRequest(text, field="until")
    if not 0 < wish.until - time.time() <= LONGEST_UNTIL:
        text = f"Hosts are tried again until a time within the next {LONGEST_UNTIL / 86_400:g} days."
        raise BadRequest(text, field="until")


def _check_engines(conn: Connection, module: ModuleInfo, rows: Sequence[RowMapping]) -> None:
    """Refuse a host that has no way of a kind that the module works with; no other kind is ever taken."""
    if not module.engines:
        return
    roads = connections.routes(conn, [row["id"] for row in rows])
    for row in rows:
        kinds = {road["kind"]: road["name"] for road in roads[row["id"]] if road["enabled"]}
        if kinds and not set(kinds) & set(module.engines):
            ways = ", ".join(f"{name} ({kind})" for kind, name in kinds.items())
            text = f"{row['name']} is reached over {ways}; module {module.id}"
            raise BadRequest(f"{text} works with {', '.join(module.engines)} only.", field="hosts")


def _confirm(module: ModuleInfo, number: int, confirm_above: int) -> int | None:
    """The number of hosts, where it has to be said: many of them, or a risky module."""
    most = module.most_hosts
    if most is None:
        most = number if module.repeat == "read_only" else confirm_above
    return number if number > most or module.risk == "high" else None


def _locks(module: ModuleInfo, wish: Wish, again: Again | None) -> WantedLocks:
    """Those of the wish, else of the job that is done again, and the module's; for a dry run the first."""
    wanted = WantedLocks(tuple(sorted(set(wish.locks))), wish.lock_mode)
    if wish.dry_run:
        return wanted
    if again is not None and not wish.locks:
        wanted = WantedLocks(tuple(again.first["locks"] or ()), again.first["lock_mode"] or "queue")
    return wanted.with_those_of(module.locks)


def _twice(again: Again, module: ModuleInfo, wish: Wish) -> Sequence[str]:
    """The hosts that may have done it already, of a module that must not do it twice."""
    return again.unknown if module.repeat == "once" and not wish.dry_run else ()


def _warnings_again(again: Again, module: ModuleInfo, twice: Sequence[str]) -> list[Mapping[str, str]]:
    changed = [changed_module(again.first)] if module.sha256 != again.first["module_sha256"] else []
    return [*changed, *again.warnings, *(may_have_run(host, again.first["id"]) for host in twice)]


def _warnings(conn: Connection, rows: Sequence[RowMapping]) -> list[Mapping[str, str]]:
    found: list[Mapping[str, str]] = []
    roads = connections.routes(conn, [row["id"] for row in rows])
    for row in rows:
        open_roads = [road for road in roads[row["id"]] if road["enabled"]]
        if not open_roads:
            text = f"{row['name']} has no connection that is turned on; it would wait and expire."
            found.append({"code": "no_connection", "host": row["name"], "text": text})
        if row["state"] == "maintenance":
            text = f"{row['name']} is in maintenance."
            found.append({"code": "maintenance", "host": row["name"], "text": text})
        if row["last_seen"] is not None and time.time() - row["last_seen"] > LONG_UNSEEN:
            hours = int((time.time() - row["last_seen"]) / 3600)
            text = f"{row['name']} was last seen {hours} h ago."
            found.append({"code": "long_unseen", "host": row["name"], "hours": str(hours), "text": text})
    return found
