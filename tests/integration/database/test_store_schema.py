"""The tables: what the migrations make is what the code expects, on every database."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, func, insert, inspect, select, text

from omserver_master.errors import DatabaseBehind
from omserver_master.store import connections, schema, schema_version, workers
from omserver_master.store.engine import begin, read
from omserver_master.store.seed import seed


def test_the_migrations_make_exactly_the_tables_of_the_code(migrated: Engine) -> None:
    with read(migrated) as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_a_second_upgrade_changes_nothing(engine: Engine) -> None:
    before, after = schema_version.upgrade(engine)
    assert before == after == schema_version.require_current(engine)


def test_a_migration_that_was_cut_off_is_run_again(engine: Engine) -> None:
    with begin(engine) as conn:
        conn.execute(text("DROP TABLE server_history"))
        conn.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(DatabaseBehind):
        schema_version.require_current(engine)
    schema_version.upgrade(engine)
    schema_version.require_current(engine)
    with read(engine) as conn:
        assert inspect(conn).has_table("server_history")


def test_a_second_version_that_was_cut_off_in_the_middle_is_run_again(engine: Engine) -> None:
    with begin(engine) as conn:
        conn.execute(text("ALTER TABLE jobs DROP COLUMN dry_run"))
        conn.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    schema_version.upgrade(engine)
    with read(engine) as conn:
        assert "dry_run" in {column["name"] for column in inspect(conn).get_columns("jobs")}


def test_connections_of_an_earlier_version_are_served_by_any_machine(engine: Engine) -> None:
    with begin(engine) as conn:
        added = connections.add_connection(conn, "dc1", "salt", {})
        for table, column in (("connections", "machines"), ("jobs", "machines"), ("workers", "machine")):
            conn.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        conn.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    schema_version.upgrade(engine)
    with begin(engine) as conn:
        row = connections.connection_by_name(conn, "dc1")
        assert row is not None
        assert (row["id"], row["machines"]) == (added, None)
        assert connections.named_machines(conn) == {}
        workers.beat(conn, "w1", "gd-1")


def test_a_database_of_a_newer_version_is_refused(engine: Engine) -> None:
    ours = schema_version.require_current(engine)
    with begin(engine) as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        for refuses in (schema_version.upgrade, schema_version.require_current):
            with pytest.raises(DatabaseBehind, match="9999"):
                refuses(engine)
    finally:
        with begin(engine) as conn:
            conn.execute(text(f"UPDATE alembic_version SET version_num = '{ours}'"))


def test_the_seed_adds_the_originals_categories_and_modules_once(engine: Engine) -> None:
    with begin(engine) as conn:
        assert seed(conn) == 7
        assert seed(conn) == 0
        counted = [
            conn.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (schema.server_fun_categ, schema.server_app_categ, schema.module_list)
        ]
        assert counted == [13, 2, 7]
        names = dict(conn.execute(select(schema.module_list.c.ID, schema.module_list.c.module_name)).all())
        assert names[1001] == "查看系统日志"


def test_a_module_added_after_the_seed_gets_an_id_from_1008_on(engine: Engine) -> None:
    with begin(engine) as conn:
        seed(conn)
        added = conn.execute(insert(schema.module_list).values(module_name="新模块"))
        assert added.inserted_primary_key is not None
        assert added.inserted_primary_key[0] >= 1008
