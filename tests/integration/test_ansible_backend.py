"""The kind ansible against real hosts: what the contract tests do not ask."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from omserver_master.backends import ConnectionDown, NoInventory, Target
from omserver_master.backends.ansible.backend import AnsibleBackend
from omserver_master.backends.ansible.folder import RunFolder
from omserver_master.backends.ansible.sockets import control_folder
from omserver_master.contract.work import Playbook, Put, Run
from tests.ansible_rig import answers, basics, connected, processes_with, wait_until
from tests.contract.dispatching import Under
from tests.fleet.sshhosts import PASSWORD, SshHosts


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "ansible"


@pytest.fixture(scope="module")
def settings(sshhosts: SshHosts, run_dir: Path) -> dict[str, object]:
    return basics(sshhosts, run_dir)


@pytest.fixture(scope="module")
def backend(settings: dict[str, object]) -> Iterator[AnsibleBackend]:
    with connected(settings) as made:
        yield made


def test_a_host_without_python_answers_and_its_row_says_so(
    backend: AnsibleBackend, sshhosts: SshHosts
) -> None:
    said = answers(backend, Run(["echo", "hello"]), sshhosts.targets("py-01", "bare-01"))
    assert {answer.stdout for answer in said.values()} == {b"hello\n"}
    assert said["py-01"].reason == ""
    assert said["bare-01"].reason == "This host has no Python that Ansible can use: raw was used."


def test_a_host_whose_python_is_too_old_answers_and_its_row_says_so(
    settings: dict[str, object], sshhosts: SshHosts
) -> None:
    """Its programs are there, and fail the question for their version, as those of Python 2.7 do."""
    names = "/usr/bin/python3 /usr/bin/python"
    stub = "#!/bin/sh\necho asked >>/tmp/om-asked\n[ $1 = -c ] && exit 1\necho Python 2.7.18\n"
    put = f"for name in {names}; do printf %s '{stub}' >$name && chmod 755 $name || exit 1; done"
    sshhosts.exec("bare-01", ["sh", "-c", put], check=True)
    try:
        with connected(settings | {"python": ""}) as backend:
            said = answers(backend, Run(["echo", "hello"]), sshhosts.targets("py-01", "bare-01"))
        sshhosts.exec("bare-01", ["test", "-s", "/tmp/om-asked"], check=True)
    finally:
        sshhosts.exec("bare-01", ["sh", "-c", f"rm -f {names} /tmp/om-asked"])
    assert {answer.stdout for answer in said.values()} == {b"hello\n"}
    assert said["py-01"].reason == ""
    assert said["bare-01"].reason == "This host has no Python that Ansible can use: raw was used."


def test_who_never_wants_to_look_for_python_is_told_nothing_of_it(
    settings: dict[str, object], sshhosts: SshHosts
) -> None:
    with connected(settings | {"raw": "always"}) as backend:
        said = answers(backend, Run(["echo", "hello"]), sshhosts.targets("bare-01"))
    assert (said["bare-01"].stdout, said["bare-01"].reason) == (b"hello\n", "")


def test_ansible_runners_artifacts_say_how_the_run_ended(
    backend: AnsibleBackend, sshhosts: SshHosts, run_dir: Path
) -> None:
    handle = backend.new_handle()
    list(backend.run(Run("true"), sshhosts.targets("py-01"), handle, time.monotonic() + 60))
    artifacts = run_dir / "jobs" / handle / "artifacts" / handle
    wait_until(lambda: (artifacts / "rc").exists() and (artifacts / "rc").read_text())
    assert (artifacts / "status").read_text() == "successful"
    assert (artifacts / "rc").read_text() == "0"


def test_a_host_whose_key_changed_or_is_not_known_is_not_talked_to(
    settings: dict[str, object], sshhosts: SshHosts, tmp_path: Path
) -> None:
    wrong, none = tmp_path / "wrong", tmp_path / "none"
    wrong.write_text(f"{sshhosts.addresses['py-01']} {sshhosts.host_key('py-02')}\n")
    none.write_text("")
    for file, reason in ((wrong, "has changed"), (none, "not in known_hosts")):
        with connected(settings | {"known_hosts": str(file), "run_dir": str(tmp_path / "run")}) as backend:
            said = answers(backend, Run("true"), sshhosts.targets("py-01"))["py-01"]
        assert said.state == "unreachable"
        assert reason in said.reason


def test_a_key_that_no_host_knows_is_unreachable_and_told(
    settings: dict[str, object], sshhosts: SshHosts, tmp_path: Path
) -> None:
    key = str(sshhosts.new_key(tmp_path / "key"))
    with connected(settings | {"private_key_file": key, "run_dir": str(tmp_path / "run")}) as backend:
        said = answers(backend, Run("true"), sshhosts.targets("py-01"))["py-01"]
    assert (said.state, said.reason) == (
        "unreachable",
        "The host lets us in neither with our ssh key nor with a password.",
    )


def test_a_password_logs_in_and_becomes_root_and_can_be_seen_nowhere(
    settings: dict[str, object], sshhosts: SshHosts, tmp_path: Path
) -> None:
    """By ssh password and by sudo that asks for one."""
    secret = PASSWORD
    sudoers = "/etc/sudoers.d/ops"
    sshhosts.exec("py-01", ["sh", "-c", f"echo 'ops ALL=(ALL) ALL' >{sudoers}"], check=True)
    own = settings | {"user": "ops", "password": secret, "become": "yes", "run_dir": str(tmp_path / "run")}
    own.pop("private_key_file")
    try:
        with connected(own) as backend:
            asked = answers(backend, Run("true"), sshhosts.targets("py-01"), 40)["py-01"]
        assert asked.state == "not_started"
        assert "become_password" in asked.reason
        with connected(own | {"become_password": secret}) as backend:
            hosts = sshhosts.targets("py-01")
            running = Under(backend, Run("id -un; sleep 2"), hosts)
            seen: list[str] = []
            looks = 0
            while not running.answered:
                # In what everybody on this machine may read.
                seen += processes_with(secret).values()
                looks += 1
            said = running.wait()["py-01"]
            assert (said.stdout, said.reason) == (b"root\n", "")
        assert looks > 5
        assert seen == []
        files = [file for file in (tmp_path / "run").rglob("*") if file.is_file() and not file.is_socket()]
        assert [file for file in files if secret.encode() in file.read_bytes()] == []
    finally:
        sshhosts.exec("py-01", ["sh", "-c", f"echo 'ops ALL=(ALL) NOPASSWD: ALL' >{sudoers}"], check=True)


def test_a_change_of_ansible_cfg_counts_from_the_next_run(
    settings: dict[str, object], sshhosts: SshHosts, tmp_path: Path
) -> None:
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults]\nremote_user = nobody-at-all\n")
    own = settings | {"config": str(config), "run_dir": str(tmp_path / "run")}
    own.pop("user")
    with connected(own) as backend:
        assert answers(backend, Run("true"), sshhosts.targets("py-01"))["py-01"].state == "unreachable"
        config.write_text("[defaults]\nremote_user = root\n")
        assert answers(backend, Run("id -un"), sshhosts.targets("py-01"))["py-01"].stdout == b"root\n"


def test_a_name_that_means_several_hosts_is_refused(
    settings: dict[str, object], sshhosts: SshHosts, tmp_path: Path
) -> None:
    inventory = tmp_path / "hosts"
    inventory.write_text("[py-01]\npy-02\n")
    own = settings | {"inventory": [str(inventory)], "run_dir": str(tmp_path / "run")}
    address = sshhosts.addresses["py-01"]
    with connected(own) as backend:
        said = answers(backend, Put("/tmp/om-twofold", "x"), sshhosts.targets("py-01"))["py-01"]
        odd = answers(
            backend, Run("true"), [Target("1", "a:b", "all:!x", address), Target("2", "c", "*", address)]
        )
    assert said.state == "not_started"
    assert "py-01" in said.reason
    assert {answer.state for answer in odd.values()} == {"not_started"}
    assert sshhosts.exec("py-02", ["test", "-e", "/tmp/om-twofold"]).returncode == 1


def test_the_sites_inventories_are_listed_with_their_groups(
    settings: dict[str, object], backend: AnsibleBackend, tmp_path: Path
) -> None:
    (tmp_path / "hosts").write_text(
        '[web]\nweb[1:2] ansible_host="10.0.0.{{ 4 + 4 }}"\n[site:children]\nweb\n'
    )
    script = tmp_path / "clouds.sh"
    script.write_text('#!/bin/sh\necho \'{"cloud": {"hosts": ["c1"]}, "_meta": {"hostvars": {"c1": {}}}}\'\n')
    script.chmod(0o755)
    both = {"inventory": [str(tmp_path / "hosts"), str(script)], "run_dir": str(tmp_path / "run")}
    with connected(settings | both) as listed:
        found = {host.remote_id: (host.address, host.groups) for host in listed.inventory(30)}
    assert found == {
        "web1": ("10.0.0.8", ("site", "web")),
        "web2": ("10.0.0.8", ("site", "web")),
        "c1": ("", ("cloud",)),
    }
    (tmp_path / "hosts").write_text("[web\n")
    with connected(settings | both) as broken, pytest.raises(ConnectionDown, match="inventory"):
        broken.inventory(30)
    with pytest.raises(NoInventory):
        backend.inventory(30)


def test_what_the_settings_name_and_is_not_there_is_told_by_the_probe(
    settings: dict[str, object], tmp_path: Path
) -> None:
    for name in ("config", "private_key_file", "vault_password_file", "inventory"):
        with connected(settings | {name: str(tmp_path / "nowhere")}) as backend:
            found = backend.probe()
        assert not found.up
        assert name in found.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [("forks", 0), ("python", "python3"), ("raw", "never"), ("inventory", "hosts"), ("ssh_args", "-o 'x")],
)
def test_a_setting_that_is_wrong_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name), connected({name: value}):
        pass


def test_when_the_worker_is_done_no_process_stays(
    settings: dict[str, object], sshhosts: SshHosts, tmp_path: Path
) -> None:
    own = str(tmp_path / "run")
    before = set(processes_with("ansible.warm"))
    with connected(settings | {"run_dir": own}) as backend:
        answers(backend, Run("true"), sshhosts.targets("py-01"))
        sockets = str(control_folder(tmp_path / "run"))
        assert set(processes_with("ansible.warm")) - before
        assert processes_with(sockets), "ssh keeps the connection open for the next run"
    wait_until(lambda: not set(processes_with("ansible.warm")) - before)
    wait_until(lambda: not processes_with(sockets))


def test_what_ended_long_ago_is_removed_and_secrets_at_once(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    files = {"work": b"secret", "env/passwords": b"secret"}
    old, killed, new = (run.make(name, {}, files) for name in ("old", "killed", "new"))
    for folder, age in ((old, 25 * 3600), (killed, 120)):
        os.utime(folder.path, times=(time.time() - age, time.time() - age))
    run.sweep()
    assert run.find("old") is None
    assert run.find("killed") is not None
    assert [(killed.path / name).exists() for name in files] == [False, False]
    assert [(new.path / name).exists() for name in files] == [True, True]


def test_a_folder_for_runs_that_others_may_write_to_is_refused(
    settings: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "above").mkdir()
    (tmp_path / "above").chmod(0o777)
    for place in ("open", "above/run"):
        with connected(settings | {"run_dir": str(tmp_path / place)}) as backend:
            found = backend.probe()
        assert not found.up
        assert "run_dir" in found.reason


def test_a_playbook_is_no_work_for_a_broken_text(backend: AnsibleBackend, sshhosts: SshHosts) -> None:
    said = answers(backend, Playbook("- hosts: [all"), sshhosts.targets("py-01"))["py-01"]
    assert said.state == "not_started"
    assert "YAML" in said.reason
