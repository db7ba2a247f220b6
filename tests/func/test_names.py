"""Which hosts a text means; what is not understood means none."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from omserver_func import names
from omserver_func.config import OverlordConfig
from omserver_func.errors import FuncClientError
from omserver_func.names import HostList
from omserver_func.overlord import Overlord

HOSTS = ["web-1.lab.test", "Web-2.lab.test", "db-1.lab.test", "db-2.other.org", "127.0.0.12"]
GROUPS = """
[WebServers]
host = web*.lab.test; db-9.lab.test
[databases]
host = DB-1.lab.test, db-2.other.org
subgroup = @webservers
[empty]
host =
[exact]
host = web-1.lab.test,db-2.other.org
"""


@pytest.fixture
def hosts(tmp_path: Path) -> HostList:
    for host in HOSTS:
        (tmp_path / f"{host}.cert").touch()
    (tmp_path / "not-signed.csr").touch()
    (tmp_path / "groups").write_text(GROUPS)
    (tmp_path / "down").write_text("# away\n\ndb-1.lab.test\n")
    return HostList(tmp_path, tmp_path / "groups", tmp_path / "down")


@pytest.fixture(autouse=True)
def _no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"www": {"web-1.lab.test", "alias"}}
    monkeypatch.setattr(names, "_aliases", lambda name: known.get(name, set()))


def short(found: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in found}


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("*", {"web-1", "Web-2", "db-1", "db-2", "127"}),
        ("web*", {"web-1", "Web-2"}),
        ("WEB-1.LAB.TEST", {"web-1"}),
        ("*.lab.test", {"web-1", "Web-2", "db-1"}),
        ("*-[!2]*", {"web-1", "db-1"}),
        ("db-?.*", {"db-1", "db-2"}),
        ("web-1.lab.test;db-1.lab.test", {"web-1", "db-1"}),
        ("127.0.0.12", {"127"}),
        ("www", {"web-1"}),
        ("web-1", set()),
        ("web-1.lab.test, db-1.lab.test", set()),
        (" web-1.lab.test", set()),
        ("*;", {"web-1", "Web-2", "db-1", "db-2", "127"}),
        (";;", set()),
        ("", set()),
        ("../*", set()),
        ("@webservers", {"web-1", "Web-2"}),
        ("@DATABASES", {"db-1", "db-2"}),
        ("@webservers;db-2*", {"web-1", "Web-2", "db-2"}),
        ("@web*", set()),
        ("@nothing", set()),
        ("@empty", set()),
        ("@", set()),
        ("@exact:web*", {"web-1"}),
        ("@exact:nomatch", set()),
        ("@exact:", set()),
        ("@webservers:web-1*", set()),
        ("@exact:*", {"web-1", "db-2"}),
        ("unknown.lab.test", set()),
    ],
)
def test_what_a_text_means(hosts: HostList, spec: str, found: set[str]) -> None:
    assert short(hosts.match(spec)) == found


def test_what_is_excluded_is_left_out_and_unknown_names_are_taken_only_if_the_site_says_so(
    hosts: HostList, tmp_path: Path
) -> None:
    assert short(hosts.match("*", "@databases;127*")) == {"web-1", "Web-2"}
    assert hosts.match("@exact", "nothing") == {"web-1.lab.test", "db-2.other.org"}
    open_list = HostList(tmp_path / "missing", allow_unknown=True)
    assert open_list.match("new.lab.test;x*;a b;../c") == {"new.lab.test"}
    assert HostList(tmp_path / "missing").match("new.lab.test") == set()


def test_a_file_of_groups_that_cannot_be_read_has_no_groups(hosts: HostList, tmp_path: Path) -> None:
    for content in (b"[a\nhost=*", b"host = *", b"\xff\xfe"):
        (tmp_path / "groups").write_bytes(content)
        assert hosts.match("@a") == set()


def test_hosts_that_are_down_are_listed_but_not_called(hosts: HostList, tmp_path: Path) -> None:
    config = OverlordConfig(cert_root=tmp_path, down_file=tmp_path / "down", groups_file=tmp_path / "groups")
    overlord = Overlord("@databases", config=config, init_ssl=False)
    assert overlord.list_minions() == ["db-1.lab.test", "db-2.other.org"]
    with pytest.raises(FuncClientError, match='Can\'t find any minions matching "db-1\\*"'):
        Overlord("db-1*", config=config, init_ssl=False)
    for wrong in ("", "*;nothing"[1:], "@none"):
        with pytest.raises(FuncClientError):
            Overlord(wrong, config=config, init_ssl=False)


def test_delegation_and_puppet_are_refused_with_a_sentence(hosts: HostList, tmp_path: Path) -> None:
    config = OverlordConfig(cert_root=tmp_path)
    for more in ({"delegate": True}, {"puppet_minions": True}):
        with pytest.raises(FuncClientError, match="not supported"):
            Overlord("*", config=config, init_ssl=False, **more)
    with pytest.raises(TypeError, match="colour"):
        Overlord("*", config=config, init_ssl=False, colour="red")


def test_looking_up_a_name_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(names, "_LOOK_UP_SECONDS", 0.05)
    monkeypatch.setattr(names.socket, "gethostbyname_ex", lambda name: time.sleep(4) or (name, [], []))
    began = time.monotonic()
    assert names._aliases("slow") == set()
    assert time.monotonic() - began < 3
