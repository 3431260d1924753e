"""Boxes in the service, of a gauge that finds them or of a box model beside a gauge: /v1/predict, routes and pages."""

import csv
import io
import json
import secrets
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from box_gauge import blemishes, box_bundle
from conftest import CALIBRATE, TINY
from gonogo.cases.update import update_cases
from gonogo.cli.main import main
from gonogo.errors import ConfigError, IntegrityError
from gonogo.export.router import Router, RouterParams, write_set
from gonogo.images.colours import FOUND_BOX, LABELLED_BOX
from gonogo.images.reading import read_image
from gonogo.inference.bundle_set import BundleSet
from gonogo.inference.scorer import Scorer
from gonogo.line.explain import explain
from gonogo.line.outputs import drawn_boxes, line_of, overlay
from gonogo.service import arena
from gonogo.service.pages.pictures import box_layer
from gonogo.service.settings import Settings
from serving import Running, inspected


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return blemishes(tmp_path_factory.mktemp("blemishes"))


@pytest.fixture(scope="module")
def with_boxes(dataset, tmp_path_factory):
    return box_bundle(dataset, tmp_path_factory.mktemp("gauge"))


@pytest.fixture(scope="module")
def running(with_boxes, tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    with Running(Settings(bundle=with_boxes, data=data, threads=1, deadline=60.0)) as started:
        yield started


@pytest.fixture(scope="module")
def judged(with_boxes, dataset):
    """Test images with the verdicts of the scorer alone, those with a box first."""
    scorer = Scorer(with_boxes, threads=1)
    found = [(path, scorer.score_image(path)) for path in map(dataset.path_of, dataset.with_role("test"))]
    return sorted(found, key=lambda each: -len(each[1].boxes))


def test_a_prediction_has_the_boxes_of_the_scorer_and_what_they_are_certified_by(running, judged):
    chosen = [judged[0], judged[-1]]
    parts = [("image", (path.name, path.read_bytes())) for path, _ in chosen]
    answer = running.ask("POST", "/v1/predict", files=parts)
    assert answer.status_code == 200, answer.text
    predictions = answer.json()["predictions"]
    assert [one["verdict"] for one in predictions] == ["reject", "pass"]
    for (_, verdict), prediction in zip(chosen, predictions, strict=True):
        assert prediction["score"] == pytest.approx(verdict.score, rel=1e-5)
        assert len(prediction["boxes"]) == len(verdict.boxes)
        for box, expected in zip(prediction["boxes"], verdict.boxes, strict=True):
            assert box["label"] == expected.label
            values = {name: value for name, value in vars(expected).items() if name != "label"}
            assert {name: box[name] for name in values} == pytest.approx(values, rel=1e-4, abs=1e-3)
    assert set(predictions[0]["confidences"]) == {"hole", "scratch", "stain"}
    assert predictions[0]["certificate"]["certified"] is True


def test_a_prediction_is_not_kept_and_an_inspection_is(running, judged):
    path, verdict = judged[0]
    before = len(running.ask("GET", "/v1/inspections").json()["inspections"])
    assert running.ask("POST", "/v1/predict", content=path.read_bytes()).status_code == 200
    assert len(running.ask("GET", "/v1/inspections").json()["inspections"]) == before
    kept = inspected(running, path)
    assert kept["verdict"] == verdict.label
    assert [box["label"] for box in kept["boxes"]] == [box.label for box in verdict.boxes]
    assert running.ask("GET", f"/v1/inspections/{kept['id']}/attribution").json()["whole"] == "boxes"
    assert running.ask("GET", f"/v1/inspections/{kept['id']}").json()["boxes"] == kept["boxes"]
    assert len(running.ask("GET", "/v1/inspections").json()["inspections"]) == before + 1


@pytest.mark.parametrize("route", ["predict", "inspect", "inspect:stream"])
def test_each_route_of_images_takes_an_array_whose_format_is_named(running, judged, route):
    path, verdict = judged[0]
    array = io.BytesIO()
    np.save(array, read_image(path)[..., ::-1])
    answer = running.ask("POST", f"/v1/{route}?pixels=bgr8", files=[("image", ("part.npy", array.getvalue()))])
    assert answer.status_code == 200, answer.text
    told = json.loads(answer.text.splitlines()[0])
    found = told["inspection"] if "inspection" in told else next(iter(told.values()))[0]
    assert found["score"] == pytest.approx(verdict.score, rel=1e-5)


def test_what_is_no_image_is_refused_as_by_an_inspection(running):
    answer = running.ask("POST", "/v1/predict", content=b"no image")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gonogo:problem:unreadable-image")
    assert running.ask("POST", "/v1/predict", content=b"x", headers={"Authorization": ""}).status_code == 401


def test_the_overlay_has_a_line_around_each_box_and_the_row_says_where_the_best_is(judged):
    path, verdict = judged[0]
    pixels = read_image(path)
    drawn = overlay(pixels, verdict)
    changed = (drawn != pixels).any(axis=2)
    assert changed.any()
    assert (drawn[changed] == FOUND_BOX).all()
    best = verdict.boxes[0]
    text = line_of(verdict.row() | {"file": "a.png"}, localises=False)
    assert f"{len(verdict.boxes)} box" in text
    assert f"{best.label} {best.confidence:.0%}, {best.width:.0f} x {best.height:.0f} at" in text
    good = judged[-1][1]
    assert "box" not in line_of(good.row() | {"file": "b.png"}, localises=False)


def test_the_layer_of_a_page_is_transparent_but_for_the_boxes(with_boxes, judged):
    path, verdict = judged[0]
    pixels = read_image(path)
    explanation = explain(Scorer(with_boxes, threads=1), pixels, n_cells=4, top=2)
    assert [vars(box) for box in explanation.verdict.boxes] == [vars(box) for box in verdict.boxes]
    layer = np.array(Image.open(io.BytesIO(box_layer(pixels.shape[:2], verdict.boxes))))
    assert layer.shape == (768, 768, 4)
    scale = 768 / pixels.shape[1]
    for box in drawn_boxes(verdict.boxes):
        x0, _, _, y1 = (round(scale * value) for value in box.corners)
        corner = layer[max(0, y1 - 3) : y1 + 3, max(0, x0 - 3) : x0 + 3]
        assert (corner == (*FOUND_BOX, 255)).all(axis=2).any()
    empty = np.array(Image.open(io.BytesIO(box_layer(pixels.shape[:2], []))))
    assert empty[..., 3].max() == 0


def test_a_gauge_without_boxes_names_the_other_route_and_shows_the_boxes_of_another(
    bundle, with_boxes, judged, tmp_path
):
    path, verdict = judged[0]
    with Running(Settings(bundle=with_boxes, data=tmp_path, threads=1, deadline=60.0)) as started:
        identifier = inspected(started, path)["id"]
    with Running(Settings(bundle=bundle, data=tmp_path, threads=1, deadline=60.0)) as started:
        answer = started.ask("POST", "/v1/predict", content=path.read_bytes())
        assert inspected(started, path)["boxes"] is None
        started.http.headers["Origin"] = "http://testserver"
        assert started.http.post("/sign-in", data={"key": started.keys["review"]}).status_code in (200, 303)
        drawn = started.http.get(f"/parts/{identifier}/layer")
        page = started.http.get(f"/cases/{identifier}").text
    assert answer.status_code == 422
    assert "finds no boxes; send the image to /v1/inspect" in answer.json()["detail"]
    layer = np.array(Image.open(io.BytesIO(drawn.content)))
    assert (layer == (*FOUND_BOX, 255)).all(axis=2).any()
    assert "Defects found" in page
    assert page.count(f"<td>{verdict.boxes[0].label}</td>") >= 1


@pytest.fixture(scope="module")
def gauge(patchcore_bundle):
    """The bundle of a gauge with a map and features, which finds no boxes."""
    return patchcore_bundle


@pytest.fixture(scope="module")
def pair(gauge, with_boxes, tmp_path_factory):
    """A service with a box model beside a gauge."""
    data = tmp_path_factory.mktemp("pair")
    with Running(Settings(bundle=gauge, box_model=with_boxes, data=data, threads=1, deadline=60.0)) as started:
        yield started


def test_a_box_model_beside_a_gauge_adds_its_boxes_and_changes_no_verdict(pair, gauge, with_boxes, judged, digits):
    scorer, finder = Scorer(gauge, threads=1), Scorer(with_boxes, threads=1)
    good = next(record for record in digits.with_role("test") if record.label == 0)
    for path in (judged[0][0], digits.path_of(good)):
        alone, found = scorer.score_image(path), finder.score_image(path)
        kept = inspected(pair, path)
        assert (kept["verdict"], kept["bundle"]) == (alone.label, scorer.fingerprint)
        assert kept["score"] == pytest.approx(alone.score, rel=1e-5)
        assert [region["box"] for region in kept["regions"]] == [list(region.box) for region in alone.regions]
        assert [box["label"] for box in kept["boxes"]] == [box.label for box in found.boxes]
        model = kept["box_model"]
        assert (model["category"], model["bundle"]) == ("parts", finder.fingerprint)
        assert model["threshold"] == finder.threshold
        assert model["certificate"]["sentence"] == finder.record.sentence
        assert pair.ask("GET", f"/v1/inspections/{kept['id']}").json()["box_model"] == model
        (told,) = pair.ask("POST", "/v1/predict", content=path.read_bytes()).json()["predictions"]
        assert (told["verdict"], told["bundle"]) == (found.label, finder.fingerprint)
        assert told["score"] == pytest.approx(found.score, rel=1e-5)
    assert alone.label == "pass"
    assert judged[0][1].boxes
    both = pair.service.gauge.scorer
    for side in (48, 600):  # of the image: a box is looked for while what the gauge gave is kept
        assert both.working_bytes(side, side) >= scorer.working_bytes(side, side)
        assert both.working_bytes(side, side) > finder.working_bytes(side, side)


def test_the_pages_draw_the_boxes_over_the_map_of_the_gauge(pair, judged):
    path, verdict = judged[0]
    kept = inspected(pair, path)
    pair.http.headers["Origin"] = "http://testserver"
    assert pair.http.post("/sign-in", data={"key": pair.keys["review"]}).status_code in (200, 303)
    layer = np.array(Image.open(io.BytesIO(pair.http.get(f"/parts/{kept['id']}/layer").content)))
    pages = [pair.http.get(path).text for path in (f"/cases/{kept['id']}", f"/?id={kept['id']}")]
    boxes = np.array(Image.open(io.BytesIO(box_layer((48, 48), verdict.boxes))))
    assert (layer[boxes[..., 3] > 0] == boxes[boxes[..., 3] > 0]).all()
    assert (layer[boxes[..., 3] == 0][:, 3] > 0).any()  # the map's colours
    for text in pages:
        assert f"{len(verdict.boxes)} defects boxed" in text or "one defect boxed" in text
    assert "At most" in pages[0] and "parts (bundle" in pages[0]  # noqa: PT018 - one sentence
    assert pages[0].count(f"<td>{verdict.boxes[0].label}</td>") >= 1


def explain_each_way(bundles, path, row, folder, capsys):
    """Check that `gonogo explain` has the boxes of the row that `gonogo score` wrote, as JSON, text and picture."""
    assert main(["explain", str(bundles), str(path), "--json"]) == 0
    explained = json.loads(capsys.readouterr().out)
    beside = "box_model" in row
    assert [box["label"] for box in explained["boxes"]] == [box["label"] for box in row["boxes"]]
    assert explained.get("box_model") == row.get("box_model")
    assert ("box_threshold_record" in explained) == beside
    assert main(["explain", str(bundles), str(path), "--picture", str(folder / "why.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("box ")]
    assert len(told) == len(row["boxes"])
    for line, box in zip(told, row["boxes"], strict=True):
        assert f"{box['label']} {box['confidence']:.0%}, {box['width']:.0f} x {box['height']:.0f} at" in line
    assert any(line.startswith("boxes of parts") for line in lines) == beside
    assert any("region" in line for line in lines) == beside  # otherwise the boxes stand in place of the map
    drawn = np.array(Image.open(folder / "why.png"))
    assert (drawn == FOUND_BOX).all(axis=2).any()


def score_into_each_table(bundles, path, row, folder):
    """Check that each file that `gonogo score` writes has the boxes of the row, and says of which model they are."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="no pyarrow: pip install 'gonogo[parquet]'")
    files = {option: folder / f"rows.{option}" for option in ("out", "csv", "parquet")}
    for option, file in files.items():
        assert main(["score", str(bundles), str(path), f"--{option}={file}"]) == 1
    found = [json.loads(files["out"].read_text())]
    with files["csv"].open(newline="") as lines:
        tables = [*csv.DictReader(lines), *parquet.read_table(files["parquet"]).to_pylist()]
    for one in tables:
        assert int(one["n_regions"]) == len(row["regions"])
        found.append({name: json.loads(one[name]) for name in ("boxes", "box_model") if one[name]})
    assert len(found) == 3
    for each in found:
        assert each.get("box_model") == row.get("box_model")
        assert [box["label"] for box in each["boxes"]] == [box["label"] for box in row["boxes"]]
        for box, expected in zip(each["boxes"], row["boxes"], strict=True):
            assert {**box, "label": 0} == pytest.approx({**expected, "label": 0}, rel=1e-4, abs=1e-3)


def test_explanation_and_tables_of_a_gauge_that_finds_boxes_have_them(with_boxes, judged, tmp_path, capsys):
    path, verdict = judged[0]
    explain_each_way(with_boxes, path, verdict.row(), tmp_path, capsys)
    score_into_each_table(with_boxes, path, verdict.row(), tmp_path / "tables")
    good, _ = judged[-1]
    assert main(["explain", str(with_boxes), str(good)]) == 0
    told = capsys.readouterr().out
    assert "no box" in told.splitlines()
    assert "not taken apart: it is that of the best box" in told


def test_a_set_has_the_box_model_beside_its_gauge_and_its_rows_have_both(
    gauge, with_boxes, judged, digits, tmp_path, capsys
):
    params = RouterParams(
        **TINY,
        layers=[1],
        image_size=32,
        images=12,
        slack=1e9,
        max_astray_rate=0.05,
        box_models={"digit_0": "parts"},
    )
    assert params.routed(["digit_0", "parts"]) == ["digit_0"]
    bundles = {"digit_0": gauge, "parts": with_boxes}
    router = Router(params).fit({"digit_0": digits})
    folder = tmp_path / "bundle_set"
    write_set(folder, router, {"digit_0": digits}, bundles, CALIBRATE, tolerance=1e-4, opset=18)
    assert list(BundleSet(folder).scorers) == ["digit_0"]
    path, verdict = judged[0]
    status = main(["score", str(folder), str(path), "--json", "--overlays", str(tmp_path / "drawn")])
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert (status, row["verdict"]) == (1, "reject")
    assert row["score"] == pytest.approx(Scorer(gauge).score_image(path).score, rel=1e-5)
    assert [box["label"] for box in row["boxes"]] == [box.label for box in verdict.boxes]
    assert (row["category"], row["box_model"]["category"]) == ("digit_0", "parts")
    drawn = np.array(Image.open(row["overlay"]))
    assert (drawn == FOUND_BOX).all(axis=2).any()
    assert not (drawn == read_image(path)).all(axis=2).any()  # the map's colours
    assert "region" in line_of(row, localises=True)
    assert "box" in line_of(row, localises=True)
    explain_each_way(folder, path, row, tmp_path, capsys)
    score_into_each_table(folder, path, row, tmp_path / "tables")
    assert main(["verify", str(folder), "--json"]) == 0
    assert [one["category"] for one in json.loads(capsys.readouterr().out)["categories"]] == ["digit_0", "parts"]
    (folder / "parts" / "gauge.onnx").write_bytes(b"changed")
    with pytest.raises(IntegrityError, match=r"gauge\.onnx"):
        BundleSet(folder)


@pytest.mark.parametrize(
    ("box_models", "message"),
    [
        ({"a": "c"}, "c is no category"),
        ({"a": "b", "b": "a"}, "names a, b twice"),
        ({"a": "a"}, "names a twice"),
    ],
)
def test_box_models_that_name_no_category_or_one_twice_are_refused(box_models, message):
    params = RouterParams(
        **TINY, layers=[1], image_size=32, images=12, slack=2, max_astray_rate=0.05, box_models=box_models
    )
    with pytest.raises(ConfigError, match=message):
        params.routed(["a", "b"])


def test_only_a_bundle_that_finds_boxes_stands_beside_one_that_finds_none(gauge, with_boxes):
    with pytest.raises(ConfigError, match="digit_0 finds no boxes"):
        Scorer(gauge).with_box_model(Scorer(gauge))
    with pytest.raises(ConfigError, match="parts finds boxes itself"):
        Scorer(with_boxes).with_box_model(Scorer(with_boxes))


def reviewed(started, path, defect_type):
    """The inspection of a file that was reviewed as a defect."""
    kept = inspected(started, path)
    body = {"label": "defect", "defect_type": defect_type}
    answer = started.ask("POST", f"/v1/inspections/{kept['id']}/review", role="review", json=body)
    assert answer.status_code == 200, answer.text
    return kept


def test_a_reviewed_defect_that_was_found_by_boxes_is_a_case_whose_region_is_the_best_box(pair, running, judged):
    for started in (pair, running):
        kept = reviewed(started, judged[0][0], "spot")
        case = next(one for one in started.ask("GET", "/v1/cases").json()["cases"] if one["inspection"] == kept["id"])
        best = kept["boxes"][0]
        assert (case["defect_type"], case["region"]["label"]) == ("spot", best["label"])
        assert case["region"]["confidence"] == pytest.approx(best["confidence"], rel=1e-4)
        x, y, width, height = case["region"]["box"]
        assert x <= best["x"] < x + 1
        assert y <= best["y"] < y + 1
        assert x + width - 1 < best["x"] + best["width"] <= x + width
        assert y + height - 1 < best["y"] + best["height"] <= y + height
        assert started.ask("GET", f"/v1/cases/{case['id']}/crop").status_code == 200
        other = inspected(started, judged[1][0])["id"]
        found = started.ask("GET", f"/v1/inspections/{other}/similar").json()
        assert [one["id"] for one in found["cases"]] == [case["id"]]
        assert (found["compared"], found["reason"]) == ("region", None)


def test_a_case_of_boxes_without_features_is_kept_and_says_that_it_cannot_be_compared(running, judged, monkeypatch):
    monkeypatch.setattr(running.service.gauge.scorer, "space", None)  # as of a network of the user's own
    kept = reviewed(running, judged[2][0], "spot")
    assert kept["id"] in {one["inspection"] for one in running.ask("GET", "/v1/cases").json()["cases"]}
    found = running.ask("GET", f"/v1/inspections/{kept['id']}/similar").json()
    assert found["cases"] == []
    assert "no features of a pretrained network" in found["reason"]


@pytest.mark.parametrize("has_features", [True, False])
def test_reviews_of_before_become_cases_by_boxes(running, with_boxes, judged, has_features):
    store, scorer = running.service.store, Scorer(with_boxes, threads=1)
    if not has_features:
        scorer.space = None
    kept = inspected(running, judged[3][0])
    said = {"label": "defect", "defect_type": "spot", "note": None, "reviewer": "x", "at": 1.0, "key": "x"}
    store.reviews.add(kept["id"], said)
    assert (kept["id"], None) in list(update_cases(store, scorer))
    assert list(update_cases(store, scorer)) == []
    assert store.cases.of_inspection(kept["id"])["region"]["label"] == kept["boxes"][0]["label"]


def test_the_arena_shows_labelled_boxes_in_green_after_the_answer_whichever_bundle_is_in_use(
    bundle, with_boxes, judged, dataset, tmp_path, monkeypatch
):
    order = iter([0, 0, 1, 0])  # the first of the good ones, then the first of the defects
    chosen = SimpleNamespace(choice=lambda some: some[next(order)], token_hex=secrets.token_hex)
    monkeypatch.setattr(arena, "secrets", chosen)
    (defect, _), (good, _) = judged[0], judged[-1]
    record = next(one for one in dataset.with_role("test") if dataset.path_of(one) == defect)
    for label, path in (("defect", defect), ("good", good)):
        (tmp_path / "arena" / label).mkdir(parents=True)
        for number in range(2):  # of each kind one is left after one round
            shutil.copy(path, tmp_path / "arena" / label / f"{number}.png")
    lines = [
        f"0 {(box['x'] + box['width'] / 2) / 48} {(box['y'] + box['height'] / 2) / 48} {box['width'] / 48} "
        f"{box['height'] / 48}"
        for box in record.boxes
    ]
    for number in range(2):
        (tmp_path / "arena" / "defect" / f"{number}.txt").write_text("\n".join(lines))
    (tmp_path / "arena" / "classes.txt").write_text("blemish\n")
    settings = Settings(bundle=with_boxes, data=tmp_path / "data", arena=tmp_path / "arena", threads=1, deadline=60.0)
    shown, asked = {}, {}
    with Running(settings) as started:
        started.http.headers["Origin"] = "http://testserver"
        assert started.http.post("/sign-in", data={"key": started.keys["review"]}).status_code in (200, 303)
        key = started.keys["review"].split("_")[1]
        for _ in range(2):
            page = started.http.get("/arena")
            assert "blemish" not in page.text
            answered = started.http.post(page.url.path, data={"label": "good"})
            row = started.service.store.arena.round(page.url.path.rpartition("/")[2], key=key)
            picture = started.http.get(f"{page.url.path}/overlay").content
            shown[row["truth"]] = (answered.text, np.array(Image.open(io.BytesIO(picture))))
            asked[row["truth"]] = page.url.path
    with Running(replace(settings, bundle=bundle)) as another:
        another.http.headers["Origin"] = "http://testserver"
        assert another.http.post("/sign-in", data={"key": started.keys["review"]}).status_code in (200, 303)
        page = another.http.get(asked["defect"])
        picture = np.array(Image.open(io.BytesIO(another.http.get(f"{asked['defect']}/overlay").content)))
        shutil.rmtree(tmp_path / "arena" / "defect")
        gone = another.http.get(f"{asked['defect']}/overlay")
    assert f"{asked['defect']}/overlay" in page.text
    assert "only while the bundle that judged the part is in use" in page.text
    assert (picture == LABELLED_BOX).all(axis=2).any()
    assert not (picture == FOUND_BOX).all(axis=2).any()
    assert (gone.status_code, "go on with another one" in gone.text) == (410, True)
    text, drawn = shown["defect"]
    assert f"{len(lines)} × blemish" in text
    assert (drawn == LABELLED_BOX).all(axis=2).any()
    assert drawn.shape == (960, 960, 3)  # as large as before the answer
    text, drawn = shown["good"]
    assert "blemish" not in text
    assert not (drawn == LABELLED_BOX).all(axis=2).any()
