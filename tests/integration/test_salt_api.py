"""What is of salt-api alone, against a real one; the rest is tried by the contract tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from omserver_master.backends import ConnectionDown, make_backend
from omserver_master.backends.salt.api import SaltApiBackend
from omserver_master.backends.salt.http import HttpSaltBus
from omserver_master.contract.work import Answer, Run
from omserver_master.demo.saltsite import ensure_key
from tests.fleet.fleet import SaltFleet
from tests.fleet.saltapi import OTHER


@pytest.fixture
def api(fleet: SaltFleet) -> Iterator[SaltApiBackend]:
    backend = make_backend("salt-api", "fleet", fleet.api_settings)
    yield backend
    backend.close()


def bus_of(backend: SaltApiBackend) -> HttpSaltBus:
    assert isinstance(backend._bus, HttpSaltBus)
    return backend._bus


def hostnames(backend: SaltApiBackend, fleet: SaltFleet, *names: str, seconds: float = 40) -> set[str]:
    deadline = time.monotonic() + seconds
    answers = backend.run(Run("hostname"), fleet.targets(*names), backend.new_handle(), deadline)
    return {answer.text.strip() for _, answer in answers}


def test_another_users_token_may_log_in_and_can_do_nothing(fleet: SaltFleet) -> None:
    other = make_backend("salt-api", "fleet", fleet.api_settings | {"user": OTHER})
    reachability = other.probe()
    assert not reachability.up
    assert "401" in reachability.reason
    with pytest.raises(ConnectionDown):
        hostnames(other, fleet)
    other.close()


def test_the_rights_of_the_user_end_with_what_is_needed(api: SaltApiBackend, fleet: SaltFleet) -> None:
    assert hostnames(api, fleet, "web-01") == {"web-01"}
    for low in (
        {"client": "local_async", "tgt": "*", "fun": "state.apply"},
        {"client": "wheel", "fun": "key.delete", "match": "web-01"},
        {"client": "runner", "fun": "jobs.active"},
    ):
        with pytest.raises(ConnectionDown, match="401"):
            bus_of(api)._run(low, 10)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "wrong"}, "refuses the login"),
        ({"user": "nobody-known"}, "refuses"),
        ({"ca_file": ""}, "not trusted"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_shown(
    fleet: SaltFleet, changed: dict[str, str], words: str
) -> None:
    backend = make_backend("salt-api", "fleet", fleet.api_settings | changed)
    began = time.monotonic()
    reachability = backend.probe()
    backend.close()
    assert not reachability.up
    assert words in reachability.reason
    assert fleet.api_settings["password"] not in reachability.reason
    assert time.monotonic() - began < 5


def test_a_token_that_is_no_longer_good_is_renewed(api: SaltApiBackend, fleet: SaltFleet) -> None:
    assert hostnames(api, fleet, "web-01") == {"web-01"}
    bus = bus_of(api)
    bus._token = "0" * 40
    assert hostnames(api, fleet, "web-01") == {"web-01"}
    first, bus._token_ends = bus._token, 0.0
    assert hostnames(api, fleet, "web-01") == {"web-01"}
    assert bus._token != first


def test_a_key_that_has_changed_is_asked_for_again(
    api: SaltApiBackend, fleet: SaltFleet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bus = bus_of(api)
    bus._keys["web-01"] = ensure_key(tmp_path_factory.mktemp("keys"), "old")
    assert hostnames(api, fleet, "web-01") == {"web-01"}
    assert bus.key_of("web-01") == (fleet.folder / "salt/master/pki/minions/web-01").read_bytes()


def test_answers_that_came_while_salt_api_was_away_are_taken_up(
    api: SaltApiBackend, fleet: SaltFleet
) -> None:
    ends: dict[str, Answer] = {}
    deadline = time.monotonic() + 60
    work, hosts, handle = Run("sleep 4; hostname"), fleet.targets("web-01"), api.new_handle()
    reader = threading.Thread(target=lambda: ends.update(api.run(work, hosts, handle, deadline)))
    reader.start()
    time.sleep(1.5)
    fleet.stop_api()
    time.sleep(4)
    fleet.start_api()
    reader.join(70)
    assert ends["web-01"].stdout == b"web-01\n", ends["web-01"]


def test_the_master_down_behind_it_is_said_and_nothing_is_sent(api: SaltApiBackend, fleet: SaltFleet) -> None:
    assert api.probe().up
    fleet.stop_master()
    try:
        time.sleep(1.2)
        began = time.monotonic()
        reachability = api.probe()
        assert not reachability.up
        assert time.monotonic() - began < 4
        with pytest.raises(ConnectionDown):
            hostnames(api, fleet)
    finally:
        fleet.start_master()
        fleet.wait_for_api()
    assert hostnames(api, fleet) == set(fleet.minions)


def test_two_salt_masters_in_one_process_are_not_mixed_up(api: SaltApiBackend, fleet: SaltFleet) -> None:
    second = SaltFleet({"web-01": "bare", "other-01": "bare"})
    try:
        second.start()
        backends = {
            "first": make_backend("salt", "first", fleet.connection_settings),
            "second": make_backend("salt", "second", second.connection_settings),
            "third": make_backend("salt-api", "third", second.api_settings),
        }
        fleet.exec("web-01", ["sh", "-c", "echo first >/etc/om-site"], check=True)
        second.exec("web-01", ["sh", "-c", "echo second >/etc/om-site"], check=True)
        said: dict[str, list[bytes]] = {name: [] for name in [*backends, "api"]}

        def ask(name: str, backend: SaltApiBackend) -> None:
            for _ in range(5):
                stream = backend.run(
                    Run(["cat", "/etc/om-site"]),
                    fleet.targets("web-01"),
                    backend.new_handle(),
                    time.monotonic() + 40,
                )
                said[name] += [answer.stdout for _, answer in stream]

        callers = [threading.Thread(target=ask, args=pair) for pair in [*backends.items(), ("api", api)]]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(100)
        assert said["first"] == said["api"] == [b"first\n"] * 5
        assert said["second"] == said["third"] == [b"second\n"] * 5
        [ghost] = dict(
            backends["first"].run(
                Run("true"), second.targets("other-01"), api.new_handle(), time.monotonic() + 20
            )
        ).values()
        assert ghost.state == "unreachable"
        for backend in backends.values():
            backend.close()
    finally:
        second.stop()
