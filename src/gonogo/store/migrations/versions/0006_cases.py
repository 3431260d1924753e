"""Cases: defects of the past with their crop, their vectors, and what people know about their cause and remedy."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables. Reviews of before become cases with `gonogo cases update`."""
    op.create_table(
        "cases",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), unique=True),
        sa.Column("source", sa.Text),
        sa.Column("image", sa.String(64), nullable=False),
        sa.Column("part", sa.String(200)),
        sa.Column("category", sa.String(200), nullable=False),
        sa.Column("defect_type", sa.String(200), nullable=False),
        sa.Column("region", sa.Text),
        sa.Column("crop", sa.LargeBinary, nullable=False),
        sa.Column("crop_type", sa.String(20), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("removed", sa.Float(53)),
        sa.Column("version", sa.BigInteger, nullable=False, unique=True),
    )
    op.create_index("ix_cases_category_id", "cases", ["category", "id"])
    op.create_table(
        "case_vectors",
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("space", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(6), primary_key=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "case_facts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("severity", sa.Integer),
        sa.Column("cause", sa.Text),
        sa.Column("remedy", sa.Text),
        sa.Column("note", sa.Text),
    )
