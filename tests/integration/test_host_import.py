"""Hosts brought in: previewed, then exactly that; hosts that are there stay whole, whatever a source says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete

from omserver_client import Client
from omserver_client.errors import BadRequest, Forbidden, NotFound, PreviewOutdated
from omserver_master.backends import FoundHost
from omserver_master.roster.applying import carry_out, load_world
from omserver_master.roster.csvfile import read_csv
from omserver_master.roster.incoming import Incoming, from_engine
from omserver_master.roster.plan import Options, Plan, make_plan
from omserver_master.store import connections, hosts, schema
from omserver_master.store.engine import begin, make_engine, read
from omserver_master.store.schema_version import upgrade
from tests.databases import mariadb_url, postgresql_url
from tests.system import System

Import = Callable[..., Plan]

#: The columns of the original's table of servers, as phpMyAdmin writes them.
OF_2014 = (
    '"server_name","server_wip","server_lip","server_op","server_app_id"\r\n'
    '"SN2013-08-020","192.0.2.20","10.0.0.20","Linux","1"\r\n'
    '"SN2013-08-021","192.0.2.21","10.0.0.21","Linux","1"\r\n'
)


@pytest.fixture(scope="module", params=["sqlite", "mariadb", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('import')}/test.db"
    else:
        with {"mariadb": mariadb_url, "postgresql": postgresql_url}[request.param]() as url:
            yield url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A database with the connections salt and ssh, and no hosts."""
    engine = make_engine(url)
    upgrade(engine)
    with begin(engine) as conn:
        for table in reversed(schema.metadata.sorted_tables):
            conn.execute(delete(table))
        for name in ("salt", "ssh"):
            connections.add_connection(conn, name, "local", {})
    yield engine
    engine.dispose()


@pytest.fixture
def bring(engine: Engine) -> Import:
    """Previews and applies rows, and answers the plan."""

    def run(rows: Sequence[Incoming], source: str | None = None, **options: Any) -> Plan:
        with begin(engine) as conn:
            world = load_world(conn)
            plan = make_plan(rows, world, Options(**options), source)
            carry_out(conn, plan, world)
        return plan

    return run


def counts(plan: Plan) -> dict[str, int]:
    return {word: number for word, number in plan.counts.items() if number}


def ways(engine: Engine, name: str) -> list[tuple[str, str]]:
    with read(engine) as conn:
        host = hosts.hosts_by_name(conn, [name])[name.lower()]
        return [(way["name"], way["remote_id"]) for way in connections.routes(conn, [host["id"]])[host["id"]]]


def found(*names: str, **facts: str) -> list[FoundHost]:
    return [FoundHost(name, name, f"10.0.0.{number}", facts) for number, name in enumerate(names, 1)]


def test_new_hosts_come_in_once_and_a_repeat_changes_nothing(engine: Engine, bring: Import) -> None:
    list_ = from_engine("salt", found("web-01", "WEB-02", os="Debian", osrelease="12", os_family="Debian"))
    assert counts(bring(list_, "salt", categ="Linux.Web", app="www")) == {"new": 2}
    with read(engine) as conn:
        rows, _ = hosts.list_hosts(conn)
    assert [(row["name"], row["lip"], row["os"], row["categ"], row["app"]) for row in rows] == [
        ("web-01", "10.0.0.1", "Debian 12", "Linux.Web", "www"),
        ("WEB-02", "10.0.0.2", "Debian 12", "Linux.Web", "www"),
    ]
    assert rows[0]["facts"] == {"os_family": "debian", "osrelease": "12"}
    assert ways(engine, "web-02") == [("salt", "WEB-02")]
    assert counts(bring(list_, "salt", categ="Linux.Web", app="www")) == {"same": 2}


def test_what_changed_is_told_field_by_field_and_what_is_gone_is_only_listed(bring: Import) -> None:
    bring(from_engine("salt", found("web-01", "web-02", os="Debian 11")), "salt")
    plan = bring(
        from_engine("salt", [FoundHost("web-01", "web-01", "10.9.9.9", {"os": "Debian 12"})]), "salt"
    )
    assert counts(plan) == {"changed": 1, "missing": 1}
    changes = [(each.field, each.old, each.new) for each in plan.rows[0].changes]
    assert changes == [("lip", "10.0.0.1", "10.9.9.9"), ("os", "Debian 11", "Debian 12")]
    assert [row.name for row in plan.rows if row.status == "missing"] == ["web-02"]


