"""Reads what a run that lists the site's inventories has noted."""

from __future__ import annotations

import time
from contextlib import suppress

from ..base import ConnectionDown, FoundHost
from .folder import JobFolder
from .jobs import HOST_NAME
from .reasons import unreachable


def listing(folder: JobFolder, seconds: float) -> list[FoundHost]:
    """The hosts, waited for at most *seconds*.

    Raises:
        ConnectionDown: they could not be read, or not in time.
    """
    end = time.monotonic() + seconds
    reader = folder.reader()
    found: list[FoundHost] = []
    error = ""
    while time.monotonic() < end:
        with suppress(FileNotFoundError):
            for record in reader.read():
                if record["event"] == "found" and HOST_NAME.fullmatch(record["name"]):
                    found.append(_host(record["name"], record["address"], record["groups"]))
                elif record["event"] == "error":
                    error = record["text"]
                elif record["event"] == "end":
                    error = error or record["error"]
                    if error:
                        raise ConnectionDown(f"The inventory can't be read: {unreachable(error)}")
                    return found
        time.sleep(0.02)
    folder.claim()
    raise ConnectionDown(f"Reading the inventory took more than {seconds:g} s.")


def _host(name: str, address: str, groups: list[str]) -> FoundHost:
    return FoundHost(name, name, address, groups=tuple(groups))
