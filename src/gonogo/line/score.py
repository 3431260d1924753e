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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path

from gonogo.compute.read_ahead import read_ahead
from gonogo.errors import ChangedError, DataError, ImageError
from gonogo.images.statistics import STATISTICS, image_statistics
from gonogo.images.unread import Unread
from gonogo.inference.gauges import Gauges
from gonogo.inference.scorer import ERROR, REJECT, UNCERTAIN, UNKNOWN
from gonogo.line.begun import MOST_STARTS, Begun
from gonogo.line.hot_folder import HotFolder
from gonogo.line.inputs import CAMERA, STDIN, VIDEOS, Item, Stamp, changed_error, pixels_of
from gonogo.line.journal import Journal, Row, label_of
from gonogo.line.outputs import Pictures, Sink, warn
from gonogo.line.sorting import Sorter
from gonogo.line.standing import LineStanding
from gonogo.line.webhook import Webhook

BATCH_SECONDS = 0.5  # after which rows are written, however few
BATCH_ROWS = 64
LAST_SECONDS = 1.5  # for what is in work when the command is asked to stop
GIVEN_UP = 130  # exit status, as of other interrupts


@dataclass
class Counts:
    """Images by their verdict.

    n_files counts all of them, n_new those that this start judged; the others had a row in the journal before.
    n_uncertain counts verdicts that are flagged as uncertain; n_abstained those of them that are a third outcome, and
    neither pass nor reject.
    n_unmoved counts files that were to be moved and could not be; n_unread those of formats that are not read, which
    are none of the images.
    """

    n_files: int = 0
    n_rejected: int = 0
    n_unknown: int = 0
    n_uncertain: int = 0
    n_abstained: int = 0
    n_errors: int = 0
    n_new: int = 0
    n_unmoved: int = 0
    n_unread: int = 0

    @property
    def n_passed(self) -> int:
        """Images that passed."""
        return self.n_files - self.n_rejected - self.n_abstained - self.n_unknown - self.n_errors

    def add(self, label: str, *, uncertain: bool, new: bool) -> None:
        """Count an image by the label of its verdict: `pass`, `reject`, `uncertain`, `unknown` or `error`."""
        self.n_files += 1
        self.n_rejected += label == REJECT
        self.n_abstained += label == UNCERTAIN
        self.n_unknown += label == UNKNOWN
        self.n_errors += label == ERROR
        self.n_uncertain += uncertain
        self.n_new += new

    def note(self, unread: Unread) -> None:
        """Count what was not read in the folders, and print what it is."""
        self.n_unread += unread.n_files
        for sentence in unread.sentences():
            warn(sentence)


