"""Cases in both databases: versions that tell what changed, the last word, and what is taken back."""

import numpy as np
import pytest

from storing import inspect, url  # noqa: F401  skips where the extra is missing

# isort: split

from gonogo.cases.index import CaseIndex
from gonogo.cases.neighbours import Wanted
from gonogo.cases.words import Filters, Synonyms, WordIndex
from gonogo.store.store import Store


@pytest.fixture
def store(url, tmp_path):  # noqa: F811  the fixture that is imported
    opened = Store(tmp_path, url)
    yield opened
    opened.close()


def put(store, number, vector, *, space="s", kind="image", **more):
    case = {
        "id": f"{number:032x}",
        "inspection": None,
        "source": f"{number}.png",
        "image": f"{number:064x}",
        "part": None,
        "category": "washer",
        "defect_type": "scratch",
        "region": None,
        "crop": b"picture",
        "crop_type": "image/png",
        "at": float(number),
    }
    return store.cases.put(case | more, {kind: np.array(vector, dtype="<f4").tobytes()}, space)


def found(index, vector, *, k=5, category="washer", space="s", kind="image", wanted=Wanted()):  # noqa: B008 - frozen
    similar = index.similar(
        {kind: np.array(vector, dtype=np.float32)},
        category=category,
        space=space,
        k=k,
        wanted=wanted,
        good_distances={"image": 2.0},
    )
    return similar, [int(case["id"], 16) for case in similar.cases]


def test_the_index_follows_every_change_of_the_store(store):
    index = CaseIndex(store.cases)
    assert found(index, [0, 0])[1] == []
    assert put(store, 1, [1, 0])
    put(store, 2, [3, 0])
    similar, ids = found(index, [0, 0])
    assert (ids, similar.cases[0]["distance"], similar.nothing_like_it) == ([1, 2], 1.0, False)
    assert found(index, [9, 0])[0].nothing_like_it  # 6 from the nearest, and good parts are 2 apart
    assert not put(store, 2, [0.5, 0])  # the same case, with another vector
    assert found(index, [0, 0])[1] == [2, 1]
    put(store, 3, [0, 0], category="brick")
    put(store, 4, [0, 0], space="another")
    assert found(index, [0, 0])[1] == [2, 1]
    assert found(index, [0, 0], category="brick")[1] == [3]
    put(store, 2, [1, 0], kind="region")  # its image has a vector no more
    assert found(index, [0, 0])[1] == [1]
    assert found(index, [0, 0], space="another")[1] == [4]


def test_what_is_known_of_a_case_filters_it_and_the_last_word_counts(store):
    index = CaseIndex(store.cases)
    for number in (1, 2, 3):
        put(store, number, [number, 0], defect_type="burr" if number == 3 else "scratch")
    store.cases.describe(f"{2:032x}", {"severity": 9, "cause": "first"}, by="Ana", key="k")
    store.cases.describe(f"{2:032x}", {"severity": 4, "cause": "second"}, by="Ana", key="k")
    assert not store.cases.describe(f"{7:032x}", {"severity": 4}, by="Ana", key="k")
    assert found(index, [0, 0], wanted=Wanted(min_severity=5))[1] == []
    similar, ids = found(index, [0, 0], wanted=Wanted(min_severity=4))
    assert (ids, similar.cases[0]["cause"]) == ([2], "second")
    assert found(index, [0, 0], wanted=Wanted(defect_type="burr"))[1] == [3]
    assert [row["severity"] for row in store.cases.newest(limit=9)] == [None, 4, None]
    assert [int(row["id"], 16) for row in store.cases.newest(min_severity=4, limit=9)] == [2]
    assert [int(row["id"], 16) for row in store.cases.newest(before=f"{3:032x}", limit=1)] == [2]


def test_regions_are_compared_where_both_have_one(store):
    index = CaseIndex(store.cases)
    put(store, 1, [1, 0])
    assert (
        found(index, [0, 0], kind="region")[0].cases == []
    )  # a query without an image's vector, no case with a region
    put(store, 2, [5, 0], kind="region")
    similar = index.similar(
        {"region": np.zeros(2, dtype=np.float32), "image": np.zeros(2, dtype=np.float32)},
        category="washer",
        space="s",
        k=5,
        wanted=Wanted(),
        good_distances={"region": 1.0},
    )
    assert (similar.compared, [int(case["id"], 16) for case in similar.cases]) == ("region", [2])
    assert similar.nothing_like_it


def test_the_vector_of_a_picture_is_kept_until_the_picture_changes(store):
    put(store, 1, [1, 0])
    put(store, 2, [1, 0])
    first, second = f"{1:032x}", f"{2:032x}"
    assert store.cases.without_crop_vector("c", limit=1) == ([second], 2)
    before = store.cases.version()
    store.cases.put_crop_vector(first, "c", b"picture", b"vector")
    store.cases.put_crop_vector(second, "c", b"another picture", b"vector")  # it changed while that was computed
    store.cases.put_crop_vector(f"{9:032x}", "c", b"picture", b"vector")  # there is no such case
    assert [(one.case_id, one.vector, one.category) for _, one in store.cases.changed(before, "c", None)] == [
        (first, b"vector", "washer")
    ]
    assert store.cases.without_crop_vector("c", limit=9) == ([second], 1)
    assert store.cases.without_crop_vector("c", limit=9, but={second}) == ([], 0)
    assert found(CaseIndex(store.cases), [1, 0])[1] == [1, 2]  # vectors of the bundle are others
    put(store, 1, [2, 0], space="another")
    assert store.cases.without_crop_vector("c", limit=9) == ([second, first], 2)


