"""Many images, each judged and given a row, which is written and posted; its file is sorted by the verdict.

Memory does not grow with the number of images. What must survive a kill does so by the order of the steps, batch by
batch: the delivery of the webhook is queued, then the rows are on the disk, then the files are moved. A start after a
kill moves the files that have a row and were not moved, and judges those that have none.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gonogo.compute.read_ahead import read_ahead
from gonogo.errors import ImageError
from gonogo.inference.gauges import Gauges
from gonogo.inference.scorer import ERROR, REJECT, UNKNOWN
from gonogo.line.hot_folder import HotFolder
from gonogo.line.inputs import CAMERA, STDIN, VIDEOS, Item, pixels_of
from gonogo.line.journal import Journal, Row, label_of
from gonogo.line.outputs import Pictures, Sink
from gonogo.line.sorting import Sorter
from gonogo.line.webhook import Webhook

BATCH_SECONDS = 0.5  # after which rows are written, however few
BATCH_ROWS = 64
POLL = 0.2  # seconds between two looks into a hot folder


@dataclass
class Counts:
    """Images by their verdict.

    n_files counts all of them, n_new those that this start judged; the others had a row in the journal before.
    """

    n_files: int = 0
    n_rejected: int = 0
    n_unknown: int = 0
    n_uncertain: int = 0
    n_errors: int = 0
    n_new: int = 0

    @property
    def n_passed(self) -> int:
        """Images that passed."""
        return self.n_files - self.n_rejected - self.n_unknown - self.n_errors

    def add(self, label: str, *, uncertain: bool, new: bool) -> None:
        """Count an image by the label of its verdict: `pass`, `reject`, `unknown` or `error`."""
        self.n_files += 1
        self.n_rejected += label == REJECT
        self.n_unknown += label == UNKNOWN
        self.n_errors += label == ERROR
        self.n_uncertain += uncertain
        self.n_new += new


@dataclass(frozen=True)
class Line:
    """One gauge, or a set of them, with all that is done with each verdict.

    workers: images that are judged at the same time.
    sink: where rows are written.
    on_moved: called with the path of each file after it was moved.
    shows_counts: whether the number of images is shown on standard error as it grows.
    """

    gauges: Gauges
    workers: int
    sink: Sink
    pictures: Pictures
    journal: Journal | None = None
    sorter: Sorter | None = None
    webhook: Webhook | None = None
    on_moved: Callable[[Path], None] | None = None
    shows_counts: bool = False
    counts: Counts = field(default_factory=Counts)

    @cached_property
    def _to_move(self) -> set[str]:
        """Keys of files that are being judged and are not moved yet, so that a file named twice is moved once."""
        return set()

    def run(self, found: Iterable[Item], stopped: threading.Event) -> None:
        """Judge the items in their order, until there are no more or `stopped` is set."""
        batch: list[tuple[Item, Row]] = []
        since = time.monotonic()
        ahead = self.workers + 1 if self.workers > 1 else 1
        for judged in read_ahead(self._judge, self._without_row(found), threads=self.workers, ahead=ahead):
            batch.append(judged)
            if self.journal is None or len(batch) == BATCH_ROWS or time.monotonic() - since > BATCH_SECONDS:
                self._commit(batch)
                batch, since = [], time.monotonic()
            if stopped.is_set():
                break
        self._commit(batch)

    def _without_row(self, found: Iterable[Item]) -> Iterator[Item]:
        """The items that the journal has no row of; those that it has are counted, and moved if they were not."""
        for item in found:
            if self.sorter is not None:
                if item.key in self._to_move:
                    continue
                unmoved = None if self.journal is None else self.journal.unmoved.pop(item.name, None)
                if unmoved is not None:
                    self._move(unmoved)
                    self._count(unmoved, new=False)
                    continue
                self._to_move.add(item.key)
            elif self.journal is not None:
                key = bytes.fromhex(item.key)
                if key in self.journal.verdicts:
                    self.counts.add(self.journal.verdicts[key], uncertain=key in self.journal.uncertain, new=False)
                    continue
            yield item

    def _judge(self, item: Item) -> tuple[Item, Row]:
        row: Row = {"file": item.name, "bundle": self.gauges.fingerprint}
        if self.journal is not None or self.webhook is not None or self.sorter is not None:
            row["key"] = item.key
        try:
            pixels = pixels_of(item)
        except ImageError as error:
            return item, {**row, **self.gauges.unreadable_row, "error": str(error)}
        selection = self.gauges.select(pixels)
        row |= selection.row
        if selection.scorer is None:
            return item, row | {"verdict": UNKNOWN}
        (verdict,) = selection.scorer.score_pixels(pixels[None])
        return item, row | verdict.row() | self.pictures.draw(item, pixels, verdict)

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
        if self.shows_counts:
            print(f"\r  {self.counts.n_files:,} images", end="\033[K\r", file=sys.stderr, flush=True)

    def _move(self, row: Row) -> None:
        if self.sorter is not None:
            self.sorter.move(row)
            self._to_move.discard(row["key"])
            if self.on_moved is not None:
                self.on_moved(Path(row["file"]))

    def _count(self, row: Row, *, new: bool) -> None:
        self.counts.add(label_of(row), uncertain=row.get("uncertain", False), new=new)


def watch(line: Line, hot: HotFolder, stopped: threading.Event, *, idle: float | None) -> None:
    """Judge files of a hot folder as they become complete.

    Args:
        stopped: ends the watch when it is set.
        idle: seconds without a new file after which the watch ends; None: it goes on.
    """
    since = time.monotonic()
    while not stopped.is_set():
        n_before = line.counts.n_files
        line.run(hot.complete(), stopped)
        if hot.waiting or line.counts.n_files > n_before:
            since = time.monotonic()
        if idle is not None and time.monotonic() - since > idle:
            return
        stopped.wait(POLL)


def workers_and_threads(files: list[str], *, threads: int | None, workers: int | None) -> tuple[int, int | None]:
    """How many images are judged at once, and how many threads onnxruntime has for each; None: it chooses.

    Many files are shared out among workers of one thread each, which keeps all cores busy; a single file gets all
    threads.
    """
    if workers is None and len(files) == 1 and _is_one_image(files[0]):
        return 1, threads
    n_workers = workers or threads or os.cpu_count() or 1
    return n_workers, max(1, (threads or 1) // n_workers)


def _is_one_image(name: str) -> bool:
    path = Path(name)
    return name != STDIN and not name.startswith(CAMERA) and path.suffix.lower() not in VIDEOS and path.is_file()


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that images in work are finished and their rows written before the end.

    A second signal raises KeyboardInterrupt at once. Outside of the main thread, signals are left as they are.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(*_: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    try:
        for number in before:
            signal.signal(number, stop)
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
