"""What all tests share."""

from __future__ import annotations

from tests.fleet.fixtures import fleet as fleet  # the fixture, for tests of all kinds

pytest_plugins = ["tests.no_skips"]
