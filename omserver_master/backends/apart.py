"""One call of an engine in a process of its own, ended at a deadline: the master never loads an engine.

The settings with their secrets go over standard input, and stand in no list of processes.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ..contract.work import Answer, Run
from .base import ConnectionDown, FoundHost, NoInventory, Reachability, Target

log = logging.getLogger(__name__)

#: Engines that may be asked at the same time.
AT_ONCE = 4
#: The longest answer that is taken, in bytes: an inventory of some 100,000 hosts.
LONGEST = 64 << 20
#: Seconds that a process gets beyond what the engine itself was given.
GRACE = 3.0

_turns = threading.BoundedSemaphore(AT_ONCE)


class EngineTrouble(Exception):
    """The engine did not answer as it should; the text is one line for people."""


def check(kind: str, name: str, settings: Mapping[str, Any], seconds: float = 15) -> None:
    """See whether the engine takes these settings.

    Raises:
        ValueError: it does not.
        EngineTrouble: it could not be asked.
    """
    _ask(kind, name, settings, seconds, call="check")


def probe(kind: str, name: str, settings: Mapping[str, Any], seconds: float = 12) -> Reachability:
    """Whether the control point is up; an engine that cannot be asked, or takes too long, is down."""
    try:
        return Reachability(**_ask(kind, name, settings, seconds, call="probe"))
    except (EngineTrouble, ValueError) as error:
        return Reachability(False, str(error))


def inventory(kind: str, name: str, settings: Mapping[str, Any], seconds: float) -> list[FoundHost]:
    """The hosts that the engine knows, asked for at most *seconds*.

    Raises:
        NoInventory: this kind keeps no list.
        ConnectionDown: the control point is down.
        ValueError: the settings are wrong.
        EngineTrouble: it could not be asked, or took too long.
    """
    found = _ask(kind, name, settings, seconds + GRACE, call="inventory", seconds=seconds)
    return [FoundHost(**{**each, "groups": tuple(each["groups"])}) for each in found["hosts"]]


def try_host(kind: str, name: str, settings: Mapping[str, Any], host: Target, seconds: float) -> Answer:
    """What *host* answers to ``true``, which changes nothing, within *seconds*.

    Raises:
        ConnectionDown: the control point is down.
        ValueError: the settings are wrong.
        EngineTrouble: it could not be asked, or took too long.
    """
    found = _ask(kind, name, settings, seconds + GRACE, call="try_host", host=asdict(host), seconds=seconds)
    return Answer(**{**found, **{name: base64.b64decode(found[name]) for name in ("stdout", "stderr")}})


def _ask(kind: str, name: str, settings: Mapping[str, Any], limit: float, **wanted: Any) -> dict[str, Any]:
    end = time.monotonic() + limit
    if not _turns.acquire(timeout=limit):
        raise EngineTrouble("Too many connections are being tried at once; try again a little later.")
    try:
        question = {"kind": kind, "name": name, "settings": dict(settings), **wanted}
        answer = _call(json.dumps(question).encode(), max(1.0, end - time.monotonic()))
    finally:
        _turns.release()
    return _read(answer, _secrets(kind, settings))


def _call(question: bytes, limit: float) -> dict[str, Any]:
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(question, timeout=limit)
        except subprocess.TimeoutExpired:
            raise EngineTrouble(f"It did not answer within {limit:.0f} seconds.") from None
        finally:
            _end(process)
        try:
            return dict(json.loads(said))
        except ValueError:
            log.warning("an engine's process ended with code %s: %s", process.returncode, _tail(errors))
            raise EngineTrouble("The engine's process ended without an answer; the log says more.") from None


def _environment() -> dict[str, str]:
    """Ours, without the site's settings: one of them may hold the password of the database."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OMSERVER_") or name == "OMSERVER_HOME"
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started."""
    if process.returncode is None:  # otherwise it has ended its own group, and its number may be another's
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=5)


def _tail(errors: Any) -> str:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 2000))
    return str(errors.read().decode("utf-8", "replace"))


def _read(answer: Mapping[str, Any], secrets: list[str]) -> dict[str, Any]:
    if "ok" in answer:
        return dict(answer["ok"])
    text = str(answer.get("text", ""))
    for secret in secrets:
        text = text.replace(secret, "***")
    raise {"settings": ValueError, "no_inventory": NoInventory, "down": ConnectionDown}.get(
        str(answer.get("error")), EngineTrouble
    )(text)


def _secrets(kind: str, settings: Mapping[str, Any]) -> list[str]:
    from . import settings_of

    named = [setting.name for setting in settings_of(kind) if setting.secret]
    return [str(settings[name]) for name in named if settings.get(name)]


# --- In the process of its own -----------------------------------------------------------------


def main() -> None:
    """Answer the one question on standard input; then end, with all that the engine started."""
    answers = os.fdopen(os.dup(1), "wb")  # what engines print must not get between
    os.dup2(2, 1)
    question = json.load(sys.stdin.buffer)
    answer = json.dumps(_answer(question)).encode()
    if len(answer) > LONGEST:
        answer = json.dumps({"error": "failed", "text": "The engine's answer is too long."}).encode()
    answers.write(answer)
    answers.close()
    sys.stderr.flush()
    os.killpg(0, signal.SIGKILL)


def _answer(question: Mapping[str, Any]) -> dict[str, Any]:
    from . import make_backend

    try:
        backend = make_backend(question["kind"], question["name"], question["settings"])
    except ValueError as error:
        return {"error": "settings", "text": str(error)}
    try:
        return {"ok": _CALLS[question["call"]](backend, question)}
    except NoInventory as error:
        return {"error": "no_inventory", "text": str(error)}
    except ConnectionDown as error:
        return {"error": "down", "text": str(error)}
    except Exception as error:  # the engine's own, whatever it is
        logging.exception("%s failed", question["call"])
        return {"error": "failed", "text": f"The engine failed: {type(error).__name__}: {error}"}


def _inventory(backend: Any, question: Mapping[str, Any]) -> dict[str, Any]:
    found = backend.inventory(question["seconds"])
    return {"hosts": [{**_plain(host), "facts": dict(host.facts)} for host in found]}


def _try_host(backend: Any, question: Mapping[str, Any]) -> dict[str, Any]:
    host = Target(**question["host"])
    deadline = time.monotonic() + question["seconds"]
    work = Run(argv=["true"], timeout=question["seconds"])
    ((_, answer),) = backend.run(work, [host], backend.new_handle(), deadline)
    streams = {name: base64.b64encode(getattr(answer, name)).decode() for name in ("stdout", "stderr")}
    return {**_plain(answer), **streams}


def _plain(thing: Any) -> dict[str, Any]:
    return {field.name: getattr(thing, field.name) for field in fields(thing)}


_CALLS: dict[str, Any] = {
    "check": lambda backend, question: {},
    "probe": lambda backend, question: asdict(backend.probe()),
    "inventory": _inventory,
    "try_host": _try_host,
}

if __name__ == "__main__":
    main()
