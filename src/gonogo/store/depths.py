"""What networks say of the depth in images, in the database: kept as long as the image, since the view shows it."""

import json
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from gonogo.store.reviews import Writing
from gonogo.store.schema import Row, depths, images


class Depths:
    """The depths in the database."""

    def __init__(self, engine: sa.Engine, writing: Writing) -> None:
        self._engine, self._writing = engine, writing

    def of(self, image: str, network: str) -> Row | None:
        """`statistics` and `view` of an image by a network; None: they are not there."""
        query = sa.select(depths).where(depths.c.image == image, depths.c.network == network)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else {"statistics": json.loads(row.statistics), "view": bytes(row.view)}

    def put(self, image: str, network: str, statistics: Mapping[str, float], view: bytes) -> None:
        """Keep what a network says, unless the image is kept no more."""
        row = {"image": image, "network": network, "statistics": json.dumps(dict(statistics), allow_nan=False)}
        kept = sa.select(images.c.kept).where(images.c.sha256 == image).with_for_update()
        with self._writing() as connection:
            if connection.execute(kept).scalar():
                own = sa.and_(depths.c.image == image, depths.c.network == network)
                connection.execute(sa.delete(depths).where(own))
                connection.execute(sa.insert(depths).values(row | {"view": view}))


def remove_depths_of(connection: sa.Connection, removed: Sequence[str]) -> None:
    """Forget the depths of images that are removed, by their SHA-256."""
    connection.execute(sa.delete(depths).where(depths.c.image.in_(removed)))
