"""What bad input gets: a clear error, an audit row, and nothing else changed. On a real master."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import rpyc

from omserver_client import Client
from omserver_client.errors import (
    BadRequest,
    BrokenModule,
    Forbidden,
    HostMismatch,
    InvalidParam,
    LoginFailed,
    LoginRequired,
    NotFound,
    Refused,
    SealRefused,
    SessionExpired,
    TooMany,
    Unavailable,
    UnknownHost,
    UnknownModule,
)
from omserver_master.store import grants, hosts, keys, users
from omserver_master.store.engine import begin
from omserver_master.store.schema import server_list
from omserver_master.store.schema import sessions as session_table
from tests.system import CHECKOUT, System, wait_for_end


def newest_audit(site: System) -> dict[str, Any]:
    with site.client() as admin:
        row: dict[str, Any] = admin.audit(limit=1)["rows"][0]
        return row


def number_of_jobs(site: System) -> int:
    with site.client() as admin:
        return max((job["id"] for job in admin.jobs(limit=1)["jobs"]), default=0)


@pytest.fixture
def unchanged(site: System) -> Iterator[None]:
    """No job was made meanwhile."""
    before = number_of_jobs(site)
    yield
    assert number_of_jobs(site) == before


# -- who


def test_a_wrong_password_is_refused_alike_for_known_and_unknown_people(site: System) -> None:
    texts = []
    for user in ("victor", "not-there"):
        with site.client(user=None) as client, pytest.raises(LoginFailed) as refusal:
            client.login(user, "wrong password here")
        texts.append(str(refusal.value))
    assert texts[0] == texts[1]
    row = newest_audit(site)
    assert (row["action"], row["outcome"]) == ("auth.login", "refused")


def test_guessing_is_slowed_down_for_an_account_and_says_for_how_long(site: System) -> None:
    site.add_user("guessed", "viewer")
    with site.client(user=None) as client:
        for _ in range(5):
            with pytest.raises(LoginFailed):
                client.login("guessed", "wrong password here")
        with pytest.raises(TooMany) as refusal:
            client.login("guessed", site.passwords["guessed"])
    assert 0 < refusal.value.details["retry_after"] <= 60


@pytest.mark.usefixtures("unchanged")
def test_nobody_can_do_nothing(site: System) -> None:
    with site.client("web", user=None) as client:
        for call in (client.modules, client.hosts, client.jobs, client.status, client.whoami, client.people):
            with pytest.raises(LoginRequired):
                call()
        with pytest.raises(LoginRequired):
            client.submit("2001", {"word": "x"}, ["alpha"])


@pytest.mark.usefixtures("unchanged")
def test_an_expired_session_says_so_and_a_made_up_one_is_nobodys(site: System) -> None:
    with site.client(user=None) as client:
        client.login("victor", site.passwords["victor"])
        with begin(site.engine) as conn:
            mine = session_table.c.token_hash == _hash(str(client.session))
            conn.execute(session_table.update().where(mine).values(expires_at=time.time() - 1))
        with pytest.raises(SessionExpired):
            client.jobs()
        client.session = "made-up"
        with pytest.raises(LoginRequired):
            client.jobs()


def test_a_session_is_over_after_logout_and_belongs_to_one_key(site: System) -> None:
    with site.client(user=None) as client:
        client.login("victor", site.passwords["victor"])
        token = client.session
        with site.client("web", user=None) as thief:
            thief.session = token
            with pytest.raises(LoginRequired):
                thief.jobs()
        client.logout()
        client.session = token
        with pytest.raises(LoginRequired):
            client.jobs()


def _hash(token: str) -> str:
    from omserver_master.access.sessions import hash_token

    return hash_token(token)


def test_a_revoked_key_opens_nothing_from_its_next_message_on(site: System) -> None:
    site.add_key("leaving", "operator", service="olga")
    with site.client("leaving", user=None) as client:
        assert client.whoami()["user"] == "olga"
        with begin(site.engine) as conn:
            keys.revoke_key(conn, "leaving")
        with pytest.raises(SealRefused):
            client.whoami()
    assert newest_audit(site)["action"] == "seal"


# -- rights


def test_rights_are_checked_on_user_and_module_and_hosts(site: System) -> None:
    with site.client(user="olga") as olga:
        assert wait_for_end(olga, olga.submit("2001", {"word": "x"}, ["alpha"])["job"]["id"])
    before = number_of_jobs(site)
    with site.client(user="olga") as olga:
        with pytest.raises(UnknownHost):  # what one may not see is not there
            olga.submit("2001", {"word": "x"}, ["alpha", "other"])
        with pytest.raises(Forbidden):
            olga.people()
    with site.client(user="victor") as victor, pytest.raises(Forbidden):
        victor.submit("2001", {"word": "x"}, ["alpha"])
    with site.client(user="nobody") as nobody:
        assert nobody.hosts()["hosts"] == []
        assert nobody.jobs()["jobs"] == []
        with pytest.raises(Forbidden):
            nobody.submit("2001", {"word": "x"}, ["alpha"])
    with site.client("viewing", user="admin") as capped, pytest.raises(Forbidden):
        capped.submit("2001", {"word": "x"}, ["alpha"])
    assert number_of_jobs(site) == before


def test_jobs_and_outputs_on_hosts_one_may_not_see_are_not_found(site: System, admin: Client) -> None:
    job = wait_for_end(admin, admin.submit("2001", {"word": "secret"}, ["other"])["job"]["id"])["id"]
    (row,) = admin.results(job)["results"]
    with site.client(user="olga") as olga:
        for look in (
            lambda: olga.job(job),
            lambda: olga.results(job),
            lambda: olga.events(job, 0),
            lambda: olga.output(job, row["host_id"], "stdout"),
            lambda: olga.cancel(job),
        ):
            with pytest.raises(NotFound):
                look()


def test_a_right_is_for_a_module_and_a_place_together(site: System) -> None:
    """One grant lets run 2001 anywhere in a category, another only look at another category."""
    site.add_user("narrow", "operator", module="2001", categ_id=1)
    site.add_user("mixed", "operator", categ_id=1)
    with begin(site.engine) as conn:
        user = users.user_by_name(conn, "mixed")
        assert user is not None
        grants.add_grant(conn, user["id"], "viewer", categ_id=hosts.add_category(conn, "Linux.Db"))
    before = number_of_jobs(site)
    with site.client(user="narrow") as narrow, pytest.raises(Forbidden) as refusal:
        narrow.submit("2002", None, ["alpha"])
    assert refusal.value.details == {"module": "2002", "hosts": ["alpha"]}
    with site.client(user="mixed") as mixed:
        assert "other" in [host["name"] for host in mixed.hosts()["hosts"]]
        with pytest.raises(Forbidden) as refusal:
            mixed.submit("2001", {"word": "x"}, ["alpha", "other"])
    assert refusal.value.details["hosts"] == ["other"]
    assert number_of_jobs(site) == before


def test_a_form_half_filled_in_leaves_no_audit_row_and_a_forbidden_one_does(
    site: System, admin: Client
) -> None:
    before = newest_audit(site)["id"]
    with pytest.raises(InvalidParam):
        admin.preview("2001", {}, ["alpha"])
    assert newest_audit(site)["id"] == before
    with site.client(user="victor") as victor, pytest.raises(Forbidden):
        victor.preview("2001", {"word": "x"}, ["alpha"])
    assert (newest_audit(site)["action"], newest_audit(site)["user"]) == ("job.preview", "victor")


def test_every_accepted_job_has_its_audit_row(site: System, admin: Client) -> None:
    job = admin.submit("2001", {"word": "x"}, ["alpha"])["job"]["id"]
    row = admin.audit(action="job.submit", limit=1)["rows"][0]
    assert (row["target"], row["user"], row["key"]) == (f"job {job}", "admin", "omctl")
    assert "alpha" in row["detail"]


# -- modules


@pytest.mark.parametrize(
    "module",
    [
        "9999",
        "0001",
        "12",
        "1234567",
        "1003;os",
        "../Mid_2001",
        "2001/../2001",
        "２００１",
        "2001\n",
        "",
        "x" * 10_000,
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_a_module_id_that_is_none_is_refused(admin: Client, module: str) -> None:
    with pytest.raises(UnknownModule) as refusal:
        admin.submit(module, None, ["alpha"])
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("module", "line", "words"), [("2010", 2, "SyntaxError"), ("2011", None, "no class")]
)
@pytest.mark.usefixtures("unchanged")
def test_a_broken_module_is_shown_as_broken_and_harms_no_other(
    admin: Client, module: str, line: int | None, words: str
) -> None:
    with pytest.raises(BrokenModule) as refusal:
        admin.submit(module, None, ["alpha"])
    assert refusal.value.details["line"] == line
    assert words in str(refusal.value)
    listed = {entry["id"]: entry for entry in admin.modules()}
    assert words in listed[module]["broken"]["reason"]
    assert listed["2001"]["broken"] is None


@pytest.mark.parametrize(
    ("module", "words"),
    [("2012", "line 8"), ("2013", "more than 2 s"), ("2015", "SIGKILL")],
)
def test_module_code_that_crashes_hangs_or_dies_ends_its_own_job_only(
    admin: Client, module: str, words: str
) -> None:
    job = wait_for_end(admin, admin.submit(module, None, ["alpha"])["job"]["id"], 30)
    (row,) = admin.results(job["id"])["results"]
    assert (job["state"], row["state"]) == ("failed", "not_started")
    assert words in row["reason"]
    good = wait_for_end(admin, admin.submit("2001", {"word": "x"}, ["alpha"])["job"]["id"])
    assert good["state"] == "succeeded"


def test_module_code_that_prints_100_mb_works_all_the_same(admin: Client) -> None:
    job = wait_for_end(admin, admin.submit("2014", None, ["alpha"])["job"]["id"])
    assert job["state"] == "succeeded"


# -- parameters


@pytest.mark.parametrize(
    "params", [{"code": "256"}, {"code": "x"}, {"code": "-1"}, {"code": "1;id"}, {"none": "1"}]
)
@pytest.mark.usefixtures("unchanged")
def test_a_parameter_out_of_range_is_refused_by_name(admin: Client, params: dict[str, str]) -> None:
    with pytest.raises(InvalidParam) as refusal:
        admin.submit("2002", params, ["alpha"])
    assert refusal.value.details["param"] == next(iter(params))


NASTY = [
    "it's",
    '"quoted"',
    "a;b",
    "$(touch canary)",
    "`touch canary`",
    "-rf",
    "--help",
    "a@@b",
    "%s %n",
    "\\",
    "*",
    "~root",
    "$HOME",
    "漢字 ünïcode 🙂",
    "&& touch canary",
    "| touch canary",
    "> canary",
]


def test_a_text_parameter_arrives_byte_for_byte_and_nothing_of_it_runs(admin: Client) -> None:
    jobs = {word: admin.submit("2001", {"word": word}, ["alpha"])["job"]["id"] for word in NASTY}
    for word, job in jobs.items():
        assert wait_for_end(admin, job)["state"] == "succeeded", word
        (row,) = admin.results(job)["results"]
        sent = base64.b64decode(admin.output(job, row["host_id"], "stdout")["text"])
        assert sent.decode() == word
    assert not list(CHECKOUT.glob("canary*"))


@pytest.mark.usefixtures("unchanged")
def test_nul_control_characters_and_the_mark_of_a_task_string_are_refused(
    site: System, admin: Client
) -> None:
    for word in ("a\0b", "line\nline", "\x1b[31m"):
        with pytest.raises(InvalidParam):
            admin.submit("2001", {"word": word}, ["alpha"])
    with site.client("robot", user=None) as robot, pytest.raises(InvalidParam):
        robot.runcommands("2001@@10.0.1.1*alpha@@a@@b@@")


# -- hosts


@pytest.mark.usefixtures("unchanged")
def test_hosts_that_are_missing_unknown_or_named_twice_refuse_the_whole_job(admin: Client) -> None:
    with pytest.raises(BadRequest, match="at least one"):
        admin.submit("2001", {"word": "x"}, [])
    with pytest.raises(UnknownHost) as refusal:
        admin.submit("2001", {"word": "x"}, ["alpha", "no-1", "no-2"])
    assert refusal.value.details["hosts"] == ["no-1", "no-2"]
    with pytest.raises(BadRequest, match="twice"):
        admin.submit("2001", {"word": "x"}, ["alpha", "beta", "ALPHA"])


@pytest.mark.usefixtures("unchanged")
def test_a_host_of_an_engine_that_the_module_does_not_work_with_is_refused(admin: Client) -> None:
    with pytest.raises(BadRequest, match=r"here-alpha \(local\).*salt only"):
        admin.submit("2020", None, ["alpha"])


@pytest.mark.usefixtures("unchanged")
def test_a_retired_host_is_never_run_on(site: System, admin: Client) -> None:
    site.add_hosts(["gone"], site.add_connection("here-gone", "local"))
    with begin(site.engine) as conn:
        conn.execute(server_list.update().where(server_list.c.server_name == "gone").values(state="retired"))
    with pytest.raises(UnknownHost, match="Retired"):
        admin.submit("2001", {"word": "x"}, ["alpha", "gone"])


@pytest.mark.parametrize("number", [2**53, 2**63, 2**70, -1, "7", True, 1.5])
def test_a_number_that_is_none_is_refused_and_not_a_failure_inside(admin: Client, number: object) -> None:
    for op, args in (
        ("job.show", {"job": number}),
        ("job.cancel", {"job": number}),
        ("job.events", {"job": 1, "since": number}),
        ("job.results", {"job": 1, "after": number}),
        ("job.output", {"job": 1, "host_id": number}),
        ("job.list", {"before": number}),
        ("hosts.list", {"categ_id": number}),
        ("hosts.list", {"offset": number}),
        ("audit.list", {"before": number}),
        ("job.preview", {"module": "2001", "params": {"word": "x"}, "hosts": [{"id": number}]}),
    ):
        with pytest.raises(BadRequest):
            admin.call(op, args)


@pytest.mark.usefixtures("unchanged")
def test_an_address_that_contradicts_the_name_refuses_the_whole_job(site: System) -> None:
    with site.client("robot", user=None) as robot, pytest.raises(HostMismatch) as refusal:
        robot.runcommands("2001@@10.9.9.9*alpha@@x@@")
    assert refusal.value.details == {"host": "alpha", "given": "10.9.9.9", "known": ["10.0.1.1"]}


# -- output


def output_of(client: Client, what: str) -> tuple[dict[str, Any], bytes, int]:
    job = wait_for_end(client, client.submit("2016", {"what": what}, ["alpha"])["job"]["id"])
    (row,) = client.results(job["id"])["results"]
    text, offset = b"", 0
    while True:
        piece = client.output(job["id"], row["host_id"], "stdout", offset=offset)
        text += base64.b64decode(piece["text"])
        if piece["next"] is None:
            return row, text, piece["cut_bytes"]
        offset = piece["next"]


def test_output_is_kept_byte_for_byte_whatever_it_is(admin: Client) -> None:
    assert output_of(admin, "html")[1] == b"<script>alert(1)</script>"
    assert output_of(admin, "ansi")[1] == b"\x1b[31mred\x1b[0m\x07"
    assert output_of(admin, "invalid")[1] == b"\xff\xfe\x00ok"


def test_five_megabytes_are_kept_where_the_module_asks_for_them(admin: Client) -> None:
    row, text, cut = output_of(admin, "large")
    assert (row["state"], len(text), cut) == ("ok", 5 << 20, 0)


def test_output_over_the_cap_is_cut_and_says_by_how_much(admin: Client) -> None:
    row, text, cut = output_of(admin, "endless")
    assert row["state"] == "ok"
    assert row["cut"]
    assert len(text) == 8 << 20
    assert len(text) + cut == 100_000_000


# -- the master itself


def test_the_taken_port_is_named_and_the_other_master_goes_on(site: System, admin: Client) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "omserver_master", "master"],
        env=site.environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert f"127.0.0.1:{site.port}" in done.stderr
    assert "Traceback" not in done.stderr
    assert admin.whoami()["user"] == "admin"


@pytest.mark.usefixtures("unchanged")
def test_the_login_of_2014_marks_one_connection_and_a_failed_one_never_falls_back(site: System) -> None:
    site.add_key("old-program", "operator")
    with site.client("old-program", user=None) as client:
        assert client.runcommands("1003@@10.0.1.1*alpha@@") == "Invalid Login!"
    conn = rpyc.connect("127.0.0.1", site.port, config={"sync_request_timeout": 10})
    try:
        assert conn.root.login("olga", "not her password") is None
    finally:
        conn.close()
    assert newest_audit(site)["action"] == "login"


def test_a_full_disk_refuses_new_jobs_and_recovers(tmp_path: Any) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    home = tmp_path / "small"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "none", str(home)], check=True)
    system = System(home, modules_dir=CHECKOUT / "tests/integration/modules", workers=1)
    try:
        system.add_hosts(["alpha"], system.add_connection("here", "local"))
        system.start()
        with system.client() as client:
            first = wait_for_end(client, client.submit("2001", {"word": "x"}, ["alpha"])["job"]["id"])
            assert first["state"] == "succeeded"
            _fill(home / "filler")
            with pytest.raises(Unavailable):
                _submit_until_refused(client)
            (home / "filler").unlink()
            _until(lambda: wait_for_end(client, client.submit("2001", {"word": "y"}, ["alpha"])["job"]["id"]))
            ids = [job["id"] for job in client.jobs(limit=500)["jobs"]]
            for job in ids:
                assert wait_for_end(client, job)["state"] == "succeeded"
    finally:
        system.close()
        subprocess.run(["umount", "-l", str(home)], check=True)


def _submit_until_refused(client: Client) -> None:
    for _ in range(500):
        client.submit("2001", {"word": os.urandom(500).hex()}, ["alpha"])


def _fill(path: Any) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass


def _until(call: Any, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            call()
            return
        except Refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
