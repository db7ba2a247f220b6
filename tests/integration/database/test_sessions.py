"""Who gets in, for how long, and as whom somebody acts."""

from __future__ import annotations

import time

import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters
from people import add_person
from sqlalchemy import Engine, select, update

from omserver_client.errors import LoginFailed, LoginRequired, SessionExpired, TooMany
from omserver_master.access import passwords, sessions
from omserver_master.access.throttle import LoginThrottle
from omserver_master.caller import Caller, CallerKey
from omserver_master.store import grants, schema, users
from omserver_master.store import sessions as session_store
from omserver_master.store.engine import begin, read
from tests import cheap_passwords

KEY = CallerKey("11" * 8, "web", "admin")
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _cheap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "one_verification" not in request.node.name:
        cheap_passwords.use(monkeypatch)


@pytest.fixture
def alice(engine: Engine) -> int:
    stored = passwords.hash_password(PASSWORD)
    with begin(engine) as conn:
        user_id = users.add_user(conn, "Alice", stored)
        grants.add_grant(conn, user_id, "operator")
    return user_id


def _log_in(engine: Engine, user: str, password: str, throttle: LoginThrottle | None = None) -> int:
    row = sessions.check_login(engine, throttle or LoginThrottle(), user, password, "192.0.2.9")
    return int(row["id"])


def test_the_right_password_logs_in_whatever_the_names_case(engine: Engine, alice: int) -> None:
    assert _log_in(engine, "aLICE", PASSWORD) == alice


@pytest.mark.parametrize("user", ["Alice", "nobody", "", "Alice\0", "' OR 1=1 --"])
def test_a_wrong_password_and_an_unknown_user_are_refused_alike(
    engine: Engine, alice: int, user: str
) -> None:
    with pytest.raises(LoginFailed) as refusal:
        _log_in(engine, user, "wrong")
    assert refusal.value.to_wire() == LoginFailed().to_wire()


def test_a_disabled_account_is_refused_like_a_wrong_password(engine: Engine, alice: int) -> None:
    with begin(engine) as conn:
        users.set_disabled(conn, alice, True)
    with pytest.raises(LoginFailed):
        _log_in(engine, "Alice", PASSWORD)


