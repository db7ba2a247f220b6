"""The index for the list of one module's jobs holds the person too: both together were slow on MariaDB.

Where a database cannot undo an index, a migration that was cut off is simply run again.
"""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade():
    wider = ["module", "id", "user_id"]
    op.create_index("_".join(["ix_jobs", *wider]), "jobs", wider, if_not_exists=True)
    op.drop_index("ix_jobs_module_id", "jobs", if_exists=True)
