"""What can be reached through RPyC: three names, by value, and nothing else."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rpyc
from rpyc.core import brine, consts

from omserver_master.wire.service import MasterService
from tests.wire_rig import ROOT, Peer, Rig, running, value

LOCAL_ROOT = (consts.LABEL_LOCAL_REF, ROOT)
PRIVATE = sorted(
    {
        *dir(MasterService),
        *dir(object),
        *dir(rpyc.Service),
        "exposed_call",
        "exposed_login",
        "_call",
        "_login",
    }
    | {
        "names",
        "_doors",
        "_session",
        "_place",
        "_connection",
        "_protocol",
        "exposed_Runcommands",
        "CALL",
        "Call",
    }
    | {"call ", "call\0", "", "__globals__", "__func__", "__self__", "get_service_name", "exposed_", "root"}
)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


@pytest.fixture
def peer(rig: Rig) -> Iterator[Peer]:
    with rig.peer() as peer:
        yield peer
    with rig.client() as client:
        assert client.call("status"), "the server must still be there for others"


def boxed(*items: Any) -> tuple[int, Any]:
    return (consts.LABEL_TUPLE, items)


def refused(peer: Peer, handler: Any, args: Any) -> bool:
    kind, answer = peer.request(handler, args)
    return kind == consts.MSG_EXCEPTION and answer[0] == ("builtins", "ValueError")


def test_rpycs_own_client_finds_the_three_names(rig: Rig) -> None:
    connection = rpyc.connect("127.0.0.1", rig.port)
    try:
        assert b'"challenge"' in connection.root.call(b"")
        assert connection.root.login("ann", "wrong") is None
        assert isinstance(connection.root.Runcommands("junk"), str)
        held = connection.root.call
        assert all(held(b"") for _ in range(20))
        with pytest.raises(ValueError, match="three names here: login, Runcommands, call"):
            connection.root.get_service_name()
        with pytest.raises(ValueError, match=r"It takes \(str, str\)"):
            connection.root.login("ann", passwd="x")
        assert connection.ping() is None
    finally:
        connection.close()


@pytest.mark.parametrize("handler", [consts.HANDLE_GETATTR, consts.HANDLE_CALLATTR])
def test_no_private_or_inherited_name_can_be_reached(peer: Peer, handler: int) -> None:
    extra = (value(()),) if handler == consts.HANDLE_CALLATTR else ()
    for name in [name for name in PRIVATE if name not in ("call", "login", "Runcommands")]:
        assert refused(peer, handler, boxed(LOCAL_ROOT, value(name), *extra)), name
    for name in (b"call", 7, None, ("call",)):
        assert refused(peer, handler, boxed(LOCAL_ROOT, value(name), *extra)), name


def test_a_method_has_no_attributes(peer: Peer) -> None:
    kind, answer = peer.request(consts.HANDLE_GETATTR, boxed(LOCAL_ROOT, value("call")))
    assert (kind, answer[0]) == (consts.MSG_REPLY, consts.LABEL_REMOTE_REF)
    method = (consts.LABEL_LOCAL_REF, answer[1])
    for name in ("__globals__", "__self__", "__func__", "method", "takes", "__class__", "call"):
        assert refused(peer, consts.HANDLE_GETATTR, boxed(method, value(name)))


KEPT = {"PING", "CLOSE", "GETROOT", "GETATTR", "CALL", "CALLATTR", "INSPECT", "DEL"}
DROPPED = {
    number: name
    for name, number in vars(consts).items()
    if name.startswith("HANDLE_") and name[7:] not in KEPT
}


@pytest.mark.parametrize("handler", [*DROPPED, 0, 21, -1, 10**20], ids=str)
def test_no_other_handler_answers(peer: Peer, handler: int) -> None:
    for args in (
        boxed(),
        boxed(LOCAL_ROOT),
        boxed(LOCAL_ROOT, value("call")),
        boxed(LOCAL_ROOT, value("a"), value("b")),
    ):
        assert refused(peer, handler, args)


@pytest.mark.parametrize("handler", ["7", None, 7.5, (7,), b"\x07"], ids=str)
def test_a_handler_is_a_number(peer: Peer, handler: Any) -> None:
    assert refused(peer, handler, boxed())


@pytest.mark.parametrize("handler", sorted(getattr(consts, f"HANDLE_{name}") for name in KEPT - {"CLOSE"}))
@pytest.mark.parametrize("label", [consts.LABEL_REMOTE_REF, 0, 5, 99, None], ids=str)
def test_remote_objects_and_unknown_labels_are_refused_everywhere(
    peer: Peer, handler: int, label: Any
) -> None:
    stranger = (label, ("builtins.dict", 1, 2))
    assert refused(peer, handler, boxed(stranger, value("call")))
    assert refused(peer, handler, boxed(LOCAL_ROOT, value("call"), boxed(stranger)))
    assert refused(peer, handler, boxed(LOCAL_ROOT, stranger))


@pytest.mark.parametrize(
    "reference",
    [
        ("omserver.Master", 1, 2),
        ("builtins.object", 1, 1),
        ("omserver.Master", 1),
        7,
        None,
        ("omserver.Master", 1, 1.5),
    ],
    ids=str,
)
def test_objects_that_were_never_given_out_cannot_be_referred_to(peer: Peer, reference: Any) -> None:
    assert refused(peer, consts.HANDLE_CALL, boxed((consts.LABEL_LOCAL_REF, reference), value(()), value(())))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("call", ()),
        ("call", ("text",)),
        ("call", (None,)),
        ("call", (b"", b"")),
        ("call", ((b"",),)),
        ("Runcommands", (b"bytes",)),
        ("Runcommands", (7,)),
        ("login", ("ann",)),
        ("login", ("ann", b"x")),
        ("login", ("ann", None)),
        ("login", (True, "x")),
        ("login", ("ann", "x", "y")),
    ],
)
def test_only_the_exact_types_are_taken(peer: Peer, name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="It takes"):
        peer.call(name, *arguments)


class Liar(str):
    """Says that it is a str, and is another object on the caller's side."""

    __slots__ = ()
    __class__ = str  # type: ignore[assignment]


