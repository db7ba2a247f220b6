"""The fixtures ``rig`` (one for each kind, for the whole run) and ``backend``."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Iterator

import pytest

from omserver_master.backends import KINDS, Backend
from omserver_master.contract.work import Run

from .promises import kinds_of
from .rig import Rig, load_rig

_numbers = itertools.count(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for a rig on every kind, except where its promise makes no sense."""
    if "rig" in metafunc.fixturenames:
        metafunc.parametrize("rig", kinds_of(metafunc.function), indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """``CONTRACT_KINDS="ssh func"`` is for working on an engine: only these."""
    wanted = os.environ.get("CONTRACT_KINDS", "").split() or KINDS
    others = [item for item in items if _kind_of(item) not in (None, *wanted)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def _kind_of(item: pytest.Item) -> str | None:
    spec = getattr(item, "callspec", None)
    return spec.params.get("rig") if spec else None


@pytest.fixture(scope="session")
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """The hosts of one kind; see `Rig`."""
    made = load_rig(request.param)(request.getfixturevalue)
    try:
        made.start()
        assert len(made.hosts) >= 2, "a rig has two hosts or more"
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def backend(rig: Rig) -> Iterator[Backend]:
    """One engine for all tests of a kind: what a worker keeps for as long as it lives."""
    made = rig.backend()
    yield made
    made.close()


@pytest.fixture(scope="session")
def _prefix(rig: Rig, backend: Backend) -> Iterator[str]:
    """How the names of all files begin that the tests make on the hosts; they are removed in the end."""
    prefix = f"/tmp/omc-{uuid.uuid4().hex[:12]}"
    yield prefix
    deadline = time.monotonic() + 30
    list(backend.run(Run(f"rm -rf {prefix}-*"), rig.hosts, backend.new_handle(), deadline))


@pytest.fixture
def place(_prefix: str) -> str:
    """A path that no other test uses, for a file on a host, or to be lengthened to several."""
    return f"{_prefix}-{next(_numbers)}"


@pytest.fixture
def nap() -> str:
    """A command that sleeps for months, and that no other test gives."""
    return f"sleep 1{os.getpid() % 10000:04}{next(_numbers):04}"
