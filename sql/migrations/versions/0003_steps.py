"""The steps of a host's work, so that a job can be taken up again where it was after a crash.

Where a database cannot undo a new column, a migration that was cut off is simply run again: what is there
already stays.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
HASH, NAME = sa.String(64), sa.String(255)

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
    _add("host_results", sa.Column("step", sa.Integer(), nullable=False, server_default="0"))
    _add("host_results", sa.Column("work", HASH, nullable=False, server_default=""))
    op.create_table(
        "steps",
        sa.Column("job_id", ID, nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("work", HASH, nullable=False),
        sa.Column("connection", NAME, nullable=False),
        sa.Column("handle", NAME, nullable=False),
        sa.Column("rc", sa.Integer(), nullable=True),
        sa.Column("stdout_id", ID, nullable=True),
        sa.Column("stderr_id", ID, nullable=True),
        sa.Column("stdout_cut", ID, nullable=False),
        sa.Column("stderr_cut", ID, nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("finished", TIME, nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["server_list.ID"]),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.ForeignKeyConstraint(["stderr_id"], ["outputs.id"]),
        sa.ForeignKeyConstraint(["stdout_id"], ["outputs.id"]),
        sa.PrimaryKeyConstraint("job_id", "host_id", "step"),
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_index("ix_steps_host_id", "steps", ["host_id"], if_not_exists=True)
