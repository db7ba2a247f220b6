"""Who acts: the login of 2014 on a connection, the session in a message, the key's own account."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import random
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rpyc.core import brine, consts

from omserver_client.envelope import CLIENT, seal
from omserver_client.errors import InternalError, SealRefused, TooMany
from omserver_client.messages import TaskRequest
from omserver_master.wire.connection import Objection
from omserver_master.wire.gate import Caps, Gate
from omserver_master.wire.refusals import Refusals
from omserver_master.wire.service import MasterService
from omserver_master.wire.session import Session
from tests.wire_rig import ROOT, Master, Peer, Rig, good_request, legacy, running, value

TASK = "1003@@192.168.1.21*web-01@@"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


def person(peer: Peer, **more: Any) -> str:
    """Whom the master took the peer for, or the code of its refusal."""
    reply = json.loads(peer.opened(peer.call("call", peer.sealed(good_request(**more)))))
    return reply["ok"]["user"] if "ok" in reply else reply["error"]["code"]


def runcommands(peer: Peer, task: str = TASK, **more: Any) -> str:
    message = TaskRequest(task, time.time() + 30, **more).to_json()
    sealed = base64.b64encode(peer.sealed(message)).decode()
    return peer.opened(base64.b64decode(peer.call("Runcommands", sealed))).decode()


def test_without_a_login_the_key_acts_as_its_own_account(rig: Rig) -> None:
    with rig.peer() as peer:
        assert person(peer) == "service account"
    caller = rig.master.seen[0][1]
    assert (caller.key.name, caller.key.kid, caller.address) == ("tests", rig.key.kid_hex, "127.0.0.1")
    assert (caller.session_token, caller.connection_user, caller.login_failed) == (None, None, False)


def test_login_answers_nothing_and_marks_this_connection_only(rig: Rig) -> None:
    with rig.peer() as peer, rig.peer() as other:
        assert peer.call("login", "ann", "ann's password") is None
        assert person(peer) == "ann"
        assert person(other) == "service account"


def test_a_failed_login_answers_nothing_and_never_falls_back(rig: Rig) -> None:
    with rig.peer() as peer:
        assert person(peer) == "service account"
        assert peer.call("login", "ann", "wrong") is None
        assert person(peer) == "login_failed"
        assert person(peer, session="token") == "session token", "a session of its own still counts"
        peer.call("login", "bob", "bob's password")
        assert person(peer) == "bob"
        peer.call("login", "ann", "wrong")
        assert person(peer) == "login_failed", "nor to who was logged in before"


def test_a_session_in_the_message_goes_before_the_login(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.call("login", "ann", "ann's password")
        assert person(peer, session="token") == "session token"


def test_a_login_that_is_refused_has_failed(rig: Rig) -> None:
    rig.master.login = raising(TooMany("Slow down.", retry_after=30))
    with rig.peer() as peer:
        assert peer.call("login", "ann", "ann's password") is None
        assert person(peer) == "login_failed"


def raising(error: Exception) -> Any:
    def refuse(*_: object) -> bool:
        raise error

    return refuse


def test_a_name_too_long_to_be_one_has_failed(rig: Rig) -> None:
    user = "a" * 300
    with rig.peer() as peer:
        peer.call("login", user, f"{user}'s password")
        assert person(peer) == "login_failed"


@pytest.fixture
def service() -> MasterService:
    place = Gate(Caps()).enter("192.0.2.7")
    assert place
    master = Master()
    refusals = Refusals(master.audit_refusal)
    return MasterService(master.doors(), Session(Any, 1000), place, refusals, private=False, max_frame=1000)


def test_a_login_in_clear_from_elsewhere_is_refused_and_counts_as_failed(service: MasterService) -> None:
    with pytest.raises(Objection, match="this machine only"):
        service.names["login"].method("ann", "ann's password")
    assert service._login_failed
    assert service._user is None


def test_runcommands_answers_the_texts_of_2014(rig: Rig) -> None:
    rig.master.answer = legacy
    with rig.peer() as peer:
        assert runcommands(peer) == "Invalid Login!"
        peer.call("login", "ann", "wrong")
        assert runcommands(peer) == "User verify failed!"
        peer.call("login", "ann", "ann's password")
        assert runcommands(peer, "1999@@1.2.3.4*a@@") == 'Module "Mid_1999" does not exist, Please add it'
        reply = json.loads(runcommands(peer))
        assert (reply["v"], reply["ok"]["state"]) == (1, "succeeded")


def test_after_a_failed_login_nothing_is_run_until_a_good_one(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.call("login", "ann", "wrong")
        assert runcommands(peer) == "User verify failed!"
        assert rig.master.seen == []
        assert json.loads(runcommands(peer, session="token"))["ok"]["user"] == "session token"


def test_a_task_arrives_taken_apart_with_session_and_key(rig: Rig) -> None:
    with rig.peer() as peer:
        runcommands(peer, "1001@@192.168.1.21*web-01@@50@@", session="token", key="once")
    request, _ = rig.master.seen[0]
    assert (request.op, request.session, request.key) == ("runcommands", "token", "once")
    assert request.args == {
        "module": "1001",
        "hosts": [{"name": "web-01", "ip": "192.168.1.21"}],
        "params": ["50"],
    }


def test_a_bare_task_string_is_refused_and_so_is_a_bad_one(rig: Rig) -> None:
    with rig.peer() as peer:
        for task in ("1003@@@@", "0003@@1.2.3.4*a@@", "1003"):
            assert json.loads(runcommands(peer, task))["error"]["code"] == "bad_request"
    assert rig.master.seen == []


def test_a_master_that_crashes_answers_that_it_did(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.master.answer = raising(ZeroDivisionError("secret detail"))
    with rig.client() as client:
        for ask in (lambda: client.call("status"), lambda: client.runcommands(TASK)):
            with pytest.raises(InternalError) as failed:
                ask()
            assert "secret" not in str(failed.value)
            assert failed.value.details["request"] in caplog.text
    assert "secret detail" in caplog.text


def test_what_the_dispatcher_refuses_by_raising_is_answered(rig: Rig) -> None:
    rig.master.answer = raising(TooMany("Slow down.", retry_after=30))
    with rig.client() as client, pytest.raises(TooMany) as refused:
        client.call("status")
    assert refused.value.details == {"retry_after": 30}


def test_logins_of_two_people_on_many_connections_never_mix(rig: Rig) -> None:
    mixed: list[str] = []

    def work(user: str, seed: int) -> None:
        dice = random.Random(seed)
        with Peer(rig.port, rig.key) as peer:
            for _ in range(25):
                good = dice.random() < 0.7
                peer.call("login", user, f"{user}'s password" if good else "wrong")
                token = dice.choice([None, f"{user}-{seed}"])
                expected = f"session {token}" if token else user if good else "login_failed"
                found = person(peer, session=token)
                if found != expected:
                    mixed.append(f"{found} instead of {expected}")

    threads = [threading.Thread(target=work, args=(f"user{n % 2}", n)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed == []
    assert len(rig.master.seen) == 12 * 25


def test_threads_on_one_client_get_their_own_answers(rig: Rig) -> None:
    wrong: list[object] = []
    with rig.client() as client:

        def work(number: int) -> None:
            for turn in range(20):
                answer = client.call("status", {"number": number, "turn": turn}, session=f"token{number}")
                if (
                    answer["args"] != {"number": number, "turn": turn}
                    or answer["user"] != f"session token{number}"
                ):
                    wrong.append(answer)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_requests_sent_in_one_go_are_answered_one_by_one(rig: Rig) -> None:
    """RPyC lets a client send many requests before it reads an answer; each must see its own login."""
    with rig.peer() as peer:
        peer.greet()
        frames = []
        for turn in range(10):
            password = "ann's password" if turn % 2 else "wrong"
            sealed = seal(rig.key, turn + 1, CLIENT, peer.challenge, good_request())
            for name, args in (("login", ("ann", password)), ("call", (sealed,))):
                boxed = ((consts.LABEL_LOCAL_REF, ROOT), value(name), value(args))
                message = (len(frames), (consts.HANDLE_CALLATTR, (consts.LABEL_TUPLE, boxed)))
                frames.append(bytes([consts.MSG_REQUEST]) + brine.dump(message))
        for frame in frames:
            peer.send_frame(frame)
        for turn in range(10):
            peer.receive_frame()
            number, (_, answer) = brine.load(peer.receive_frame()[1:])
            reply = json.loads(peer.opened(answer, seq=turn + 1))
            assert number == 2 * turn + 1
            assert ("ok" in reply) is bool(turn % 2)


def test_an_unknown_key_is_told_nothing_but_no(rig: Rig) -> None:
    rig.ring.keys.clear()
    with rig.client() as client, pytest.raises(SealRefused, match="unknown to it, or was revoked"):
        client.call("status")


def test_tls_is_verified_and_makes_login_private(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server_side, client_side = tls
    with running(tls=server_side) as rig, rig.client(tls=client_side) as client:
        assert client.call("status")["user"] == "service account"
        blind = ssl.create_default_context()
        blind.check_hostname = False
        for mode in (ssl.CERT_REQUIRED, ssl.CERT_NONE):
            blind.verify_mode = mode
            with pytest.raises(ConnectionError, match="does not verify"):
                rig.client(tls=blind)
        with pytest.raises(ConnectionError, match="was not believed: self-signed certificate"):
            rig.client(tls=ssl.create_default_context())
        with pytest.raises(ConnectionError):
            rig.client(timeout=2)


@pytest.fixture
def tls(tmp_path: Any) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Both sides' contexts for a certificate of this machine, made on the spot."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "master")])
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([here]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(secret, hashes.SHA256())
    )
    pem = tmp_path / "master.pem"
    private = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pem)
    return server_side, ssl.create_default_context(cafile=str(pem))
