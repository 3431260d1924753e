"""The parts of the service, put together and kept running: gauge, store, keys, metrics, and what judges."""

import asyncio
import logging
import shutil
import time

import sqlalchemy as sa

from gonogo.errors import IntegrityError
from gonogo.inference.scorer import Scorer
from gonogo.service.gauge import Gauge
from gonogo.service.inspecting import Inspecting
from gonogo.service.metrics import Metrics
from gonogo.service.problems import Problem
from gonogo.service.security import Key, Keys
from gonogo.service.settings import MEBIBYTE, Settings
from gonogo.store.store import Store

EXPIRE_EVERY = 600.0  # seconds
LEAST_FREE = 256 * MEBIBYTE  # bytes of the disk, below which the service is not ready
log = logging.getLogger("gonogo.service")


class Service:
    """One service; its attributes are its parts."""

    def __init__(self, settings: Settings) -> None:
        """Load the bundle and open the store.

        Raises:
            IntegrityError: the bundle, or the one that was activated last, cannot be trusted.
            DataError: the folder or the database of the inspections cannot be used.
        """
        self.settings = settings
        self.gauge = Gauge(settings)
        self.store = Store(settings.data, settings.database)
        self._go_on()
        self.metrics = Metrics()
        self.metrics.use(self.gauge.scorer)
        self.keys = Keys(self.store, settings)
        self.inspecting = Inspecting(settings, self.gauge, self.store, self.metrics)
        self._activating = asyncio.Lock()

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def activate(self, fingerprint: str, key: Key) -> tuple[Scorer, str]:
        """Exchange the gauge, and remember it; the new one and its bundle's name.

        Raises:
            Problem: it is refused; the old one stays.
        """
        async with self._activating:
            old = self.gauge.scorer
            scorer = await asyncio.to_thread(self.gauge.exchange, fingerprint)
            try:
                started_with = self.gauge.started_with
                await asyncio.to_thread(self.store.add_activation, fingerprint, started_with=started_with, key=key.id)
            except sa.exc.SQLAlchemyError as error:
                self.gauge.scorer = old
                raise Problem("bundle-refused", "it cannot be written down; the one in use stays") from error
            self.metrics.use(scorer)
        offered = await asyncio.to_thread(self.gauge.offered)
        return scorer, next((one.name for one in offered if one.fingerprint == fingerprint), "")

    async def reasons(self) -> list[str]:
        """Why no image can be taken now; none where it can."""
        found = []
        if self.inspecting.waiting >= self.settings.waiting:
            found.append(f"{self.inspecting.waiting} images are waiting, as many as may")
        if shutil.disk_usage(self.settings.data).free < LEAST_FREE:
            found.append(f"less than {LEAST_FREE // MEBIBYTE} MiB are free where images are kept")
        try:
            await asyncio.to_thread(self.store.ping)
        except sa.exc.SQLAlchemyError:
            found.append("the database does not answer")
        return found

    async def expire(self) -> None:
        """Remove old images, now and again, until it is cancelled."""
        while True:
            try:
                days, n_bytes = self.settings.keep_days, self.settings.keep_bytes
                n_gone = await asyncio.to_thread(self.store.expire, days=days, n_bytes=n_bytes)
                if n_gone:
                    log.info("%d images removed", n_gone)
            except (OSError, sa.exc.SQLAlchemyError):
                log.exception("old images could not be removed")
            await asyncio.sleep(EXPIRE_EVERY)

    async def close(self) -> None:
        """Finish what was accepted, and let go."""
        await self.inspecting.close()
        await asyncio.to_thread(self.store.close)

    def _go_on(self) -> None:
        """Use the bundle that was activated last, unless the service is started with another one than it was then."""
        last = self.store.last_activated(started_with=self.gauge.started_with)
        if last is None or last == self.gauge.scorer.fingerprint:
            return
        try:
            self.gauge.exchange(last)
        except Problem as problem:
            raise IntegrityError(
                f"the bundle {last[:12]} was activated last, and is not among the bundles any more or is refused: "
                "bring it back, or start with another --bundle"
            ) from problem
