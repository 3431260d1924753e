"""The nearest of many vectors, exactly, in an order that does not depend on how they were found.

A distance over all dimensions is needed for few of them. The vectors are turned so that their first coordinates are
those along which they vary most; together with the length of the rest, these give a lower bound of each distance. Only
vectors whose bound is not above the k-th best distance are compared in full. The rotation changes no distance, so that
the result is that of comparing all.

Source: the bound is that of the triangle inequality in the two subspaces, as in Cha and Chung 2002, "An efficient
indexing scheme based on local polar coordinates" (GC-tree, LPC-file); the principal axes as in Jolliffe 2002,
"Principal Component Analysis".
"""

import importlib.util
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

HEAD = 32  # coordinates of the lower bound
FROM = 2_000  # vectors; fewer are compared in full
FIRST = 16  # times k vectors whose distances limit the search
BLOCK = 64  # vectors of which one may limit the search
SAMPLE = 20_000  # vectors whose variation the axes are computed from
FAISS_FROM = 100_000  # vectors, above which FAISS searches where it is installed
SLACK = 1e-5  # of squared lengths, far above the rounding of single precision, so that no neighbour is missed


class Neighbour(NamedTuple):
    """A vector by its identifier, and its l2 distance."""

    distance: float
    identifier: str


class Entry(NamedTuple):
    """What is known of a vector beside its numbers."""

    identifier: str
    image: str
    part: str | None
    defect_type: str
    severity: int | None


class Wanted(NamedTuple):
    """Which vectors a search may return; None allows all.

    image, part: those that the query shows, which are left out.
    """

    image: str | None = None
    part: str | None = None
    defect_type: str | None = None
    min_severity: int | None = None


ANY = Wanted()


class Neighbours:
    """Vectors of one kind, space and category."""

    def __init__(self, *, faiss: bool | None = None) -> None:
        """None: `faiss` is used where it is installed."""
        self._faiss = importlib.util.find_spec("faiss") is not None if faiss is None else faiss
        self._clear(0)

    def _clear(self, dims: int) -> None:
        self._entries: list[Entry | None] = []  # None: removed
        self._rows: dict[str, int] = {}
        self._rows_of: dict[tuple[str, object], list[int]] = defaultdict(list)  # by a field of `Entry` and its value
        self._vectors = np.zeros((0, dims), dtype=np.float32)  # more rows than there are entries, to grow into
        self._bound: _LowerBound | None = None
        self._flat: Any = None

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, entry: Entry, vector: np.ndarray) -> None:
        """Add a vector (d,) float32, in place of one with the same identifier."""
        self.remove(entry.identifier)
        if not self._entries:
            self._clear(len(vector))
        elif len(self._entries) > 2 * len(self._rows) + 64:
            self._close_gaps()
        row = len(self._entries)
        if row == len(self._vectors):
            self._vectors = np.resize(self._vectors, (max(64, 2 * row), len(vector)))
        self._vectors[row] = vector
        self._entries.append(entry)
        self._rows[entry.identifier] = row
        for field, value in entry._asdict().items():
            if field != "identifier":
                self._rows_of[field, value].append(row)

    def remove(self, identifier: str) -> None:
        """Take a vector out, if it is there."""
        row = self._rows.pop(identifier, None)
        if row is not None:
            self._entries[row] = None

    def _close_gaps(self) -> None:
        """Forget the rows of vectors that were removed."""
        kept = [(self._entry(row), self._vectors[row]) for row in sorted(self._rows.values())]
        self._clear(self._vectors.shape[1])
        for entry, vector in kept:
            self.put(entry, vector)

    def nearest(self, vector: np.ndarray, k: int, wanted: Wanted = ANY) -> list[Neighbour]:
        """The k nearest of those that are wanted, or all where they are fewer: by distance, then by identifier.

        Args:
            vector: (d,) float32.
            k: 1 or more.
            wanted: which ones.
        """
        if not self._rows:
            return []
        n = len(self._entries)
        unwanted = self._unwanted(wanted)
        if n >= FROM and self._faiss and n > FAISS_FROM:
            rows = self._by_faiss(vector, k, unwanted)
        elif n >= FROM:
            rows = self._by_bound(vector, k, unwanted)
        else:
            rows = np.setdiff1d(np.arange(n), unwanted)
        distances = _distances(self._vectors[rows], vector)
        if len(rows) > k:
            near = distances <= np.partition(distances, k - 1)[k - 1]
            rows, distances = rows[near], distances[near]
        found = sorted(
            Neighbour(distance, self._entry(row).identifier)
            for row, distance in zip(rows.tolist(), distances.tolist(), strict=True)
        )
        return found[:k]

    def _unwanted(self, wanted: Wanted) -> np.ndarray:
        """Rows that may not be found: removed ones among them."""
        n = len(self._entries)
        if len(self._rows) == n and wanted.defect_type is None and wanted.min_severity is None:
            rows = [row for field in ("image", "part") for row in self._rows_of_value(field, getattr(wanted, field))]
            return np.array(rows, dtype=np.int64)
        allowed = np.zeros(n, dtype=bool)
        allowed[list(self._rows.values())] = True
        if wanted.defect_type is not None:
            of_type = np.zeros(n, dtype=bool)
            of_type[self._rows_of_value("defect_type", wanted.defect_type)] = True
            allowed &= of_type
        if wanted.min_severity is not None:
            severe = [entry is not None and (entry.severity or 0) >= wanted.min_severity for entry in self._entries]
            allowed &= np.array(severe)
        for field in ("image", "part"):
            allowed[self._rows_of_value(field, getattr(wanted, field))] = False
        return np.flatnonzero(~allowed)

    def _rows_of_value(self, field: str, value: object) -> list[int]:
        return [] if value is None else self._rows_of.get((field, value), [])

    def _by_bound(self, vector: np.ndarray, k: int, unwanted: np.ndarray) -> np.ndarray:
        """Rows among which the k nearest are: those whose lower bound is not above the k-th of some distances."""
        vectors = self._vectors[: len(self._entries)]
        if self._bound is None or len(vectors) > 2 * self._bound.n_learned:
            self._bound = _LowerBound(vectors)
        bounds = self._bound.of(vector, vectors)
        bounds[unwanted] = np.inf
        some = _least_of_blocks(bounds, FIRST * k)
        some = some[np.isfinite(bounds[some])]
        if len(some) < k:
            return np.flatnonzero(np.isfinite(bounds))
        kth = np.partition(_distances(vectors[some], vector), k - 1)[k - 1]
        return np.flatnonzero(bounds <= kth**2 + self._bound.rounding)

    def _by_faiss(self, vector: np.ndarray, k: int, unwanted: np.ndarray) -> np.ndarray:
        """As `_by_bound`, by FAISS's exact index."""
        import faiss

        n = len(self._entries)
        if self._flat is None:
            self._flat = faiss.IndexFlatL2(self._vectors.shape[1])
        self._flat.add(self._vectors[self._flat.ntotal : n])
        query, count = np.ascontiguousarray(vector[None], dtype=np.float32), min(k + len(unwanted) + FIRST, n)
        while True:
            distances, rows = (found[0] for found in self._flat.search(query, count))
            allowed = ~np.isin(rows, unwanted)
            kth = distances[allowed][k - 1] if allowed.sum() >= k else np.inf
            if count == n or distances[-1] * (1 - SLACK) > kth:  # none that is as near as the k-th is left out
                return np.asarray(rows[allowed])
            count = min(8 * count, n)

    def _entry(self, row: int) -> Entry:
        entry = self._entries[row]
        assert entry is not None
        return entry


