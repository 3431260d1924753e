"""Reviewing over /v1: disagreement settled, the queue, the archive of reviews, and an arena that tells nothing."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from serving import files, inspected, start  # noqa: F401  skips where the extra is missing

# isort: split
from gonogo.cli.main import main
from gonogo.data.manifest_file import ManifestFile
from gonogo.data.reviewed import read_reviewed, unpack_images
from gonogo.data.sample import Shares
from gonogo.errors import DataError
from gonogo.service import arena
from gonogo.service.security import new_key
from gonogo.store.store import Store

# ruff: noqa: F811  fixtures are imported, and then named


@pytest.fixture
def line(start):
    """A service in whose queue every inspection is, with keys of three reviewers."""
    with start(audit_share=1.0) as running:
        for name in ("Ana", "Bo", "Cy"):
            running.keys[name] = new_key(running.service.store, name, "review")[1]
        yield running


def give(running, identifier, who, label, **more):
    answer = running.ask("POST", f"/v1/inspections/{identifier}/review", role=who, json={"label": label} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_two_who_disagree_are_shown_and_a_third_settles_it(line, files):
    identifier = inspected(line, files[0])["id"]
    assert give(line, identifier, "Ana", "good")["settlement"]["state"] == "settled"
    disputed = give(line, identifier, "Bo", "defect", defect_type="dent")["settlement"]
    assert (disputed["state"], disputed["good"], disputed["defect"]) == ("disputed", ["Ana"], ["Bo"])
    assert line.ask("POST", "/v1/reviews:next", role="Ana").json()["inspection"] is None
    task = line.ask("POST", "/v1/reviews:next", role="Cy").json()
    assert (task["reason"], task["inspection"]["id"], task["waiting"]["disputed"]) == ("disputed", identifier, 1)
    settled = give(line, identifier, "Cy", "defect", defect_type="dent")["settlement"]
    assert (settled["state"], settled["label"], settled["defect_type"]) == ("settled", "defect", "dent")
    category = task["inspection"]["category"]
    assert line.ask("GET", "/v1/defect_types", params={"category": category}).json()["defect_types"] == ["dent"]


def test_one_key_has_one_voice_whatever_names_it_sends_and_settles_nothing_alone(line, files):
    identifier = inspected(line, files[0])["id"]
    place = f"/v1/inspections/{identifier}/review"
    give(line, identifier, "Ana", "good")
    assert give(line, identifier, "Bo", "defect", defect_type="dent")["settlement"]["state"] == "disputed"
    for name in ("Cy", "Di", "Ana", " Bo", "bo"):
        review = {"label": "defect", "defect_type": "dent", "reviewer": name}
        answer = line.ask("POST", place, role="Bo", json=review)
        settled = answer.status_code == 200 and answer.json()["settlement"]["state"] == "settled"
        assert (name.strip() == "Bo", settled) == (answer.status_code == 200, False), answer.text
    line.keys["another Bo"] = new_key(line.service.store, "Bo", "review")[1]
    own = sign_in(line, "Bo")
    for _ in range(2):  # further sessions of a key are the same person
        form = {"label": "defect", "new_type": "dent", "reviewer": "Cy"}
        assert line.http.post(f"/parts/{identifier}/review", data=form, headers=own).status_code == 200
        line.http.cookies.clear()
        own = sign_in(line, "Bo")
    row = line.ask("GET", f"/v1/inspections/{identifier}").json()
    assert {each["reviewer"] for each in row["reviews"]} == {"Ana", "Bo"}
    assert (row["settlement"]["state"], len(row["reviews"])) == ("disputed", 5)
    line.http.cookies.clear()
    settled = give(line, identifier, "another Bo", "defect", defect_type="dent")["settlement"]
    assert (settled["state"], settled["defect"]) == ("settled", ["Bo", "Bo"])


def test_only_the_key_that_gave_a_review_takes_it_back_and_twice_is_once(line, files):
    identifier = inspected(line, files[0])["id"]
    review = give(line, identifier, "Ana", "good")["reviews"][0]["id"]
    place = f"/v1/inspections/{identifier}/review:undo"
    assert line.ask("POST", place, role="Bo", json={"review": review}).status_code == 403
    for _ in range(2):
        told = line.ask("POST", place, role="Ana", json={"review": review}).json()
        assert (told["settlement"]["state"], told["reviews"][0]["undone"] is None) == ("open", False)
    assert line.ask("POST", place, role="Ana", json={"review": review + 1}).status_code == 404
    other = inspected(line, files[1])["id"]
    assert line.ask("POST", place.replace(identifier, other), role="Ana", json={"review": review}).status_code == 404


def test_skipped_parts_go_to_others_and_the_audit_sample_gives_an_estimate_with_its_open_parts(line, files):
    ids = [inspected(line, path)["id"] for path in files[:2]]
    first = line.ask("POST", "/v1/reviews:next", role="Ana").json()["inspection"]["id"]
    assert line.ask("POST", f"/v1/inspections/{first}/review:skip", role="Ana").status_code == 204
    assert line.ask("POST", "/v1/reviews:next", role="Ana").json()["inspection"]["id"] in {*ids} - {first}
    assert line.ask("POST", "/v1/reviews:next", role="Bo").json()["inspection"]["id"] == first
    give(line, first, "Bo", "good")
    audit = line.ask("GET", "/v1/audit").json()
    assert (audit["drawn"], audit["share"], audit["false_alarms"]["parts"]) == (2, 1.0, 1)
    assert audit["false_alarms"]["waiting"] == 1
    assert audit["certificate"]["sentence"] == inspected(line, files[2])["certificate"]["sentence"]


def test_the_archive_has_what_is_settled_counts_the_rest_and_is_a_data_set(line, files, tmp_path, capsys):
    made = [inspected(line, path) for path in files[:4]]
    give(line, made[0]["id"], "Ana", "good")
    give(line, made[1]["id"], "Ana", "defect", defect_type="dent")
    give(line, made[2]["id"], "Ana", "good")
    give(line, made[2]["id"], "Bo", "defect", defect_type="dent")
    category = made[0]["category"]
    answer = line.ask("GET", "/v1/reviews:export", role="review", params={"category": category})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert line.ask("GET", "/v1/reviews:export", params={"category": category}).status_code == 403
    data = line.service.settings.data
    assert (
        main(["reviews", "export", str(tmp_path / "a.zip"), "--category", category, "--data", str(data), "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["left_out"]["disputed"] == 1
    (tmp_path / "b.zip").write_bytes(answer.content)
    by_command, by_button = (read_reviewed(tmp_path / name) for name in ("a.zip", "b.zip"))
    assert by_command == by_button
    assert [(image.sha256, image.label, image.good) for image in by_button.images] == [
        (made[0]["image"]["sha256"], "good", ["Ana"]),
        (made[1]["image"]["sha256"], "defect", []),
    ]
    assert by_button.left_out == {"disputed": 1, "contradictory": 0, "without image": 0}

    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        archive.extractall(tmp_path / "raw")
    shares = Shares(seed=1, test=0.2, calibrate=0.5)
    samples = list(ManifestFile(file="manifest.jsonl").samples(category, tmp_path / "raw", shares))
    assert [(one.label, one.defect_type) for one in samples] == [(0, "good"), (1, "dent")]
    assert [one.image.read_bytes() for one in samples] == [path.read_bytes() for path in files[:2]]


def test_an_image_that_is_good_one_day_and_a_defect_the_next_is_left_out(line, files, tmp_path):
    first, second = (inspected(line, files[0]) for _ in range(2))
    give(line, first["id"], "Ana", "good")
    give(line, second["id"], "Ana", "defect", defect_type="dent")
    answer = line.ask("GET", "/v1/reviews:export", role="review", params={"category": first["category"]})
    (tmp_path / "a.zip").write_bytes(answer.content)
    found = read_reviewed(tmp_path / "a.zip")
    assert (found.images, found.left_out["contradictory"]) == ((), 2)


def test_an_archive_that_was_changed_is_refused(line, files, tmp_path):
    made = inspected(line, files[0])
    give(line, made["id"], "Ana", "good")
    answer = line.ask("GET", "/v1/reviews:export", role="review", params={"category": made["category"]})
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"other" if name.startswith("images/") else old.read(name))
    with pytest.raises(DataError, match="is not the image that was reviewed"):
        unpack_images(changed, read_reviewed(changed).images, tmp_path)
    for content in (b"", b"PK", answer.content[:-30]):
        changed.write_bytes(content)
        with pytest.raises(DataError, match="no archive of reviewed images"):
            read_reviewed(changed)


def sign_in(running, role):
    form = {"key": running.keys[role], "next": "/"}
    own = {"Sec-Fetch-Site": "same-origin"}
    assert running.http.post("/sign-in", data=form, headers=own, follow_redirects=False).status_code == 303
    return own


def labelled_folder(folder):
    """Eight good parts as small BMPs, and eight defects as large noisy PNGs: their files could not differ more."""
    rng = np.random.default_rng(5)
    for label, side in (("good", 40), ("dent", 300)):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 255 if label == "dent" else 9, (side, side + number, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{label}_{number}.{'png' if label == 'dent' else 'bmp'}")
    return folder


def test_nothing_but_the_picture_tells_the_truth_of_a_case_before_the_answer(start, tmp_path):
    with start(arena=labelled_folder(tmp_path / "cases")) as running:
        own = sign_in(running, "inspect")
        seen = {"good": set(), "defect": set()}
        for _ in range(8):
            page = running.http.get("/arena")
            identifier = page.url.path.rsplit("/", 1)[1]
            assert len(identifier) == 32
            picture = running.http.get(f"/arena/{identifier}/image")
            size = Image.open(io.BytesIO(picture.content)).size
            headers = {name: value for name, value in picture.headers.items() if name != "date"}
            truth = _truth(running, identifier)
            text = page.text.replace(identifier, "ID").partition('id="standing"')[0]
            seen[truth].add((text, len(picture.content), size, tuple(headers.items())))
            assert running.http.get(f"/arena/{identifier}/overlay").status_code == 404
            assert running.http.get("/arena").url.path.endswith(identifier)
            answer = running.http.post(f"/arena/{identifier}", data={"label": "good"}, headers=own)
            assert answer.status_code == 200
            assert running.http.post(f"/arena/{identifier}", data={"label": "defect"}, headers=own).status_code == 200
        rounds = running.service.store.arena.results(running.keys["inspect"].split("_")[1])
        assert {row["answer"] for row in rounds} == {"good"}
        assert len(set.union(*seen.values())) == 1
        standing = arena.standing(rounds)
        assert (standing.person.n, standing.gauge.n) == (8, 8)
        assert standing.person.good_as_good == sum(row["truth"] == "good" for row in rounds)


def _truth(running, identifier):
    row = running.service.store.arena.round(identifier, key=running.keys["inspect"].split("_")[1])
    return row["truth"]


def test_a_round_belongs_to_one_person_and_without_both_kinds_there_is_none(start, tmp_path):
    folder = labelled_folder(tmp_path / "cases")
    with start(arena=folder) as running:
        sign_in(running, "inspect")
        place = running.http.get("/arena").url.path
        running.http.cookies.clear()
        sign_in(running, "admin")
        for path in (place, f"{place}/image"):
            assert running.http.get(path).status_code == 404
        for file in (folder / "dent").iterdir():
            file.unlink()
        assert "/arena/" not in running.http.get("/arena").url.path


@pytest.mark.parametrize(
    ("right", "streak", "best"), [([], 0, 0), ([1, 1, 0, 1], 2, 2), ([0, 1, 1, 1], 0, 3), ([1, 1], 2, 2)]
)
def test_a_streak_is_what_was_right_since_the_last_error(right, streak, best):
    rounds = [{"truth": "good", "answer": "good" if each else "defect", "gauge": "good"} for each in right]
    found = arena.standing(rounds)
    assert (found.streak, found.best_streak) == (streak, best)


def test_experts_get_the_cases_that_are_nearest_to_the_threshold(line, files, monkeypatch):
    made = [inspected(line, path) for path in files]
    for each in made:
        give(line, each["id"], "Ana", "good")
    monkeypatch.setattr("gonogo.store.arena.POOL", 3)
    category = made[0]["category"]
    cases = line.service.store.arena.cases(category, key="k", truth="good", expert=True)
    nearest = sorted(made, key=lambda each: abs(each["score"] / each["threshold"] - 1))[:3]
    assert {case.inspection for case in cases} == {each["id"] for each in nearest}
    own = line.keys["Ana"].split("_")[1]
    assert line.service.store.arena.cases(category, key=own, truth="good", expert=True) == []


def test_pictures_of_any_content_have_one_size_and_one_length():
    rng = np.random.default_rng(1)
    shapes = ((3, 5), (2000, 900), (64, 64))
    made = [arena.hidden_picture(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
    made.append(arena.hidden_picture(np.zeros((10, 10, 3), np.uint8)))
    assert {len(one) for one in made} == {arena.LENGTH}
    assert {Image.open(io.BytesIO(one)).size for one in made} == {(arena.SIDE, arena.SIDE)}


def test_reviews_of_a_store_without_any_make_an_empty_archive(tmp_path, capsys):
    Store(tmp_path / "data").close()
    words = ["reviews", "export", str(tmp_path / "a.zip"), "--category", "x", "--data", str(tmp_path / "data")]
    assert main(words) == 0
    assert "0 good parts and 0 defects" in capsys.readouterr().out
    assert read_reviewed(tmp_path / "a.zip").images == ()
