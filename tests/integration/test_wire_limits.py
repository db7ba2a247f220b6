"""What a hostile or a broken network does to the server: nothing that others would notice."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from omserver_client import Client, NotReached, connect
from omserver_client.errors import TooMany
from omserver_client.keyfile import new_key, write_key
from omserver_client.messages import Reply
from omserver_master.wire import CannotListen, Caps, HardenedServer, Limits
from tests.wire_rig import HEADER, Rig, call_frame, running, wait_until

MIB = 1024 * 1024
QUICK = Limits(handshake=0.4, unproved=1.2, frame=0.6, idle=0.8)
WIDE = Caps(total=400, unproved=300, unproved_per_address=300, per_key=300)


@pytest.fixture(scope="module")
def quick() -> Iterator[Rig]:
    """A server that loses patience sooner, so that tests need less of it."""
    with running(limits=QUICK, caps=WIDE) as rig:
        yield rig


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


@contextlib.contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many clients that say nothing."""
    with contextlib.ExitStack() as stack:
        connect = socket.create_connection
        yield [stack.enter_context(connect(("127.0.0.1", port), 5)) for _ in range(count)]


def still_open(socks: list[socket.socket]) -> list[socket.socket]:
    """Those that the server has not closed within a moment."""
    time.sleep(0.3)
    kept = []
    for sock in socks:
        sock.setblocking(False)
        try:
            if sock.recv(1):
                kept.append(sock)
        except BlockingIOError:
            kept.append(sock)
        except ConnectionError:
            pass
    return kept


def test_the_limits_are_those_of_the_protocol() -> None:
    assert Limits() == Limits(5.0, 60.0, 10.0, 300.0, 8 * MIB, MIB)
    assert Caps() == Caps(256, 32, 16, 64)


def test_a_client_that_says_nothing_is_closed_after_five_seconds(rig: Rig) -> None:
    with rig.peer() as peer:
        begun = time.monotonic()
        assert peer.is_closed(7)
        assert 4.5 < time.monotonic() - begun < 6


def test_a_first_frame_cannot_be_dripped_beyond_the_handshake() -> None:
    with running(limits=Limits(handshake=0.4)) as rig, rig.peer() as peer:
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in HEADER.pack(100, 0) + b"x" * 100:
                peer.sock.sendall(bytes([byte]))
                time.sleep(0.05)
        assert peer.is_closed(0.2)
        assert time.monotonic() - begun < 3


def test_a_slow_frame_ends_the_connection_even_of_a_good_client(quick: Rig) -> None:
    with quick.peer() as peer:
        assert peer.opened(peer.call("call", peer.sealed()))
        peer.sock.sendall(HEADER.pack(100, 0) + b"x")
        time.sleep(0.3)
        peer.sock.sendall(b"x")
        begun = time.monotonic()
        assert peer.is_closed(2)
        assert time.monotonic() - begun < 0.6


def test_who_proves_no_key_is_closed_however_busy(quick: Rig) -> None:
    with quick.peer() as peer:
        begun = time.monotonic()
        with contextlib.suppress(EOFError, ConnectionError):
            while time.monotonic() < begun + 5:
                peer.greet()
                time.sleep(0.1)
        assert 1.0 < time.monotonic() - begun < 2


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(quick: Rig) -> None:
    with quick.peer() as peer:
        for _ in range(4):
            assert peer.opened(peer.call("call", peer.sealed()))
            time.sleep(0.5)
        begun = time.monotonic()
        assert peer.is_closed(2)
        assert time.monotonic() - begun < 0.6


def test_the_time_a_request_runs_is_not_idle_time(quick: Rig) -> None:
    def slow(request: object, caller: object) -> Reply:
        time.sleep(1)
        return Reply(getattr(request, "id", ""), ok={})

    quick.master.answer = slow
    try:
        with quick.client() as client:
            assert client.call("status") == {}
            assert client.call("status") == {}
    finally:
        quick.master.answer = None


def test_a_client_that_takes_no_answer_is_let_go(quick: Rig) -> None:
    quick.master.answer = lambda request, caller: Reply(request.id, ok={"text": "x" * (7 * MIB)})
    try:
        with quick.peer() as peer:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.send_frame(call_frame(peer))
            assert wait_until(lambda: quick.server.gate.counts()[0] == 0, 4)
    finally:
        quick.master.answer = None


def test_one_address_cannot_take_all_the_places() -> None:
    with running() as rig:
        with connections(rig.port, 40) as socks:
            assert len(still_open(socks)) == 16
        assert wait_until(lambda: rig.server.gate.counts() == (0, 0))


