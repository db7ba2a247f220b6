"""Programs of 2014 on real servers: recorded conversations, RC4 on today's RPyC, and who gets none of it."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import socket
import ssl
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rpyc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rpyc.core import brine, consts

from omserver_client.errors import Forbidden, TooMany, UnknownModule
from omserver_client.messages import Reply
from omserver_master.access.passwords import hash_password
from omserver_master.service import Master as RealMaster
from omserver_master.store import audit, grants, users
from omserver_master.store.engine import begin, read
from omserver_master.wire import Bridge, Caps, Limits
from omserver_master.wire.certificates import issue, make_authority, server_context
from omserver_master.wire.rc4 import seal, unseal
from tests.system import System
from tests.wire_rig import HEADER, Peer, Rig, running, wait_until

RECORDED = json.loads(
    (Path(__file__).parents[1] / "vectors" / "rpyc3_sessions.json").read_text(encoding="utf-8")
)
SECRET = "a secret that the tests alone know"
HERE = Bridge(SECRET, frozenset({"127.0.0.1"}))
TASK = "1003@@192.168.1.21*web-01@@"
OLD_MODULE = '''"""Echo."""
from Public_lib import *


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.row = sys_param_row

    def run(self):
        return "ok " + self.row[0]
'''


#: Connections that a test has made; they are closed after it.
OPEN: list[Any] = []


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    close_all()


def close_all() -> None:
    while OPEN:
        with contextlib.suppress(EOFError, OSError):
            OPEN.pop().close()


def results(request: Any, caller: Any) -> Reply:
    """A master with one module, whose host prints markup."""
    if request.args["module"] != "1003":
        raise UnknownModule
    printed = base64.b64encode(b"<b>hello</b>\nthere").decode()
    host = {
        "host": "web-01",
        "ip": "192.168.1.21",
        "state": "ok",
        "reason": "",
        "stdout": printed,
        "stderr": "",
    }
    return Reply(request.id, ok={"job": 1, "state": "succeeded", "done": True, "results": [host]})


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running(bridge=HERE) as rig:
        rig.master.answer = results
        yield rig
        close_all()


def runcommands(root: Any, task: str = TASK) -> str:
    return unseal(SECRET, root.Runcommands(seal(SECRET, task))).text


# -- recorded conversations, with a real master, its workers and its database


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealMaster]:
    """A master that has what the recorded one had: its secret, its user's password, its module."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "Mid_9999.py").write_text(OLD_MODULE)
    system = System(tmp_path / "home", modules_dir=modules)
    with begin(system.engine) as conn:
        user = users.add_user(conn, RECORDED["user"], hash_password(RECORDED["password"]))
        grants.add_grant(conn, user, "operator")
    way = system.add_connection("here", "local")
    system.add_hosts(["sn2013-08-021"], way)
    with system.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE server_list SET server_lip = '192.168.1.21'")
    for name, value in system.environment.items():
        monkeypatch.setenv(name, value)
    bridged = dataclasses.replace(
        system.settings,
        allow_rc4_clients=True,
        rc4_client_addresses=("127.0.0.1",),
        secret_key=RECORDED["secret_key"],
    )
    with RealMaster(bridged) as master:
        yield master
    system.close()


def numbers(conversation: list[list[str]]) -> Iterator[int]:
    """The numbers that the recorded server gave its objects, in their order."""
    for side, frame in conversation:
        message = brine.load(bytes.fromhex(frame)[5:-1])
        if side == "server" and message[2][0] == consts.LABEL_REMOTE_REF:
            yield message[2][1][0]


@pytest.mark.parametrize("session", RECORDED["sessions"], ids=lambda session: session["what"][:40])
def test_a_recorded_conversation_is_answered_byte_for_byte(
    original: RealMaster, session: dict[str, Any]
) -> None:
    known = numbers(session["bytes"])
    bridge = original.server._bridge
    assert bridge
    original.server._bridge = dataclasses.replace(bridge, number=lambda: next(known))
    with socket.create_connection(("127.0.0.1", original.server.port), 60) as sock:
        for side, frame in session["bytes"]:
            expected = bytes.fromhex(frame)
            if side == "client":
                sock.sendall(expected)
                continue
            received = exactly(sock, len(expected))
            if received != expected:
                assert opened(received) == opened(expected)
        unread = exactly(sock, 100)
    last = brine.dump((consts.MSG_REPLY, 4, (consts.LABEL_VALUE, None)))
    # The third client closed without reading the last answer, so that is not in the recording.
    missing = HEADER.pack(len(last), 0) + last + b"\n" if "without login" in session["what"] else b""
    assert unread == missing, "it closes when the client does"
    with read(original.site.engine) as conn:
        rows = [(row["action"], row["outcome"], row["key"]) for row in audit.list_audit(conn, limit=10)]
    if "answers 'ok 50'" in session["what"]:
        assert ("login", "ok", "") in rows
        assert ("job.submit", "ok", "RC4 bridge") in rows
    else:
        assert ("seal", "refused", "rc4") in rows
        assert not [row for row in rows if row[0] == "job.submit"]


