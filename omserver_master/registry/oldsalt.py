"""The stand-in for ``salt.client.LocalClient``: the calls that modules of 2014 made of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..contract.enginework import State
from ..contract.hosts import Host
from ..contract.work import Answer, Run, Script, Work
from . import oldwork
from .oldfleet import fleet, text_of, unused

Args = Sequence[Any]
#: From arguments to the work, and from a host's answer to what Salt would have returned.
Function = tuple[Callable[[Args, dict[str, Any]], Work], Callable[[Answer], Any]]

_GLOB = set("*?[]")
_SERVER = "salt://"
#: Options of cmd.run and the like that say what is so here anyway.
_NO_MATTER = (
    "python_shell",
    "output_loglevel",
    "quiet",
    "shell",
    "reset_system_locale",
    "ignore_retcode",
    "rstrip",
)


class LocalClient:
    """Reaches the hosts of the job, whatever engine they have. Answers ``{name: what Salt returned}``.

    A host that did not answer is missing, as it was with Salt; its row says why.
    """

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def cmd(
        self,
        tgt: str | Sequence[str],
        fun: str | Sequence[str],
        arg: Any = (),
        timeout: float | None = None,
        expr_form: str = "glob",
        ret: str = "",
        kwarg: Mapping[str, Any] | None = None,
        tgt_type: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Call *fun* on the hosts that *tgt* lists. *timeout* is the job's now."""
        hosts = _targets(tgt, tgt_type or expr_form)
        unused({**more, "ret": ret}, ("jid", "full_return", "verbose", "show_timeout"), "LocalClient.cmd")
        if not isinstance(fun, str):
            rows = [
                self._one(hosts, name, of, {}) for name, of in zip(fun, arg or [()] * len(fun), strict=True)
            ]
            names = {name for row in rows for name in row}
            return {
                name: {what: row[name] for what, row in zip(fun, rows, strict=True) if name in row}
                for name in names
            }
        return self._one(hosts, fun, arg, dict(kwarg or {}))

    def cmd_iter(self, *args: Any, **options: Any) -> Any:
        """As `cmd`, one host at a time in the form ``{name: {"ret": ...}}``."""
        for name, value in self.cmd(*args, **options).items():
            yield {name: {"ret": value}}

    def _one(self, hosts: Sequence[Host], fun: str, arg: Any, kwarg: dict[str, Any]) -> dict[str, Any]:
        known = _FUNCTIONS.get(fun)
        if known is None:
            raise fleet().wrong(f"Salt's {fun} has no stand-in; there are {', '.join(sorted(_FUNCTIONS))}")
        make, read = known
        answers = fleet().ask(hosts, make(*_sorted_out(arg, kwarg)))
        return {host.name: read(answer) for host, answer in answers.items() if answer.state == "done"}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise fleet().wrong(f"LocalClient.{name} has no stand-in; there are cmd and cmd_iter")


def _targets(tgt: str | Sequence[str], form: str) -> list[Host]:
    words = tgt.replace(";", ",").split(",") if isinstance(tgt, str) else list(tgt)
    words = [word for word in words if word.strip()]
    if form not in ("list", "glob", "L"):
        raise fleet().wrong(f"hosts are named here with expr_form='list', not {form!r}")
    if form == "glob" and any(_GLOB & set(word) for word in words):
        raise fleet().wrong(f"{tgt!r} may mean hosts that nobody picked; name them with expr_form='list'")
    return fleet().find(words)


def _sorted_out(arg: Any, kwarg: dict[str, Any]) -> tuple[Args, dict[str, Any]]:
    """Salt takes ``"name=value"`` among the arguments for a keyword of the function where it has one."""
    words = [arg] if isinstance(arg, str) else list(arg or ())
    plain = []
    for word in words:
        name, mark, value = word.partition("=") if isinstance(word, str) else ("", "", "")
        if mark and not set(value) & set(" \t;|&") and name in ("cwd", "saltenv", "test", *_NO_MATTER):
            kwarg.setdefault(name, value)
        else:
            plain.append(word)
    return plain, kwarg


