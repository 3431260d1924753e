"""What people know of failures: every version of each item of knowledge; the last one counts."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "knowledge",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("item", sa.String(150), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("content", sa.Text),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
    )
    op.create_index("ix_knowledge_item", "knowledge", ["item"])
