"""Failure modes, their effects and causes, controls and actions, and the links between them with their evidence.

The words are those of a failure mode and effects analysis (FMEA) and of an 8D report: severity S is of an effect,
occurrence O of a cause, detection D of a control that detects, each 1 to 10; the cause of a cause makes the chain of
5-why, and its `group` is the bone of Ishikawa's diagram. A link states that one thing leads to another, and rests on
inspections or cases where somebody saw that.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

from gonogo.errors import DataError

KINDS = ("mode", "effect", "cause", "control", "action")
MARK = ">"  # between the ids of the ends, in the id of a link
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
EVIDENCE = re.compile(r"[0-9a-f]{32}")
LONGEST = 2_000  # characters of a text
LONGEST_NAME = 200
MOST_EVIDENCE = 100  # ids of a link
MOST_ITEMS = 5_000
MOST_TOLD = 20  # faults in one message

# What a link from one kind to another says; no other link means anything.
RELATIONS = {
    ("cause", "mode"): "causes",
    ("cause", "cause"): "causes",
    ("mode", "cause"): "causes",
    ("mode", "effect"): "leads_to",
    ("control", "mode"): "controls",
    ("control", "cause"): "controls",
    ("action", "mode"): "remedies",
    ("action", "cause"): "remedies",
    ("action", "control"): "improves",
}


class Field(NamedTuple):
    """A field of a kind: what it may be, and whether it must be there."""

    form: Literal["text", "name", "rating", "date"] | tuple[str, ...]
    required: bool = False


FIELDS: dict[str, dict[str, Field]] = {
    "mode": {"category": Field("name", required=True), "defect_type": Field("name"), "note": Field("text")},
    "effect": {"severity": Field("rating", required=True), "note": Field("text")},
    "cause": {
        "occurrence": Field("rating", required=True),
        "group": Field(("man", "machine", "material", "method", "measurement", "environment")),
        "note": Field("text"),
    },
    "control": {
        "type": Field(("prevention", "detection"), required=True),
        "detection": Field("rating"),
        "note": Field("text"),
    },
    "action": {
        "step": Field(("containment", "corrective", "preventive"), required=True),
        "responsible": Field("name"),
        "due": Field("date"),
        "status": Field(("open", "done"), required=True),
        "note": Field("text"),
    },
}
ALL_FIELDS = {kind: {"name": Field("name", required=True), **fields} for kind, fields in FIELDS.items()}


@dataclass(frozen=True)
class Item:
    """A failure mode, an effect, a cause, a control or an action; `values` has what is known of its FIELDS."""

    id: str
    kind: str
    name: str
    values: Mapping[str, Any]

    def content(self) -> dict[str, Any]:
        """The item without its id and kind, as the store keeps it."""
        return {"name": self.name, **self.values}


@dataclass(frozen=True)
class Link:
    """That `source` leads to `target`, the inspections or cases where it was seen, who says so and when."""

    source: str
    target: str
    evidence: tuple[str, ...]
    by: str
    at: str

    @property
    def id(self) -> str:
        """Its id: those of its ends."""
        return f"{self.source}{MARK}{self.target}"

    def content(self) -> dict[str, Any]:
        """The link without its id, as the store keeps it."""
        return {name: getattr(self, name) for name in ("source", "target", "by", "at")} | {
            "evidence": list(self.evidence)
        }


@dataclass(frozen=True)
class Knowledge:
    """Items by their ids, and the links between them."""

    items: Mapping[str, Item] = field(default_factory=dict)
    links: tuple[Link, ...] = ()

    def of(self, kind: str) -> list[Item]:
        """The items of a kind, by their names."""
        return sorted(
            (item for item in self.items.values() if item.kind == kind), key=lambda item: (item.name, item.id)
        )

    def before(self, identifier: str, kind: str) -> list[Item]:
        """The items of a kind with a link to this one."""
        return [
            self.items[link.source]
            for link in self.links
            if link.target == identifier and self.items[link.source].kind == kind
        ]

    def after(self, identifier: str, kind: str) -> list[Item]:
        """The items of a kind that this one has a link to."""
        return [
            self.items[link.target]
            for link in self.links
            if link.source == identifier and self.items[link.target].kind == kind
        ]

    def relation(self, link: Link) -> str:
        """What a link says, a value of RELATIONS."""
        return RELATIONS[self.items[link.source].kind, self.items[link.target].kind]


class Given(NamedTuple):
    """An item or a link as somebody gave it: where it stands, its kind, and its values."""

    where: str
    kind: str
    values: Mapping[str, Any]


def knowledge_of(
    given: Iterable[Given], known_evidence: Callable[[Sequence[str]], set[str]] | None = None
) -> Knowledge:
    """The knowledge that rows make, once all of it is right.

    Args:
        given: the rows; a link has the kind `link`.
        known_evidence: those of some ids that are inspections or cases; None: the ids are not looked up.

    Raises:
        DataError: a row is wrong, two have one id, a link names an id that is not there, has no evidence or evidence
            that is not there, joins kinds that no link joins, or closes a circle. The message names each row.
    """
    faults: list[str] = []
    items: dict[str, Item] = {}
    links: dict[str, tuple[str, Link]] = {}
    rows = list(given)
    if len(rows) > MOST_ITEMS:
        raise DataError(f"there are {len(rows)} items of knowledge; at most {MOST_ITEMS} are kept")
    for row in rows:
        try:
            if row.kind == "link":
                link = _link(row.values)
                if link.id in links:
                    raise ValueError(f"there is a link from {link.source} to {link.target} in {links[link.id][0]}")
                links[link.id] = (row.where, link)
            else:
                item = _item(row.kind, row.values)
                if item.id in items:
                    raise ValueError(f"there is another item with the id {item.id}")
                items[item.id] = item
        except ValueError as error:
            faults.append(f"{row.where}: {error}")
    faults += _faults_of_links(items, links.values(), known_evidence)
    if not faults:
        faults += _circles(items, links.values())
    if faults:
        more = f"\nand {len(faults) - MOST_TOLD} more" if len(faults) > MOST_TOLD else ""
        raise DataError("\n".join(faults[:MOST_TOLD]) + more)
    return Knowledge(items, tuple(link for _, link in links.values()))


def _item(kind: str, values: Mapping[str, Any]) -> Item:
    """An item from its values; ValueError says what is wrong with them."""
    if kind not in FIELDS:
        raise ValueError(f"{kind!r} is no kind; expected one of {', '.join(KINDS)}, link")
    fields = ALL_FIELDS[kind]
    _require_known(values, {"id", *fields}, kind)
    identifier = str(values.get("id") or "")
    if not IDENTIFIER.fullmatch(identifier):
        raise ValueError(f"the id is {identifier!r}; expected lower-case letters, digits, - and _, at most 64 of them")
    found = {name: _value(name, values.get(name), rule) for name, rule in fields.items()}
    given = {name: value for name, value in found.items() if value is not None}
    detects = given.get("type") == "detection"
    if kind == "control" and detects != ("detection" in given):
        raise ValueError("a control of the type detection has a rating D in the column detection, and another has none")
    name = given.pop("name")
    return Item(identifier, kind, name, given)


def _value(name: str, value: Any, rule: Field) -> Any:
    text = "" if value is None else str(value).strip()
    if not text:
        if rule.required:
            raise ValueError(f"there is no {name}")
        return None
    if isinstance(rule.form, tuple):
        if text not in rule.form:
            raise ValueError(f"{name} is {text!r}; expected one of {', '.join(rule.form)}")
        return text
    if rule.form == "rating":
        if not re.fullmatch(r"[0-9]{1,2}", text) or not 1 <= int(text) <= 10:
            raise ValueError(f"{name} is {text!r}; expected a whole number from 1 to 10")
        return int(text)
    if rule.form == "date":
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError as error:
            raise ValueError(f"{name} is {text!r}; expected a day as 2026-11-29") from error
    return _text(name, text, LONGEST if rule.form == "text" else LONGEST_NAME)


def _text(name: str, text: str, longest: int) -> str:
    if len(text) > longest:
        raise ValueError(f"{name} has {len(text)} characters; at most {longest} are kept")
    if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in text):
        raise ValueError(f"{name} has a character that is no text")
    return text


def _link(values: Mapping[str, Any]) -> Link:
    """A link from its values; ValueError says what is wrong with them."""
    _require_known(values, {"source", "target", "evidence", "by", "at"}, "link")
    texts = {name: str(values.get(name) or "").strip() for name in ("source", "target", "by", "at")}
    for name in ("source", "target", "by", "at"):
        if not texts[name]:
            raise ValueError(f"there is no {name}")
    given = values.get("evidence") or ()
    evidence = given.replace(",", " ").split() if isinstance(given, str) else [str(each) for each in given]
    if not evidence:
        raise ValueError("the link has no evidence; expected ids of inspections or cases where it was seen")
    if len(evidence) > MOST_EVIDENCE:
        raise ValueError(f"the link has {len(evidence)} ids as evidence; at most {MOST_EVIDENCE} are kept")
    for each in evidence:
        if not EVIDENCE.fullmatch(each):
            raise ValueError(
                f"the evidence {each!r} is no id of an inspection or a case, which has 32 hexadecimal digits"
            )
    try:
        at = datetime.fromisoformat(texts["at"]).isoformat()
    except ValueError as error:
        raise ValueError(f"at is {texts['at']!r}; expected a day or a moment as 2026-11-29T06:00:00+00:00") from error
    by = _text("by", texts["by"], LONGEST_NAME)
    return Link(texts["source"], texts["target"], tuple(dict.fromkeys(evidence)), by, at)


def _require_known(values: Mapping[str, Any], allowed: set[str], kind: str) -> None:
    unknown = set(values) - allowed
    if unknown:
        raise ValueError(f"a {kind} has no {min(unknown)!r}; expected some of {', '.join(sorted(allowed))}")


def _faults_of_links(
    items: Mapping[str, Item],
    links: Iterable[tuple[str, Link]],
    known_evidence: Callable[[Sequence[str]], set[str]] | None,
) -> Iterator[str]:
    links = list(links)
    named = sorted({each for _, link in links for each in link.evidence})
    there = set(named) if known_evidence is None else known_evidence(named)
    for where, link in links:
        unknown = [end for end in (link.source, link.target) if end not in items]
        if unknown:
            yield f"{where}: there is no item with the id {unknown[0]!r}"
        elif (items[link.source].kind, items[link.target].kind) not in RELATIONS:
            yield (
                f"{where}: no link leads from a {items[link.source].kind} to a {items[link.target].kind}; expected "
                + ", ".join(f"{source} to {target}" for source, target in RELATIONS)
            )
        missing = [each for each in link.evidence if each not in there]
        if missing:
            yield f"{where}: the evidence {missing[0]} is neither an inspection nor a case of this store"


def _circles(items: Mapping[str, Item], links: Iterable[tuple[str, Link]]) -> Iterator[str]:
    """The links that close a circle, such as a cause of its own cause."""
    after: dict[str, list[tuple[str, str]]] = {identifier: [] for identifier in items}
    for where, link in links:
        after[link.source].append((link.target, where))
    state: dict[str, int] = {}  # 1: on the way from the root, 2: done
    for root in items:
        if root in state:
            continue
        way = [(root, iter(after[root]))]
        state[root] = 1
        while way:
            at, rest = way[-1]
            for target, where in rest:
                if state.get(target) == 1:
                    names = [each for each, _ in way]
                    circle = " → ".join([*names[names.index(target) :], target])
                    yield f"{where}: the link closes a circle: {circle}"
                elif target not in state:
                    state[target] = 1
                    way.append((target, iter(after[target])))
                    break
            else:
                state[at] = 2
                way.pop()
