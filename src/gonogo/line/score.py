"""gonogo score: every image judged, its row told, kept, sorted and sent, with memory that does not grow with them.

What survives a kill does so by its order, batch by batch: a delivery is queued, then the rows are on the disk, then the
files are moved. A start after a kill moves what has a row and was not moved, and judges what has none.
"""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gonogo.compute.read_ahead import read_ahead
from gonogo.errors import DataError, ImageError
from gonogo.inference.gauges import Gauges, open_gauges
from gonogo.inference.scorer import Scorer
from gonogo.line.hot_folder import HotFolder
from gonogo.line.inputs import CAMERA, STDIN, VIDEOS, Item, items, pixels_of
from gonogo.line.journal import Journal, Row
from gonogo.line.outputs import Csv, JsonLines, Kept, Lines, Parquet, Pictures, Sink
from gonogo.line.sorting import Sorter
from gonogo.line.webhook import Webhook

BATCH_SECONDS = 0.5  # after which rows are written, however few
BATCH_ROWS = 64
POLL = 0.2  # seconds between two looks into a hot folder


@dataclass
class Counts:
    """Images asked for, by what was said of them, in this start or before."""

    n_files: int = 0
    n_rejected: int = 0
    n_unknown: int = 0
    n_uncertain: int = 0
    n_errors: int = 0
    n_new: int = 0

    def add(self, verdict: str, *, uncertain: bool, new: bool) -> None:
        """Count an image: `pass`, `reject`, `unknown` or `error`."""
        self.n_files += 1
        self.n_rejected += verdict == "reject"
        self.n_unknown += verdict == "unknown"
        self.n_errors += verdict == "error"
        self.n_uncertain += uncertain
        self.n_new += new


@dataclass(frozen=True)
class Line:
    """A bundle or a set at work: judges items, and takes each row through all that was asked for."""

    gauges: Gauges
    workers: int
    sink: Sink
    pictures: Pictures
    journal: Journal | None = None
    sorter: Sorter | None = None
    webhook: Webhook | None = None
    gone: Callable[[Path], None] | None = None  # called with each file that was moved away
    counts_shown: bool = False  # on a terminal, as they grow
    counts: Counts = field(default_factory=Counts)

    @cached_property
    def _in_work(self) -> set[str]:
        """Keys of files that are judged and not yet moved: what is named twice is moved once."""
        return set()

    def run(self, found: Iterable[Item], stopped: threading.Event) -> None:
        """Judge the items in their order, until they end or `stopped` is set."""
        batch: list[tuple[Item, Row]] = []
        since = time.monotonic()
        judged = read_ahead(
            self._judged, self._due(found), threads=self.workers, ahead=self.workers + 1 if self.workers > 1 else 1
        )
        for one in judged:
            batch.append(one)
            if self.journal is None or len(batch) == BATCH_ROWS or time.monotonic() - since > BATCH_SECONDS:
                self._commit(batch)
                batch, since = [], time.monotonic()
            if stopped.is_set():
                break
        self._commit(batch)

    def _due(self, found: Iterable[Item]) -> Iterator[Item]:
        """Those that have no row yet."""
        for item in found:
            if self.sorter is not None:
                if item.key in self._in_work:
                    continue
                unmoved = None if self.journal is None else self.journal.unmoved.pop(item.name, None)
                if unmoved is not None:
                    self._move(unmoved)
                    self._count(unmoved, new=False)
                    continue
                self._in_work.add(item.key)
            elif self.journal is not None:
                key = bytes.fromhex(item.key)
                if key in self.journal.verdicts:
                    self.counts.add(self.journal.verdicts[key], uncertain=key in self.journal.uncertain, new=False)
                    continue
            yield item

    def _judged(self, item: Item) -> tuple[Item, Row]:
        about: Row = {"file": item.name, "bundle": self.gauges.fingerprint}
        kept = self.journal is not None or self.webhook is not None or self.sorter is not None
        if kept:
            about["key"] = item.key
        try:
            pixels = pixels_of(item)
        except ImageError as error:
            return item, {**about, **self.gauges.unread, "error": str(error)}
        picked = self.gauges.pick(pixels)
        if picked.scorer is None:
            return item, {**about, **picked.about, "verdict": "unknown"}
        (verdict,) = picked.scorer.score_pixels(pixels[None])
        row = {
            **about,
            **picked.about,
            "verdict": "reject" if verdict.anomalous else "pass",
            "score": verdict.score,
            "p_value": verdict.p_value,
            "probability": verdict.probability,
            "uncertain": verdict.uncertain,
            "regions": [asdict(region) for region in verdict.regions],
        }
        return item, row | self.pictures.draw(item, pixels, verdict)

    def _commit(self, batch: list[tuple[Item, Row]]) -> None:
        if self.sorter is not None:
            for item, row in batch:
                self.sorter.plan(row, item)
        rows = [row for _, row in batch]
        if self.webhook is not None and rows:
            self.webhook.put(rows)
        if self.journal is not None and rows:
            self.journal.append(rows)
        for row in rows:
            self._move(row)
            self.sink.write(row)
            self._count(row, new=True)
        if self.counts_shown:
            print(f"\r  {self.counts.n_files:,} images", end="\033[K\r", file=sys.stderr, flush=True)

    def _move(self, row: Row) -> None:
        if self.sorter is not None:
            self.sorter.move(row)
            self._in_work.discard(row["key"])
            if self.gone is not None:
                self.gone(Path(row["file"]))

    def _count(self, row: Row, *, new: bool) -> None:
        self.counts.add(row.get("verdict", "error"), uncertain=row.get("uncertain", False), new=new)