def test_ids_that_differ_in_case_only_are_one_host_and_the_engines_spelling_is_sent(
    engine: Engine, bring: Import
) -> None:
    bring(from_engine("salt", found("web-01")), "salt")
    plan = bring(from_engine("salt", found("WEB-01")), "salt")
    assert counts(plan) == {"changed": 1}
    assert ways(engine, "web-01") == [("salt", "WEB-01")]
    assert counts(bring(from_engine("salt", found("WEB-01")), "salt")) == {"same": 1}
    other_name = bring(from_engine("salt", [FoundHost("Web-01", "elsewhere")]), "salt")
    assert [(row.status, row.name) for row in other_name.rows] == [("changed", "web-01")], "the id decides"


def test_a_host_known_elsewhere_gets_a_further_way_after_its_own(engine: Engine, bring: Import) -> None:
    bring(from_engine("salt", found("web-01")), "salt")
    plan = bring(from_engine("ssh", found("Web-01")), "ssh")
    (change,) = plan.rows[0].changes
    assert (change.old, change.new) == ("salt as web-01", "salt as web-01, ssh as Web-01")
    assert ways(engine, "web-01") == [("salt", "web-01"), ("ssh", "Web-01")]
    assert counts(bring(from_engine("ssh", found("Web-01")), "ssh")) == {"same": 1}


def test_hosts_that_would_collide_are_conflicts_with_the_reason(engine: Engine, bring: Import) -> None:
    bring(from_engine("salt", found("alpha", "beta")), "salt")
    list_ = [
        FoundHost("alpha", "beta"),  # the id of one, the name of the other
        FoundHost("twin", "twin"),
        FoundHost("TWIN", "Twin"),
        FoundHost("other", "alpha"),  # known there under another id
        FoundHost("gamma", "gamma"),
    ]
    plan = bring(from_engine("salt", list_), "salt")
    assert counts(plan) == {"conflict": 4, "new": 1}
    reasons = {row.number: row.reason for row in plan.rows if row.status == "conflict"}
    assert "belong to different hosts here: alpha, beta" in reasons[1]
    assert reasons[2] == "Row 3 has the same name; upper and lower case count as one."
    assert "alpha is known as alpha on salt, not as other" in reasons[4]
    with read(engine) as conn:
        assert [row["name"] for row in hosts.list_hosts(conn)[0]] == ["alpha", "beta", "gamma"]


def test_two_rows_about_one_host_are_conflicts(bring: Import) -> None:
    bring(read_csv(b"name,connection,id\nalpha,salt,a1\n"))
    plan = bring(read_csv(b"name,connection,id,os\nalpha,,,Debian\nelsewhere,salt,a1,CentOS\n"))
    assert counts(plan) == {"conflict": 2}
    assert {row.reason for row in plan.rows} == {"Another row is about the same host."}


def test_hostile_names_are_refused_one_by_one(bring: Import) -> None:
    bad = [
        "a\x1b[31mb", "x" * 256, "<script>alert(1)</script>", "a*b", "a,b", "a@b", "a;b", "", " ",
        "\u202ename", "a\nb", "a\0b", '"><img src=x>', "a/../b", "a\\b",
    ]  # fmt: skip
    list_ = [FoundHost(name, name) for name in [*bad, "good"]]
    plan = bring(from_engine("salt", list_), "salt")
    assert counts(plan) == {"refused": len(bad), "new": 1}
    assert all(row.reason for row in plan.rows if row.status == "refused")
    bad_id = bring(from_engine("salt", [FoundHost("i\x07d", "fine"), FoundHost("y" * 300, "also")]), "salt")
    assert counts(bad_id) == {"refused": 2, "missing": 1}


def test_a_group_of_the_engine_can_name_the_application(engine: Engine, bring: Import) -> None:
    host = FoundHost("web-01", "web-01", groups=("all", "shop"))
    bring(from_engine("ssh", [host], "app"), "ssh", categ="Linux.Web", app="other")
    with read(engine) as conn:
        assert hosts.list_hosts(conn)[0][0]["app"] == "shop"


def test_an_address_that_is_no_ip_is_left_out_of_an_engines_list(engine: Engine, bring: Import) -> None:
    bring(from_engine("ssh", [FoundHost("web-01", "web-01", "web-01.example.com")]), "ssh")
    with read(engine) as conn:
        assert hosts.list_hosts(conn)[0][0]["lip"] == ""


