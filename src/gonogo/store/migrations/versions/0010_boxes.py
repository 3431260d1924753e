"""The boxes that a gauge found, kept with the inspection, so that they are shown after another bundle took its place.

`inspections.boxes` is JSON, best first; null where the gauge finds no boxes, and for what was inspected before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column."""
    op.add_column("inspections", sa.Column("boxes", sa.Text))
