"""Who may call what on a minion."""

from __future__ import annotations

import logging
import os
import random
import ssl
import threading
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from omserver_func.acl import Acls, Rule, read_rule
from omserver_func.errors import CallFailed, is_denied
from omserver_func.subject import Subject, pem_to_der, subject_of, validity_of
from omserver_func.tls import client_context
from omserver_func.transport import MinionConnection

from .site import FuncSite, func_site, openssl

MINION = "127.0.0.2"
CALLER = Subject("Web-Master.lab.test", 1441670551)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuncSite]:
    with func_site(tmp_path_factory.mktemp("func-rights"), MINION) as site:
        yield site


def write(folder: Path, text: str, name: str = "a.acl") -> None:
    part = folder / "part"
    part.write_text(text)
    part.rename(folder / name)


@pytest.mark.parametrize(
    ("line", "method", "allowed"),
    [
        ("web-master.lab.test-1441670551 = command.run", "command.run", True),
        ("WEB-MASTER.lab.test-1441670551 = command.run", "command.run", True),
        ("Web-Master.lab.test-1441670551=command.run,test.ping", "test.ping", True),
        ("Web-Master.lab.test-1441670551 = command.run test.ping", "test.ping", True),
        ("*-1441670551 = *", "iptables.port.drop_from", True),
        ("web-master* = command.*", "command.run", True),
        ("web-[l-n]aster* = test.p?ng", "test.ping", True),
        ("web-master.lab.test-1441670551 = command.run", "command.exists", False),
        ("web-master.lab.test-1441670551 = Command.Run", "command.run", False),
        ("web-master.lab.test-55ee1d97 = command.run", "command.run", False),
        ("web-master.lab.test = command.run", "command.run", False),
        ("# web-master* = *", "command.run", False),
        ("web-master* *", "command.run", False),
        ("web-master* =", "command.run", False),
        ("= *", "command.run", False),
        ("a = b = *", "command.run", False),
        ("", "command.run", False),
    ],
)
def test_what_an_acl_line_grants(tmp_path: Path, line: str, method: str, allowed: bool) -> None:
    write(tmp_path, line)
    assert Acls(tmp_path, None).allows(CALLER, method) is allowed


def test_a_bad_line_or_file_grants_nothing_and_harms_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "this is no rule\nweb* = test.ping\n == \nweb* = test.add\n")
    (tmp_path / "b.acl").write_bytes(b"\xff\xfe = *\n")
    write(tmp_path, "web* = *", "open.acl")
    (tmp_path / "open.acl").chmod(0o666)
    write(tmp_path, "web* = *", "not-an-acl.txt")
    acls = Acls(tmp_path, None)
    with caplog.at_level(logging.ERROR):
        assert [acls.allows(CALLER, name) for name in ("test.ping", "test.add", "test.echo")] == [
            True, True, False,
        ]  # fmt: skip
    assert len(caplog.records) == 4


def test_a_change_counts_at_once_and_the_override_does_not_depend_on_the_files(tmp_path: Path) -> None:
    ca = Subject("site-CA-KEY", 1)
    acls = Acls(tmp_path, ca)
    for text, allowed in (("", False), ("web* = test.ping", True), ("web* = test.pong", False)):
        write(tmp_path, text)
        assert acls.allows(ca, "anything.at.all")
        assert acls.allows(CALLER, "test.ping") is allowed
    (tmp_path / "a.acl").unlink()
    assert not acls.allows(CALLER, "test.pong")
    assert not acls.allows(Subject("site-CA-KEY", 2), "test.ping")
    assert not acls.allows(Subject("", 0), "test.ping")
    assert not Acls(tmp_path / "missing", None).allows(ca, "test.ping")
    assert not Acls(None, None).allows(ca, "test.ping")


def test_a_caller_without_a_name_is_nobody(tmp_path: Path) -> None:
    write(tmp_path, "* = *")
    assert not Acls(tmp_path, None).allows(Subject("", 5), "test.ping")
    assert read_rule("* = *") == Rule("*", ("*",))


