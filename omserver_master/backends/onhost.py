"""What runs on a host: the command line and the standard input that carry work, and its answer read back.

    argv, stdin = COMMAND, pack(work, seconds=60)
    answer = unpack(line_from_the_host, work)

Engines only have to start ``COMMAND`` (a POSIX shell with ``onhost.sh``), feed it and bring back its output.
A host may answer anything: `unpack` believes nothing that does not have exactly the right form and size.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
import zlib
from collections.abc import Mapping
from importlib.resources import files

from ..contract.work import Answer, Put, Run, Script, Work
from .base import no_output

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHEBANG = re.compile(r"#![ \t]*(\S+)(?:[ \t]+([^\n]*\S))?")
_ANSWER = re.compile(
    rb"om1 (\d{1,3}) ([01]) (\d{1,12}(?:\.\d{1,9})?) (\d{1,12}(?:\.\d{1,9})?) (gzip|plain) "
    rb"(\d{1,18}) (\d{1,18}) ([A-Za-z0-9+/=]+|-) ([A-Za-z0-9+/=]+|-) end"
)
_CANNOT = re.compile(rb"om1-cannot ([ -~]{1,200})")
#: Room for what is not output in an answer, in bytes.
_SLACK = 1000


def _without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))


#: What an engine starts on a host. The same for all work, so no parameter shows in a list of processes.
COMMAND = ("/bin/sh", "-c", _without_comments(files(__package__).joinpath("onhost.sh").read_text()))


class UnfitWork(ValueError):
    """The work cannot be sent to a host in this form."""


def pack(work: Work, seconds: float) -> bytes:
    """The standard input for `COMMAND`; after *seconds* (rounded down, at least 1) the host itself ends it.

    Raises:
        UnfitWork: an environment variable's name is none.
    """
    lines = [_head(work, max(1, int(seconds)))]
    if isinstance(work, Script):
        lines.append(work.text.encode("utf-8", "surrogateescape"))
    lines.append(work.content if isinstance(work, Put) else work.stdin)
    return b"".join(base64.b64encode(line) + b"\n" for line in lines)


def _head(work: Work, seconds: int) -> bytes:
    values = {"om_cap": str(output_cap(work)), "om_limit": str(seconds)} | _values(work)
    assignments = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    words = " ".join(map(shlex.quote, _words(work)))
    return f"{assignments}; set -- {words}".encode("utf-8", "surrogateescape")


def _values(work: Work) -> dict[str, str]:
    if isinstance(work, Put):
        size = str(len(work.content))
        return {"om_kind": "put", "om_path": work.path, "om_mode": f"{work.mode:o}", "om_size": size}
    common = {"om_env": _exports(work.env), "om_stdin": "yes" if work.stdin else "no"}
    if isinstance(work, Run):
        return {"om_kind": "run"} | common
    found = _SHEBANG.match(work.text)
    interpreter, word = (found[1], found[2] or "") if found else ("/bin/sh", "")
    return {"om_kind": "script", "om_interpreter": interpreter, "om_interpreter_word": word} | common


def _words(work: Work) -> tuple[str, ...]:
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


def unpack(raw: bytes, work: Work) -> Answer:
    """Read what `COMMAND` wrote on a host; rubbish becomes ``unknown`` with a reason, never an exception."""
    raw = raw.strip()
    if cannot := _CANNOT.fullmatch(raw):
        return no_output("not_started", cannot[1].decode("ascii"))
    found = _ANSWER.fullmatch(raw) if len(raw) <= most_bytes(work) else None
    if not found:
        return no_output("unknown", f"The host's answer has no form that we know ({len(raw)} bytes).")
    try:
        return _answer(found, work)
    except (ValueError, binascii.Error, zlib.error) as error:
        return no_output("unknown", f"The host's answer does not hold together: {error}.")


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
