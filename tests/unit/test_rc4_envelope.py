"""The envelope of 2014 against the vectors of an independent implementation, and its old HTML form."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from omserver_master.registry.oldstyle import ONE_MESSAGE
from omserver_master.wire.html2014 import escaped, fragment
from omserver_master.wire.rc4 import Unreadable, seal, unseal

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "legacy_rc4.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS)
def test_every_vector_is_sealed_and_opened_alike(vector: dict[str, str]) -> None:
    salt = bytes.fromhex(vector["salt_hex"])
    assert seal(vector["key"], vector["plaintext"], salt) == vector["token"]
    assert unseal(vector["key"], vector["token"]) == (salt, vector["plaintext"])


def test_each_token_has_a_salt_of_its_own() -> None:
    assert len({unseal("k", seal("k", "same")).salt for _ in range(100)}) == 100


def test_another_key_opens_no_task() -> None:
    for vector in VECTORS:
        if len(vector["plaintext"]) > 20:
            try:
                assert unseal("another key", vector["token"]).text != vector["plaintext"]
            except Unreadable:
                continue


@pytest.mark.parametrize("token", ["", "AAAA", "no base64!", "é", base64.b64encode(bytes(15)).decode()])
def test_what_is_no_token_is_unreadable(token: str) -> None:
    with pytest.raises(Unreadable):
        unseal("k", token)


def test_a_changed_token_opens_to_a_changed_text_which_is_why_the_bridge_is_off_by_default() -> None:
    raw = bytearray(base64.b64decode(seal("k", "1003@@a*b@@")))
    raw[16] ^= ord("1") ^ ord("2")
    assert unseal("k", base64.b64encode(raw).decode()).text == "2003@@a*b@@"


def result(stdout: str = "", state: str = "ok", reason: str = "", ip: str = "192.0.2.1", **more: Any) -> Any:
    encoded = {"stdout": base64.b64encode(stdout.encode()).decode(), "stderr": more.pop("stderr", "")}
    return {"host": "web-01", "ip": ip, "state": state, "reason": reason, **encoded, **more}


def answer(*results: Any, done: bool = True) -> Any:
    return {"job": 7, "state": "succeeded", "done": done, "results": list(results)}


def test_a_host_is_its_ip_its_state_and_its_output() -> None:
    assert fragment(answer(result("a\nb\r\n")), 1000) == "<b>192.0.2.1</b> 运行状态 成功<br>a<br>b<br>"
    failed = result("out", "failed", "no such file", stderr=base64.b64encode(b"err").decode())
    expected = "<b>192.0.2.1</b> 运行状态 失败<br>failed: no such file<br>out<br>err<br>"
    assert fragment(answer(failed), 1000) == expected
    assert fragment(answer(result(ip="")), 1000) == "<b>web-01</b> 运行状态 成功<br><br>"


def test_what_hosts_print_is_never_markup() -> None:
    hostile = "<script>alert(1)</script> & \"'\x1b[2J\x00‮"
    shown = fragment(answer(result(hostile, reason="<i>", ip="<b>")), 1000)
    assert "<script>" not in shown
    assert shown.startswith("<b>&lt;b&gt;</b>")
    assert not set("\x1b\x00‮\"'") & set(shown)


def test_a_job_that_goes_on_says_so() -> None:
    shown = fragment(answer(result(state="dispatched"), done=False), 1000)
    assert "失败" in shown
    assert "Job 7 is not done" in shown


def test_one_text_for_the_whole_run_is_sent_as_it_is() -> None:
    texts = [result("ok <50>", "unknown", ONE_MESSAGE), result("ok <50>", "unknown", ONE_MESSAGE)]
    assert fragment(answer(*texts), 1000) == "ok &lt;50&gt;"


def test_long_output_is_cut_with_a_mark_whatever_escaping_adds() -> None:
    for text in ("x" * 10_000, "<" * 10_000, "\n" * 9_999 + "x", "é" * 10_000):
        shown = escaped(text, 1000)
        assert len(shown.encode()) <= 1000 + len("<br>[...]")
        assert shown.endswith("<br>[...]")
    many = fragment(answer(*[result("<" * 500) for _ in range(50)]), 10_000)
    assert many.count("<b>") == 50
    assert len(many.encode()) < 12_000
