"""Certificates: made, asked for, signed by a person, carried by hand; and what is refused."""

from __future__ import annotations

import os
import signal
import ssl
import stat
import subprocess
import sys
import threading
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from omserver_func import cli, funcd
from omserver_func.certificates import Authority, CertificateError, load_request, make_request, new_key, pem
from omserver_func.certmaster import CertmasterServer, Enrolment
from omserver_func.subject import fingerprint, pem_to_der
from omserver_func.tls import Identity, expires_soon, why_unusable
from tests.ports import free_port

from .site import FuncSite, master_files, openssl

HOST = "web-01.lab.test"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(master_files(tmp_path / "master"))
    made.create("site")
    return made


@contextmanager
def certmaster(authority: Authority, listen: str = "127.0.0.1") -> Iterator[CertmasterServer]:
    with CertmasterServer((listen, 0), authority) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


def enrolment(folder: Path, authority: Authority, **more: str) -> Enrolment:
    identity = Identity(folder / "ca.cert", folder / f"{HOST}.cert", folder / f"{HOST}.pem")
    known = {"ca_fingerprint": fingerprint(pem_to_der(authority.files.ca_cert))} | more
    return Enrolment(HOST, identity, **known)


def test_what_is_made_holds_before_the_strictest_check(authority: Authority, tmp_path: Path) -> None:
    site_cert = tmp_path / "cert"
    site_cert.write_bytes(pem(authority.sign(make_request(HOST, new_key()), role="both")))
    for purpose in ("sslserver", "sslclient"):
        verify = ("-x509_strict", "-purpose", purpose, "-verify_hostname", HOST)
        openssl("verify", *verify, "-CAfile", authority.files.ca_cert, site_cert)
    text = openssl("x509", "-in", site_cert, "-noout", "-text")
    assert "sha256WithRSAEncryption" in text
    assert f"DNS:{HOST}" in text
    assert stat.S_IMODE(authority.files.ca_key.stat().st_mode) == 0o600
    with pytest.raises(CertificateError, match="stays as it is"):
        authority.create("again")


@pytest.mark.parametrize(("role", "good", "bad"), [
    ("minion", "sslserver", "sslclient"), ("caller", "sslclient", "sslserver"),
])  # fmt: skip
def test_a_role_is_all_that_a_certificate_can_do(
    authority: Authority, tmp_path: Path, role: str, good: str, bad: str
) -> None:
    cert = tmp_path / "cert"
    cert.write_bytes(pem(authority.sign(make_request(HOST, new_key()), role=role)))
    openssl("verify", "-purpose", good, "-CAfile", authority.files.ca_cert, cert)
    with pytest.raises(subprocess.CalledProcessError):
        openssl("verify", "-purpose", bad, "-CAfile", authority.files.ca_cert, cert)


def test_a_ca_that_openssl_made_and_an_old_one_are_used_as_they_are(tmp_path: Path) -> None:
    old = FuncSite(tmp_path / "old", "legacy")
    serial = old.files.ca_folder / "serial.txt"
    serial.write_text("41\n")
    cert = tmp_path / "cert"
    cert.write_bytes(pem(old.authority.sign(make_request(HOST, new_key()))))
    openssl("verify", "-CAfile", old.files.ca_cert, cert)
    assert serial.read_text() == "42\n"
    assert "serial=2A" in openssl("x509", "-in", cert, "-noout", "-serial")
    serial.write_text("garbled")
    old.authority.sign(make_request(HOST, new_key()))
    assert serial.read_text() == "1\n"


@pytest.mark.parametrize("name", ["a/../b", "a b", "", "..", "*", "a;b", "-x", "a" * 254, "x\n"])
def test_a_name_that_is_no_hosts_is_refused(authority: Authority, tmp_path: Path, name: str) -> None:
    with pytest.raises((CertificateError, ValueError)):
        make_request(name, new_key())
    with pytest.raises(CertificateError):
        authority.cert_file(name)


def test_who_asks_for_the_cas_own_name_or_another_key_gets_nothing(
    authority: Authority, tmp_path: Path
) -> None:
    with pytest.raises(CertificateError, match="CA's own name"):
        authority.sign(make_request("site-CA-KEY", new_key()))
    good = pem(make_request(HOST, new_key()))
    der = bytearray(ssl.PEM_cert_to_DER_cert(good.decode().replace("CERTIFICATE REQUEST", "CERTIFICATE")))
    der[-1] ^= 1
    forged = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST")
    with pytest.raises(CertificateError, match="not signed by its own key"):
        authority.sign(load_request(forged))


