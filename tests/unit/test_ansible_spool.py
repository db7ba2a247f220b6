"""The spool of an Ansible run, and the sentences made of what Ansible complains of."""

from __future__ import annotations

from pathlib import Path

import pytest

from omserver_master.backends.ansible.host import host_handle, read, stdin_for
from omserver_master.backends.ansible.reasons import refused, unreachable
from omserver_master.backends.ansible.spool import SpoolReader, SpoolWriter
from omserver_master.backends.onhost import new_handle, pack
from omserver_master.contract.work import Run

KEY = b"k" * 32


def test_records_are_read_as_they_come(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    writer, reader = SpoolWriter(spool, KEY), SpoolReader(spool, KEY)
    writer.append("start", host="a\n{}")
    assert reader.read() == [{"event": "start", "host": "a\n{}"}]
    assert reader.read() == []
    writer.append("end", rc=0)
    assert reader.read() == [{"event": "end", "rc": 0}]
    assert spool.stat().st_mode & 0o777 == 0o600


def test_half_a_record_waits_and_the_next_writer_cuts_it_off(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    SpoolWriter(spool, KEY).append("start", host="a")
    whole = spool.read_bytes()
    reader = SpoolReader(spool, KEY)
    for cut in range(1, len(whole)):
        spool.write_bytes(whole + whole[:cut])
        fresh = SpoolReader(spool, KEY)
        assert (len(fresh.read()), fresh.damaged) == (1, False)
    SpoolWriter(spool, KEY).append("end", rc=1)
    assert [record["event"] for record in reader.read()] == ["start", "end"]


@pytest.mark.parametrize("lie", [b"x" * 200, b"om1 2 " + b"0" * 64 + b" {}\n", b'{"event": "end"}\n' * 20])
def test_what_was_not_written_with_the_key_ends_all_belief(tmp_path: Path, lie: bytes) -> None:
    spool = tmp_path / "spool"
    SpoolWriter(spool, KEY).append("start", host="a")
    with spool.open("ab") as file:
        file.write(lie)
    reader = SpoolReader(spool, KEY)
    assert len(reader.read()) == 1
    assert reader.damaged
    assert SpoolReader(spool, b"other" * 8).read() == []


def test_each_name_of_one_machine_has_its_own_handle() -> None:
    handle = new_handle()
    packed = pack(Run(["echo", "x"], stdin=b"in"), 5, handle)
    one, two = (stdin_for(packed, [handle], name) for name in ("a", "b"))
    assert one != two
    assert one.split(b"\n")[1:] == two.split(b"\n")[1:] == packed.split(b"\n")[1:]
    assert stdin_for(packed, [], "a") == packed
    assert host_handle(handle, "a")[:8] == handle[:8]
    assert len(host_handle(handle, "a")) == len(handle)


def test_what_a_login_shell_says_first_is_no_part_of_the_answer() -> None:
    answer, python = read("Welcome\nom-here\nom-python no\nom1 3 0 1 2 plain 0 0 - - end\n", Run("x"), "")
    assert (answer.state, answer.rc, python) == ("done", 3, False)
    assert read("om-here\nom1 3 0 1 2 plain 0 0 - - end\n", Run("x"), "")[1] is None
    assert read("om-here\n\u4e2d", Run("x"), "")[0].state == "unknown"


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("ssh: connect to host a port 22: No route to host", "connect to host a port 22: No route to host"),
        ("root@a: Permission denied (publickey).", "The host lets us in neither"),
        ("@@@\nWARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\n@@@", "has changed"),
        ("\x1b[31mbad\x07", "�[31mbad�"),
        ("", "Ansible did not say why."),
        ("x" * 5000, "..."),
    ],
)
def test_a_complaint_becomes_one_printable_line(said: str, meaning: str) -> None:
    line = unreachable(said)
    assert meaning in line
    assert line.isprintable()
    assert len(line) < 400


def test_why_a_host_ran_nothing() -> None:
    assert refused("", 127) == "The host ran nothing: its login shell ended with 127."
    assert refused("", None) == "The host ran nothing."
    assert refused("sudo: a password is required", 1).startswith("sudo on the host asks for a password")
    assert refused("no such shell", 1) == "The host said: no such shell"
