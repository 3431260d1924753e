"""Which box model found the boxes of an inspection, where another bundle, the gauge, gave the verdict.

`inspections.box_model` is JSON: its category, bundle, threshold and certificate. Null where the gauge itself found the
boxes, where there are none, and for what was inspected before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column."""
    op.add_column("inspections", sa.Column("box_model", sa.Text))
