"""How a job goes over its hosts, what it locks, which job it repeats, and how long it is kept.

Where a database cannot undo a new column, a migration that was cut off is simply run again: what is there
already stays.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
JSON = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
WORD, NAME = sa.String(32), sa.String(255)

OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def _add(table, column):
    known = {row["name"] for row in sa.inspect(op.get_bind()).get_columns(table)}
    if column.name not in known:
        op.add_column(table, column)


def upgrade():
    no = sa.false()
    _add("jobs", sa.Column("pause_asked", sa.Boolean(), nullable=False, server_default=no))
    _add("jobs", sa.Column("paused_by", NAME, nullable=False, server_default=""))
    _add("jobs", sa.Column("rollout", JSON, nullable=True))
    _add("jobs", sa.Column("progress", JSON, nullable=True))
    _add("jobs", sa.Column("lock_mode", WORD, nullable=False, server_default=""))
    _add("jobs", sa.Column("locks", JSON, nullable=True))
    _add("jobs", sa.Column("rerun_of", ID, nullable=True))
    _add("jobs", sa.Column("until", TIME, nullable=True))
    _add("jobs", sa.Column("pinned", sa.Boolean(), nullable=False, server_default=no))
    _add("jobs", sa.Column("purged", TIME, nullable=True))
    op.create_table(
        "job_locks",
        sa.Column("job_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("held_since", TIME, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.PrimaryKeyConstraint("job_id", "name"),
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_index("ix_job_locks_name", "job_locks", ["name"], if_not_exists=True)
    op.create_index("ix_jobs_rerun_of", "jobs", ["rerun_of"], if_not_exists=True)
    op.create_index("ix_jobs_until", "jobs", ["until"], if_not_exists=True)
