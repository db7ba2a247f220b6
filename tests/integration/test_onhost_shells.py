"""The wrapper that runs on a host, in each shell that this machine has."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from omserver_master.backends.onhost import COMMAND, pack, unpack
from omserver_master.contract.work import Answer, Put, Run, Script, Work
from tests.naps import nap
from tests.nasty import NASTY_WORDS

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
EVERY_BYTE = bytes(range(1, 256)).decode("utf-8", "surrogateescape")


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return request.param


def go(shell: list[str], work: Work, seconds: float = 30) -> Answer:
    done = subprocess.run([*shell, *COMMAND[1:]], input=pack(work, seconds), capture_output=True, timeout=60)
    return unpack(done.stdout, work)


def test_words_reach_the_program_byte_for_byte(shell: list[str]) -> None:
    words = [*NASTY_WORDS, EVERY_BYTE]
    answer = go(shell, Run(["printf", "%s\\0", *words]))
    assert answer.stdout == b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)


def test_variables_reach_the_program_byte_for_byte(shell: list[str]) -> None:
    env = {f"OM_{number}": word for number, word in enumerate([*NASTY_WORDS, EVERY_BYTE])}
    answer = go(shell, Run(["env", "-0"], env=env))
    found = dict(pair.split(b"=", 1) for pair in answer.stdout.split(b"\0") if pair)
    assert {name: found[name.encode()] for name in env} == {
        name: value.encode("utf-8", "surrogateescape") for name, value in env.items()
    }


def test_a_variable_cannot_reach_into_the_wrapper(shell: list[str]) -> None:
    env = {"dir": "/etc", "pid": "1", "PATH": "/nowhere", "IFS": "x", "om_cap": "0", "LD_PRELOAD": "/no/such"}
    answer = go(shell, Run(["/bin/sh", "-c", "echo $dir $PATH"], env=env))
    assert answer.stdout == b"/etc /nowhere\n"


def test_the_masters_own_variables_stay_at_home(shell: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMSERVER_HOME", "/secret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/saltstack")
    assert b"/secret" not in go(shell, Run("env")).stdout
    assert b"saltstack" not in go(shell, Run("env")).stdout


def test_every_byte_of_output_survives(shell: list[str]) -> None:
    every = bytes(range(256)) * 40
    answer = go(shell, Run("cat; echo wrong >&2; exit 4", stdin=every))
    assert (answer.rc, answer.stdout, answer.stderr) == (4, every, b"wrong\n")


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 65537, 300000])
def test_what_is_cut_off_is_counted(shell: list[str], size: int) -> None:
    answer = go(shell, Run(f"head -c {size} /dev/zero; head -c {size} /dev/zero >&2", output=1000))
    assert (len(answer.stdout), answer.stdout_cut) == (min(size, 1000), max(0, size - 1000))
    assert (len(answer.stderr), answer.stderr_cut) == (min(size, 1000), max(0, size - 1000))


def test_a_short_output_is_cut_too(shell: list[str]) -> None:
    answer = go(shell, Run("head -c 150 /dev/zero", output=100))
    assert (len(answer.stdout), answer.stdout_cut) == (100, 50)


def test_what_hangs_is_stopped_with_all_its_children(shell: list[str]) -> None:
    began = time.monotonic()
    answer = go(shell, Run(f"echo begun; sh -c 'trap \"\" TERM; {nap('4801')}' & {nap('4801')}"), seconds=1)
    assert (answer.state, answer.rc, answer.stdout) == ("timed_out", None, b"begun\n")
    assert time.monotonic() - began < 8
    assert nap("4801").encode() not in subprocess.run(["ps", "axww"], capture_output=True).stdout


def test_what_goes_on_in_the_background_is_not_waited_for(shell: list[str]) -> None:
    began = time.monotonic()
    answer = go(shell, Run("echo started; sleep 6 &"))
    assert (answer.rc, answer.stdout) == (0, b"started\n")
    assert time.monotonic() - began < 4


def test_nothing_is_lost_where_the_wrapper_sees_no_processes(shell: list[str]) -> None:
    """The reader is stopped for a second; who can't see whether it has ended must wait for it."""
    blind = COMMAND[2].replace("/proc/", "/no-proc-here/")
    work = Run("""
        folder=$(dirname "$(readlink /proc/$$/fd/1)")
        until [ -s "$folder/out.reader" ]; do :; done
        read -r reader <"$folder/out.reader"
        kill -STOP "$reader"
        echo kept
        (sleep 1; kill -CONT "$reader") >/dev/null 2>&1 &
    """)
    done = subprocess.run([*shell, "-c", blind], input=pack(work, 30), capture_output=True, timeout=60)
    answer = unpack(done.stdout, work)
    assert (answer.rc, answer.stdout) == (0, b"kept\n")