def test_a_request_signed_with_md5_needs_a_word(authority: Authority, tmp_path: Path) -> None:
    config = tmp_path / "cnf"
    config.write_text("[req]\ndistinguished_name=dn\n[dn]\n")
    request = authority.request_file(HOST)
    request.parent.mkdir(parents=True)
    subject = f"/O=certmaster/CN={HOST}/emailAddress=root@{HOST}"
    options = ("-md5", "-nodes", "-newkey", "rsa:2048", "-config", config, "-subj", subject)
    openssl("req", "-new", *options, "-keyout", tmp_path / "key", "-out", request)
    with pytest.raises(CertificateError, match="--accept-md5"):
        authority.sign_waiting(HOST)
    path = authority.sign_waiting(HOST, accept_md5=True)
    assert f"emailAddress = root@{HOST}" in openssl("x509", "-in", path, "-noout", "-subject")
    assert not request.exists()


def test_a_host_gets_its_certificate_once_a_person_signed(authority: Authority, tmp_path: Path) -> None:
    host = enrolment(tmp_path / "host", authority)
    told: list[str] = []
    with certmaster(authority) as server:
        assert not host.wait("127.0.0.1", server.port, 0, told.append)
        assert told == [f"The request of {HOST} waits at 127.0.0.1 to be signed."]
        assert authority.waiting() == [HOST]
        assert authority.signed() == []
        assert not host.identity.cert.exists()
        authority.sign_waiting(HOST)
        assert host.wait("127.0.0.1", server.port, 0, told.append)
        assert why_unusable(host.identity) == ""
        assert stat.S_IMODE(host.identity.key.stat().st_mode) == 0o600
        thief = enrolment(tmp_path / "thief", authority)
        with pytest.raises(CertificateError, match="another key"):
            thief.ask("127.0.0.1", server.port)
        assert not thief.identity.cert.exists()
        assert not thief.identity.ca.exists()
        wrong = enrolment(tmp_path / "host", authority, ca_fingerprint="ab" * 32)
        with pytest.raises(CertificateError, match="fingerprint"):
            wrong.ask("127.0.0.1", server.port)
    assert not host.wait("127.0.0.1", server.port, 0, told.append)
    assert "not reached" in told[-1]


def test_the_certmaster_speaks_as_the_original_and_its_successor(
    authority: Authority, tmp_path: Path
) -> None:
    request = pem(make_request(HOST, new_key())).decode()
    other = pem(make_request(HOST, new_key())).decode()
    with (
        certmaster(authority) as server,
        xmlrpc.client.ServerProxy(f"http://127.0.0.1:{server.port}") as proxy,
    ):
        assert proxy.wait_for_cert("rubbish") == [False, "", ""]
        for arguments, size in (((request,), 3), ((request, True), 3), ((request, ""), 4), ((other,), 3)):
            assert proxy.wait_for_cert(*arguments) == [False, *[""] * (size - 1)]
        assert authority.request_file(HOST).read_text() == request, "the first one waits on"
        cert, ca = authority.sign_waiting(HOST).read_text(), authority.files.ca_cert.read_text()
        assert proxy.wait_for_cert(other) == [True, cert, ca]
        assert proxy.wait_for_cert(request, "") == [True, cert, ca, ""]
        assert proxy.trait_names() == ["wait_for_cert"]
        for wrong in (proxy.system.listMethods, proxy.wait_for_cert):
            with pytest.raises(xmlrpc.client.Fault, match="InvalidMethodException"):
                wrong()


