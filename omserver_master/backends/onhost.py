"""What runs on a host: the command line and the standard input that carry work, and its answer read back.

    argv, stdin = COMMAND, pack(work, seconds=60)
    answer = unpack(line_from_the_host, work)

Engines only have to start ``COMMAND`` (a POSIX shell with ``onhost.sh``), feed it and bring back its output.
A host may answer anything: `unpack` believes nothing that does not have exactly the right form and size.
The end of its standard input may come late or never: it reads no further than it must.

With a *handle* (of `new_handle`, and for each host its own by `handle_for`) the work outlives the connection
over which it was started, is never started twice, and can be asked after and stopped by anybody who comes to
the host as the same user, also after a crash of ours. All that happens by the same ``COMMAND``, with another
standard input:

    handle = handle_for(new_handle(), host.id)
    stdin = pack(work, seconds, handle)     start it; its answer also stays on the host, in a private folder
    stdin = ask(handle, seconds=20)         wait for it that long       unpack(line, work, handle) -> Answer
    stdin = stop(handle)                    stop it, and look           unpack_stop(line, handle) -> Proof
    stdin = stop(handle, tell=True)         the same, but what is over says its answer: as after `ask`
    stdin = forget([handle, ...])           its answer is stored with us now: remove it (no answer)

``pack(..., forget=[handle, ...])`` forgets on the way. Who never forgets leaves the answer (mode 0600, no
script, no input, no variables) for a day; then later work under a handle on that host sweeps it away.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shlex
import time
import uuid
import zlib
from collections.abc import Mapping, Sequence
from importlib.resources import files

from ..contract.work import Answer, HostWork, Put, Run, Script, Work
from .base import Proof, no_output

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHEBANG = re.compile(r"#![ \t]*(\S+)(?:[ \t]+([^\n]*\S))?")
_ANSWER = re.compile(
    rb"om1 (\d{1,3}) ([01]) (\d{1,12}(?:\.\d{1,9})?) (\d{1,12}(?:\.\d{1,9})?) (gzip|plain) "
    rb"(\d{1,18}) (\d{1,18}) ([A-Za-z0-9+/=]+|-) ([A-Za-z0-9+/=]+|-) end"
)
#: How an answer begins that work of ours gave.
ANSWER = b"om1 "
_CANNOT = re.compile(rb"om1-cannot ([ -~]{1,200})")
_WORD = re.compile(rb"om1-(stopped|over|lost|running|twice|forgotten|off|none)(?: (\d{1,12}(?:\.\d{1,9})?))?")
_HANDLE = re.compile(r"[A-Za-z0-9-]{16,64}")
#: Seconds that the clocks of host and master may be apart since the work was sent, and more.
_MARGIN = 5.0
#: Seconds after which a host may have swept a folder that nobody asked for.
_SWEPT = 80_000.0
_SAID = {
    b"stopped": "Was stopped on the host.",
    b"over": "It is over on the host.",
    b"lost": "The shell that ran it on the host was killed, or the host was restarted.",
    b"running": "It still runs on the host.",
    b"twice": "It was started on the host before; it was not started again.",
    b"forgotten": "It is over on the host; its answer was fetched before and is no longer there.",
    b"none": "The host knows nothing of it: it never came, or the host has restarted or cleaned up since.",
}
#: Room for what is not output in an answer, in bytes.
_SLACK = 1000


def _without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))


#: What an engine starts on a host. The same for all work, so no parameter shows in a list of processes.
COMMAND = ("/bin/sh", "-c", _without_comments(files(__package__).joinpath("onhost.sh").read_text()))


class UnfitWork(ValueError):
    """The work cannot be sent to a host in this form."""


def new_handle() -> str:
    """A handle that nobody can guess; it tells when it was made."""
    return f"{int(time.time()):08x}{uuid.uuid4().hex[:24]}"


def handle_for(handle: str, host_id: str) -> str:
    """One host's own handle: hosts may be one machine under several names, and none may know another's."""
    return handle[:8] + hashlib.sha256(f"{handle} {host_id}".encode()).hexdigest()[:24]


def pack(work: Work, seconds: float, handle: str = "", forget: Sequence[str] = ()) -> bytes:
    """The standard input for `COMMAND`; after *seconds* (rounded down, at least 1) the host itself ends it.

    With a *handle* it outlives its connection; see the top of this file. *forget* are handles whose answers
    are not needed any more.

    Raises:
        UnfitWork: an environment variable's name is none, or one engine alone understands such work.
    """
    return head(work, seconds, handle, forget) + shared(work)


def head(work: Work, seconds: float, handle: str = "", forget: Sequence[str] = ()) -> bytes:
    """The first line of what `pack` makes: what is a host's own."""
    if not isinstance(work, HostWork):
        raise UnfitWork(f"{type(work).__name__} is no work for a shell.")
    own: dict[str, str] = {}
    if handle:
        own = {"om_handle": _checked(handle), "om_forget": " ".join(map(_checked, forget))}
    return _line(_head(own | _values(work), max(1, int(seconds)), output_cap(work), _words(work)))


def shared(work: Work) -> bytes:
    """The other lines, which are the same for all hosts and may be long."""
    lines = [work.text.encode("utf-8", "surrogateescape")] if isinstance(work, Script) else []
    if isinstance(work, HostWork):
        lines.append(work.content if isinstance(work, Put) else work.stdin)
    return b"".join(map(_line, lines))


def ask(handle: str, seconds: float) -> bytes:
    """The standard input for `COMMAND` to wait *seconds* for the answer to what was sent under *handle*.

    What has not come to the host yet is called off: it is not started when it comes later.
    """
    return _line(_head({"om_kind": "ask", "om_handle": _checked(handle)}, max(1, int(seconds))))


