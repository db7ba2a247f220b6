"""The words of the console that are not in a template: states, what a repeat means, errors.

A state has one word, one icon and one tone, the same on every page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l


class State(NamedTuple):
    """How a state is shown. *tone* is a CSS class; *moving* states turn while they last."""

    word: LazyString
    icon: str
    tone: str
    moving: bool = False


HOST_STATES = {
    "ok": State(_l("ok"), "circle-check", "green"),
    "failed": State(_l("failed"), "circle-x", "red"),
    "unreachable": State(_l("unreachable"), "plug-connected-x", "orange"),
    "timed_out": State(_l("timed out"), "hourglass-off", "amber"),
    "unknown": State(_l("unknown"), "help-circle", "violet"),
    "skipped": State(_l("skipped"), "player-skip-forward", "grey"),
    "not_started": State(_l("not started"), "circle-dashed", "grey"),
    "cancelled": State(_l("cancelled"), "ban", "grey"),
    "pending": State(_l("waiting"), "clock", "blue"),
    "dispatched": State(_l("sent"), "send", "blue"),
    "running": State(_l("running"), "loader-2", "blue", moving=True),
}

JOB_STATES = {
    "queued": State(_l("waiting"), "clock", "blue"),
    "running": State(_l("running"), "loader-2", "blue", moving=True),
    "paused": State(_l("paused"), "player-pause", "amber"),
    "cancelling": State(_l("cancelling"), "loader-2", "grey", moving=True),
    "succeeded": State(_l("succeeded"), "circle-check", "green"),
    "failed": State(_l("failed"), "circle-x", "red"),
    "cancelled": State(_l("cancelled"), "ban", "grey"),
    "interrupted": State(_l("interrupted"), "plug-connected-x", "violet"),
    "expired": State(_l("expired"), "hourglass-off", "grey"),
}

#: A job in one of these states is over: nothing more will arrive, but for late answers.
OVER = frozenset({"succeeded", "failed", "cancelled", "interrupted", "expired"})

#: Which hosts of a job it is done again on -> word; and by how they ended, as the master understands it.
AGAIN = {
    "failed": _l("Where it failed"),
    "unreachable": _l("Where it was unreachable"),
    "unfinished": _l("Where it was not finished"),
}
AGAIN_STATES = {
    "failed": ("failed", "timed_out"),
    "unreachable": ("unreachable",),
    "unfinished": ("not_started", "cancelled", "unknown"),
}

CONNECTION_STATES = {
    "up": State(_l("up"), "circle-check", "green"),
    "down": State(_l("down"), "plug-connected-x", "red"),
    "unknown": State(_l("not tried yet"), "circle-dashed", "grey"),
    "disabled": State(_l("disabled"), "ban", "grey"),
}

_NO_STATE = State(_l("unknown"), "help-circle", "violet")


def host_state(name: str) -> State:
    """How the state of a host in a job is shown."""
    return HOST_STATES.get(name, _NO_STATE)


def job_state(name: str) -> State:
    """How the state of a job is shown."""
    return JOB_STATES.get(name, _NO_STATE)


def connection_state(name: str) -> State:
    """How the state of a connection is shown."""
    return CONNECTION_STATES.get(name, _NO_STATE)


#: What a repeat of a module means -> word, icon, tone, sentence.
REPEATS = {
    "read_only": (_l("read only"), "eye", "grey", _l("Changes nothing; may be repeated at any time.")),
    "idempotent": (_l("repeatable"), "repeat", "grey", _l("A repeat leaves the host as it is.")),
    "once": (_l("once"), "repeat-off", "amber", _l("Never repeated by itself: a repeat does it again.")),
}

RISKS = {
    "medium": (_l("medium risk"), "orange"),
    "high": (_l("high risk"), "red"),
}

HOST_LIFE = {
    "new": (_l("new"), "blue"),
    "in_service": (_l("in service"), "green"),
    "maintenance": (_l("maintenance"), "amber"),
    "retired": (_l("retired"), "grey"),
}

#: What an import would do with a host -> word, icon, tone.
IMPORTS = {
    "new": State(_l("new"), "plus", "blue"),
    "changed": State(_l("changed"), "pencil", "amber"),
    "same": State(_l("the same"), "check", "grey"),
    "conflict": State(_l("conflict"), "alert-triangle", "red"),
    "refused": State(_l("refused"), "ban", "red"),
    "missing": State(_l("not in the source"), "help-circle", "grey"),
}

#: What an import fills in -> word.
HOST_FIELDS = {
    "lip": _l("Inner address"),
    "wip": _l("Outer address"),
    "os": _l("System"),
    "os_family": _l("System family"),
    "osrelease": _l("System version"),
    "categ": _l("Function"),
    "app": _l("Application"),
    "state": _l("State"),
    "ways": _l("Ways"),
}

#: How an action ended, in the audit -> word, tone.
OUTCOMES = {
    "ok": (_l("ok"), ""),
    "refused": (_l("refused"), "red"),
}

ROLES = {
    "viewer": _l("viewer"),
    "operator": _l("operator"),
    "admin": _l("admin"),
}

#: Error code of the master -> what happened, in the person's language.
ERRORS = {
    "login_required": _l("Sign in first."),
    "login_failed": _l("The name or the password is not right."),
    "session_expired": _l("Your session is over. Sign in again; you will come back to this page."),
    "forbidden": _l("You may not do that."),
    "bad_request": _l("The request could not be understood."),
    "invalid_param": _l("A field is not filled in as it should be."),
    "unknown_module": _l("There is no such module."),
    "broken_module": _l("The module's file is broken."),
    "unknown_host": _l("Some of these hosts are not known here."),
    "host_mismatch": _l("The address given for a host is not one of its own."),
    "not_found": _l("It does not exist, or you may not see it."),
    "idempotency_conflict": _l("This form was sent before with other content. Check it and run it again."),
    "confirmation_needed": _l("Type the number of hosts to confirm."),
    "preview_outdated": _l("What you looked at has changed meanwhile. Nothing was done; look at it again."),
    "locked": _l("Another job holds a lock that this one would not wait for."),
    "too_many": _l("Too many tries. Wait a little and try again."),
    "unavailable": _l("The master cannot do that right now. Nothing was changed."),
    "internal": _l("The master failed inside. Its log says why."),
}

#: Error codes -> HTTP status.
STATUS = {
    "login_required": 401,
    "login_failed": 401,
    "session_expired": 401,
    "forbidden": 403,
    "unknown_module": 404,
    "not_found": 404,
    "unknown_host": 404,
    "idempotency_conflict": 409,
    "preview_outdated": 409,
    "locked": 409,
    "too_many": 429,
    "unavailable": 503,
    "internal": 502,
}


#: Code of a warning before a run -> sentence; what the master says with the code is filled in.
WARNINGS = {
    "gone": _l("%(host)s is retired, so it is left out."),
    "module_changed": _l("Module %(module)s was changed since job %(job)s ran it."),
    "may_have_run": _l("%(host)s may have done it already: job %(job)s could not tell."),
    "long_unseen": _l("%(host)s was last seen %(hours)s h ago."),
    "maintenance": _l("%(host)s is in maintenance."),
    "no_connection": _l("%(host)s has no connection that is turned on; it would wait and expire."),
    "lock_held": _l("Lock %(lock)s is held by job %(job)s."),
    "host_locked": _l("Host %(host)s is locked by job %(job)s."),
    "lock_waited": _l("Lock %(lock)s is for job %(job)s first, which waits for it too."),
    "host_waited": _l("Host %(host)s is for job %(job)s first, which waits for it too."),
}


#: The options of a roll-out, in the order in which they are told -> word.
ROLLOUT = {
    "canary": _l("canary"),
    "ask": _l("ask after the first batch"),
    "batch": _l("batch"),
    "wait": _l("seconds between batches"),
    "spread": _l("never in one batch"),
    "verify": _l("verify"),
    "verify_times": _l("times in a row"),
    "verify_within": _l("within seconds"),
    "expect": _l("status"),
    "stop_after": _l("stop after failures"),
    "unreachable_counts": _l("unreachable counts"),
    "pause_limit": _l("seconds of pause at most"),
}


def rollout_pairs(options: Mapping[str, Any]) -> list[tuple[object, str]]:
    """What was said about a roll-out, as words and values; what is switched off is not told."""
    told = [
        (ROLLOUT[name], options[name]) for name in ROLLOUT if options.get(name) not in (None, False, "", [])
    ]
    return [(word, "" if value is True else _listed(value)) for word, value in told]


def _listed(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(
            " + ".join(map(str, each)) if isinstance(each, list) else str(each) for each in value
        )
    return str(value)


def again_groups(job: Mapping[str, Any]) -> dict[str, int]:
    """How many hosts of *job* each word of `AGAIN` means, where there are any."""
    counts = job["counts"]
    found = {word: sum(counts.get(state, 0) for state in states) for word, states in AGAIN_STATES.items()}
    return {word: count for word, count in found.items() if count}


def outcome(name: str) -> tuple[object, str]:
    """The word and the tone of an action's outcome; one that we do not know is no good sign."""
    return OUTCOMES.get(name, (name, "red"))


def database(state: str) -> str:
    """The state of the database, as the master names it, in the person's language."""
    return str(CONNECTION_STATES["up"].word) if state == "ok" else state


def warning_sentence(warning: Mapping[str, Any]) -> str:
    """A warning of the master in the person's language; its own words for a code we do not know."""
    try:
        return str(WARNINGS[warning["code"]]) % warning
    except KeyError:
        return str(warning.get("text", ""))


def error_sentence(code: str, text: str = "") -> str:
    """What happened, in the person's language; the master's own English *text* for a code we do not know."""
    return str(ERRORS.get(code) or text or _l("The master refused that."))
