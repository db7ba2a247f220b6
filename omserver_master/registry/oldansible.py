"""Stand-ins for what modules of then called of Ansible: ``Runner``, ``Order_Run`` and ``Playbook_Run``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contract.enginework import Playbook
from ..contract.hosts import Host
from ..contract.work import Answer, Run, Script, Work
from . import oldwork
from .oldfleet import fleet, text_of, unused

_WORD = re.compile(r"([a-z_]+)=(.*)", re.DOTALL)
_STATES = {"started": "start", "stopped": "stop", "restarted": "restart", "reloaded": "reload"}
#: Arguments of Runner that say what the connection says now.
_CONNECTION = (
    "forks", "timeout", "remote_user", "remote_pass", "remote_port", "private_key_file", "transport",
    "become", "become_method", "become_user", "become_pass", "sudo", "sudo_user", "sudo_pass",
    "su", "su_user", "su_pass",
    "basedir", "conditional", "callbacks", "stats", "module_path", "setup_cache", "vars_cache", "is_playbook",
    "inventory", "background", "run_hosts",
)  # fmt: skip
Result = dict[str, Any]


class Runner:
    """Ansible 1: ``Runner(...).run()`` answers ``{"contacted": {ip: result}, "dark": {ip: message}}``."""

    def __init__(
        self,
        host_list: Any = None,
        module_name: str = "command",
        module_args: Any = "",
        pattern: str = "*",
        check: bool = False,
        complex_args: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        unused(options, _CONNECTION, "Runner")
        unused({"check": check}, (), "Runner")
        self._listed = host_list if isinstance(host_list, list | tuple) else None
        self._pattern = pattern
        self._name, self._args = module_name, complex_args or module_args

    def run(self) -> dict[str, dict[str, Any]]:
        """Do it on the hosts, and wait for all of them."""
        hosts = _targets(self._pattern, self._listed)
        contacted: dict[str, Any] = {}
        dark: dict[str, Any] = {}
        for host, answer in fleet().ask(hosts, _work(self._name, self._args)).items():
            if answer.state == "done":
                contacted[host.ip or host.name] = _result(self._name, answer)
            else:
                dark[host.ip or host.name] = {"msg": answer.reason or answer.state, "failed": True}
        return {"contacted": contacted, "dark": dark}


class _Grouped(dict[str, Any]):
    """Ansible 2: ``{"success": {ip: result}, "failed": ..., "unreachable": ...}``, at once."""

    def __init__(self, answers: Mapping[Host, Answer], name: str) -> None:
        super().__init__(success={}, failed={}, unreachable={})
        for host, answer in answers.items():
            result = _result(name, answer)
            if answer.state != "done":
                group, result = "unreachable", {"unreachable": True, "msg": answer.reason or answer.state}
            else:
                group = "failed" if result.get("failed") else "success"
            self[group][host.ip or host.name] = result

    def run(self) -> dict[str, Any]:
        """The same; some editions asked like this."""
        return dict(self)

    get_result = run


class Order_Run(_Grouped):  # noqa: N801 -- the name of then
    """One module of Ansible on *host*: a text (joined by ``;`` or ``,``) or a list."""

    def __init__(
        self, host: Any, module_name: str = "command", module_args: Any = "", **options: Any
    ) -> None:
        unused(options, _CONNECTION, "Order_Run")
        answers = fleet().ask(_targets(host, None), _work(module_name, module_args))
        super().__init__(answers, module_name)


class Playbook_Run(_Grouped):  # noqa: N801 -- the name of then
    """A playbook on *host*: an absolute path, or one of ``modules/files``."""

    def __init__(self, host: Any, playbook_path: str, extra_vars: Any = None, **options: Any) -> None:
        unused(options, _CONNECTION, "Playbook_Run")
        path = Path(playbook_path) if playbook_path.startswith("/") else oldwork.site_file(playbook_path)
        try:
            play = Playbook(path.read_text(encoding="utf-8"), str(path.parent), extra_vars)
        except (OSError, ValueError) as error:
            raise fleet().wrong(f"the playbook {playbook_path!r} cannot be played: {error}") from error
        super().__init__(fleet().ask(_targets(host, None), play), "playbook")


def _targets(pattern: Any, listed: Sequence[str] | None) -> list[Host]:
    words = re.split(r"[;:,]", pattern) if isinstance(pattern, str) else list(pattern)
    words = [word for word in words if word.strip()]
    if words in (["*"], ["all"]) and listed:
        words = list(listed)
    if any(set("*?[]!&~") & set(word) for word in words) or words == ["all"]:
        raise fleet().wrong(f"{pattern!r} may mean hosts that nobody picked; name them, joined by ';'")
    return fleet().find(words)


def _work(name: str, args: Any) -> Work:
    make = _MODULES.get(name)
    if make is None:
        raise fleet().wrong(f"Ansible's {name} has no stand-in; there are {', '.join(sorted(_MODULES))}")
    work: Work = make(args)
    return work


def _command(args: Any) -> Work:
    text, cwd = _free_form(args)
    try:
        argv = shlex.split(text)
    except ValueError as error:
        raise fleet().wrong(f"the command {text!r} has a quote that does not end") from error
    if cwd:
        return Script('cd -- "$1" || exit 1\nshift\nexec "$@"', [cwd, *argv])
    if not argv:
        raise fleet().wrong("the command is empty")
    return Run(argv)


def _shell(args: Any) -> Work:
    text, cwd = _free_form(args)
    if not text.strip():
        raise fleet().wrong("the command is empty")
    return oldwork.shell(text, cwd)


def _free_form(args: Any) -> tuple[str, str | None]:
    """The command, and ``chdir`` where it was given before or behind it."""
    if isinstance(args, Mapping):
        named = dict(args)
        text = str(named.pop("_raw_params", named.pop("cmd", "")))
    else:
        text, named = str(args), {}
        for name in ("chdir", "creates", "removes", "executable", "warn"):
            found = re.search(rf"(?:^|\s){name}=(\S+)", text)
            if found:
                named[name] = found[1]
                text = text[: found.start()] + text[found.end() :]
    cwd = named.pop("chdir", None)
    named.pop("warn", None)
    unused(named, (), "command")
    return text.strip(), cwd


def _copy(args: Any) -> Work:
    named = _named(args)
    source, target, content = named.pop("src", None), named.pop("dest", ""), named.pop("content", None)
    mode = named.pop("mode", "0644")
    unused(named, ("force", "backup"), "copy")
    try:
        bits = mode if isinstance(mode, int) else int(str(mode).removeprefix("0o"), 8)
    except ValueError as error:
        raise fleet().wrong(f"{mode!r} is no mode of a file; it is written like 0644") from error
    if content is not None:
        return oldwork.put(target, str(content).encode(), bits)
    if not source:
        raise fleet().wrong("copy takes src or content, and dest")
    if target.endswith("/"):
        target += Path(source).name
    return oldwork.put_file(source, target, bits)


def _service(args: Any) -> Work:
    named = _named(args)
    name, state = named.pop("name", ""), named.pop("state", "")
    unused(named, (), "service")
    if state not in _STATES:
        raise fleet().wrong(f"the state of a service is {', '.join(_STATES)}, not {state!r}")
    return oldwork.service(name, _STATES[state])


def _script(args: Any) -> Work:
    words = shlex.split(str(args))
    if not words:
        raise fleet().wrong("script takes the path of a script")
    path = Path(words[0]) if words[0].startswith("/") else oldwork.site_file(words[0])
    try:
        return Script(path.read_text(encoding="utf-8"), words[1:])
    except (OSError, ValueError) as error:
        raise fleet().wrong(f"the script {words[0]!r} cannot be read: {error}") from error


def _ping(args: Any) -> Work:
    return Run(["true"])


def _named(args: Any) -> dict[str, Any]:
    if isinstance(args, Mapping):
        return dict(args)
    named = {}
    for word in shlex.split(str(args)):
        match = _WORD.fullmatch(word)
        if match is None:
            raise fleet().wrong(f"{word!r} is not name=value")
        named[match[1]] = match[2]
    return named


def _result(name: str, answer: Answer) -> Result:
    stdout, stderr = text_of(answer)
    failed = answer.rc != 0
    result: Result = {"rc": answer.rc, "stdout": stdout, "stderr": stderr, "changed": not failed}
    if name == "ping" and not failed:
        return {"ping": "pong", "changed": False, "rc": 0}
    if failed:
        result |= {
            "failed": True,
            "msg": stderr.strip().splitlines()[0] if stderr.strip() else "non-zero return code",
        }
    return result | {"stdout_lines": stdout.splitlines(), "stderr_lines": stderr.splitlines()}


_MODULES = {
    "command": _command, "shell": _shell, "raw": _shell, "copy": _copy, "service": _service, "ping": _ping,
    "script": _script,
}  # fmt: skip
__all__ = ["Order_Run", "Playbook_Run", "Runner"]
