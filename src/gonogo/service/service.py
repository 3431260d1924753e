"""The parts of the service put together: bundle in use, store, keys, metrics, and the runner of inspections."""

import asyncio
import logging
import shutil

import sqlalchemy as sa

from gonogo.errors import IntegrityError
from gonogo.inference.scorer import Scorer
from gonogo.service.gauge import Gauge
from gonogo.service.inspecting import InspectionRunner
from gonogo.service.metrics import Metrics
from gonogo.service.problems import Problem
from gonogo.service.security import Key, Keys
from gonogo.service.settings import MEBIBYTE, Settings
from gonogo.store.store import Store

EXPIRE_INTERVAL = 600.0  # seconds
MIN_FREE_DISK = 256 * MEBIBYTE  # bytes; with less the service is not ready
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
        self._resume_activated_bundle()
        self.metrics = Metrics()
        self.metrics.set_bundle(self.gauge.scorer)
        self.keys = Keys(self.store, settings)
        self.runner = InspectionRunner(settings, self.gauge, self.store, self.metrics)
        self._activation_lock = asyncio.Lock()

    async def activate(self, fingerprint: str, key: Key) -> tuple[Scorer, str]:
        """Use another bundle and record that; returns its scorer and its name.

        Raises:
            Problem: it is refused; the one in use stays.
        """
        async with self._activation_lock:
            old = self.gauge.scorer
            scorer = await asyncio.to_thread(self.gauge.exchange, fingerprint)
            try:
                started_with = self.gauge.started_with
                await asyncio.to_thread(self.store.add_activation, fingerprint, started_with=started_with, key=key.id)
            except sa.exc.SQLAlchemyError as error:
                self.gauge.scorer = old
                raise Problem("bundle-refused", "the activation cannot be stored; the one in use stays") from error
            self.metrics.set_bundle(scorer)
        bundles = await asyncio.to_thread(self.gauge.available)
        return scorer, next((bundle.name for bundle in bundles if bundle.fingerprint == fingerprint), "")

    async def reasons_not_ready(self) -> list[str]:
        """Why the service cannot accept an image now; empty where it can."""
        reasons = []
        if self.runner.waiting >= self.settings.waiting:
            reasons.append(f"{self.runner.waiting} images are waiting, and no more may")
        if shutil.disk_usage(self.settings.data).free < MIN_FREE_DISK:
            reasons.append(f"the disk for the images has less than {MIN_FREE_DISK // MEBIBYTE} MiB free")
        try:
            await asyncio.to_thread(self.store.ping)
        except sa.exc.SQLAlchemyError:
            reasons.append("the database does not answer")
        return reasons

    async def expire(self) -> None:
        """Remove old images every EXPIRE_INTERVAL seconds, until the task is cancelled."""
        while True:
            try:
                days, n_bytes = self.settings.keep_days, self.settings.keep_bytes
                n_removed = await asyncio.to_thread(self.store.expire, days=days, n_bytes=n_bytes)
                if n_removed:
                    log.info("%d images removed", n_removed)
            except (OSError, sa.exc.SQLAlchemyError):
                log.exception("old images could not be removed")
            await asyncio.sleep(EXPIRE_INTERVAL)

    async def close(self) -> None:
        """Finish all images that were accepted, then close the store."""
        await self.runner.close()
        await asyncio.to_thread(self.store.close)

    def _resume_activated_bundle(self) -> None:
        """Use the bundle that was activated last, unless the service is now started with another bundle than then."""
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
