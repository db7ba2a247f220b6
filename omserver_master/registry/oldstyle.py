"""Modules of 2014: ``from Public_lib import *``, and a ``run()`` that answers a dict of some shape, or text.

    {minion: output}                                              Salt
    {host: [return code, stdout, stderr]}                         Func
    {"contacted": {ip: result}, "dark": {ip: message}}            Ansible 1
    {"success": {...}, "failed": {...}, "unreachable": {...}}     Ansible 2
    "text"                                                        a message for the whole run

`normalise` makes one result per host of any of them. Hosts are matched by name or ip, in any case of letters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..contract.hosts import Host, read_hosts
from ..contract.work import Answer

#: What the result of each host says where a module answered a text.
ONE_MESSAGE = "The module answered one message for the whole run, not an answer for each host."

Result = dict[str, Any]

_NOT_NAMED = "The module's answer does not name this host."
_NEVER_ASKED = "The module asked nothing of this host."
#: What Salt puts in place of a return that was too large; it is not the output of any command.
_TRIMMED = "VALUE_TRIMMED"
_GROUPS = ({"contacted", "dark"}, {"success", "failed", "unreachable"})


def target_host(hosts: str, target_type: str) -> str:
    """The names ("HN") or ips ("IP") of ``ip*name,ip*name``, joined by ``;``."""
    read = read_hosts(hosts)
    return ";".join(host.ip if target_type == "IP" else host.name for host in read)


def normalise(raw: object, hosts: Sequence[Host], cap: int) -> list[Result]:
    """One result for each of *hosts*, in their order, whatever *raw* is; texts hold at most *cap* bytes."""
    if isinstance(raw, str | bytes):
        message = _text(raw)
        reason = ONE_MESSAGE
        return [_result(host, "unknown", stdout=message, reason=reason, cap=cap) for host in hosts]
    if not isinstance(raw, Mapping):
        reason = f"The module answered {type(raw).__name__}, which is neither a dict nor text."
        return [_result(host, "unknown", reason=reason, cap=cap) for host in hosts]
    answers = _by_host(raw)
    return [_one(host, answers, cap) for host in hosts]


def normalise_driven(
    raw: object, hosts: Sequence[Host], cap: int, last: Mapping[str, Answer]
) -> list[Result]:
    """As `normalise`, for a module whose stand-ins asked the hosts: *last* is the last answer of each.

    A host that was never asked has not been touched; a return code that the module does not tell is known.
    """
    results = []
    for result in normalise(raw, hosts, cap):
        answer = last.get(result["host"])
        if answer is None and result["state"] == "unknown":
            reason = result["reason"] if result["reason"] == ONE_MESSAGE else _NEVER_ASKED
            result |= {"state": "not_started", "reason": reason}
        elif answer is not None and answer.state == "done" and result["rc"] is None:
            result |= _with_rc(result, answer)
        results.append(result)
    return results


def _with_rc(result: Result, answer: Answer) -> Result:
    """What the host itself said about how its last command ended."""
    told = result["reason"] not in (ONE_MESSAGE, _NOT_NAMED)
    if not told or result["state"] not in ("ok", "unreachable", "failed"):
        return {"rc": answer.rc}
    if answer.rc == 0 and result["state"] != "failed":
        return {"rc": 0, "state": "ok", "reason": ""}
    reason = (
        result["reason"]
        if result["state"] == "failed"
        else _why(answer.rc, answer.errors or result["stdout"])
    )
    return {"rc": answer.rc, "state": "failed", "reason": reason}


def _by_host(raw: Mapping[Any, Any]) -> dict[str, Result]:
    """Every answer in *raw* as the fields of a result, by lower-case name or ip; the first one counts."""
    answers: dict[str, Result] = {}
    groups = raw if _is_ansible(raw) else {"": raw}
    for group, members in groups.items():
        for key, value in members.items() if isinstance(members, Mapping) else ():
            answers.setdefault(str(key).strip().lower(), _read(str(group), value))
    return answers


def _is_ansible(raw: Mapping[Any, Any]) -> bool:
    values_are_groups = all(isinstance(value, Mapping) for value in raw.values())
    return bool(raw) and values_are_groups and any(set(raw) <= names for names in _GROUPS)


def _one(host: Host, answers: Mapping[str, Result], cap: int) -> Result:
    for key in (host.name.lower(), host.ip.lower()):
        if key and key in answers:
            return _result(host, **answers[key], cap=cap)
    return _result(host, "unknown", reason=_NOT_NAMED, cap=cap)


def _read(group: str, value: Any) -> Result:
    if group in ("dark", "unreachable"):
        message = value.get("msg", value) if isinstance(value, Mapping) else value
        return {"state": "unreachable", "reason": _first_line(_text(message))}
    if isinstance(value, Mapping):
        return _read_fields(group, value)
    if isinstance(value, list | tuple) and len(value) == 3:
        return _read_triple(value)
    return _read_output(value)


def _read_fields(group: str, value: Mapping[Any, Any]) -> Result:
    """Ansible's result, or Salt's cmd.run_all."""
    rc = value.get("rc", value.get("retcode"))
    rc = rc if isinstance(rc, int) and not isinstance(rc, bool) else None
    known = any(name in value for name in ("stdout", "stderr", "msg", "rc", "retcode"))
    stdout = _text(value.get("stdout", "" if known else dict(value)))
    stderr = _text(value.get("stderr", ""))
    fields = {"rc": rc, "stdout": stdout, "stderr": stderr}
    message = _first_line(_text(value.get("msg", "")))
    if value.get("skipped"):
        return {**fields, "state": "skipped", "reason": message or "The module skipped this host."}
    if value.get("unreachable"):
        return {**fields, "state": "unreachable", "reason": message}
    failed = group == "failed" or bool(value.get("failed")) or bool(rc)
    if failed:
        return {**fields, "state": "failed", "reason": message or _why(rc, stderr)}
    return {**fields, "state": "ok", "stdout": stdout or _text(value.get("msg", ""))}


def _read_triple(value: Sequence[Any]) -> Result:
    """Func's [return code, stdout, stderr]; its errors begin with a word instead."""
    rc, stdout, stderr = value[0], _text(value[1]), _text(value[2])
    if not isinstance(rc, int) or isinstance(rc, bool):
        return {"state": "failed", "reason": _first_line(_text(rc)), "stdout": stdout, "stderr": stderr}
    reason = _why(rc, stderr) if rc else ""
    return {
        "state": "failed" if rc else "ok",
        "rc": rc,
        "stdout": stdout,
        "stderr": stderr,
        "reason": reason,
    }


