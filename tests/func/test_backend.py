"""What the connection of the kind func says when minions do not behave; the rest is in tests/contract."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from omserver_func import server, wire
from omserver_func.programs import Programs
from omserver_master.backends import Backend, ConnectionDown, FoundHost, Target, make_backend
from omserver_master.backends.func import old as funcold
from omserver_master.contract.work import Answer, Run

from .site import FuncSite, func_site, openssl

OWN, OLD = "127.0.0.2", "127.0.0.3"
#: What a minion of the original has of all that we use.
ORIGINAL = ("command", "copyfile", "test")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[FuncSite]:
    with func_site(tmp_path, OWN) as site:
        site.start(OLD, modules=ORIGINAL)
        for name in (OWN, OLD):
            site.grant(name, f"{site.caller_key('us')} = *")
        yield site


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """These minions are no hosts of their own: nothing shall be left in this machine's /var/tmp."""
    monkeypatch.setattr(funcold, "folder", lambda handle: f"{tmp_path}/omserver-func-{handle}")


@pytest.fixture
def backend(site: FuncSite) -> Iterator[Backend]:
    made = make_backend("func", "func-1", settings_of(site))
    yield made
    made.close()


def settings_of(site: FuncSite, **more: object) -> dict[str, object]:
    us = site.identity("us", "caller")
    return {
        "ca_file": str(us.ca),
        "cert_file": str(us.cert),
        "key_file": str(us.key),
        "certroot": str(site.files.cert_root),
        "groups_file": str(site.folder / "groups"),
        "port": site.port,
        "timeout": 5,
    } | more


def hosts(*names: str) -> list[Target]:
    return [Target(f"id-{name}", name, name) for name in names or (OWN, OLD)]


def run(backend: Backend, work: Run, targets: Sequence[Target], seconds: float = 40) -> dict[str, Answer]:
    answers = dict(backend.run(work, targets, backend.new_handle(), time.monotonic() + seconds))
    return {host.name: answers[host.id] for host in targets}


class Lose:
    """Replies of minions that get lost, after the call was done or instead of it."""

    def __init__(self, patch: pytest.MonkeyPatch, method: str, *, done: bool, times: int = 1) -> None:
        self.left = times
        answer, reply = server._Handler._answer, server._Handler._reply
        lost = threading.local()

        def new_answer(handler: Any, name: str, arguments: list[Any]) -> bytes:
            lost.now = name == method and self.left > 0
            self.left -= lost.now
            return answer(handler, name, arguments) if done or not lost.now else b""

        def new_reply(handler: Any, document: bytes) -> None:
            if lost.now:
                handler.close_connection = True
            else:
                reply(handler, document)

        patch.setattr(server._Handler, "_answer", new_answer)
        patch.setattr(server._Handler, "_reply", new_reply)


@pytest.mark.parametrize("name", [OWN, OLD])
@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_reply_costs_nothing_and_nothing_runs_twice(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, times: int
) -> None:
    first = "omserver.run" if name == OWN else "async.command.run"
    Lose(monkeypatch, first, done=True)
    Lose(monkeypatch, "omserver.wait", done=True, times=times)
    Lose(monkeypatch, "jobs.job_status", done=True, times=times)
    answer = run(backend, Run(f"echo ran >>{tmp_path}/log; sleep 1; echo out; exit 3"), hosts(name))[name]
    assert (answer.rc, answer.stdout) == (3, b"out\n"), answer
    assert (tmp_path / "log").read_text() == "ran\n"


