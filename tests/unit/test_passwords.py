"""Which passwords are refused, and how guessing is slowed down."""

from __future__ import annotations

import pytest

from omserver_client.errors import BadRequest, TooMany
from omserver_master.access import passwords, throttle
from omserver_master.access.throttle import LoginThrottle


@pytest.mark.parametrize(
    "password",
    [
        "", "short", "elevenchars", "KJS23o4ij09gHF734iuhsdfhkGYSihoiwhj38u4h", "aaaaaaaaaaaaaaaa",
        "1212121212121212", "adminadminadmin", "ADMIN2024", "omadmin-2024", "omadminomadmin",
        "Passwordpassword", "x" * 1025,
    ],
)  # fmt: skip
def test_a_weak_or_published_password_is_refused(password: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        passwords.refuse_weak("omadmin", password)
    assert refusal.value.details == {"field": "password"}


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "查看系统日志的最后若干行吧", passwords.invent()],
    ids=["English", "Chinese", "invented"],
)
def test_a_good_password_is_taken(password: str) -> None:
    passwords.refuse_weak("omadmin", password)


def test_hashing_costs_64_mib_and_three_passes() -> None:
    assert (passwords._HASHER.memory_cost, passwords._HASHER.time_cost) == (64 * 1024, 3)


def test_only_two_passwords_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "QUEUE_TIMEOUT", 0.01)
    with passwords._Turn(), passwords._Turn(), pytest.raises(TooMany):
        passwords.matches(None, "anything")


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> LoginThrottle:
    return LoginThrottle(per_account=3, per_address=5, clock=clock)


def _fill(limit: LoginThrottle, account: str, address: str, times: int) -> None:
    for _ in range(times):
        limit.enter(account, address)


def test_an_account_is_closed_after_its_failures_and_opens_again(limit: LoginThrottle, clock: Clock) -> None:
    _fill(limit, "alice", "a", 3)
    with pytest.raises(TooMany) as refusal:
        limit.enter("ALICE", "b")
    assert refusal.value.details == {"retry_after": 60}
    clock.now += 59.9
    with pytest.raises(TooMany):
        limit.enter("alice", "b")
    clock.now += 0.2
    limit.enter("alice", "b")


def test_an_address_is_closed_for_all_accounts(limit: LoginThrottle) -> None:
    for number in range(5):
        limit.enter(f"user {number}", "a")
    with pytest.raises(TooMany):
        limit.enter("somebody else", "a")
    limit.enter("somebody else", "b")


def test_a_good_login_starts_the_account_anew_and_does_not_count_for_the_address(
    limit: LoginThrottle,
) -> None:
    for _ in range(20):
        limit.enter("alice", "a")
        limit.succeeded("alice", "a")
    _fill(limit, "alice", "a", 3)


def test_tries_count_before_they_are_answered(limit: LoginThrottle) -> None:
    _fill(limit, "alice", "a", 3)
    with pytest.raises(TooMany):
        limit.enter("alice", "a")


def test_a_refused_try_does_not_lengthen_the_wait(limit: LoginThrottle, clock: Clock) -> None:
    _fill(limit, "alice", "a", 3)
    for _ in range(10):
        clock.now += 5
        with pytest.raises(TooMany):
            limit.enter("alice", "a")
    clock.now += 11
    limit.enter("alice", "a")


def test_inventing_names_neither_eats_memory_nor_opens_the_door(
    limit: LoginThrottle, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MOST", 100)
    _fill(limit, "alice", "home", 3)
    for number in range(200):
        with pytest.raises(TooMany) if number >= 49 else _nothing():
            limit.enter(f"user {number}", f"address {number}")
    assert len(limit._tries) <= 101
    with pytest.raises(TooMany):
        limit.enter("alice", "home")
    clock.now += 61
    limit.enter("user 500", "address 500")


class _nothing:  # noqa: N801 -- stands where pytest.raises does
    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...