@dataclass(frozen=True)
class Line:
    """One gauge, or a set of them, with all that is done with each verdict.

    Whatever an item raises is the error in its row, and the others are judged.

    workers: images that are judged at the same time.
    sink: where rows are written.
    begun: where items in work are noted.
    hot: the folder that the items are found in again and again. What changes while it is judged is left to its next
        look; without it, that is an error.
    standing: whether certificates still hold; it goes with a journal.
    abstains: whether an uncertain verdict is an outcome of its own; its row says under `leaning` what it would be.
    pixel_format: what the numbers of .npy files are, as "bgr8"; None: such files are refused.
    posts: labels of the verdicts that the webhook posts; None: all.
    shows_counts: whether the number of images is shown on standard error as it grows.
    """

    gauges: Gauges
    workers: int
    sink: Sink
    pictures: Pictures
    journal: Journal | None = None
    sorter: Sorter | None = None
    webhook: Webhook | None = None
    begun: Begun | None = None
    hot: HotFolder | None = None
    standing: LineStanding | None = None
    abstains: bool = False
    pixel_format: str | None = None
    posts: frozenset[str] | None = None
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
        for is_suspect, judged in self._judged(self._without_row(found, stopped)):
            batch.append(judged)
            is_full = len(batch) == BATCH_ROWS or time.monotonic() - since > BATCH_SECONDS
            if self.journal is None or is_suspect or is_full:
                self._commit(batch)
                batch, since = [], time.monotonic()
            if stopped.is_set():
                break
        self._commit(batch)

    def _judged(self, found: Iterable[Item]) -> Iterator[tuple[bool, tuple[Item, Row]]]:
        """Whether an item is suspected to have ended an earlier start, and its row; such an item is judged alone."""
        ahead = self.workers + 1 if self.workers > 1 else 1
        for is_suspect, some in groupby(found, lambda item: self._n_ended(item) > 0):
            threads = 1 if is_suspect else self.workers
            for item, row in read_ahead(self._judge, some, threads=threads, ahead=1 if is_suspect else ahead):
                if row is None:
                    self._leave(item)
                else:
                    yield is_suspect, (item, row)

    def _n_ended(self, item: Item) -> int:
        return 0 if self.begun is None else self.begun.n_ended(item.key)

    def _leave(self, item: Item) -> None:
        """Leave a file that has changed to the next look of the hot folder."""
        self._to_move.discard(item.key)
        if self.begun is not None:
            self.begun.done([item.key])
        if self.hot is not None and item.path is not None:
            self.hot.forget(item.path)

    def _without_row(self, found: Iterable[Item], stopped: threading.Event) -> Iterator[Item]:
        """The items that the journal has no row of; those that it has are counted, and moved if they were not."""
        for item in found:
            if stopped.is_set():
                return
            if self.sorter is not None and item.path is not None:
                if item.key in self._to_move:
                    continue
                unmoved = None if self.journal is None else self.journal.unmoved.pop(item.name, None)
                if unmoved is not None and unmoved["key"] == item.key:
                    self._commit_move(unmoved, item)
                    self._count(unmoved, new=False)
                    continue
                self._to_move.add(item.key)
            elif self.journal is not None:
                key = bytes.fromhex(item.key)
                if key in self.journal.verdicts:
                    self.counts.add(self.journal.verdicts[key], uncertain=key in self.journal.uncertain, new=False)
                    continue
            yield item

    def _judge(self, item: Item) -> tuple[Item, Row | None]:
        """An item with its row; None in place of the row if its file changed meanwhile and is looked at again.

        Raises:
            DataError: a picture of it cannot be written, as those of the others could not.
        """
        row: Row = {"file": item.name, "bundle": self.gauges.fingerprint}
        if item.given is not None:
            row["given"] = item.given
        if self.journal is not None or self.webhook is not None or self.sorter is not None:
            row["key"] = item.key
        if self._n_ended(item) >= MOST_STARTS:
            return item, row | self._error_row(
                f"{item.name} is not judged again: gonogo score ended {MOST_STARTS} times while it was in work"
            )
        if self.begun is not None:
            self.begun.begin(item.key)
        is_another = False
        try:
            judged = self._verdict_row(item)
        except ImageError as error:
            judged, is_another = self._error_row(str(error)), isinstance(error, ChangedError)
        except DataError:
            raise
        except Exception as error:  # whatever it is: a file that ends the command ends each further start, too
            judged = self._error_row(f"{item.name} cannot be judged: {type(error).__name__}: {error}")
        if is_another or item.changed:
            if self.hot is not None:
                return item, None
            judged = self._error_row(str(changed_error(item)))
        return item, row | judged

    def _error_row(self, error: str) -> Row:
        return {**self.gauges.unreadable_row, "error": error}

    def _verdict_row(self, item: Item) -> Row:
        pixels = pixels_of(item, self.pixel_format)
        selection = self.gauges.select(pixels)
        if selection.scorer is None:
            return {**selection.row, "verdict": UNKNOWN}
        verdict = selection.scorer.score_one(pixels, item.name)
        row = {**selection.row, **verdict.row(), **self.pictures.draw(item, pixels, verdict)}
        if self.standing is not None:
            row["statistics"] = dict(zip(STATISTICS, image_statistics(pixels), strict=True))
        return row | {"verdict": UNCERTAIN, "leaning": verdict.label} if self.abstains and verdict.uncertain else row

    def _commit(self, batch: list[tuple[Item, Row]]) -> None:
        """Plan the places, record the rows, move the files. A file whose place was taken meanwhile gets another one."""
        todo = batch
        while todo:
            if self.sorter is not None:
                for item, row in todo:
                    self.sorter.plan(row, item)
            self._record([row for _, row in todo])
            todo = [(item, row) for item, row in todo if not self._move(row, item.stamp)]
        for _, row in batch:
            self.sink.write(row)
            self._count(row, new=True)
        if self.begun is not None:
            self.begun.done(item.key for item, _ in batch)
        if self.journal is not None:
            self.journal.keep()
        if self.shows_counts:
            print(f"\r  {self.counts.n_files:,} images", end="\033[K\r", file=sys.stderr, flush=True)

    def _commit_move(self, row: Row, item: Item) -> None:
        """Move the file of a row that is recorded already."""
        while not self._move(row, item.stamp, again=True):
            assert self.sorter is not None
            self.sorter.plan(row, item)
            self._record([row])

    def _record(self, rows: list[Row]) -> None:
        standing, journal, events = self.standing, self.journal, []
        if standing is not None and journal is not None:
            events = standing.stamp(rows, lambda row: not journal.has(row))
            for event in events:
                warn(f"{standing.sentence(event['category'])}; verdicts go on")
        posted = [*events, *(row for row in rows if self._is_posted(row))]
        if self.webhook is not None and posted:
            self.webhook.put(posted)
        if self.journal is not None and rows:
            self.journal.append(rows)

    def _is_posted(self, row: Row) -> bool:
        return self.posts is None or label_of(row) in self.posts

    def _move(self, row: Row, stamp: Stamp | None, *, again: bool = False) -> bool:
        """Move the file of a row, if files are moved; False if its place was taken, and another must be planned.

        A row whose file is not moved is recorded once more, without a new place.

        Args:
            again: whether an earlier start may have ended in the midst of this move.
        """
        if self.sorter is None:
            return True
        why = None
        try:
            outcome = self.sorter.move(row, stamp, again=again)
        except OSError as error:
            outcome, why = "changed", f"{row['file']} cannot be moved: {error.strerror or error}"
        if outcome == "taken":
            return False
        if outcome == "changed":
            del row["moved_to"]
            if why is not None:
                row["unmoved"] = why
                self.counts.n_unmoved += 1
                warn(why)
            self._record([row])
        self._to_move.discard(row["key"])
        if self.hot is not None and why is None and stamp is not None:
            self.hot.forget(Path(row["file"]))
        return True

    def _count(self, row: Row, *, new: bool) -> None:
        self.counts.add(label_of(row), uncertain=row.get("uncertain", False), new=new)


