"""The parts of the service put together: bundle in use, store, keys, metrics, and the runner of inspections."""

import asyncio
import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

import sqlalchemy as sa

from gonogo.cases.embedder import Embedder
from gonogo.cases.language import WORKING_BYTES, Language
from gonogo.errors import ConfigError, DataError, GonogoError, IntegrityError
from gonogo.inference.bundle import read_bundle
from gonogo.inference.depth import DepthNetwork
from gonogo.inference.scorer import Scorer
from gonogo.line.webhook import Webhook
from gonogo.monitoring.certificate_watch import CertificateWatch
from gonogo.service.depth import Depth
from gonogo.service.gauge import Gauge
from gonogo.service.inspecting import InspectionRunner
from gonogo.service.knowledge import KnownFailures
from gonogo.service.memory import MemoryBudget
from gonogo.service.metrics import Metrics
from gonogo.service.problems import Problem
from gonogo.service.promoted import REGISTRY, Promoted
from gonogo.service.reporting.reporter import Reporter
from gonogo.service.security import Key, Keys
from gonogo.service.sessions import Sessions
from gonogo.service.settings import MEBIBYTE, Settings
from gonogo.service.similar import PastCases
from gonogo.service.standing import CertificateStanding, Standing
from gonogo.store.failure import failure_of, summary_of
from gonogo.store.schema import Row
from gonogo.store.store import SECONDS_PER_DAY, Store
from gonogo.text import printable

