"""What retention and a return to an earlier bundle need, and names of any length.

`images.newest` is the id of an image's newest inspection: its order does not depend on the clock, as that of
`last_seen` does. `clock` has one row: the latest time, in seconds since 1970, that a service has seen and trusted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns and a table; the text of a name becomes unbounded, since the service bounds it."""
    with op.batch_alter_table("inspections", recreate="auto") as inspections:
        inspections.alter_column("name", type_=sa.Text(), existing_type=sa.String(128), existing_nullable=True)
    op.add_column("images", sa.Column("newest", sa.String(32), nullable=False, server_default=""))
    op.execute(
        "UPDATE images SET newest = "
        "coalesce((SELECT max(inspections.id) FROM inspections WHERE inspections.image = images.sha256), '')"
    )
    op.add_column("activations", sa.Column("category", sa.String(200)))
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("seen", sa.Float(53), nullable=False),
    )
