"""Work under a handle: asked after, stopped and forgotten on its host, in each shell."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from omserver_master.backends.onhost import (
    COMMAND,
    ask,
    forget,
    new_handle,
    pack,
    stop,
    unpack,
    unpack_stop,
)
from omserver_master.contract.work import Answer, Put, Run, Script
from tests.integration.test_onhost_shells import SHELLS
from tests.naps import nap

PLACES = ("/tmp", "/dev/shm", "/run", "/var/tmp")
SECRET = "open sesame"


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A private folder on the host for these tests alone; nothing of it stays."""
    monkeypatch.setenv("LOGNAME", f"tests-{os.getpid()}")
    yield
    for place in PLACES:
        for kept in Path(place).glob(f"omserver-tests-{os.getpid()}*"):
            shutil.rmtree(kept)


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return request.param


@pytest.fixture
def handle(shell: list[str]) -> Iterator[str]:
    made = new_handle()
    yield made
    go(shell, stop(made))
    go(shell, forget([made]))
    assert folder(made) is None


def go(shell: list[str], stdin: bytes) -> bytes:
    return subprocess.run([*shell, *COMMAND[1:]], input=stdin, capture_output=True, timeout=60).stdout


def begin(shell: list[str], stdin: bytes) -> subprocess.Popen[bytes]:
    """Start it as an engine does, and cut the connection as soon as it runs."""
    process = subprocess.Popen([*shell, *COMMAND[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(stdin)
    process.stdin.flush()
    return process


def cut(process: subprocess.Popen[bytes]) -> None:
    process.stdin.close()
    process.stdout.close()


def folder(handle: str) -> Path | None:
    found = [path for place in PLACES for path in Path(place).glob(f"omserver-*/{handle}")]
    return next((path for path in found if path.is_dir()), None)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def runs(words: str) -> bool:
    return words.encode() in subprocess.run(["ps", "axww", "-o", "args="], capture_output=True).stdout


def asked(shell: list[str], handle: str, work: Run, seconds: float = 20) -> Answer:
    return unpack(go(shell, ask(handle, seconds)), work, handle)


def test_the_answer_comes_at_once_and_stays_until_it_is_forgotten(shell: list[str], handle: str) -> None:
    work = Run("echo out; echo err >&2; exit 3")
    first = unpack(go(shell, pack(work, 20, handle)), work)
    assert (first.rc, first.stdout, first.stderr) == (3, b"out\n", b"err\n")
    assert asked(shell, handle, work) == asked(shell, handle, work) == first
    kept = folder(handle)
    go(shell, forget([handle]))
    assert kept.read_bytes() == b""
    after = asked(shell, handle, work)
    assert (after.state, "fetched before" in after.reason) == ("unknown", True)
    assert unpack_stop(go(shell, stop(handle)), handle) == "unknown"
    assert unpack(go(shell, pack(work, 20, handle)), work).state == "unknown"


def test_only_the_answer_stays_on_the_host_and_only_for_its_user(shell: list[str], handle: str) -> None:
    work = Script(f"# {SECRET}\ncat; echo said", stdin=SECRET * 2, env={"OM_KEY": SECRET})
    go(shell, pack(Script(work.text, stdin="x", env=work.env), 20, handle))
    kept = folder(handle)
    assert kept.stat().st_mode & 0o7777 == 0o700
    assert sorted(path.name for path in kept.iterdir()) == ["answer", "done", "pid", "work"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept.iterdir())
    assert all(SECRET.encode() not in path.read_bytes() for path in kept.iterdir())


def test_it_outlives_its_connection(shell: list[str], handle: str) -> None:
    work = Run("read -r line; sleep 1; echo through $line; exit 4", stdin="in\n")
    process = begin(shell, pack(work, 20, handle))
    wait_until(lambda: folder(handle) and (folder(handle) / "work").exists())
    cut(process)
    os.kill(process.pid, signal.SIGHUP)
    answer = asked(shell, handle, work)
    assert (answer.state, answer.rc, answer.stdout) == ("done", 4, b"through in\n")
    process.wait(10)


def test_the_end_of_the_input_is_not_waited_for(shell: list[str], handle: str) -> None:
    for work, said in (
        (Run("cat", stdin=b"\0in" * 50_000), b"\0in" * 50_000),
        (Run(["cat"]), b""),
        (Script("cat", stdin=b"in\n"), b"in\n"),
        (Put(f"/tmp/omserver-put-{handle}", b"put" * 50_000), b""),
    ):
        other = new_handle()
        process = begin(shell, pack(work, 20, other, [handle]))
        assert unpack(process.stdout.readline(), work).stdout == said
        process.wait(10)
        cut(process)
        go(shell, forget([other]))
    Path(f"/tmp/omserver-put-{handle}").unlink()


def test_work_whose_input_did_not_arrive_whole_is_not_started(shell: list[str], handle: str) -> None:
    whole = pack(Run(f"cat >/tmp/omserver-half-{handle}", stdin=b"x" * 9000), 20, handle)
    for end in (30, len(whole) - 4000, len(whole) - 2):
        raw = go(shell, whole[:end])
        assert unpack(raw, Run("true")).state == "not_started", raw
    assert not Path(f"/tmp/omserver-half-{handle}").exists()
    script = pack(Script("true\n" * 500), 20, handle)
    assert unpack(go(shell, script[: len(script) - 9]), Run("true")).state == "not_started"


def test_nothing_starts_twice_under_a_handle(shell: list[str], handle: str, tmp_path: Path) -> None:
    work = Run(["sh", "-c", 'echo ran >>"$1"', "sh", str(tmp_path / "ledger")])
    raw = [go(shell, pack(work, 20, handle)) for _ in range(2)]
    assert [unpack(line, work).state for line in raw] == ["done", "unknown"]
    assert (tmp_path / "ledger").read_text() == "ran\n"


def test_what_never_came_is_called_off(shell: list[str], handle: str) -> None:
    assert asked(shell, handle, Run("true")).state == "not_started"
    late = unpack(go(shell, pack(Run("true"), 20, handle)), Run("true"))
    assert late.state == "not_started"
    other = new_handle()
    assert unpack_stop(go(shell, stop(other)), other) == "not_started"
    go(shell, forget([other]))


def test_a_handle_older_than_the_hosts_last_start_proves_nothing(shell: list[str], handle: str) -> None:
    old = f"{0x10000000:08x}{handle[8:]}"
    assert unpack(go(shell, ask(old, 1)), Run("true"), old).state == "unknown"
    go(shell, forget([old]))
    older = old[:-1] + "x"
    assert unpack_stop(go(shell, stop(older)), older) == "unknown"
    go(shell, forget([older]))


def test_who_asks_too_early_hears_that_it_runs(shell: list[str], handle: str) -> None:
    work = Run(nap("4811"))
    process = begin(shell, pack(work, 30, handle))
    wait_until(lambda: runs(nap("4811")))
    answer = asked(shell, handle, work, seconds=1)
    assert (answer.state, answer.reason) == ("unknown", "It still runs on the host.")
    assert unpack_stop(go(shell, stop(handle)), handle) == "stopped"
    assert not runs(nap("4811"))
    process.wait(10)
    cut(process)


@pytest.mark.parametrize("killed", [False, True], ids=["its shell lives", "its shell was killed"])
def test_stop_proves_that_nothing_is_left(shell: list[str], handle: str, killed: bool) -> None:
    work = Run(f"trap '' TERM INT; sh -c 'trap \"\" TERM; {nap('4812')}' & {nap('4812')}; {nap('4812')}")
    process = begin(shell, pack(work, 30, handle))
    wait_until(lambda: runs(nap("4812")))
    if killed:
        process.kill()
        process.wait(10)
        assert asked(shell, handle, work).state == "unknown"
        assert runs(nap("4812"))
    assert unpack_stop(go(shell, stop(handle)), handle) == "stopped"
    assert not runs(nap("4812"))
    after = asked(shell, handle, work)
    assert (after.state, after.reason) == ("unknown", "Was stopped on the host.")
    process.wait(10)
    cut(process)


def test_to_stop_what_is_over_claims_nothing_and_loses_nothing(shell: list[str], handle: str) -> None:
    work = Run("echo said")
    first = unpack(go(shell, pack(work, 20, handle)), work)
    assert unpack_stop(go(shell, stop(handle)), handle) == "unknown"
    assert asked(shell, handle, work) == first
    told = go(shell, stop(handle, tell=True))
    assert (unpack_stop(told, handle), unpack(told, work, handle)) == ("unknown", first)


def test_another_process_with_the_same_number_is_left_alone(shell: list[str], handle: str) -> None:
    go(shell, pack(Run("true"), 20, handle))
    kept = folder(handle)
    (kept / "done").unlink()
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        (kept / "pid").write_text(f"{other.pid} 1\n")
        (kept / "work").write_text(f"{other.pid} 1 -\n")
        assert asked(shell, handle, Run("true")).state == "unknown"
        assert unpack_stop(go(shell, stop(handle)), handle) == "stopped"
        assert other.poll() is None
        other.kill()


def test_a_folder_that_is_not_ours_is_not_believed(
    shell: list[str], handle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", f"tests-{os.getpid()}-nobody")
    theirs = Path(f"/tmp/omserver-tests-{os.getpid()}-nobody")
    (theirs / handle).mkdir(parents=True)
    (theirs / handle / "answer").write_bytes(b"om1 0 0 1 2 plain 0 0 Zm9yZ2Vk - end\n")
    (theirs / handle / "done").touch()
    os.chown(theirs, 65534, 65534)
    assert asked(shell, handle, Run("true")).stdout == b""
    other = new_handle()
    assert unpack(go(shell, pack(Run("echo mine"), 20, other)), Run("true")).stdout == b"mine\n"
    assert folder(other).parent != theirs
    shutil.rmtree(theirs)


def test_what_nobody_asks_for_is_swept_after_a_day(shell: list[str]) -> None:
    old, young = new_handle(), new_handle()
    for handle in (old, young):
        go(shell, pack(Run("true"), 20, handle))
    long_ago = time.time() - 100_000
    os.utime(folder(old), (long_ago, long_ago))
    sweeper = new_handle()[:-1] + "0"
    go(shell, pack(Run("true"), 20, sweeper))
    assert folder(old) is None
    assert folder(young) is not None
    go(shell, forget([young, sweeper]))
