"""What all tests share."""

from __future__ import annotations

from tests.fleet.fixtures import fleet as fleet  # the fixtures, for tests of all kinds
from tests.fleet.fixtures import sshhosts as sshhosts

pytest_plugins = ["tests.no_skips", "tests.side_by_side"]
