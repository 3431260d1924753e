"""Reviews that a person took back. Reviews themselves stay as they are."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "undone_reviews",
        sa.Column("review", sa.Integer, sa.ForeignKey("reviews.id"), primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
    )
