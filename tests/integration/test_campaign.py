"""A slice of the campaign: crash points, deaths, a short storm, and defects that must be noticed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from campaign import controls, kills, sweep
from campaign.defects import DEFECTS
from campaign.place import Place
from campaign.servers import DATABASES, program
from campaign.storm import Storm
from omserver_master.failpoints import PLACES

PACE = 0.2
CELLS = {cell.name: cell for cell in sweep.cells()}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Place("sqlite", pace=PACE, web=True, links=True) as place:
        yield place


def test_every_defect_is_looked_for_where_the_sweep_goes() -> None:
    assert {cell for defect in DEFECTS.values() for cell in defect.cells} <= set(CELLS)


def test_the_sweep_visits_every_failpoint_with_every_kind_of_work() -> None:
    killed = {(cell.point, cell.repeat) for cell in CELLS.values() if cell.action == "kill"}
    assert killed == {(point, repeat) for point in PLACES for repeat in ("read_only", "idempotent", "once")}


@pytest.mark.parametrize(
    "name",
    [
        "plain/submit.after_commit=kill/once",
        "plain/intent.after_commit=kill/once",
        "steps/step.after_commit=kill/once",
        "plain/finish.before_commit=kill/idempotent",
        "cancel/cancel.before_commit=kill/once",
        "cancel while sending/send.before=sleep:0.7/once",
    ],
)
def test_a_crash_breaks_no_promise(place: Place, name: str) -> None:
    outcome = sweep.play(place, CELLS[name])
    assert outcome.reached
    assert outcome.verdict.violations == []


def test_deaths_in_chosen_phases_break_no_promise(place: Place) -> None:
    plan = [("web", "before the submit commits"), ("worker", "intent"), ("master", "results")]
    deaths = kills.Round(place, seed=3).play(plan)
    assert deaths.verdict.violations == []
    assert deaths.by_cell == {f"{kind}/{phase}": 1 for kind, phase in plan}


@pytest.mark.parametrize(("database", "server"), [("mariadb", "mariadbd"), ("postgresql", "postgres")])
def test_a_database_server_that_dies_breaks_no_promise(database: str, server: str) -> None:
    try:
        program(server)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    plan = [("database", "intent"), ("worker", "results")]
    with Place(database, pace=PACE) as place:
        deaths = kills.Round(place, seed=6).play(plan)
    assert deaths.verdict.violations == []
    assert deaths.by_cell == {f"{kind}/{phase}": 1 for kind, phase in plan}


@pytest.mark.parametrize("database", DATABASES)
def test_a_minute_of_storm_breaks_no_promise(database: str) -> None:
    with Place(database, pace=PACE, web=True, links=True) as place:
        weather = Storm(place, seed=4, seconds=60.0, people=2).rage()
    assert weather.verdict.violations == []
    assert weather.verdict.figures["jobs acknowledged"] > 10
    assert weather.faults.total() > 10


def test_defects_are_noticed() -> None:
    tried = controls.run(["repeat after takeover", "audit outside", "crossed answers"])
    found = {control.name: control.kinds for control in tried}
    assert {name: bool(kinds) for name, kinds in found.items()} == dict.fromkeys(found, True)
    assert "done twice" in found["repeat after takeover"]
    assert "audit" in found["audit outside"]
    assert "wrong output" in found["crossed answers"]
