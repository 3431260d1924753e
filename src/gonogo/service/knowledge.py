"""What people know of failures, as `/v1` and the pages call it: beside what production and evaluation say."""

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gonogo.errors import DataError
from gonogo.knowledge.graph import MARK, Item, Knowledge
from gonogo.knowledge.measured import (
    CONFIDENCE,
    Association,
    Share,
    associated,
    pareto,
    recalls,
    share_of,
    together,
)
from gonogo.knowledge.stored import Kept, edit, kept_knowledge
from gonogo.service import knowledge_schemas as schemas
from gonogo.service.gauge import Gauge
from gonogo.service.problems import Problem
from gonogo.service.security import Key
from gonogo.store.analytics import Selection
from gonogo.store.reviews import Settled
from gonogo.store.store import Store

SECONDS_PER_DAY, HOUR = 86_400.0, 3600
LEAST_TOGETHER = 2  # of two that come together
MOST_SHOWN = 20  # pairs


class Wanted(NamedTuple):
    """What of the knowledge is asked for; None is no filter. `days`: of production, up to now."""

    category: str | None = None
    defect_type: str | None = None
    min_severity: int | None = None
    days: int = 90


@dataclass(frozen=True)
class _Known:
    """What the store told last, and the state of the store that it was told in."""

    state: tuple[Any, ...]
    kept: Kept
    versions: dict[str, int]
    settled: list[Settled]
    causes: list[tuple[str, str, str]]


