"""The metrics for Prometheus. Each service has a registry of its own, so that services in one process do not mix."""

import time
from collections.abc import Mapping
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gonogo.inference.scorer import Scorer
from gonogo.monitoring.certificate_watch import State
from gonogo.store.schema import Row

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
EVENTS = b"text/event-stream"
RELATIVE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2, 3, 5)


class Metrics:
    """Counters, gauges and histograms. The label `stage` is one of decode, queue, score and keep."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ["route", "method", "status"]
        self.requests = Counter("gonogo_requests", "Answered requests.", labels, registry=self._registry)
        self.latency = Histogram(
            "gonogo_request_seconds",
            "From a request to its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.stages = Histogram(
            "gonogo_stage_seconds", "Of one image, by stage.", ["stage"], buckets=SECONDS, registry=self._registry
        )
        self.verdicts = Counter("gonogo_verdicts", "Kept.", ["category", "verdict"], registry=self._registry)
        self.uncertain = Counter("gonogo_uncertain", "Uncertain verdicts.", ["category"], registry=self._registry)
        self.relative = Histogram(
            "gonogo_relative_score",
            "Score over threshold; 1 and more is rejected.",
            ["category"],
            buckets=RELATIVE,
            registry=self._registry,
        )
        self.batch = Histogram(
            "gonogo_batch_images", "Images that went together.", buckets=(1, 2, 4, 8, 16, 32), registry=self._registry
        )
        self.waiting = Gauge("gonogo_queue_depth", "Images accepted and unanswered.", registry=self._registry)
        self.held = Gauge("gonogo_held_bytes", "Of images received or waiting.", registry=self._registry)
        self.refused = Counter(
            "gonogo_refused_connections", "Closed without an answer.", ["reason"], registry=self._registry
        )
        self.warning = Gauge("gonogo_warning", "1: a person should look at it.", ["kind"], registry=self._registry)
        self._certificate = Gauge(
            "gonogo_certificate", "1 for its state.", ["category", "bundle", "state"], registry=self._registry
        )
        self._evidence = Gauge(
            "gonogo_certificate_log_evidence",
            "Natural logarithm of the evidence against the certificate.",
            ["category", "claim"],
            registry=self._registry,
        )
        self._active = Gauge(
            "gonogo_active_bundle", "1 for the bundle in use.", ["fingerprint", "category"], registry=self._registry
        )

    def set_bundle(self, scorer: Scorer) -> None:
        """Show the bundle in use, and start the counters of its category at 0."""
        self._active.clear()
        self._active.labels(scorer.fingerprint, scorer.category).set(1)
        for verdict in ("pass", "reject"):  # Prometheus sees no rise where a counter first appears as 1
            self.verdicts.labels(scorer.category, verdict)
        self.uncertain.labels(scorer.category)

    def set_standing(self, category: str, bundle: str, state: str, log_claims: Mapping[str, float]) -> None:
        """Show whether the certificate of the bundle in use holds, and the evidence against each of its claims."""
        for gauge in (self._certificate, self._evidence):
            gauge.clear()
        for each in get_args(State):
            self._certificate.labels(category, bundle, each).set(each == state)
        for claim, log in log_claims.items():
            self._evidence.labels(category, claim).set(log)

    def count_verdict(self, row: Row) -> None:
        """Count the verdict in the row of an inspection that was stored."""
        category = row["category"]
        self.verdicts.labels(category, row["verdict"]).inc()
        if row["uncertain"]:
            self.uncertain.labels(category).inc()
        if row["threshold"] > 0:
            self.relative.labels(category).observe(row["score"] / row["threshold"])

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        text: bytes = generate_latest(self._registry)
        return text


class MetricsMiddleware:
    """ASGI middleware around the whole service that counts its responses and measures their time.

    The time of server-sent events is that for which somebody watches, and is not measured.
    """

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, watched = time.perf_counter(), 500, False

        async def send_measured(message: Any) -> None:
            nonlocal status, watched
            if message["type"] == "http.response.start":
                status = message["status"]
                watched = dict(message.get("headers", ())).get(b"content-type", b"").startswith(EVENTS)
            await send(message)

        try:
            await self._app(scope, receive, send_measured)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # any path a client makes up would be a new series
            method = scope["method"] if route != "other" else "other"
            self._metrics.requests.labels(route, method, str(status)).inc()
            if not watched:
                self._metrics.latency.labels(route).observe(time.perf_counter() - began)
