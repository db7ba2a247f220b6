"""Work: what is to be done on one host; and the answer that comes back. No engine is named here.

    Run("systemctl restart", "nginx")      the author's text, then words that are always quoted
    Run(["systemctl", "restart", "nginx"]) a program and its arguments, no shell
    Script(text, env={"OM_LINES": "20"})   any interpreter, by its ``#!``
    Put("/etc/motd", b"Welcome\\n")         a small file

Everything is frozen, compares by value, and goes through JSON (``to_wire``, ``work_from_wire``); bytes travel
as base64. Times are seconds, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .enginework import Playbook, State
from .quoting import check_author_text, render
from .workparts import (
    as_bytes,
    assign,
    check_argv,
    check_env,
    from_base64,
    refuse_nul,
    to_base64,
)

#: How many bytes of each stream are kept where nothing else is said.
DEFAULT_OUTPUT = 512 * 1024
#: The states of an `Answer`.
ANSWER_STATES = ("done", "unreachable", "timed_out", "unknown", "not_started")


@dataclass(frozen=True, init=False)
class Run:
    """One command: exactly one of *argv* (no shell) and *shell* (text for ``/bin/sh -c``) is set.

    ``Run("text", word, ...)`` quotes every word after the text; a list among them becomes several words.

    Raises:
        ValueError: neither or both forms were given, or the text cannot be followed by a word safely.
    """

    argv: tuple[str, ...] | None
    shell: str | None
    stdin: bytes
    env: Mapping[str, str] = field(hash=False)
    timeout: float | None
    output: int

    def __init__(
        self,
        command: str | Sequence[str] | None = None,
        *words: object,
        argv: Sequence[str] | None = None,
        shell: str | None = None,
        stdin: bytes | str = b"",
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        output: int = DEFAULT_OUTPUT,
    ) -> None:
        if isinstance(command, str):
            shell = _only(shell, _shell_text(command, words))
        elif command is not None:
            argv = _only(argv, [*command, *_flat(words)])
        assign(self, argv=check_argv(argv), shell=shell, stdin=as_bytes(stdin), env=check_env(env))
        assign(self, timeout=timeout, output=output)
        if (self.argv is None) == (self.shell is None):
            raise ValueError("Run needs a shell text or a list of arguments, one of them.")
        if not (self.argv or (self.shell or "").strip()):
            raise ValueError("Run needs a command that is not empty.")
        refuse_nul(*(self.argv or ()), self.shell or "")

    def to_wire(self) -> dict[str, Any]:
        """This work as JSON values."""
        return {
            "kind": "run",
            "argv": list(self.argv) if self.argv is not None else None,
            "shell": self.shell,
            "stdin": to_base64(self.stdin),
            "env": dict(self.env),
            "timeout": self.timeout,
            "output": self.output,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Run:
        """Read what `to_wire` wrote."""
        return cls(argv=wire["argv"], shell=wire["shell"], **_common(wire))


@dataclass(frozen=True, init=False)
class Script:
    """A script sent as text and run as a file on the host; *args* are its arguments, *env* its variables.

    Text without a ``#!`` line is for ``/bin/sh``, and gets that line.
    """

    text: str
    args: tuple[str, ...]
    env: Mapping[str, str] = field(hash=False)
    stdin: bytes
    timeout: float | None
    output: int

    def __init__(
        self,
        text: str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | str = b"",
        timeout: float | None = None,
        output: int = DEFAULT_OUTPUT,
    ) -> None:
        text = text if text.startswith("#!") else "#!/bin/sh\n" + text
        assign(self, text=text, args=check_argv(args), env=check_env(env), stdin=as_bytes(stdin))
        assign(self, timeout=timeout, output=output)
        refuse_nul(text, *self.args)

    def to_wire(self) -> dict[str, Any]:
        """This work as JSON values."""
        return {
            "kind": "script",
            "text": self.text,
            "args": list(self.args),
            "stdin": to_base64(self.stdin),
            "env": dict(self.env),
            "timeout": self.timeout,
            "output": self.output,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Script:
        """Read what `to_wire` wrote."""
        return cls(wire["text"], wire["args"], **_common(wire))


@dataclass(frozen=True, init=False)
class Put:
    """Write *content* to the absolute *path*, in one move, with the permission bits *mode*."""

    path: str
    content: bytes
    mode: int
    timeout: float | None

    def __init__(
        self, path: str, content: bytes | str, mode: int = 0o644, *, timeout: float | None = None
    ) -> None:
        if not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
            raise ValueError(f"Put needs the absolute path of a file, not {path!r}.")
        if not 0 <= mode <= 0o7777:
            raise ValueError(f"Put needs permission bits like 0o644, not {mode!r}.")
        refuse_nul(path)
        assign(self, path=path, content=as_bytes(content), mode=mode, timeout=timeout)

    def to_wire(self) -> dict[str, Any]:
        """This work as JSON values."""
        return {
            "kind": "put",
            "path": self.path,
            "content": to_base64(self.content),
            "mode": self.mode,
            "timeout": self.timeout,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Put:
        """Read what `to_wire` wrote."""
        content = from_base64(wire["content"])
        return cls(wire["path"], content, int(wire["mode"]), timeout=wire["timeout"])


#: What a host does with nothing but a shell; every real engine can bring it there.
HostWork = Run | Script | Put
#: All that a module may ask for.
Work = HostWork | State | Playbook

_KINDS: dict[str, type[Run] | type[Script] | type[Put] | type[State] | type[Playbook]] = {
    "run": Run,
    "script": Script,
    "put": Put,
    "state": State,
    "playbook": Playbook,
}


def work_from_wire(wire: Mapping[str, Any]) -> Work:
    """Read what a work's ``to_wire`` wrote.

    Raises:
        ValueError: that is no work.
    """
    try:
        return _KINDS[wire["kind"]].from_wire(wire)
    except (KeyError, TypeError) as error:
        raise ValueError(f"This is no work: {error!r}") from error


@dataclass(frozen=True)
class Answer:
    """What one host answered to one piece of work.

    *state* is one of `ANSWER_STATES`; *rc* is None unless it ran to its end. *stdout_cut* and *stderr_cut*
    are the numbers of bytes that were left out. *seconds* is how long it ran. *reason* says in one line why
    it is not "done". *late*: it came after its time was over.
    """

    state: str
    rc: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_cut: int = 0
    stderr_cut: int = 0
    seconds: float = 0.0
    reason: str = ""
    late: bool = False

    def __post_init__(self) -> None:
        if self.state not in ANSWER_STATES:
            raise ValueError(f"{self.state!r} is no state of an answer.")

    @property
    def ok(self) -> bool:
        """It ran to its end and returned 0."""
        return self.state == "done" and self.rc == 0

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def errors(self) -> str:
        """Standard error as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stderr.decode("utf-8", "replace")

    def to_wire(self) -> dict[str, Any]:
        """This answer as JSON values."""
        return vars(self) | {"stdout": to_base64(self.stdout), "stderr": to_base64(self.stderr)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Answer:
        """Read what `to_wire` wrote.

        Raises:
            ValueError: that is no answer.
        """
        try:
            streams = {name: from_base64(wire.get(name, "")) for name in ("stdout", "stderr")}
            return cls(**{**wire, **streams})
        except TypeError as error:
            raise ValueError(f"This is no answer: {error}") from error


def _only(given: object, positional: Any) -> Any:
    if given is not None:
        raise ValueError("Run got its command twice.")
    return positional


def _shell_text(text: str, words: Sequence[object]) -> str:
    if words:
        check_author_text(text)
    return render(text, _flat(words))


def _flat(words: Sequence[object]) -> list[str]:
    flat: list[str] = []
    for word in words:
        flat += map(str, word) if isinstance(word, list | tuple) else [str(word)]
    return flat


def _common(wire: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stdin": from_base64(wire["stdin"]),
        "env": wire["env"],
        "timeout": wire["timeout"],
        "output": int(wire["output"]),
    }