def _command(*, merged: bool = False) -> Callable[[Args, dict[str, Any]], Work]:
    def make(args: Args, options: dict[str, Any]) -> Work:
        command = _text(args, options, "cmd")
        unused(options, ("cmd", "cwd", "stdin", "env", *_NO_MATTER), "cmd.run")
        run = oldwork.shell(command, options.get("cwd"), merged=merged)
        env = options.get("env") if isinstance(options.get("env"), dict) else {}
        return Run(run.shell, stdin=options.get("stdin") or b"", env={**run.env, **(env or {})})

    return make


def _service(action: str) -> Callable[[Args, dict[str, Any]], Work]:
    return lambda args, options: oldwork.service(_text(args, options, "name"), action)


def _script(text: str, names: Sequence[str] = ("path",)) -> Callable[[Args, dict[str, Any]], Work]:
    def make(args: Args, options: dict[str, Any]) -> Work:
        words = [str(word) for word in args] + [str(options[name]) for name in names if name in options]
        if len(words) != len(names):
            raise fleet().wrong(f"that takes {', '.join(names)}")
        return Script(text, words)

    return make


def _get_file(args: Args, options: dict[str, Any]) -> Work:
    words = [*map(str, args), *(str(options[name]) for name in ("path", "dest") if name in options)]
    if len(words) < 2 or not words[0].startswith(_SERVER):
        raise fleet().wrong("cp.get_file takes salt://path and where the file belongs")
    return oldwork.put_file(words[0].removeprefix(_SERVER).lstrip("/"), words[1])


def _write(args: Args, options: dict[str, Any]) -> Work:
    path, *lines = [str(word) for word in args]
    return oldwork.put(path, "".join(f"{line}\n" for line in lines).encode())


def _state(args: Args, options: dict[str, Any]) -> Work:
    unused(options, ("mods", "pillar", "test", "saltenv"), "state.sls")
    names = _text(args, options, "mods").split(",")
    test = str(options.get("test", "")).lower() == "true"
    try:
        return State([name.strip() for name in names], options.get("pillar"), test=test)
    except ValueError as error:
        raise fleet().wrong(str(error).rstrip(".")) from error


def _text(args: Args, options: Mapping[str, Any], name: str) -> str:
    word = args[0] if args else options.get(name)
    if not isinstance(word, str) or not word.strip() or len(args) > 1:
        raise fleet().wrong(f"it takes one text, {name}")
    return word


def _ok(answer: Answer) -> bool:
    return answer.rc == 0


def _out(answer: Answer) -> str:
    return text_of(answer)[0]


def _all(answer: Answer) -> dict[str, Any]:
    stdout, stderr = text_of(answer)
    return {"pid": 0, "retcode": answer.rc, "stdout": stdout, "stderr": stderr}


def _told(answer: Answer) -> Any:
    stdout, stderr = text_of(answer)
    return stdout if answer.rc == 0 else (f"{stdout}\n{stderr}").strip()


def _json_or_text(answer: Answer) -> Any:
    try:
        return json.loads(answer.text)
    except ValueError:
        return _told(answer)


_FUNCTIONS: dict[str, Function] = {
    "test.ping": (lambda args, options: Run(["true"]), _ok),
    "cmd.run": (_command(merged=True), _out),
    "cmd.shell": (_command(merged=True), _out),
    "cmd.run_stdout": (_command(), _out),
    "cmd.run_stderr": (_command(), lambda answer: text_of(answer)[1]),
    "cmd.retcode": (_command(), lambda answer: answer.rc),
    "cmd.run_all": (_command(), _all),
    **{f"service.{action}": (_service(action), _ok) for action in oldwork.ACTIONS},
    "cp.get_file": (_get_file, _ok),
    "file.write": (_write, _told),
    "file.file_exists": (_script('test -f "$1"'), _ok),
    "file.directory_exists": (_script('test -d "$1"'), _ok),
    "file.remove": (_script('test -e "$1" || test -L "$1" || exit 1\nexec rm -rf -- "$1"'), _ok),
    "file.copy": (_script('exec cp -- "$1" "$2"', ("src", "dst")), _ok),
    "file.mkdir": (_script('exec mkdir -p -- "$1"'), _ok),
    "file.read": (_script('exec cat -- "$1"'), _out),
    "state.sls": (_state, _json_or_text),
    "state.apply": (_state, _json_or_text),
}