def exactly(sock: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count and (chunk := sock.recv(count - len(received))):
        received += chunk
    return received


def opened(frame: bytes) -> tuple[Any, ...]:
    kind, seq, (label, token) = brine.load(frame[5:-1])
    return kind, seq, label, unseal(RECORDED["secret_key"], token.decode()).text


def test_a_recorded_task_that_is_sent_again_makes_no_second_job(original: RealMaster) -> None:
    token = seal(RECORDED["secret_key"], "9999@@192.168.1.21*sn2013-08-021@@50@@")
    changed = bytearray(base64.b64decode(token))
    changed[-3] ^= 1  # 50 becomes 51
    for again in (token, token, base64.b64encode(changed).decode()):
        root = connected(original.server.port)
        root.login(RECORDED["user"], RECORDED["password"])
        assert unseal(RECORDED["secret_key"], root.Runcommands(again)).text == "ok 50"
    with read(original.site.engine) as conn:
        actions = [row["action"] for row in audit.list_audit(conn, limit=50)]
    assert actions.count("job.submit") == 1


# -- RC4 on today's RPyC


def connected(port: int) -> Any:
    stream = rpyc.SocketStream.connect("127.0.0.1", port, timeout=30)
    connection = rpyc.connect_stream(stream, config={"sync_request_timeout": 60})
    OPEN.append(connection)
    return connection.root


def test_a_bare_rpyc_program_of_2014_logs_in_and_runs(rig: Rig) -> None:
    root = connected(rig.port)
    assert runcommands(root) == "Invalid Login!"
    assert root.login("ann", "wrong") is None
    assert runcommands(root) == "User verify failed!"
    root.login("ann", "ann's password")
    assert runcommands(root) == ("<b>192.168.1.21</b> 运行状态 成功<br>&lt;b&gt;hello&lt;/b&gt;<br>there<br>")
    assert runcommands(root, "1999@@1.2.3.4*a@@") == 'Module "Mid_1999" does not exist, Please add it'
    request, caller = rig.master.seen[0]
    assert request.args == {
        "module": "1003",
        "hosts": [{"name": "web-01", "ip": "192.168.1.21"}],
        "params": [],
    }
    assert (caller.connection_user, caller.session_token, caller.key.role_cap) == ("ann", None, "operator")
    assert [address for address, _, _ in rig.master.refusals] == ["127.0.0.1"] * 2


def test_a_program_of_today_is_served_beside_it_as_ever(rig: Rig) -> None:
    rig.master.answer = None
    with rig.client() as client:
        assert client.call("status")["user"] == "service account"


@pytest.mark.parametrize("refusal", [Forbidden("ann may <not>."), TooMany("Slow.", retry_after=1)])
def test_a_refusal_is_a_sentence_and_no_markup(rig: Rig, refusal: Exception) -> None:
    def refuse(*_: object) -> Reply:
        raise refusal

    rig.master.answer = refuse
    root = connected(rig.port)
    root.login("ann", "ann's password")
    assert runcommands(root) == str(refusal).replace("<", "&lt;").replace(">", "&gt;")


def test_a_master_that_crashes_says_no_more_than_that(rig: Rig) -> None:
    rig.master.answer = lambda *_: 1 / 0  # type: ignore[return-value]
    root = connected(rig.port)
    root.login("ann", "ann's password")
    assert runcommands(root) == "The master failed; its log says why."


def test_after_a_failed_login_nothing_is_left_of_a_good_one(rig: Rig) -> None:
    root = connected(rig.port)
    root.login("ann", "ann's password")
    root.login("ann", "wrong")
    assert runcommands(root) == "User verify failed!"
    assert rig.master.seen == []


def test_damaged_tokens_end_the_connection(rig: Rig) -> None:
    root = connected(rig.port)
    root.login("ann", "ann's password")
    for token in ("", "no base64!"):
        assert "could not be read" in unseal(SECRET, root.Runcommands(token)).text
    other = seal("another secret", TASK * 20)
    assert "could not be read" in unseal(SECRET, root.Runcommands(other)).text
    with pytest.raises(EOFError):
        root.Runcommands(other)
    assert rig.master.seen == []
    assert len(rig.master.refusals) == 3


def test_a_task_string_that_is_none_is_refused_with_the_reason(rig: Rig) -> None:
    root = connected(rig.port)
    root.login("ann", "ann's password")
    assert runcommands(root, "1003@@@@").startswith("No hosts were given")
    assert rig.master.seen == []


# -- who gets none of it


def recorded_start() -> bytes:
    return bytes.fromhex(RECORDED["sessions"][0]["bytes"][0][1])


@pytest.mark.parametrize("bridge", [None, Bridge(SECRET, frozenset({"192.0.2.1"}))])
def test_where_it_is_off_or_the_address_is_not_listed_there_is_nothing_of_it(bridge: Bridge | None) -> None:
    with running(bridge=bridge) as rig:
        with Peer(rig.port) as peer:
            peer.sock.sendall(recorded_start())
            assert peer.is_closed(5), "RPyC 3 is hung up on"
        root = connected(rig.port)
        root.login("ann", "ann's password")
        refused = root.Runcommands(seal(SECRET, TASK))
        with pytest.raises(ValueError, match="token"):
            unseal(SECRET, refused)
        assert rig.master.seen == []


def test_an_address_is_the_same_as_ipv4_within_ipv6() -> None:
    for address in ("127.0.0.1", "::ffff:127.0.0.1"):
        assert HERE.serves(address)
    for address in ("127.0.0.2", "::1", "::ffff:127.0.0.2"):
        assert not HERE.serves(address)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    make_authority(tmp_path)
    return server_context(*issue(tmp_path, "master", ["127.0.0.1"], server=True), None)


def test_beside_tls_a_listed_program_speaks_in_clear_and_gets_the_two_names_only(tls: ssl.SSLContext) -> None:
    with running(tls=tls, bridge=HERE) as rig:
        rig.master.answer = results
        root = connected(rig.port)
        root.login("ann", "ann's password")
        assert "成功" in runcommands(root)
        with pytest.raises(Exception, match="There are"):
            root.call(b"")
        old = Old(rig.port)
        old.call(b"login", b"ann", b"ann's password")
        assert "成功" in old.run(TASK)
    with running(tls=tls, bridge=Bridge(SECRET, frozenset({"192.0.2.1"}))) as rig, Peer(rig.port) as peer:
        peer.sock.sendall(recorded_start())
        assert peer.is_closed(5), "everybody else has to speak TLS"


# -- RPyC 3's own frames


class Old:
    """A program of 2014 as far as its frames go."""

    def __init__(self, port: int) -> None:
        self.peer = Peer(port)
        OPEN.append(self.peer.sock)
        self.number = 0
        (self.root, *_) = self.ask(consts.HANDLE_GETROOT, (consts.LABEL_VALUE, ()))

    def ask(self, handler: Any, boxed: Any) -> Any:
        self.number += 1
        self.peer.send_frame(brine.dump((consts.MSG_REQUEST, self.number, (handler, boxed))))
        payload = self.peer.receive_frame()
        if not payload:
            raise EOFError
        kind, number, answer = brine.load(payload)
        assert number == self.number
        if kind == consts.MSG_EXCEPTION:
            raise ValueError(answer)
        return answer[1]

    def get(self, name: Any) -> Any:
        ref = (consts.LABEL_LOCAL_REF, self.root)
        boxed = (consts.LABEL_TUPLE, (ref, (consts.LABEL_VALUE, name)))
        return self.ask(consts.HANDLE_GETATTR, boxed)[0]

    def call(self, name: Any, *words: Any) -> Any:
        return self.ask(consts.HANDLE_CALL, (consts.LABEL_VALUE, (self.get(name), words, ())))

    def run(self, task: str) -> str:
        return unseal(SECRET, self.call(b"Runcommands", seal(SECRET, task).encode()).decode()).text


def test_rpyc_3_may_send_unicode_and_call_by_attribute_and_ping(rig: Rig) -> None:
    old = Old(rig.port)
    assert old.ask(consts.HANDLE_PING, (consts.LABEL_VALUE, (b"x",))) == b"x"
    old.call(b"login", "ann", "ann's password")
    boxed = ((consts.LABEL_LOCAL_REF, old.root), (consts.LABEL_VALUE, b"exposed_Runcommands"))
    words = (consts.LABEL_VALUE, (seal(SECRET, TASK),)), (consts.LABEL_VALUE, ())
    token = old.ask(consts.HANDLE_CALLATTR, (consts.LABEL_TUPLE, (*boxed, *words)))
    assert "成功" in unseal(SECRET, token.decode()).text


def test_rpyc_3_finds_two_names_and_no_other(rig: Rig) -> None:
    old = Old(rig.port)
    for name in (b"call", b"__class__", b"on_connect", b"_rpyc_getattr", "ü", 7, None, (b"login",)):
        with pytest.raises(ValueError, match="two names"):
            old.get(name)
    for words in ((), (b"ann",), (b"a", b"b", b"c"), (7, b"x"), (b"\xff", b"x")):
        with pytest.raises(ValueError, match=r"takes 2 texts|UTF-8"):
            old.call(b"login", *words)
    with pytest.raises(ValueError, match="no such object"):
        old.ask(consts.HANDLE_CALL, (consts.LABEL_VALUE, (12345, (), ())))
    assert rig.master.seen == []


def test_a_compressed_frame_of_rpyc_3_is_read_and_a_huge_one_is_not(rig: Rig) -> None:
    old = Old(rig.port)
    old.call(b"login", b"ann", b"ann's password")
    params = "x" * 4000
    token = seal(SECRET, f"{TASK}{params}@@").encode()
    boxed = (consts.LABEL_VALUE, (old.get(b"Runcommands"), (token,), ()))
    payload = zlib.compress(brine.dump((consts.MSG_REQUEST, 99, (consts.HANDLE_CALL, boxed))))
    old.peer.send_frame(payload, compressed=1)
    assert brine.load(old.peer.receive_frame())[:2] == (consts.MSG_REPLY, 99)
    assert rig.master.seen[0][0].args["params"] == [params]
    old.peer.sock.sendall(HEADER.pack(1 << 30, 0))
    assert old.peer.is_closed(5)


def test_a_program_without_a_good_task_is_sent_away_in_time() -> None:
    limits = Limits(handshake=5, unproved=1.0, frame=5)
    with running(bridge=HERE, limits=limits) as rig:
        rig.master.answer = results
        proved, other = Old(rig.port), Old(rig.port)
        proved.call(b"login", b"ann", b"ann's password")
        assert "成功" in proved.run(TASK)
        assert other.peer.is_closed(10)
        assert "成功" in proved.run(TASK), "who has run a task may stay"


def test_connections_of_one_address_are_capped() -> None:
    with running(bridge=HERE, caps=Caps(unproved_per_address=2, per_key=1)) as rig:
        rig.master.answer = results
        first = Old(rig.port)
        first.call(b"login", b"ann", b"ann's password")
        assert "成功" in first.run(TASK)
        second = Old(rig.port)
        second.call(b"login", b"ann", b"ann's password")
        assert "all the connections it may have" in second.run(TASK)
        assert second.peer.is_closed(5)
        waiting = [Peer(rig.port), Peer(rig.port)]
        with Peer(rig.port) as one_too_many:
            assert one_too_many.is_closed(5)
        for peer in waiting:
            peer.sock.close()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5).map(tuple),
    max_leaves=12,
)
REQUESTS = st.tuples(
    st.sampled_from([1, 1, 1, 2, 3]), st.integers(0, 300), st.tuples(st.integers(0, 25), VALUES)
)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Rig]:
    with running(bridge=HERE, limits=Limits(handshake=5, unproved=5, frame=1)) as rig:
        yield rig
        assert rig.master.seen == [], "nothing was run"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.binary(min_size=1, max_size=80).map(lambda tail: b"\x12" + tail) | REQUESTS.map(brine.dump),
        max_size=4,
    )
)
def test_whatever_comes_as_rpyc_3_the_server_answers_or_hangs_up(fuzzed: Rig, payloads: list[bytes]) -> None:
    with Peer(fuzzed.port) as peer:
        peer.sock.sendall(recorded_start())
        peer.receive_frame()
        for payload in payloads:
            try:
                peer.send_frame(payload)
            except ConnectionError:
                break
        with contextlib.suppress(OSError):
            peer.sock.shutdown(socket.SHUT_WR)
        assert wait_until(lambda: not peer.receive_frame(), 20), "it hangs up"
    assert Old(fuzzed.port).root, "the next one is served"
    close_all()
