"""Whether certificates still hold: what was learnt about each, and statistics of every image.

`inspections.statistics` is JSON, and null for what was inspected before. A watch begins after the inspection `after`,
and has learnt from all of its bundle up to `last`; `state` is JSON, and `watch_values` has the numbers behind it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column and the tables."""
    op.add_column("inspections", sa.Column("statistics", sa.Text))
    op.create_table(
        "watches",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("category", sa.String(200), nullable=False),
        sa.Column("bundle", sa.String(64), nullable=False),
        sa.Column("after", sa.String(32), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("last", sa.String(32), nullable=False),
        sa.Column("state", sa.Text),
        sa.Column("withdrawn", sa.Float(53)),
        sa.Column("withdrawn_at", sa.String(32)),
    )
    op.create_table(
        "watch_values",
        sa.Column("watch", sa.Integer, sa.ForeignKey("watches.id"), primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
