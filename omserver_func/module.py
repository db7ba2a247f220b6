"""What a minion's modules derive from.

    class Uptime(FuncModule):
        version = "1.0"
        api_version = "1.0"
        description = "Tells how long the machine is up."

        def seconds(self):
            return float(Path("/proc/uptime").read_text().split()[0])

Every public method can be called by who is allowed to; what it raises becomes the caller's error list. A
module is made anew for each call.
"""

from __future__ import annotations

import configparser
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from .errors import FuncError

#: Folder with one `<ClassName>.conf` per module.
CONFIG_FOLDER = Path("/etc/func/modules")


class FuncModule:
    """One module of a minion, or the base with nothing of its own."""

    version: ClassVar[str] = "0.0.1"
    api_version: ClassVar[str] = "0.0.1"
    description: ClassVar[str] = "No Description provided"

    def module_version(self) -> str:
        """The module's version."""
        return self.version

    def module_api_version(self) -> str:
        """The version of what its methods take and give."""
        return self.api_version

    def module_description(self) -> str:
        """What the module is for."""
        return self.description

    def list_methods(self) -> list[str]:
        """The names of its methods."""
        return list(methods_of(self))

    def get_method_args(self) -> dict[str, Any]:
        """What the arguments of its methods mean; empty where the module does not say."""
        return self.register_method_args()

    def grep(self, word: str) -> dict[str, Any]:
        """What the module knows of *word*."""
        return {}

    def config_items(self) -> list[list[str]]:
        """The module's own options, as [name, value]."""
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(CONFIG_FOLDER / f"{type(self).__name__}.conf", encoding="utf-8")
        except (configparser.Error, UnicodeError) as error:
            raise FuncError(f"The module's options can't be read: {error}") from error
        return [[name, value] for name, value in parser["main"].items()] if "main" in parser else []

    def save_config(self) -> bool:
        """Options are kept by the site; nothing is stored from here."""
        return False

    def register_method_args(self) -> dict[str, Any]:
        """For modules to say what `get_method_args` answers. Can't be called from outside."""
        return {}


_HIDDEN = {"register_method_args"}


def methods_of(module: FuncModule) -> dict[str, Callable[..., Any]]:
    """The methods of *module* that may be called from outside, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for name in dir(type(module)):
        if name.startswith("_") or name in _HIDDEN:
            continue
        if inspect.isroutine(getattr(type(module), name)):
            found[name] = getattr(module, name)
    return found
