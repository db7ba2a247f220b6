"""Machines: their names, which serve what, and which reach a host."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from omserver_master import machines
from omserver_master.errors import SettingsError
from omserver_master.jobs.reaching import machines_of
from omserver_master.settings import load_settings
from omserver_master.store.machines import on, packed, unpacked

ONE, TWO = frozenset({"gd-1"}), frozenset({"sz-1", "sz-2"})


def way(connection: int, enabled: bool = True) -> dict[str, Any]:
    return {"connection_id": connection, "enabled": enabled}


@pytest.mark.parametrize(
    ("ways", "reach"),
    [
        ([], None),
        ([way(9)], None),
        ([way(1)], ONE),
        ([way(1), way(2)], ONE | TWO),
        ([way(1), way(9)], None),
        ([way(1), way(9, enabled=False)], ONE),
        ([way(1, enabled=False)], ONE),
        ([way(1, enabled=False), way(2, enabled=False)], ONE | TWO),
    ],
)
def test_a_machine_reaches_a_host_by_any_way_that_it_serves(ways: Any, reach: Any) -> None:
    assert machines_of(ways, {1: ONE, 2: TWO}) == reach


def test_no_names_at_all_mean_any_machine() -> None:
    assert machines.serves("gd-1", None)
    assert machines.serves("gd-1", [])
    assert machines.serves("gd-1", ["gd-1", "sz-1"])
    assert not machines.serves("gd-1", ["sz-1"])


def test_machines_come_out_of_a_column_as_they_went_in() -> None:
    assert (packed(None), packed([])) == (None, None)
    assert unpacked(packed(["b", "a"])) == ["a", "b"]
    assert unpacked(None) == []
    assert on("a_b") == {"on_machine": ",a/_b,"}


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a%", "a/b", "深圳", "a" * 65, 7])
def test_what_is_no_name_of_a_machine_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="no name of a machine"):
        machines.read_name(name)


def test_upper_and_lower_case_count_as_one() -> None:
    assert machines.read_name(" GD-1.example ") == "gd-1.example"


def test_a_machine_is_called_by_its_setting_else_by_its_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings({"OMSERVER_MACHINE": "SZ-1"}).machine == "sz-1"
    assert load_settings({}).machine == machines.host_name()
    with pytest.raises(SettingsError, match="MACHINE must be 1 to 64 letters"):
        load_settings({"OMSERVER_MACHINE": "a,b"})
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="Ünder,Tisch"))
    assert machines.host_name() == "-nder-tisch"


def test_that_no_worker_is_there_is_said_of_one_machine_or_several() -> None:
    assert machines.none_runs(["sz-1"]) == "No worker on machine sz-1 is running"
    assert machines.none_runs(["b", "a"]) == "No worker on any of the machines a, b is running"
