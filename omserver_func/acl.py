"""Who may call what on a minion: `*.acl` files, read again when they change; what is not granted is denied.

    web-master-1441670551 = command.run, jobs.job_status

The left side is a pattern over the caller's key, the right side patterns over method names without
``async.``. Capitals make no difference on the left. A line or a file that can't be read grants nothing and is
logged.
"""

from __future__ import annotations

import logging
import re
import stat
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from .subject import Subject

log = logging.getLogger(__name__)

_Seen = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Rule:
    """One line: *caller* in small letters, and the *methods*, all of them patterns."""

    caller: str
    methods: tuple[str, ...]


class Acls:
    """The rules of a folder. *override*: the subject that may call everything, the CA's own, or None."""

    def __init__(self, folder: Path | None, override: Subject | None) -> None:
        self._folder = folder
        self._override = override
        self._lock = threading.Lock()
        self._seen: _Seen | None = None
        self._rules: tuple[Rule, ...] = ()

    def allows(self, caller: Subject, method: str) -> bool:
        """Whether *caller* may call *method* (without ``async.``)."""
        if not caller.common_name:
            return False
        if self._override is not None and caller == self._override:
            return True
        key = caller.key.lower()
        return any(
            fnmatchcase(key, rule.caller) and any(fnmatchcase(method, pattern) for pattern in rule.methods)
            for rule in self._current()
        )

    def _current(self) -> tuple[Rule, ...]:
        files = _files(self._folder)
        seen = _look_at(files)
        with self._lock:
            if seen != self._seen:
                self._rules = tuple(rule for file in files for rule in _read(file))
                self._seen = seen
            return self._rules


def _files(folder: Path | None) -> list[Path]:
    try:
        return sorted(folder.glob("*.acl")) if folder is not None else []
    except OSError as error:
        log.error("no ACL can be read: %s", error)
        return []


def _look_at(files: list[Path]) -> _Seen:
    seen = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        seen.append((file.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(seen)


def _read(file: Path) -> list[Rule]:
    try:
        if file.stat().st_mode & stat.S_IWOTH:
            log.error("%s grants nothing: everybody can write it", file)
            return []
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        log.error("%s grants nothing: %s", file, error)
        return []
    rules = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        rule = read_rule(line)
        if rule is None:
            log.error("%s, line %d grants nothing: it is not PATTERN = METHOD, ...", file, number)
        else:
            rules.append(rule)
    return rules


def read_rule(line: str) -> Rule | None:
    """One line of an ACL file; None if it is none."""
    caller, equals, methods = line.partition("=")
    names = tuple(re.split(r"[,\s]+", methods.strip(" \t,")))
    if not equals or "=" in methods or not caller.strip() or not all(names):
        return None
    return Rule(caller.strip().lower(), names)
