"""The ssh hosts of the tests are what the tests take them for; looked at with OpenSSH's own client."""

from __future__ import annotations

import subprocess

from tests.fleet.sshhosts import SshHosts


def ssh(sshhosts: SshHosts, where: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    known = f"UserKnownHostsFile={sshhosts.known_hosts}"
    words = ["ssh", "-F", "/dev/null", "-i", str(sshhosts.key), "-o", "BatchMode=yes", "-o", known, *options]
    return subprocess.run([*words, where, command], capture_output=True, text=True, timeout=30)


def test_each_host_is_its_own_and_only_some_have_python(sshhosts: SshHosts) -> None:
    seen = {}
    for host in sshhosts.targets():
        done = ssh(sshhosts, f"root@{host.address}", "uname -n; command -v python3")
        seen[done.stdout.splitlines()[0]] = "python3" in done.stdout
    assert seen == {"py-01": True, "py-02": True, "bare-01": False, "jump-01": True}


def test_an_ordinary_user_may_become_root(sshhosts: SshHosts) -> None:
    done = ssh(sshhosts, f"ops@{sshhosts.addresses['py-01']}", "id -un; sudo -n id -un")
    assert done.stdout.split() == ["ops", "root"]


def test_one_host_answers_under_a_thousand_addresses_also_after_a_restart(sshhosts: SshHosts) -> None:
    crowd = sshhosts.crowd(1000)
    assert len({host.address for host in crowd}) == 1000
    sshhosts.stop_host("bare-01")
    sshhosts.start_host("bare-01")
    for host in (crowd[0], crowd[500], crowd[-1]):
        assert ssh(sshhosts, f"root@{host.address}", "uname -n").stdout == "bare-01\n"


def test_the_inner_host_is_reached_through_the_jump_host_only(sshhosts: SshHosts) -> None:
    inner = f"root@{sshhosts.addresses['inner-01']}"
    assert ssh(sshhosts, inner, "uname -n", "-o", "ConnectTimeout=1").returncode == 255
    forward = (
        f"ProxyCommand=ssh -F /dev/null -i {sshhosts.key} -o UserKnownHostsFile={sshhosts.known_hosts} "
        f"-W %h:%p root@{sshhosts.addresses['jump-01']}"
    )
    done = ssh(sshhosts, inner, "uname -n; command -v python3", "-o", forward)
    assert done.stdout == "inner-01\n", done.stderr