def test_the_quick_is_quick_each_time(shell: list[str]) -> None:
    times = []
    for _ in range(40):
        began = time.monotonic()
        assert go(shell, Run("true")).ok
        times.append(time.monotonic() - began)
    assert max(times) < 0.9


def test_a_script_without_a_first_line_is_for_the_shell(shell: list[str]) -> None:
    answer = go(shell, Script('echo "$1-$OM_A"; cat', ["a b"], env={"OM_A": "c"}, stdin="in"))
    assert answer.stdout == b"a b-c\nin"


def test_a_script_may_be_in_any_language(shell: list[str]) -> None:
    assert go(shell, Script("#!/usr/bin/awk -f\nBEGIN { print 6 * 7 }")).stdout == b"42\n"


def test_a_missing_program_is_a_failure_with_the_usual_code(shell: list[str]) -> None:
    answer = go(shell, Run(["/no/such/program"]))
    assert (answer.state, answer.rc) == ("done", 127)
    assert b"/no/such/program" in answer.stderr


def test_a_signal_is_seen_in_the_return_code(shell: list[str]) -> None:
    assert go(shell, Run("kill -9 $$")).rc == 137


def test_put_replaces_a_file_in_one_move(shell: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("put it")
    target = folder / "a 'file'"
    target.write_bytes(b"old")
    content = bytes(range(256)) * 500
    assert go(shell, Put(str(target), content, 0o604)).rc == 0
    assert target.read_bytes() == content
    assert target.stat().st_mode & 0o7777 == 0o604
    assert list(folder.iterdir()) == [target]


def test_put_refuses_a_folder_and_a_missing_place(
    shell: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("put")
    assert go(shell, Put(str(folder), b"x")).rc == 1
    assert go(shell, Put(f"{folder}/no/such", b"x")).rc == 1
    assert list(folder.iterdir()) == []


def test_work_that_did_not_arrive_whole_is_not_started(shell: list[str]) -> None:
    for part in (b"", b"====", pack(Run("touch /tmp/om-half"), 5)[:20]):
        done = subprocess.run([*shell, *COMMAND[1:]], input=part, capture_output=True, timeout=20)
        assert unpack(done.stdout, Run("true")).state == "not_started"


def test_what_was_said_is_read_to_its_end_on_a_host_that_is_slow(shell: list[str]) -> None:
    """The reader is stopped here, like one that gets no processor; it goes on after the moment of grace."""
    work = """
        folder=$(dirname "$(readlink /proc/$$/fd/1)")
        until [ -s "$folder/out.reader" ]; do :; done
        read -r reader <"$folder/out.reader"
        kill -STOP "$reader"
        echo kept
        (sleep 4; kill -CONT "$reader") >/dev/null 2>&1 &
    """
    answer = go(shell, Run(work))
    assert (answer.state, answer.rc, answer.stdout) == ("done", 0, b"kept\n")


def test_nobody_goes_on_when_the_wrappers_folder_is_removed_under_it(shell: list[str]) -> None:
    marker = f"omserver-{uuid.uuid4().hex}"
    work = Run('rm -rf "$(dirname "$(readlink /proc/$$/fd/1)")"; echo gone')
    done = subprocess.run(
        [*shell, *COMMAND[1:], marker], input=pack(work, 5), capture_output=True, timeout=30
    )
    assert unpack(done.stdout, work).state in ("unknown", "done")
    until = time.monotonic() + 5
    while (left := _processes(marker)) and time.monotonic() < until:
        time.sleep(0.1)
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert left == []


def _processes(marker: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker in path.read_text(errors="replace"):
                found.append(int(path.parent.name))
    return found
