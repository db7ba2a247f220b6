"""What docs/backends/ tells a new user to type to connect an engine, typed on a machine of its own.

Paths are as the pages have them, in that machine's own files; addresses and names are the tests' own.
"""

from __future__ import annotations

import base64
import re
import shlex
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.contract.dispatching import wait_until
from tests.fleet.fleet import SaltFleet
from tests.fleet.saltapi import RIGHTS
from tests.fleet.spaces import Spaces
from tests.fleet.sshhosts import SshHosts
from tests.system import CHECKOUT, System

PAGES = CHECKOUT / "docs" / "backends"


def section(page: str, heading: str) -> str:
    """The text below a heading, as far as the next of its rank or a higher one."""
    text = (PAGES / page).read_text(encoding="utf-8")
    rank = len(heading.split()[0])
    # A comment in a fence has no empty line before it.
    return re.split(rf"\n\n#{{1,{rank}}} ", text.partition(f"{heading}\n")[2])[0]


def blocks(text: str) -> list[str]:
    """What stands in its fences, those within lists without their indentation."""
    found = re.findall(r"^( *)```\w*\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


class Machine:
    """A host on which somebody types; *names* are what the pages say, and what is meant here."""

    def __init__(self, spaces: Spaces, name: str, address: str) -> None:
        self.address = address
        self.names: dict[str, str] = {}
        self._spaces = spaces
        self._name = name
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "OMSERVER_HOME": "/srv/omserver",
            "OMSERVER_MODULES_DIR": str(CHECKOUT / "modules"),
        }
        # What is typed here must not reach this machine's own files.
        kinds = self.types("stat -f -c %T /etc /root /srv /var").split()
        assert kinds == ["overlayfs"] * 4, kinds

    def types(self, text: str, code: int = 0) -> str:
        """What came of it; it ends with *code*."""
        for said, meant in self.names.items():
            text = text.replace(said, meant)
        values = [f"{name}={value}" for name, value in self._environment.items()]
        shell = ["/bin/sh", "-e", "-c", f"cd /root\n{text}"]
        done = self._spaces.exec(self._name, ["env", "-i", *values, *shell], seconds=90)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == code, f"{text}\n{said}"
        return said

    def has(self, path: str, content: bytes) -> None:
        """There is such a file, for its owner only."""
        self.types(
            f"mkdir -p $(dirname {path}); (umask 077; base64 -d >{path}) <<'END'\n"
            f"{base64.b64encode(content).decode()}\nEND"
        )

    def starts(self, command: str, log: str) -> None:
        """The same, but it goes on in the background."""
        self.types(f"setsid {command} >{log} 2>&1 </dev/null &")

    def waits_for(self, command: str, seconds: float = 60) -> None:
        """Until *command* ends well."""
        end = time.monotonic() + seconds
        while "well" not in self.types(f"{command} >/dev/null 2>&1 && echo well || echo not yet"):
            assert time.monotonic() < end, self.types(f"{command} || true; tail -n 30 /srv/*.log")
            time.sleep(0.1)


@pytest.fixture(scope="module")
def machines(sshhosts: SshHosts) -> Iterator[dict[str, Machine]]:
    """Two machines on the network of the hosts with sshd; nothing of ours is on them yet."""
    spaces = Spaces()
    addresses = {name: f"{sshhosts.net}.{number}" for number, name in enumerate(("desk", "minion"), 50)}
    try:
        spaces.start(
            {
                name: spaces.host_command(name, "bare", address, ["sleep", "infinity"])
                for name, address in addresses.items()
            }
        )
        for name, address in addresses.items():
            sshhosts.spaces.pids[name] = spaces.pids[name]
            sshhosts.spaces.wire(name, address)
            # It has its name when its own files are in their places; before, it sees those of this machine.
            wait_until(lambda name=name: spaces.exec(name, ["hostname"]).stdout.decode().strip() == name)
            wait_until(lambda name=name: spaces.exec(name, ["pgrep", "-x", "sleep"]).returncode == 0)
        yield {name: Machine(spaces, name, address) for name, address in addresses.items()}
    finally:
        for name in addresses:
            sshhosts.spaces.pids.pop(name, None)
        spaces.stop()


