"""What ends a host's wait on Salt: its own signed word, or silence; nobody else's word. No Salt is needed."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from omserver_master.backends import Target
from omserver_master.backends.base import Flight
from omserver_master.backends.salt import watch as saltwatch
from omserver_master.backends.salt.bus import SaltBus
from omserver_master.backends.salt.job import new_jid
from omserver_master.backends.salt.signed import SignedShell
from omserver_master.backends.salt.watch import Memory, Watch
from omserver_master.contract.work import Answer, Run
from omserver_master.demo.saltsite import ensure_key

DONE = "om1 0 0 1.0 1.5 plain 0 0 aGk= - end"


class FakeBus(SaltBus):
    """A master that knows two keys; what is published is noted, and nobody gets it."""

    def __init__(self, keys: Path) -> None:
        super().__init__()
        self.keys = {name: ensure_key(keys, name) for name in ("web-01", "web-02")}
        self.stale: dict[str, bytes] = {}
        self.questions: list[str] = []
        self.returned: dict[str, Any] = {}

    def why_down(self) -> str:
        return ""

    def listen(self, jid: str, listener: Any) -> None:
        self._listeners[jid] = listener

    def publish(
        self,
        jid: str,
        function: str,
        keywords: Mapping[str, Any],
        arguments: Sequence[str],
        minions: list[str],
    ) -> set[str]:
        self.questions.append(jid)
        return set(minions)

    def cached(self, jid: str, minions: Iterable[str]) -> dict[str, Any] | None:
        return {minion: self.returned[minion] for minion in minions if minion in self.returned}

    def learn_keys(self, minions: Iterable[str], afresh: bool = False) -> None:
        self.stale = {} if afresh else self.stale

    def key_of(self, minion: str) -> bytes | None:
        return (self.stale | {name: key for name, key in self.keys.items() if name not in self.stale}).get(
            minion
        )

    def accepted(self) -> list[str]:
        return sorted(self.keys)

    def _hear(self) -> None:
        raise AssertionError("nobody subscribes here")


class Scene:
    """One dispatch to web-01, over which web-02 may lie."""

    def __init__(self, keys: Path) -> None:
        self.keys = keys
        self.bus = FakeBus(keys)
        self.flight = Flight(Run("true"), [Target("1", "web-01", "web-01")], new_jid(), time.monotonic() + 60)
        self.memory = Memory()
        self.watch = self.another_watch()
        self.watch.sent(["web-01"])

    def another_watch(self) -> Watch:
        shell = SignedShell(self.bus, True, "")
        return Watch(self.bus, shell, self.flight, self.flight_hosts(), self.memory)

    def flight_hosts(self) -> dict[str, Target]:
        return {"web-01": self.flight.hosts["1"]}

    def signed(self, minion: str, jid: str, line: str) -> dict[str, Any]:
        key = load_pem_private_key((self.keys / f"{minion}.pem").read_bytes(), None)
        text = f"omserver-answer-1 {jid}\n{line}".encode()
        proof = base64.b64encode(key.sign(text, PKCS1v15(), SHA256())).decode()  # type: ignore[union-attr,call-arg,arg-type]
        return {"return": {"stdout": f"{line}\nproof {proof}"}}

    def answer_questions(self, minion: str, line: str) -> None:
        for jid in self.bus.questions:
            self.bus._listeners[jid]("web-01", self.signed(minion, jid, line))

    def taken(self) -> Answer | None:
        heard = self.flight.take(0)
        return heard[1] if heard else None


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(saltwatch, "ASK_AT", (0.0, 0.0, 0.0))
    monkeypatch.setattr(saltwatch, "ASK_EVERY", 60.0)
    monkeypatch.setattr(saltwatch, "ASK_AGAIN_AFTER", 0.0)
    return Scene(tmp_path)


def look(scene: Scene, times: int = 3) -> None:
    for _ in range(times):
        scene.watch.look()


def test_the_hosts_own_word_is_its_answer(scene: Scene) -> None:
    scene.watch.hear("web-01", scene.signed("web-01", scene.flight.handle, DONE))
    answer = scene.taken()
    assert answer is not None
    assert answer.stdout == b"hi"


def test_a_forged_answer_changes_nothing_and_the_true_one_counts(scene: Scene) -> None:
    scene.watch.hear("web-01", scene.signed("web-02", scene.flight.handle, DONE.replace("aGk=", "Rk9SR0VE")))
    scene.watch.hear("web-01", {"return": {"stdout": DONE}})
    scene.watch.hear("web-01", {"return": True})
    look(scene)
    assert scene.taken() is None
    scene.watch.hear("web-01", scene.signed("web-01", scene.flight.handle, DONE))
    answer = scene.taken()
    assert answer is not None
    assert answer.stdout == b"hi"


def test_a_forged_word_about_running_changes_nothing(scene: Scene) -> None:
    look(scene)
    assert len(scene.bus.questions) == 3
    scene.answer_questions("web-02", "om1-job none")
    scene.watch.look()
    assert scene.taken() is None
    scene.answer_questions("web-02", "om1-job running")
    assert scene.flight.evidence("1") == ""
    scene.answer_questions("web-01", "om1-job running")
    assert scene.flight.evidence("1")


def test_who_has_just_answered_something_else_is_not_asked_at_once(scene: Scene) -> None:
    other = new_jid()
    scene.watch.shell.believe(other, "web-01", scene.signed("web-01", other, DONE)["return"])
    look(scene, saltwatch.KIND_QUESTIONS)
    assert scene.bus.questions == []
    assert scene.watch.verdict(scene.flight.hosts["1"]).state == "unknown"
    look(scene, 1)
    assert len(scene.bus.questions) == 1


def test_who_says_three_times_that_nothing_runs_has_lost_its_answer(scene: Scene) -> None:
    look(scene)
    scene.answer_questions("web-01", "om1-job none")
    scene.watch.look()
    answer = scene.taken()
    assert answer is not None
    assert (answer.state, "does not run the job" in answer.reason) == ("unknown", True)


def test_if_only_a_forged_answer_came_the_reason_says_what_to_do(scene: Scene) -> None:
    scene.watch.hear("web-01", {"return": {"stdout": f"{DONE}\nproof - The host has no openssl."}})
    look(scene)
    scene.answer_questions("web-01", "om1-job none")
    scene.watch.look()
    answer = scene.taken()
    assert answer is not None
    assert answer.state == "unknown"
    assert "The host has no openssl." in answer.reason
    assert "docs/backends/salt.md" in answer.reason
    assert scene.watch.verdict(scene.flight.hosts["1"]).state == "unknown"


def test_an_answer_that_only_the_new_key_proves_counts_at_the_next_look(scene: Scene) -> None:
    scene.bus.stale = {"web-01": scene.bus.keys["web-02"]}
    scene.watch.hear("web-01", scene.signed("web-01", scene.flight.handle, DONE))
    assert scene.taken() is None
    scene.watch.look()
    answer = scene.taken()
    assert answer is not None
    assert answer.stdout == b"hi"


def test_while_others_of_many_answer_the_silent_get_more_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [Target("1", "web-01", "web-01"), Target("2", "web-02", "web-02")]
    scene.flight = Flight(Run("true"), hosts, new_jid(), time.monotonic() + 60)
    scene.watch = scene.another_watch()
    scene.watch.hosts = {host.name: host for host in hosts}
    scene.watch.sent(["web-01", "web-02"])
    monkeypatch.setattr(saltwatch, "MANY", 1)
    monkeypatch.setattr(saltwatch, "ASK_AT", (60.0,))
    scene.watch.hear("web-02", scene.signed("web-02", scene.flight.handle, DONE))
    assert scene.taken() is not None
    now = time.monotonic()
    monkeypatch.setattr(saltwatch.time, "monotonic", lambda: now + saltwatch.GIVE_UP_AFTER - 1)
    scene.watch._sent["web-01"] = now - saltwatch.GIVE_UP_AFTER
    scene.watch._started = now - saltwatch.GIVE_UP_AFTER
    scene.watch.look()
    assert scene.taken() is None
    monkeypatch.setattr(saltwatch.time, "monotonic", lambda: now + saltwatch.GIVE_UP_AFTER + 1)
    scene.watch.look()
    answer = scene.taken()
    assert answer is not None
    assert answer.state == "unreachable"


def test_a_silent_host_is_unreachable(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    look(scene)
    scene.watch._patience = 0.0
    scene.watch.look()
    answer = scene.taken()
    assert answer is not None
    assert answer.state == "unreachable"


def test_the_true_answer_is_found_again_where_the_job_cache_kept_the_forged_one(scene: Scene) -> None:
    scene.watch.hear("web-01", {"return": {"stdout": DONE}})
    scene.watch.hear("web-01", scene.signed("web-01", scene.flight.handle, DONE))
    assert scene.taken() is not None
    assert scene.memory.find(scene.flight.handle, "web-01") is not None
    assert scene.memory.find(scene.flight.handle, "web-02") is None
    for number in range(400):
        scene.memory.keep(f"jid-{number}", "web-01", Answer("unknown"))
    assert scene.memory.find("jid-399", "web-01")
    assert scene.memory.find("jid-1", "web-01") is None


def test_who_answers_something_else_is_busy_and_not_unreachable(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(scene)
    jid = new_jid()
    scene.watch._started = scene.watch._sent["web-01"] = time.monotonic() - 60
    believed, _ = scene.watch.shell.believe(jid, "web-01", scene.signed("web-02", jid, "x")["return"])
    assert believed is None
    believed, _ = scene.watch.shell.believe(jid, "web-01", scene.signed("web-01", jid, "x")["return"])
    assert believed == "x"
    scene.watch.look()
    assert scene.taken() is None
    scene.watch.shell._heard.clear()
    scene.watch.look()
    answer = scene.taken()
    assert answer is not None
    assert answer.state == "unreachable"


def test_what_was_called_off_is_sent_no_more_and_what_was_sent_is_not_called_unsent(scene: Scene) -> None:
    assert scene.watch.call_off(["web-01", "web-02"]) == {"web-02"}
    assert scene.watch.sent(["web-02"]) == []
    assert scene.watch.call_off(["web-02"]) == {"web-02"}
