"""Runs the migrations on the connection that omserver_master.store.schema_version hands over."""

from alembic import context

from omserver_master.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    transactional_ddl=context.config.attributes["connection"].dialect.name != "mysql",
)
with context.begin_transaction():
    context.run_migrations()