def test_20000_hosts_are_previewed_and_applied_within_seconds(engine: Engine, bring: Import) -> None:
    list_ = [
        FoundHost(f"web-{n:05}", f"web-{n:05}", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", {"os": "Debian"})
        for n in range(20_000)
    ]
    began = time.monotonic()
    plan = bring(from_engine("salt", list_), "salt", categ="Linux.Web", app="www")
    first = time.monotonic() - began
    assert counts(plan) == {"new": 20_000}
    began = time.monotonic()
    assert counts(bring(from_engine("ssh", list_), "ssh")) == {"changed": 20_000}
    assert counts(bring(from_engine("ssh", list_), "ssh")) == {"same": 20_000}
    second = time.monotonic() - began
    print(f"20,000 new: {first:.1f} s; a second way to all, and once more: {second:.1f} s")
    assert first < 60
    assert second < 90


# --- CSV -------------------------------------------------------------------------------------


def test_the_table_of_2014_is_read_as_it_was_exported(engine: Engine, bring: Import) -> None:
    assert counts(bring(read_csv(OF_2014.encode()), connection="salt", categ="a", app="b")) == {"new": 2}
    with read(engine) as conn:
        row = hosts.list_hosts(conn)[0][0]
    assert (row["name"], row["wip"], row["lip"], row["os"]) == (
        "SN2013-08-020", "192.0.2.20", "10.0.0.20", "Linux",
    )  # fmt: skip
    assert ways(engine, "sn2013-08-020") == [("salt", "SN2013-08-020")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
def test_files_come_in_every_separator_and_encoding(separator: str, encoding: str) -> None:
    text = "主机名,IP 地址,系统,Category,应用\r\n数据库-01,10.0.0.1,麒麟,网站,商城\r\n\r\n".replace(
        ",", separator
    )
    (row,) = read_csv(text.encode(encoding))
    assert (row.name, row.address, row.os, row.categ, row.app) == (
        "数据库-01", "10.0.0.1", "麒麟", "网站", "商城",
    )  # fmt: skip


@pytest.mark.parametrize(
    "heads",
    [
        "Name,IP,OS,Connection,Remote ID",
        "host_name,address,operating-system,way,minion_id",
        "HOSTNAME,ip,os,connection,id",
    ],
)
def test_columns_are_known_by_many_names(heads: str) -> None:
    (row,) = read_csv(f"{heads},whatever\nweb-01,10.0.0.1,Debian,salt,WEB-01,x\n".encode())
    assert (row.name, row.address, row.os, row.ways) == (
        "web-01",
        "10.0.0.1",
        "Debian",
        (("salt", "WEB-01"),),
    )


def test_one_host_on_several_lines_has_several_ways(engine: Engine, bring: Import) -> None:
    bring(read_csv(b"name,connection,id\nweb-01,ssh,w1\nweb-01,salt,WEB-01\n"))
    assert ways(engine, "web-01") == [("ssh", "w1"), ("salt", "WEB-01")]


def test_a_bad_line_harms_no_other(bring: Import) -> None:
    lines = [
        "name,ip,connection,state",
        "good-01,10.0.0.1,salt,",
        "bad-01,10.0.0.300,salt,",
        "bad-02,10.0.0.2,carrier-pigeon,",
        '"never closed,10.0.0.3,salt,',
        "bad-04,10.0.0.4,salt,asleep",
        "bad-05,10.0.0.5,salt,,,,one cell too many",
        "=cmd|calc!A0,10.0.0.6,salt,",
        "good-02",
    ]
    plan = bring(read_csv("\n".join(lines).encode()))
    assert counts(plan) == {"new": 2, "refused": 6}
    reasons = {row.number: row.reason for row in plan.rows if row.status == "refused"}
    assert set(reasons) == {3, 4, 5, 6, 7, 8}, "they are the numbers of the lines"
    assert "carrier-pigeon" in reasons[4]
    assert "not an IP address" in reasons[3]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00", "neither"),
        (b"color,size\nred,1\n", "No column is called name"),
        (b"name,host\na,b\n", "Two columns mean the same"),
        (b"\x80\x81\xff\xff,\xff", "neither"),
    ],
)
def test_a_file_that_is_no_list_of_hosts_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        read_csv(body)


