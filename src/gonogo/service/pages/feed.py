"""The live feed: inspections as they are stored, as server-sent events.

The store is asked, and not the service's own inspections, since several services may share it. However many people
watch, one task asks, and only while somebody watches.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from sqlalchemy.exc import SQLAlchemyError

from gonogo.service.service import Service
from gonogo.store.schema import Row

INTERVAL = 0.5  # seconds between two questions to the store
MOST_AT_ONCE = 30  # inspections in one interval; of more, the oldest are left out
log = logging.getLogger("gonogo.service")


class Feed:
    """Tells everyone who watches about new inspections."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._watching: set[asyncio.Queue[list[Row]]] = set()
        self._asking: asyncio.Task[None] | None = None

    async def watch(self, after: str | None) -> AsyncIterator[list[Row]]:
        """Inspections that are newer than the one with the id `after`, newest first; then, every INTERVAL, new ones.

        An empty list says that there is none. The first lists may have an inspection twice.
        """
        queue: asyncio.Queue[list[Row]] = asyncio.Queue(maxsize=8)
        self._watching.add(queue)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            if after is not None:
                yield await asyncio.to_thread(self._service.store.after, after, limit=MOST_AT_ONCE)
            while not self._service.is_ending():
                yield await queue.get()
        finally:
            self._watching.discard(queue)

    async def _ask(self) -> None:
        store, last = self._service.store, None
        while self._watching:
            rows: list[Row] = []
            try:
                if last is None:
                    last = await asyncio.to_thread(store.newest_id) or "0"
                else:
                    rows = await asyncio.to_thread(store.after, last, limit=MOST_AT_ONCE)
            except (OSError, SQLAlchemyError) as error:
                log.error("the live feed cannot read the store: %s", type(error).__name__)
            last = rows[0]["id"] if rows else last
            for queue in list(self._watching):
                if not queue.full():  # whoever does not read misses some
                    queue.put_nowait(rows)
            await asyncio.sleep(INTERVAL)
