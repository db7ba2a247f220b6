"""All tables. Those of the original OMServer keep their names and their columns' meaning."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)

from .types import Id, Json, LongBytes, Prose, UtcTime, Word

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: MariaDB compares names byte by byte like the others do; SQLite never gives an id out twice.
TABLE_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}
_COUNTED: dict[str, Any] = {**TABLE_OPTIONS, "sqlite_autoincrement": True}

HASH = Word(64)  # a SHA-256 or an HMAC, in hex
KID = Word(16)  # a client key's number, in hex
NAME = Word(255)
WORD = Word(32)  # a state, a role, a kind: words of ours

# --- What the original had -------------------------------------------------------------------

server_fun_categ = Table(
    "server_fun_categ",
    metadata,
    Column("ID", Integer, primary_key=True),
    Column("server_categ_name", NAME, nullable=False, unique=True),
    **_COUNTED,
)

server_app_categ = Table(
    "server_app_categ",
    metadata,
    Column("ID", Integer, primary_key=True),
    Column("server_categ_id", ForeignKey("server_fun_categ.ID"), nullable=False),
    Column("app_categ_name", NAME, nullable=False),
    UniqueConstraint("server_categ_id", "app_categ_name"),
    **_COUNTED,
)

#: Hosts. `name_key` is the name in lower case: names are unique whatever their case.
server_list = Table(
    "server_list",
    metadata,
    Column("ID", Integer, primary_key=True),
    Column("server_name", NAME, nullable=False),
    Column("name_key", NAME, nullable=False, unique=True),
    Column("server_wip", Word(45), nullable=False, default=""),
    Column("server_lip", Word(45), nullable=False, default=""),
    Column("server_op", NAME, nullable=False, default=""),
    Column("server_app_id", ForeignKey("server_app_categ.ID"), index=True),
    Column("state", WORD, nullable=False, default="in_service"),
    Column("labels", Json, nullable=False, default=dict),
    Column("facts", Json, nullable=False, default=dict),
    Column("last_seen", UtcTime),
    **_COUNTED,
)

module_list = Table(
    "module_list",
    metadata,
    Column("ID", Integer, primary_key=True),
    Column("module_name", NAME, nullable=False),
    Column("module_caption", Prose, nullable=False, default=""),
    Column("module_extend", Prose, nullable=False, default=""),
    **_COUNTED,
)

server_history = Table(
    "server_history",
    metadata,
    Column("ID", Id, primary_key=True),
    Column("host_id", ForeignKey("server_list.ID")),
    Column("history_id", Integer, nullable=False),
    Column("history_ip", Word(45), nullable=False),
    Column("history_user", NAME, nullable=False),
    Column("history_datetime", UtcTime, nullable=False),
    Column("db_datetime", UtcTime, nullable=False),
    Column("history_command", Prose, nullable=False),
    Index(None, "host_id", "ID"),
    **_COUNTED,
)

# --- People and programs ---------------------------------------------------------------------

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("name_key", NAME, nullable=False, unique=True),
    Column("password", NAME, nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("lang", WORD, nullable=False, default=""),
    Column("created", UtcTime, nullable=False),
    Column("last_login", UtcTime),
    **_COUNTED,
)

#: A role for a module (``*``: every one) on all hosts, or on those of one category or one host.
grants = Table(
    "grants",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("role", WORD, nullable=False),
    Column("module", WORD, nullable=False, default="*"),
    Column("categ_id", ForeignKey("server_fun_categ.ID")),
    Column("app_id", ForeignKey("server_app_categ.ID")),
    Column("host_id", ForeignKey("server_list.ID")),
    Column("created", UtcTime, nullable=False),
    **_COUNTED,
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", HASH, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("key_kid", KID, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("last_used", UtcTime, nullable=False),
    Column("idle_seconds", Integer, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("revoked", Boolean, nullable=False, default=False),
    **TABLE_OPTIONS,
)

client_keys = Table(
    "client_keys",
    metadata,
    Column("kid", KID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("role_cap", WORD, nullable=False),
    Column("service_user_id", ForeignKey("users.id")),
    Column("state", WORD, nullable=False, default="active"),
    Column("secret", LongBytes, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("last_used", UtcTime),
    **TABLE_OPTIONS,
)

# --- Ways to hosts ---------------------------------------------------------------------------

connections = Table(
    "connections",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("kind", WORD, nullable=False),
    Column("settings", Json, nullable=False, default=dict),
    Column("secrets", LongBytes),
    Column("enabled", Boolean, nullable=False, default=True),
    Column("state", WORD, nullable=False, default="unknown"),
    Column("reason", Prose, nullable=False, default=""),
    Column("since", UtcTime),
    #: The machines whose workers serve it; null: any.
    Column("machines", Json),
    **_COUNTED,
)

host_connections = Table(
    "host_connections",
    metadata,
    Column("host_id", ForeignKey("server_list.ID"), primary_key=True),
    Column("connection_id", ForeignKey("connections.id"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
    Column("remote_id", NAME, nullable=False),
    UniqueConstraint("connection_id", "remote_id"),
    **TABLE_OPTIONS,
)

#: Worker processes, the machine of each, and when it was last alive, by the database's clock.
workers = Table(
    "workers",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("started", UtcTime, nullable=False),
    Column("last_seen", UtcTime, nullable=False),
    Column("machine", NAME, nullable=False, default=""),
    **TABLE_OPTIONS,
)

# --- Jobs ------------------------------------------------------------------------------------

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("module", WORD, nullable=False),
    Column("module_sha256", HASH, nullable=False),
    Column("title", Prose, nullable=False, default=""),
    Column("title_zh", Prose, nullable=False, default=""),
    Column("params", Json, nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("user", NAME, nullable=False),
    Column("key_kid", KID, nullable=False),
    Column("message_id", Word(64), nullable=False),
    Column("idempotency_key", Word(200)),
    Column("request_hash", HASH, nullable=False),
    Column("state", WORD, nullable=False),
    Column("reason", Prose, nullable=False, default=""),
    Column("repeat", WORD, nullable=False),
    Column("direct", Boolean, nullable=False, default=False),
    Column("dry_run", Boolean, nullable=False, default=False),
    Column("engines", Json),
    Column("timeout", Integer, nullable=False),
    Column("start_before", UtcTime, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("started", UtcTime),
    Column("finished", UtcTime),
    Column("worker", NAME),
    Column("attempt", Integer, nullable=False, default=0),
    Column("lease_until", UtcTime),
    Column("event", Integer, nullable=False, default=0),
    Column("cancel_asked", Boolean, nullable=False, default=False),
    #: Whether it is to begin on no further host; who wants that ("" where its roll-out asks for a go-ahead).
    Column("pause_asked", Boolean, nullable=False, default=False),
    Column("paused_by", NAME, nullable=False, default=""),
    #: How it goes over its hosts, as it was asked for; null: over all at once.
    Column("rollout", Json),
    #: Where it stands in that, written by its worker only.
    Column("progress", Json),
    #: What to do while a lock is held: "queue", "skip" or "refuse"; "": it wants none.
    Column("lock_mode", WORD, nullable=False, default=""),
    #: The locks that it wants, by the names that people use.
    Column("locks", Json),
    #: The job whose hosts it does again.
    Column("rerun_of", Id, index=True),
    #: Until when hosts that were unreachable are tried again; null: not at all.
    Column("until", UtcTime, index=True),
    #: Kept, whatever its age.
    Column("pinned", Boolean, nullable=False, default=False),
    #: Since when its outputs are gone, by age or size.
    Column("purged", UtcTime),
    #: The machines that reach all its hosts, with commas between and around them; null: any (`.machines`).
    Column("machines", Prose),
    Column("host_count", Integer, nullable=False),
    UniqueConstraint("key_kid", "message_id"),
    UniqueConstraint("key_kid", "user_id", "idempotency_key"),
    Index(None, "state", "id"),
    # With the person: who looks for both finds them here, and reads no job of others.
    Index(None, "module", "id", "user_id"),
    Index(None, "user_id", "id"),
    Index(None, "created"),
    **_COUNTED,
)

#: Locks that jobs want and hold. At most one job holds a name; those without a moment wait, by their ids.
job_locks = Table(
    "job_locks",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("name", NAME, primary_key=True, index=True),
    Column("held_since", UtcTime),
    **TABLE_OPTIONS,
)

outputs = Table(
    "outputs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("digest", HASH, nullable=False, unique=True),
    Column("body", LongBytes, nullable=False),
    Column("size", Integer, nullable=False),
    **_COUNTED,
)


def _held_texts(table: str) -> list[Index]:
    """Indexes by which an output that nothing refers to is found."""
    made = []
    for name in ("stdout_id", "stderr_id"):
        some = text(f"{name} IS NOT NULL")
        made.append(Index(f"ix_{table}_{name}", name, sqlite_where=some, postgresql_where=some))
    return made


host_results = Table(
    "host_results",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("host_id", ForeignKey("server_list.ID"), primary_key=True),
    Column("host", NAME, nullable=False),
    Column("ip", Word(45), nullable=False, default=""),
    Column("connection", NAME, nullable=False, default=""),
    Column("passed_over", NAME, nullable=False, default=""),
    Column("remote_id", NAME, nullable=False, default=""),
    Column("handle", NAME, nullable=False, default=""),
    Column("state", WORD, nullable=False, default="pending"),
    Column("reason", Prose, nullable=False, default=""),
    Column("rc", Integer),
    Column("started", UtcTime),
    Column("finished", UtcTime),
    Column("stdout_id", ForeignKey("outputs.id")),
    Column("stderr_id", ForeignKey("outputs.id")),
    Column("stdout_bytes", Integer, nullable=False, default=0),
    Column("stderr_bytes", Integer, nullable=False, default=0),
    Column("stdout_cut", Id, nullable=False, default=0),
    Column("stderr_cut", Id, nullable=False, default=0),
    Column("first_line", Prose, nullable=False, default=""),
    Column("late", Boolean, nullable=False, default=False),
    #: The step that the other columns are about, from 1, and what was asked for in it, as a hash.
    Column("step", Integer, nullable=False, default=0),
    Column("work", HASH, nullable=False, default=""),
    Column("event", Integer, nullable=False, default=0),
    Index(None, "job_id", "event"),
    Index(None, "host_id", "job_id"),
    *_held_texts("host_results"),
    **TABLE_OPTIONS,
)

#: The steps of a host before its last one: what was answered, so that a module can be replayed after a crash.
steps = Table(
    "steps",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("host_id", ForeignKey("server_list.ID"), primary_key=True, index=True),
    Column("step", Integer, primary_key=True),
    Column("work", HASH, nullable=False),
    Column("connection", NAME, nullable=False),
    Column("handle", NAME, nullable=False),
    Column("rc", Integer),
    Column("stdout_id", ForeignKey("outputs.id")),
    Column("stderr_id", ForeignKey("outputs.id")),
    Column("stdout_cut", Id, nullable=False),
    Column("stderr_cut", Id, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("finished", UtcTime, nullable=False),
    *_held_texts("steps"),
    **TABLE_OPTIONS,
)

module_versions = Table(
    "module_versions",
    metadata,
    Column("module", WORD, primary_key=True),
    Column("sha256", HASH, primary_key=True),
    Column("source", Prose, nullable=False),
    Column("first_seen", UtcTime, nullable=False),
    **TABLE_OPTIONS,
)

# --- What happened ---------------------------------------------------------------------------

#: `previous` is unique, so the chain cannot fork.
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Id, primary_key=True),
    Column("time", UtcTime, nullable=False),
    Column("user", NAME, nullable=False, default=""),
    Column("key", NAME, nullable=False, default=""),
    Column("address", NAME, nullable=False, default=""),
    Column("action", WORD, nullable=False, index=True),
    Column("target", NAME, nullable=False, default=""),
    Column("outcome", WORD, nullable=False),
    Column("detail", Prose, nullable=False, default=""),
    Column("previous", HASH, nullable=False, unique=True),
    Column("hash", HASH, nullable=False),
    **_COUNTED,
)
