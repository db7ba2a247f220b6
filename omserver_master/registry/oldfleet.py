"""How modules of 2014 reach hosts: their stand-ins describe work, and the job's own engine does it.

A stand-in asks for work on hosts of the job and waits for the answers, in the process of the module's code.
Every answer is the host's own, as with any module: limited by the job's deadline, and to be cancelled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contract.hosts import Host
from ..contract.work import Answer, Work
from .channel import Channel, Stopped, batches

_ENDED = "It had ended before the worker changed."


class OldCallError(Exception):
    """The module asked its stand-in for something that there is not; the text says on which line."""


class Fleet:
    """The hosts of one job, for the stand-ins that one module uses."""

    def __init__(
        self,
        channel: Channel,
        hosts: Sequence[Host],
        path: str,
        replay: Mapping[str, Sequence[Answer]] | None = None,
        ended: Iterable[str] = (),
    ) -> None:
        self._channel = channel
        self._path = path
        self._by_word = {word.lower(): host for host in hosts for word in (host.ip, host.name) if word}
        self.hosts = tuple(hosts)
        #: The last answer of each host that was asked, by name.
        self.last: dict[str, Answer] = {name: Answer("unknown", reason=_ENDED) for name in ended}
        #: What hosts had answered before the worker changed: the module runs anew and is told the same.
        self._replay = replay or {}
        self._numbers: dict[str, int] = dict.fromkeys((host.name for host in hosts), 0)

    @property
    def folder(self) -> Path:
        """The folder of the site's modules: ``files`` is in it."""
        folder = Path(self._path).parent
        return folder if (folder / "files").is_dir() else folder.parent

    def find(self, words: Iterable[str]) -> list[Host]:
        """The hosts of those names or ips, in any case of letters.

        Raises:
            OldCallError: one of them is not a host of this job.
        """
        found = []
        for word in words:
            host = self._by_word.get(word.strip().lower())
            if host is None:
                raise self.wrong(
                    f"{word.strip()!r} is not a host of this job; only those that were picked can be reached"
                )
            if host not in found:
                found.append(host)
        if not found:
            raise self.wrong("no host was named")
        return found

    def ask(self, hosts: Sequence[Host], work: Work) -> dict[Host, Answer]:
        """Do *work* on *hosts* and wait for all of them; a host that was lost before is not asked again."""
        waiting = {host.name: host for host in hosts if self._is_there(host)}
        items = []
        for name in list(waiting):
            self._numbers[name] += 1
            known = self._replay.get(name, ())[self._numbers[name] - 1 : self._numbers[name]]
            if known:
                self.last[name] = known[0]
                del waiting[name]
            else:
                items.append({"host": name, "work": work.to_wire(), "seq": self._numbers[name]})
        for batch in batches(items):
            self._channel.say({"say": "work", "items": batch})
        while waiting:
            for name, answer in self._answers():
                if waiting.pop(name, None) is not None:
                    self.last[name] = answer
        return {host: self.last[host.name] for host in hosts}

    def wrong(self, text: str) -> OldCallError:
        """An error that says on which line of the module it happened."""
        line = self._line()
        where = f"{Path(self._path).name}, line {line}: " if line else ""
        return OldCallError(f"{where}{text}.")

    def _is_there(self, host: Host) -> bool:
        last = self.last.get(host.name)
        return last is None or last.state == "done"

    def _answers(self) -> Iterable[tuple[str, Answer]]:
        for order in self._channel.hear():
            if order["do"] == "stop":
                raise Stopped
            for item in order.get("items", [order]):
                yield item["host"], Answer.from_wire(item["answer"])

    def _line(self) -> int | None:
        frame = sys._getframe()
        while frame is not None and frame.f_code.co_filename != self._path:
            frame = frame.f_back  # type: ignore[assignment]
        return frame.f_lineno if frame is not None else None


class _Holder:
    """The fleet of the module that runs in this process; none while a module is only looked at."""

    fleet: Fleet | None = None


def use(fleet: Fleet | None) -> None:
    """From now on the stand-ins of this process reach *fleet*."""
    _Holder.fleet = fleet


def fleet() -> Fleet:
    """The fleet of the module that runs.

    Raises:
        OldCallError: no module runs; the file was only loaded.
    """
    if _Holder.fleet is None:
        raise OldCallError("Hosts can be reached from run() only, not while the file is loaded.")
    return _Holder.fleet


class Unsupported:
    """Part of an engine's library that has no stand-in: using it says so, with the line."""

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead

    def __getattr__(self, name: str) -> Unsupported:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unsupported(f"{self._name}.{name}", self._instead)

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise fleet().wrong(f"{self._name} has no stand-in; there are {self._instead}")


def text_of(answer: Answer) -> tuple[str, str]:
    """Standard output and standard error without the last line's end, as the old libraries gave them."""
    return answer.text.rstrip("\n"), answer.errors.rstrip("\n")


def unused(options: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    """Refuse options that would change what runs and that the stand-in does not know.

    Raises:
        OldCallError: there is one.
    """
    strange = [
        name for name, value in options.items() if name not in known and value not in (None, "", False)
    ]
    if strange:
        raise fleet().wrong(f"{what} takes no {', '.join(sorted(strange))} here")
