"""The base of modules that play an Ansible playbook.

class Modulehandle(PlaybookModule):
    service = Choice("nginx", "mysql")
    playbook = "restart.yml"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from .enginework import Playbook
from .hosts import Host
from .mistakes import ModuleMistake
from .module import Module, Steps, folder_of

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.ya?ml")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class PlaybookModule(Module):
    """A module that is one ``playbook``, on hosts that are reached through Ansible.

    ``playbook`` is text, or the name of a file beside the module; roles, templates and files beside it are
    found. Each parameter is an extra variable of its name, in its own type: a value, never a template.
    ``tags`` and ``skip_tags`` are those of ``ansible-playbook``. A dry run is ``--check --diff``.
    """

    playbook: ClassVar[str | None] = None
    tags: ClassVar[tuple[str, ...]] = ()
    skip_tags: ClassVar[tuple[str, ...]] = ()
    timeout: ClassVar[float] = 600
    engines: ClassVar[tuple[str, ...]] = ("ansible",)
    check: ClassVar[Any] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if set(cls.engines) != {"ansible"}:
            raise ModuleMistake(
                "engines", 'of a PlaybookModule are ("ansible",): nothing else plays playbooks'
            )
        for name in ("tags", "skip_tags"):
            tags = getattr(cls, name)
            if not isinstance(tags, tuple) or not all(_is_tag(tag) for tag in tags):
                raise ModuleMistake(name, f"is a tuple of tags like web, db; it is {tags!r}")
        if cls.playbook is not None:
            cls.playbook_text()

    @classmethod
    def check_complete(cls) -> None:
        """Make sure that there is something to play.

        Raises:
            ModuleMistake: there is no ``playbook``, no ``steps`` and no ``run``.
        """
        own_logic = cls.steps is not PlaybookModule.steps or cls.run is not Module.run
        if cls.playbook is None and not own_logic:
            raise ModuleMistake("playbook", "is missing: it is the text of one, or a file beside the module")

    @classmethod
    def playbook_text(cls) -> str:
        """The text of the playbook, read from its file where ``playbook`` is the name of one.

        Raises:
            ModuleMistake: there is no such file beside the module.
        """
        playbook = cls.playbook
        if not isinstance(playbook, str) or not playbook.strip():
            raise ModuleMistake("playbook", f"may be text or the name of a file; it is {playbook!r}")
        if "\n" in playbook:
            return playbook
        path = folder_of(cls) / playbook
        if not _FILE.fullmatch(playbook) or path.is_symlink() or not path.is_file():
            raise ModuleMistake("playbook", f"there is no playbook {playbook!r} beside the module")
        return path.read_text(encoding="utf-8")

    def steps(self, host: Host) -> Steps:
        """One step: the playbook."""
        yield self.play()
        return None

    def play(self, **extra_vars: Any) -> Playbook:
        """The playbook with the parameters as variables, and *extra_vars* on top of them."""
        return Playbook(
            self.playbook_text(),
            str(Path(folder_of(type(self))).resolve()),
            {**self.extra_vars(), **extra_vars},
            tags=self.tags,
            skip_tags=self.skip_tags,
            check=self.dry_run,
            diff=self.dry_run,
            timeout=self.timeout,
            output=self.output,
        )

    def extra_vars(self) -> Mapping[str, Any]:
        """All parameters, by name, as Ansible has values."""
        return self.plain_values()


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and bool(_TAG.fullmatch(tag))
