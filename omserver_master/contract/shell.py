"""The base of modules that are one command or one script.

class Modulehandle(ShellModule):
    repeat = "read_only"
    lines = Int(default=50, maximum=1000)
    command = "journalctl -q --no-pager -n", lines
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from .ends import Skipped
from .hosts import Host
from .mistakes import ModuleMistake
from .module import Module, Steps, folder_of
from .params import Param
from .quoting import UnsafeText, check_author_text, render
from .work import Run, Script


class ShellModule(Module):
    """A module that is one ``command`` or one ``script``.

    ``command`` is text; or a tuple of text and parameters, where text goes out as it is and parameters are
    quoted words; or one of these per family of systems, ``{"debian": ..., "redhat": ..., "default": ...}``.
    ``script`` is text, or the name of a file beside the module; parameters are its variables ``OM_<NAME>``.
    ``check``, in the form of ``command``, is what a dry run does instead.
    """

    command: ClassVar[Any] = None
    script: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.command is not None and cls.script is not None:
            raise ModuleMistake("command", "a ShellModule has a command or a script, not both")
        if cls.check is True and cls.steps is ShellModule.steps:
            raise ModuleMistake("check", "of a ShellModule is the command that a dry run does instead")
        for command in (*_families(cls.command).values(), *_families(cls.check or None).values()):
            if command is not True:
                _check_command(cls, command)
        if cls.script is not None:
            cls.script_text()

    @classmethod
    def check_complete(cls) -> None:
        """Make sure that there is something to run.

        Raises:
            ModuleMistake: there is no ``command``, no ``script``, no ``steps`` and no ``run``.
        """
        own_logic = cls.steps is not ShellModule.steps or cls.run is not Module.run
        if cls.command is None and cls.script is None and not own_logic:
            raise ModuleMistake("command", "is missing: a ShellModule has a command or a script")

    @classmethod
    def script_text(cls) -> str:
        """The text of the script, read from its file where ``script`` is the name of one.

        Raises:
            ModuleMistake: there is no such file beside the module.
        """
        script = cls.script
        if not isinstance(script, str):
            raise ModuleMistake(
                "script", f"may be text or the name of a file beside the module; it is {script!r}"
            )
        if "\n" in script or script.startswith("#!"):
            return script
        path = folder_of(cls) / script
        if (
            not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", script)
            or path.is_symlink()
            or not path.is_file()
        ):
            raise ModuleMistake("script", f"there is no file {script!r} beside the module")
        return path.read_text(encoding="utf-8")

    def steps(self, host: Host) -> Steps:
        """One step: the script, or the command for this family of systems."""
        settings = self.common()
        if self.script is not None and not self.dry_run:
            settings["env"] = {**settings["env"], **self.variables()}
            yield Script(self.script_text(), **settings)
            return None
        families = _families(self.check if self.dry_run else self.command)
        command = families.get(host.os_family.lower(), families.get("default"))
        if command is None:
            return _no_command(families, host)
        yield Run(shell=self.render(command), **settings)
        return None

    def render(self, command: Any) -> str:
        """The shell text of *command*, with the parameters as quoted words."""
        return " ".join(part for bit in _bits(command) if (part := self._render_bit(bit)))

    def _render_bit(self, bit: str | Param) -> str:
        if isinstance(bit, str):
            return bit
        return render("", bit.words(self.values[bit.name])).strip(" ")


def _families(command: Any) -> Mapping[str, Any]:
    if command is None:
        return {}
    return command if isinstance(command, Mapping) else {"default": command}


def _no_command(families: Mapping[str, Any], host: Host) -> Skipped:
    system = f"{host.os_family} systems" if host.os_family else "a host whose system is not known"
    return Skipped(f"There is no command for {system}, only for: {', '.join(families)}.")


def _bits(command: Any) -> tuple[Any, ...]:
    return command if isinstance(command, tuple) else (command,)


def _check_command(cls: type[Module], command: Any) -> None:
    bits = _bits(command)
    if not bits or not isinstance(bits[0], str) or not bits[0].strip():
        raise ModuleMistake("command", "may be text, or text and parameters in a tuple, text first")
    before = ""
    for bit in bits:
        if isinstance(bit, Param):
            _check_before(before)
        before = f"{before} {_check_bit(cls, bit)}"


def _check_bit(cls: type[Module], bit: Any) -> str:
    if isinstance(bit, Param):
        if not any(bit is param for param in cls.params):
            raise ModuleMistake("command", "a parameter in it has to be an attribute of the class")
        return "word"
    if not isinstance(bit, str) or "\0" in bit:
        raise ModuleMistake("command", f"{bit!r} is neither text nor a parameter")
    return bit


def _check_before(text: str) -> None:
    try:
        check_author_text(text.strip(" "))
    except UnsafeText as error:
        raise ModuleMistake("command", f"{error}; use a script, where parameters are variables") from error