# --- Through the real master -----------------------------------------------------------------


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("importing"))
    system.add_user("olga", "operator")
    system.add_user("ann", "admin")
    system.add_hosts(["alpha"], system.add_connection("here", "local"))
    system.add_connection("there", "local")
    system.start()
    yield system
    system.close()


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    with system.client() as client:
        yield client


def test_a_preview_is_looked_at_and_applied_once(client: Client) -> None:
    csv = b"name,ip,connection\nnew-01,10.1.1.1,there\nnew-02,10.1.1.2,there\nbad<name,10.1.1.3,there\n"
    preview = client.preview_import(csv=csv, title="hosts.csv", categ="Linux.Web", app="www.domain.com")
    assert preview["counts"] == {"new": 2, "changed": 0, "same": 0, "conflict": 0, "refused": 1, "missing": 1}
    assert preview["rows"][0]["status"] == "refused", "what needs an eye comes first"
    assert client.hosts(search="new-")["total"] == 0, "nothing was done yet"
    page = client.import_rows(preview["token"], status="new", search="02")
    assert [row["name"] for row in page["rows"]] == ["new-02"]
    assert client.apply_import(preview["token"], preview["digest"])["counts"]["new"] == 2
    assert client.hosts(search="new-")["total"] == 2
    assert client.host("new-01")["ways"][0]["connection"] == "there"
    with pytest.raises(NotFound):
        client.apply_import(preview["token"])
    rows = client.audit(limit=5, action="import.apply")["rows"]
    told = next(each for each in rows if each["outcome"] == "ok")
    assert (told["target"], told["detail"]) == ("hosts.csv", "2 added, 0 changed: new-01, new-02")
    again = client.preview_import(csv=csv)
    assert again["counts"]["same"] == 2
    assert again["counts"]["new"] == 0


def test_what_changed_after_the_preview_is_not_overrun(client: Client) -> None:
    csv = b"name,ip,connection\nmoved-01,10.2.1.1,there\n"
    preview = client.preview_import(csv=csv)
    client.add_host("Moved-01", [{"connection": "here"}], lip="10.2.2.2")
    with pytest.raises(PreviewOutdated) as refused:
        client.apply_import(preview["token"])
    newer = refused.value.details
    assert newer["counts"]["changed"] == 1
    assert newer["digest"] != preview["digest"]
    assert client.host("moved-01")["lip"] == "10.2.2.2", "nothing was changed"
    assert client.apply_import(newer["token"])["counts"]["changed"] == 1
    host = client.host("moved-01")
    assert (host["lip"], [way["connection"] for way in host["ways"]]) == ("10.2.1.1", ["here", "there"])


def test_a_preview_belongs_to_who_made_it_and_needs_an_admin(client: Client, system: System) -> None:
    preview = client.preview_import(csv=b"name\nmine\n")
    with pytest.raises(PreviewOutdated):
        client.apply_import(preview["token"], "another digest")
    with system.client(user="olga") as other:
        for op in ("import.preview", "import.rows", "import.apply"):
            with pytest.raises(Forbidden):
                other.call(op, {"token": preview["token"]})
    with system.client(user="ann") as other, pytest.raises(NotFound):
        other.apply_import(preview["token"])
    with pytest.raises(NotFound):
        client.import_rows("no such token")


def test_a_source_that_keeps_no_list_or_is_not_there_says_so(client: Client, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="keep no list of hosts"):
        client.preview_import("here")
    with pytest.raises(NotFound):
        client.preview_import("nowhere")
    with pytest.raises(BadRequest):
        client.preview_import()
    with pytest.raises(BadRequest):
        client.preview_import("here", b"name\na\n")
    with pytest.raises(BadRequest, match="There is no connection"):
        client.preview_import(csv=b"name\na\n", connection="nowhere")


def test_a_large_file_goes_through_the_wire(client: Client) -> None:
    lines = [
        f"bulk-{number:05},10.7.{number >> 8}.{number & 255},there,{'x' * 100}" for number in range(20_000)
    ]
    body = "\n".join(["name,ip,connection,note", *lines]).encode()
    assert len(body) > 2_500_000
    began = time.monotonic()
    preview = client.preview_import(csv=body)
    assert preview["counts"]["new"] == 20_000
    assert client.apply_import(preview["token"])["counts"]["new"] == 20_000
    print(f"20,000 hosts, previewed and applied: {time.monotonic() - began:.1f} s")
    assert client.hosts(search="bulk-", limit=1)["total"] == 20_000