SUBJECTS = [
    "/CN=minion1.lab.test",
    "/C=UN/ST=FC/L=Certmaster-town/O=certmaster/OU=slave-key/CN=minion1.lab.test/emailAddress=root@x",
    "/CN=  Spaces   all\tover  ",
    "/CN=UPPER.Case",
    "/O=Ünïcode 中文/CN=é",
    "/CN=two+OU=values",
    "/OU=z+OU=a/CN=many+CN=names",
    "/serialNumber=12345/DC=org/DC=example/CN=x",
    "/CN=" + "a" * 64,
]


@pytest.mark.parametrize("mask", ["default", "nombstr"])
def test_the_subject_hash_is_that_of_openssl(tmp_path: Path, mask: str) -> None:
    config = tmp_path / "cnf"
    config.write_text(f"[req]\ndistinguished_name=dn\nstring_mask={mask}\n[dn]\n")
    key = tmp_path / "key"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    for subject in SUBJECTS:
        if mask == "nombstr" and "中" in subject:
            continue
        cert = tmp_path / "cert"
        options = ("-utf8", "-multivalue-rdn", "-config", config, "-days", "5")
        openssl("req", "-x509", "-new", "-key", key, "-subj", subject, "-out", cert, *options)
        theirs = openssl("x509", "-in", cert, "-noout", "-subject_hash").strip()
        ours = subject_of(pem_to_der(cert))
        assert f"{ours.hash:08x}" == theirs, subject
        assert ours.common_name.strip() in subject
        assert ours.key.endswith(f"-{int(theirs, 16)}")
        end = openssl("x509", "-in", cert, "-noout", "-enddate", "-dateopt", "iso_8601").strip()
        assert end == f"notAfter={validity_of(pem_to_der(cert)).end:%Y-%m-%d %H:%M:%SZ}"


def test_what_is_no_certificate_is_refused() -> None:
    dice = random.Random(3)
    for length in range(200):
        with pytest.raises(ValueError, match=r"certificate|time data"):
            subject_of(bytes(dice.randrange(256) for _ in range(length % 40)))


def test_callers_of_the_ca_with_rights_and_without(site: FuncSite) -> None:
    may, other = site.caller_key("may"), site.caller_key("other")
    site.grant(MINION, f"{may} = test.*, jobs.job_status\n{other} = command.run")
    assert site.overlord().test.ping() == {MINION: 1}
    assert site.overlord(caller="may").test.ping() == {MINION: 1}
    for caller, call in (("other", "test.ping"), ("nobody", "test.ping"), ("may", "command.run")):
        overlord = site.overlord(caller=caller)
        for name in (call, f"async.{call}", f"{call}.more", "trait_names", "system.list_methods"):
            answer = overlord.call_each(name, [], [MINION])[MINION]
            assert answer[:2] == ["REMOTE_ERROR", "xmlrpclib.Fault"], (caller, name)
            text = "<Fault 1: \"<class 'func.minion.codes.AccessToMethodDenied'>:\">"
            assert answer[2] == text


def test_a_job_is_its_callers_own(site: FuncSite) -> None:
    may, other = site.caller_key("may"), site.caller_key("other")
    site.grant(MINION, f"{may} = test.*, jobs.*, omserver.*\n{other} = test.*, jobs.*, omserver.*")
    mine, theirs = (site.overlord(caller=name, noglobs=True) for name in ("may", "other"))
    job = mine.run("async.test", "add", [1, 2])
    assert float(job.split("-")[0]) == pytest.approx(time.time(), abs=60)
    assert job.endswith("-minion")
    assert len(job) > 40
    while mine.jobs.job_status(job) == [0, -1]:
        time.sleep(0.01)
    assert mine.jobs.job_status(job) == [1, 3]
    for caller, unknown in ((theirs, job), (mine, "1.0-minion"), (mine, 5), (mine, [])):
        assert caller.jobs.job_status(unknown) == [2, 0]
    ran = mine.omserver.run("a", ["echo", "mine"], xmlrpc.client.Binary(b""), 100, 15)
    assert ran["output"].data == b"mine\n"
    assert theirs.omserver.wait("a", 0)["state"] == "none"
    assert (
        mine.omserver.run("a", ["echo", "twice"], xmlrpc.client.Binary(b""), 100, 15)["output"].data
        == b"mine\n"
    )


