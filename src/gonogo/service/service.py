"""The parts of the service put together: bundle in use, store, keys, metrics, and the runner of inspections."""

import asyncio
import logging
import math
import shutil
import time
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import sqlalchemy as sa

from gonogo.errors import IntegrityError
from gonogo.inference.scorer import Scorer
from gonogo.service.gauge import Gauge
from gonogo.service.inspecting import InspectionRunner
from gonogo.service.memory import MemoryBudget
from gonogo.service.metrics import Metrics
from gonogo.service.problems import Problem
from gonogo.service.security import Key, Keys
from gonogo.service.sessions import Sessions
from gonogo.service.settings import MEBIBYTE, Settings
from gonogo.service.similar import PastCases
from gonogo.store.failure import failure_of, summary_of
from gonogo.store.store import SECONDS_PER_DAY, Store
from gonogo.text import printable

EXPIRE_INTERVAL = 600.0  # seconds
ORPHANS_EVERY = 144  # intervals
PROBE_SECONDS = 2.0
MIN_FREE_DISK = 256 * MEBIBYTE  # bytes; with less the service is not ready
log = logging.getLogger("gonogo.service")


class Probe(NamedTuple):
    """When the store was probed, by time.monotonic, and why nothing could be written to it; empty where it could."""

    at: float
    reasons: list[str]


