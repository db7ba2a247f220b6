"""Requests and replies as JSON: what is read, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omserver_client.errors import BadRequest, NotFound, ProtocolError
from omserver_client.messages import DEEPEST, Reply, Request, TaskRequest

ID = "7f4df1b5-3f4c-4c56-8a0e-2b7f6f2b9a10"
GOOD = {
    "v": 1,
    "id": ID,
    "exp": 100.5,
    "op": "job.submit",
    "args": {"module": "1003"},
    "session": "s",
    "key": "k",
}


def changed(**fields: Any) -> bytes:
    return json.dumps(GOOD | fields).encode()


def test_a_request_is_read_field_by_field() -> None:
    request = Request.from_json(changed())
    assert request == Request("job.submit", {"module": "1003"}, 100.5, ID, "s", "k")


def test_what_is_written_can_be_read() -> None:
    for request in (
        Request("status", {}, 1.5),
        Request("job.list", {"search": "系统"}, 2, key="k", session="s"),
    ):
        assert Request.from_json(request.to_json()) == request
    task = TaskRequest("1003@@1.2.3.4*a@@", 3.0, session="s")
    assert TaskRequest.from_json(task.to_json()) == task


def test_fields_of_a_later_version_are_ignored() -> None:
    assert Request.from_json(changed(priority="high")).op == "job.submit"


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2},
        {"v": True},
        {"v": "1"},
        {"id": "7"},
        {"id": None},
        {"id": ID + "\n"},
        {"exp": "100"},
        {"exp": True},
        {"exp": None},
        {"exp": 10**400},
        {"op": 7},
        {"op": ""},
        {"op": "job.submit\n"},
        {"op": "__class__"},
        {"op": "x" * 100},
        {"args": []},
        {"args": None},
        {"session": ""},
        {"session": 7},
        {"session": "a\nb"},
        {"session": "s" * 513},
        {"key": "k" * 129},
        {"key": ["k"]},
    ],
)
def test_a_known_field_of_the_wrong_kind_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        Request.from_json(changed(**fields))
    assert refused.value.details["field"] == next(iter(fields))


@pytest.mark.parametrize(
    "plaintext",
    [b"", b"1003@@192.168.1.21*web-01@@", b"[]", b"null", b'"text"', b"\xef\xbb\xbf{}", b'{"v":1}{"v":1}'],
)
def test_what_is_no_message_is_refused(plaintext: bytes) -> None:
    for message in (Request, TaskRequest):
        with pytest.raises(BadRequest):
            message.from_json(plaintext)


GOOD_BUT = b'{"v":1,"id":"%s","exp":100,"op":"status","task":"1003@@ip*a@@"' % ID.encode()


def test_a_message_may_hold_what_the_next_test_changes() -> None:
    for message in (Request, TaskRequest):
        assert message.from_json(GOOD_BUT + b',"x":' + b"[" * (DEEPEST - 1) + b"]" * (DEEPEST - 1) + b"}")


@pytest.mark.parametrize(
    "addition",
    [
        b',"v":1',
        b',"args":{"a":1,"a":2}',
        b',"x":NaN',
        b',"x":-Infinity',
        b',"x":1e999',
        b',"args":{"a":"\\ud800"}',
        b',"args":{"\\uDFFF":1}',
        b',"x":"\xff"',
        b',"x":' + b"9" * 5000,
        b',"x":' + b"[" * 100_000 + b"]" * 100_000,
        b',"x":' + b"[" * DEEPEST + b"]" * DEEPEST,
        b',"x":' + b'{"a":' * DEEPEST + b"1" + b"}" * DEEPEST,
    ],
    ids=lambda addition: addition[:20],
)
def test_what_others_might_read_differently_is_refused(addition: bytes) -> None:
    for message in (Request, TaskRequest):
        with pytest.raises(BadRequest):
            message.from_json(GOOD_BUT + addition + b"}")


def test_a_pair_of_surrogates_is_one_character_and_welcome() -> None:
    assert Request.from_json(changed(args={"search": "\U0001f600"})).args == {"search": "\U0001f600"}


@given(st.binary(max_size=300))
def test_junk_is_a_bad_request_and_nothing_else(junk: bytes) -> None:
    with pytest.raises(BadRequest):
        Request.from_json(junk)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8")),
        lambda kids: st.lists(kids) | st.dictionaries(st.text(st.characters(codec="utf-8")), kids),
    )
)
def test_any_json_can_be_an_argument(argument: Any) -> None:
    request = Request("status", {"argument": argument}, 1.0)
    assert Request.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    ("exp", "expired"), [(99.9, True), (100.0, True), (100.1, False), (160.0, False), (160.1, True)]
)
def test_a_request_lives_a_minute_at_most(exp: float, expired: bool) -> None:
    assert Request("status", {}, exp).expired(now=100.0) is expired


def test_each_request_has_an_id_of_its_own() -> None:
    assert Request("status", {}, 1.0).id != Request("status", {}, 1.0).id


def test_a_session_token_is_not_shown_by_repr() -> None:
    assert "hush" not in repr(Request("status", {}, 1.0, session="hush"))
    assert "hush" not in repr(TaskRequest("", 1.0, session="hush"))


def test_a_task_becomes_a_request_with_its_id_session_and_key() -> None:
    request = TaskRequest("1001@@1.2.3.4*a@@50@@", 3.0, ID, "s", "k").to_request()
    args = {"module": "1001", "hosts": [{"name": "a", "ip": "1.2.3.4"}], "params": ["50"]}
    assert request == Request("runcommands", args, 3.0, ID, "s", "k")


def test_a_reply_answers_or_refuses() -> None:
    assert Reply.from_json(Reply(ID, ok={"job": 7}).to_json()).result() == {"job": 7}
    assert Reply.from_json(Reply(ID, ok={}).to_json()).result() == {}
    with pytest.raises(NotFound, match="There is no job 7"):
        Reply.from_json(Reply.refusing(ID, NotFound("There is no job 7.")).to_json()).result()


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"{}",
        b'{"v":1,"id":"x"}',
        b'{"v":1,"id":"x","ok":{},"error":{}}',
        b'{"v":1,"id":7,"ok":{}}',
        b'{"v":1,"id":"x","ok":[]}',
    ],
)
def test_what_neither_answers_nor_refuses_is_not_understood(junk: bytes) -> None:
    with pytest.raises(ProtocolError):
        Reply.from_json(junk)