@pytest.fixture(scope="module")
def desk(machines: dict[str, Machine]) -> Machine:
    """A machine with an OMServer as docs/install.md makes one, and nothing else."""
    desk = machines["desk"]
    said = desk.types(
        "omserver db upgrade >&2; omserver db seed >&2; omserver user add admin --role admin;"
        "omserver key create omctl --role admin >&2"
    )
    password = said.split()[0]
    desk.starts("omserver master", "/srv/master.log")
    desk.waits_for(f"echo {password} | omctl login admin --password-stdin")
    return desk


def test_plain_hosts_behind_a_jump_host(desk: Machine, sshhosts: SshHosts) -> None:
    page = section("ssh.md", "## Connect plain hosts behind a jump host")
    make_key, collect_keys, connect = blocks(page)
    desk.names = {
        "203.0.113.7": sshhosts.addresses["jump-01"],
        "10.0.0.10 10.0.0.11": sshhosts.addresses["inner-01"],
        "10.0.0.10": sshhosts.addresses["inner-01"],
    }
    desk.types(make_key)
    public = desk.types("cat /etc/omserver/id.pub")
    for name in ("jump-01", "inner-01"):
        add = f"echo {shlex.quote(public.strip())} >>/etc/ssh/authorized_keys"
        sshhosts.exec(name, ["sh", "-c", add], check=True)
    desk.types(collect_keys)
    said = desk.types(connect)
    assert "inside answers" in said
    assert "Debian" in said


def test_a_control_node_that_is_there(desk: Machine, sshhosts: SshHosts) -> None:
    site, _ = blocks(section("ansible.md", "## Connect an existing control node"))
    desk.names = {}
    address = sshhosts.addresses["py-02"]
    # What is there already: a key, the keys of the hosts, an inventory and an ansible.cfg.
    desk.has(".ssh/id", sshhosts.key.read_bytes())
    desk.has(".ssh/known_hosts", sshhosts.known_hosts.read_bytes())
    desk.has("/etc/ansible/hosts", f"[web]\npy-02 ansible_host={address}\n".encode())
    desk.has("/etc/ansible/ansible.cfg", b"[defaults]\nprivate_key_file = ~/.ssh/id\n")
    by_hand = "ansible -i /etc/ansible/hosts web -m raw -a uptime"
    assert f"`{by_hand}`" in section("ansible.md", "## Connect an existing control node")
    assert "load average" in desk.types(by_hand)
    assert "1 new" in desk.types(site)
    said = desk.types("omctl host import --from site --apply; omctl run 1003 --host py-02")
    assert "Debian" in said


def test_hosts_with_a_key_and_no_control_node(desk: Machine, sshhosts: SshHosts) -> None:
    _, keys = blocks(section("ansible.md", "## Connect an existing control node"))
    first, second = (sshhosts.addresses[name] for name in ("py-02", "bare-01"))
    desk.names = {"10.0.0.5": first, "10.0.0.6": second, "user=deploy": "user=ops"}
    desk.types(keys.splitlines()[0])
    desk.has("/etc/omserver/key", sshhosts.key.read_bytes())
    assert "web answers" in desk.types(keys)
    said = desk.types(
        f"omserver host add app-01 --connection web --inner-ip {second}; omctl run 1003 --host app-01"
    )
    assert "Debian" in said


