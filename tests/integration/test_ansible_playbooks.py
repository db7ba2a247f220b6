"""Playbooks of the site on real hosts: variables, vault, roles, tags, dry runs, and who is left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from omserver_master.backends import Target
from omserver_master.backends.ansible.backend import AnsibleBackend
from omserver_master.contract.work import Playbook
from tests.ansible_rig import answers, basics, connected, wait_until
from tests.contract.dispatching import Under
from tests.fleet.sshhosts import SshHosts

VAULT = "correct horse"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A control node's own files: an inventory with a vault, and a folder with a role."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "hosts").write_text("[web]\npy-01\npy-02\n[web:vars]\nport=8080\n")
    (folder / "group_vars").mkdir()
    secret = folder / "group_vars" / "web.yml"
    secret.write_text("token: hush\n")
    (folder / "vault").write_text(VAULT)
    program = str(Path(sys.executable).with_name("ansible-vault"))
    words = [program, "encrypt", "--vault-password-file", str(folder / "vault"), str(secret)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    tasks = folder / "book" / "roles" / "hello" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "main.yml").write_text("- name: Greet\n  ansible.builtin.debug:\n    msg: 'hello {{ who }}'\n")
    (folder / "book" / "page.j2").write_text("{{ who }} on {{ port }} {{ token }}\n")
    return folder


@pytest.fixture(scope="module")
def backend(
    sshhosts: SshHosts, site: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsibleBackend]:
    settings = basics(sshhosts, tmp_path_factory.mktemp("run") / "ansible")
    settings |= {"inventory": [str(site / "hosts")], "vault_password": VAULT}
    with connected(settings) as made:
        yield made


@pytest.fixture
def two(sshhosts: SshHosts) -> list[Target]:
    return sshhosts.targets("py-01", "py-02")


BOOK = """
- hosts: web
  gather_facts: false
  roles: [hello]
  tasks:
    - name: Write the page
      ansible.builtin.template: {src: page.j2, dest: /tmp/om-page}
      tags: [page]
    - name: Fail where asked to
      ansible.builtin.command: /bin/false
      when: inventory_hostname == broken
      tags: [never_mind]
