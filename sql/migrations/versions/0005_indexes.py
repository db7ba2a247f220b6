"""Indexes for lists of jobs at a million of them, and for finding outputs that nothing refers to.

A migration that was cut off is simply run again: what is there already stays.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade():
    for columns in (["module", "id"], ["user_id", "id"], ["created"]):
        op.create_index("_".join(["ix_jobs", *columns]), "jobs", columns, if_not_exists=True)
    wider = "ix_host_results_host_id_job_id"
    op.create_index(wider, "host_results", ["host_id", "job_id"], if_not_exists=True)
    op.drop_index("ix_host_results_host_id", "host_results", if_exists=True)
    for table in ("host_results", "steps"):
        for column in ("stdout_id", "stderr_id"):
            some = sa.text(f"{column} IS NOT NULL")
            op.create_index(
                f"ix_{table}_{column}",
                table,
                [column],
                if_not_exists=True,
                sqlite_where=some,
                postgresql_where=some,
            )