def test_what_a_network_says_of_depth_is_kept_once_for_each_image_and_network(store):
    inspect(store, 5)
    image = f"{5:064x}"
    for number in (1.0, 2.0):
        store.depths.put(image, "n", {"median": number}, b"view")
    store.depths.put(f"{6:064x}", "n", {"median": 1.0}, b"view")  # nobody inspected it
    assert store.depths.of(image, "n") == {"statistics": {"median": 2.0}, "view": b"view"}
    assert [store.depths.of(*other) for other in ((image, "m"), (f"{6:064x}", "n"))] == [None, None]
    store.expire(days=None, n_bytes=0)
    assert store.depths.of(image, "n") is None


@pytest.fixture
def words(store):
    put(store, 1, [0], defect_type="Kratzer")
    put(store, 2, [0], defect_type="scratch", source="a.png")
    put(store, 3, [0], defect_type="oil stain")
    store.cases.describe(f"{1:032x}", {"cause": "worn conveyor belts", "severity": 8}, by="Ana", key="k")
    store.cases.describe(f"{2:032x}", {"cause": "gripper", "remedy": 'new "pads" (soft)'}, by="Ana", key="k")
    store.cases.describe(f"{3:032x}", {"note": "Größe wie ein Cent, leaking café machine"}, by="Ana", key="k")
    return lambda text, groups=(), **rest: [
        int(row["id"], 16)
        for row in WordIndex(
            store.cases,
            Synonyms(tuple(frozenset(tuple(phrase.split()) for phrase in group) for group in groups)),
        ).search(text, Filters(**rest), limit=9)
    ]


def test_cases_are_found_by_all_words_whatever_their_endings_accents_and_case(words):
    assert words("SCRATCHES") == [2]
    assert words("belt worn") == [1]
    assert words("belt gripper") == []
    assert words("cafe leaks") == [3]
    assert words("grosse") == []
    assert words("größe") == [3]
    assert words("belt", min_severity=9) == []
    assert words("belt", min_severity=8, category="washer", defect_type="Kratzer") == [1]
    assert words("belt", category="brick") == []


@pytest.mark.parametrize(
    "text",
    [
        '"',
        "'",
        '"belt',
        "belt*",
        "AND",
        "belt AND",
        "NOT belt",
        "cause:belt",
        "(",
        "-belt",
        "belt OR",
        "^belt",
        "a\x00b",
        ";",
    ],
)
def test_nothing_that_people_type_is_an_operator_or_an_error(words, text):
    expected = [1] if text in ('"belt', "belt*", "(belt", "-belt", "^belt") else []
    assert words(text) == expected


def test_synonyms_find_what_the_factory_calls_otherwise(words):
    groups = [["scratch", "kratzer", "score mark"], ["oil stain", "ölfleck"]]
    assert sorted(words("scratch", groups)) == [1, 2]
    assert sorted(words("score mark", groups)) == [1, 2]
    assert words("kratzer belts", groups) == [1]
    assert words("Ölfleck", groups) == [3]
    assert words("mark", groups) == []


def test_the_words_follow_every_change_of_the_store(store):
    index = WordIndex(store.cases, Synonyms(()))
    put(store, 1, [0])
    assert len(index.search("scratch", limit=9)) == 1
    store.cases.describe(f"{1:032x}", {"cause": "gripper"}, by="Ana", key="k")
    assert len(index.search("gripper", limit=9)) == 1
    store.cases.describe(f"{1:032x}", {"cause": "belt"}, by="Ana", key="k")
    assert index.search("gripper", limit=9) == []
    assert len(index.search("scratch belt", limit=9)) == 1


@pytest.mark.parametrize(
    ("text", "message"), [("scratch\n", "line 1"), ("a, b\n\n# remark\n,c\n", "line 4"), ("\xff", "UTF-8")]
)
def test_a_list_of_synonyms_that_is_wrong_is_refused(tmp_path, text, message):
    path = tmp_path / "synonyms.txt"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(Exception, match=message):
        Synonyms.read(path)


def test_a_list_of_synonyms_is_read_line_by_line(tmp_path):
    path = tmp_path / "synonyms.txt"
    path.write_text("# of line 3\nScratch, Kratzer , score mark\n\nburr, Grat # sharp\n", encoding="utf-8")
    assert Synonyms.read(path).groups == (
        frozenset({("scratch",), ("kratzer",), ("score", "mark")}),
        frozenset({("burr",), ("grat",)}),
    )
