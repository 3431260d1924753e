"""A search of cases by words whose finds are ranked again by what they mean.

A case that has all words of the search, or synonyms of them, is found whatever the network of language says: it knows
English only, and a list of synonyms knows the factory's words. The network orders these cases, and adds others that are
near in meaning: of the cases that have one of the words, and of those whose type or cause is near. Up to USEFUL, a
similarity says nothing: it neither orders nor adds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gonogo.cases.language import MODEL, Language
from gonogo.cases.words import ALL, Filters, WordIndex
from gonogo.store.schema import Row

USEFUL = 0.45  # similarity; benchmarks/meaning.py counts what reaches it, rightly and wrongly
COMPARED = 20  # cases of each kind: with all words of a search, with one of them, and with a type or cause that is near
NAMES = 64  # types, and causes, that are compared: the most frequent ones


@dataclass(frozen=True)
class Found:
    """What a search found, the best first.

    Attributes:
        cases: rows of `Cases.with_ids`, each with `all_words`, whether it has all words of the search, and with
            `similarity`, the highest of its texts; None where it was not compared.
        nearest: the highest similarity of all that was compared; None: nothing was.
        model: that compared; None: none did.
        least: a similarity that is not above it says nothing.
        waiting: cases that could not be compared yet.
    """

    cases: list[Row]
    nearest: float | None = None
    model: str | None = None
    least: float = USEFUL
    waiting: int = 0

    @property
    def useful(self) -> bool:
        """Whether something is near enough for its similarity to tell something."""
        return self.nearest is not None and self.nearest > self.least


def search(
    index: WordIndex, text: str, filters: Filters = ALL, *, limit: int, language: Language | None = None
) -> Found:
    """Up to `limit` cases; without a `language`, those that have all words, in the order of the index."""
    most = limit if language is None else max(limit, COMPARED)
    rows = [row | {"all_words": True, "similarity": None} for row in index.search(text, filters, limit=most)]
    if language is None or not text.strip():
        return Found(rows)
    near_names = [
        (float(near), column, name)
        for column in ("defect_type", "cause")
        for names in (index.frequent(column, filters, limit=NAMES),)
        for near, name in zip(language.similarities(text, names), names, strict=True)
    ]
    known = {row["id"] for row in rows}
    others: list[Row] = []
    for more in (
        index.search(text, filters, limit=len(rows) + COMPARED, any_word=True),
        _with_names(index, sorted(near_names, reverse=True), filters),
    ):
        others += [row | {"all_words": False} for row in _new(more, known)]
        known |= {row["id"] for row in others}
    compared = [*rows[:COMPARED], *others]
    ranks: dict[str, tuple[float, float]] = {}  # the lower, the nearer: by the nearest text, then by all as one
    for row, texts in zip(compared, index.texts([row["id"] for row in compared]), strict=True):
        row["similarity"] = nearest = max(language.similarities(text, texts).tolist(), default=None)
        if nearest is not None and nearest > USEFUL:
            ranks[row["id"]] = (-nearest, -float(language.similarities(text, ["; ".join(texts)])[0]))
    similarities = [near for near, *_ in near_names] + [row["similarity"] or -1.0 for row in compared]
    rows.sort(key=lambda row: ranks.get(row["id"], (0.0, 0.0)))  # which keeps the order of the index for all others
    added = sorted((row for row in others if row["id"] in ranks), key=lambda row: (ranks[row["id"]], row["id"]))
    return Found([*rows, *added][:limit], max(similarities, default=None), MODEL)


def _with_names(index: WordIndex, names: list[tuple[float, str, str]], filters: Filters) -> Iterator[Row]:
    """The cases with types or causes that are near, each perhaps several times."""
    for near, column, name in names:
        if near > USEFUL:
            yield from index.with_value(column, name, filters, limit=COMPARED)


def _new(rows: Iterable[Row], known: set[str]) -> list[Row]:
    """The first COMPARED of these cases that are not known yet, each once."""
    found: dict[str, Row] = {}
    for row in rows:
        if len(found) == COMPARED:
            break
        if row["id"] not in known:
            found.setdefault(row["id"], row)
    return list(found.values())
