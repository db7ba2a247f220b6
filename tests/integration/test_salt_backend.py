"""The salt engine against a real Salt master and real minions."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from omserver_master.backends import ConnectionDown, Target, make_backend
from omserver_master.backends.salt.backend import SaltBackend
from omserver_master.contract.work import Answer, Put, Run, Script, Work
from tests.contract.dispatching import Under
from tests.fleet.fleet import SaltFleet
from tests.nasty import NASTY_WORDS


@pytest.fixture(scope="module")
def salt(fleet: SaltFleet) -> Iterator[SaltBackend]:
    backend = make_backend("salt", "fleet", fleet.connection_settings)
    yield backend
    backend.close()


def run(backend: SaltBackend, work: Work, hosts: Sequence[Target], seconds: float = 40) -> dict[str, Answer]:
    stream = list(backend.run(work, hosts, backend.new_handle(), time.monotonic() + seconds))
    answers = dict(stream)
    assert len(stream) == len(answers) == len({host.id for host in hosts})
    return answers


def processes(fleet: SaltFleet, minion: str) -> bytes:
    return fleet.exec(minion, ["ps", "axww"]).stdout


def folders_of_ours(fleet: SaltFleet, minion: str) -> set[bytes]:
    """Other tests share the host, and may have killed a shell of ours, whose folder then stays for a day."""
    look = "ls -d /tmp/omserver.* /dev/shm/omserver.* /run/omserver.* /var/tmp/omserver.*"
    return set(fleet.exec(minion, ["sh", "-c", look]).stdout.split())


def test_every_minion_answers_once_and_for_itself(salt: SaltBackend, fleet: SaltFleet) -> None:
    answers = run(salt, Run("hostname"), fleet.targets())
    assert {name: answer.text.strip() for name, answer in answers.items()} == {n: n for n in fleet.minions}
    assert all(answer.ok for answer in answers.values())


def test_return_code_and_both_streams_come_back(salt: SaltBackend, fleet: SaltFleet) -> None:
    answer = run(salt, Run("echo out; echo err >&2; exit 7"), fleet.targets("web-01"))["web-01"]
    assert (answer.state, answer.rc, answer.stdout, answer.stderr) == ("done", 7, b"out\n", b"err\n")


def test_a_script_runs_by_its_first_line_even_where_tmp_forbids_programs(
    salt: SaltBackend, fleet: SaltFleet
) -> None:
    fleet.exec("web-01", ["mount", "-o", "remount,noexec", "/tmp"], check=True)
    try:
        code = "print(sys.argv[1:], os.environ['OM_A'], sys.stdin.read())"
        text = f"#!/usr/bin/env python3\nimport os, sys\n{code}"
        work = Script(text, ["-x", "a b"], env={"OM_A": "1\n2"}, stdin="in")
        answer = run(salt, work, fleet.targets("web-01"))["web-01"]
    finally:
        fleet.exec("web-01", ["mount", "-o", "remount,exec", "/tmp"], check=True)
    assert answer.text == "['-x', 'a b'] 1\n2 in\n"


def test_put_writes_one_minions_file_whole_with_its_mode(salt: SaltBackend, fleet: SaltFleet) -> None:
    content = bytes(range(256)) * 4000
    assert run(salt, Put("/etc/om-test", content, 0o640), fleet.targets("web-01"))["web-01"].ok
    assert fleet.exec("web-01", ["cat", "/etc/om-test"]).stdout == content
    assert fleet.exec("web-01", ["stat", "-c", "%a", "/etc/om-test"]).stdout == b"640\n"
    assert fleet.exec("web-02", ["cat", "/etc/om-test"]).returncode != 0
    left = fleet.exec("web-01", ["find", "/etc", "-maxdepth", "1", "-name", ".omserver*"]).stdout
    assert left == b""


def test_a_put_into_a_missing_folder_fails_with_the_reason(salt: SaltBackend, fleet: SaltFleet) -> None:
    answer = run(salt, Put("/no/such/file", b"x"), fleet.targets("web-01"))["web-01"]
    assert (answer.state, answer.rc) == ("done", 1)
    assert "No such file" in answer.errors


def test_nasty_words_reach_the_program_byte_for_byte(salt: SaltBackend, fleet: SaltFleet) -> None:
    assert len(NASTY_WORDS) >= 200
    for start in range(0, len(NASTY_WORDS), 60):
        words = NASTY_WORDS[start : start + 60]
        answer = run(salt, Run(["printf", "%s\\0", *words]), fleet.targets("web-01"))["web-01"]
        assert answer.stdout == b"".join(word.encode() + b"\0" for word in words)


def test_output_bytes_come_back_as_they_are(salt: SaltBackend, fleet: SaltFleet) -> None:
    printed = b"<script>alert(1)</script>\x1b[31mred\x1b[0m \xff\xfe\x80 " + "中文 \u202e".encode()
    printed += b"\x00\r\n\n\n"
    answer = run(salt, Run(["cat"], stdin=printed), fleet.targets("web-01"))["web-01"]
    assert answer.stdout == printed
    assert run(salt, Run("true"), fleet.targets("web-01"))["web-01"].stdout == b""


def test_five_megabytes_are_cut_and_marked(salt: SaltBackend, fleet: SaltFleet) -> None:
    answer = run(salt, Run("head -c 5000000 /dev/urandom"), fleet.targets("web-01"))["web-01"]
    assert (answer.rc, len(answer.stdout), answer.stdout_cut) == (0, 524288, 5000000 - 524288)


def test_a_command_that_prints_100_megabytes_does_no_harm(salt: SaltBackend, fleet: SaltFleet) -> None:
    began = time.monotonic()
    work = Run("head -c 100000000 /dev/zero | tr '\\0' x", output=1000)
    answer = run(salt, work, fleet.targets("web-01"))["web-01"]
    assert (answer.rc, answer.stdout, answer.stdout_cut) == (0, b"x" * 1000, 99999000)
    assert time.monotonic() - began < 20


def test_what_hangs_is_stopped_on_the_host_and_timed_out(salt: SaltBackend, fleet: SaltFleet) -> None:
    answers = run(salt, Run("echo begun; sleep 4711", timeout=2), fleet.targets("web-01", "web-02"))
    assert {answer.state for answer in answers.values()} == {"timed_out"}
    assert {answer.stdout for answer in answers.values()} == {b"begun\n"}
    assert b"sleep 4711" not in processes(fleet, "web-01")


def test_a_child_that_ignores_the_term_signal_is_stopped_too(salt: SaltBackend, fleet: SaltFleet) -> None:
    work = Run("trap '' TERM; while :; do sleep 4712; done", timeout=1)
    assert run(salt, work, fleet.targets("web-01"))["web-01"].state == "timed_out"
    assert b"4712" not in processes(fleet, "web-01")


def test_cancel_stops_the_work_and_proves_it(salt: SaltBackend, fleet: SaltFleet) -> None:
    before = folders_of_ours(fleet, "web-01")
    hosts = fleet.targets("web-01", "web-02")
    handle = salt.new_handle()
    ends: list[tuple[str, Answer]] = []
    deadline = time.monotonic() + 60
    reader = threading.Thread(
        target=lambda: ends.extend(salt.run(Run("sleep 4713"), hosts, handle, deadline))
    )
    reader.start()
    wait_until(lambda: b"sleep 4713" in processes(fleet, "web-01") + processes(fleet, "web-02"))
    wait_until(
        lambda: b"sleep 4713" in processes(fleet, "web-02") and b"sleep 4713" in processes(fleet, "web-01")
    )
    proofs = salt.cancel(handle, hosts)
    reader.join(10)
    assert proofs == {"web-01": "stopped", "web-02": "stopped"}
    assert not reader.is_alive()
    assert {name: answer.state for name, answer in ends} == {"web-01": "unknown", "web-02": "unknown"}
    assert b"sleep 4713" not in processes(fleet, "web-01") + processes(fleet, "web-02")
    assert folders_of_ours(fleet, "web-01") <= before


def test_a_minion_unknown_to_the_master_is_unreachable_at_once(salt: SaltBackend, fleet: SaltFleet) -> None:
    began = time.monotonic()
    ghost = Target("77", "ghost", "ghost-01")
    answers = run(salt, Run("true"), [ghost, *fleet.targets("web-01")])
    assert answers["77"].state == "unreachable"
    assert "ghost-01" in answers["77"].reason
    assert answers["web-01"].ok
    assert time.monotonic() - began < 5


def test_a_target_is_an_exact_name_and_never_a_pattern(salt: SaltBackend, fleet: SaltFleet) -> None:
    for pattern in ("*", "web-*", "web-01,web-02", "E@web.*"):
        answers = run(salt, Run("touch /tmp/never"), [Target("1", pattern, pattern)])
        assert answers["1"].state == "unreachable"
    assert fleet.exec("web-01", ["ls", "/tmp/never"]).returncode != 0


def test_two_hosts_with_one_minion_id_are_not_mixed_up(salt: SaltBackend, fleet: SaltFleet) -> None:
    answers = run(salt, Run("true"), [Target("1", "a", "web-01"), Target("2", "b", "web-01")])
    assert answers["1"].ok
    assert answers["2"].state == "not_started"


def test_a_minion_that_is_down_is_unreachable_and_harms_no_other(salt: SaltBackend, fleet: SaltFleet) -> None:
    fleet.stop_minion("web-02")
    try:
        began = time.monotonic()
        arrived: dict[str, float] = {}
        answers: dict[str, Answer] = {}
        for name, answer in salt.run(Run("true"), fleet.targets(), salt.new_handle(), began + 60):
            arrived[name], answers[name] = time.monotonic() - began, answer
        assert answers["web-02"].state == "unreachable"
        assert arrived["web-02"] < 13
        assert answers["web-01"].ok
        assert answers["bare-01"].ok
        assert max(arrived["web-01"], arrived["bare-01"]) < 3
    finally:
        fleet.start_minion("web-02")


def test_a_minion_that_dies_in_mid_job_is_never_called_done(salt: SaltBackend, fleet: SaltFleet) -> None:
    timer = threading.Timer(4, fleet.stop_minion, ["web-02"])
    timer.start()
    try:
        answers = run(salt, Run("sleep 30"), fleet.targets("web-02"), seconds=12)
        assert answers["web-02"].state == "timed_out"
        assert "says that the job runs" in answers["web-02"].reason
    finally:
        timer.join()
        fleet.start_minion("web-02")


def test_an_event_that_a_minion_forges_for_another_changes_nothing(
    salt: SaltBackend, fleet: SaltFleet
) -> None:
    handle = salt.new_handle()
    forged = {"id": "web-02", "jid": handle, "return": {"stdout": "om1 0 0 1 1 plain 0 0 Zm9yZ2Vk - end"}}
    ends: dict[str, Answer] = {}
    deadline = time.monotonic() + 30
    work = Run("sleep 3; echo true one")
    reader = threading.Thread(
        target=lambda: ends.update(salt.run(work, fleet.targets("web-02"), handle, deadline))
    )
    reader.start()
    time.sleep(1)
    said = salt._ask("event.fire_master", [str(forged), f"salt/job/{handle}/ret/web-02"], ["web-01"], 3.0)
    reader.join(30)
    assert said == {"web-01": True}
    assert ends["web-02"].stdout == b"true one\n"


@pytest.fixture(params=["salt", "salt-api"])
def one_by_one(request: pytest.FixtureRequest, fleet: SaltFleet) -> Iterator[SaltBackend]:
    """At most one minion of a dispatch is at work at a time."""
    settings = fleet.connection_settings if request.param == "salt" else fleet.api_settings
    backend = make_backend(request.param, "one by one", {**settings, "batch": 1})
    yield backend
    backend.close()


def test_of_a_batch_the_next_begins_when_one_has_answered(one_by_one: SaltBackend, fleet: SaltFleet) -> None:
    answers = run(one_by_one, Run("date +%s.%N; sleep 0.5; date +%s.%N"), fleet.targets())
    times = sorted([float(word) for word in answer.text.split()] for answer in answers.values())
    assert len(times) == len(fleet.minions)
    assert all(ended <= begins for (_, ended), (begins, _) in itertools.pairwise(times)), times


def test_what_was_called_off_before_its_turn_was_never_sent(
    one_by_one: SaltBackend, fleet: SaltFleet
) -> None:
    first, second, third = fleet.targets()
    running = Under(one_by_one, Run("echo on; touch /tmp/om-turn; sleep 4713"), fleet.targets())
    wait_until(lambda: b"sleep 4713" in processes(fleet, first.name))
    assert one_by_one.cancel(running.handle, [second]) == {second.id: "not_started"}
    assert one_by_one.cancel(running.handle, [first]) == {first.id: "stopped"}
    wait_until(lambda: b"sleep 4713" in processes(fleet, third.name))
    assert one_by_one.cancel(running.handle, fleet.targets())[third.id] == "stopped"
    states = {host: answer.state for host, answer in running.wait().items()}
    assert states == {first.id: "unknown", second.id: "not_started", third.id: "unknown"}
    assert fleet.exec(second.name, ["test", "-e", "/tmp/om-turn"]).returncode == 1
    for host in (first, third):
        fleet.exec(host.name, ["rm", "/tmp/om-turn"])


def test_a_job_is_found_again_by_its_handle(salt: SaltBackend, fleet: SaltFleet) -> None:
    handle, hosts = salt.new_handle(), fleet.targets("web-01", "web-02")
    work = Run("sleep 3; hostname")
    first = salt.run(work, hosts, handle, time.monotonic() + 1.5)
    threading.Thread(target=list, args=(first,)).start()
    time.sleep(2)
    with_new = make_backend("salt", "another", fleet.connection_settings)
    try:
        answers = dict(with_new.reattach(handle, work, hosts, time.monotonic() + 20))
        again = dict(with_new.reattach(handle, work, hosts, time.monotonic() + 20))
    finally:
        with_new.close()
    assert answers == again
    assert {answer.state for answer in answers.values()} <= {"done", "timed_out"}


def test_a_damaged_job_cache_hangs_nobody(salt: SaltBackend, fleet: SaltFleet) -> None:
    handle, hosts = salt.new_handle(), fleet.targets("web-01")
    assert dict(salt.run(Run("true"), hosts, handle, time.monotonic() + 20))["web-01"].ok
    jobs = fleet.folder / "salt" / "master" / "cache" / "jobs"
    wait_until(lambda: [one for one in jobs.glob("*/*/jid") if one.read_text() == handle])
    [place] = [one.parent for one in jobs.glob("*/*/jid") if one.read_text() == handle]
    wait_until((place / "web-01" / "return.p").exists)
    (place / "web-01" / "return.p").write_bytes(b"")
    began = time.monotonic()
    answers = dict(salt.reattach(handle, Run("true"), hosts, time.monotonic() + 4))
    assert answers["web-01"].state == "unknown"
    assert time.monotonic() - began < 6


def test_a_job_that_was_never_sent_is_proved_not_started(salt: SaltBackend, fleet: SaltFleet) -> None:
    deadline = time.monotonic() + 20
    answers = dict(salt.reattach(salt.new_handle(), Run("true"), fleet.targets("web-01"), deadline))
    assert answers["web-01"].state == "not_started"


def test_the_master_down_is_said_quickly_and_nothing_is_sent(salt: SaltBackend, fleet: SaltFleet) -> None:
    assert salt.probe().up
    fleet.stop_master()
    try:
        began = time.monotonic()
        reachability = salt.probe()
        assert not reachability.up
        assert "Salt master" in reachability.reason
        with pytest.raises(ConnectionDown):
            run(salt, Run("touch /tmp/sent"), fleet.targets())
        assert time.monotonic() - began < 4
    finally:
        fleet.start_master()
    # The same object recovers by itself: the restarted master has new sockets and a new key for its users.
    assert salt.probe().up
    answers = run(salt, Run("hostname"), fleet.targets())
    assert {answer.state for answer in answers.values()} == {"done"}
    assert fleet.exec("web-01", ["ls", "/tmp/sent"]).returncode != 0


def test_a_master_restarted_in_mid_job_loses_no_answer(salt: SaltBackend, fleet: SaltFleet) -> None:
    ends: dict[str, Answer] = {}
    deadline = time.monotonic() + 60
    handle = salt.new_handle()
    work = Run("sleep 12; hostname")
    reader = threading.Thread(
        target=lambda: ends.update(salt.run(work, fleet.targets("web-01"), handle, deadline))
    )
    reader.start()
    time.sleep(2)
    fleet.stop_master()
    fleet.start_master()
    reader.join(60)
    assert ends["web-01"].stdout == b"web-01\n", ends["web-01"]


def test_one_round_trip_takes_a_fraction_of_a_second(salt: SaltBackend, fleet: SaltFleet) -> None:
    times = []
    for _ in range(8):
        began = time.monotonic()
        run(salt, Run("true"), fleet.targets("web-01"))
        times.append(time.monotonic() - began)
    assert sorted(times)[len(times) // 2] < 0.6


def test_nothing_of_ours_stays_on_a_host(salt: SaltBackend, fleet: SaltFleet) -> None:
    before = folders_of_ours(fleet, "web-01")
    run(salt, Run("head -c 3000000 /dev/zero"), fleet.targets("web-01"))
    run(salt, Script("cat", stdin="x" * 100000), fleet.targets("web-01"))
    run(salt, Run("sleep 60", timeout=1), fleet.targets("web-01"))
    assert folders_of_ours(fleet, "web-01") <= before
    assert b"om_" not in processes(fleet, "web-01")


def wait_until(condition: object, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
