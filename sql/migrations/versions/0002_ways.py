"""Dry runs, the engines of a job, secrets of connections, and which ways to a host were passed over.

Where a database cannot undo a new column, a migration that was cut off is simply run again: what is there
already stays.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
PROSE = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
NAME = sa.String(255)


def _add(table, column):
    known = {row["name"] for row in sa.inspect(op.get_bind()).get_columns(table)}
    if column.name not in known:
        op.add_column(table, column)


def upgrade():
    _add("connections", sa.Column("secrets", BYTES, nullable=True))
    _add("jobs", sa.Column("dry_run", sa.Boolean(), nullable=False, server_default=sa.false()))
    _add("jobs", sa.Column("engines", PROSE, nullable=True))
    _add("host_results", sa.Column("passed_over", NAME, nullable=False, server_default=""))
