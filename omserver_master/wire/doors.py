"""What the wire needs of the rest of the master."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from omserver_client.messages import Reply, Request

from ..caller import Caller

#: What is kept of a name that somebody tried to log in with.
LONGEST_USER = 255


@dataclass(frozen=True)
class Doors:
    """What the wire needs of the rest of the master."""

    #: Answers a request. A `Refused` becomes its reply; any other exception an ``internal`` one.
    dispatch: Callable[[Request, Caller], Reply]
    #: Whether this user (name, password, address) may log in. A `Refused` counts as no.
    check_login: Callable[[str, str, str], bool]
    #: Told (address, kid, reason) of messages that could not be opened; see `Refusals` for how many.
    audit_refusal: Callable[[str, str, str], None]
