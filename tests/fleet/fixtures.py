"""The fixtures ``fleet`` and ``sshhosts``: one each for all tests of a run.

A test that stops a part of them starts it again.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import fleet as salt_fleet
from . import sshhosts as ssh_hosts
from .fleet import SaltFleet
from .sshhosts import SshHosts


@pytest.fixture(scope="session")
def fleet() -> Iterator[SaltFleet]:
    """A Salt master and three minions, each a host of its own; see `SaltFleet`."""
    _skip_for(salt_fleet.why_not())
    made = SaltFleet()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def sshhosts() -> Iterator[SshHosts]:
    """Five hosts with an OpenSSH server each, one of them behind another; see `SshHosts`."""
    _skip_for(ssh_hosts.why_not())
    made = SshHosts()
    try:
        made.start()
        yield made
    finally:
        made.stop()


def _skip_for(reason: str) -> None:
    if reason:
        pytest.skip(reason)
