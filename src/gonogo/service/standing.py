"""Whether the certificate of the bundle in use still holds, by all that the service has inspected with it.

The watch learns from each inspection once it is stored, in the order of the ids: before the next verdict says the
standing, and soon where no other comes. No answer waits for it. Its state is written to the store every SAVED_EVERY
inspections. A service that was killed reads the inspections after that again and is where it was.
Services on one database learn from the inspections of all of them; of two that write, the one that is later takes over
what the other wrote, and learns on from there. Verdicts go on whatever the standing is; each says it.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from gonogo.images.statistics import STATISTICS
from gonogo.inference.scorer import Scorer
from gonogo.monitoring.certificate_watch import CertificateWatch, State, WatchParams
from gonogo.store.failure import summary_of
from gonogo.store.schema import Row
from gonogo.store.store import Store
from gonogo.store.watches import AuditCounts, Part
from gonogo.text import printable

SERIES = 1 + len(STATISTICS)  # the score, and each statistic of the image
SAVED_EVERY = 1024  # inspections
SOON = 0.05  # seconds after which it is learnt from what was stored, if nobody has asked before
LOOK_AGAIN = 2.0  # seconds after which the store is asked what other processes have changed
log = logging.getLogger("gonogo.service")


@dataclass(frozen=True)
class Standing:
    """Whether a certificate holds, and since when it is withdrawn, in seconds since 1970.

    inspection: id of the one by which it was withdrawn.
    """

    state: State
    since: float | None = None
    inspection: str | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of `schemas.Certificate`."""
        return {"state": self.state, "since": self.since}


NOT_WATCHED: dict[str, Any] = {"state": None, "since": None}


