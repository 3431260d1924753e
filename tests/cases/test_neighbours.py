"""The nearest cases are those of comparing all, in an order of their own, without the query's image and part."""

import importlib.util

import numpy as np
import pytest

from gonogo.cases import neighbours as module
from gonogo.cases.neighbours import Entry, Neighbours, Wanted

WAYS = [
    pytest.param(False, id="numpy"),
    pytest.param(
        True,
        id="faiss",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("faiss") is None, reason="no faiss: pip install 'gonogo[faiss]'"
        ),
    ),
]


def drawn(n, dims=40, seed=0):
    """Vectors in clusters, of which some are the same, so that distances tie."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, dims)) / np.sqrt(np.arange(1, dims + 1))
    vectors = centres[rng.integers(12, size=n)] + 0.3 * rng.normal(size=(n, dims)) / np.arange(1, dims + 1)
    vectors[n // 2 : n // 2 + n // 20] = vectors[: n // 20]
    return vectors.astype(np.float32)


def entry(number):
    return Entry(
        f"{(number * 7919) % 100_003:06d}",
        f"image {number // 2}",
        f"part {number // 6}",
        "abc"[number % 3],
        number % 11 or None,
    )


def filled(vectors, faiss):
    found = Neighbours(faiss=faiss)
    for number, vector in enumerate(vectors):
        found.put(entry(number), vector)
    return found


def expected(vectors, query, k, allowed=lambda _: True):
    """By comparing all, one by one."""
    every = []
    for number, vector in enumerate(vectors):
        if allowed(entry(number)):
            every.append((float(np.sqrt(((vector.astype(np.float64) - query) ** 2).sum())), entry(number).identifier))
    return [identifier for _, identifier in sorted(every)[:k]]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """The ways for many vectors begin with few, so that they are tested."""
    monkeypatch.setattr(module, "FROM", 200)
    monkeypatch.setattr(module, "FAISS_FROM", 500)


@pytest.mark.parametrize("faiss", WAYS)
@pytest.mark.parametrize("n", [1, 3, 199, 201, 3000])
def test_they_are_those_of_comparing_all(n, faiss):
    vectors = drawn(n)
    found = filled(vectors, faiss)
    queries = [*drawn(6, seed=1), vectors[0], vectors[n // 2]]
    for query in queries:
        for k in (1, 5, 40):
            names = [one.identifier for one in found.nearest(query, k)]
            assert names == expected(vectors, query, k)
            assert len(names) == min(k, n)


@pytest.mark.parametrize("faiss", WAYS)
def test_the_image_and_the_part_of_the_query_are_left_out_and_k_remain(faiss):
    vectors = np.repeat(drawn(150), 6, axis=0) + drawn(900, seed=4) / 100  # the images of a part are near each other
    found = filled(vectors, faiss)
    for number in (0, 7, 450):
        own = entry(number)
        wanted = Wanted(image=own.image, part=own.part)
        names = [one.identifier for one in found.nearest(vectors[number], 5, wanted)]
        assert len(names) == 5
        assert names == expected(
            vectors, vectors[number], 5, lambda one, own=own: one.image != own.image and one.part != own.part
        )


@pytest.mark.parametrize("faiss", WAYS)
def test_filters_leave_k_of_those_that_pass_them(faiss):
    vectors = drawn(900)
    found = filled(vectors, faiss)
    wanted = Wanted(defect_type="b", min_severity=9)
    names = [one.identifier for one in found.nearest(vectors[5], 30, wanted)]
    assert names == expected(vectors, vectors[5], 30, lambda one: one.defect_type == "b" and (one.severity or 0) >= 9)
    assert found.nearest(vectors[5], 3, Wanted(defect_type="z")) == []


@pytest.mark.parametrize("faiss", WAYS)
def test_what_is_removed_or_replaced_is_found_no_more(faiss):
    vectors = drawn(700)
    found = filled(vectors, faiss)
    found.nearest(vectors[0], 1)  # learns its axes
    for number in range(600):
        found.remove(entry(number).identifier)
    found.put(entry(0), vectors[699] + 1e-3)
    rest = {entry(number).identifier: vectors[number] for number in range(600, 700)} | {
        entry(0).identifier: vectors[699] + np.float32(1e-3)
    }
    ordered = sorted(
        (float(np.linalg.norm(vector.astype(np.float64) - vectors[699])), name) for name, vector in rest.items()
    )
    assert [one.identifier for one in found.nearest(vectors[699], 200)] == [name for _, name in ordered]
    assert len(found) == 101


def test_a_vector_put_later_is_found_among_those_with_learned_axes():
    vectors = drawn(1000)
    found = filled(vectors[:600], False)
    found.nearest(vectors[0], 1)
    for number in range(600, 1000):
        found.put(entry(number), vectors[number])
    assert [one.identifier for one in found.nearest(vectors[800], 9)] == expected(vectors, vectors[800], 9)


def test_without_a_vector_nothing_is_found():
    assert Neighbours().nearest(np.zeros(3, dtype=np.float32), 5) == []


@pytest.mark.parametrize("faiss", WAYS)
def test_of_many_at_the_same_distance_the_first_identifiers_are_found(faiss):
    found = Neighbours(faiss=faiss)
    far = drawn(800)
    for number, vector in enumerate(far):
        found.put(entry(number)._replace(identifier=f"far {number:04d}"), vector + 50)
    for number in reversed(range(300)):
        found.put(Entry(f"same {number:04d}", "", None, "a", None), far[0])
    names = [one.identifier for one in found.nearest(far[1], 5)]
    assert names == [f"same {number:04d}" for number in range(5)]
