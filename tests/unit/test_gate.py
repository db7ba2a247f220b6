"""Counting connections."""

from __future__ import annotations

import threading

from omserver_master.wire.gate import Caps, Gate

CAPS = Caps(total=6, unproved=4, unproved_per_address=2, per_key=2)


def test_one_address_gets_so_many_unproved_places() -> None:
    gate = Gate(CAPS)
    assert gate.enter("10.0.0.1")
    assert gate.enter("10.0.0.1")
    assert gate.enter("10.0.0.1") is None
    assert gate.enter("10.0.0.2")


def test_all_addresses_together_get_so_many_unproved_places() -> None:
    gate = Gate(CAPS)
    assert all(gate.enter(f"10.0.0.{number}") for number in range(4))
    assert gate.enter("10.0.0.9") is None


def test_who_proves_a_key_makes_room_for_the_next() -> None:
    gate = Gate(CAPS)
    for number in range(6):
        place = gate.enter("127.0.0.1")
        assert place
        assert place.prove(f"key {number // 2}")
    assert gate.counts() == (6, 0)
    assert gate.enter("127.0.0.1") is None, "the total counts all"


def test_a_key_gets_so_many_places() -> None:
    gate = Gate(CAPS)
    places = [gate.enter(f"10.0.0.{number}") for number in range(3)]
    assert [place.prove("web") for place in places if place] == [True, True, False]
    assert places[0]
    places[0].leave()
    late = gate.enter("10.0.0.9")
    assert late
    assert late.prove("web")


def test_a_place_is_given_back_once() -> None:
    gate = Gate(CAPS)
    place = gate.enter("10.0.0.1")
    other = gate.enter("10.0.0.1")
    assert place
    assert other
    assert place.prove("web")
    assert place.prove("web")
    place.leave()
    place.leave()
    assert gate.counts() == (1, 1)
    other.leave()
    assert gate.counts() == (0, 0)


def test_addresses_and_keys_that_left_are_forgotten() -> None:
    gate = Gate(CAPS)
    for number in range(100):
        place = gate.enter(f"10.0.0.{number}")
        assert place
        if number % 2:
            assert place.prove(f"key {number}")
        place.leave()
    assert not gate._unproved
    assert not gate._keys


def test_threads_do_not_lose_count() -> None:
    gate = Gate(Caps(total=10_000, unproved=10_000, unproved_per_address=10_000, per_key=10_000))

    def come_and_go() -> None:
        for number in range(300):
            place = gate.enter("10.0.0.1")
            assert place
            assert number % 2 or place.prove("web")
            place.leave()

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gate.counts() == (0, 0)
