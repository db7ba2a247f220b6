"""Scripts on minions' hosts, and which of the answers that come in a minion's name are believed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .bus import SaltBus
from .job import what_is_wrong
from .proof import read_said, signed_command

_NOT_THEIRS = "It was not signed with the key that the Salt master has accepted for this minion."


class SignedShell:
    """Runs scripts through ``cmd.run_all`` and believes what the host signed.

    *required*: believe nothing else. *key*: where hosts keep the minion's private key; "" finds it.
    """

    FUNCTION = "cmd.run_all"

    def __init__(self, bus: SaltBus, required: bool, key: str) -> None:
        self._bus = bus
        self._required = required
        self._key = key if required else "off"
        self._heard: dict[str, float] = {}

    def heard(self, minion: str) -> float:
        """When *minion* last said anything that was believed (``time.monotonic()``)."""
        return self._heard.get(minion, 0.0)

    def keywords(self, jid: str, script: str, stdin: str, seconds: int) -> Mapping[str, Any]:
        """The arguments of ``cmd.run_all`` for job *jid*; Salt itself ends it after *seconds*."""
        return {
            "cmd": signed_command(jid, self._key, script),
            "stdin": stdin,
            "python_shell": False,
            "output_loglevel": "quiet",
            "ignore_retcode": True,
            "reset_system_locale": False,
            "timeout": seconds,
        }

    def believe(self, jid: str, minion: str, content: Any) -> tuple[str | None, str]:
        """The line that the script printed on *minion*, or None and why what came back is not believed."""
        said = read_said(content)
        if said is None:
            return None, what_is_wrong(content)
        if not self._required or said.proved(jid, self._bus.key_of(minion)):
            self._heard[minion] = time.monotonic()
            return said.line, ""
        return None, said.excuse or _NOT_THEIRS
