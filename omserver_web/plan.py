"""What a person has put together on the Run page so far: hosts, module, parameters, and the filters in use.

A plan lives in the address or in the form; the console keeps none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from werkzeug.datastructures import MultiDict

from .params import PLACES

#: Field names of parameters begin with this.
PREFIX = "p."
#: Field names of the roll-out begin with this.
ROLLOUT = "r."
#: Those of them that are the job's, not the roll-out's.
LIMITS = ("timeout", "start_before")
NOT_ROLLOUT = frozenset({"hours", "locks", "lock_mode", *LIMITS})
#: Those of them that are ticked or not.
_TICKED = ("ask", "unreachable_counts")
#: What stands for groups of hosts that are never in one batch, instead of their names.
_SPREAD = re.compile(r"app|categ|label:\S*")
#: An address longer than this is not worth keeping.
LONGEST_ADDRESS = 1800

_BETWEEN_NAMES = re.compile(r"[\s,;]+")
#: Kinds of parameters whose value is a list.
LISTS = frozenset({"choices", "lines"})


@dataclass(frozen=True)
class Plan:
    """One state of the Run page.

    ``params`` holds what was typed, by name; ``params_of`` the module whose form it was typed into;
    ``dry_run`` whether that module shall only say what it would change; ``rollout`` what was typed about how
    to go over the hosts, by the master's names, the locks, the job's limits, and for how many ``hours`` hosts
    that are off are tried again.
    """

    categ: str = ""
    app: str = ""
    search: str = ""
    module_search: str = ""
    module: str = ""
    hosts: tuple[str, ...] = ()
    params_of: str = ""
    params: Mapping[str, list[str]] = field(default_factory=dict)
    dry_run: bool = False
    rollout: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, form: MultiDict[str, str]) -> Plan:
        """The plan that the fields of *form* (or of an address) say."""
        typed = {name[len(PREFIX) :]: form.getlist(name) for name in form if name.startswith(PREFIX)}
        rollout = {name[len(ROLLOUT) :]: form[name].strip() for name in form if name.startswith(ROLLOUT)}
        return cls(
            categ=form.get("categ", ""),
            app=form.get("app", ""),
            search=form.get("q", "").strip(),
            module_search=form.get("mq", "").strip(),
            module=form.get("module", ""),
            hosts=distinct([*form.getlist("host"), *split_names(form.get("paste", ""))]),
            params_of=form.get("params_of", ""),
            params=typed,
            dry_run=form.get("dry_run") == "1",
            rollout={name: text for name, text in rollout.items() if text},
        )

    @property
    def touched(self) -> bool:
        """Whether the person has seen the form of the chosen module, so that its faults may be named."""
        return bool(self.module) and self.params_of == self.module

    def with_hosts(self, hosts: Iterable[str]) -> Plan:
        """This plan with other hosts."""
        return replace(self, hosts=distinct(hosts))

    def picks(self, name: str) -> bool:
        """Whether the host *name* is picked, however it is written."""
        return name.lower() in self._picked

    @cached_property
    def _picked(self) -> frozenset[str]:
        return frozenset(host.lower() for host in self.hosts)

    def beyond(self, hosts: Iterable[Mapping[str, Any]]) -> list[str]:
        """The picked names that are not among *hosts*."""
        shown = {host["name"].lower() for host in hosts}
        return [name for name in self.hosts if name.lower() not in shown]

    def typed(self, param: Mapping[str, Any]) -> list[str]:
        """What is in the field of *param*: what was typed, else its default."""
        if self.touched and param["name"] in self.params:
            return self.params[param["name"]]
        return texts(param.get("default"))

    def values(self, params: Sequence[Mapping[str, Any]]) -> dict[str, str | list[str]] | list[str]:
        """The parameters as the master takes them; an empty field is left out, so the default counts."""
        if (field := next(iter(params), None)) and field["kind"] == PLACES:
            return _places(self.typed(field))
        read = {param["name"]: _value(param, self.typed(param)) for param in params}
        return {name: value for name, value in read.items() if value not in ("", [])}

    def options(self) -> dict[str, Any]:
        """How to go over the hosts, as the master takes it; what nothing was said about is None."""
        locks = list(distinct(split_names(self.rollout.get("locks", ""))))
        mode = self.rollout.get("lock_mode") if locks else None
        return {"rollout": self._rollout(), "locks": locks or None, "lock_mode": mode}

    def limits(self) -> dict[str, str | None]:
        """How long the job may wait, and each host take, as it was typed: the master says what is wrong."""
        return {name: self.rollout.get(name) for name in LIMITS}

    def _rollout(self) -> dict[str, Any] | None:
        found: dict[str, Any] = {name: text for name, text in self.rollout.items() if name not in NOT_ROLLOUT}
        if "canary" in found:
            found["canary"] = list(distinct(split_names(found["canary"])))
        if not _SPREAD.fullmatch(found.get("spread", "app")):
            groups = (split_names(group) for group in found["spread"].split(";"))
            found["spread"] = [list(distinct(group)) for group in groups if group]
        found |= {name: found[name] == "1" for name in _TICKED if name in found}
        return found or None

    def address(self) -> dict[str, Any]:
        """This plan as the query of an address."""
        query: dict[str, Any] = {
            "categ": self.categ,
            "app": self.app,
            "q": self.search,
            "mq": self.module_search,
            "module": self.module,
            "host": list(self.hosts),
        }
        if self.touched:
            query["params_of"] = self.params_of
            query |= {PREFIX + name: typed for name, typed in self.params.items()}
            query["dry_run"] = "1" if self.dry_run else ""
        query |= {ROLLOUT + name: text for name, text in self.rollout.items()}
        return {name: content for name, content in query.items() if content}


def rollout_of(job: Mapping[str, Any], hosts: Collection[str]) -> dict[str, str]:
    """What the fields hold for the roll-out and locks of *job*, as far as it is about these *hosts*."""
    found = dict(job.get("rollout") or {})
    found["canary"] = ", ".join(name for name in found.get("canary", ()) if name in hosts)
    if isinstance(found.get("spread"), list):
        groups = ([name for name in group if name in hosts] for group in found["spread"])
        found["spread"] = "; ".join(", ".join(group) for group in groups if len(group) > 1)
    found |= {name: "1" for name in _TICKED if found.get(name)}
    found |= {"locks": ", ".join(job.get("locks") or ()), "lock_mode": job.get("lock_mode")}
    if found["lock_mode"] == "queue":
        del found["lock_mode"]
    return {name: str(value) for name, value in found.items() if value}


def split_names(text: str) -> list[str]:
    """The names in a pasted list: between spaces, commas, semicolons or line ends."""
    return [name for name in _BETWEEN_NAMES.split(text) if name]


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """*names* in their order, each once, whatever its case."""
    found: dict[str, str] = {}
    for name in map(str.strip, names):
        if name:
            found.setdefault(name.lower(), name)
    return tuple(found.values())


def texts(default: object) -> list[str]:
    """A parameter's default as its field holds it."""
    if default is None:
        return []
    if isinstance(default, bool):
        return ["true" if default else "false"]
    if isinstance(default, (list, tuple)):
        return [str(item) for item in default]
    return [str(default)]


def _places(typed: list[str]) -> list[str]:
    lines = [line for text in typed for line in text.splitlines() or [""]]
    while lines and not lines[-1]:  # an empty line is a place too, but for those at the end
        lines.pop()
    return lines


def _value(param: Mapping[str, Any], typed: list[str]) -> str | list[str]:
    if param["kind"] == "lines":
        return [line for text in typed for line in text.splitlines() if line.strip()]
    if param["kind"] in LISTS:
        return [item for item in typed if item]
    # A box that is not ticked sends nothing, so a hidden "false" stands before it: the last one counts.
    return typed[-1].replace("\r\n", "\n") if typed else ""
