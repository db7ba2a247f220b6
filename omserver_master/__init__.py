"""What the author of a module needs: ``from omserver_master import Int, ShellModule``.

The contract is described in docs/modules.md. Nothing else is to be imported from this package.
"""

from .contract.ends import Failed, Ok, Skipped
from .contract.module import Module
from .contract.params import Bool, Choice, Choices, Int, Number, Time
from .contract.playbook import PlaybookModule
from .contract.shell import ShellModule
from .contract.state import StateModule
from .contract.texts import Lines, Path, Text
from .contract.work import Put, Run, Script

__all__ = [
    "Bool",
    "Choice",
    "Choices",
    "Failed",
    "Int",
    "Lines",
    "Module",
    "Number",
    "Ok",
    "Path",
    "PlaybookModule",
    "Put",
    "Run",
    "Script",
    "ShellModule",
    "Skipped",
    "StateModule",
    "Text",
    "Time",
]
