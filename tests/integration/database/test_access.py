"""Who gets in, for how long, and what they may do there."""

from __future__ import annotations

import base64
import stat
import statistics
import time
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from people import Small, add_person, furnish
from sqlalchemy import Engine, select, update

from omserver_client.errors import (
    BadRequest,
    LoginFailed,
    LoginRequired,
    SessionExpired,
    TooMany,
)
from omserver_client.keyfile import read_key
from omserver_master.access import keys, passwords, rights, sessions
from omserver_master.access.rights import Person
from omserver_master.access.throttle import LoginThrottle
from omserver_master.caller import Caller, CallerKey
from omserver_master.store import grants, hosts, schema, users
from omserver_master.store import keys as key_store
from omserver_master.store import sessions as session_store
from omserver_master.store.engine import begin, read
from omserver_master.store.sitekey import SiteKey
from tests import cheap_passwords

KEY = CallerKey("11" * 8, "web", "admin")
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _cheap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "as_long_as" not in request.node.name:
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


def test_an_unknown_user_takes_as_long_as_a_wrong_password(engine: Engine, alice: int) -> None:
    def seconds(user: str) -> float:
        start = time.perf_counter()
        with pytest.raises(LoginFailed):
            _log_in(engine, user, "wrong")
        return time.perf_counter() - start

    seconds("warm up")
    known = statistics.median(seconds("Alice") for _ in range(3))
    unknown = statistics.median(seconds("nobody") for _ in range(3))
    assert unknown > known / 2


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