def stop(handle: str, *, tell: bool = False) -> bytes:
    """The standard input for `COMMAND` to stop what was sent under *handle*; it takes 10 s at most.

    What is over already says no more than that, or its answer if it is to *tell*.
    """
    own = {"om_kind": "stop", "om_handle": _checked(handle)}
    return _line(_head(own | ({"om_tell": "yes"} if tell else {}), 10))


def forget(handles: Sequence[str]) -> bytes:
    """The standard input for `COMMAND` to remove what is kept under *handles*."""
    return _line(_head({"om_kind": "forget"}, 10, words=tuple(map(_checked, handles))))


def _checked(handle: str) -> str:
    if not _HANDLE.fullmatch(handle):
        raise UnfitWork(f"{handle!r} is no handle that a folder can be named by.")
    return handle


def _line(content: bytes) -> bytes:
    return base64.b64encode(content) + b"\n"


def _head(own: dict[str, str], seconds: int, cap: int = 0, words: Sequence[str] = ()) -> bytes:
    values = {"om_cap": str(cap), "om_limit": str(seconds)} | own
    assignments = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return f"{assignments}; set -- {' '.join(map(shlex.quote, words))}".encode("utf-8", "surrogateescape")


def _values(work: HostWork) -> dict[str, str]:
    if isinstance(work, Put):
        size = str(len(work.content))
        return {"om_kind": "put", "om_path": work.path, "om_mode": f"{work.mode:o}", "om_size": size}
    common = {"om_env": _exports(work.env), "om_stdin": str(len(work.stdin))}
    if isinstance(work, Run):
        return {"om_kind": "run"} | common
    found = _SHEBANG.match(work.text)
    interpreter, word = (found[1], found[2] or "") if found else ("/bin/sh", "")
    return {"om_kind": "script", "om_interpreter": interpreter, "om_interpreter_word": word} | common


def _words(work: HostWork) -> tuple[str, ...]:
    if isinstance(work, Script):
        return work.args
    if isinstance(work, Run):
        return work.argv if work.argv is not None else ("/bin/sh", "-c", work.shell or "")
    return ()


def _exports(env: Mapping[str, str]) -> str:
    for name in env:
        if not _NAME.fullmatch(name):
            raise UnfitWork(f"{name!r} is no name of an environment variable.")
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in env.items())


def output_cap(work: Work) -> int:
    """How many bytes of each stream are kept."""
    return 64 * 1024 if isinstance(work, Put) else work.output


def most_bytes(work: Work) -> int:
    """The longest answer that a host may give; nobody needs to read more of it."""
    return 2 * (output_cap(work) * 4 // 3 + _SLACK) + _SLACK


def unpack(raw: bytes, work: Work, handle: str = "") -> Answer:
    """Read what `COMMAND` wrote on a host; rubbish becomes ``unknown`` with a reason, never an exception.

    With the *handle* that was asked after, ``not_started`` where the host proves that it never got it.
    """
    raw = raw.strip()
    if cannot := _CANNOT.fullmatch(raw):
        return no_output("not_started", cannot[1].decode("ascii"))
    if word := _WORD.fullmatch(raw):
        if word[1] == b"off" or (word[1] == b"none" and _never_came(word[2], handle)):
            return no_output("not_started", "It never came to the host, and is called off now.")
        return no_output("unknown", _SAID[word[1]])
    found = _ANSWER.fullmatch(raw) if len(raw) <= most_bytes(work) else None
    if not found:
        return no_output("unknown", f"The host's answer has no form that we know ({len(raw)} bytes).")
    try:
        return _answer(found, work)
    except (ValueError, binascii.Error, zlib.error) as error:
        return no_output("unknown", f"The host's answer does not hold together: {error}.")


def unpack_stop(raw: bytes, handle: str) -> Proof:
    """Read what `COMMAND` wrote after `stop`: what was proved."""
    word = _WORD.fullmatch(raw.strip())
    if word and word[1] == b"none":
        return "not_started" if _never_came(word[2], handle) else "unknown"
    proofs: dict[bytes, Proof] = {b"stopped": "stopped", b"running": "still_running"}
    return proofs.get(word[1], "unknown") if word else "unknown"


def _never_came(uptime: bytes | None, handle: str) -> bool:
    """Whether a host that knows nothing of *handle* would know it, had it come: it was up all the time."""
    try:
        age = time.time() - int(handle[:8], 16)
    except ValueError:
        return False
    return 0 <= age < _SWEPT and float(uptime or 0) > age + _MARGIN


def _answer(found: re.Match[bytes], work: Work) -> Answer:
    rc, late, start, end, packing, out_cut, err_cut, out, err = found.groups()
    seconds = round(max(0.0, float(end) - float(start)), 2)
    overdue = late == b"1"
    return Answer(
        state="timed_out" if overdue else "done",
        rc=None if overdue else int(rc),
        stdout=_stream(out, packing, output_cap(work)),
        stderr=_stream(err, packing, output_cap(work)),
        stdout_cut=int(out_cut),
        stderr_cut=int(err_cut),
        seconds=seconds,
        reason=f"Was stopped on the host after {seconds:g} s." if overdue else "",
    )


def _stream(text: bytes, packing: bytes, cap: int) -> bytes:
    if text == b"-":
        return b""
    content = base64.b64decode(text, validate=True)
    if packing == b"gzip":
        content = _gunzip(content, cap)
    if len(content) > cap:
        raise ValueError("it is longer than what was asked for")
    return content


def _gunzip(content: bytes, cap: int) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    plain = unzip.decompress(content, cap + 1)
    if not unzip.eof and len(plain) <= cap:
        raise ValueError("a stream stops in the middle")
    return plain
