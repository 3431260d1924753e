"""Alembic's entry point: run the revisions on the connection that `gonogo.store.upgrade` hands over.

The connection is in a transaction, which holds the lock against other services; the caller commits it.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