"""


def book(site: Path, who: str, broken: str = "", **more: object) -> Playbook:
    return Playbook(BOOK, str(site / "book"), {"who": who, "broken": broken}, **more)  # type: ignore[arg-type]


def test_a_playbook_uses_the_sites_inventory_vault_roles_and_templates(
    backend: AnsibleBackend, sshhosts: SshHosts, site: Path, two: list[Target]
) -> None:
    said = answers(backend, book(site, "world", broken="py-02"), two, 90)
    assert sshhosts.exec("py-01", ["cat", "/tmp/om-page"]).stdout == b"world on 8080 hush\n"
    assert (said["py-01"].state, said["py-01"].rc) == ("done", 0)
    lines = said["py-01"].text.splitlines()
    assert lines[:2] == ["ok          Greet: hello world", "changed     Write the page"]
    assert lines[2].startswith("skipped     Fail where asked to")
    assert (said["py-02"].state, said["py-02"].rc) == ("done", 2)
    assert said["py-02"].errors.startswith("Fail where asked to: non-zero return code")


def test_an_inventory_may_be_a_folder_with_a_plug_in_and_variables_of_each_host(
    sshhosts: SshHosts, tmp_path: Path, two: list[Target]
) -> None:
    folder = tmp_path / "inventory"
    (folder / "host_vars").mkdir(parents=True)
    (folder / "1-hosts.yml").write_text("all: {hosts: {py-01: , py-02: }}\n")
    groups = "groups: {second: inventory_hostname.endswith('2')}"
    (folder / "2-groups.yml").write_text(f"plugin: ansible.builtin.constructed\n{groups}\n")
    for host in two:
        (folder / "host_vars" / f"{host.name}.yml").write_text(f"its: that of {host.name}\n")
    tasks = "gather_facts: false\n  tasks: [{name: Say, debug: {msg: '{{ its }}'}}]\n"
    settings = basics(sshhosts, tmp_path / "run") | {"inventory": [str(folder)]}
    with connected(settings) as backend:
        groups_of = {host.remote_id: host.groups for host in backend.inventory(30)}
        said = answers(backend, Playbook(f"- hosts: all\n  {tasks}"), two, 90)
        only = answers(backend, Playbook(f"- hosts: second\n  {tasks}"), two, 90)
    assert groups_of == {"py-01": (), "py-02": ("second",)}
    assert {name: answer.text for name, answer in said.items()} == {
        name: f"ok          Say: that of {name}\n" for name in ("py-01", "py-02")
    }
    assert (only["py-01"].state, only["py-02"].rc) == ("not_started", 0)


def test_a_parameter_is_a_value_and_never_a_template(
    backend: AnsibleBackend, sshhosts: SshHosts, site: Path, two: list[Target], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    nasty = f"{{{{ lookup('pipe', 'touch {canary}') }}}} {{% raw %}} \"'\\\n\té中 !unsafe # "
    said = answers(backend, book(site, nasty), two[:1], 90)["py-01"]
    assert (said.state, said.rc) == ("done", 0)
    assert sshhosts.exec("py-01", ["cat", "/tmp/om-page"]).stdout.decode() == f"{nasty} on 8080 hush\n"
    assert not canary.exists()


def test_a_dry_run_changes_nothing_and_shows_the_differences(
    backend: AnsibleBackend, sshhosts: SshHosts, site: Path, two: list[Target]
) -> None:
    sshhosts.exec("py-01", ["sh", "-c", "echo before >/tmp/om-page"], check=True)
    said = answers(backend, book(site, "after", check=True, diff=True), two[:1], 90)["py-01"]
    assert sshhosts.exec("py-01", ["cat", "/tmp/om-page"]).stdout == b"before\n"
    assert (said.state, said.rc) == ("done", 0)
    assert "    -before" in said.text.splitlines()
    assert "    +after on 8080 hush" in said.text.splitlines()


def test_tags_pick_what_is_played(backend: AnsibleBackend, site: Path, two: list[Target]) -> None:
    only = answers(backend, book(site, "x", tags=["page"]), two[:1], 90)["py-01"].text
    without = answers(backend, book(site, "x", skip_tags=["page"]), two[:1], 90)["py-01"].text
    assert ("Write the page" in only, "Greet" in only) == (True, False)
    assert ("Write the page" in without, "Greet" in without) == (False, True)


def test_hosts_that_no_play_is_for_or_that_cannot_be_reached_are_told_apart(
    backend: AnsibleBackend, sshhosts: SshHosts, site: Path, two: list[Target]
) -> None:
    """py-02 is in the site's inventory, and its name leads nowhere today; bare-01 is in no group."""
    lost = Target("py-02", "py-02", "py-02", "127.0.0.254")
    said = answers(backend, book(site, "x"), [two[0], lost, *sshhosts.targets("bare-01")], 90)
    assert {host: answer.state for host, answer in said.items()} == {
        "py-01": "done",
        "py-02": "unreachable",
        "bare-01": "not_started",
    }
    assert said["bare-01"].reason == "The playbook has no play for this host."


def test_a_host_without_python_fails_a_playbook_with_ansibles_own_words(
    backend: AnsibleBackend, sshhosts: SshHosts
) -> None:
    play = Playbook("- hosts: all\n  gather_facts: false\n  tasks: [{ping: }]\n")
    said = answers(backend, play, sshhosts.targets("bare-01"), 90)["bare-01"]
    assert (said.state, said.rc) == ("done", 2)
    assert "python" in said.errors.lower()


def test_a_playbook_ends_with_its_time_or_when_it_is_cancelled(
    backend: AnsibleBackend, sshhosts: SshHosts, two: list[Target]
) -> None:
    nap = "- hosts: all\n  gather_facts: false\n  tasks:\n    - raw: sleep 4243\n"
    try:
        said = answers(backend, Playbook(nap, timeout=6), two[:1], 60)["py-01"]
        assert said.state == "timed_out"
        running = Under(backend, Playbook(nap), two)
        wait_until(lambda: any("sleep 4243" in line for line in sshhosts.processes("py-02")))
        proofs = backend.cancel(running.handle, two)
        assert set(proofs.values()) == {"unknown"}
        assert {answer.state for answer in running.wait().values()} == {"unknown"}
    finally:
        for name in ("py-01", "py-02"):
            sshhosts.exec(name, ["pkill", "-f", "sleep 4243"])
