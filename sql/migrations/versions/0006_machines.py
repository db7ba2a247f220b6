"""Which machines' workers serve a connection, which may take a job, and on which a worker runs.

Connections and jobs that there are already are for any machine, as before. Where a database cannot undo a new
column, a migration that was cut off is simply run again: what is there already stays.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"

TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def _add(table, column):
    known = {row["name"] for row in sa.inspect(op.get_bind()).get_columns(table)}
    if column.name not in known:
        op.add_column(table, column)


def upgrade():
    _add("connections", sa.Column("machines", TEXT, nullable=True))
    _add("jobs", sa.Column("machines", TEXT, nullable=True))
    _add("workers", sa.Column("machine", sa.String(255), nullable=False, server_default=""))