@dataclass(frozen=True)
class Told:
    """What `gonogo score` has to say when it is done."""

    counts: Counts
    report: dict[str, Any]
    text: str


def score(arguments: argparse.Namespace) -> Told:
    """Judge what is asked for.

    Raises:
        GonogoError: the bundle, the journal, a folder or an extra is not fit for it; an unreadable image is a row.
    """
    workers, threads = threads_of(arguments.files, threads=arguments.threads, workers=arguments.workers)
    gauges = open_gauges(arguments.bundle, threads=threads, trust=arguments.trust)
    pictures = Pictures(arguments.maps, arguments.masks, arguments.overlays)
    for scorer in gauges.scorers.values():
        pictures.require_unit(scorer.threshold)
    sink = _sink(arguments, gauges)
    with ExitStack() as opened:
        journal = None
        if arguments.out:
            journal = Journal(Path(arguments.out), fingerprint=gauges.fingerprint)
            opened.callback(journal.close)
        return _score(arguments, gauges, workers, pictures, sink, journal)


def _score(
    arguments: argparse.Namespace,
    gauges: Gauges,
    workers: int,
    pictures: Pictures,
    sink: Sink,
    journal: Journal | None,
) -> Told:
    own = [
        folder for folder in (arguments.maps, arguments.masks, arguments.overlays, arguments.sort) if folder is not None
    ]
    hot = None
    if arguments.watch is not None:
        hot = HotFolder(arguments.watch, settle=arguments.settle, without={os.path.abspath(path) for path in own})  # noqa: PTH100
    webhook = None
    if arguments.webhook:
        queue = Path(arguments.out + ".webhook")
        webhook = Webhook(arguments.webhook, arguments.webhook_secret_file, queue)
    sorter = Sorter(arguments.sort) if arguments.sort is not None else None
    gone = None if hot is None else hot.forget
    verdicts_shown = isinstance(sink, JsonLines) or (isinstance(sink, Lines) and sink.verdicts)
    counts_shown = sys.stderr.isatty() and not verdicts_shown
    line = Line(gauges, workers, sink, pictures, journal, sorter, webhook, gone, counts_shown)
    endless = hot is not None or any(place.startswith(CAMERA) for place in arguments.files)
    with _until_stopped() if endless else nullcontext(threading.Event()) as stopped:
        if hot is None:
            line.run(items(arguments.files, every=arguments.every, without=own), stopped)
        else:
            _watch(line, hot, stopped, idle=arguments.idle)
    sink.close()
    n_left = webhook.close(arguments.webhook_wait) if webhook is not None else 0
    return _told(arguments, line, sink, n_left)


