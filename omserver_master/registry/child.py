"""The process that runs module code: ``python -m omserver_master.registry.child FD PARENT BYTES``.

It hears orders on the socket FD (see `pool`), ends when PARENT does, and has at most BYTES of memory. It only
describes work and reads answers: no engine, no database, no secret is here.

    worker  {"do": "describe", "path", "sha256", "source"}
            {"do": "start", "path", "sha256", "source"?, "module", "params", "hosts": [...], "dry_run"?,
             "replay"?: {host: [answers]}, "ended"?: {host: end}}
            {"do": "answer", "host", "answer", "seq"?}, {"do": "answers", "items": [...]}, {"do": "stop"}
    child   {"say": "described", ...}
            {"say": "work", "items": [{"host", "work", "seq"}]}
            {"say": "end", "host", "end": {"state", "reason", "text"}}
            {"say": "crashed", "host"?, "line", "reason"}      without a host: the whole run
            {"say": "direct", "results": [...]}                what run() of a module of 2014 answered
            {"say": "note", "text"}                            what after() wants to be noted
            {"say": "broken", "line", "reason"}
            {"say": "done"}
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from omserver_client.errors import InvalidParam

from ..contract.forms import Raw
from ..contract.hosts import Host, write_hosts
from ..contract.module import Module
from ..contract.work import Answer
from . import oldimports
from .channel import Channel, Closed, Message, Stopped
from .driving import Driver
from .loading import Broken, blame, check_hash, describe, forget, is_driven, load, refuse_vanished
from .oldfleet import Fleet, use
from .oldstyle import normalise, normalise_driven

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_FILE_SIZE = 256 << 20
#: More memory than this at any time, in KiB, and the process is not used again.
_RETIRE_ABOVE = 256 << 10


def main(arguments: list[str]) -> None:
    """Serve orders until the worker closes the channel."""
    fd, parent, memory = map(int, arguments)
    _confine(parent, memory)
    refuse_vanished()
    with contextlib.suppress(Closed):
        _serve(Channel(fd))


def _confine(parent: int, memory: int) -> None:
    """Die with the worker, adopt orphans (so that none is overlooked), dump no core, stay small."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:
        os._exit(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_SIZE, _FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _serve(channel: Channel) -> None:
    channel.say({"say": "ready"})
    folder, environment = Path.cwd(), dict(os.environ)
    while True:
        (order,) = channel.hear(most=1)
        if order["do"] not in ("describe", "start"):
            continue  # an answer that crossed with the end of its run
        final = _obey(order, channel)
        _tidy(folder, environment)
        channel.say({**final, "retire": _is_used_up()})


def _obey(order: Message, channel: Channel) -> Message:
    """Do what *order* says; the answer is the last thing to be said about it."""
    path = str(order.get("path", ""))
    oldimports.install()
    try:
        if order["do"] == "describe":
            source = _source(order)
            return {"say": "described", **describe(load(path, source), source)}
        if order["do"] == "start":
            _run(order, channel)
        return {"say": "done"}
    except Broken as broken:
        return {"say": "broken", "line": broken.line, "reason": broken.reason}
    except Stopped:
        return {"say": "done"}
    except Closed:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- a module's own code
        line, reason = blame(error, path)
        return {"say": "crashed", "line": line, "reason": reason}
    finally:
        use(None)
        forget(path)


def _source(order: Message) -> bytes:
    given = order.get("source")
    source = base64.b64decode(given) if given is not None else Path(order["path"]).read_bytes()
    check_hash(source, order["sha256"])
    return source


def _run(order: Message, channel: Channel) -> None:
    source = _source(order)
    handle = load(order["path"], source)
    hosts = tuple(Host.from_wire(host) for host in order["hosts"])
    fleet = Fleet(channel, hosts, order["path"], _replay(order.get("replay", {})), order.get("ended", {}))
    use(fleet)
    late = bool(order.get("late"))
    driver = Driver(channel, order["path"], _replay(order.get("replay", {})), order.get("ended"), late=late)
    try:
        module = _make(handle, order["module"], hosts, order["params"])
    except InvalidParam as error:
        raise Broken(None, str(error)) from error
    if late and not isinstance(module, Module):
        raise Broken(None, "What does everything by itself is not begun anew after its job.")
    if isinstance(module, Module):
        module.driver = driver
        module.dry_run = bool(order.get("dry_run"))
    raw = module.run()
    if not driver.used:
        cap = module.output if isinstance(module, Module) else Module.output
        driven = is_driven(handle, source)
        results = normalise_driven(raw, hosts, cap, fleet.last) if driven else normalise(raw, hosts, cap)
        channel.say({"say": "direct", "results": results})


def _replay(wire: Message) -> dict[str, list[Answer]]:
    """What hosts had answered before a crash, by name."""
    return {host: [Answer.from_wire(answer) for answer in answers] for host, answers in wire.items()}


def _make(handle: type[Any], moduleid: str, hosts: tuple[Host, ...], params: Raw) -> Any:
    """An instance; a class of 2014 gets what it got in 2014: text, text, and a list of texts."""
    if issubclass(handle, Module):
        return handle(moduleid, hosts, params)
    row = params.values() if isinstance(params, dict) else params
    return handle(moduleid, write_hosts(hosts), [str(value) for value in row])


def _tidy(folder: Path, environment: dict[str, str]) -> None:
    """Put back what a module may have changed."""
    os.chdir(folder)
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    signal.setitimer(signal.ITIMER_REAL, 0)


def _is_used_up() -> bool:
    """Whether something is left of the module: threads, processes, a lot of memory."""
    return _most_memory() > _RETIRE_ABOVE or threading.active_count() > 1 or _has_children()


def _most_memory() -> int:
    """The most memory that this program ever had, in KiB.

    Not what getrusage says: that counts the process which started this one, until it became this program.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1])


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