class _Counted:
    """A hasher that notes what each verification costs."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self.costs: list[Parameters] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._hasher, name)

    def verify(self, stored: str, password: str) -> bool:
        self.costs.append(extract_parameters(stored))
        return self._hasher.verify(stored, password)


@pytest.mark.parametrize("user", ["nobody", "Carol", ""])
def test_an_unknown_or_disabled_user_costs_one_verification_like_a_wrong_password(
    engine: Engine, alice: int, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    with begin(engine) as conn:
        users.set_disabled(conn, users.add_user(conn, "Carol", passwords.hash_password(PASSWORD)), True)
    counted = _Counted(passwords._HASHER)
    monkeypatch.setattr(passwords, "_HASHER", counted)
    for name in ("Alice", user):
        with pytest.raises(LoginFailed):
            _log_in(engine, name, "wrong")
    known, other = counted.costs
    assert other == known


def test_after_five_failures_even_the_right_password_is_not_heard(engine: Engine, alice: int) -> None:
    throttle = LoginThrottle()
    for _ in range(5):
        with pytest.raises(LoginFailed):
            _log_in(engine, "alice", "wrong", throttle)
    with pytest.raises(TooMany) as refusal:
        _log_in(engine, "ALICE", PASSWORD, throttle)
    assert 0 < refusal.value.details["retry_after"] <= 60


def _caller(token: str | None = None, **more: object) -> Caller:
    return Caller(KEY, "192.0.2.9", token, **more)  # type: ignore[arg-type]


def _session(engine: Engine, user_id: int, idle: int = 1800) -> str:
    with begin(engine) as conn:
        return sessions.open_session(conn, user_id, KEY.kid, idle).token


def test_a_session_is_its_person_until_it_is_closed(engine: Engine, alice: int) -> None:
    token = _session(engine, alice)
    person = sessions.who_acts(engine, _caller(token))
    assert person is not None
    assert (person.id, person.name, person.role) == (alice, "Alice", "operator")
    with begin(engine) as conn:
        sessions.close_session(conn, token)
    with pytest.raises(LoginRequired):
        sessions.who_acts(engine, _caller(token))


def test_the_database_does_not_hold_the_token(engine: Engine, alice: int) -> None:
    token = _session(engine, alice)
    with read(engine) as conn:
        assert token not in str(conn.execute(select(schema.sessions)).all())


@pytest.mark.parametrize(("column", "seconds_ago"), [("last_used", 1801), ("expires_at", 1)])
def test_an_idle_or_old_session_has_expired_and_says_so(
    engine: Engine, alice: int, column: str, seconds_ago: int
) -> None:
    token = _session(engine, alice)
    with begin(engine) as conn:
        conn.execute(update(schema.sessions).values({column: time.time() - seconds_ago}))
    with pytest.raises(SessionExpired):
        sessions.who_acts(engine, _caller(token))


def test_a_password_hashed_with_weaker_settings_is_hashed_anew_at_login(
    engine: Engine, alice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=128, parallelism=1))
    _log_in(engine, "Alice", PASSWORD)
    with read(engine) as conn:
        row = users.user_by_id(conn, alice)
    assert row is not None
    assert "m=128," in row["password"]
    assert passwords.matches(row["password"], PASSWORD)


def test_a_used_session_does_not_become_idle(engine: Engine, alice: int) -> None:
    token = _session(engine, alice)
    with begin(engine) as conn:
        conn.execute(update(schema.sessions).values(last_used=time.time() - 1700))
    sessions.who_acts(engine, _caller(token))
    with read(engine) as conn:
        assert conn.execute(select(schema.sessions.c.last_used)).scalar_one() > time.time() - 60


def test_sessions_that_ended_long_ago_are_forgotten_at_a_login(engine: Engine, alice: int) -> None:
    for days in (1, 8):
        _session(engine, alice)
        with begin(engine) as conn:
            newest = schema.sessions.c.expires_at > time.time()
            conn.execute(update(schema.sessions).where(newest).values(expires_at=time.time() - days * 86400))
    _session(engine, alice)
    with read(engine) as conn:
        assert len(conn.execute(select(schema.sessions)).all()) == 2


@pytest.mark.parametrize("token", ["", "x" * 43, "\ud800", "0" * 64])
def test_an_invented_token_is_nobodys(engine: Engine, alice: int, token: str) -> None:
    _session(engine, alice)
    with pytest.raises(LoginRequired):
        sessions.who_acts(engine, _caller(token))


def test_a_session_opens_nothing_through_another_key(engine: Engine, alice: int) -> None:
    token = _session(engine, alice)
    stranger = Caller(CallerKey("22" * 8, "other", "admin"), "192.0.2.9", token)
    with pytest.raises(LoginRequired):
        sessions.who_acts(engine, stranger)


def test_disabling_or_a_new_password_ends_sessions_at_once(engine: Engine, alice: int) -> None:
    first, second = _session(engine, alice), _session(engine, alice)
    with begin(engine) as conn:
        session_store.revoke_all(conn, alice, but=sessions.hash_token(first))
    with pytest.raises(LoginRequired):
        sessions.who_acts(engine, _caller(second))
    with begin(engine) as conn:
        users.set_disabled(conn, alice, True)
    with pytest.raises(LoginRequired):
        sessions.who_acts(engine, _caller(first))


def test_who_acts_is_the_session_then_the_connection_then_the_keys_account(
    engine: Engine, alice: int
) -> None:
    with begin(engine) as conn:
        service = add_person(conn, "robot", "viewer")
        bob = add_person(conn, "bob", "operator")
    key = CallerKey(KEY.kid, "robot", "admin", service)
    token = _session(engine, alice)

    def actor(caller: Caller) -> int | None:
        person = sessions.who_acts(engine, caller)
        return person and person.id

    assert actor(Caller(key, "a", token, "bob")) == alice
    assert actor(Caller(key, "a", None, "bob")) == bob
    assert actor(Caller(key, "a")) == service
    assert actor(Caller(KEY, "a")) is None
    assert actor(Caller(KEY, "a", None, "unknown")) is None


def test_after_a_failed_login_the_keys_account_does_not_step_in(engine: Engine) -> None:
    with begin(engine) as conn:
        service = add_person(conn, "robot", "viewer")
    caller = Caller(CallerKey(KEY.kid, "robot", "admin", service), "a", login_failed=True)
    with pytest.raises(LoginFailed):
        sessions.who_acts(engine, caller)