@pytest.mark.parametrize("name", [OWN, OLD])
def test_a_call_that_got_lost_is_proved_not_started_and_can_not_start_later(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    first = "omserver.run" if name == OWN else "async.command.run"
    Lose(monkeypatch, first, done=False)
    handle, work = backend.new_handle(), Run(f"echo ran >>{tmp_path}/log")
    answers = dict(backend.run(work, hosts(name), handle, time.monotonic() + 20))
    assert answers[f"id-{name}"].state == "not_started", answers
    late = dict(backend.run(work, hosts(name), handle, time.monotonic() + 20))
    assert late[f"id-{name}"].state == "not_started", late
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("name", [OWN, OLD])
def test_the_same_handle_starts_nothing_twice(backend: Backend, tmp_path: Path, name: str) -> None:
    handle, work = backend.new_handle(), Run(f"echo ran >>{tmp_path}/log; echo out")
    for _ in range(2):
        answers = dict(backend.run(work, hosts(name), handle, time.monotonic() + 20))
    assert answers[f"id-{name}"].state == ("done" if name == OWN else "not_started")
    found = dict(backend.reattach(handle, work, hosts(name), time.monotonic() + 20))
    assert found[f"id-{name}"].stdout == b"out\n"
    assert (tmp_path / "log").read_text() == "ran\n"


def test_minions_with_certificates_of_funcs_time_need_the_profile_for_them(tmp_path: Path) -> None:
    with func_site(tmp_path, OLD, profile="legacy", modules=ORIGINAL) as site:
        granted = "command.run, copyfile.copyfile, jobs.job_status"  # as docs/backends/func.md has it
        site.grant(OLD, f"{site.caller_key('us')} = {granted}")
        with closing(make_backend("func", "old", settings_of(site, profile="legacy"))) as backend:
            answer = run(backend, Run("echo out; exit 3"), hosts(OLD))[OLD]
        assert (answer.rc, answer.stdout) == (3, b"out\n"), answer
        with closing(make_backend("func", "new", settings_of(site))) as backend:
            try:
                states = {answer.state for answer in run(backend, Run("true"), hosts(OLD)).values()}
            except ConnectionDown:  # some builds of OpenSSL refuse to load them at all
                states = {"unreachable"}
        assert states == {"unreachable"}


def test_a_minion_that_refuses_us_says_what_its_acls_lack(site: FuncSite, backend: Backend) -> None:
    key = site.caller_key("us")
    for name in (OWN, OLD):
        site.grant(name, f"{key} = test.*")
    answers = run(backend, Run("true"), hosts())
    assert {answer.state for answer in answers.values()} == {"not_started"}
    for answer in answers.values():
        assert answer.reason == f"The minion refuses command.run to {key}: its ACLs must grant it."
    assert backend.cancel(backend.new_handle(), hosts()) == {f"id-{OWN}": "unknown", f"id-{OLD}": "unknown"}
    site.grant(OWN, f"{key} = command.run, copyfile.copyfile, jobs.job_status")
    assert run(backend, Run("echo old way"), hosts(OWN))[OWN].stdout == b"old way\n"
    site.grant(OLD, f"{key} = command.run, copyfile.copyfile")
    assert "async" not in run(backend, Run("echo x"), hosts(OLD))[OLD].reason
    assert run(backend, Run("echo no status"), hosts(OLD))[OLD].stdout == b"no status\n"


def test_a_minion_at_another_ones_address_is_not_taken_for_it(site: FuncSite, backend: Backend) -> None:
    liar = Target("id", OLD, OLD, address=OWN)
    answer = run(backend, Run("true"), [liar])[OLD]
    assert answer.state == "unreachable"
    assert answer.reason == f"The certificate there belongs to {OWN}, not to {OLD}."
    assert run(backend, Run("true"), hosts())[OLD].ok
    blind = make_backend("func", "blind", settings_of(site, verify_minion_name=False))
    assert run(blind, Run("true"), [liar])[OLD].ok
    blind.close()


def test_a_certificate_that_minions_do_not_know_is_told_of(site: FuncSite, tmp_path: Path) -> None:
    stranger = FuncSite(tmp_path / "stranger")
    stranger.port = site.port
    us = stranger.identity("us", "caller")
    settings = settings_of(site, cert_file=str(us.cert), key_file=str(us.key))
    backend = make_backend("func", "stranger", settings)
    answer = run(backend, Run("true"), hosts(OWN))[OWN]
    assert (answer.state, answer.reason[:35]) == ("unreachable", "It does not accept our certificate ")
    backend.close()


REPLIES = {
    "rubbish": b"rubbish",
    "number": wire.write_result(5),
    "empty": wire.write_result({}),
    "no output": wire.write_result({"state": "done", "rc": 0, "output": "text"}),
    "no state": wire.write_result({"state": ["done"]}),
    "forged": wire.write_result({"state": "done", "rc": 0, "output": wire.xmlrpc.client.Binary(b"om1 0 0")}),
    "fault": wire.write_fault(1, "x" * 5000 + "\n\x1b[31m"),
    "error": wire.write_result(["REMOTE_ERROR", 5]),
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_minion_that_answers_rubbish_is_unknown_or_not_started(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, reply: bytes
) -> None:
    monkeypatch.setattr(server._Handler, "_answer", lambda *_: reply)
    began = time.monotonic()
    answer = run(backend, Run("true"), hosts(OWN), seconds=60)[OWN]
    assert answer.state in ("unknown", "not_started")
    assert answer.reason
    assert len(answer.reason) < 400
    assert "\x1b" not in answer.reason
    assert time.monotonic() - began < 40, "it waited for the deadline"
    assert backend.cancel(backend.new_handle(), hosts(OWN)) == {f"id-{OWN}": "unknown"}


def test_a_minion_that_was_restarted_knows_nothing_and_we_say_so(
    site: FuncSite, backend: Backend, tmp_path: Path
) -> None:
    work = Run(f"touch {tmp_path}/ran; sleep 5")
    handle, answers = backend.new_handle(), {}
    stream = backend.run(work, hosts(OWN), handle, time.monotonic() + 60)
    thread = threading.Thread(target=lambda: answers.update(stream))
    thread.start()
    _wait(lambda: (tmp_path / "ran").exists())
    site.minions[OWN].dispatcher._programs = Programs()  # as one that was killed and started again
    thread.join(60)
    found = dict(backend.reattach(handle, work, hosts(OWN), time.monotonic() + 20))
    for answer in (answers[f"id-{OWN}"], found[f"id-{OWN}"]):
        assert answer.state == "unknown"
        assert "restarted" in answer.reason


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_hosts_whose_turn_does_not_come_are_not_started(
    site: FuncSite, tmp_path: Path, seconds: float
) -> None:
    backend = make_backend("func", "narrow", settings_of(site, most_at_once=1))
    slow = threading.Thread(target=run, args=(backend, Run("sleep 2"), hosts(OWN), 10))
    slow.start()
    answers = run(backend, Run(f"echo ran >>{tmp_path}/log"), hosts(OLD), seconds)
    slow.join(20)
    backend.close()
    assert answers[OLD].state in (("not_started",) if not seconds else ("done", "not_started", "unknown"))
    time.sleep(0 if answers[OLD].state == "done" else 0.5)
    assert (tmp_path / "log").exists() == (answers[OLD].state == "done")


def test_one_minion_answers_for_one_host_only(backend: Backend) -> None:
    twice = [Target("1", "a", OWN), Target("2", "b", OWN.upper())]
    answers = run(backend, Run("true"), twice)
    assert answers["a"].ok
    assert answers["b"].state == "not_started"
    assert "have the same minion" in answers["b"].reason


def test_the_list_of_hosts_is_that_of_the_signed_certificates(site: FuncSite, backend: Backend) -> None:
    (site.folder / "groups").write_text(f"[web]\nhost = {OWN}; gone.lab.test\n[all]\nhost = *\n")
    assert backend.inventory(5) == [
        FoundHost(OWN, OWN, groups=("all", "web")),
        FoundHost(OLD, OLD, groups=("all",)),
    ]
    away = make_backend("func", "away", settings_of(site, certroot=str(site.folder / "nowhere")))
    with pytest.raises(ConnectionDown, match="nowhere"):
        away.inventory(5)


def test_files_that_cannot_be_used_are_a_connection_that_is_down(site: FuncSite, tmp_path: Path) -> None:
    key = site.identity("us", "caller").key
    cert = tmp_path / "cert"
    openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=x", "-days", "9", "-out", cert)
    soon = make_backend("func", "soon", settings_of(site, cert_file=str(cert)))
    assert soon.probe().up
    assert "expires on" in soon.probe().reason
    other = site.identity("other", "caller").key
    for wrong in ({"key_file": str(other)}, {"key_file": "/no/such"}, {"cert_file": str(key)}):
        backend = make_backend("func", "wrong", settings_of(site, **wrong))
        assert not backend.probe().up
        assert backend.probe().reason
        with pytest.raises(ConnectionDown):
            run(backend, Run("true"), hosts(OWN))
        backend.close()
    for name, value in (("profile", "sslv3"), ("port", "x"), ("colour", "red"), ("ca_file", "relative")):
        with pytest.raises(ValueError, match=name):
            make_backend("func", "wrong", settings_of(site, **{name: value}))


def test_a_renewed_certificate_is_used_from_the_next_job_on(site: FuncSite, backend: Backend) -> None:
    assert run(backend, Run("true"), hosts(OWN))[OWN].ok
    us, other = site.identity("us", "caller"), site.identity("renewed", "caller")
    us.key.write_bytes(other.key.read_bytes())
    us.cert.write_bytes(other.cert.read_bytes())
    assert "refuses command.run to renewed-" in run(backend, Run("true"), hosts(OWN))[OWN].reason
    site.grant(OWN, f"{site.caller_key('renewed')} = *")
    assert run(backend, Run("true"), hosts(OWN))[OWN].ok


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
