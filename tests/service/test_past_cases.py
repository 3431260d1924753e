"""What was it last time: a reviewed defect becomes a case, and later parts find it with its cause and remedy."""

import base64
import io
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from serving import Running, inspected
from serving import files as files

# isort: split
from gonogo.cases.archive import import_archive
from gonogo.cases.update import update_cases
from gonogo.errors import DataError
from gonogo.inference.scorer import Scorer
from gonogo.service.settings import Settings
from gonogo.store.store import Store


@pytest.fixture(scope="module")
def known(patchcore_bundle):
    """The bundle of a detector with features."""
    return patchcore_bundle


@pytest.fixture(scope="module")
def defects(digits):
    """Paths of defects by their type, which are other digits."""
    found = {}
    for record in digits.with_role("test"):
        if record.label == 1:
            found.setdefault(record.defect_type, []).append(digits.path_of(record))
    return found


@pytest.fixture
def running(known, tmp_path):
    with Running(Settings(bundle=known, data=tmp_path / "data", threads=1, deadline=60.0)) as started:
        yield started


@pytest.fixture
def archive(defects, tmp_path):
    """Folders of five images of each of three types, one that is no image, and a table."""
    folder = tmp_path / "archive"
    for name in sorted(defects)[:3]:
        (folder / name).mkdir(parents=True)
        for path in defects[name][:5]:
            shutil.copy(path, folder / name)
    (folder / "good").mkdir()
    shutil.copy(defects["digit_1"][9], folder / "good")
    (folder / "digit_1" / "broken.png").write_bytes(b"no image")
    first = sorted(path.name for path in (folder / "digit_1").glob("[0-9]*.png"))[0]
    (folder / "cases.csv").write_text(
        f"file,defect_type,severity,cause,remedy,part\n,digit_1,6,worn die,grind it,\ndigit_1/{first},,9,,,part 7\n"
    )
    return folder


def reviewed(running, path, **review):
    """An inspection of a file with a review."""
    identifier = inspected(running, path)["id"]
    answer = running.ask(
        "POST",
        f"/v1/inspections/{identifier}/review",
        role="review",
        json={"label": "defect", "defect_type": "x"} | review,
    )
    assert answer.status_code == 200, answer.text
    return identifier


