"""Reviews and the queue, as `/v1` and the pages call them."""

import asyncio
import time

from gonogo.service import schemas
from gonogo.service.problems import Problem
from gonogo.service.security import Key
from gonogo.store.queue import Waiting
from gonogo.store.schema import Row
from gonogo.store.store import Store


async def add_review(store: Store, identifier: str, given: schemas.Review, key: Key) -> int:
    """Add a review to an inspection and end the lease on it; returns the review's id.

    Raises:
        Problem: a defect has no type or a good part has one, it names somebody else as its reviewer, or there is no
            such inspection.
    """
    if (given.label == "defect") != (given.defect_type is not None):
        raise Problem("invalid-request", "a defect has a defect_type, and a good part has none")
    if given.reviewer not in (None, key.name.strip()):
        raise Problem(
            "forbidden",
            f"a review is that of its key, whose name is {key.name!r}: leave `reviewer` out, or send it with a key of "
            f"{given.reviewer!r}, which `gonogo serve key` makes",
        )
    await inspection_row(store, identifier)
    row = given.model_dump() | {"reviewer": key.name, "at": time.time(), "key": key.id}
    added = await asyncio.to_thread(store.reviews.add, identifier, row)
    await asyncio.to_thread(store.queue.release, identifier, key=key.id)
    return added


async def undo_review(store: Store, review: int, key: Key) -> str:
    """Take back a review that this key gave; returns the id of its inspection. What is taken back already stays so.

    Raises:
        Problem: there is no such review, or it is another key's.
    """
    row = await asyncio.to_thread(store.reviews.review, review)
    if row is None:
        raise Problem("not-found", f"there is no review {review}")
    if row["key"] != key.id:
        raise Problem("forbidden", "another key gave this review; only that one may take it back")
    await asyncio.to_thread(store.reviews.undo, review, key=key.id)
    return str(row["inspection"])


async def undo_last_review(store: Store, identifier: str, key: Key) -> bool:
    """Take back the last review of an inspection that this key gave and that counts; False where there is none.

    Raises:
        Problem: there is no such inspection.
    """
    row = await inspection_row(store, identifier)
    mine = [each["id"] for each in row["reviews"] if each["key"] == key.id and each["undone"] is None]
    return bool(mine) and await asyncio.to_thread(store.reviews.undo, mine[-1], key=key.id)


async def next_task(store: Store, key: Key) -> Waiting | None:
    """What the person with this key should review next; None: nothing waits."""
    return await asyncio.to_thread(store.queue.take, key=key.id, now=time.time())


async def skip_task(store: Store, identifier: str, key: Key) -> None:
    """Set an inspection aside for this person, for an hour.

    Raises:
        Problem: there is no such inspection.
    """
    await inspection_row(store, identifier)
    await asyncio.to_thread(store.queue.skip, identifier, key=key.id, now=time.time())


async def inspection_row(store: Store, identifier: str) -> Row:
    """The row of an inspection.

    Raises:
        Problem: there is none.
    """
    row = await asyncio.to_thread(store.inspection, identifier)
    if row is None:
        raise Problem("not-found", f"there is no inspection {identifier}")
    return row