class KnownFailures:
    """The knowledge of a service."""

    def __init__(self, store: Store, gauge: Gauge) -> None:
        self._store, self._gauge = store, gauge
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def knowledge(self) -> Knowledge:
        """All that people know."""
        return self._current().kept.knowledge

    def view(self, wanted: Wanted) -> schemas.Knowledge:
        """What is known and measured, as far as it is asked for."""
        known, until = self._current(), time.time()
        since = until - wanted.days * SECONDS_PER_DAY
        knowledge = known.kept.knowledge
        modes = [mode for mode in knowledge.of("mode") if _is_wanted(knowledge, mode, wanted)]
        shown = _around(knowledge, modes) if any(wanted[:3]) else set(knowledge.items)
        slots = self._store.analytics.slots(Selection(since, until, wanted.category))
        settled = [one for one in known.settled if one.at >= since and wanted.category in (None, one.category)]
        defects = [one for one in settled if one.defect_type is not None]
        inspected, rejected = Counter[str](), Counter[str]()
        for slot in slots:
            inspected[slot.category] += slot.n
            rejected[slot.category] += slot.n_rejected
        reviewed = Counter(one.category for one in settled if one.verdict == "reject")
        of_type = Counter((one.category, one.defect_type) for one in defects)
        causes_of: dict[str, list[Item]] = {mode.id: knowledge.before(mode.id, "cause") for mode in modes}
        rows = [
            self._row(known.kept, mode, cause, inspected, of_type)
            for mode in modes
            for cause in (causes_of[mode.id] or (None,))
        ]
        types_of_hours: dict[int, set[str]] = {int(slot.begin) // HOUR: set() for slot in slots}
        for one in defects:
            types_of_hours.setdefault(int(one.at) // HOUR, set()).add(str(one.defect_type))
        causes = [
            (kind, cause)
            for category, kind, cause in known.causes
            if wanted.category in (None, category) and wanted.defect_type in (None, kind)
        ]
        return schemas.Knowledge(
            since=datetime.fromtimestamp(since, UTC),
            until=datetime.fromtimestamp(until, UTC),
            confidence=CONFIDENCE,
            priorities="own" if known.kept.priorities.is_own else "simple",
            items=[_item(item, known.versions) for item in knowledge.items.values() if item.id in shown],
            links=[
                schemas.KnowledgeLink.model_validate(
                    link.content() | {"relation": knowledge.relation(link), "version": known.versions[link.id]}
                )
                for link in knowledge.links
                if link.source in shown and link.target in shown
            ],
            rows=rows,
            production=[
                schemas.Production(
                    category=name,
                    inspected=n,
                    rejected=rejected[name],
                    unreviewed=max(0, rejected[name] - reviewed[name]),
                )
                for name, n in sorted(inspected.items())
            ],
            types=_bars(str(one.defect_type) for one in defects),
            causes=_bars(cause for _, cause in causes),
            types_together=_pairs(together(types_of_hours.values(), least=LEAST_TOGETHER)),
            types_and_causes=_pairs(associated(causes, least=LEAST_TOGETHER)),
        )

    def history(self, identifier: str) -> schemas.KnowledgeHistory:
        """The versions of an item or a link.

        Raises:
            Problem: there is none.
        """
        rows = self._store.knowledge.history(identifier)
        if not rows:
            raise Problem("not-found", f"there is no item {identifier}")
        versions = [
            schemas.KnowledgeVersion(
                version=row["id"],
                kind=row["kind"],
                content=row["content"],
                at=datetime.fromtimestamp(row["at"], UTC),
                by=row["by"],
                key=row["key"] or None,
            )
            for row in rows
        ]
        return schemas.KnowledgeHistory(id=identifier, versions=versions)

    def change(self, identifier: str, given: schemas.KnowledgeChange, key: Key) -> None:
        """Change an item or a link in the name of the key; what was before stays in the history.

        Raises:
            Problem: the whole would be wrong, or another version has come since the one that was seen.
        """
        values: dict[str, Any] | None = None if given.values is None else dict(given.values)
        if (given.kind == "link") != (MARK in identifier):
            raise Problem("invalid-request", f"the id of a link is that of its ends with {MARK} between them")
        if given.kind == "link" and values is not None:
            source, _, target = identifier.partition(MARK)
            at = datetime.now(UTC).isoformat(timespec="seconds")
            values |= {"source": source, "target": target, "by": key.name, "at": at}

        def conflict(newest: int) -> Problem:
            return Problem(
                "changed-meanwhile",
                f"{identifier} was changed since you saw it; look at it again, and change it then",
                version=newest,
            )

        who = {"by": key.name, "key": key.id, "conflict": conflict}
        try:
            edit(self._store, given.kind, values, identifier, based_on=given.based_on, **who)  # type: ignore[arg-type]
        except DataError as error:
            raise Problem("invalid-request", str(error)) from error

    def _current(self) -> _Known:
        store = self._store
        with self._lock:
            state = (store.knowledge.newest(), store.reviews.number(), store.cases.version())
            if self._known is None or self._known.state != state:
                self._known = _Known(
                    state,
                    kept_knowledge(store),
                    {row["item"]: row["id"] for row in store.knowledge.current()},
                    list(store.reviews.settled()),
                    store.cases.causes(),
                )
            return self._known

    def _row(
        self,
        kept: Kept,
        mode: Item,
        cause: Item | None,
        inspected: Counter[str],
        of_type: Counter[tuple[str, str | None]],
    ) -> schemas.FmeaRow:
        knowledge, scorer = kept.knowledge, self._gauge.scorer
        category, defect_type = str(mode.values["category"]), mode.values.get("defect_type")
        concerned = [mode] if cause is None else [mode, cause]
        effects = knowledge.after(mode.id, "effect")
        controls = _unique(item for each in concerned for item in knowledge.before(each.id, "control"))
        actions = _unique(item for each in [*concerned, *controls] for item in knowledge.before(each.id, "action"))
        severity = max((int(effect.values["severity"]) for effect in effects), default=None)
        occurrence = None if cause is None else int(cause.values["occurrence"])
        detection = min(
            (int(item.values["detection"]) for item in controls if "detection" in item.values), default=None
        )
        found = recalls(scorer.manifest.get("recall_by_type")) if scorer.category == category else {}
        came = None if defect_type is None else share_of(of_type[category, str(defect_type)], inspected[category])
        return schemas.FmeaRow.model_validate(
            {
                "mode": mode.id,
                "cause": None if cause is None else cause.id,
                "effects": [item.id for item in effects],
                "controls": [item.id for item in controls],
                "actions": [item.id for item in actions],
                "severity": severity,
                "occurrence": occurrence,
                "detection": detection,
                "priority": kept.priorities.of(severity, occurrence, detection),
                "measured_occurrence": _share(came),
                "measured_detection": _share(found.get(str(defect_type))),
            }
        )


def _is_wanted(knowledge: Knowledge, mode: Item, wanted: Wanted) -> bool:
    severity = max((int(effect.values["severity"]) for effect in knowledge.after(mode.id, "effect")), default=0)
    return (
        wanted.category in (None, mode.values["category"])
        and wanted.defect_type in (None, mode.values.get("defect_type"))
        and severity >= (wanted.min_severity or 0)
    )


def _around(knowledge: Knowledge, modes: Iterable[Item]) -> set[str]:
    """The ids of modes, of all that leads to them, and of all that they lead to."""
    found: set[str] = set()
    begin = {mode.id for mode in modes}
    for near, far in (("source", "target"), ("target", "source")):
        reached, more = set[str](), begin
        while more:
            reached |= more
            more = {getattr(link, far) for link in knowledge.links if getattr(link, near) in reached} - reached
        found |= reached
    return found


def _item(item: Item, versions: dict[str, int]) -> schemas.KnowledgeItem:
    return schemas.KnowledgeItem.model_validate(
        {"id": item.id, "kind": item.kind, "name": item.name, "values": item.values, "version": versions[item.id]}
    )


def _unique(items: Iterable[Item]) -> list[Item]:
    return list({item.id: item for item in items}.values())


def _share(share: Share | None) -> schemas.MeasuredShare | None:
    return None if share is None else schemas.MeasuredShare(**share._asdict(), rate=share.rate)


def _bars(names: Iterable[str]) -> list[schemas.ParetoBar]:
    return [schemas.ParetoBar(**row._asdict()) for row in pareto(Counter(names))]


def _pairs(found: list[Association]) -> list[schemas.CoOccurrence]:
    return [schemas.CoOccurrence(**row._asdict()) for row in found[:MOST_SHOWN]]
