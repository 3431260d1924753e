"""One file for each revision, `NNNN_name.py`, numbered without gaps; `revision` and `down_revision` are the numbers.

A revision that was released is never changed, and imports nothing of gonogo, whose tables go on changing. It has
`upgrade` alone, which works on SQLite and on PostgreSQL: change columns within `op.batch_alter_table`, and commit
nothing, since all revisions of an upgrade are one transaction. The way back is a copy of the store.
"""