class CertificateStanding:
    """The watch of the bundle in use."""

    def __init__(
        self,
        store: Store,
        params: WatchParams,
        scorer: Scorer,
        *,
        shown: Callable[[Standing, Row, Mapping[str, float]], None],
        changed: Callable[[Standing, Row], None],
    ) -> None:
        """Watch the bundle that the service starts with; see `use`.

        Args:
            store: of the service.
            params: of watches that begin from now on.
            scorer: of the bundle.
            shown: is called with the standing, the watch's row and the logarithm of the evidence against each claim
                whenever these may have changed.
            changed: is called when the standing has become another one while the service runs.
        """
        self._store, self._params = store, params
        self._shown, self._changed = shown, changed
        self._lock = threading.RLock()
        self._learner = ThreadPoolExecutor(1)
        self._is_behind = self._is_due = False  # whether inspections are not learnt from yet, and will be soon
        # What belongs to the watch of now; `_take` sets all of it.
        self.standing: Standing
        self._scorer: Scorer
        self._row: Row
        self._params_in_use: WatchParams
        self._watch: CertificateWatch
        self._last: str  # id of the newest inspection that was looked at
        self._written: str  # id of the newest inspection in the state that the store has
        self._unsaved: list[tuple[float, ...]]  # values since the last piece
        self._n_unsaved: int  # inspections since then
        self._n_pieces: int
        self._audits: AuditCounts
        self._reviewed: tuple[int, int]  # as `Reviews.number`, when the audit sample was counted
        self._looked: float
        self.use(scorer)

    def use(self, scorer: Scorer, *, key: str = "", by: str = "gonogo serve") -> None:
        """Watch a bundle that is taken into use: anew, unless it was in use already or is withdrawn.

        A certificate that was withdrawn stays so when its bundle is activated again; only a person re-instates it.

        Raises:
            SQLAlchemyError: the store cannot be read or written.
        """
        watches, bundle = self._store.watches, scorer.fingerprint
        with self._lock:
            self.catch_up()
            last, own = watches.newest(), watches.newest(bundle)
            is_start = not hasattr(self, "standing")
            other = (
                last is not None and last["id"] != (own or last)["id"] if is_start else self._row["bundle"] != bundle
            )
            if own is None or (own["withdrawn"] is None and other):
                own = self._begun(scorer, key=key, by=by, reason=None)
            self._take(own, scorer, is_change=not is_start)

    def reinstate(self, *, key: str, by: str, reason: str) -> None:
        """Let the certificate of the bundle in use hold again, and watch it anew.

        Raises:
            SQLAlchemyError: the store cannot be written; everything is as it was.
        """
        with self._lock:
            self.catch_up()
            self._take(self._begun(self._scorer, key=key, by=by, reason=reason), self._scorer, is_change=True)

    def of(self, bundle: str) -> dict[str, Any]:
        """The fields of a verdict's certificate; nulls where its bundle is in use no more."""
        with self._lock:
            self.catch_up()
            return self.standing.fields if bundle == self._row["bundle"] else NOT_WATCHED

    @property
    def watch_row(self) -> Row:
        """The row of the watch of the bundle in use."""
        return self._row

    def report(self) -> dict[str, Any]:
        """What the watch has learnt, as `CertificateWatch.to_dict` has it, with the counts of the audit sample."""
        self.refresh()
        with self._lock:
            counted = {"sample": self._audits._asdict(), "params": asdict(self._params_in_use)}
            return self._watch.to_dict() | counted | {"state": self.standing.state}

    def stored(self) -> None:
        """Note that inspections were stored; `catch_up` learns from them, within SOON if nobody calls it."""
        self._is_behind = True
        if not self._is_due:
            self._is_due = True
            self._learner.submit(self._catch_up_soon)

    def catch_up(self) -> None:
        """Learn from the inspections that were stored since the last time, in the order of their ids.

        A failure of the store is none of theirs: what cannot be read or written now is learnt or written later.
        """
        with self._lock:
            if not self._is_behind:
                return
            self._is_behind = False
            try:
                self._learn_new()
            except (OSError, sa.exc.SQLAlchemyError) as error:
                log.error("what was inspected could not be read again: %s", printable(summary_of(error)))
            if self._n_unsaved >= SAVED_EVERY:
                self.save()
            if self.standing != _standing_of(self._row, self._watch):
                self._show()
        self._look_again()

    def show(self) -> None:
        """Show the standing by all that is stored."""
        with self._lock:
            self.catch_up()
            self._show()

    def close(self) -> None:
        """Learn from all that was stored, and write it."""
        self._learner.shutdown()
        self.catch_up()
        self.save()

    def refresh(self) -> None:
        """As `catch_up`, and see what people have reviewed, and whether a person re-instated it, as `_look_again`."""
        self.catch_up()
        self._look_again()

    def _look_again(self) -> None:
        """Ask the store what other processes have changed, every LOOK_AGAIN seconds at most."""
        with self._lock:
            if time.monotonic() - self._looked < LOOK_AGAIN:
                return
            self._looked = time.monotonic()
            try:
                newest = self._store.watches.newest_of(self._row["bundle"])
                if newest is not None and newest[0] != self._row["id"]:
                    self._take(self._store.watches.watch(newest[0]), self._scorer, is_change=True)
                else:
                    if newest is not None and self._row["withdrawn"] is None:  # another service may have found it
                        self._row |= {"withdrawn": newest[1], "withdrawn_at": newest[2]}
                    self._learn_new()
                    self._count_audits()
                    self._show()
            except (OSError, sa.exc.SQLAlchemyError) as error:
                log.error("whether the certificate holds could not be looked up: %s", printable(summary_of(error)))

    def save(self) -> None:
        """Write what was learnt since the last time; where the store refuses, the log says so."""
        with self._lock:
            if not self._n_unsaved:
                return
            values = np.array(self._unsaved, dtype=np.float64).reshape(-1, SERIES)
            try:
                is_written = self._store.watches.save(
                    self._row["id"],
                    before=self._written,
                    last=self._last,
                    state=self._watch.kept(),
                    number=self._n_pieces,
                    values=values,
                )
                if not is_written:
                    log.info("another service has written what it learnt about the certificate; going on from there")
                    self._take(self._store.watches.watch(self._row["id"]), self._scorer, is_change=True)
                    return
            except (OSError, sa.exc.SQLAlchemyError) as error:
                log.error("what was learnt about the certificate is not written: %s", printable(summary_of(error)))
                return
            self._unsaved, self._n_unsaved, self._written = [], 0, self._last
            self._n_pieces += 1

    def _catch_up_soon(self) -> None:
        time.sleep(SOON)
        self._is_due = False
        try:
            self.catch_up()
        except Exception:  # nobody waits for the outcome, and the next verdict tries again
            log.exception("the certificate's watch could not learn from what was stored")

    def _begun(self, scorer: Scorer, *, key: str, by: str, reason: str | None) -> Row:
        CertificateWatch(scorer.record, self._params)  # refuses, before anything is written, rates that allow all
        return self._store.watches.begin(
            bundle=scorer.fingerprint,
            category=scorer.category,
            key=key,
            by=by,
            reason=reason,
            params=asdict(self._params),
        )

    def _take(self, row: Row, scorer: Scorer, *, is_change: bool) -> None:
        """Go on with a watch where the store says.

        The parameters are those that it began with: a promise that is changed after a look at the evidence is none.
        """
        watches, params = self._store.watches, WatchParams(**row["params"])
        watch, last = CertificateWatch(scorer.record, params, STATISTICS), row["after"]
        values, n_pieces = watches.values(row["id"], series=SERIES)
        if row["state"] is not None:
            try:
                watch.resume(row["state"], values)
                last = row["last"]
            except ValueError as error:  # of another gonogo: all is read again, and its pieces are written over
                log.warning("%s; all inspections since it began are read again", error)
                watches.forget_values(row["id"])
                n_pieces = 0
        before = self.standing if is_change else None
        self._scorer, self._row, self._params_in_use, self._watch = scorer, row, params, watch
        self.standing = _standing_of(row, watch)
        self._last, self._written, self._n_pieces = last, row["last"], n_pieces
        self._unsaved, self._n_unsaved = [], 0
        self._audits, self._reviewed = AuditCounts(0, 0, 0, 0), (-1, -1)
        self._looked = time.monotonic()
        self._learn_new()
        self._count_audits()
        self._show(before)

    def _learn_new(self) -> None:
        """Learn from the bundle's inspections after the last one, whichever service has stored them."""
        for part in self._store.watches.parts(self._row["bundle"], after=self._last):
            self._learn(part)

    def _learn(self, part: Part) -> None:
        statistics = tuple(part.statistics[name] for name in STATISTICS) if part.statistics else ()
        self._watch.add(part.id, part.score, statistics)
        if self._watch.tests(part.score):
            self._unsaved.append((part.score, *(statistics or (math.nan,) * len(STATISTICS))))
        self._n_unsaved += 1
        self._last = part.id
        self._note_withdrawal(part.at)

    def _count_audits(self) -> None:
        """Count the reviewed audit sample, if people have reviewed since the last time."""
        reviewed = self._store.reviews.number()
        if reviewed == self._reviewed:
            return
        self._audits = self._store.watches.audited(self._row["bundle"], after=self._row["after"])
        self._reviewed = reviewed
        self._watch.set_audits(self._last, rejected=self._audits.rejected, passed=self._audits.passed)
        self._note_withdrawal(time.time())

    def _note_withdrawal(self, at: float) -> None:
        """Write a withdrawal into the store at once, if there is one that it does not have; `at` is when it was."""
        if self._row["withdrawn"] is not None or self._watch.withdrawn_at is None:
            return
        self._row |= {"withdrawn": at, "withdrawn_at": self._watch.withdrawn_at}
        try:
            self._store.watches.withdraw(self._row["id"], at=at, inspection=self._watch.withdrawn_at)
        except (OSError, sa.exc.SQLAlchemyError) as error:  # the next start learns it again
            log.error("the withdrawal could not be written: %s", printable(summary_of(error)))

    def _show(self, before: Standing | None = None) -> None:
        """Show the standing; where it is another one than before, tell of the change too."""
        before = before or self.standing
        self.standing = _standing_of(self._row, self._watch)
        self._shown(self.standing, self._row, self._watch.log_claims)
        if before.state != self.standing.state:
            self._changed(self.standing, self._row)


def _standing_of(row: Row, watch: CertificateWatch) -> Standing:
    if row["withdrawn"] is not None:
        return Standing("withdrawn", row["withdrawn"], row["withdrawn_at"])
    return Standing(watch.state)
