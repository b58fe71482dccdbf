"""Entry point of Alembic: runs the migrations on the connection that ``migrate.upgrade`` gives."""

from alembic import context

from management.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
