"""Search of cases by words: in their types, causes, remedies and notes, in the names of their images, and in reviews.

The words are in an index of SQLite in memory, whatever database the store has, which follows the store. English endings
and accents do not matter; other languages, and words that a factory uses for the same thing, are for a list of synonyms
that the factory edits: it does more there than a model of language would.
"""

import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from gonogo.errors import DataError
from gonogo.store.cases import Cases
from gonogo.store.schema import Row

WORD = re.compile(r"\w+")
COLUMNS = ("defect_type", "category", "cause", "remedy", "note", "said", "source", "part")
TEXTS = ("defect_type", "cause", "remedy", "note", "said")  # that say something of the defect
MOST_WORDS = 32  # of a search
MOST_LINES = 10_000  # of a list of synonyms

Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Synonyms:
    """Groups of phrases that mean the same, each in lower case."""

    groups: tuple[frozenset[Phrase], ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The groups of a text file: on each line phrases separated by commas, `#` begins a remark.

        Raises:
            DataError: it cannot be read as UTF-8, has too many lines, or a line that has one phrase only.
        """
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as a list of synonyms in UTF-8: {error}") from error
        if len(lines) > MOST_LINES:
            raise DataError(f"{path} has {len(lines)} lines; a list of synonyms has at most {MOST_LINES}")
        groups = []
        for number, line in enumerate(lines, start=1):
            text = line.partition("#")[0]
            group = frozenset(filter(None, (_words(phrase) for phrase in text.split(","))))
            if text.strip() and len(group) < 2:
                raise DataError(f"{path}, line {number}: expected two phrases or more, as in `scratch, Kratzer`")
            if group:
                groups.append(group)
        return cls(tuple(groups))

    def alternatives(self, words: Sequence[str]) -> Iterator[set[Phrase]]:
        """For each part of a query, in its order, all phrases that mean the same; the longest phrase is one part."""
        at = 0
        while at < len(words):
            length = max(
                (
                    len(phrase)
                    for group in self.groups
                    for phrase in group
                    if tuple(words[at : at + len(phrase)]) == phrase
                ),
                default=1,
            )
            phrase = tuple(words[at : at + length])
            yield {phrase}.union(*(group for group in self.groups if phrase in group))
            at += length


class Filters(NamedTuple):
    """Which cases a search may find; None allows all."""

    category: str | None = None
    defect_type: str | None = None
    min_severity: int | None = None


ALL = Filters()


class WordIndex:
    """The words of all cases of a store, read when they are first asked for."""

    def __init__(self, cases: Cases, synonyms: Synonyms) -> None:
        self._cases, self.synonyms = cases, synonyms
        self._lock = threading.Lock()
        self._version = 0
        self._index = sqlite3.connect(":memory:", check_same_thread=False)
        columns = ", ".join(COLUMNS)
        self._index.execute(
            f"CREATE VIRTUAL TABLE words USING fts5({columns}, case_id UNINDEXED, severity UNINDEXED, "
            "tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        self._index.execute("CREATE TABLE rows (case_id TEXT PRIMARY KEY, row INTEGER)")

    def search(self, text: str, filters: Filters = ALL, *, limit: int, any_word: bool = False) -> list[Row]:
        """Up to `limit` cases that have all words of a text or synonyms of them, the best first.

        With `any_word`, cases that have one of them. The order is that of bm25, and of the ids where it is the same. A
        text without a word finds nothing.
        """
        query = quoted(text, self.synonyms, any_word=any_word)
        return self._cases.with_ids(self._ids("words MATCH ?", query, filters, "bm25(words)", limit)) if query else []

    def with_value(self, column: str, value: str, filters: Filters = ALL, *, limit: int) -> list[Row]:
        """Up to `limit` cases with this value in one of TEXTS, in the order of their ids from the last one."""
        return self._cases.with_ids(self._ids(f"{_one_of(column)} = ?", value, filters, "case_id DESC", limit))

    def frequent(self, column: str, filters: Filters = ALL, *, limit: int) -> list[str]:
        """Up to `limit` values of one of TEXTS, the most frequent first."""
        conditions, values = _conditions(filters)
        statement = (
            f"SELECT {_one_of(column)} FROM words WHERE {' AND '.join([f'{column} IS NOT NULL', *conditions])} "  # noqa: S608 - names of columns  # nosec B608
            "GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT ?"
        )
        with self._lock:
            self._refresh()
            return [str(row[0]) for row in self._index.execute(statement, [*values, limit])]

    def texts(self, ids: Sequence[str]) -> list[list[str]]:
        """The TEXTS of cases that are there, those that are not empty."""
        statement = f"SELECT {', '.join(TEXTS)} FROM words WHERE rowid = (SELECT row FROM rows WHERE case_id = ?)"  # noqa: S608 - names of columns  # nosec B608
        with self._lock:
            rows = [self._index.execute(statement, [identifier]).fetchone() for identifier in ids]
        return [[text for text in row or () if text] for row in rows]

    def _ids(self, condition: str, value: str, filters: Filters, order: str, limit: int) -> list[str]:
        conditions, values = _conditions(filters)
        statement = f"SELECT case_id FROM words WHERE {' AND '.join([condition, *conditions])} ORDER BY {order}, case_id LIMIT ?"  # noqa: S608, E501 - names of columns  # nosec B608
        with self._lock:
            self._refresh()
            return [str(row[0]) for row in self._index.execute(statement, [value, *values, limit])]

    def _refresh(self) -> None:
        if self._cases.version() == self._version:
            return
        for version, case in self._cases.texts(self._version):
            known = self._index.execute("SELECT row FROM rows WHERE case_id = ?", [case["id"]]).fetchone()
            if known is not None:
                self._index.execute("DELETE FROM words WHERE rowid = ?", known)
                self._index.execute("DELETE FROM rows WHERE case_id = ?", [case["id"]])
            if case["removed"] is None:
                texts = case | {"said": "\n".join(case["said"])}
                marks = ", ".join("?" * (len(COLUMNS) + 2))
                row = self._index.execute(
                    f"INSERT INTO words VALUES ({marks})",  # noqa: S608 - question marks  # nosec B608
                    [*(texts[name] for name in COLUMNS), case["id"], case["severity"]],
                ).lastrowid
                self._index.execute("INSERT INTO rows VALUES (?, ?)", [case["id"], row])
            self._version = version


def quoted(text: str, synonyms: Synonyms, *, any_word: bool = False) -> str:
    """What FTS5 is asked for a text: each word quoted, so that nothing in it is an operator; empty without a word."""
    parts = []
    for phrases in synonyms.alternatives(_words(text)[:MOST_WORDS]):
        parts.append("(" + " OR ".join(f'"{" ".join(phrase)}"' for phrase in sorted(phrases)) + ")")
    return (" OR " if any_word else " AND ").join(parts)


def _conditions(filters: Filters) -> tuple[list[str], list[object]]:
    """The conditions of SQL for filters, and their values."""
    given = {
        "category = ?": filters.category,
        "defect_type = ?": filters.defect_type,
        "severity >= ?": filters.min_severity,
    }
    chosen = {condition: value for condition, value in given.items() if value is not None}
    return list(chosen), list(chosen.values())


def _one_of(column: str) -> str:
    assert column in TEXTS
    return column


def _words(text: str) -> Phrase:
    return tuple(WORD.findall(text.lower()))
