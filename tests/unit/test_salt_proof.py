"""An answer counts as a host's own only if it was signed with the key that the Salt master has accepted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from omserver_master.backends.onhost import pack, unpack
from omserver_master.backends.salt.local import LocalSaltBus
from omserver_master.backends.salt.proof import LOOK, WORK, read_said, signed_command
from omserver_master.backends.salt.signed import SignedShell
from omserver_master.contract.work import Run
from omserver_master.demo.saltsite import ensure_key

JID = "20261121000000000001_00000001"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    ensure_key(folder, "web-01")
    ensure_key(folder, "web-02")
    return folder


class KnownKeys(LocalSaltBus):
    """A master that has accepted the keys of a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder

    def key_of(self, minion: str) -> bytes | None:
        file = self.folder / f"{minion}.pub"
        return file.read_bytes() if file.exists() else None


def on_host(key: str, script: str = WORK, stdin: bytes | None = None) -> dict[str, Any]:
    """What a minion returns from the script, signed under JID."""
    stdin = pack(Run("echo hi; echo ho >&2; exit 3"), 10) if stdin is None else stdin
    done = subprocess.run(signed_command(JID, key, script), input=stdin, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    return {"stdout": done.stdout.decode().rstrip("\n"), "stderr": "", "retcode": 0, "pid": 1}


def test_what_a_host_signed_is_its_answer(keys: Path) -> None:
    said = on_host(str(keys / "web-01.pem"))
    line, problem = SignedShell(KnownKeys(keys), True, "").believe(JID, "web-01", said)
    answer = unpack((line or "").encode(), Run("true"))
    assert (problem, answer.rc, answer.stdout, answer.stderr) == ("", 3, b"hi\n", b"ho\n")


def test_nothing_else_is(keys: Path) -> None:
    shell = SignedShell(KnownKeys(keys), True, "")
    said = on_host(str(keys / "web-01.pem"))
    line, proof = said["stdout"].split("\n")
    lies = {
        "another minion": (JID, "web-02", said["stdout"]),
        "an unknown minion": (JID, "web-03", said["stdout"]),
        "another job": (JID[:-1] + "2", "web-01", said["stdout"]),
        "another answer": (JID, "web-01", f"{line.replace('om1 3', 'om1 0')}\n{proof}"),
        "more than the answer": (JID, "web-01", f"om1\n{line}\n{proof}"),
        "no proof": (JID, "web-01", line),
        "an excuse": (JID, "web-01", f"{line}\nproof - off"),
        "no base64": (JID, "web-01", f"{line}\nproof %%%"),
        "an empty proof": (JID, "web-01", f"{line}\nproof "),
    }
    for name, (jid, minion, text) in lies.items():
        believed, problem = shell.believe(jid, minion, {"stdout": text})
        assert believed is None, name
        assert problem, name
    assert shell.believe(JID, "web-01", said)[0] == line


def test_a_host_without_openssl_signs_with_the_minions_own_python(keys: Path) -> None:
    script = signed_command(JID, "", "")[2].replace("openssl dgst", "no-openssl dgst")
    command = ["/bin/sh", "-c", script, "x", JID, str(keys / "web-01.pem"), "echo well"]
    minion = f"import subprocess\nsubprocess.run({command!r})\n"
    words = [sys.executable, "-c", minion]
    done = subprocess.run(words, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    said = {"stdout": done.stdout.decode()}
    assert SignedShell(KnownKeys(keys), True, "").believe(JID, "web-01", said) == ("well", "")


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=["dash", "busybox"])
@pytest.mark.parametrize("option", ["-c {}", "-c{}", "--config-dir {}", "--config-dir={}"])
@pytest.mark.parametrize("name", ["a folder", "folder"])
@pytest.mark.parametrize("pki_dir", ["", "own keys"])
def test_the_key_is_found_by_the_folder_that_the_minion_was_started_with(
    keys: Path, tmp_path: Path, shell: list[str], option: str, name: str, pki_dir: str
) -> None:
    folder = tmp_path / name
    pki = tmp_path / pki_dir if pki_dir else folder / "pki/minion"
    pki.mkdir(parents=True)
    shutil.copy(keys / "web-01.pem", pki / "minion.pem")
    (folder / "minion").parent.mkdir(exist_ok=True)
    (folder / "minion").write_text(f"pki_dir: {pki}\n" if pki_dir else "")
    minion = tmp_path / "minion.py"
    command = [*shell, "-c", signed_command(JID, "", "echo well")[2], "omserver", JID, "", "echo well"]
    minion.write_text(f"import subprocess\nsubprocess.run({command!r})\n")
    words = [word.format(folder) for word in option.split()]
    done = subprocess.run([sys.executable, str(minion), *words], capture_output=True, timeout=60)
    said = {"stdout": done.stdout.decode()}
    assert SignedShell(KnownKeys(keys), True, "").believe(JID, "web-01", said) == ("well", "")


def test_a_host_that_cannot_sign_says_why(keys: Path) -> None:
    said = on_host("/nonexistent/minion.pem")
    assert (
        "/nonexistent/minion.pem can't be read"
        in SignedShell(KnownKeys(keys), True, "").believe(JID, "web-01", said)[1]
    )
    assert SignedShell(KnownKeys(keys), False, "").believe(JID, "web-01", said)[0]


def test_bytes_that_are_no_text_do_not_break_the_proof(keys: Path) -> None:
    script = "head -c 300000 /dev/zero; printf '\\377a\\nb\\r\\033[0m'"
    said = on_host(str(keys / "web-01.pem"), script, b"")
    line = SignedShell(KnownKeys(keys), True, "").believe(JID, "web-01", said)[0]
    assert line == "?" * 300001 + "a\nb??[0m"


def test_a_host_says_whether_a_job_runs(keys: Path) -> None:
    held = subprocess.Popen(
        signed_command("20990101000000000001_00000001", "off", "sleep 60"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for number, expected in (("1", "om1-job running"), ("2", "om1-job none")):
            stdin = f"20990101000000000001_0000000{number}\n".encode()
            said = read_said(on_host(str(keys / "web-01.pem"), LOOK, stdin))
            assert said is not None
            assert said.line == expected
    finally:
        os.killpg(held.pid, 9)
        held.wait(10)


def test_an_answer_that_nobody_could_send_holds_nothing_up(keys: Path) -> None:
    for content in (None, 1, [], {"stdout": None}, {"stdout": "proof"}, {"stdout": "proof x" * 10**6}):
        assert read_said(content) is None or not read_said(content).proved(JID, None)  # type: ignore[union-attr]
    said = read_said(on_host(str(keys / "web-01.pem"), "echo x", b""))
    assert said is not None
    assert not said.proved(JID, b"no key")
    assert not said.proved(JID, None)
