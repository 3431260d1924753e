"""The tables of the store as SQLAlchemy's queries see them.

The database itself is made and changed by `migrations` alone. A test holds the newest revision to these tables, so a
change here needs a new file in `migrations/versions`.
"""

from typing import Any

import sqlalchemy as sa

Row = dict[str, Any]  # the values of a row by the names of its columns; JSON_COLUMNS are decoded
# Of `inspections`, kept as text.
JSON_COLUMNS = ("regions", "certificate", "timings_ms", "statistics", "boxes", "box_model")
metadata = sa.MetaData()

images = sa.Table(
    "images",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("format", sa.String(8), nullable=False),
    sa.Column("n_bytes", sa.BigInteger, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("last_seen", sa.Float, nullable=False),
    sa.Column("kept", sa.Boolean, nullable=False),
    sa.Column("newest", sa.String(32), nullable=False, server_default=""),
)
# What a network of the user's says of the depth in an image; `statistics` is JSON, and `view` a PNG.
depths = sa.Table(
    "depths",
    metadata,
    sa.Column("image", sa.String(64), sa.ForeignKey("images.sha256"), primary_key=True),
    sa.Column("network", sa.String(64), primary_key=True),
    sa.Column("statistics", sa.Text, nullable=False),
    sa.Column("view", sa.LargeBinary, nullable=False),
)
inspections = sa.Table(
    "inspections",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("image", sa.String(64), sa.ForeignKey("images.sha256"), nullable=False, index=True),
    sa.Column("name", sa.Text),
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
    sa.Column("latency_ms", sa.Float(53)),
    sa.Column("statistics", sa.Text),
    sa.Column("boxes", sa.Text),
    sa.Column("box_model", sa.Text),
    # Covers every column that `Analytics` reads, so that it reads no row.
    sa.Index(
        "ix_inspections_analytics",
        *("at", "category", "key", "bundle", "verdict", "uncertain", "score", "threshold", "p_value", "latency_ms"),
    ),
    # What is part of a name is looked for in this index alone.
    sa.Index("ix_inspections_id_name", "id", "name"),
    # Pages of filtered inspections are read in the order of their ids.
    *(sa.Index(f"ix_inspections_{column}_id", column, "id") for column in ("verdict", "uncertain", "category")),
)
reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("label", sa.String(6), nullable=False),
    sa.Column("defect_type", sa.String(200)),
    sa.Column("note", sa.Text),
    sa.Column("reviewer", sa.String(200), nullable=False),
    sa.Column("key", sa.String(16), nullable=False),
)
# A review that a person took back; both stay.
undone_reviews = sa.Table(
    "undone_reviews",
    metadata,
    sa.Column("review", sa.Integer, sa.ForeignKey("reviews.id"), primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("key", sa.String(16), nullable=False),
)
# The random sample of inspections that a person is to look at whatever the verdict; `audit` explains `draw`.
audits = sa.Table(
    "audits",
    metadata,
    sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), primary_key=True),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("draw", sa.Float(53), nullable=False),
    sa.Column("share", sa.Float(53), nullable=False),
    sa.Column("drawn_by", sa.String(200), nullable=False),
)
# Who has an inspection before them, until when in seconds since 1970, and why it was in the queue.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), primary_key=True),
    sa.Column("key", sa.String(16), nullable=False),
    sa.Column("until", sa.Float(53), nullable=False),
    sa.Column("reason", sa.String(10), nullable=False),
)
skips = sa.Table(
    "skips",
    metadata,
    sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), primary_key=True),
    sa.Column("key", sa.String(16), primary_key=True),
    sa.Column("at", sa.Float(53), nullable=False),
)
# Each inspection that a person should look at, and why; `gonogo.store.waiting` keeps it.
waiting = sa.Table(
    "waiting",
    metadata,
    sa.Column("inspection", sa.String(32), sa.ForeignKey("inspections.id"), primary_key=True),
    sa.Column("reason", sa.String(10), nullable=False),
    sa.Index("ix_waiting_reason", "reason", "inspection"),
)
# How many inspections there were in a quarter of an hour; `gonogo.store.tallies` keeps both tables.
tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("category", sa.String(200), primary_key=True),
    sa.Column("key", sa.String(16), primary_key=True),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("n_rejected", sa.Integer, nullable=False),
    sa.Column("n_uncertain", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
# How many inspections of six hours fell into a bin of a histogram.
tally_bins = sa.Table(
    "tally_bins",
    metadata,
    sa.Column("measure", sa.String(8), primary_key=True),
    sa.Column("block", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("category", sa.String(200), primary_key=True),
    sa.Column("key", sa.String(16), primary_key=True),
    sa.Column("bundle", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("n", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
# Cases that the arena showed: of an inspection, or the file of a folder. What a person has not answered has no answer.
arena_rounds = sa.Table(
    "arena_rounds",
    metadata,
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
# Defects of the past: of an inspection that was reviewed as one, or of a file (`source`) of an archive. `version` grows
# with every change of a case, of its vectors or of its facts, so that whoever holds cases in memory finds what changed.
cases = sa.Table(
    "cases",
    metadata,
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
    sa.Index("ix_cases_category_id", "category", "id"),
)
# Of an image, or of its region with the highest peak; float32, little endian.
case_vectors = sa.Table(
    "case_vectors",
    metadata,
    sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), primary_key=True),
    sa.Column("space", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(6), primary_key=True),
    sa.Column("vector", sa.LargeBinary, nullable=False),
)
# What people say about a case; nothing is changed, and the last row counts.
case_facts = sa.Table(
    "case_facts",
    metadata,
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
# Reports on inspections; `content` is JSON, and `state` is pending, ready or failed.
reports = sa.Table(
    "reports",
    metadata,
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
# What a person says is wrong with an inspection, and the review that this is at the same time, if it is one.
corrections = sa.Table(
    "corrections",
    metadata,
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
# Versions of what people know of failures; the last one of an item counts, and without content it is removed.
knowledge = sa.Table(
    "knowledge",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("item", sa.String(150), nullable=False, index=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("content", sa.Text),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("key", sa.String(16), nullable=False),
)
keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("role", sa.String(7), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("revoked", sa.Float),
)
# Of people who signed in to the pages with a key; `sha256` is of the secret in their browser's cookie.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(16), sa.ForeignKey("keys.id"), nullable=False),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("seen", sa.Float(53), nullable=False),
)
activations = sa.Table(
    "activations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("bundle", sa.String(64), nullable=False),
    sa.Column("started_with", sa.String(64), nullable=False),
    sa.Column("key", sa.String(16), nullable=False),
    sa.Column("category", sa.String(200)),
)
# What was learnt about a bundle's certificate since the inspection `after`, up to `last`; `watches.py` explains them.
watches = sa.Table(
    "watches",
    metadata,
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
watch_values = sa.Table(
    "watch_values",
    metadata,
    sa.Column("watch", sa.Integer, sa.ForeignKey("watches.id"), primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
clock = sa.Table(
    "clock",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("seen", sa.Float(53), nullable=False),
)