def similar(running, identifier, **query):
    answer = running.ask("GET", f"/v1/inspections/{identifier}/similar", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def vectors_of(known, path):
    pixels = np.array(Image.open(path).convert("RGB"))
    return Scorer(known).score_pixels(pixels[None], features=True)[0].vectors


def test_a_reviewed_defect_is_found_by_a_later_part_that_is_like_it(running, known, defects):
    of_one = [reviewed(running, path, defect_type="one") for path in defects["digit_1"][:4]]
    [reviewed(running, path, defect_type="eight") for path in defects["digit_8"][:4]]
    query = defects["digit_1"][6]
    found = similar(running, inspected(running, query)["id"], k=8)
    assert found["reason"] is None
    compared = found["compared"]
    own = getattr(vectors_of(known, query), compared)
    distances = {
        identifier: float(np.linalg.norm(getattr(vectors_of(known, path), compared).astype(np.float64) - own))
        for identifier, path in zip(of_one, defects["digit_1"], strict=False)
        if getattr(vectors_of(known, path), compared) is not None
    }
    for case in found["cases"]:
        if case["id"] in distances:
            assert case["distance"] == pytest.approx(distances.pop(case["id"]), rel=1e-4)
            assert case["defect_type"] == "one"
            assert case["inspection"] == case["id"]
    assert not distances
    assert [one["distance"] for one in found["cases"]] == sorted(one["distance"] for one in found["cases"])
    nearest = found["cases"][0]["distance"]
    assert found["nothing_like_it"] == (nearest > found["good_distance"])


def test_the_image_itself_is_left_out_and_k_cases_remain(running, defects):
    first, *_ = [reviewed(running, path) for path in defects["digit_1"][:5]]
    again = inspected(running, defects["digit_1"][0])["id"]
    for identifier in (first, again):
        found = similar(running, identifier, k=4)
        assert first not in {case["id"] for case in found["cases"]}
        assert len(found["cases"]) == 4
    assert len(similar(running, first, k=40)["cases"]) == 4


def test_an_inspection_has_similar_cases_where_they_are_asked_for(running, defects):
    reviewed(running, defects["digit_1"][0])
    path = defects["digit_1"][1]
    assert inspected(running, path)["similar"] is None
    answer = inspected(running, path, params={"similar": 5})
    later = similar(running, answer["id"])
    assert answer["similar"] == later
    assert len(later["cases"]) == 1
    assert "similar" in answer["timings_ms"]
    assert running.ask("POST", "/v1/inspect", params={"similar": 0}, content=b"x").status_code == 422


def test_without_any_case_there_is_nothing_like_it(running, defects):
    found = inspected(running, defects["digit_1"][0], params={"similar": 5})["similar"]
    assert (found["cases"], found["nothing_like_it"], found["reason"]) == ([], True, None)


def test_a_review_that_is_taken_back_takes_the_case_back(running, defects):
    case = reviewed(running, defects["digit_1"][0])
    query = inspected(running, defects["digit_1"][1])["id"]
    assert [one["id"] for one in similar(running, query)["cases"]] == [case]
    row = running.service.store.inspection(case)
    undo = {"review": row["reviews"][0]["id"]}
    assert running.ask("POST", f"/v1/inspections/{case}/review:undo", role="review", json=undo).status_code == 200
    assert similar(running, query)["cases"] == []
    assert running.ask("GET", "/v1/cases").json()["cases"] == []
    body = {"label": "defect", "defect_type": "dent"}
    running.ask("POST", f"/v1/inspections/{case}/review", role="review", json=body)
    assert [one["defect_type"] for one in similar(running, query)["cases"]] == ["dent"]
    body = {"label": "good"}
    running.ask("POST", f"/v1/inspections/{case}/review", role="review", json=body)
    assert similar(running, query)["cases"] == []


def test_a_good_review_makes_no_case(running, defects):
    reviewed(running, defects["digit_1"][0], label="good", defect_type=None)
    assert running.ask("GET", "/v1/cases").json()["cases"] == []


def test_cause_and_remedy_are_told_beside_the_case_and_the_last_word_counts(running, defects):
    case = reviewed(running, defects["digit_1"][0])
    for severity in (3, 8):
        told = {"severity": severity, "cause": "worn gripper", "remedy": "new pads", "note": None}
        answer = running.ask("POST", f"/v1/cases/{case}/facts", role="review", json=told)
        assert answer.status_code == 200
        assert {name: answer.json()[name] for name in told} == told
    (found,) = similar(running, inspected(running, defects["digit_1"][1])["id"], min_severity=8)["cases"]
    assert (found["cause"], found["severity"]) == ("worn gripper", 8)
    assert similar(running, found["id"], min_severity=9)["cases"] == []
    assert running.ask("POST", f"/v1/cases/{case}/facts", role="inspect", json=told).status_code == 403
    assert running.ask("POST", f"/v1/cases/{'0' * 32}/facts", role="review", json=told).status_code == 404
    assert running.ask("POST", f"/v1/cases/{case}/facts", role="review", json={"severity": 11}).status_code == 422


def test_a_case_has_a_picture_of_its_region(running, defects):
    case = reviewed(running, defects["digit_1"][0])
    answer = running.ask("GET", f"/v1/cases/{case}/crop")
    assert answer.headers["content-type"] == "image/png"
    shown = np.array(Image.open(io.BytesIO(answer.content)).convert("RGB"))
    pixels = np.array(Image.open(defects["digit_1"][0]).convert("RGB"))
    (row,) = running.ask("GET", "/v1/cases").json()["cases"]
    height, width = shown.shape[:2]
    places = [
        (y, x)
        for y in range(pixels.shape[0] - height + 1)
        for x in range(pixels.shape[1] - width + 1)
        if np.array_equal(pixels[y : y + height, x : x + width], shown)
    ]
    assert places  # cut out of the image, pixel by pixel
    if row["region"] is not None:
        x, y, box_width, box_height = row["region"]["box"]
        assert any(
            top <= y and left <= x and y + box_height <= top + height and x + box_width <= left + width
            for top, left in places
        )
    assert running.ask("GET", f"/v1/cases/{'0' * 32}/crop").status_code == 404


def test_cases_come_page_by_page_and_pass_filters(running, defects):
    for number, path in enumerate(defects["digit_1"][:5]):
        reviewed(running, path, defect_type="even" if number % 2 == 0 else "odd")
    seen, before = [], None
    while True:
        page = running.ask("GET", "/v1/cases", params={"limit": 2} | ({"before": before} if before else {})).json()
        seen += page["cases"]
        before = page["before"]
        if before is None:
            break
    assert [one["id"] for one in seen] == sorted((one["id"] for one in seen), reverse=True)
    assert len({one["id"] for one in seen}) == 5
    assert len(running.ask("GET", "/v1/cases", params={"defect_type": "even"}).json()["cases"]) == 3
    assert running.ask("GET", "/v1/cases", params={"category": "another"}).json()["cases"] == []


def test_cases_are_searched_by_words_with_the_synonyms_that_the_factory_edits(known, defects, tmp_path):
    synonyms = tmp_path / "synonyms.txt"
    synonyms.write_text("chip, Ausbruch\n", encoding="utf-8")
    settings = Settings(bundle=known, data=tmp_path / "data", threads=1, deadline=60.0, synonyms=synonyms)
    with Running(settings) as running:
        case = reviewed(running, defects["digit_1"][0], defect_type="chip", note="left edge of the part")
        reviewed(running, defects["digit_1"][1], defect_type="dent")

        def found(words, **query):
            answer = running.ask("GET", "/v1/cases", params={"words": words} | query)
            assert answer.status_code == 200, answer.text
            return [one["id"] for one in answer.json()["cases"]]

        assert found("edges") == [case]  # of the review's note
        assert found("Ausbruch") == [case]
        assert found("Ausbruch", category="another") == []
        assert found('"; DROP') == []
        assert found("Scharte") == []
        synonyms.write_text("chip, Scharte\n", encoding="utf-8")
        assert found("Scharte") == [case]
        synonyms.write_text("chip\n", encoding="utf-8")  # wrong: the last good list stays
        assert found("Scharte") == [case]
    synonyms.write_text("chip\n", encoding="utf-8")
    with pytest.raises(DataError, match="two phrases"):
        Running(settings)


def test_a_bundle_without_features_says_so_and_reviews_go_on(bundle, defects, tmp_path):
    with Running(Settings(bundle=bundle, data=tmp_path / "data", threads=1, deadline=60.0)) as running:
        identifier = reviewed(running, defects["digit_1"][0])
        for found in (
            similar(running, identifier),
            inspected(running, defects["digit_1"][1], params={"similar": 3})["similar"],
        ):
            assert "no features of a pretrained network" in found["reason"]
            assert found["cases"] == []
        assert running.ask("GET", "/v1/cases").json()["cases"] == []


def test_reviews_of_before_become_cases_when_a_bundle_has_features(bundle, known, defects, tmp_path):
    settings = Settings(bundle=bundle, data=tmp_path / "data", threads=1, deadline=60.0)
    with Running(settings) as running:
        case = reviewed(running, defects["digit_1"][0], note="seen before")
        reviewed(running, defects["digit_1"][1], label="good", defect_type=None)
    store, scorer = Store(tmp_path / "data"), Scorer(known)
    assert list(update_cases(store, scorer)) == [(case, None)]
    assert list(update_cases(store, scorer)) == []
    store.close()
    with Running(replace(settings, bundle=known)) as running:
        query = inspected(running, defects["digit_1"][2])["id"]
        assert [one["id"] for one in similar(running, query)["cases"]] == [case]


def test_an_archive_becomes_cases_with_what_its_table_tells_once(known, archive, defects, tmp_path):
    store, scorer = Store(tmp_path / "data"), Scorer(known)
    outcomes = list(import_archive(store, scorer, archive))
    assert sum(one.is_new for one in outcomes) == 15
    assert [one.file for one in outcomes if one.error] == ["digit_1/broken.png"]
    assert not any(one.is_new for one in import_archive(store, scorer, archive))
    rows = store.cases.newest(limit=100)
    assert len(rows) == 15
    ones = [row for row in rows if row["defect_type"] == "digit_1"]
    assert sorted((row["severity"], row["cause"], row["remedy"], row["part"]) for row in ones)[-2:] == [
        (6, "worn die", "grind it", None),
        (9, "worn die", "grind it", "part 7"),
    ]
    assert {row["severity"] for row in rows if row["defect_type"] != "digit_1"} == {None}
    store.close()
    with Running(Settings(bundle=known, data=tmp_path / "data", threads=1, deadline=60.0)) as running:
        found = similar(running, inspected(running, defects["digit_1"][7])["id"], k=15)
        assert len(found["cases"]) == 15 or found["compared"] == "region"
        crop = running.ask("GET", f"/v1/cases/{found['cases'][0]['id']}/crop")
        assert base64.b64encode(crop.content)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("defect_type,severty\ndigit_1,3\n", "column 'severty'"),
        ("defect_type,severity\ndigit_1,11\n", "from 1 to 10"),
        ("defect_type,severity\n,3\n", "that the row is about"),
        ("file,cause\ndigit_1/none.png,x\n", "not among the images"),
    ],
)
def test_a_table_that_is_wrong_is_refused_before_anything_is_kept(known, archive, tmp_path, table, message):
    (archive / "cases.csv").write_text(table)
    store = Store(tmp_path / "data")
    with pytest.raises(DataError, match=message):
        list(import_archive(store, Scorer(known), archive))
    assert store.cases.newest(limit=1) == []
    store.close()


def test_a_folder_without_defects_is_refused(known, tmp_path):
    store = Store(tmp_path / "data")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images of defects"):
        list(import_archive(store, Scorer(known), tmp_path / "empty"))
    store.close()
