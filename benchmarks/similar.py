"""What it takes to find the cases that are most like an image among many, and to look them up.

    python benchmarks/similar.py [--cases N] [--dims D] [--runs N]

Vectors are drawn around the centres of clusters, as those of defects lie, and decay in variance from one principal
axis to the next; queries are drawn in the same way. A line has the milliseconds, on the clock and of the processor, of
a search through `CaseIndex` in a SQLite store, its reads of the store included; the next ones those of the search
alone, by gonogo's bound, by FAISS where it is installed, and by comparing all vectors. All ways must find the same
neighbours.
"""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from gonogo.cases.index import CaseIndex
from gonogo.cases.neighbours import Entry, Neighbour, Neighbours, Wanted
from gonogo.store.schema import case_vectors, cases
from gonogo.store.store import Store

K, CLUSTERS = 5, 40


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--dims", type=int, default=152)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(arguments.dims, arguments.dims)))[0]
    scale = 1 / np.arange(1, arguments.dims + 1) ** 0.5
    centres = rng.normal(size=(CLUSTERS, arguments.dims)) * scale

    def drawn(n: int) -> np.ndarray:
        own = 0.5 * rng.normal(size=(n, arguments.dims)) * scale
        return np.asarray((centres[rng.integers(CLUSTERS, size=n)] + own) @ turned, dtype=np.float32)

    vectors, queries = drawn(arguments.cases), drawn(arguments.runs)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        _fill(store, vectors)
        index = CaseIndex(store.cases)

        def through_store(query: np.ndarray) -> list[Neighbour]:
            found = index.similar({"image": query}, category="part", space="s", k=K, wanted=Wanted(), good_distances={})
            return [Neighbour(row["distance"], row["id"]) for row in found.cases]

        began = time.perf_counter()
        through_store(queries[0])
        print(f"{arguments.cases} cases of {arguments.dims} numbers: read in {time.perf_counter() - began:.1f} s")
        ways: dict[str, Callable[[np.ndarray], list[Neighbour]]] = {"through the store": through_store}
        for name in ["gonogo's bound", *(["faiss"] if importlib.util.find_spec("faiss") else [])]:
            neighbours = Neighbours(faiss=name == "faiss")
            for number, vector in enumerate(vectors):
                neighbours.put(Entry(f"{number:032x}", "", None, "t", None), vector)
            ways[name] = lambda query, neighbours=neighbours: neighbours.nearest(query, K)  # type: ignore[misc]
        ways["all compared"] = lambda query: _all_compared(vectors, query)
        found = {name: _timed(name, way, queries) for name, way in ways.items()}
        for name in ways:
            assert [[one.identifier for one in each] for each in found[name]] == [
                [one.identifier for one in each] for each in found["all compared"]
            ], name
        store.close()


def _fill(store: Store, vectors: np.ndarray) -> None:
    with store.cases._writing() as connection:  # in one transaction: 100,000 of them would take minutes
        connection.execute(
            sa.insert(cases),
            [
                {
                    "id": f"{number:032x}",
                    "image": f"{number:064x}",
                    "category": "part",
                    "defect_type": "t",
                    "crop": b"",
                    "crop_type": "image/png",
                    "at": 0.0,
                    "version": number + 1,
                }
                for number in range(len(vectors))
            ],
        )
        connection.execute(
            sa.insert(case_vectors),
            [
                {"case_id": f"{number:032x}", "space": "s", "kind": "image", "vector": vector.tobytes()}
                for number, vector in enumerate(vectors)
            ],
        )


def _all_compared(vectors: np.ndarray, query: np.ndarray) -> list[Neighbour]:
    squares = (vectors**2).sum(axis=1) if not _SQUARES else _SQUARES[0]
    _SQUARES[:] = [squares]
    near = np.argpartition(squares - 2 * (vectors @ query), 4 * K)[: 4 * K]
    distances = np.sqrt(((vectors[near].astype(np.float64) - query) ** 2).sum(axis=1))
    return sorted(Neighbour(float(d), f"{row:032x}") for d, row in zip(distances, near, strict=True))[:K]


_SQUARES: list[np.ndarray] = []


def _timed(name: str, way: Callable[[np.ndarray], list[Neighbour]], queries: np.ndarray) -> list[list[Neighbour]]:
    way(queries[0])
    times, processor, found = [], [], []
    for query in queries:
        began, used = time.perf_counter(), time.process_time()
        found.append(way(query))
        processor.append(1000 * (time.process_time() - used))
        times.append(1000 * (time.perf_counter() - began))
    print(
        f"{name:18} median {np.median(times):7.2f} ms, p95 {np.quantile(times, 0.95):7.2f} ms; "
        f"of the processor {np.median(processor):7.2f} ms"
    )
    return found


if __name__ == "__main__":
    main()
