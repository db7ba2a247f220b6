"""What all tests share: no test may be skipped where ``CI`` is set."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from tests.fleet.fixtures import fleet as fleet  # the fixture, for tests of all kinds

MAY_SKIP = not os.environ.get("CI")


def _fail_instead_of_skipping(report: pytest.TestReport | pytest.CollectReport) -> None:
    if MAY_SKIP or not report.skipped:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"Nothing may be skipped where CI is set. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_instead_of_skipping(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_instead_of_skipping(report)
    return report
