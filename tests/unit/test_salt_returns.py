"""What is believed of an event on the Salt bus and of a minion's return. No Salt is needed for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from omserver_master.backends.saltbus import SaltBus
from omserver_master.backends.saltjob import is_recent, new_jid, read_return
from omserver_master.contract.work import Run

GOOD = {"stdout": "om1 0 0 1.0 1.5 plain 0 0 aGk= - end", "stderr": "", "retcode": 0, "pid": 1}
JID = "20261121000000000001_00000001"


def test_a_good_return_is_read() -> None:
    assert read_return(GOOD, Run("true")).stdout == b"hi"


@pytest.mark.parametrize(
    "said",
    [
        "VALUE_TRIMMED",
        GOOD | {"stdout": "VALUE_TRIMMED"},
        GOOD | {"stderr": "VALUE_TRIMMED"},
    ],
)
def test_a_trimmed_value_is_never_shown_as_output(said: Any) -> None:
    answer = read_return(said, Run("true"))
    assert (answer.state, answer.stdout, answer.stderr) == ("unknown", b"", b"")
    assert "max_event_size" in answer.reason


@pytest.mark.parametrize(
    "said", [None, True, 7, "", "'cmd.run_all' is not available.", [], {}, {"stdout": 5}, {"stdout": ""}]
)
def test_anything_else_is_unknown_with_a_reason(said: Any) -> None:
    answer = read_return(said, Run("true"))
    assert answer.state == "unknown"
    assert answer.reason


def heard(tag: str, content: Any) -> list[tuple[str, Any]]:
    bus, found = SaltBus(Path("/nonexistent")), []
    bus._listeners[JID] = lambda minion, content: found.append((minion, content))
    bus._hand_out(tag, content)
    return found


def test_a_return_counts_for_the_minion_of_its_tag() -> None:
    content = {"id": "web-01", "cmd": "_return", "return": GOOD, "jid": JID}
    assert heard(f"salt/job/{JID}/ret/web-01", content) == [("web-01", content)]


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (f"salt/job/{JID}/ret/web-02", {"id": "web-01", "cmd": "_return", "return": GOOD}),
        (f"salt/job/{JID}/ret/web-01", {"id": "web-01", "cmd": "_minion_event", "return": GOOD}),
        (f"salt/job/{JID}/ret/web-01", {"id": "web-01", "cmd": "_return"}),
        (f"salt/job/{JID}/ret/web-01", "return"),
        (f"salt/job/{JID}/new", {"id": "web-01", "cmd": "_return", "return": GOOD}),
        ("salt/job/another/ret/web-01", {"id": "web-01", "cmd": "_return", "return": GOOD}),
    ],
)
def test_other_events_change_nothing(tag: str, content: Any) -> None:
    assert heard(tag, content) == []


def test_job_ids_are_salts_and_never_the_same() -> None:
    ids = {new_jid() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(jid[:20].isdigit() and jid[20] == "_" and is_recent(jid) for jid in ids)
    assert not is_recent("20140101000000000000_1")
    assert not is_recent("rubbish")


def test_naming_the_engine_does_not_import_salt() -> None:
    code = "import sys, omserver_master.backends.salt; sys.exit('salt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_bus_without_a_master_says_so() -> None:
    assert "configuration" in SaltBus(Path("/nonexistent")).why_down()