EXPIRE_INTERVAL = 600.0  # seconds
ORPHANS_EVERY = 144  # intervals
PROBE_SECONDS = 2.0
WEBHOOK_SECONDS = 5.0  # at the end, for what is not delivered yet; the next start goes on
TRY_AGAIN_SECONDS = 60.0  # after a failure to use the gauge of the registry
REGISTRY_KEY = Key("registry", "the registry", "admin")  # that activates what was promoted
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
            IntegrityError: the bundle, the one that was activated last, or a network of the user's cannot be trusted.
            DataError: the folder or the database of the inspections cannot be used, or the registry has no gauge.
            GateError: the gauge that the registry has in use did not come through the gate.
            ConfigError: a setting or a network of the user's is wrong.
            MissingExtraError: a setting needs an extra that is not installed.
        """
        self.promoted = None if settings.registry is None else Promoted(settings.registry)
        if self.promoted is not None:
            settings = replace(settings, bundle=self.promoted.fetch(), bundles=self.promoted.source.folder)
        self.settings = settings
        self.metrics = Metrics()
        self.warnings: dict[str, str] = {}  # what a person should look at, by its kind
        self.is_ending: Callable[[], bool] = lambda: False  # whether the server ends, and responses without end too
        self.gauge = Gauge(settings)
        self.store = Store(settings.data, settings.database)
        if self.promoted is None:  # otherwise the registry says it
            self._resume_activated_bundle()
        self.metrics.set_bundle(self.gauge.scorer)
        self.webhook = None
        if settings.webhook is not None and settings.webhook_secret is not None:
            queue = settings.data / "webhook"
            self.webhook = Webhook(settings.webhook, settings.webhook_secret, queue, proxy=settings.webhook_proxy)
        self.standing = CertificateStanding(
            self.store, settings.watch, self.gauge.scorer, shown=self._show_standing, changed=self._tell_standing
        )
        self.keys = Keys(self.store, settings)
        self.sessions = Sessions(self.store, self.keys, settings)
        language = Language(threads=settings.threads) if settings.rerank else None
        embedder = Embedder(settings.embedder, threads=settings.threads) if settings.embedder else None
        depth = DepthNetwork(settings.depth, threads=settings.threads) if settings.depth else None
        working = [network.working_bytes for network in (embedder, depth) if network is not None]
        reserved = sum(working) + (WORKING_BYTES if language else 0)
        self.memory = MemoryBudget(settings, reserved=reserved)
        self.metrics.held.set_function(lambda: self.memory.held)
        self.runner = InspectionRunner(settings, self.gauge, self.store, self.metrics, self.memory, self.standing)
        self.cases = PastCases(
            self.store, self.gauge, self.runner, synonyms=settings.synonyms, language=language, embedder=embedder
        )
        self.depth = Depth(self.store, self.runner, depth)
        self.known_failures = KnownFailures(self.store, self.gauge)
        self.reporter = Reporter(settings, self.store, self.runner, self.cases)
        self._activation_lock, self._reload_lock = asyncio.Lock(), asyncio.Lock()
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
        if self.promoted is not None and key != REGISTRY_KEY:
            raise Problem(
                "not-promoted",
                f"this service uses the gauge that {REGISTRY} has in use, which stays; `gonogo promote` puts another "
                "one through the gate",
            )
        async with self._activation_lock:
            old = self.gauge.scorer
            scorer = await asyncio.to_thread(self.gauge.exchange, fingerprint, category)
            try:
                CertificateWatch(scorer.record, self.settings.watch)
            except ConfigError as error:
                self.gauge.scorer = old
                raise Problem("bundle-refused", f"{error}; the one in use stays") from error
            try:
                await asyncio.to_thread(
                    self.store.add_activation,
                    fingerprint,
                    started_with=self.gauge.started_with,
                    key=key.id,
                    category=scorer.category,
                )
                await asyncio.to_thread(self.standing.use, scorer, key=key.id, by=key.name)
            except (OSError, sa.exc.SQLAlchemyError):
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

    async def reload(self) -> Scorer:
        """Use the gauge that the registry has in use; returns its scorer.

        Raises:
            Problem: there is no registry to follow, or its gauge is refused; the one in use stays.
            SQLAlchemyError: the activation cannot be stored; the one in use stays.
        """
        if self.promoted is None:
            raise Problem("not-found", "this service follows no registry; `gonogo serve --registry` does")
        async with self._reload_lock:
            try:
                path = await asyncio.to_thread(self.promoted.fetch)
                fingerprint = (await asyncio.to_thread(read_bundle, path)).fingerprint
                if fingerprint != self.gauge.scorer.fingerprint:
                    await self.activate(fingerprint, self.promoted.source.category, REGISTRY_KEY)
            except (GonogoError, OSError) as error:
                self._warn("registry", f"the gauge that {REGISTRY} has in use is refused; the one before it goes on")
                reason = error.detail if isinstance(error, Problem) else str(error)
                raise Problem("bundle-refused", f"{reason}; the one in use stays") from error
            self._warn("registry", None)
            return self.gauge.scorer

    async def follow_registry(self) -> None:
        """Use what is promoted soon after its line is written, until cancelled; nothing without a registry."""
        if self.promoted is None:
            return
        refused, when = None, -math.inf
        while True:
            await asyncio.sleep(self.settings.registry_seconds)
            content = await asyncio.to_thread(self.promoted.content)
            tried = content == refused and time.monotonic() - when < TRY_AGAIN_SECONDS
            if content != self.promoted.seen and not tried:
                try:
                    await self.reload()
                except (Problem, OSError, sa.exc.SQLAlchemyError) as error:
                    refused, when = content, time.monotonic()
                    log.error("%s is not followed: %s", REGISTRY, printable(str(error)))

    async def reasons_not_ready(self) -> list[str]:
        """Why the service cannot accept an image now; empty where it can."""
        reasons = []
        if self.runner.waiting >= self.settings.waiting:
            reasons.append(f"{self.runner.waiting} images are waiting, and no more may")
        if shutil.disk_usage(self.settings.data).free < MIN_FREE_DISK:
            reasons.append(f"the disk for the images has less than {MIN_FREE_DISK // MEBIBYTE} MiB free")
        await asyncio.to_thread(self.standing.refresh)
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

    def _show_standing(self, standing: Standing, watch: Row, log_claims: Mapping[str, float]) -> None:
        """Show whether the certificate holds, in readyz and in the metrics. Images are accepted whether it does."""
        category = watch["category"]
        self.metrics.set_standing(category, watch["bundle"], standing.state, log_claims)
        warning = f"{printable(category)}: the certificate is in doubt; docs/drift.md says what to look at"
        if standing.since is not None:
            since = datetime.fromtimestamp(standing.since, UTC).isoformat(timespec="seconds")
            warning = (
                f"{printable(category)}: the certificate is withdrawn since {since}, by the inspection "
                f"{standing.inspection}; verdicts go on without it, until another bundle is activated or a person "
                "re-instates it"
            )
        self._warn("certificate", None if standing.state == "holds" else warning)

    def _tell_standing(self, standing: Standing, watch: Row) -> None:
        """Post that the certificate's standing has changed."""
        log.warning("%s: the certificate: %s", printable(watch["category"]), standing.state)
        if self.webhook is None:
            return
        event = {"event": "certificate", "category": watch["category"], "bundle": watch["bundle"], **vars(standing)}
        key = f"certificate {watch['id']} {standing.state} {standing.inspection or time.time()}"
        try:
            self.webhook.put([event | {"reason": watch["reason"], "key": key}])
        except DataError as error:  # of the disk: the warning is in the log, in readyz and in the metrics all the same
            log.error("%s", printable(str(error)))

    async def close(self) -> None:
        """Finish all reports that were begun and all images that were accepted, then close the store."""
        await self.reporter.close()
        await self.runner.close()
        await asyncio.to_thread(self.standing.close)
        if self.webhook is not None:
            await asyncio.to_thread(self.webhook.close, WEBHOOK_SECONDS)
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
