"""A pytest plugin: no test may be skipped where ``CI`` is set."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

MAY_SKIP = not os.environ.get("CI")


def _fail_instead_of_skipping(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is reported as skipped, too.
    if MAY_SKIP or not report.skipped or hasattr(report, "wasxfail"):
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