def test_an_object_that_lies_about_its_class_is_refused(rig: Rig) -> None:
    connection = rpyc.connect("127.0.0.1", rig.port, config={"allow_all_attrs": True})
    try:
        for liar in (Liar("x"), type("str", (), {"__class__": bytes})(), str, [b""], lambda: b""):
            with pytest.raises(ValueError, match="Only values are accepted"):
                connection.root.call(liar)
            with pytest.raises(ValueError, match="Only values are accepted"):
                connection.root.login(liar, "x")
    finally:
        connection.close()


def test_the_master_never_calls_its_client(rig: Rig) -> None:
    called = []

    class Trap(rpyc.Service):
        def _rpyc_getattr(self, name: str) -> Any:
            called.append(name)
            raise AttributeError(name)

    connection = rpyc.connect("127.0.0.1", rig.port, service=Trap)
    handlers = connection._HANDLERS
    try:
        for code, handler in list(handlers.items()):
            handlers[code] = lambda *args, code=code, handler=handler: called.append(code) or handler(*args)
        for argument in (Trap(), [], {}, called.append):
            with pytest.raises(ValueError, match="Only values"):
                connection.root.call(argument)
    finally:
        connection.close()
    assert called == []


@pytest.mark.parametrize("kind", [consts.MSG_REPLY, consts.MSG_EXCEPTION, 0, 4, 255])
def test_answers_to_questions_nobody_asked_end_the_connection(peer: Peer, kind: int) -> None:
    exception = (("evil", "Name"), (), (), "")
    with pytest.raises(EOFError):
        peer.request(*exception[:2], kind=kind)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x01",
        b"\x01\xff\xff",
        b"\x01" + brine.dump(7),
        b"\x01" + brine.dump((1, 2, 3)),
        b"\x01" + brine.TAG_TUP1 * 60,
        b"\x01" + brine.dump((1, slice(1))),
        b"\x12" + b"not a frame of today",
        struct.pack("!QQ", 1, 2) + b"\x01",
    ],
)
def test_what_is_no_request_ends_the_connection(peer: Peer, payload: bytes) -> None:
    peer.send_frame(payload)
    assert peer.is_closed(2)


@pytest.mark.parametrize("message", [7, (), (1,), (3, (1,)), ((1, 2), (1, 2)), ("x" * 100, (2, ()))])
def test_a_request_of_a_strange_shape_is_refused(peer: Peer, message: Any) -> None:
    peer.send_frame(b"\x01" + brine.dump((1, message)))
    answer = peer.receive_frame()
    assert answer[0] == consts.MSG_EXCEPTION


def test_nothing_of_the_master_is_told_to_a_stranger(peer: Peer) -> None:
    answers = [
        peer.request(consts.HANDLE_GETROOT, boxed()),
        peer.request(consts.HANDLE_INSPECT, boxed(value(ROOT))),
        peer.request(consts.HANDLE_INSPECT, boxed(value(("builtins.object", 1, 1)))),
        peer.request(99, boxed()),
    ]
    told = repr(answers)
    for secret in ("Traceback", ".py", "0x", "omserver_master", rpyc.__version__, sys.executable):
        assert secret not in told


STRANGER = """
import sys
from rpyc.core import brine, consts
from tests.wire_rig import ROOT, running, value

WATCHED = {"import", "exec", "compile", "pickle.find_class", "os.system", "subprocess.Popen"}
STRANGE = [(1, "os.system"), (3, ROOT), (4, ("os.system", 1, 2)), (1, b"cos\\nsystem\\n.")]
seen = []
with running() as rig:
    with rig.client() as client:
        client.call("status")
    sys.addaudithook(lambda name, args: seen.append((name, args)) if name in WATCHED else None)
    with rig.peer() as peer:
        for handler in set(range(22)) - {consts.HANDLE_CLOSE}:
            for thing in STRANGE:
                peer.request(handler, (2, (thing, value("id"), value(()))))
    with rig.peer() as peer:
        raised = brine.dump((1, (("os", "system"), ("id",), (), "")))
        peer.send_frame(bytes([consts.MSG_EXCEPTION]) + raised)
        peer.is_closed(2)
print(seen)
"""


def test_nothing_is_imported_unpickled_or_executed_for_a_stranger() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", STRANGER]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert (found.stdout.strip(), found.stderr) == ("[]", "")
