"""Salt states on real minions: applied, tried with test=True, failed, broken, too slow; and as a module."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest

from omserver_client import Client
from omserver_master.backends import Backend, make_backend
from omserver_master.contract.enginework import State
from omserver_master.contract.work import Answer
from tests.fleet.fleet import SaltFleet
from tests.system import System, wait_for_end

MODULE = '''"""Set the message of the day."""

from omserver_master import StateModule, Text


class Modulehandle(StateModule):
    text = Text(pattern=".*")
    sls = "site.motd"
'''


@pytest.fixture(scope="module", params=["salt", "salt-api"])
def backend(request: pytest.FixtureRequest, fleet: SaltFleet) -> Iterator[Backend]:
    settings = fleet.connection_settings if request.param == "salt" else fleet.api_settings
    made = make_backend(request.param, "fleet", settings)
    yield made
    made.close()


def apply(backend: Backend, fleet: SaltFleet, work: State, *names: str) -> dict[str, Answer]:
    return dict(backend.run(work, fleet.targets(*names), backend.new_handle(), time.monotonic() + 60))


def test_a_state_is_tried_then_applied_then_has_nothing_to_do(backend: Backend, fleet: SaltFleet) -> None:
    fleet.exec("web-01", ["rm", "-f", "/etc/om-motd"], check=True)
    fleet.exec("web-02", ["rm", "-f", "/etc/om-motd"], check=True)
    text = f'{backend.kind}: "it\'s" {{{{ 7*7 }}}} $(id) 漢字: x'
    work = State("site.motd", {"om": {"text": text, "mode": "0640"}})

    tried = apply(backend, fleet, State("site.motd", work.pillar, test=True), "web-01")["web-01"]
    assert (tried.state, tried.rc) == ("done", 0), tried
    assert tried.text.splitlines()[0].startswith("would change  site_motd  file.managed  /etc/om-motd")
    assert fleet.exec("web-01", ["ls", "/etc/om-motd"]).returncode != 0

    for name, answer in apply(backend, fleet, work, "web-01", "web-02").items():
        assert (answer.state, answer.rc) == ("done", 0), answer
        first, second = answer.text.splitlines()
        assert first.startswith('changed  site_motd  file.managed  /etc/om-motd  {"')
        assert second == f"ok  site_mark  test.succeed_without_changes  {name}"
        assert fleet.exec(name, ["cat", "/etc/om-motd"]).stdout.decode() == text + "\n"
        assert fleet.exec(name, ["stat", "-c", "%a", "/etc/om-motd"]).stdout == b"640\n"

    again = apply(backend, fleet, work, "web-01")["web-01"]
    assert [line.split()[0] for line in again.text.splitlines()] == ["ok", "ok"]


def test_a_failed_state_comes_first_and_says_why(backend: Backend, fleet: SaltFleet) -> None:
    answer = apply(backend, fleet, State("site.failing"), "web-01")["web-01"]
    assert (answer.state, answer.rc) == ("done", 2)
    first, second = answer.text.splitlines()
    assert first.startswith("failed  not_fine  cmd.run  echo to be seen; exit 3  {")
    assert "to be seen" in first
    assert second == "ok  fine  test.succeed_without_changes  fine"
    assert answer.errors.startswith("not_fine: ")


@pytest.mark.parametrize(("sls", "words"), [("site.broken", "Rendering SLS"), ("no.such", "no.such")])
def test_what_cannot_be_rendered_fails_with_salts_text(
    backend: Backend, fleet: SaltFleet, sls: str, words: str
) -> None:
    answer = apply(backend, fleet, State(sls), "web-01")["web-01"]
    assert (answer.state, answer.rc, answer.stdout) == ("done", 2, b"")
    assert words in answer.errors


def test_a_state_that_takes_too_long_is_stopped_on_the_host(backend: Backend, fleet: SaltFleet) -> None:
    answer = apply(backend, fleet, State("site.slow", timeout=8), "web-01")["web-01"]
    assert answer.state == "timed_out", answer
    assert fleet.exec("web-01", ["pgrep", "-f", "sleep 4714"]).stdout == b""


@pytest.fixture(scope="module")
def site(fleet: SaltFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    modules = tmp_path_factory.mktemp("modules")
    (modules / "Mid_2101.py").write_text(MODULE)
    system = System(tmp_path_factory.mktemp("states-site"), modules_dir=modules)
    system.add_hosts(fleet.minions, system.add_connection("dc1", "salt", fleet.connection_settings))
    system.start()
    yield system
    system.close()


def printed(client: Client, job: dict[str, Any]) -> dict[str, str]:
    rows = client.results(job["id"])["results"]
    assert {row["state"] for row in rows} == {"ok"}, rows
    texts = {row["host"]: client.output(job["id"], row["host_id"], "stdout")["text"] for row in rows}
    return {host: base64.b64decode(text).decode() for host, text in texts.items()}


def test_a_module_of_states_runs_dry_and_for_real(site: System, fleet: SaltFleet) -> None:
    fleet.exec("web-02", ["rm", "-f", "/etc/om-motd"], check=True)
    with site.client() as client:
        [module] = [one for one in client.modules() if one["id"] == "2101"]
        assert (module["engines"], module["check"]) == (["salt", "salt-api"], True)
        dry = client.submit("2101", {"text": "a module's"}, ["web-02"], dry_run=True)["job"]["id"]
        dry_said = printed(client, wait_for_end(client, dry, 60))["web-02"]
        assert dry_said.startswith("would change  site_motd")
        assert fleet.exec("web-02", ["ls", "/etc/om-motd"]).returncode != 0
        real = client.submit("2101", {"text": "a module's"}, ["web-02"])["job"]["id"]
        assert printed(client, wait_for_end(client, real, 60))["web-02"].startswith("changed  site_motd")
    assert fleet.exec("web-02", ["cat", "/etc/om-motd"]).stdout == b"a module's\n"
