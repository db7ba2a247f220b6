"""What a module's author wrote that cannot work; found when the class is created, before any host sees it."""

from __future__ import annotations


class ModuleMistake(TypeError):
    """A class attribute of a module is not what it may be. *attribute* names it."""

    def __init__(self, attribute: str, reason: str) -> None:
        super().__init__(f"{attribute}: {reason}")
        self.attribute = attribute
