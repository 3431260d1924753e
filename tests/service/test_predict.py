"""The service with a gauge that finds boxes: /v1/predict, and what the other routes and pages make of it."""

import io

import numpy as np
import pytest
from PIL import Image

from box_gauge import blemishes, box_bundle
from gonogo.images.colours import FOUND_BOX
from gonogo.images.reading import read_image
from gonogo.inference.scorer import Scorer
from gonogo.line.explain import explain
from gonogo.line.outputs import drawn_boxes, line_of, overlay
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
    assert running.ask("GET", f"/v1/inspections/{kept['id']}").json()["boxes"] == kept["boxes"]
    assert len(running.ask("GET", "/v1/inspections").json()["inspections"]) == before + 1


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
