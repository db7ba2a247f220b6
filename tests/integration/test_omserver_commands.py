"""`omserver` as an administrator uses it: what it prints, its exit codes, and what stands in the database."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, select, update

from omserver_client.keyfile import PUBLISHED_SECRETS, read_key
from omserver_master.access import passwords
from omserver_master.commands import COMMANDS, main
from omserver_master.machines import host_name
from omserver_master.registry import registry
from omserver_master.settings import PREFIX, load_settings
from omserver_master.store import audit, connections, schema, users, workers
from omserver_master.store.engine import begin, make_engine, read
from omserver_master.store.outputs import put_output
from omserver_master.store.sitekey import read_site_key
from tests import cheap_passwords
from tests.brokers import Redis
from tests.ports import free_port

Omserver = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "Mid_1003.py").write_text(
        'from omserver_master import ShellModule\nclass Modulehandle(ShellModule):\n    command = "uptime"\n'
    )
    config = tmp_path / "config.py"
    config.touch()
    told = {
        "HOME": tmp_path / "home", "CONFIG": config, "MODULES_DIR": modules,
        "RPYC_PORT": free_port(), "WEB_PORT": free_port(),
    }  # fmt: skip
    cheap_passwords.use(monkeypatch)
    for name, value in told.items():
        monkeypatch.setenv(PREFIX + name, str(value))
    return tmp_path / "home"


@pytest.fixture
def omserver(home: Path) -> Omserver:
    def run(*words: str, stdin: str = "", code: int = 0) -> Result:
        result = CliRunner().invoke(main, words, input=stdin)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def site(omserver: Omserver, home: Path) -> Iterator[Engine]:
    omserver("db", "upgrade")
    engine = make_engine(f"sqlite:///{home}/omserver.db")
    yield engine
    engine.dispose()


def _actions(site: Engine) -> list[str]:
    with read(site) as conn:
        assert audit.verify(conn).rows
        return [row["action"] for row in reversed(audit.list_audit(conn, limit=99))]


def test_help_names_every_command_without_importing_any() -> None:
    script = (
        "import sys\nfrom omserver_master.commands import main\n"
        "try: main(['--help'])\n"
        "finally: sys.stderr.write(' '.join({'sqlalchemy', 'alembic', 'salt'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert done.stderr == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage: ")


def test_a_purge_says_what_it_would_remove_and_what_it_did(omserver: Omserver, site: Engine) -> None:
    assert "the outputs of 0 jobs; 0 jobs with 0 host rows" in omserver("purge", "--dry-run").output
    assert "Removed the outputs of 0 jobs (0 texts, 0 bytes)" in omserver("purge").output
    with begin(site) as conn:
        put_output(conn, read_site_key(load_settings().site_key), b"nothing refers to it")
    assert "(1 texts, " in omserver("purge").output
    assert _actions(site)[-1] == "purge"


def test_a_command_that_does_not_exist_is_wrong_usage(omserver: Omserver) -> None:
    assert "No such command" in omserver("frobnicate", code=2).output


def test_upgrading_makes_the_folder_the_tables_and_the_key(omserver: Omserver, home: Path) -> None:
    assert "version 0007" in omserver("db", "upgrade").output
    assert (home / "site.key").stat().st_mode & 0o777 == 0o600
    key = (home / "site.key").read_bytes()
    assert "was 0007 before" in omserver("db", "upgrade").output
    assert (home / "site.key").read_bytes() == key
    assert "version 0007" in omserver("db", "check").output
    assert "7 modules added" in omserver("db", "seed").output
    assert "0 modules added" in omserver("db", "seed").output


def test_without_an_upgrade_commands_say_what_to_run(omserver: Omserver) -> None:
    for words in (["user", "list"], ["key", "list"], ["audit", "verify"], ["db", "check"], ["db", "seed"]):
        assert "omserver db upgrade" in omserver(*words, code=1).output


def test_a_lost_site_key_is_not_replaced_while_something_needs_it(
    omserver: Omserver, site: Engine, home: Path
) -> None:
    omserver("key", "create", "web")
    (home / "site.key").unlink()
    assert "backup" in omserver("db", "upgrade", code=1).output
    assert not (home / "site.key").exists()


def test_a_new_person_gets_an_invented_password_shown_once(omserver: Omserver, site: Engine) -> None:
    password = omserver("user", "add", "alice", "--role", "operator").stdout.strip()
    with read(site) as conn:
        row = users.user_by_name(conn, "alice")
    assert row is not None
    assert passwords.matches(row["password"], password)
    listed = omserver("user", "list").output
    assert "operator, every module, everywhere" in listed
    assert password not in listed
    assert _actions(site) == ["db.upgrade", "user.add"]


def test_a_password_is_read_from_standard_input_and_not_shown(omserver: Omserver, site: Engine) -> None:
    result = omserver("user", "add", "bob", "--password-stdin", stdin="correct horse battery\n")
    assert result.output == ""
    with read(site) as conn:
        row = users.user_by_name(conn, "bob")
    assert row is not None
    assert passwords.matches(row["password"], "correct horse battery")


@pytest.mark.parametrize("password", ["short", "KJS23o4ij09gHF734iuhsdfhkGYSihoiwhj38u4h", ""])
def test_a_weak_or_published_password_is_refused_and_adds_nobody(
    omserver: Omserver, site: Engine, password: str
) -> None:
    omserver("user", "add", "bob", "--password-stdin", stdin=password + "\n", code=2)
    assert "bob" not in omserver("user", "list").output
    assert _actions(site) == ["db.upgrade"]


def test_a_reset_gives_a_new_password_and_ends_sessions(omserver: Omserver, site: Engine) -> None:
    old = omserver("user", "add", "alice").stdout.strip()
    with begin(site) as conn:
        row = users.user_by_name(conn, "alice")
        assert row is not None
        session = {"token_hash": "h", "user_id": row["id"], "key_kid": "k", "idle_seconds": 9}
        conn.execute(schema.sessions.insert().values(**session, created=1.0, last_used=1.0, expires_at=2e9))
    new = omserver("user", "reset-password", "ALICE").stdout.strip()
    with read(site) as conn:
        row = users.user_by_name(conn, "alice")
        assert conn.execute(select(schema.sessions.c.revoked)).scalar_one()
    assert row is not None
    assert passwords.matches(row["password"], new)
    assert not passwords.matches(row["password"], old)


def test_grants_name_places_by_their_names_and_can_be_taken_back(omserver: Omserver, site: Engine) -> None:
    omserver("db", "seed")
    omserver("user", "add", "alice")
    omserver("user", "grant", "alice", "operator", "--module", "1003", "--categ", "Linux.Web")
    omserver("user", "grant", "alice", "viewer", "--app", "db.domain.com")
    listed = omserver("user", "list").output
    assert "1: operator, module 1003, Linux.Web; 2: viewer, every module, db.domain.com" in listed
    omserver("user", "ungrant", "1")
    omserver("user", "set-role", "alice", "viewer")
    omserver("user", "disable", "alice")
    assert "disabled  2: viewer, every module, db.domain.com; 3: viewer" in omserver("user", "list").output
    omserver("user", "enable", "alice")
    assert _actions(site)[-5:] == [
        "user.grant",
        "user.ungrant",
        "user.set-role",
        "user.disable",
        "user.enable",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["user", "grant", "alice", "operator", "--categ", "Linux.Nothing"],
        ["user", "grant", "alice", "operator", "--host", "nowhere"],
        ["user", "grant", "alice", "operator", "--host", "nowhere", "--categ", "Linux.Web"],
        ["user", "grant", "alice", "admin", "--categ", "Linux.Web"],
        ["user", "grant", "nobody", "operator"],
        ["user", "grant", "alice", "root"],
        ["user", "ungrant", "77"],
        ["user", "reset-password", "nobody"],
        ["user", "disable", "nobody"],
        ["user", "add", "ALICE"],
        ["user", "add", " "],
        ["key", "revoke", "nothing"],
        ["key", "create", "web", "--service-user", "nobody"],
    ],
)
def test_a_request_that_makes_no_sense_is_wrong_usage_and_changes_nothing(
    omserver: Omserver, site: Engine, words: list[str]
) -> None:
    omserver("db", "seed")
    omserver("user", "add", "alice")
    before = omserver("user", "list").output, _actions(site)
    omserver(*words, code=2)
    assert (omserver("user", "list").output, _actions(site)) == before


def test_a_key_is_a_private_file_that_is_never_overwritten(
    omserver: Omserver, site: Engine, home: Path
) -> None:
    omserver("user", "add", "robot")
    omserver("key", "create", "robot", "--role", "viewer", "--service-user", "robot")
    key = read_key(home / "keys" / "robot.key")
    listed = omserver("key", "list").output
    assert key.kid_hex in listed
    assert "viewer" in listed
    assert "already" in omserver("key", "create", "robot", code=2).output
    assert (
        "cannot be written"
        in omserver("key", "create", "other", "--out", str(home / "keys" / "robot.key"), code=1).output
    )
    assert read_key(home / "keys" / "robot.key") == key
    omserver("key", "revoke", "robot")
    assert "revoked" in omserver("key", "list").output


def test_verifying_the_audit_finds_what_was_changed(omserver: Omserver, site: Engine) -> None:
    omserver("user", "add", "alice")
    output = omserver("audit", "verify").output
    head = output.split()[-1]
    omserver("audit", "verify", "--head", head)
    with begin(site) as conn:
        conn.execute(
            update(schema.audit_events).where(schema.audit_events.c.action == "user.add").values(user="x")
        )
    assert "was changed" in omserver("audit", "verify", code=1).output


def _bad(output: str) -> list[str]:
    return [line[6:] for line in output.splitlines() if line.startswith("FAIL")]


def test_the_doctor_is_content_with_a_good_site(omserver: Omserver, site: Engine) -> None:
    omserver("key", "create", "web")
    assert _bad(omserver("doctor").output) == []


def test_the_doctor_names_each_fault_and_what_to_do(
    omserver: Omserver, site: Engine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    omserver("key", "create", "web")
    omserver("key", "create", "old")
    omserver("key", "revoke", "old")
    (home / "keys" / "web.key").chmod(0o644)
    (home / "logs").chmod(0o755)
    monkeypatch.setenv(PREFIX + "MODULES_DIR", str(home / "logs"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv(PREFIX + "RPYC_PORT", str(listener.getsockname()[1]))
        output = omserver("doctor", code=1).output
    faults = _bad(output)
    assert [fault.split()[0:2] for fault in faults] == [
        ["folder", f"{home}/logs,"], ["modules:", "0"], ["key", "old.key:"], ["key", "web.key:"],
        ["master", "port"],
    ]  # fmt: skip
    assert f"chmod 700 {home}/logs" in output
    assert f"chmod 600 {home}/keys/web.key" in output
    assert "answers" in output


def test_the_doctor_names_each_broken_module_with_its_line(
    omserver: Omserver, site: Engine, tmp_path: Path
) -> None:
    omserver("key", "create", "web")
    (tmp_path / "modules" / "Mid_2001.py").write_text("\nimport nothing_like_this\n")
    (tmp_path / "modules" / "Mid_2002.py").write_text("x = 1\n")
    output = omserver("doctor", code=1).output
    assert f"modules: 3 in {tmp_path}/modules" in output
    broken = _bad(output)
    assert broken[0].startswith("module 2001 is broken in line 2: ")
    assert "nothing_like_this" in broken[0]
    assert broken[1].startswith("module 2002 is broken: ")
    assert len(broken) == 2


def test_a_module_whose_code_takes_long_does_not_keep_the_doctor(
    omserver: Omserver, site: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    omserver("key", "create", "web")
    (tmp_path / "modules" / "Mid_2001.py").write_text("import time\n\ntime.sleep(60)\n")
    monkeypatch.setattr(registry, "LIST_LIMIT", 0.5)
    began = time.monotonic()
    output = omserver("doctor").output
    assert time.monotonic() - began < 10
    assert "not looked at, since their code takes long: " in output


@pytest.mark.parametrize(
    ("ahead", "says"), [(90.0, "90 s behind the"), (-90.0, "90 s ahead of the"), (1, "")]
)
def test_the_doctor_sees_a_clock_that_is_not_the_databases(
    omserver: Omserver, site: Engine, monkeypatch: pytest.MonkeyPatch, ahead: float, says: str
) -> None:
    omserver("key", "create", "web")
    monkeypatch.setattr("omserver_master.commands.doctor.clock.now", lambda _: time.time() + ahead)
    bad = _bad(omserver("doctor", code=1 if says else 0).output)
    assert bad == ([f"clock: {says} database's"] if says else [])


def test_the_doctor_misses_celery_workers_and_a_broker(
    omserver: Omserver, site: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    omserver("key", "create", "web")
    monkeypatch.setenv(PREFIX + "EXECUTOR", "celery")
    monkeypatch.setenv(PREFIX + "BROKER_URL", f"redis://:S3cretPass@127.0.0.1:{free_port()}/0")
    output = omserver("doctor", code=1).output
    assert [fault.split(":")[0] for fault in _bad(output)] == ["workers", "broker"]
    assert "omserver celery" in output
    assert "S3cretPass" not in output
    redis = Redis().start()
    try:
        monkeypatch.setenv(PREFIX + "BROKER_URL", redis.url)
        with begin(site) as conn:
            workers.beat(conn, "far-1")
        output = omserver("doctor").output
        assert "workers: 1 seen within 30 s (far-1)" in output
        assert redis.password not in output
    finally:
        redis.close()


def test_the_doctor_sees_a_site_key_that_others_can_read(
    omserver: Omserver, site: Engine, home: Path
) -> None:
    (home / "site.key").chmod(0o640)
    assert f"chmod 600 {home}/site.key" in omserver("doctor", code=1).output


def test_the_doctor_sees_a_site_key_that_is_not_the_databases(
    omserver: Omserver, site: Engine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    omserver("key", "create", "web")
    monkeypatch.setenv(PREFIX + "HOME", str(tmp_path / "other"))
    omserver("db", "upgrade")
    (home / "site.key").write_bytes((tmp_path / "other" / "site.key").read_bytes())
    monkeypatch.setenv(PREFIX + "HOME", str(home))
    assert "not sealed with this site key" in omserver("doctor", code=1).output


def test_a_published_secret_stops_every_command(omserver: Omserver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "SECRET_KEY", next(iter(PUBLISHED_SECRETS)))
    for words in (["db", "upgrade"], ["user", "list"], ["doctor"]):
        assert "published in 2014" in omserver(*words, code=1).output


def test_a_connection_and_a_host_are_added_and_listed(omserver: Omserver, site: Engine) -> None:
    assert "answers" in omserver("connection", "add", "here", "--kind", "local").output
    omserver(
        "host", "add", "web-01", "--connection", "here", "--remote-id", "WEB-01", "--inner-ip", "10.0.0.11"
    )
    assert "10.0.0.11" in omserver("host", "list", "--search", "web").output
    assert "local" in omserver("connection", "list").output
    assert "answers" in omserver("connection", "try", "here").output
    assert _actions(site)[-2:] == ["connection.add", "host.add"]


def test_what_makes_no_sense_as_a_connection_or_a_host_adds_nothing(omserver: Omserver, site: Engine) -> None:
    before = _actions(site)
    omserver("connection", "add", "x", "--kind", "carrier-pigeon", code=2)
    omserver("connection", "add", "x", "--kind", "local", "--set", "nonsense", code=2)
    omserver("connection", "try", "x", code=2)
    assert "no connection" in omserver("host", "add", "web-01", "--connection", "x", code=2).output
    assert _actions(site) == before


def test_a_control_point_that_is_down_is_said_at_once_and_can_be_put_right(
    omserver: Omserver, site: Engine, tmp_path: Path
) -> None:
    done = omserver("connection", "add", "dc1", "--kind", "salt", "--set", f"config_dir={tmp_path}", code=1)
    assert "Added dc1" in done.output
    assert "does not answer" in done.output
    omserver("connection", "set", "dc1", f"config_dir={tmp_path}/other", code=1)
    assert "Removed" in omserver("connection", "remove", "dc1").output
    assert "dc1" not in omserver("connection", "list").output


def test_a_connection_is_served_by_this_machine_if_it_means_one_else_by_those_named(
    omserver: Omserver, site: Engine
) -> None:
    omserver("connection", "add", "here", "--kind", "local")
    omserver("connection", "add", "all", "--kind", "local", "--any-machine")
    there = "connection", "add", "there", "--kind", "salt", "--set", "config_dir=/etc/none"
    added = omserver(*there, "--machine", "sz-1").output
    assert "there is served by sz-1; it can't be asked from" in added
    omserver("connection", "set", "here", "--machine", "sz-1", "--machine", "gd-1")
    with read(site) as conn:
        served = {row["name"]: row["machines"] for row in connections.list_connections(conn)}
    assert served == {"here": ["gd-1", "sz-1"], "all": None, "there": ["sz-1"]}
    assert "gd-1 sz-1" in omserver("connection", "list").output
    assert "can't be asked" in omserver("connection", "try", "there", code=2).output
    omserver("connection", "set", "here", "--any-machine")
    assert "answers" in omserver("connection", "try", "here").output
    for words in (["--machine", "a b"], ["--machine", "a", "--any-machine"], []):
        omserver("connection", "set", "here", *words, code=2)


def test_the_doctor_misses_the_machine_of_a_connection_and_does_not_guess_it(
    omserver: Omserver, site: Engine
) -> None:
    omserver("key", "create", "web")
    omserver("connection", "add", "here", "--kind", "local")
    omserver("connection", "add", "all", "--kind", "local", "--any-machine")
    assert _bad(omserver("doctor").output) == []
    with begin(site) as conn:
        workers.beat(conn, "w1", "gd-1")
        workers.beat(conn, "w2", "sz-1")
    omserver("connection", "add", "there", "--kind", "local", "--machine", "sz-2")
    output = omserver("doctor", code=1).output
    assert _bad(output) == [
        "connection all (local): it means whichever machine takes a job, of gd-1, sz-1",
        "connection there: No worker on machine sz-2 is running;"
        f" there are workers on {', '.join(sorted(['gd-1', 'sz-1', host_name()]))}",
    ]
    assert "omctl connection set there --machine NAME" in output
    omserver("connection", "set", "there", "--machine", "sz-1")
    omserver("connection", "set", "all", "--machine", "gd-1")
    assert _bad(omserver("doctor").output) == []


def test_a_connection_in_use_stays_until_its_hosts_are_elsewhere(omserver: Omserver, site: Engine) -> None:
    for name in ("here", "there"):
        omserver("connection", "add", name, "--kind", "local")
    assert "Linux.Web" in omserver("host", "add", "web-01", "--connection", "here").output
    assert "1 host" in omserver("connection", "remove", "here", code=2).output
    omserver("host", "set", "WEB-01", "--connection", "there", "--state", "maintenance")
    omserver("connection", "remove", "here")
    listed = omserver("host", "list").output
    assert "there" in listed
    assert "maintenance" in listed
    omserver("host", "set", "web-01", code=2)


def test_the_only_admin_cannot_be_locked_out(omserver: Omserver, site: Engine) -> None:
    omserver("user", "add", "one", "--role", "admin")
    assert "only admin" in omserver("user", "disable", "one", code=2).output
    omserver("user", "add", "two", "--role", "admin")
    assert "locked out" in omserver("user", "disable", "one").output


def test_a_grant_for_a_module_that_is_not_there_is_refused(omserver: Omserver, site: Engine) -> None:
    omserver("user", "add", "one")
    assert "no module" in omserver("user", "grant", "one", "operator", "--module", "9999", code=2).output
    assert "number" in omserver("user", "grant", "one", "operator", "--module", "1003").output


def test_the_doctor_knows_a_master_of_another_copy(
    omserver: Omserver, site: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        monkeypatch.setenv("OMSERVER_RPYC_PORT", str(stranger.getsockname()[1]))
        assert "no keys yet" in omserver("doctor", code=1).output
        omserver("key", "create", "omctl")
        assert "not to the keys of this copy" in omserver("doctor", code=1).output
