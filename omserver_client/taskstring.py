"""The task string of 2014: ``ID@@ip*name,ip*name,...@@param1@@...@@``.

Fields are joined and ended by ``@@``; text after the last ``@@`` is ignored, as it always was.

    Task("1003", (TaskHost("web-01", "192.168.1.21"),)).format()     # "1003@@192.168.1.21*web-01@@"
    Task.parse("1001@@192.168.1.21*web-01@@50@@").params             # ("50",)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .errors import BadRequest

MARK = "@@"
_MODULE_ID = re.compile(r"[1-9][0-9]{3,5}")
_LONGEST_NAME = 255


@dataclass(frozen=True)
class TaskHost:
    """A host of a task: its name decides, its address is checked against it."""

    name: str
    ip: str


@dataclass(frozen=True)
class Task:
    """A module, the hosts to run it on, and its parameters in the order of its form."""

    module: str
    hosts: tuple[TaskHost, ...]
    params: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Task:
        """Read a task string.

        Raises:
            BadRequest: it is not one; ``details["field"]`` is ``module``, ``hosts`` or ``task``.
        """
        fields = text.split(MARK)[:-1]
        if len(fields) < 2:
            raise BadRequest("A task string is ID@@ip*name,...@@param@@...@@.", field="task")
        module, hosts, *params = fields
        return _checked(cls(module, tuple(map(_parse_host, hosts.split(","))), tuple(params)))

    def format(self) -> str:
        """This task as a task string.

        Raises:
            BadRequest: it cannot be said in a task string, for example because a parameter holds ``@@``.
        """
        task = _checked(self)
        hosts = ",".join(f"{host.ip}*{host.name}" for host in task.hosts)
        text = MARK.join((task.module, hosts, *task.params, ""))
        if Task.parse(text) != task:
            raise BadRequest(f'A parameter of a task string cannot hold "{MARK}".', field="params")
        return text

    def to_args(self) -> dict[str, Any]:
        """The arguments of ``runcommands``: ``{module, hosts: [{name, ip}], params: [text]}``."""
        hosts = [{"name": host.name, "ip": host.ip} for host in self.hosts]
        return {"module": self.module, "hosts": hosts, "params": list(self.params)}


def _checked(task: Task) -> Task:
    if not _MODULE_ID.fullmatch(task.module):
        raise BadRequest("A module id is 4 to 6 digits and does not begin with 0.", field="module")
    if not task.hosts:
        raise BadRequest("No hosts were given.", field="hosts")
    seen: set[str] = set()
    for host in task.hosts:
        _check_host(host)
        if host.name.casefold() in seen:
            raise BadRequest(f"The host {host.name} was given twice.", field="hosts")
        seen.add(host.name.casefold())
    return task


def _parse_host(text: str) -> TaskHost:
    if not text:
        raise BadRequest("No hosts were given, or a host is empty.", field="hosts")
    ip, star, name = text.partition("*")
    if not star:
        raise BadRequest(f"The host {text[:80]!r} is not written ip*name.", field="hosts")
    return TaskHost(name, ip)


def _check_host(host: TaskHost) -> None:
    for word in (host.name, host.ip):
        if not _is_word(word):
            shown = f"{host.ip[:80]}*{host.name[:80]}"
            raise BadRequest(f"The host {shown!r} is not written ip*name.", field="hosts")


def _is_word(word: str) -> bool:
    """Whether *word* can stand in the host list: something printable, without the signs that part it."""
    fits = 0 < len(word) <= _LONGEST_NAME and word.isprintable()
    return fits and not set(word) & set("*,@ ")