def _read_output(value: Any) -> Result:
    """Salt's bare output; it tells no return code."""
    if value is False:
        return {"state": "unreachable", "reason": "The minion did not return."}
    if value == _TRIMMED:
        return {"state": "unknown", "reason": "The output was too large for Salt, which dropped it."}
    return {"state": "ok", "stdout": _text(value), "reason": "The module told no return code."}


def _result(
    host: Host,
    state: str,
    *,
    rc: int | None = None,
    stdout: str = "",
    stderr: str = "",
    reason: str = "",
    cap: int,
) -> Result:
    out, out_cut = _cut(stdout, cap)
    err, err_cut = _cut(stderr, cap)
    fields = {"host": host.name, "state": state, "rc": rc, "stdout": out, "stderr": err, "reason": reason}
    return {**fields, "stdout_cut": out_cut, "stderr_cut": err_cut}


def _cut(text: str, cap: int) -> tuple[str, int]:
    """The first *cap* bytes of *text* as whole characters, and how many bytes were left out."""
    encoded = text.encode("utf-8", "replace")
    kept = encoded[:cap].decode("utf-8", "ignore")
    return kept, len(encoded) - len(kept.encode())


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)


def _why(rc: int | None, stderr: str) -> str:
    return _first_line(stderr) or f"The return code is {rc}."


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:300] if lines else ""