def watch(line: Line, hot: HotFolder, stopped: threading.Event, *, idle: float | None) -> None:
    """Judge files of a hot folder as they become complete.

    Args:
        stopped: ends the watch when it is set.
        idle: seconds without a new file after which the watch ends; None: it goes on.
    """
    since = time.monotonic()
    outage = None
    while not stopped.is_set():
        n_before = line.counts.n_files
        line.run(hot.complete(), stopped)
        if hot.outage not in (None, outage):
            warn(f"{hot.folder} cannot be listed: {hot.outage}; looking again until it can")
        outage = hot.outage
        line.counts.note(hot.unread)
        if hot.waiting or line.counts.n_files > n_before:
            since = time.monotonic()
        elif idle is not None and time.monotonic() - since > idle:
            return
        stopped.wait(hot.pause)


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

    What has not come to its end LAST_SECONDS later is given up, as by a kill: the next start judges it. A second signal
    raises KeyboardInterrupt at once. Outside of the main thread, signals are left as they are.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    last = threading.Timer(LAST_SECONDS, _end)
    last.daemon = True

    def stop(*_: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        last.start()

    try:
        for number in before:
            signal.signal(number, stop)
        yield stopped
    finally:
        last.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end() -> None:
    """End this process although a thread of it is busy, which nothing in Python can stop."""
    text = f"stopped; what was still in work after {LAST_SECONDS:g} s was given up, and the next start judges it"
    said = threading.Thread(target=warn, args=(text,), daemon=True)  # nobody may read what is printed
    said.start()
    said.join(0.2)
    os._exit(GIVEN_UP)
