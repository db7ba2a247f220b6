"""The keys of programs: made once, kept encrypted, found quickly, revoked."""

from __future__ import annotations

import base64
import stat
import time
from pathlib import Path

import pytest
from people import add_person
from sqlalchemy import Engine

from omserver_client.keyfile import read_key
from omserver_master.access import keys
from omserver_master.caller import CallerKey
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