def test_five_hundred_connections_at_once_do_not_disturb_a_good_client() -> None:
    with running() as rig, rig.client() as client:
        client.call("status")
        over = threading.Event()

        def flood() -> None:
            with connections(rig.port, 500):
                over.wait(10)

        flooding = threading.Thread(target=flood)
        flooding.start()
        waits = [waited(client) for _ in range(300)]
        assert max(waits) < 1
        assert wait_until(lambda: rig.server.gate.counts() == (17, 16))
        over.set()
        flooding.join()
        with rig.client() as newcomer:
            assert newcomer.call("status")


def waited(client: Client) -> float:
    begun = time.monotonic()
    assert client.call("status")
    return time.monotonic() - begun


def test_a_proved_connection_makes_room_for_the_next() -> None:
    with running(caps=Caps(total=100, unproved=4, unproved_per_address=2, per_key=50)) as rig:
        with contextlib.ExitStack() as stack:
            for _ in range(40):
                client = stack.enter_context(rig.client())
                assert client.call("status")
            assert rig.server.gate.counts() == (40, 0)
        assert wait_until(lambda: rig.server.gate.counts() == (0, 0))


def test_clients_that_come_all_at_once_all_get_in() -> None:
    with running() as rig:
        done: list[object] = []

        def work() -> None:
            with rig.client() as client:
                done.append(client.call("status"))

        threads = [threading.Thread(target=work) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 40


def test_a_key_has_a_number_of_connections_and_is_told() -> None:
    with running(caps=Caps(per_key=2)) as rig:
        other = new_key("other")
        rig.ring.keys[other.kid] = other
        with rig.client() as one, rig.client() as two, rig.client() as three:
            assert one.call("status")
            assert two.call("status")
            with pytest.raises(TooMany):
                three.call("status")
            with rig.client(key=other) as stranger:
                assert stranger.call("status")
            one.close()
            # The master sees the end of *one* a moment later: only being let in shows that its place is free.
            assert wait_until(lambda: is_let_in(three))


def is_let_in(client: Client) -> bool:
    try:
        return bool(client.call("status"))
    except TooMany:
        return False


STARVED = """
import resource, sys, time
from omserver_client.keyfile import read_key
from tests.wire_rig import Master, Ring
from omserver_master.wire import Caps, HardenedServer
resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
doors = Master().doors()
caps = Caps(total=1000, unproved=1000, unproved_per_address=1000)
with HardenedServer("127.0.0.1", 0, doors, Ring(read_key(sys.argv[1])), caps=caps) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""


def test_a_server_out_of_descriptors_goes_on_when_there_are_some(tmp_path: Path) -> None:
    key = new_key("web")
    write_key(tmp_path / "web.key", key)
    command = [sys.executable, "-c", STARVED, str(tmp_path / "web.key")]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starved:
        assert starved.stdin
        assert starved.stdout
        port = int(starved.stdout.readline())
        with connect("127.0.0.1", port, key=key) as client:
            assert client.call("status")
            with connections(port, 120) as socks:
                kept = still_open(socks)
                assert 20 < len(kept) < 48, "who found no descriptor was hung up on, not left waiting"
                assert client.call("status")
        with connect("127.0.0.1", port, key=key) as client:
            assert client.call("status")
        starved.stdin.close()
        assert starved.wait(10) == 0


def test_a_connection_that_is_reset_at_once_does_no_harm(rig: Rig) -> None:
    for _ in range(50):
        sock = socket.create_connection(("127.0.0.1", rig.port), 5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    with rig.client() as client:
        assert client.call("status")


def test_a_port_that_is_taken_is_named() -> None:
    with (
        running() as rig,
        pytest.raises(CannotListen, match=f"at 127.0.0.1:{rig.port}: Address already in use"),
    ):
        HardenedServer("127.0.0.1", rig.port, rig.master.doors(), rig.ring)
    with pytest.raises(CannotListen, match=r"at 192.0.2.1:11511: Cannot assign"):
        HardenedServer("192.0.2.1", 11511, rig.master.doors(), rig.ring)


def test_a_server_stops_in_time_though_clients_are_connected_and_a_request_runs() -> None:
    begun, hold = threading.Event(), threading.Event()
    with running() as rig:

        def slow(request: object, caller: object) -> Reply:
            begun.set()
            hold.wait(10)
            return Reply("", ok={})

        rig.master.answer = slow
        with rig.peer() as peer, rig.peer() as idle, rig.client() as client:
            idle.greet()
            peer.send_frame(call_frame(peer))
            assert begun.wait(2)
            start = time.monotonic()
            rig.server.close(timeout=0.5)
            assert time.monotonic() - start < 1.5
            assert idle.is_closed(1)
            hold.set()
            with pytest.raises(NotReached, match="not running"):
                client.call("status")
        assert wait_until(lambda: rig.server.gate.counts() == (0, 0))


def test_no_descriptor_is_left_behind(rig: Rig) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for _ in range(30):
        with rig.client() as client:
            client.call("status")
        with rig.peer() as peer:
            peer.send_frame(b"junk")
    assert wait_until(lambda: descriptors() <= before)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > before
