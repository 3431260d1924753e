"""Reports on inspections, and corrections of them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "reports",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), nullable=False, index=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("state", sa.String(7), nullable=False),
        sa.Column("ended", sa.Float(53)),
        sa.Column("content", sa.Text),
        sa.Column("error", sa.Text),
    )
    op.create_table(
        "corrections",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), nullable=False, index=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("reason", sa.String(14), nullable=False),
        sa.Column("defect_type", sa.String(200)),
        sa.Column("category", sa.String(200)),
        sa.Column("note", sa.Text),
        sa.Column("reviewer", sa.String(200), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("review", sa.Integer, sa.ForeignKey("reviews.id")),
    )
