"""The stock modules and everything else a job meets on real Salt minions, each a host of its own."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omserver_client import Client
from omserver_master.store import hosts
from omserver_master.store.engine import begin
from tests.fleet.fleet import SaltFleet
from tests.integration.conftest import MODULES
from tests.system import CHECKOUT, System, wait_for_end

FULL, BARE = ("web-01", "web-02"), "bare-01"


@pytest.fixture(scope="module")
def salt_site(fleet: SaltFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("modules") / "modules"
    shutil.copytree(CHECKOUT / "modules", folder)
    for module in MODULES.glob("Mid_*.py"):
        shutil.copy(module, folder)
    system = System(tmp_path_factory.mktemp("salt-site"), modules_dir=folder)
    system.add_hosts(fleet.minions, system.add_connection("dc1", "salt", fleet.connection_settings))
    with begin(system.engine) as conn:
        for host in hosts.hosts_by_name(conn, fleet.minions).values():
            hosts.set_facts(conn, host["id"], {"os_family": "debian"}, "Debian 12")
    system.start()
    yield system
    system.close()


@pytest.fixture
def client(salt_site: System) -> Iterator[Client]:
    with salt_site.client() as client:
        yield client


class Done:
    """A job that is over: its rows by host, and what each host printed."""

    def __init__(self, client: Client, job: dict[str, Any]) -> None:
        self.client = client
        self.job = job
        self.rows = {row["host"]: row for row in client.results(job["id"])["results"]}
        self.states = {host: row["state"] for host, row in self.rows.items()}

    def printed(self, host: str, stream: str = "stdout") -> str:
        answer = self.client.output(self.job["id"], self.rows[host]["host_id"], stream)
        return base64.b64decode(answer["text"]).decode()


def run(client: Client, module: str, names: Any, params: Any = None, **options: Any) -> Done:
    job = client.submit(module, params, list(names), **options)["job"]["id"]
    return Done(client, wait_for_end(client, job, 120))


def test_1003_shows_the_system_of_every_minion(client: Client, fleet: SaltFleet) -> None:
    done = run(client, "1003", fleet.minions)
    assert set(done.states.values()) == {"ok"}
    assert all("Debian" in done.printed(host) for host in fleet.minions)


def test_1001_shows_as_many_lines_of_the_log_as_asked_for(client: Client, fleet: SaltFleet) -> None:
    for host in FULL:
        fleet.exec(host, ["sh", "-c", "seq 1 100 | sed 's/^/line /' > /var/log/syslog"], check=True)
    done = run(client, "1001", FULL, {"lines": "20"})
    assert set(done.states.values()) == {"ok"}
    assert done.printed(FULL[0]).splitlines()[-20:] == [f"line {number}" for number in range(81, 101)]
    assert len(done.printed(FULL[0]).splitlines()) <= 21


def test_without_a_log_1001_fails_and_says_why(client: Client) -> None:
    done = run(client, "1001", [BARE])
    assert done.states == {BARE: "failed"}
    assert "log" in done.printed(BARE, "stderr")


def test_1002_shows_logins_where_the_host_keeps_them(client: Client, fleet: SaltFleet) -> None:
    fleet.exec(
        FULL[0], ["sh", "-c", "echo 'sshd: Accepted publickey for li' > /var/log/auth.log"], check=True
    )
    done = run(client, "1002", [FULL[0]])
    assert done.states == {FULL[0]: "ok"}
    assert "Accepted publickey for li" in done.printed(FULL[0])


def test_1004_shows_the_kernels_modules(client: Client, fleet: SaltFleet) -> None:
    done = run(client, "1004", fleet.minions)
    if Path("/proc/modules").exists():
        assert set(done.states.values()) == {"ok"}
    else:  # a kernel built without modules has none to show, and the row says so
        assert set(done.states.values()) == {"failed"}
        assert "module" in done.printed(BARE, "stderr")


def test_1005_really_copies_and_says_where_it_cannot(client: Client, fleet: SaltFleet) -> None:
    def there(name: str) -> bytes:
        return fleet.exec(FULL[0], ["cat", name], check=True).stdout

    before = there("/etc/nginx/nginx.conf")
    done = run(client, "1005", [FULL[0], BARE], {"app": "nginx"})
    assert done.states == {FULL[0]: "ok", BARE: "failed"}
    assert there("/etc/nginx/nginx.conf") == (CHECKOUT / "modules/files/nginx/nginx.conf").read_bytes()
    assert there("/etc/nginx/nginx.conf") != before == there("/etc/nginx/nginx.conf.omserver-old")
    assert "not installed" in done.rows[BARE]["reason"] + done.printed(BARE, "stderr")


def test_1005_puts_the_old_file_back_when_the_check_refuses_the_new_one(
    client: Client, fleet: SaltFleet
) -> None:
    fleet.exec(FULL[1], ["sh", "-c", "echo 'no such directive;' > /etc/nginx/conf.d/other.conf"], check=True)
    before = fleet.exec(FULL[1], ["cat", "/etc/nginx/nginx.conf"], check=True).stdout
    done = run(client, "1005", [FULL[1]], {"app": "nginx"})
    fleet.exec(FULL[1], ["rm", "/etc/nginx/conf.d/other.conf"], check=True)
    assert done.states == {FULL[1]: "failed"}
    assert "unknown directive" in done.rows[FULL[1]]["reason"] + done.printed(FULL[1], "stderr")
    assert fleet.exec(FULL[1], ["cat", "/etc/nginx/nginx.conf"], check=True).stdout == before


def test_1006_prints_the_configuration_of_an_application(client: Client) -> None:
    done = run(client, "1006", [FULL[1], BARE], {"app": "nginx"})
    assert done.states == {FULL[1]: "ok", BARE: "failed"}
    assert "worker_" in done.printed(FULL[1])
    limits = run(client, "1006", [BARE], {"app": "limits"})
    assert limits.states == {BARE: "ok"}


def test_1007_really_restarts_and_says_where_it_cannot(client: Client, fleet: SaltFleet) -> None:
    def nginx() -> bytes:
        return fleet.exec(FULL[0], ["cat", "/run/nginx.pid"]).stdout.strip()

    fleet.exec(FULL[0], ["service", "nginx", "start"])
    first = nginx()
    done = run(client, "1007", [FULL[0], BARE], {"service": "nginx"})
    assert done.states == {FULL[0]: "ok", BARE: "failed"}
    assert nginx() != first
    assert nginx()
    assert done.printed(BARE, "stderr") or done.rows[BARE]["reason"]


def test_nasty_words_arrive_byte_for_byte_through_salt(client: Client) -> None:
    words = [
        "it's",
        '"',
        "$(touch /tmp/canary)",
        "a;b",
        "`id`",
        "-rf",
        "a@@b",
        "x=1",
        "{{ 7*7 }}",
        "漢字",
        "%s\\n",
    ]
    jobs = {word: client.submit("2001", {"word": word}, [FULL[0]])["job"]["id"] for word in words}
    for word, job in jobs.items():
        assert Done(client, wait_for_end(client, job)).printed(FULL[0]) == word


def test_five_megabytes_come_through_salt(client: Client) -> None:
    done = run(client, "2016", [FULL[0]], {"what": "large"})
    assert done.states == {FULL[0]: "ok"}
    assert done.rows[FULL[0]]["stdout_bytes"] == 5 << 20


def test_two_steps_run_one_after_the_other_on_each_minion(client: Client, fleet: SaltFleet) -> None:
    done = run(client, "2003", fleet.minions)
    assert {host: done.printed(host) for host in FULL} == {host: f"first then {host}\n" for host in FULL}


def test_a_minion_that_hangs_has_timed_out_and_its_process_is_gone(client: Client, fleet: SaltFleet) -> None:
    done = run(client, "2002", [FULL[0]], {"seconds": "47"})
    assert done.states == {FULL[0]: "timed_out"}
    left = fleet.exec(FULL[0], ["pgrep", "-f", "sleep 47"])
    assert left.stdout == b""


def test_a_cancel_stops_the_process_on_the_minion(client: Client, fleet: SaltFleet) -> None:
    job = client.submit("2002", {"seconds": "48"}, [FULL[0]], timeout=100)["job"]["id"]
    while not fleet.exec(FULL[0], ["pgrep", "-f", "sleep 48"]).stdout:
        time.sleep(0.1)
    client.cancel(job)
    done = Done(client, wait_for_end(client, job, 30))
    assert done.states == {FULL[0]: "cancelled"}
    assert done.job["state"] == "cancelled"
    assert fleet.exec(FULL[0], ["pgrep", "-f", "sleep 48"]).stdout == b""


def test_a_minion_that_is_down_is_unreachable_and_the_others_are_not_held_up(
    client: Client, fleet: SaltFleet
) -> None:
    fleet.stop_minion("web-02")
    try:
        began = time.monotonic()
        job = client.submit("1003", None, list(fleet.minions))["job"]["id"]
        while client.job(job)["counts"].get("ok") != 2:
            assert time.monotonic() - began < 10
            time.sleep(0.1)
        done = Done(client, wait_for_end(client, job, 60))
        assert done.states == {"web-01": "ok", "web-02": "unreachable", "bare-01": "ok"}
        assert done.rows["web-02"]["reason"]
        assert done.job["state"] == "failed"
        assert time.monotonic() - began < 30
    finally:
        fleet.start_minion("web-02")


def test_while_the_salt_master_is_down_rows_wait_with_a_reason_and_then_run_or_expire(
    client: Client, fleet: SaltFleet
) -> None:
    fleet.stop_master()
    try:
        time.sleep(3)  # the last look at the connection was good for two seconds
        hopeless = client.submit("1003", None, ["web-01"], start_before=8)["job"]["id"]
        patient = client.submit("1003", None, ["web-01"])["job"]["id"]
        deadline = time.monotonic() + 20
        while "dc1" not in client.job(patient)["reason"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert client.job(patient)["counts"] == {"pending": 1}
        end = wait_for_end(client, hopeless, 40)
        assert (end["state"], end["counts"]) == ("expired", {"not_started": 1})
        assert [c["state"] for c in client.status()["connections"]] == ["down"]
    finally:
        fleet.start_master()
    assert wait_for_end(client, patient, 60)["state"] == "succeeded"
    assert [c["state"] for c in client.status()["connections"]] == ["up"]