class Service:
    """One service; its attributes are its parts."""

    def __init__(self, settings: Settings) -> None:
        """Load the bundle and open the store.

        Raises:
            IntegrityError: the bundle, or the one that was activated last, cannot be trusted.
            DataError: the folder or the database of the inspections cannot be used.
        """
        self.settings = settings
        self.metrics = Metrics()
        self.warnings: dict[str, str] = {}  # what a person should look at, by its kind
        self.is_ending: Callable[[], bool] = lambda: False  # whether the server ends, and responses without end too
        self.gauge = Gauge(settings)
        self.store = Store(settings.data, settings.database)
        self._resume_activated_bundle()
        self.metrics.set_bundle(self.gauge.scorer)
        self.keys = Keys(self.store, settings)
        self.sessions = Sessions(self.store, self.keys, settings)
        self.memory = MemoryBudget(settings)
        self.metrics.held.set_function(lambda: self.memory.held)
        self.runner = InspectionRunner(settings, self.gauge, self.store, self.metrics, self.memory)
        self.cases = PastCases(self.store, self.gauge, self.runner, settings.synonyms)
        self._activation_lock = asyncio.Lock()
        self._probe, self._probe_lock = Probe(-math.inf, []), asyncio.Lock()

    async def activate(self, fingerprint: str, category: str | None, key: Key) -> tuple[Scorer, str]:
        """Use another bundle and record that; returns its scorer and its name.

        Args:
            fingerprint: of the bundle.
            category: of the bundle; None: it must be the one in use.
            key: the key of the request.

        Raises:
            Problem: it is refused; the one in use stays.
            SQLAlchemyError: the activation cannot be stored; the one in use stays.
        """
        async with self._activation_lock:
            old = self.gauge.scorer
            scorer = await asyncio.to_thread(self.gauge.exchange, fingerprint, category)
            try:
                await asyncio.to_thread(
                    self.store.add_activation,
                    fingerprint,
                    started_with=self.gauge.started_with,
                    key=key.id,
                    category=scorer.category,
                )
            except sa.exc.SQLAlchemyError:
                self.gauge.scorer = old
                raise
            self.metrics.set_bundle(scorer)
            self._warn("bundle", None)
            log.warning(
                "the bundle %s for %s is in use, and %s for %s no more, by the key %s",
                *(scorer.fingerprint[:12], printable(scorer.category)),
                *(old.fingerprint[:12], printable(old.category), key.id),
            )
        bundles = await asyncio.to_thread(self.gauge.available)
        return scorer, next((bundle.name for bundle in bundles if bundle.fingerprint == fingerprint), "")

    async def reasons_not_ready(self) -> list[str]:
        """Why the service cannot accept an image now; empty where it can."""
        reasons = []
        if self.runner.waiting >= self.settings.waiting:
            reasons.append(f"{self.runner.waiting} images are waiting, and no more may")
        if shutil.disk_usage(self.settings.data).free < MIN_FREE_DISK:
            reasons.append(f"the disk for the images has less than {MIN_FREE_DISK // MEBIBYTE} MiB free")
        return reasons + await self._probe_store()

    async def _probe_store(self) -> list[str]:
        """Why nothing can be written to the store; found out anew every PROBE_SECONDS, since anyone may ask."""
        async with self._probe_lock:
            if time.monotonic() - self._probe.at > PROBE_SECONDS:
                try:
                    await asyncio.wait_for(asyncio.to_thread(self.store.probe), PROBE_SECONDS)
                    reasons = []
                except TimeoutError:
                    reasons = [f"the disk or the database does not answer within {PROBE_SECONDS:g} s"]
                except (OSError, sa.exc.SQLAlchemyError) as error:
                    full = failure_of(error) == "full"
                    reasons = ["the disk is full" if full else "the disk or the database cannot be written to"]
                self._probe = Probe(time.monotonic(), reasons)
        return self._probe.reasons

    async def expire(self) -> None:
        """Remove old images every EXPIRE_INTERVAL seconds, and files without a row every day, until cancelled."""
        for number in count():
            try:
                n_removed = await asyncio.to_thread(self._expire)
                if number % ORPHANS_EVERY == 0:
                    n_removed += await asyncio.to_thread(self.store.remove_orphans)
                if n_removed:
                    log.info("%d images removed", n_removed)
            except (OSError, sa.exc.SQLAlchemyError) as error:
                log.error("old images could not be removed: %s", printable(summary_of(error)))
            await asyncio.sleep(EXPIRE_INTERVAL)

    def _expire(self) -> int:
        """Remove old images, those by age only while the clock can be trusted; returns how many."""
        days = self.settings.keep_days
        jump = self.store.clock.jump()
        warning = None
        if jump and days is not None:
            days = None
            warning = (
                f"no image is removed by its age: the clock is {jump / SECONDS_PER_DAY:.0f} days ahead of what it was; "
                "set it right, or call `gonogo serve confirm-clock` if it is"
            )
        self._warn("clock", warning)
        settings = self.settings
        return self.store.expire(days=days, n_bytes=settings.keep_bytes, of_reviewers=settings.expire_reviewed)

    def _warn(self, kind: str, warning: str | None) -> None:
        """Show a warning in the log, in readyz and in the metrics, or take it back."""
        if warning is None:
            self.warnings.pop(kind, None)
        elif self.warnings.get(kind) != warning:
            self.warnings[kind] = warning
            log.error("%s", warning)
        self.metrics.warning.labels(kind).set(warning is not None)

    async def close(self) -> None:
        """Finish all images that were accepted, then close the store."""
        await self.runner.close()
        await asyncio.to_thread(self.store.close)

    def _resume_activated_bundle(self) -> None:
        """Use the bundle that was activated last, unless the service is now started with another bundle than then.

        Raises:
            IntegrityError: it is refused, and no other may be used in its place.
        """
        start = (self.gauge.started_with, self.gauge.scorer.category)
        last, *before = [*self.store.activated(started_with=self.gauge.started_with), start]
        if self._resumed(*last):
            self._warn("bundle", None)
            return
        if self.settings.fall_back:
            for bundle in before:  # one of another category, or of an unknown one, is no replacement
                if bundle[1] is not None and bundle[1] == last[1] and self._resumed(*bundle):
                    self._warn("bundle", _fallen_back(last[0], bundle[0]))
                    return
        raise _not_resumed(last[0])

    def _resumed(self, fingerprint: str, category: str | None) -> bool:
        try:
            self.gauge.resume(fingerprint, category)
        except Problem as problem:
            log.error("the bundle %s cannot be used again: %s", fingerprint[:12], problem.detail)
            return False
        return True


def _not_resumed(fingerprint: str) -> IntegrityError:
    return IntegrityError(
        f"the bundle {fingerprint[:12]} was activated last, and is not among the bundles any more or is refused: bring "
        "it back, start with another --bundle, or with --fall-back to use the one of its category before it"
    )


def _fallen_back(last: str, used: str) -> str:
    return (
        f"the bundle {last[:12]} was activated last, and is not among the bundles any more or is refused; "
        f"{used[:12]}, which was in use before it, is in use again"
    )
