"""Which tests one process runs one after another, when several run at once."""

from __future__ import annotations

import pytest

from tests.side_by_side import TOGETHER, company

SALT, SSH = list(TOGETHER)[:2]


@pytest.mark.parametrize(
    ("nodeid", "with_whom"),
    [
        ("tests/contract/test_ends.py::test_it[salt]", SALT),
        ("tests/contract/test_ends.py::test_it[salt-api-argv]", SALT),
        ("tests/integration/test_salt_jobs.py::test_it", SALT),
        ("tests/contract/test_ends.py::test_it[ssh]", SSH),
        ("tests/contract/test_ends.py::test_it[ansible-[x]]", SSH),
        ("tests/contract/test_ends.py::test_it[func-salt]", "the kind func"),
        ("tests/contract/test_nasty.py::test_it", "tests/contract/test_nasty.py"),
        ("tests/integration/test_jobs.py::test_it[salt]", "tests/integration/test_jobs.py"),
    ],
)
def test_tests_that_share_hosts_a_kind_or_a_file_stay_together(nodeid: str, with_whom: str) -> None:
    assert company(nodeid) == with_whom
