"""What people at the line need: reviews taken back, the audit sample, leases of the queue, the arena, and analytics.

Reviews stay as they are. `inspections.latency_ms` is the time from an image's decoding to its verdict, the sum of its
timings, so that nobody has to read their JSON to count.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

LATENCY = {
    "sqlite": "(SELECT sum(value) FROM json_each(inspections.timings_ms))",
    "postgresql": "(SELECT sum(value::float) FROM json_each_text(inspections.timings_ms::json))",
}


def upgrade() -> None:
    """Add the tables, and the column with its values for what was inspected before."""
    op.create_table(
        "undone_reviews",
        sa.Column("review", sa.Integer, sa.ForeignKey("reviews.id"), primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
    )
    op.create_table(
        "audits",
        sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("draw", sa.Float(53), nullable=False),
        sa.Column("share", sa.Float(53), nullable=False),
        sa.Column("drawn_by", sa.String(200), nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), primary_key=True),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.Column("reason", sa.String(10), nullable=False),
    )
    op.create_table(
        "skips",
        sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), primary_key=True),
        sa.Column("key", sa.String(16), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "arena_rounds",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("key", sa.String(16), nullable=False, index=True),
        sa.Column("player", sa.String(200), nullable=False),
        sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), index=True),
        sa.Column("file", sa.Text),
        sa.Column("expert", sa.Boolean, nullable=False),
        sa.Column("truth", sa.String(6), nullable=False),
        sa.Column("answer", sa.String(6)),
        sa.Column("gauge", sa.String(6)),
        sa.Column("score", sa.Float(53)),
        sa.Column("threshold", sa.Float(53)),
        sa.Column("bundle", sa.String(64)),
        sa.Column("answered", sa.Float(53)),
    )
    op.add_column("inspections", sa.Column("latency_ms", sa.Float(53)))
    op.execute(f"UPDATE inspections SET latency_ms = {LATENCY[op.get_bind().dialect.name]}")  # noqa: S608  # nosec B608
    op.drop_index("ix_inspections_at", "inspections")
    op.create_index(
        "ix_inspections_analytics",
        "inspections",
        ["at", "category", "key", "bundle", "verdict", "uncertain", "score", "threshold", "p_value", "latency_ms"],
    )
