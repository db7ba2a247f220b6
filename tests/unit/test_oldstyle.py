"""Modules of 2014: every shape that run() answered becomes one result per host."""

from __future__ import annotations

from typing import Any

import pytest

from omserver_master.contract.hosts import Host
from omserver_master.registry.oldstyle import normalise, target_host

HOSTS = (Host("Web-01", "192.0.2.1"), Host("web-02", "192.0.2.2"))
CAP = 1000


def first(raw: object) -> dict[str, Any]:
    results = normalise(raw, HOSTS, CAP)
    assert [result["host"] for result in results] == ["Web-01", "web-02"]
    return results[0]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # Salt
        ({"WEB-01": "up 3 days"}, {"state": "ok", "stdout": "up 3 days", "rc": None}),
        ({"web-01": {"retcode": 0, "stdout": "x", "stderr": ""}}, {"state": "ok", "stdout": "x", "rc": 0}),
        ({"web-01": {"retcode": 2, "stderr": "bad\nx"}}, {"state": "failed", "rc": 2, "reason": "bad"}),
        ({"web-01": False}, {"state": "unreachable", "reason": "The minion did not return."}),
        ({"web-01": "VALUE_TRIMMED"}, {"state": "unknown", "stdout": ""}),
        ({"web-01": {"grains": [1]}}, {"state": "ok", "stdout": '{"grains": [1]}'}),
        # Func
        ({"web-01": [0, "out", ""]}, {"state": "ok", "rc": 0, "stdout": "out"}),
        ({"web-01": (3, "out", "err")}, {"state": "failed", "rc": 3, "reason": "err"}),
        ({"web-01": ["REMOTE_ERROR", "NameError", "trace"]}, {"state": "failed", "reason": "REMOTE_ERROR"}),
        # Ansible 1
        (
            {"contacted": {"192.0.2.1": {"stdout": "x", "rc": 0}}, "dark": {}},
            {"state": "ok", "rc": 0, "stdout": "x"},
        ),
        (
            {"contacted": {"192.0.2.1": {"failed": True, "msg": "no sudo"}}},
            {"state": "failed", "reason": "no sudo"},
        ),
        (
            {"contacted": {"192.0.2.1": {"stdout": "", "rc": 1, "stderr": "e"}}, "dark": {}},
            {"state": "failed", "rc": 1, "reason": "e"},
        ),
        (
            {"contacted": {}, "dark": {"192.0.2.1": "timed out"}},
            {"state": "unreachable", "reason": "timed out"},
        ),
        ({"dark": {"192.0.2.1": {"msg": "refused"}}}, {"state": "unreachable", "reason": "refused"}),
        # Ansible 2
        (
            {"success": {"192.0.2.1": {"rc": 0, "stdout": "x"}}, "failed": {}, "unreachable": {}},
            {"state": "ok", "stdout": "x"},
        ),
        (
            {"success": {}, "failed": {"192.0.2.1": {"rc": 2, "msg": "non-zero"}}, "unreachable": {}},
            {"state": "failed", "rc": 2, "reason": "non-zero"},
        ),
        ({"unreachable": {"192.0.2.1": {"msg": "no route"}}}, {"state": "unreachable", "reason": "no route"}),
        ({"success": {"192.0.2.1": {"skipped": True}}}, {"state": "skipped"}),
        ({"success": {"192.0.2.1": {"changed": True, "msg": "done"}}}, {"state": "ok", "stdout": "done"}),
        # Text, and nothing that anybody could read
        ("Salt is down", {"state": "unknown", "stdout": "Salt is down"}),
        (None, {"state": "unknown"}),
        (["x"], {"state": "unknown"}),
        ({}, {"state": "unknown", "reason": "The module's answer does not name this host."}),
        ({"web-03": "x"}, {"state": "unknown", "reason": "The module's answer does not name this host."}),
        ({"contacted": "x", "dark": None}, {"state": "unknown"}),
        ({"web-01": b"\xff"}, {"state": "ok", "stdout": "�"}),
        ({"web-01": object()}, {"state": "ok"}),
    ],
)
def test_every_shape_becomes_a_result(raw: object, expected: dict[str, Any]) -> None:
    found = first(raw)
    assert {name: found[name] for name in expected} == expected


def test_a_host_that_is_not_named_is_unknown_and_says_so() -> None:
    _, missing = normalise({"web-01": "x"}, HOSTS, CAP)
    assert missing["state"] == "unknown"
    assert "does not name this host" in missing["reason"]


def test_hosts_that_nobody_asked_for_are_dropped() -> None:
    assert [result["host"] for result in normalise({"web-09": "x"}, HOSTS, CAP)] == ["Web-01", "web-02"]


def test_a_host_called_like_a_group_is_a_host() -> None:
    (found,) = normalise({"dark": "x"}, [Host("dark")], CAP)
    assert found["state"] == "ok"


def test_long_output_is_cut_at_a_character_and_counted() -> None:
    found = first({"web-01": "é" * 600})
    assert found["stdout"] == "é" * 500
    assert found["stdout_cut"] == 200


def test_target_host_answers_names_or_ips_joined_by_semicolons() -> None:
    hosts = "192.0.2.1*web-01,192.0.2.2*web-02"
    assert target_host(hosts, "HN") == "web-01;web-02"
    assert target_host(hosts, "IP") == "192.0.2.1;192.0.2.2"
