"""All tables of the first version.

Where a database cannot undo the creation of a table, a migration that was cut off is simply run again: what
is there already stays.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
PROSE = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")

OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def _table(name, *parts, counted=False):
    op.create_table(name, *parts, **OPTIONS, sqlite_autoincrement=counted, if_not_exists=True)


def _index(name, table, columns):
    op.create_index(name, table, columns, if_not_exists=True)


def upgrade():
    _table(
        "audit_events",
        sa.Column("id", ID, nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("address", sa.String(255), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("detail", PROSE, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("previous"),
        counted=True,
    )
    _index("ix_audit_events_action", "audit_events", ["action"])
    _table(
        "connections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("settings", PROSE, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("reason", PROSE, nullable=False),
        sa.Column("since", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        counted=True,
    )
    _table(
        "module_list",
        sa.Column("ID", sa.Integer(), nullable=False),
        sa.Column("module_name", sa.String(255), nullable=False),
        sa.Column("module_caption", PROSE, nullable=False),
        sa.Column("module_extend", PROSE, nullable=False),
        sa.PrimaryKeyConstraint("ID"),
        counted=True,
    )
    _table(
        "module_versions",
        sa.Column("module", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("source", PROSE, nullable=False),
        sa.Column("first_seen", TIME, nullable=False),
        sa.PrimaryKeyConstraint("module", "sha256"),
    )
    _table(
        "outputs",
        sa.Column("id", ID, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", BYTES, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        counted=True,
    )
    _table(
        "server_fun_categ",
        sa.Column("ID", sa.Integer(), nullable=False),
        sa.Column("server_categ_name", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("ID"),
        sa.UniqueConstraint("server_categ_name"),
        counted=True,
    )
    _table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("name_key", sa.String(255), nullable=False),
        sa.Column("password", sa.String(255), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("lang", sa.String(32), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("last_login", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name_key"),
        counted=True,
    )
    _table(
        "workers",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("started", TIME, nullable=False),
        sa.Column("last_seen", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    _table(
        "client_keys",
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("role_cap", sa.String(32), nullable=False),
        sa.Column("service_user_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("secret", BYTES, nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("last_used", TIME, nullable=True),
        sa.ForeignKeyConstraint(["service_user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("kid"),
        sa.UniqueConstraint("name"),
    )
    _table(
        "jobs",
        sa.Column("id", ID, nullable=False),
        sa.Column("module", sa.String(32), nullable=False),
        sa.Column("module_sha256", sa.String(64), nullable=False),
        sa.Column("title", PROSE, nullable=False),
        sa.Column("title_zh", PROSE, nullable=False),
        sa.Column("params", PROSE, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("key_kid", sa.String(16), nullable=False),
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(200), nullable=True),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("reason", PROSE, nullable=False),
        sa.Column("repeat", sa.String(32), nullable=False),
        sa.Column("direct", sa.Boolean(), nullable=False),
        sa.Column("timeout", sa.Integer(), nullable=False),
        sa.Column("start_before", TIME, nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("started", TIME, nullable=True),
        sa.Column("finished", TIME, nullable=True),
        sa.Column("worker", sa.String(255), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("event", sa.Integer(), nullable=False),
        sa.Column("cancel_asked", sa.Boolean(), nullable=False),
        sa.Column("host_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_kid", "message_id"),
        sa.UniqueConstraint("key_kid", "user_id", "idempotency_key"),
        counted=True,
    )
    _index("ix_jobs_state_id", "jobs", ["state", "id"])
    _table(
        "server_app_categ",
        sa.Column("ID", sa.Integer(), nullable=False),
        sa.Column("server_categ_id", sa.Integer(), nullable=False),
        sa.Column("app_categ_name", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(["server_categ_id"], ["server_fun_categ.ID"]),
        sa.PrimaryKeyConstraint("ID"),
        sa.UniqueConstraint("server_categ_id", "app_categ_name"),
        counted=True,
    )
    _table(
        "sessions",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("key_kid", sa.String(16), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("last_used", TIME, nullable=False),
        sa.Column("idle_seconds", sa.Integer(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    _index("ix_sessions_user_id", "sessions", ["user_id"])
    _table(
        "server_list",
        sa.Column("ID", sa.Integer(), nullable=False),
        sa.Column("server_name", sa.String(255), nullable=False),
        sa.Column("name_key", sa.String(255), nullable=False),
        sa.Column("server_wip", sa.String(45), nullable=False),
        sa.Column("server_lip", sa.String(45), nullable=False),
        sa.Column("server_op", sa.String(255), nullable=False),
        sa.Column("server_app_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("labels", PROSE, nullable=False),
        sa.Column("facts", PROSE, nullable=False),
        sa.Column("last_seen", TIME, nullable=True),
        sa.ForeignKeyConstraint(["server_app_id"], ["server_app_categ.ID"]),
        sa.PrimaryKeyConstraint("ID"),
        sa.UniqueConstraint("name_key"),
        counted=True,
    )
    _index("ix_server_list_server_app_id", "server_list", ["server_app_id"])
    _table(
        "grants",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("module", sa.String(32), nullable=False),
        sa.Column("categ_id", sa.Integer(), nullable=True),
        sa.Column("app_id", sa.Integer(), nullable=True),
        sa.Column("host_id", sa.Integer(), nullable=True),
        sa.Column("created", TIME, nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["server_app_categ.ID"]),
        sa.ForeignKeyConstraint(["categ_id"], ["server_fun_categ.ID"]),
        sa.ForeignKeyConstraint(["host_id"], ["server_list.ID"]),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
        counted=True,
    )
    _index("ix_grants_user_id", "grants", ["user_id"])
    _table(
        "host_connections",
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("remote_id", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"]),
        sa.ForeignKeyConstraint(["host_id"], ["server_list.ID"]),
        sa.PrimaryKeyConstraint("host_id", "connection_id"),
        sa.UniqueConstraint("connection_id", "remote_id"),
    )
    _index("ix_host_connections_connection_id", "host_connections", ["connection_id"])
    _table(
        "host_results",
        sa.Column("job_id", ID, nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("ip", sa.String(45), nullable=False),
        sa.Column("connection", sa.String(255), nullable=False),
        sa.Column("remote_id", sa.String(255), nullable=False),
        sa.Column("handle", sa.String(255), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("reason", PROSE, nullable=False),
        sa.Column("rc", sa.Integer(), nullable=True),
        sa.Column("started", TIME, nullable=True),
        sa.Column("finished", TIME, nullable=True),
        sa.Column("stdout_id", ID, nullable=True),
        sa.Column("stderr_id", ID, nullable=True),
        sa.Column("stdout_bytes", sa.Integer(), nullable=False),
        sa.Column("stderr_bytes", sa.Integer(), nullable=False),
        sa.Column("stdout_cut", ID, nullable=False),
        sa.Column("stderr_cut", ID, nullable=False),
        sa.Column("first_line", PROSE, nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("event", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["server_list.ID"]),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.ForeignKeyConstraint(["stderr_id"], ["outputs.id"]),
        sa.ForeignKeyConstraint(["stdout_id"], ["outputs.id"]),
        sa.PrimaryKeyConstraint("job_id", "host_id"),
    )
    _index("ix_host_results_host_id", "host_results", ["host_id"])
    _index("ix_host_results_job_id_event", "host_results", ["job_id", "event"])
    _table(
        "server_history",
        sa.Column("ID", ID, nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=True),
        sa.Column("history_id", sa.Integer(), nullable=False),
        sa.Column("history_ip", sa.String(45), nullable=False),
        sa.Column("history_user", sa.String(255), nullable=False),
        sa.Column("history_datetime", TIME, nullable=False),
        sa.Column("db_datetime", TIME, nullable=False),
        sa.Column("history_command", PROSE, nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["server_list.ID"]),
        sa.PrimaryKeyConstraint("ID"),
        counted=True,
    )
    _index("ix_server_history_host_id_ID", "server_history", ["host_id", "ID"])
