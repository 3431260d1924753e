"""The tables of gonogo 0.1.0.

A store that gonogo made before it had revisions has these tables already, or some of them where it was killed while it
made them. What is there is therefore left as it is, with its rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables and indexes that are not there."""
    op.create_table(
        "images",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("format", sa.String(8), nullable=False),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
        sa.Column("kept", sa.Boolean, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "inspections",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("image", sa.String(64), sa.ForeignKey("images.sha256"), nullable=False),
        sa.Column("name", sa.String(128)),
        sa.Column("verdict", sa.String(6), nullable=False),
        sa.Column("score", sa.Float(53), nullable=False),
        sa.Column("threshold", sa.Float(53), nullable=False),
        sa.Column("p_value", sa.Float(53), nullable=False),
        sa.Column("probability", sa.Float(53)),
        sa.Column("uncertain", sa.Boolean, nullable=False),
        sa.Column("regions", sa.Text, nullable=False),
        sa.Column("category", sa.String(200), nullable=False),
        sa.Column("bundle", sa.String(64), nullable=False),
        sa.Column("certificate", sa.Text, nullable=False),
        sa.Column("timings_ms", sa.Text, nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("label", sa.String(6), nullable=False),
        sa.Column("defect_type", sa.String(200)),
        sa.Column("note", sa.Text),
        sa.Column("reviewer", sa.String(200), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(7), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("revoked", sa.Float),
        if_not_exists=True,
    )
    op.create_table(
        "activations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("bundle", sa.String(64), nullable=False),
        sa.Column("started_with", sa.String(64), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        if_not_exists=True,
    )
    for column in ("at", "image", "verdict"):
        op.create_index(f"ix_inspections_{column}", "inspections", [column], if_not_exists=True)
    op.create_index("ix_reviews_inspection", "reviews", ["inspection"], if_not_exists=True)
