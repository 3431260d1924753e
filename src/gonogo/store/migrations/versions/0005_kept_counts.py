"""What pages show of many inspections at once: the queue and the counts are kept, and names have an index.

`waiting` has each inspection that a person should look at, and why. `tallies` counts inspections by the quarter of an
hour, and `tally_bins` the bins of three histograms by blocks of six hours. A voice is now that of a key, whatever name
a review was sent with, so that reviews of one key under several names settle nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

WHOLE = {"sqlite": "CAST({} AS INTEGER)", "postgresql": "CAST(floor({}) AS BIGINT)"}
BINS = {
    "p_value": ("CASE WHEN {p} > 19 THEN 19 ELSE {p} END", "p_value * 20", "1 = 1"),
    "score": (
        "CASE WHEN {p} > 60 THEN 60 ELSE {p} END",
        "CASE WHEN score / threshold * 20 > 60 THEN 60 ELSE score / threshold * 20 END",
        "threshold > 0 AND score >= 0",
    ),
    "latency": (
        "CASE WHEN latency_ms < 5 THEN 0 WHEN latency_ms < 10 THEN 1 WHEN latency_ms < 20 THEN 2 "
        "WHEN latency_ms < 50 THEN 3 WHEN latency_ms < 100 THEN 4 WHEN latency_ms < 200 THEN 5 "
        "WHEN latency_ms < 500 THEN 6 WHEN latency_ms < 1000 THEN 7 WHEN latency_ms < 2000 THEN 8 "
        "WHEN latency_ms < 5000 THEN 9 ELSE 10 END",
        "0",
        "latency_ms IS NOT NULL",
    ),
}
WAITING = """
INSERT INTO waiting (inspection, reason)
SELECT found.id, found.reason FROM (
    SELECT inspections.id AS id, CASE
        WHEN voices.inspection IS NULL THEN CASE
            WHEN inspections.uncertain THEN 'uncertain'
            WHEN inspections.verdict = 'reject' THEN 'rejected'
            WHEN audits.inspection IS NOT NULL THEN 'audit'
        END
        WHEN voices.good = voices.defect THEN 'disputed'
        WHEN voices.n = 1 AND EXISTS (
            SELECT 1 FROM arena_rounds
            WHERE arena_rounds.inspection = inspections.id AND arena_rounds.answer IS NOT NULL
            AND arena_rounds.answer <> voices.label AND arena_rounds.key <> voices.key
        ) THEN 'questioned'
    END AS reason
    FROM inspections
    JOIN images ON images.sha256 = inspections.image AND images.kept
    LEFT JOIN audits ON audits.inspection = inspections.id
    LEFT JOIN (
        SELECT inspection, count(*) AS n, min(label) AS label, min(key) AS key,
            sum(CASE WHEN label = 'good' THEN 1 ELSE 0 END) AS good,
            sum(CASE WHEN label = 'good' THEN 0 ELSE 1 END) AS defect
        FROM reviews
        WHERE id IN (
            SELECT max(reviews.id) FROM reviews LEFT JOIN undone_reviews ON undone_reviews.review = reviews.id
            WHERE undone_reviews.review IS NULL GROUP BY reviews.inspection, reviews.key
        )
        GROUP BY inspection
    ) AS voices ON voices.inspection = inspections.id
) AS found WHERE found.reason IS NOT NULL
"""


def upgrade() -> None:
    """Add the tables with what follows from the rows that are there, and the index of names."""
    op.create_table(
        "waiting",
        sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), primary_key=True),
        sa.Column("reason", sa.String(10), nullable=False),
    )
    op.create_index("ix_waiting_reason", "waiting", ["reason", "inspection"])
    op.create_table(
        "tallies",
        sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("category", sa.String(200), primary_key=True),
        sa.Column("key", sa.String(16), primary_key=True),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("n_rejected", sa.Integer, nullable=False),
        sa.Column("n_uncertain", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tally_bins",
        sa.Column("measure", sa.String(8), primary_key=True),
        sa.Column("block", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("category", sa.String(200), primary_key=True),
        sa.Column("key", sa.String(16), primary_key=True),
        sa.Column("bundle", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_inspections_id_name", "inspections", ["id", "name"])
    op.execute(WAITING)
    whole = WHOLE[op.get_bind().dialect.name]
    op.execute(
        "INSERT INTO tallies (slot, category, key, n, n_rejected, n_uncertain) "  # noqa: S608  # nosec B608
        f"SELECT {whole.format('at / 900')}, category, key, count(*), "
        "sum(CASE WHEN verdict = 'reject' THEN 1 ELSE 0 END), sum(CASE WHEN uncertain THEN 1 ELSE 0 END) "
        "FROM inspections GROUP BY 1, 2, 3"
    )
    for measure, (number, position, condition) in BINS.items():
        op.execute(
            "INSERT INTO tally_bins (measure, block, category, key, bundle, number, n) "  # noqa: S608  # nosec B608
            f"SELECT '{measure}', {whole.format('at / 21600')}, category, key, bundle, "
            f"{number.format(p=whole.format(position))}, count(*) "
            f"FROM inspections WHERE {condition} GROUP BY 2, 3, 4, 5, 6"
        )
