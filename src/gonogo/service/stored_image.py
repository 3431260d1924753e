"""The image of an inspection, as it was sent."""

import asyncio

from gonogo.service.problems import Problem
from gonogo.store.schema import Row
from gonogo.store.store import Store


async def stored_image(store: Store, row: Row) -> bytes:
    """The file of an inspection's image.

    Raises:
        Problem: it is kept no more.
    """
    try:
        return await asyncio.to_thread(store.images.path_of(row["image_sha256"]).read_bytes)
    except FileNotFoundError as error:
        raise Problem("image-expired", "the image was removed because of its age or the disk's limit") from error
