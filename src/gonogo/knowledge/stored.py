"""The knowledge of a store: read, loaded from files, edited item by item; never one that is wrong as a whole."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gonogo.errors import DataError
from gonogo.knowledge.graph import MARK, Given, Knowledge, knowledge_of
from gonogo.knowledge.priority import SIMPLE, Priorities, priorities_of
from gonogo.knowledge.tables import Loaded
from gonogo.store.knowledge import Change
from gonogo.store.schema import Row
from gonogo.store.store import Store

PRIORITIES, PRIORITIES_ITEM = "priorities", "*priorities"  # the kind of the table, and its item, which no other has


class Kept(NamedTuple):
    """What a store knows."""

    knowledge: Knowledge
    priorities: Priorities


def kept_knowledge(store: Store) -> Kept:
    """What the store knows now."""
    rows = store.knowledge.current()
    return Kept(knowledge_of(_given(rows)), _priorities(rows))


def load_knowledge(store: Store, loaded: Loaded, *, by: str, replace: bool = False) -> int:
    """Add what files tell to the store, in place of items with the same ids; returns how many items changed.

    Args:
        replace: items that the files do not have are removed; the table of priorities stays without another one.

    Raises:
        DataError: the whole would be wrong, as `knowledge_of` says it, and nothing is changed.
    """

    def changed(rows: list[Row]) -> list[Change]:
        own = {_id_of(row) for row in loaded.given}
        others = [] if replace else [row for row in _given(rows) if _id_of(row) not in own]
        knowledge = knowledge_of([*others, *loaded.given], store.knowledge.evidence)
        changes = [Change(item.id, item.kind, item.content()) for item in knowledge.items.values()]
        changes += [Change(link.id, "link", link.content()) for link in knowledge.links]
        if replace:
            there = {change.item for change in changes}
            changes += [
                Change(row["item"], row["kind"], None)
                for row in rows
                if row["item"] not in there and row["kind"] != PRIORITIES
            ]
        if loaded.priorities is not None and loaded.priorities.rows is not None:
            changes.append(Change(PRIORITIES_ITEM, PRIORITIES, {"rows": [dict(row) for row in loaded.priorities.rows]}))
        return changes

    return store.knowledge.change(changed, by=by, key="")


def edit(
    store: Store,
    kind: str,
    values: Mapping[str, Any] | None,
    identifier: str,
    *,
    based_on: int | None,
    by: str,
    key: str,
    conflict: Callable[[int], Exception],
) -> None:
    """Add, change or remove one item or link.

    Args:
        kind: of the item, or `link`.
        values: as those of `Given`, without the id; None removes it, and an item's links with it.
        identifier: of the item or the link.
        based_on: id of the version that the person saw, 0 where there was none; None: whatever there is.
        by, key: who changes it.
        conflict: makes what is raised where another version has come since; it is given that version's id.

    Raises:
        DataError: the whole would be wrong, or what is removed is not there; nothing is changed.
    """

    def changed(rows: list[Row]) -> list[Change]:
        own = next((row for row in rows if row["item"] == identifier), None)
        seen = 0 if own is None else own["id"]
        if based_on is not None and based_on != seen:
            raise conflict(seen)
        if own is not None and own["kind"] != kind:
            raise DataError(f"{identifier} is a {own['kind']}, and stays one; choose another id for a {kind}")
        others = [row for row in _given(rows) if _id_of(row) != identifier]
        if values is None:
            if own is None:
                raise DataError(f"there is no {kind} {identifier}")
            going = [row for row in others if row.kind == "link" and identifier in _ends(row)]
            return [Change(identifier, kind, None), *(Change(_id_of(row), "link", None) for row in going)]
        new = Given(identifier, kind, {**values} if kind == "link" else {**values, "id": identifier})
        knowledge = knowledge_of([*others, new])
        if kind == "link":
            link = next(each for each in knowledge.links if each.id == identifier)
            missing = set(link.evidence) - store.knowledge.evidence(link.evidence)
            if missing:
                raise DataError(f"the evidence {min(missing)} is neither an inspection nor a case of this store")
            return [Change(identifier, kind, link.content())]
        return [Change(identifier, kind, knowledge.items[identifier].content())]

    store.knowledge.change(changed, by=by, key=key)


def _given(rows: Sequence[Row]) -> list[Given]:
    return [
        Given(row["item"], row["kind"], row["content"] | ({} if row["kind"] == "link" else {"id": row["item"]}))
        for row in rows
        if row["kind"] != PRIORITIES
    ]


def _priorities(rows: Sequence[Row]) -> Priorities:
    for row in rows:
        if row["kind"] == PRIORITIES:
            return priorities_of([(f"row {number}", each) for number, each in enumerate(row["content"]["rows"], 1)])
    return SIMPLE


def _ends(row: Given) -> tuple[Any, Any]:
    return row.values.get("source"), row.values.get("target")


def _id_of(row: Given) -> str:
    """The id of a row, also of one that is not checked yet."""
    if row.kind == "link":
        return MARK.join(str(end or "").strip() for end in _ends(row))
    return str(row.values.get("id") or "")
