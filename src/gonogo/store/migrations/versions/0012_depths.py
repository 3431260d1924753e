"""What a network of the user's says of the depth in an image, which is computed once."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "depths",
        sa.Column("image", sa.String(64), sa.ForeignKey("images.sha256"), primary_key=True),
        sa.Column("network", sa.String(64), primary_key=True),
        sa.Column("statistics", sa.Text, nullable=False),
        sa.Column("view", sa.LargeBinary, nullable=False),
    )
