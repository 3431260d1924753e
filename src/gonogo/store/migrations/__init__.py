"""The revisions of the store's tables, as Alembic runs them; `gonogo.store.upgrade` calls it."""