def test_who_shows_no_certificate_or_one_of_another_ca_is_not_let_in(site: FuncSite, tmp_path: Path) -> None:
    stranger = FuncSite(tmp_path)
    foreign = client_context(stranger.ca)
    foreign.load_verify_locations(cafile=site.files.ca_cert)
    nobody = client_context(site.ca)
    bare = ssl.create_default_context(cafile=str(site.files.ca_cert))
    bare.check_hostname = False
    for context in (foreign, bare):
        with MinionConnection(MINION, context, site.port) as minion, pytest.raises(CallFailed) as failed:
            minion.call("test.ping", seconds=20)
        assert not failed.value.sent, failed.value
    with MinionConnection(MINION, nobody, site.port) as minion:
        assert minion.call("test.ping", seconds=20) == 1


def test_a_minions_certificate_calls_nobody(site: FuncSite) -> None:
    context = client_context(site.identity(MINION))
    with MinionConnection(MINION, context, site.port) as minion, pytest.raises(CallFailed) as failed:
        minion.call("test.ping", seconds=20)
    assert not failed.value.sent


def test_two_callers_at_once_are_never_taken_for_each_other(site: FuncSite) -> None:
    """The original decided by a field that all connections shared: 2 of 8,613 calls went through."""
    may = site.caller_key("may")
    site.grant(MINION, f"{may} = test.ping")
    seen: dict[str, list[str]] = {"may": [], "nobody": []}
    site.identity("nobody", "caller")

    def call(name: str) -> None:
        context = client_context(site.identity(name, "caller"))
        while len(seen[name]) < 2000:
            with MinionConnection(MINION, context, site.port) as minion:
                for _ in range(100):  # a connection of its own each time would take minutes
                    try:
                        seen[name].append(str(minion.call("test.ping", seconds=30)))
                    except xmlrpc.client.Fault as fault:
                        seen[name].append("denied" if is_denied(fault) else "?")

    threads = [threading.Thread(target=call, args=(name,)) for name in ("may", "nobody") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert set(seen["may"]) == {"1"}
    assert set(seen["nobody"]) == {"denied"}
    assert min(map(len, seen.values())) >= 2000


def test_calls_are_written_down_without_their_parameters(
    site: FuncSite, caplog: pytest.LogCaptureFixture
) -> None:
    site.grant(MINION, f"{site.caller_key('may')} = command.run")
    with caplog.at_level(logging.INFO, "omserver_func.audit"):
        site.overlord(caller="may").command.run("echo hush-hush")
        site.overlord(caller="may").test.echo("hush-hush")
    lines = [record.getMessage() for record in caplog.records if record.name == "omserver_func.audit"]
    name, _, number = site.caller_key("may").rpartition("-")
    assert lines == [
        f"127.0.0.1 {name!r} {number} 'command.run'",
        f"127.0.0.1 {name!r} {number} 'test.echo' denied",
    ]
    assert "hush" not in caplog.text


def test_a_folder_of_rules_that_cannot_be_read_grants_nothing(tmp_path: Path) -> None:
    write(tmp_path, "* = *")
    acls = Acls(tmp_path, None)
    assert acls.allows(CALLER, "test.ping")
    os.rename(tmp_path / "a.acl", tmp_path / "real")
    os.symlink("nowhere", tmp_path / "a.acl")
    assert not acls.allows(CALLER, "test.ping")
