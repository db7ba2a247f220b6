"""What a host is sent by an Ansible run, and how its words are read: onhost.py, and a little before it."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ...contract.work import Answer, Work
from ..onhost import COMMAND, unpack

#: What the host says first: it proves that the work got there.
HERE = "om-here"
#: The oldest Python on a host that ansible-core 2.19 can use.
OLDEST_PYTHON = (3, 8)
NO_PYTHON = "This host has no Python that Ansible can use: raw was used."
#: Bytes for what comes before the wrapper's own answer.
BEFORE = 4096

#: Says whether there is a Python for Ansible's modules; the names are those that Ansible itself looks for.
_PROBE = """om_found=no
for om_name in {names}; do
    $om_name -c 'import sys; sys.exit(sys.version_info < {oldest})' >/dev/null 2>&1 || continue
    om_found=yes
    break
done
echo om-python $om_found
"""
_NAMES = ("/usr/bin/python3", "python3", *(f"python3.{minor}" for minor in range(14, 7, -1)))


def command(job: Mapping[str, Any], host: str) -> str:
    """The command line for *host*; nothing of the user's is in it."""
    probe = ""
    if host in job["ask_python"]:
        names = [job["python"]] if job["python"] else _NAMES
        probe = _PROBE.format(names=shlex.join(names), oldest=OLDEST_PYTHON)
    return shlex.join(["/bin/sh", "-c", f"echo {HERE}\n{probe}{COMMAND[2]}"])


def host_handle(handle: str, host: str) -> str:
    """The handle of a dispatch on one *host*: several names may be one machine, and each has its own."""
    return handle[:8] + hashlib.sha256(f"{handle} {host}".encode()).hexdigest()[:24]


def stdin_for(stdin: bytes, handles: Sequence[str], host: str) -> bytes:
    """What *host* reads of what was packed under *handles*."""
    head, _, rest = stdin.partition(b"\n")
    words = base64.b64decode(head)
    for handle in handles:
        words = words.replace(handle.encode(), host_handle(handle, host).encode())
    return base64.b64encode(words) + b"\n" + rest


def words_of(text: str) -> tuple[bytes, bool | None]:
    """What the wrapper itself said, and whether the host has a Python for Ansible (None: not asked)."""
    words = text.partition(f"{HERE}\n")[2]
    first, _, rest = words.partition("\n")
    python = None
    if first in ("om-python yes", "om-python no"):
        python, words = first.endswith("yes"), rest
    # Whatever is not ASCII is no part of an answer: "?" makes it one of no known form.
    return words.encode("ascii", "replace"), python


def read(text: str, work: Work, handle: str) -> tuple[Answer, bool | None]:
    """The answer in the words of a host, and whether it has a Python for Ansible (None: not asked)."""
    words, python = words_of(text)
    return unpack(words, work, handle), python
