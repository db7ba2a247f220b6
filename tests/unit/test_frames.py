"""What a frame may hold: the shape of brine is looked at before anything is built from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rpyc.core import brine

from omserver_client.frames import MOST_VALUES, Broken, load

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.binary(max_size=300)
    | st.text(max_size=300)
)
SMALL = st.recursive(PLAIN, lambda kids: st.lists(kids, max_size=4).map(tuple), max_leaves=12)


def framed(plain: Any) -> bytes:
    return b"\x01" + brine.dump(plain)


@given(SMALL)
def test_what_a_call_may_hold_is_read(plain: Any) -> None:
    assert load(framed(plain)) == plain


def test_a_whole_call_is_read() -> None:
    call = (7, (8, (2, ((3, ("omserver.Master", 1, 1)), (1, "call"), (1, (b"x" * 100_000,)), (1, ())))))
    assert load(framed(call)) == call


@pytest.mark.parametrize(
    "plain", [1j, slice(1, 2, 3), frozenset({1}), NotImplemented, Ellipsis, 10**300, (1, (2, slice(1)))]
)
def test_values_that_no_call_needs_are_refused(plain: Any) -> None:
    with pytest.raises(Broken):
        load(framed(plain))


def test_too_many_values_are_refused_before_they_are_built() -> None:
    assert load(framed(tuple(range(MOST_VALUES - 1))))
    with pytest.raises(Broken):
        load(framed(tuple(range(MOST_VALUES))))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01",
        framed((1, 2)) + b"\x00",
        framed(("abc", 2))[:-1],
        framed(b"x" * 10)[:-1],
        b"\x01" + brine.TAG_TUP_L4 + b"\xff\xff\xff\xff",
        b"\x01" + brine.TAG_STR_L4 + b"\xff\xff\xff\xff" + b"x",
        b"\x01" + brine.TAG_TUP1 * 5000,
        b"\x01" + brine.TAG_UNICODE + brine.TAG_TUP1 + brine.TAG_NONE,
        b"\x01" + brine.TAG_UNICODE + brine.TAG_STR1 + b"\xff",
        b"\x01" + brine.TAG_INT_L1 + b"\x02ab",
        b"\x01" + b"\xfe",
    ],
)
def test_what_is_cut_off_or_no_brine_is_refused(payload: bytes) -> None:
    with pytest.raises(Broken):
        load(payload)


@given(st.binary(max_size=200))
def test_junk_is_refused_or_small(junk: bytes) -> None:
    try:
        load(b"\x01" + junk)
    except Broken:
        return
