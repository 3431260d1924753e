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
from typing import Self

from gonogo.errors import DataError
from gonogo.store.cases import Cases
from gonogo.store.schema import Row

WORD = re.compile(r"\w+")
COLUMNS = ("defect_type", "category", "cause", "remedy", "note", "said", "source", "part")
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

    def search(
        self,
        text: str,
        *,
        category: str | None = None,
        defect_type: str | None = None,
        min_severity: int | None = None,
        limit: int,
    ) -> list[Row]:
        """Up to `limit` cases that have all words of a text or synonyms of them, the best first.

        The order is that of bm25, and of the ids where it is the same. A text without a word finds nothing.
        """
        query = quoted(text, self.synonyms)
        if not query:
            return []
        conditions, values = ["words MATCH ?"], list[object]([query])
        for column, value in (("category", category), ("defect_type", defect_type)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        if min_severity is not None:
            conditions.append("severity >= ?")
            values.append(min_severity)
        statement = f"SELECT case_id FROM words WHERE {' AND '.join(conditions)} ORDER BY bm25(words), case_id LIMIT ?"  # noqa: S608 - names of columns  # nosec B608
        with self._lock:
            self._refresh()
            ids = [str(row[0]) for row in self._index.execute(statement, [*values, limit])]
        return self._cases.with_ids(ids)

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


def quoted(text: str, synonyms: Synonyms) -> str:
    """What FTS5 is asked for a text: each word quoted, so that nothing in it is an operator; empty without a word."""
    parts = []
    for phrases in synonyms.alternatives(_words(text)[:MOST_WORDS]):
        parts.append("(" + " OR ".join(f'"{" ".join(phrase)}"' for phrase in sorted(phrases)) + ")")
    return " AND ".join(parts)


def _words(text: str) -> Phrase:
    return tuple(WORD.findall(text.lower()))
