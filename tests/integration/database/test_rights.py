"""What people may do and see, by grants; and how people and hosts are named."""

from __future__ import annotations

import pytest
from people import Small, add_person, furnish
from sqlalchemy import Engine

from omserver_client.errors import BadRequest
from omserver_master.access import rights
from omserver_master.access.rights import Person
from omserver_master.store import grants, hosts, users
from omserver_master.store.engine import begin, read


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
            rows, total = hosts.list_hosts(conn, scope=rights.visible_hosts(self.person(name)))
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
    assert rights.runnable_modules(people.person("admin", "viewer"), ["1003"]) == set()


def test_a_host_that_does_not_exist_is_forbidden_to_those_with_a_narrow_grant(people: Rights) -> None:
    with read(people.engine) as conn:
        assert rights.may_run(conn, people.person("web team"), "1003", [0, -1]) == [0, -1]


def test_the_modules_somebody_may_run_anywhere_are_told(people: Rights) -> None:
    def runnable(name: str) -> set[str]:
        return rights.runnable_modules(people.person(name), ["1001", "1003"])

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
