"""What goes to a host and what is believed of its answer."""

from __future__ import annotations

import base64
import gzip
import tracemalloc

import pytest

from omserver_master.backends.onhost import COMMAND, UnfitWork, most_bytes, pack, unpack
from omserver_master.contract.work import Run, Script

WORK = Run("true", output=1000)


def answer(
    out: bytes = b"-", *, packing: str = "plain", rc: str = "0", cut: str = "0", tail: str = "end"
) -> bytes:
    text = out if out == b"-" else base64.b64encode(out)
    return f"om1 {rc} 0 1.00 2.50 {packing} {cut} 0 {text.decode()} - {tail}".encode()


def test_a_good_answer_is_read() -> None:
    good = unpack(answer(b"hello", rc="3", cut="7"), WORK)
    assert (good.state, good.rc, good.stdout, good.stdout_cut, good.seconds) == ("done", 3, b"hello", 7, 1.5)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"\xff\x00\xfe",
        b"bash: command not found",
        answer(tail="en"),
        answer(rc="-1"),
        answer(rc="0x1"),
        answer(rc="9999"),
        answer(cut="-5"),
        answer(cut="1e9"),
        answer(packing="zip"),
        b"om1 0 0 nan inf plain 0 0 - - end",
        b"om1 0 0 1 1 plain 0 0 ==== - end",
        b"om1 0 0 1 1 plain 0 0 A - end",
        b"om1 0 0 1 1 gzip 0 0 aGVsbG8= - end",
        answer(b"a") + b"\n" + answer(b"b"),
        b'{"rc": 0, "stdout": "fine"}',
    ],
)
def test_rubbish_is_unknown_with_a_reason_and_never_an_error(rubbish: bytes) -> None:
    read = unpack(rubbish, WORK)
    assert (read.state, read.rc, read.stdout) == ("unknown", None, b"")
    assert read.reason


def test_more_than_was_asked_for_is_refused() -> None:
    assert unpack(answer(b"x" * 1000), WORK).stdout == b"x" * 1000
    assert unpack(answer(b"x" * 1001), WORK).state == "unknown"
    endless = answer(b"x" * 2 * most_bytes(WORK))
    assert "no form that we know" in unpack(endless, WORK).reason


def test_a_compressed_bomb_costs_no_memory() -> None:
    bomb = gzip.compress(bytes(40_000_000), compresslevel=9)
    work = Run("true", output=512 * 1024)
    tracemalloc.start()
    try:
        assert unpack(answer(bomb, packing="gzip"), work).state == "unknown"
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_stream_that_stops_in_the_middle_is_refused() -> None:
    whole = gzip.compress(bytes(range(256)) * 3)
    assert unpack(answer(whole, packing="gzip"), WORK).stdout == bytes(range(256)) * 3
    assert unpack(answer(whole[:-9], packing="gzip"), WORK).state == "unknown"


def test_what_a_host_cannot_do_was_not_started() -> None:
    read = unpack(b"om1-cannot The host has no program named base64.\n", WORK)
    assert (read.state, read.reason) == ("not_started", "The host has no program named base64.")


def test_nothing_of_the_users_stands_on_the_command_line() -> None:
    assert all("secret" not in word for word in COMMAND)
    plain = pack(Run(["echo", "secret"], env={"OM_A": "secret"}, stdin="secret"), 10)
    assert b"secret" not in plain
    assert b"secret" in base64.b64decode(plain.splitlines()[0])


@pytest.mark.parametrize("name", ["", "a b", "a=b", "1a", "a;id", "é", "a\n", "$(id)"])
def test_an_environment_variable_needs_a_name(name: str) -> None:
    with pytest.raises(UnfitWork):
        pack(Script("true", env={name: "x"}), 10)
