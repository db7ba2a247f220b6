"""The fixture ``fleet``: one for all tests of a run; a test that stops a part of it starts it again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fleet import SaltFleet, why_not


@pytest.fixture(scope="session")
def fleet() -> Iterator[SaltFleet]:
    """A Salt master and three minions, each a host of its own; see `SaltFleet`."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    salt_fleet = SaltFleet()
    try:
        salt_fleet.start()
        yield salt_fleet
    finally:
        salt_fleet.stop()