def _least_of_blocks(values: np.ndarray, count: int) -> np.ndarray:
    """Where some small values are, in a tenth of the time that sorting takes: of the least in each of many blocks."""
    n_blocks = len(values) // BLOCK
    best = values[: n_blocks * BLOCK].reshape(n_blocks, BLOCK).argmin(axis=1) + BLOCK * np.arange(n_blocks)
    best = np.concatenate([best, np.arange(n_blocks * BLOCK, len(values))])
    if count >= len(best):
        return np.asarray(best)
    return np.asarray(best[np.argpartition(values[best], count)[:count]])


def _distances(vectors: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """(n,) l2 distances of vectors (n, d) to one, in double precision."""
    apart = vectors.astype(np.float64) - vector
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", apart, apart)))


class _LowerBound:
    """Lower bounds of squared distances to many vectors, from HEAD principal coordinates and the length of the rest."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.n_learned = len(vectors)
        self._mean = vectors.mean(axis=0, dtype=np.float64)
        some = vectors[:: -(-len(vectors) // SAMPLE)].astype(np.float64) - self._mean
        self._axes = np.linalg.eigh(some.T @ some)[1][:, ::-1][:, :HEAD]  # (d, HEAD)
        self._short = np.zeros((0, self._axes.shape[1] + 1), dtype=np.float32)
        self._norms = np.zeros(0, dtype=np.float32)
        self.rounding = 0.0  # of the last bounds

    def of(self, vector: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """(n,) bounds; by rounding one may be above the squared distance, by `rounding` at most."""
        begun = len(self._short)
        if begun < len(vectors):
            new = self._shortened(vectors[begun:])
            self._short = np.concatenate([self._short, new])
            self._norms = np.concatenate([self._norms, (new**2).sum(axis=1)])
        short = self._shortened(vector[None])[0]
        self.rounding = SLACK * float(self._norms.max() + short @ short)
        bounds = self._short @ (-2 * short)
        bounds += self._norms
        bounds += float(short @ short)
        return np.asarray(bounds)

    def _shortened(self, vectors: np.ndarray) -> np.ndarray:
        centred = vectors - self._mean
        head = centred @ self._axes
        rest = np.sqrt(np.maximum((centred**2).sum(axis=1) - (head**2).sum(axis=1), 0))
        return np.concatenate([head, rest[:, None]], axis=1).astype(np.float32)