class Rights:
    """People with every kind of grant, and what they reach."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with begin(engine) as conn:
            self.small: Small = furnish(conn)
            small = self.small
            self.ids = {
                "nobody": add_person(conn, "nobody"),
                "viewer": add_person(conn, "viewer", "viewer"),
                "operator": add_person(conn, "operator", "operator"),
                "admin": add_person(conn, "admin", "admin"),
                "one module": add_person(conn, "one module", "operator", module="1003"),
                "web team": add_person(conn, "web team", "operator", categ_id=small.web),
                "www team": add_person(conn, "www team", "operator", app_id=small.www),
                "db owner": add_person(conn, "db owner", "operator", host_id=small.hosts["db-01"]),
                "mixed": add_person(conn, "mixed", "viewer"),
            }
            grants.add_grant(conn, self.ids["mixed"], "operator", "1001", app_id=small.shop)

    def person(self, name: str, cap: str = "admin") -> Person:
        with read(self.engine) as conn:
            row = users.user_by_id(conn, self.ids[name])
            assert row is not None
            return rights.effective(rights.load_person(conn, row), cap)

    def may(self, name: str, module: str, cap: str = "admin") -> str:
        with read(self.engine) as conn:
            every = list(self.small.hosts.values())
            forbidden = rights.may_run(conn, self.person(name, cap), module, every)
            return " ".join(host for host, id_ in self.small.hosts.items() if id_ not in forbidden)

    def sees(self, name: str) -> str:
        with read(self.engine) as conn:
            rows, total = hosts.list_hosts(conn, scope=rights.visible_hosts(conn, self.person(name)))
        assert total == len(rows)
        return " ".join(sorted(row["name"] for row in rows))


@pytest.fixture
def people(engine: Engine) -> Rights:
    return Rights(engine)


ALL = "web-01 web-02 shop-01 db-01 new-01"


@pytest.mark.parametrize(
    ("name", "role", "runs_1003", "runs_1001", "sees"),
    [
        ("nobody", "viewer", "", "", ""),
        ("viewer", "viewer", "", "", ALL),
        ("operator", "operator", ALL, ALL, ALL),
        ("admin", "admin", ALL, ALL, ALL),
        ("one module", "operator", ALL, "", ALL),
        ("web team", "operator", "web-01 web-02 shop-01", "web-01 web-02 shop-01", "web-01 web-02 shop-01"),
        ("www team", "operator", "web-01 web-02", "web-01 web-02", "web-01 web-02"),
        ("db owner", "operator", "db-01", "db-01", "db-01"),
        ("mixed", "operator", "", "shop-01", ALL),
    ],
)
def test_everybody_reaches_what_was_granted_and_nothing_else(
    people: Rights, name: str, role: str, runs_1003: str, runs_1001: str, sees: str
) -> None:
    assert people.person(name).role == role
    assert people.may(name, "1003") == runs_1003
    assert people.may(name, "1001") == runs_1001
    assert people.sees(name) == " ".join(sorted(sees.split()))


def test_a_key_caps_what_anybody_may_do_through_it(people: Rights) -> None:
    assert people.person("admin", "operator").role == "operator"
    assert people.person("admin", "viewer").role == "viewer"
    assert people.person("viewer", "operator").role == "viewer"
    assert people.may("admin", "1003", "operator") == ALL
    assert people.may("admin", "1003", "viewer") == ""
    assert rights.runnable_modules(people.engine, people.person("admin", "viewer"), ["1003"]) == set()


def test_a_host_that_does_not_exist_is_forbidden_to_those_with_a_narrow_grant(people: Rights) -> None:
    with read(people.engine) as conn:
        assert rights.may_run(conn, people.person("web team"), "1003", [0, -1]) == [0, -1]


def test_the_modules_somebody_may_run_anywhere_are_told(people: Rights) -> None:
    def runnable(name: str) -> set[str]:
        return rights.runnable_modules(people.engine, people.person(name), ["1001", "1003"])

    assert runnable("viewer") == set()
    assert runnable("one module") == {"1003"}
    assert runnable("mixed") == {"1001"}
    assert runnable("db owner") == {"1001", "1003"}


def test_admin_cannot_be_narrowed_and_roles_are_known_words(people: Rights) -> None:
    with begin(people.engine) as conn:
        user, host = people.ids["nobody"], people.small.hosts["db-01"]
        for role, more in (("admin", {"host_id": host}), ("admin", {"module": "1003"}), ("root", {})):
            with pytest.raises(BadRequest):
                grants.add_grant(conn, user, role, **more)
        with pytest.raises(BadRequest):
            grants.add_grant(conn, user, "viewer", host_id=host, app_id=people.small.www)


def test_set_role_replaces_what_somebody_has_everywhere(people: Rights) -> None:
    with begin(people.engine) as conn:
        grants.set_role(conn, people.ids["mixed"], "operator")
        assert len(grants.grants_of(conn, people.ids["mixed"])) == 2
        grants.set_role(conn, people.ids["admin"], "viewer")
    assert people.may("mixed", "1003") == ALL
    assert people.person("admin").role == "viewer"


def test_names_of_people_and_hosts_are_unique_whatever_their_case(people: Rights) -> None:
    with begin(people.engine) as conn:
        with pytest.raises(BadRequest):
            users.add_user(conn, "ADMIN", "x")
        with pytest.raises(BadRequest):
            hosts.add_host(conn, "Web-01")
        assert hosts.hosts_by_name(conn, ["WEB-01"])["web-01"]["categ"] == "Linux.Web"


@pytest.mark.parametrize("name", ["", " a", "a\n", "a*b", "a,b", "a@@b", "a;b", "x" * 256])
def test_a_host_name_that_a_task_string_cannot_hold_is_refused(engine: Engine, name: str) -> None:
    with begin(engine) as conn, pytest.raises(BadRequest):
        hosts.add_host(conn, name)


def test_hosts_are_found_by_category_and_by_parts_of_name_and_address(people: Rights) -> None:
    small = people.small

    def found(**wanted: object) -> list[str]:
        with read(people.engine) as conn:
            return [row["name"] for row in hosts.list_hosts(conn, **wanted)[0]]  # type: ignore[arg-type]

    assert found(categ_id=small.web) == ["shop-01", "web-01", "web-02"]
    assert found(app_id=small.www) == ["web-01", "web-02"]
    assert found(search="WEB") == ["web-01", "web-02"]
    assert found(search="192.0.2.4") == ["db-01"]
    assert found(search="%") == found(search="_") == []
    assert found(limit=2, offset=1) == ["new-01", "shop-01"]
    with read(people.engine) as conn:
        counted = {row["name"]: (row["hosts"], len(row["apps"])) for row in hosts.categories(conn)}
    assert counted == {"Linux.Web": (3, 2), "Linux.Db": (1, 1)}


def test_a_key_is_made_once_kept_encrypted_and_found_by_its_number(
    engine: Engine, site_key: SiteKey, tmp_path: Path
) -> None:
    file = tmp_path / "web.key"
    with begin(engine) as conn:
        user = add_person(conn, "robot")
        made = keys.create_key(conn, site_key, "web", file, "operator", user)
        stored = key_store.key_row(conn, made.kid_hex)
    assert stored is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_key(file) == made
    assert made.secret not in stored["secret"]
    assert base64.b64encode(made.secret) not in stored["secret"]
    found = keys.KeyRing(engine, site_key).lookup(made.kid)
    assert found == (made, CallerKey(made.kid_hex, "web", "operator", user))


def test_the_use_of_a_key_is_written_down(engine: Engine, site_key: SiteKey, tmp_path: Path) -> None:
    with begin(engine) as conn:
        made = keys.create_key(conn, site_key, "web", tmp_path / "web.key")
    keys.KeyRing(engine, site_key).lookup(made.kid)
    with read(engine) as conn:
        assert key_store.list_keys(conn)[0]["last_used"] == pytest.approx(time.time(), abs=5)


def test_an_unknown_or_revoked_key_is_not_found(engine: Engine, site_key: SiteKey, tmp_path: Path) -> None:
    ring = keys.KeyRing(engine, site_key)
    with begin(engine) as conn:
        made = keys.create_key(conn, site_key, "web", tmp_path / "web.key")
    assert ring.lookup(bytes(8)) is None
    assert ring.lookup(made.kid)
    with begin(engine) as conn:
        assert key_store.revoke_key(conn, "web")
        assert not key_store.revoke_key(conn, "web")
    assert ring.lookup(made.kid) is None


def test_a_key_whose_file_cannot_be_written_does_not_exist(
    engine: Engine, site_key: SiteKey, tmp_path: Path
) -> None:
    file = tmp_path / "web.key"
    file.write_text("in the way")
    with pytest.raises(FileExistsError), begin(engine) as conn:
        keys.create_key(conn, site_key, "web", file)
    with read(engine) as conn:
        assert key_store.list_keys(conn) == []


def test_finding_a_key_takes_less_than_a_millisecond(
    engine: Engine, site_key: SiteKey, tmp_path: Path
) -> None:
    ring = keys.KeyRing(engine, site_key)
    with begin(engine) as conn:
        made = keys.create_key(conn, site_key, "web", tmp_path / "web.key")

    def seconds() -> float:
        start = time.perf_counter()
        ring.lookup(made.kid)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(300)) < 0.001
