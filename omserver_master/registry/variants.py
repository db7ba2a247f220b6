"""Modules of 2014 that lie in one folder for each engine: one module to the user, a file for each host.

    modules/saltstack/Mid_1003.py  modules/ansible/Mid_1003.py  modules/func/Mid_1003.py

The files are kept and hashed together, as one text, so that a job runs exactly the versions that it was
submitted with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..backends import KINDS

#: The folders of 2014, and the kinds of connection whose hosts each is for.
FOLDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "saltstack": ("salt", "salt-api"),
    "ansible": ("ansible", "ssh"),
    "func": ("func",),
}
#: Kinds that 2014 did not know: their hosts take the first folder that holds the module.
ANY: Final = tuple(kind for kind in KINDS if not any(kind in known for known in FOLDERS.values()))
_MARK: Final = b'{"omserver_variants": 1, '


def bundle(sources: Mapping[str, bytes]) -> bytes:
    """The files, by folder, as one text.

    Raises:
        UnicodeDecodeError: one is not UTF-8.
    """
    files = {folder: sources[folder].decode() for folder in FOLDERS if folder in sources}
    return _MARK + json.dumps({"files": files}, ensure_ascii=False)[1:].encode()


def unbundle(source: bytes) -> dict[str, bytes]:
    """The files, by folder; none where *source* is the text of an ordinary module."""
    if not source.startswith(_MARK):
        return {}
    files: dict[str, str] = json.loads(source)["files"]
    return {folder: text.encode() for folder, text in files.items()}


def kinds(folders: Iterable[str]) -> list[str]:
    """The kinds of connection whose hosts have a file in one of *folders*."""
    return [kind for folder in folders for kind in FOLDERS[folder]] + list(ANY)


def folder_for(host_kinds: Iterable[str], folders: Iterable[str]) -> str:
    """The folder whose file a host gets: that of its first way which has one."""
    there = list(folders)
    for kind in host_kinds:
        found = next((folder for folder in there if kind in FOLDERS[folder]), "")
        if found:
            return found
        if kind in ANY:
            break
    return there[0]


class Different(Exception):
    """The files of one module cannot be shown as one."""


def merged(descriptions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the module says of itself: the first file that says it, and the most careful of what differs.

    Raises:
        Different: they do not take the same parameters.
    """
    first, *others = descriptions.values()
    if any((other["params"], other["direct"]) != (first["params"], first["direct"]) for other in others):
        raise Different(f"The files in {', '.join(descriptions)} do not take the same parameters.")
    whole = {**first, "engines": kinds(descriptions)}
    for other in others:
        whole["title"] = whole["title"] or other["title"]
        whole["caption"] = whole["caption"] or other["caption"]
        whole["doc"] = whole["doc"] or other["doc"]
        whole["driven"] = whole["driven"] and other["driven"]
    return whole
