"""The stream of a Salt master's events, and what in it counts as a minion's return."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..base import ConnectionDown

#: Where the Salt master hands out its events, in its folder of sockets.
EVENT_SOCKET = "master_event_pub.ipc"


def is_return(content: Any, minion: str) -> bool:
    """Whether the master made this event from the return of that very minion.

    Any minion may send an event with any tag; the master then notes the true sender.
    """
    return (
        isinstance(content, Mapping)
        and content.get("id") == minion
        and content.get("cmd", "_return") == "_return"
        and "return" in content
    )


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, to see whether another one has taken its place."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


class Subscription:
    """The event stream of one Salt master, from now on."""

    def __init__(self, salt: Any, options: Any) -> None:
        self._bus = salt.utils.event.get_event(
            "master", options["sock_dir"], opts=options, listen=True, raise_errors=True
        )
        if not self._bus.cpub:
            raise ConnectionDown("The Salt master's event bus does not answer.")
        self._door = Path(options["sock_dir"]) / EVENT_SOCKET
        self._door_was = _identity(self._door)

    def next_event(self) -> Any:
        """The next event, or None after half a second without any.

        Raises:
            Exception: the stream is lost; Salt has several kinds.
        """
        asked = time.monotonic()
        event = self._bus.get_event(wait=0.5, tag="salt/job/", full=True)
        if event is None and time.monotonic() - asked < 0.2:
            # It came back at once with nothing: Salt's way to say that the stream is closed.
            raise ConnectionDown("The stream of events was closed.")
        if event is None and _identity(self._door) != self._door_was:
            # Salt's own client connects to a restarted master silently, and we would not know that we
            # missed something.
            raise ConnectionDown("The Salt master was restarted.")
        return event

    def close(self) -> None:
        """Hang up."""
        self._bus.destroy()