def test_a_func_network_from_nothing(desk: Machine, machines: dict[str, Machine]) -> None:
    make_ca, fingerprint = blocks(section("func.md", "### 1. A CA"))[0], "omserver-func fingerprint"
    (issue,) = blocks(section("func.md", "### 2. A certificate for OMServer"))
    original, by_hand, serve, enroll, start, unit = blocks(section("func.md", "### 3. Minions"))
    (connect,) = blocks(section("func.md", "### 4. OMServer"))
    minion = machines["minion"]
    desk.names = {"10.0.0.5": desk.address, "10.0.0.11": minion.address}
    desk.types(make_ca)
    minion.names = {**desk.names, "5d1f...": desk.types(fingerprint).strip()}
    caller = re.search(r"omserver-\d+", desk.types(issue))
    assert caller is not None
    desk.starts(serve.partition("#")[0].strip(), "/srv/certmaster.log")
    desk.waits_for(f"ss -Hltn | grep -q {desk.address}:51235")
    first, sign, second = enroll.splitlines()
    minion.types(first, code=3)
    assert "web-01.lab.test" in desk.types(sign)
    minion.types(second)
    # The other way, with files that are carried.
    request, _, sign, *_ = by_hand.replace("web-01", "web-02").splitlines()
    minion.types(request)
    name = "web-02.lab.test.csr"
    asked = minion.types(f"cat /etc/pki/certmaster/{name}")
    desk.has(f"/var/lib/certmaster/certmaster/csrs/{name}", asked.encode())
    desk.types(sign)
    desk.types("test -s /var/lib/certmaster/certmaster/certs/web-02.lab.test.cert")
    minion.names["omserver-1441670551"] = caller[0]
    *grant, run = start.strip().splitlines()
    minion.types("\n".join(grant))
    minion.starts(run, "/srv/funcd.log")
    minion.waits_for("ss -Hltn | grep -q :51234")
    said = desk.types(connect)
    assert "func-1 answers" in said
    assert "2 new" in said
    assert "Debian" in said
    assert caller[0].split("-")[0] in original
    assert "omserver-funcd run" in unit


@pytest.fixture
def site(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path / "home", modules_dir=CHECKOUT / "modules")
    system.start()
    yield system
    system.close()


def test_a_salt_master_on_this_machine(site: System, fleet: SaltFleet) -> None:
    _, connect = blocks(section("salt.md", "## Connect the Salt master of this machine"))
    line = connect.replace("/etc/salt", fleet.connection_settings["config_dir"])
    assert "dc1 answers" in shell(site, line)
    found = shell(site, "omctl host import --from dc1")
    assert all(name in found for name in fleet.minions)
    shell(site, "omctl host import --from dc1 --apply")
    assert "Debian" in shell(site, "omctl run 1003 --host web-01")


def test_a_salt_master_elsewhere(site: System, fleet: SaltFleet) -> None:
    *_, connect = blocks(section("salt-api.md", "## Connect an existing Salt master"))
    own = fleet.api_settings
    line = connect.replace("https://salt.example.org:8000", own["url"])
    line = line.replace("/etc/omserver/salt-api.pem", own["ca_file"])
    said = shell(site, line, own["password"] + "\n")
    assert "dc2 answers" in said
    assert all(name in said for name in fleet.minions)
    assert own["password"] not in said


def test_the_rights_that_salt_api_needs_are_those_that_the_tests_have() -> None:
    _, configuration, _ = blocks(section("salt-api.md", "## Connect an existing Salt master"))
    said = yaml.safe_load(configuration)
    assert said["external_auth"] == {"sharedsecret": {"omserver": RIGHTS}}
    assert said["netapi_enable_clients"] == ["local_async", "wheel", "runner"]


def test_the_certificate_that_is_made_for_salt_api_is_good_for_its_name(tmp_path: Path) -> None:
    make, _, _ = blocks(section("salt-api.md", "## Connect an existing Salt master"))
    line = make.partition("chown")[0].replace("/etc/salt", str(tmp_path))
    subprocess.run(["/bin/sh", "-e", "-c", line], check=True, capture_output=True, timeout=60)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "api.pem", tmp_path / "api.key")
    ours, theirs = (ssl.MemoryBIO(), ssl.MemoryBIO())
    client = ssl.create_default_context(cafile=str(tmp_path / "api.pem"))
    ends = [
        client.wrap_bio(ours, theirs, server_hostname="salt.example.org"),
        server.wrap_bio(theirs, ours, server_side=True),
    ]
    for end in ends * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert ends[0].getpeercert()["subject"] == ((("commonName", "salt.example.org"),),)


def shell(site: System, line: str, stdin: str = "") -> str:
    """What came of a line that is typed on the machine of the tests."""
    home = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
    login = f"echo {site.passwords['admin']} | omctl login admin --password-stdin >/dev/null\n"
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", home + login + line],
        env=site.environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        start_new_session=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{line}\n{said}"
    return said
