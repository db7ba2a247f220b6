"""The stand-in for ``func.overlord.client.Overlord``, which modules of 2014 know as ``fc.Overlord``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

from ..contract.hosts import Host
from ..contract.work import Answer, Work
from . import oldwork
from .oldfleet import fleet, text_of, unused


class Binary:
    """``xmlrpclib.Binary``: bytes on their way to a host. It takes text, as Python 2's did."""

    def __init__(self, data: bytes | str = b"") -> None:
        self.data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else bytes(data)


class Overlord:
    """Reaches the hosts that *server_spec* names, joined by ``;``, whatever engine they have.

    ``client.module.method(...)`` answers ``{name: what the method returned}``.
    """

    def __init__(self, server_spec: str, *_: Any, **options: Any) -> None:
        self._spec = server_spec
        self._hosts: Sequence[Host] = ()
        unused(
            options, ("port", "interactive", "verbose", "noglobs", "nforks", "config", "timeout"), "Overlord"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in _METHODS:
            raise fleet().wrong(f"Func's {name} has no stand-in; there are {_known()}")
        return _Part(self._targets(), name)

    def _targets(self) -> list[Host]:
        words = [word for word in self._spec.split(";") if word.strip()]
        if any(set("*?[]@") & set(word) for word in words):
            raise fleet().wrong(f"{self._spec!r} may mean hosts that nobody picked; name them, joined by ';'")
        return fleet().find(words)


#: The same under the name of older versions.
Client = Overlord


class _Part:
    """A module of Func, as ``client.command``."""

    def __init__(self, hosts: Sequence[Host], name: str) -> None:
        self._hosts = hosts
        self._name = name

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in _METHODS[self._name]:
            raise fleet().wrong(f"Func's {self._name}.{name} has no stand-in; there are {_known()}")
        make, read = _METHODS[self._name][name]

        def call(*args: Any) -> dict[str, Any]:
            try:
                work = make(*args)
            except TypeError as error:
                raise fleet().wrong(f"{self._name}.{name}: {error}") from error
            return {host.name: _read(answer, read) for host, answer in fleet().ask(self._hosts, work).items()}

        return call


def _read(answer: Answer, read: Callable[[Answer], Any]) -> Any:
    """What the method returned; of a host that did not answer, the list that Func gave instead."""
    return read(answer) if answer.state == "done" else ["REMOTE_ERROR", answer.state, answer.reason]


def _run(command: str, env: Any = None) -> Work:
    if env:
        raise fleet().wrong("command.run takes no variables here; set them in the command")
    return oldwork.shell(str(command))


def _exists(path: str) -> Work:
    return oldwork.shell_script('test -e "$1"', str(path))


def _copyfile(path: str, data: Any, mode: int | None = None, *owner: Any) -> Work:
    if any(word not in (None, -1, 0) for word in owner):
        raise fleet().wrong("copyfile takes no owner here; the file belongs to who the engine is on the host")
    content = data.data if isinstance(data, Binary) else base64.b64decode(data)
    return oldwork.put(str(path), content, 0o644 if mode is None else int(mode))


def _service(action: str) -> Callable[..., Work]:
    return lambda name: oldwork.service(str(name), action)


def _triple(answer: Answer) -> list[Any]:
    return [answer.rc, answer.text, answer.errors]


def _rc(answer: Answer) -> int | None:
    return answer.rc


def _one(answer: Answer) -> int:
    return int(answer.rc == 0)


_METHODS: dict[str, dict[str, tuple[Callable[..., Work], Callable[[Answer], Any]]]] = {
    "command": {"run": (_run, _triple), "exists": (_exists, lambda answer: answer.rc == 0)},
    "copyfile": {"copyfile": (_copyfile, _one)},
    "service": {action: (_service(action), _rc) for action in oldwork.ACTIONS},
    "test": {"ping": (lambda: oldwork.shell("true"), _one)},
    "system": {
        "hostname": (lambda: oldwork.shell("hostname"), lambda answer: text_of(answer)[0]),
        "uname": (lambda: oldwork.shell("uname -a"), lambda answer: text_of(answer)[0]),
    },
}


def _known() -> str:
    return ", ".join(f"{part}.{name}" for part, names in _METHODS.items() for name in names)
