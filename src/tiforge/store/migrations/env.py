"""Alembic's entry: migrate over the connection that the store has open."""

from alembic import context

from tiforge.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
