"""The kind ``ssh`` on real hosts: whom it believes, how it logs in, what it goes through, what it tells."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from omserver_master.backends import Backend, ConnectionDown, NoInventory, Target, make_backend
from omserver_master.contract.work import Answer, Put, Run, Work
from tests.contract.dispatching import Under, run, run_one, wait_until
from tests.fleet.sshhosts import PASSWORD, SshHosts
from tests.naps import nap

WHO = Run("hostname; id -un")
Connect = Callable[..., Backend]


@pytest.fixture
def connect(sshhosts: SshHosts) -> Iterator[Connect]:
    """Makes engines with the settings of the hosts, changed as the arguments say."""
    made = []

    def connect(**changed: Any) -> Backend:
        made.append(make_backend("ssh", "test", {**sshhosts.connection_settings, **changed}))
        return made[-1]

    yield connect
    for backend in made:
        backend.close()


def one(backend: Backend, host: Target, work: Work = WHO, seconds: float = 30) -> Answer:
    return run(backend, work, [host], seconds)[host.id]


def test_a_host_behind_a_jump_host_is_reached_through_it(sshhosts: SshHosts, connect: Connect) -> None:
    inner, outer = sshhosts.targets("inner-01", "py-01")
    backend = connect(jump=sshhosts.jump)
    assert backend.probe().up
    answers = run(backend, WHO, [inner, outer])
    assert [answers[host.id].text for host in (inner, outer)] == ["inner-01\nroot\n", "py-01\nroot\n"]
    big = Put("/tmp/put-through", os.urandom(3_000_000))
    assert one(backend, inner, big).ok
    assert sshhosts.exec("inner-01", ["cat", "/tmp/put-through"]).stdout == big.content
    assert one(connect(connect_timeout=1), inner).state == "unreachable"


def test_two_jumps_are_gone_one_after_the_other(sshhosts: SshHosts, connect: Connect) -> None:
    chain = f"ops@{sshhosts.addresses['py-02']},{sshhosts.jump}"
    inner = sshhosts.targets("inner-01")[0]
    assert one(connect(jump=chain), inner).text == "inner-01\nroot\n"
    seen = sshhosts.processes("py-02")
    assert any("sshd: ops" in line for line in seen), seen


def test_a_jump_host_that_is_down_keeps_everything_from_being_sent(
    sshhosts: SshHosts, connect: Connect
) -> None:
    backend = connect(jump=f"root@{sshhosts.addresses['py-01']}:1")
    began = time.monotonic()
    probed = backend.probe()
    assert (probed.up, "jump host" in probed.reason) == (False, True), probed
    assert time.monotonic() - began < 4
    with pytest.raises(ConnectionDown, match="refuses connections on port 1"):
        run(backend, WHO, sshhosts.targets("inner-01"))
    assert not connect(jump="what is this?").probe().up


def test_an_unknown_host_key_is_never_accepted(sshhosts: SshHosts, connect: Connect, tmp_path: Path) -> None:
    known = tmp_path / "known"
    py, bare = sshhosts.targets("py-01", "bare-01")
    known.write_text(f"{bare.address} {sshhosts.host_key('bare-01')}\n")
    answers = run(connect(known_hosts=str(known)), Run("touch /tmp/unknown"), [py, bare])
    assert (answers[bare.id].state, answers[py.id].state) == ("done", "unreachable")
    assert str(known) in answers[py.id].reason
    assert "not known" in answers[py.id].reason
    assert sshhosts.exec("py-01", ["ls", "/tmp/unknown"]).returncode != 0
    assert known.read_text().count("\n") == 1


@pytest.mark.parametrize("mark", ["", "@revoked "])
def test_a_changed_or_revoked_host_key_is_refused_with_the_file(
    sshhosts: SshHosts, connect: Connect, tmp_path: Path, mark: str
) -> None:
    host = sshhosts.targets("py-01")[0]
    known = tmp_path / "known"
    key = sshhosts.host_key("py-01")
    other = sshhosts.host_key("py-02")
    known.write_text(
        f"{mark}{host.address} {key if mark else other}\n" + (f"{host.address} {key}\n" * bool(mark))
    )
    backend = connect(known_hosts=str(known))
    answer = one(backend, host, Run("touch /tmp/changed"))
    assert answer.state == "unreachable"
    assert str(known) in answer.reason
    assert ("revoked" if mark else "changed") in answer.reason
    assert sshhosts.exec("py-01", ["ls", "/tmp/changed"]).returncode != 0
    # Put right, it counts at once.
    known.write_text(f"{host.address} {key}\n")
    assert one(backend, host).ok


def test_a_host_is_known_by_its_name_too(sshhosts: SshHosts, connect: Connect, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"py-01 {sshhosts.host_key('py-01')}\n")
    py, other = sshhosts.targets("py-01", "py-02")
    backend = connect(known_hosts=str(known))
    assert one(backend, py).ok
    assert one(backend, other).state == "unreachable"
    # Another host under its address is not it.
    assert "changed" in one(backend, Target("x", "py-01", "py-01", other.address)).reason


def test_who_is_not_let_in_is_told_so(sshhosts: SshHosts, connect: Connect, tmp_path: Path) -> None:
    host = sshhosts.targets("py-01")[0]
    stranger = sshhosts.new_key(tmp_path / "stranger")
    for backend in (
        connect(private_key=str(stranger)),
        connect(private_key="", user="ops", password="wrong"),
        connect(private_key="", password=PASSWORD),
    ):
        answer = one(backend, host)
        assert answer.state == "unreachable"
        assert "does not let" in answer.reason, answer


def test_keys_passphrases_certificates_passwords_and_agents_let_in(
    sshhosts: SshHosts, connect: Connect, tmp_path: Path
) -> None:
    host = sshhosts.targets("py-01")[0]
    assert one(connect(private_key="", user="ops", password=PASSWORD), host).text == "py-01\nops\n"
    certified = sshhosts.new_key(tmp_path / "certified")
    sign = ["ssh-keygen", "-q", "-s", sshhosts.ca, "-I", "tests", "-n", "root", f"{certified}.pub"]
    subprocess.run(sign, check=True, timeout=30)
    assert one(connect(private_key=str(certified), certificate=f"{certified}-cert.pub"), host).ok
    locked = tmp_path / "locked"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked]
    subprocess.run(make, check=True, timeout=30)
    subprocess.run([*sign[:-1], f"{locked}.pub"], check=True, timeout=30)
    both = {"private_key": str(locked), "certificate": f"{locked}-cert.pub"}
    assert one(connect(**both, passphrase="secret"), host).ok
    with pytest.raises(ConnectionDown, match="private key"):
        one(connect(**both, passphrase="wrong"), host)
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as agent:
        try:
            wait_until(socket.exists)
            environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
            subprocess.run(["ssh-add", "-q", sshhosts.key], env=environment, check=True, timeout=30)
            assert one(connect(private_key="", agent=str(socket)), host).ok
        finally:
            agent.kill()


def test_files_that_cannot_be_read_are_the_connections_fault(
    sshhosts: SshHosts, connect: Connect, tmp_path: Path
) -> None:
    for setting in ("private_key", "known_hosts", "config"):
        backend = connect(**{setting: str(tmp_path / "missing")})
        assert not backend.probe().up
        assert str(tmp_path / "missing") in backend.probe().reason
        with pytest.raises(ConnectionDown):
            run(backend, WHO, sshhosts.targets("py-01"))


def test_an_ordinary_user_works_as_root_by_sudo(sshhosts: SshHosts, connect: Connect, nap_: str) -> None:
    host = sshhosts.targets("py-01")[0]
    assert one(connect(user="ops"), host).text == "py-01\nops\n"
    backend = connect(user="ops", sudo=True)
    assert one(backend, host).text == "py-01\nroot\n"
    running = Under(backend, Run(nap_), [host])
    wait_until(lambda: nap_ in sshhosts.processes("py-01"))
    assert backend.cancel(running.handle, [host]) == {host.id: "stopped"}
    running.wait()
    sshhosts.exec("py-01", ["rm", "/etc/sudoers.d/ops"], check=True)
    try:
        answer = one(backend, host)
    finally:
        restore = "echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops; chmod 440 /etc/sudoers.d/ops"
        sshhosts.exec("py-01", ["sh", "-c", restore], check=True)
    assert (answer.state, "sudo" in answer.reason) == ("not_started", True), answer


def test_what_cannot_be_reached_is_told_apart(sshhosts: SshHosts, connect: Connect) -> None:
    backend = connect(connect_timeout=2)
    address = sshhosts.addresses["py-01"]
    known = sshhosts.targets("py-01")[0]
    refused = one(connect(port=1), known)
    nobody = one(backend, Target("a", "py-01", "", f"{sshhosts.net}.250"))
    nameless = one(backend, Target("b", address, "", "no-such-host.invalid"))
    assert [answer.state for answer in (refused, nobody, nameless)] == ["unreachable"] * 3
    assert "refuses" in refused.reason or "not known" in refused.reason
    assert "resolved" in nameless.reason or "not known" in nameless.reason


def test_an_ssh_config_says_how_to_reach_hosts(sshhosts: SshHosts, connect: Connect, tmp_path: Path) -> None:
    config = tmp_path / "config"
    address = sshhosts.addresses
    config.write_text(
        f"Host inner\n  HostName {address['inner-01']}\n  ProxyJump {sshhosts.jump}\n"
        f"Host plain other?\n  HostName {address['py-01']}\n  User ops\n"
        f"Host *\n  User root\n  IdentityFile {sshhosts.key}\n"
    )
    backend = connect(config=str(config), private_key="", user="")
    assert {host.name: host.address for host in backend.inventory(5)} == {
        "inner": address["inner-01"],
        "plain": address["py-01"],
    }
    inner, plain = Target("1", "A", "inner"), Target("2", "B", "plain")
    answers = run(backend, WHO, [inner, plain])
    assert answers["1"].text == "inner-01\nroot\n", answers
    assert answers["2"].text == "py-01\nops\n"
    with pytest.raises(NoInventory):
        connect().inventory(5)


def test_a_lost_connection_loses_no_answer(sshhosts: SshHosts, connect: Connect) -> None:
    host = sshhosts.targets("py-02")[0]
    backend = connect()
    sshhosts.exec("py-02", ["rm", "-f", "/tmp/cut"], check=True)
    running = Under(backend, Run("echo ran >>/tmp/cut; sleep 3; echo through; exit 3"), [host])
    wait_until(lambda: sshhosts.exec("py-02", ["cat", "/tmp/cut"]).stdout)
    sshhosts.exec("py-02", ["pkill", "-KILL", "-f", "sshd: root@notty"], check=True)
    answer = running.wait()[host.id]
    assert (answer.rc, answer.stdout) == (3, b"through\n")
    assert sshhosts.exec("py-02", ["cat", "/tmp/cut"]).stdout == b"ran\n"


def test_a_host_that_restarts_in_the_middle_is_unknown(sshhosts: SshHosts, connect: Connect) -> None:
    host = sshhosts.targets("py-02")[0]
    sshhosts.exec("py-02", ["rm", "-f", "/tmp/begun"], check=True)
    running = Under(connect(keepalive=1, connect_timeout=2), Run("touch /tmp/begun; sleep 90"), [host], 40)
    wait_until(lambda: sshhosts.exec("py-02", ["ls", "/tmp/begun"]).returncode == 0)
    sshhosts.stop_host("py-02")
    sshhosts.start_host("py-02")
    answer = running.wait()[host.id]
    # It has forgotten all about it, which proves nothing: it is not up for long enough.
    assert (answer.state, "connection was lost" in answer.reason) == ("unknown", True), answer


def test_answers_are_forgotten_on_the_host_once_they_are_stored(
    sshhosts: SshHosts, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = sshhosts.targets("py-02")[0]
    kept = ["sh", "-c", "find /tmp/omserver-root -name answer | wc -l"]
    sshhosts.exec("py-02", ["rm", "-rf", "/tmp/omserver-root"], check=True)
    backend = connect(keep=1)
    assert run_one(backend, WHO, host).ok
    assert sshhosts.exec("py-02", kept).stdout == b"1\n"
    monkeypatch.setattr("omserver_master.backends.ssh.backend.STORED", 0.0)
    assert run_one(backend, WHO, host).ok
    assert sshhosts.exec("py-02", kept).stdout == b"1\n"
    # When the connection is closed because nobody uses it, nothing is left.
    wait_until(lambda: sshhosts.exec("py-02", kept).stdout == b"0\n")
    wait_until(lambda: not any("root@notty" in line for line in sshhosts.processes("py-02")))


def test_more_dispatches_than_a_connection_may_have_sessions(sshhosts: SshHosts, connect: Connect) -> None:
    host = sshhosts.targets("py-01")[0]
    backend = connect()
    under = [Under(backend, Run(f"sleep 1; echo {number}"), [host]) for number in range(25)]
    assert [one.wait()[host.id].text for one in under] == [f"{number}\n" for number in range(25)]


@pytest.fixture
def nap_() -> str:
    return nap("4821")
