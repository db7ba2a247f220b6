"""`omserver tls`: what it makes, and the names that it does not take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from omserver_client.tls import client_context
from omserver_master.commands import main

Omserver = Callable[..., Result]
MADE = {f"{name}.{ending}" for name in ("ca", "master") for ending in ("pem", "key")}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMSERVER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def tls(home: Path) -> Omserver:
    def run(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["tls", *words])
        assert result.exit_code == code, result.output
        return result

    return run


def _files(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home.parent)): path.read_bytes() for path in home.parent.rglob("*.*")}


def test_one_command_makes_all_that_the_documented_lines_need(tls: Omserver, home: Path) -> None:
    printed = tls("make", "master.example.com", "10.0.0.5", "2001:db8::5").output
    assert {path.name for path in (home / "tls").iterdir()} == MADE
    assert {path.stat().st_mode & 0o777 for path in (home / "tls").iterdir()} == {0o600}
    assert f"OMSERVER_TLS_CERT={home}/tls/master.pem" in printed
    assert "omctl enroll --host master.example.com" in printed
    client_context(home / "tls" / "ca.pem")
    certificate = x509.load_pem_x509_certificate((home / "tls" / "master.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["master.example.com", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == [
        "10.0.0.5", "2001:db8::5", "127.0.0.1", "::1",
    ]  # fmt: skip


def test_made_again_the_authority_stays_and_the_certificate_is_new(tls: Omserver, home: Path) -> None:
    tls("make", "master")
    before = _files(home)
    tls("make", "master")
    changed = {name for name, content in _files(home).items() if before[name] != content}
    assert changed == {"home/tls/master.pem", "home/tls/master.key"}


def test_a_client_gets_files_of_its_name(tls: Omserver, home: Path) -> None:
    printed = tls("client", "laptop-li.2").output
    assert f"OMSERVER_CLIENT_CERT={home}/tls/laptop-li.2.pem" in printed
    certificate = x509.load_pem_x509_certificate((home / "tls" / "laptop-li.2.pem").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=laptop-li.2"


@pytest.mark.parametrize(
    "name",
    ["a/../../b", "../b", "/tmp/b", "", ".", "..", ".b", "-b", "a b", "a\n", "é", "x" * 65, "a\0",
     "master", "ca", "Master", "CA"],
)  # fmt: skip
def test_a_client_is_not_called_like_a_path_or_like_the_sites_own(
    tls: Omserver, home: Path, name: str
) -> None:
    tls("make", "master.example.com")
    before = _files(home)
    printed = tls("client", "--", name, code=2).output
    assert "Error: " in printed.splitlines()[-1]
    assert _files(home) == before


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a/b", "../b", "-a", "a-", "a..b", ".a", "a.", "é.example.com", "a_b", "*.example.com",
     "x" * 64, "a." * 127 + "com", "10.0.0.256", "10.0.0", "1", "fe80::1%eth0", "http://a", "a:11511", "a\n",
     "10.0.0.0/8", "[::1]", "a\0"],
)  # fmt: skip
def test_a_name_that_no_certificate_can_be_for_is_one_line_and_makes_nothing(
    tls: Omserver, home: Path, name: str
) -> None:
    printed = tls("make", "--", "good.example.com", name, code=2).output
    assert "Error: " in printed.splitlines()[-1]
    assert not home.exists()


@pytest.mark.parametrize(
    "name", ["a", "A1", "7up.example", "xn--fiqs8s.example", "a" * 63, "1.2.3.4.example"]
)
def test_a_host_name_is_taken(tls: Omserver, home: Path, name: str) -> None:
    assert f"--host {name} " in tls("make", name).output


def test_an_authority_that_is_spoiled_is_one_line(tls: Omserver, home: Path) -> None:
    tls("make", "a")
    key = (home / "tls" / "ca.key").read_bytes()
    for spoiled in (b"", b"no key", (home / "tls" / "master.key").read_bytes()):
        (home / "tls" / "ca.key").write_bytes(spoiled)
        assert "cannot be used" in tls("client", "robot", code=1).output
    (home / "tls" / "ca.key").unlink()
    assert "cannot be used" in tls("make", "a", code=1).output
    (home / "tls" / "ca.key").write_bytes(key)
    tls("client", "robot")