def threads_of(files: list[str], *, threads: int | None, workers: int | None) -> tuple[int, int | None]:
    """How many images at once, and onnxruntime's threads for each; None leaves the choice to it.

    Of many files each worker takes its own, which keeps all cores busy; of one file they share the work.
    """
    if workers is None and len(files) == 1 and _is_one_image(files[0]):
        return 1, threads
    n_workers = workers or threads or os.cpu_count() or 1
    return n_workers, max(1, (threads or 1) // n_workers)


def _is_one_image(place: str) -> bool:
    path = Path(place)
    return place != STDIN and not place.startswith(CAMERA) and path.suffix.lower() not in VIDEOS and path.is_file()


def _watch(line: Line, hot: HotFolder, stopped: threading.Event, *, idle: float | None) -> None:
    """Judge what becomes complete until stopped, or until for `idle` seconds nothing has come."""
    since = time.monotonic()
    while not stopped.is_set():
        before = line.counts.n_files
        line.run(hot.complete(), stopped)
        if hot.waiting or line.counts.n_files > before:
            since = time.monotonic()
        if idle is not None and time.monotonic() - since > idle:
            return
        stopped.wait(POLL)


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, and Ctrl-C: what is judged is then written, and the summary told."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(*_: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt  # asked for twice: at once
        stopped.set()

    try:
        for number in before:
            signal.signal(number, stop)
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sink(arguments: argparse.Namespace, gauges: Gauges) -> Sink:
    if arguments.csv is not None:
        return Csv(arguments.csv)
    if arguments.parquet is not None:
        return Parquet(arguments.parquet)
    if arguments.jsonl:
        return JsonLines()
    if arguments.json and not arguments.out and arguments.watch is None:
        return Kept()
    localises = all(scorer.rule.threshold is not None for scorer in gauges.scorers.values())
    return Lines(localises=localises, verdicts=not (arguments.json or arguments.out))


def _told(arguments: argparse.Namespace, line: Line, sink: Sink, n_left: int) -> Told:
    counts, scorers = line.counts, list(line.gauges.scorers.values())
    if not counts.n_files and arguments.watch is None:
        raise DataError("nothing to judge: no name came on standard input")
    known = [_known(scorer) for scorer in scorers]
    report = {
        "ok": not counts.n_errors,
        "bundle": line.gauges.fingerprint,
        **(known[0] if line.gauges.is_one else {"categories": known}),
        **asdict(counts),
    }
    n_passed = counts.n_files - counts.n_rejected - counts.n_unknown - counts.n_errors
    text = f"{n_passed} pass, {counts.n_rejected} reject, {counts.n_errors} unreadable"
    if line.gauges.is_one:
        text += f"; threshold {scorers[0].threshold:.6g}"
    else:
        text += f", {counts.n_unknown} of none of {len(scorers)} categories"
    if counts.n_uncertain:
        text += f"; {counts.n_uncertain} uncertain (?)"
    if arguments.out:
        report["out"] = arguments.out
        text += f"; {counts.n_new} of {counts.n_files} judged now, rows in {arguments.out}"
    if line.webhook is not None:
        report |= {"n_undelivered": n_left, "n_refused": line.webhook.n_refused}
        if n_left or line.webhook.n_refused:
            text += f"; webhook: {n_left} not delivered yet, {line.webhook.n_refused} refused"
    if isinstance(sink, Kept):
        report["results"] = sink.rows
    return Told(counts, report, text)


def _known(scorer: Scorer) -> dict[str, Any]:
    """What a summary says of a gauge."""
    record, pixels = scorer.record, scorer.rule.threshold
    return {
        "category": scorer.category,
        "threshold": scorer.threshold,
        "certified": record.certified,
        "certified_false_alarm_rate": record.certified_false_alarm_rate,
        "confidence": record.confidence,
        "pixel_threshold": None if pixels is None else pixels.threshold,
    }
