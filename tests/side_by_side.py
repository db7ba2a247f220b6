"""A pytest plugin: how the tests are shared out when several processes run them at once (``pytest -n 2``).

Most tests wait for other processes, so two at a time are nearly twice as fast. The tests of one file stay
together and in their order; so do those of files that share hosts which take long to start.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

#: Who shares what, as patterns of files; a test of tests/contract has its kind behind it, too. A process
#: starts its own when it needs it, so what is missing here costs time and nothing else. The longest is first.
TOGETHER = {
    "the Salt fleet": (
        "tests/contract/*.py[[]salt*",
        "tests/integration/test_salt_*.py",
        "tests/integration/test_engines.py",
    ),
    "the hosts with sshd": (
        "tests/contract/*.py[[]ansible",
        "tests/contract/*.py[[]ssh",
        "tests/integration/test_ansible_*.py",
        "tests/integration/test_ssh_*.py",
        "tests/integration/test_import_engines.py",
        "tests/integration/omctl/test_omctl_fleet.py",
    ),
    "the databases": ("tests/integration/database/*.py",),
}
_KIND = re.compile(r"\[(salt-api|[a-z]+)")


def company(nodeid: str) -> str:
    """What all tests have in common that one process runs one after another: hosts, a kind, a file."""
    file, _, test = nodeid.partition("::")
    kind = _KIND.search(test) if file.startswith("tests/contract/") else None
    place = f"{file}[{kind[1]}" if kind else file
    for name, patterns in TOGETHER.items():
        if any(fnmatchcase(place, pattern) for pattern in patterns):
            return name
    return f"the kind {kind[1]}" if kind else file


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes longest first: no process shall begin with it when the others have nothing left."""
    if hasattr(config, "workerinput"):
        first = {name: place for place, name in enumerate(TOGETHER)}
        items.sort(key=lambda item: first.get(company(item.nodeid), len(first)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Share the tests out by their company."""
    from xdist.scheduler import LoadScopeScheduling

    class ByCompany(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return company(nodeid)

    config.option.loadscopereorder = False
    return ByCompany(config, log)
