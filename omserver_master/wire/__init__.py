"""The RPyC side of the master: hardened frames, three names, sealed messages.

with HardenedServer("127.0.0.1", 11511, Doors(dispatch, check_login, audit_refusal), ring):
    ...
"""

from __future__ import annotations

from .bridge import Bridge
from .doors import Doors
from .gate import Caps
from .server import CannotListen, HardenedServer, Limits
from .session import KeyRing

__all__ = ["Bridge", "CannotListen", "Caps", "Doors", "HardenedServer", "KeyRing", "Limits"]