def test_everything_by_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "certmaster.conf"
    conf.write_text(
        f"[main]\ncadir = {tmp_path}/ca\ncertroot = {tmp_path}/certs\ncsrroot = {tmp_path}/csrs\n"
        "peering = no\n"
    )

    def func(*words: str) -> tuple[int, str]:
        code = cli.main(["--certmaster-conf", str(conf), "--overlord-conf", str(tmp_path / "o.conf"), *words])
        return code, capsys.readouterr().out

    assert func("new-ca", "site")[0] == 0
    assert func("new-ca", "site")[0] == 1
    print_ = func("fingerprint")[1].strip()
    assert print_ == fingerprint(pem_to_der(tmp_path / "ca/certmaster.crt"))

    # Plain files, carried by hand.
    (tmp_path / "master.conf").write_text(f"[main]\ncert_dir = {tmp_path}/pki\n")
    common = ["--config", str(tmp_path / "none"), "--certmaster-config", str(tmp_path / "master.conf")]
    assert funcd.main([*common, "--name", "127.0.0.1", "run"]) == 1
    assert "can't be read" in capsys.readouterr().err
    assert funcd.main([*common, "--name", "127.0.0.1", "request"]) == 0
    assert "Carry" in capsys.readouterr().out
    (tmp_path / "csrs/127.0.0.1.csr").write_bytes((tmp_path / "pki/127.0.0.1.csr").read_bytes())
    assert func("list") == (0, "127.0.0.1\n")
    assert func("sign", "nothing*")[0] == 1
    assert func("sign", "127*")[0] == 0
    assert func("list-signed") == (0, "127.0.0.1\n")
    (tmp_path / "pki/127.0.0.1.cert").write_bytes((tmp_path / "certs/127.0.0.1.cert").read_bytes())
    (tmp_path / "pki/ca.cert").write_bytes((tmp_path / "ca/certmaster.crt").read_bytes())

    # A caller of its own instead of the CA's key.
    said = func("issue", "omserver", "--folder", str(tmp_path / "caller"))[1]
    caller = said.split()[-1]
    assert caller.startswith("omserver-")
    assert func("issue", "omserver", "--folder", str(tmp_path / "caller"))[0] == 1
    (tmp_path / "acls").mkdir()
    (tmp_path / "acls/omserver.acl").write_text(f"{caller} = test.*, command.run\n")
    port = free_port()
    (tmp_path / "o.conf").write_text(
        f"[main]\nkey_file = {tmp_path}/caller/omserver.pem\ncert_file = {tmp_path}/caller/omserver.cert\n"
        f"ca_file = {tmp_path}/caller/ca.cert\nlisten_port = {port}\n"
    )
    (tmp_path / "minion.conf").write_text(f"[main]\nacl_dir = {tmp_path}/acls\nminion_name = 127.0.0.1\n")
    daemon = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "omserver_func.funcd",
                "--config",
                str(tmp_path / "minion.conf"),
                *common[2:],
            ),
            *("run", "--port", str(port), "--audit-log", str(tmp_path / "audit.log")),
        ],
        stderr=subprocess.PIPE,
    )
    try:
        with daemon.stderr:
            assert b"127.0.0.1 listens on 127.0.0.1, port" in daemon.stderr.readline()
            assert func("call", "*", "test.ping") == (0, "127.0.0.1: 1\n")
            assert func("call", "*", "test.add", "json:1", "json:2") == (0, "127.0.0.1: 3\n")
            assert '"out\\n"' in func("call", "*", "command.run", "echo out", "--json")[1]
            code, said = func("call", "*", "process.loadavg")
            assert code == 1
            assert "AccessToMethodDenied" in said
            assert func("call", "nobody*", "test.ping")[0] == 1
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(20) == 0
    finally:
        daemon.kill()
        daemon.wait(20)
    log = tmp_path / "audit.log"
    assert "'command.run'" in log.read_text()
    assert "echo" not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert func("list-hashes")[1].startswith("127.0.0.1-")
    assert func("clean", "127*")[0] == 0
    assert func("list-signed") == (0, "")


def test_enrolling_by_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    authority = Authority(master_files(tmp_path / "master"))
    authority.create("site")
    common = ["--config", str(tmp_path / "none"), "--certmaster-config", str(tmp_path / "m.conf")]
    (tmp_path / "m.conf").write_text(f"[main]\ncert_dir = {tmp_path}/pki\n")
    with certmaster(authority) as server:
        words = [*common, "--name", HOST, "enroll", "--certmaster", "127.0.0.1", "--port", str(server.port)]
        with pytest.raises(SystemExit):
            funcd.main(words)
        assert "--ca-fingerprint --any-ca is required" in capsys.readouterr().err
        pinned = [*words, "--ca-fingerprint", fingerprint(pem_to_der(authority.files.ca_cert))]
        assert funcd.main(pinned) == 3
        authority.sign_waiting(HOST)
        assert funcd.main(pinned) == 0
        assert funcd.main(pinned) == 0
        assert "is there already" in capsys.readouterr().out
    assert (tmp_path / "pki" / f"{HOST}.cert").exists()


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    site = FuncSite(tmp_path / "site")
    good = site.identity("minion.lab.test")
    assert why_unusable(good) == ""
    assert expires_soon(good) == ""
    assert "can't be read" in why_unusable(replace(good, key=tmp_path / "none"))
    assert "can't be read" in why_unusable(replace(good, ca=tmp_path / "none"))
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("rubbish")
    assert "no certificate" in why_unusable(replace(good, cert=rubbish))
    cert = tmp_path / "cert"
    openssl("req", "-x509", "-new", "-key", good.key, "-subj", "/CN=x", "-days", "12", "-out", cert)
    soon = replace(good, cert=cert)
    now = datetime.now(UTC)
    assert why_unusable(soon) == ""
    assert "expired on" in why_unusable(soon, now + timedelta(days=13))
    assert "only from" in why_unusable(soon, now - timedelta(days=1))
    assert f"{cert} expires on {now + timedelta(days=12):%Y-%m-%d}" in expires_soon(soon)
    assert os.access(good.key, os.R_OK)
