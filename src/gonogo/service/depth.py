"""Depth in inspected images, as `/v1` and the pages call it: computed once for each image and network, and kept."""

import asyncio
from dataclasses import asdict
from functools import partial

from gonogo.errors import ImageError
from gonogo.inference.depth import LABEL, DepthNetwork
from gonogo.service import schemas
from gonogo.service.inspecting import InspectionRunner
from gonogo.service.problems import Problem
from gonogo.service.security import Key
from gonogo.service.stored_image import stored_image
from gonogo.store.schema import Row
from gonogo.store.store import Store

MOST_BEGUN = 32  # images that wait for the network
RETRY_SECONDS = 5


class Depth:
    """The depth of a service's inspections, where it has a network that tells it."""

    def __init__(self, store: Store, runner: InspectionRunner, network: DepthNetwork | None) -> None:
        self._store, self._runner, self._network = store, runner, network
        self._begun: dict[str, asyncio.Task[Row]] = {}  # by the image, so that two who ask wait for one
        self._one_at_a_time = asyncio.Lock()  # or those that wait for the network would take the inspections' threads

    @property
    def given(self) -> bool:
        """Whether there is a network that tells depth."""
        return self._network is not None

    async def of(self, row: Row, key: Key) -> schemas.Depth:
        """What the network says of an inspection's image.

        Raises:
            Problem: as `view`.
        """
        network = self._required()
        told = await self._told(row, key, network)
        statistics = schemas.DepthStatistics(**told["statistics"])
        return schemas.Depth(inspection=row["id"], label=LABEL, network=network.identity, statistics=statistics)

    async def view(self, row: Row, key: Key) -> bytes:
        """The view of it, a PNG.

        Raises:
            Problem: there is no network, it fails on the image, the image is kept no more, or there is no memory now.
        """
        return bytes((await self._told(row, key, self._required()))["view"])

    def _required(self) -> DepthNetwork:
        if self._network is None:
            raise Problem("not-found", "this service has no network that tells depth; `gonogo serve --depth` takes one")
        return self._network

    async def _told(self, row: Row, key: Key, network: DepthNetwork) -> Row:
        image = row["image_sha256"]
        kept = await asyncio.to_thread(self._store.depths.of, image, network.identity)
        if kept is not None:
            return kept
        task = self._begun.get(image)
        if task is None:
            if len(self._begun) == MOST_BEGUN:
                retry = {"Retry-After": str(RETRY_SECONDS)}
                raise Problem("busy", f"{MOST_BEGUN} images wait for the network that tells depth", headers=retry)
            task = self._begun[image] = asyncio.create_task(self._compute(row, key, network))
            task.add_done_callback(partial(self._end, image))
        return await asyncio.shield(task)

    def _end(self, image: str, ended: asyncio.Task[Row]) -> None:
        del self._begun[image]
        if not ended.cancelled():
            ended.exception()  # where nobody waits any more, asyncio would log it as never retrieved

    async def _compute(self, row: Row, key: Key, network: DepthNetwork) -> Row:
        image = row["image_sha256"]
        data = await stored_image(self._store, row)
        try:
            async with self._one_at_a_time:
                look = partial(network.look, name=f"the image of the inspection {row['id']}")
                with self._runner.reserve_slot(key):
                    statistics, view = await self._runner.pictured(data, key, look)
        except ImageError as error:
            raise Problem("network-failed", str(error)) from error
        await asyncio.to_thread(self._store.depths.put, image, network.identity, asdict(statistics), view)
        return {"statistics": asdict(statistics), "view": view}
