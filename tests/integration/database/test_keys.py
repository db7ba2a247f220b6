"""The keys of programs: made once, kept encrypted, found quickly, revoked."""

from __future__ import annotations

import base64
import stat
import time
from pathlib import Path

import pytest
from people import add_person
from sqlalchemy import Engine

from omserver_client.errors import LoginRequired
from omserver_client.keyfile import read_key
from omserver_master.access import keys, sessions
from omserver_master.caller import Caller, CallerKey
from omserver_master.store import keys as key_store
from omserver_master.store.engine import begin, read
from omserver_master.store.sitekey import SiteKey


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


def test_a_key_is_known_for_refusals_from_its_look_to_its_end(
    engine: Engine, site_key: SiteKey, tmp_path: Path
) -> None:
    ring = keys.KeyRing(engine, site_key)
    with begin(engine) as conn:
        made = keys.create_key(conn, site_key, "web", tmp_path / "web.key")
    assert ring.known(made.kid) is None
    ring.lookup(made.kid)
    assert ring.known(made.kid) == made
    with begin(engine) as conn:
        key_store.revoke_key(conn, "web")
    ring.lookup(made.kid)
    assert ring.known(made.kid) is None


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


def test_the_session_of_the_message_before_is_read_anew_with_the_key(
    engine: Engine, site_key: SiteKey, tmp_path: Path
) -> None:
    with begin(engine) as conn:
        user = add_person(conn, "ada")
        made = keys.create_key(conn, site_key, "web", tmp_path / "web.key", "admin")
        one = sessions.open_session(conn, user, made.kid_hex).token
        other = sessions.open_session(conn, user, made.kid_hex).token
        keys.create_key(conn, site_key, "cli", tmp_path / "cli.key", "admin")
        strange = sessions.open_session(conn, user, read_key(tmp_path / "cli.key").kid_hex).token
    ring = keys.KeyRing(engine, site_key)

    def who(named: str, before: str | None) -> str:
        found = ring.lookup(made.kid, before)
        assert found is not None
        person = sessions.who_acts(engine, Caller(found[1], "192.0.2.9", named))
        return person.name if person else ""

    assert [who(one, None), who(one, one), who(one, other), who(one, "no token")] == ["ada"] * 4
    for before in (None, one, strange):
        with pytest.raises(LoginRequired):
            who(strange, before)
    with begin(engine) as conn:
        sessions.close_session(conn, one)
    for before in (None, one, other):
        with pytest.raises(LoginRequired):
            who(one, before)
    assert who(other, one) == "ada"
    with begin(engine) as conn:
        key_store.revoke_key(conn, "web")
    assert ring.lookup(made.kid, other) is None
    assert ring.lookup(b"unknown!", other) is None
