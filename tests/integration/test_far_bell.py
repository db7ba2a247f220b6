"""The doorbell through Celery: heard while the broker is well, harmless whatever becomes of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from omserver_master.celeryapp import make_app, publish, reachable
from omserver_master.errors import SettingsError
from omserver_master.farbell import FarBell
from omserver_master.settings import Settings, load_settings
from omserver_master.wire.certificates import issue, make_authority
from tests.brokers import Redis
from tests.system import CHECKOUT

#: A Celery worker that notes each ring, and what it was rung for.
LISTENER = """
import sys
from omserver_master.celeryapp import answer, make_app
from omserver_master.commands.celery import _listen
from omserver_master.settings import load_settings
app = make_app(load_settings())
answer(app, lambda job: print(job, flush=True))
_listen(app)
"""


class Listener:
    """That worker as a process of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.heard_file, self.log = folder / "heard", folder / "log"
        with self.heard_file.open("wb") as heard, self.log.open("wb") as log:
            argv = [sys.executable, "-c", LISTENER]
            self.process = subprocess.Popen(argv, env=environment, cwd=CHECKOUT, stdout=heard, stderr=log)

    def heard(self) -> list[int]:
        return [int(word) for word in self.heard_file.read_text().split()]

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    server = Redis().start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def environment(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {
        "PATH": "/usr/bin:/bin", "OMSERVER_HOME": str(home), "OMSERVER_EXECUTOR": "celery",
        "OMSERVER_BROKER_URL": redis.url,
    }  # fmt: skip


@pytest.fixture(scope="module")
def settings(environment: dict[str, str]) -> Settings:
    return load_settings(environment)


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[Listener]:
    listener = Listener(tmp_path_factory.mktemp("listener"), environment)
    yield listener
    listener.close()


@pytest.fixture
def bell(settings: Settings) -> Iterator[FarBell]:
    bell = FarBell(settings)
    bell.start()
    yield bell
    bell.stop()


def until(so: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        time.sleep(0.02)


def rung_until_heard(bell: FarBell, listener: Listener, job: int, seconds: float = 20) -> None:
    """A ring may be lost; one of many is heard."""

    def heard() -> bool:
        bell.ring(job)
        time.sleep(0.1)
        return job in listener.heard()

    until(heard, seconds)


def test_a_ring_is_heard_and_again_after_the_broker_was_flushed_or_killed(
    redis: Redis, bell: FarBell, listener: Listener
) -> None:
    rung_until_heard(bell, listener, 17)
    redis.say("FLUSHALL")
    bell.ring(18)
    until(lambda: 18 in listener.heard(), 5)
    redis.kill()
    bell.ring(19)
    redis.start()
    rung_until_heard(bell, listener, 20, seconds=60)
    assert redis.password not in listener.log.read_text()


def test_whoever_rings_never_waits_for_a_broker(redis: Redis, bell: FarBell) -> None:
    for hurt, mend in ((redis.freeze, redis.thaw), (redis.kill, redis.start)):
        hurt()
        began = time.monotonic()
        for job in range(1, 2001):
            bell.ring(job)
        assert time.monotonic() - began < 0.5
        mend()


def test_a_broker_that_refuses_us_for_a_while_ends_no_listener(
    redis: Redis, bell: FarBell, listener: Listener
) -> None:
    """That is no lost connection for Celery, but an error that it ends with."""
    rung_until_heard(bell, listener, 31)
    redis.say("REPLICAOF", "127.0.0.1", "1")  # nobody may write there any more
    redis.say("CLIENT", "KILL", "TYPE", "pubsub")
    redis.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    until(lambda: "nrecoverable" in listener.log.read_text())
    redis.say("REPLICAOF", "NO", "ONE")
    rung_until_heard(bell, listener, 32, seconds=30)
    assert listener.process.poll() is None


def test_a_ring_twice_or_for_nothing_or_made_of_rubbish_does_no_harm(
    settings: Settings, bell: FarBell, listener: Listener
) -> None:
    rung_until_heard(bell, listener, 41)
    app = make_app(settings)
    for jobs in ([42, 42], [-1, "x", 2**70, None], "rm -rf", {"a": 1}, 7):
        app.send_task("omserver.ring", [jobs], declare=[app.conf.task_queues[0].exchange])
    app.send_task("os.system", ["true"], declare=[app.conf.task_queues[0].exchange])
    publish(app, [43])
    until(lambda: 43 in listener.heard())
    assert {-1, 7, 2**70}.isdisjoint(listener.heard())
    assert listener.process.poll() is None


def test_what_reaches_the_broker_must_be_installed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omserver_master.celeryapp.find_spec", lambda name: None if name == "redis" else name)
    with pytest.raises(SettingsError, match="needs the Python package redis"):
        make_app(settings)
    make_app(replace(settings, broker_url="amqp://h"))


def test_over_tls_the_broker_and_its_name_are_verified(settings: Settings, tmp_path: Path) -> None:
    ca = make_authority(tmp_path)
    (strange := tmp_path / "strange").mkdir()
    make_authority(strange)
    for folder, name, authority, good in (
        (tmp_path, "127.0.0.1", ca, True), (tmp_path, "redis.example.com", ca, False),
        (strange, "127.0.0.1", ca, False), (tmp_path, "127.0.0.1", None, False),
    ):  # fmt: skip
        redis = Redis(issue(folder, "redis", [name], server=True)).start()
        app = make_app(replace(settings, broker_url=redis.url, broker_ca_file=authority))
        try:
            if good:
                reachable(app)
                publish(app, [1])
            else:
                with pytest.raises(Exception, match="certificate verify failed"):
                    reachable(app)
        finally:
            app.close()
            redis.close()
