"""Sessions of people who signed in to the pages with a key."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table of sessions. Indexes let pages of filtered inspections be read in the order of their ids."""
    op.create_table(
        "sessions",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(16), sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("seen", sa.Float(53), nullable=False),
    )
    for column in ("verdict", "uncertain", "category"):
        op.create_index(f"ix_inspections_{column}_id", "inspections", [column, "id"])
    op.drop_index("ix_inspections_verdict", "inspections")
