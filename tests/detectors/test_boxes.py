"""CentreBoxes and what it is made of: targets, losses, peaks, average precision; and the gauge that comes of it."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from box_gauge import OPTIONS, PARITY, PLAIN, blemishes, box_model, fitted, fitting_of, silent
from conftest import CALIBRATE, MEASURED
from gonogo.calibration.boxes import BoxClasses, Boxes, boxes_of, matched, overlaps
from gonogo.detectors import detector_with
from gonogo.detectors.boxes.average_precision import average_precision, best_f1_score
from gonogo.detectors.boxes.centre_boxes import Crops, crop_side, logits_of
from gonogo.detectors.boxes.decode import decoded
from gonogo.detectors.boxes.labelled import Labelled, LabelledImages
from gonogo.detectors.boxes.network import Targets, giou, loss_of
from gonogo.detectors.contract import FitContext
from gonogo.detectors.options import CentreBoxesOptions
from gonogo.errors import ConfigError, DataError, MissingExtraError, ParityError, WeightsError
from gonogo.evaluation.boxes.box_accuracy import box_metrics, box_rows, find_boxes
from gonogo.evaluation.boxes.coco import coco_precision, dataset_of, results_of
from gonogo.evaluation.boxes.resampled import OVERLAPS, resampled_precision
from gonogo.evaluation.metric_table import is_known
from gonogo.export.box_parity import compared_boxes
from gonogo.export.graph import export_onnx
from gonogo.export.parity import check_parity
from gonogo.export.write_bundle import write_bundle
from gonogo.files import read_sealed, seal, sha256_of
from gonogo.inference.scorer import Scorer
from gonogo.inference.self_check import check_network
from gonogo.model.saved import bundle_facts


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return blemishes(tmp_path_factory.mktemp("blemishes"))


@pytest.fixture(scope="module")
def model(dataset, tmp_path_factory):
    return box_model(dataset, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def test_pixels(dataset):
    return np.stack([dataset.pixels_of(record) for record in dataset.with_role("test")])


def random_boxes(rng, n, *, classes=3, labelled=False, side=100):
    corner = rng.uniform(0, side - 20, (n, 2))
    scores = np.ones(n) if labelled else np.sort(rng.uniform(0.01, 1, n))[::-1]
    return Boxes(np.hstack([corner, corner + rng.uniform(4, 20, (n, 2))]), rng.integers(0, classes, n), scores)


def found_near(rng, truth):
    """Boxes near the labelled ones, some of another class, and some anywhere."""
    moved = truth.corners + rng.uniform(-1.9, 1.9, truth.corners.shape)
    classes = np.where(rng.random(len(truth)) < 0.8, truth.classes, rng.integers(0, 3, len(truth)))
    other = random_boxes(rng, 6)
    corners, classes = np.vstack([moved, other.corners]), np.concatenate([classes, other.classes])
    order = rng.permutation(len(classes))
    return Boxes(corners[order], classes[order], np.sort(rng.uniform(0, 1, len(classes)))[::-1])


# Overlaps and average precision


def test_overlaps_are_those_of_counted_pixels():
    rng = np.random.default_rng(0)
    ones, others = (
        np.hstack([low, low + rng.integers(1, 9, (12, 2))]) for low in (rng.integers(0, 12, (12, 2)) for _ in range(2))
    )
    shared = overlaps(ones.astype(float), others.astype(float))

    def mask(box):
        drawn = np.zeros((24, 24), bool)
        drawn[box[1] : box[3], box[0] : box[2]] = True
        return drawn

    for i, one in enumerate(ones):
        for j, other in enumerate(others):
            a, b = mask(one), mask(other)
            assert shared[i, j] == pytest.approx((a & b).sum() / (a | b).sum())


def test_a_labelled_box_is_given_to_one_found_box_alone():
    truth = Boxes(np.array([[0.0, 0, 10, 10]]), np.array([0]), np.ones(1))
    twice = Boxes(np.array([[0.0, 0, 10, 9], [0, 0, 10, 10]]), np.array([0, 0]), np.array([0.9, 0.8]))
    assert matched(twice, truth, 0.5).tolist() == [0, -1]


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_pycocotools(seed, capsys):
    coco, evaluation = (pytest.importorskip(f"pycocotools.{name}") for name in ("coco", "cocoeval"))
    rng = np.random.default_rng(seed)
    labelled = [random_boxes(rng, int(rng.integers(0, 9)), labelled=True) for _ in range(12)]
    found = [found_near(rng, truth) for truth in labelled]
    truth = coco.COCO()
    truth.dataset = dataset_of(labelled, 3)
    truth.createIndex()
    theirs = evaluation.COCOeval(truth, truth.loadRes(results_of(found)), "bbox")
    theirs.params.maxDets = [1, 10, 300]
    theirs.evaluate()
    theirs.accumulate()
    precision = theirs.eval["precision"][..., 0, -1].mean(axis=1)  # (10 overlaps, classes)
    capsys.readouterr()
    for number in range(3):
        for place, overlap in enumerate(OVERLAPS):
            ours = average_precision(found, labelled, number, iou=overlap)
            assert ours == pytest.approx(precision[place, number], abs=1e-9)
    resampled = resampled_precision(found, labelled, 3, OVERLAPS.tolist())(np.ones((1, 12)))
    assert resampled[0] == pytest.approx(precision.mean(), abs=1e-9)
    pytest.importorskip("faster_coco_eval")
    reported = coco_precision(found, labelled, 3, most=300)
    assert reported.map_50_95 == pytest.approx(precision.mean(), abs=1e-9)
    assert reported.map_50 == pytest.approx(precision[0].mean(), abs=1e-9)
    assert reported.ap_50_95[1] == pytest.approx(precision[:, 1].mean(), abs=1e-9)


def test_a_resample_that_draws_an_image_twice_is_the_precision_of_a_set_that_has_it_twice():
    rng = np.random.default_rng(5)
    labelled = [random_boxes(rng, 5, labelled=True) for _ in range(4)]
    found = [found_near(rng, truth) for truth in labelled]
    drawn = [0, 0, 2, 3]
    expected = np.mean(
        [average_precision([found[i] for i in drawn], [labelled[i] for i in drawn], number) for number in range(3)]
    )
    resampled = resampled_precision(found, labelled, 3, [0.5])(np.array([[2.0, 0, 1, 1]]))
    assert resampled[0] == pytest.approx(expected)


def test_the_best_f1_score_is_that_of_trying_every_score():
    rng = np.random.default_rng(2)
    labelled = [random_boxes(rng, 5, labelled=True, classes=1) for _ in range(6)]
    found = [replace(found_near(rng, truth), classes=np.zeros(len(truth) + 6, int)) for truth in labelled]

    def f1(score):
        shown = [boxes.where(boxes.scores >= score) for boxes in found]
        hits = sum((matched(ours, truth, 0.5) >= 0).sum() for ours, truth in zip(shown, labelled, strict=True))
        return 2 * hits / (sum(map(len, shown)) + 30)

    best = best_f1_score(found, labelled, 0)
    assert f1(best) == max(f1(score) for boxes in found for score in boxes.scores)


# Targets, losses, decoding


def test_a_box_has_heat_one_in_the_cell_of_its_centre_and_is_found_again_from_its_targets():
    boxes = torch.tensor([[3.0, 5, 10, 13], [30, 30, 60, 50]])
    targets = Targets(boxes, torch.tensor([1, 0]), 2, 16, 16, 4)
    assert torch.nonzero(targets.heat == 1).tolist() == [[0, 10, 11], [1, 2, 1]]
    found = torch.zeros(1, 4, 16, 16)
    found.flatten(2)[0, :, targets.cells] = targets.boxes.T
    corners, scores, classes = decoded(targets.heat[None].clamp(min=1e-3), found, most=5, iou=0.5)
    assert scores[0, :2].tolist() == [1, 1]
    of_class = dict(zip(classes[0, :2].tolist(), corners[0, :2].tolist(), strict=True))
    assert of_class == {1: boxes[0].tolist(), 0: boxes[1].tolist()}


def test_a_box_whose_centre_is_beyond_the_crop_is_neither_wanted_nor_punished():
    outside = torch.tensor([[-9.0, 8, 3, 16]])
    targets = Targets(outside, torch.tensor([0]), 1, 8, 8, 4)
    assert (targets.n_boxes, float(targets.heat.max())) == (0, 0.0)
    hot = torch.full((1, 1, 8, 8), -9.0)
    hot[..., 2:4, 0] = 5.0
    somewhere = hot.roll(4, dims=3)
    punished, unpunished = (float(loss_of(heat, torch.zeros(1, 4, 8, 8), [targets])[0]) for heat in (somewhere, hot))
    assert unpunished < 1e-3 < punished


def test_the_losses_of_the_targets_themselves_are_nearly_zero():
    boxes = torch.tensor([[3.0, 5, 10, 13]])
    targets = Targets(boxes, torch.tensor([0]), 1, 8, 8, 4)
    heat = torch.where(targets.heat == 1, 20.0, -20.0)[None]
    exact = boxes[0][None, :, None, None].expand(1, 4, 8, 8)
    assert [float(loss) for loss in loss_of(heat, exact, [targets])] == pytest.approx([0, 0], abs=1e-4)
    assert float(loss_of(heat, exact + 2, [targets])[1]) > 0.3


def test_giou_is_overlap_for_nested_boxes_and_negative_for_distant_ones():
    inner, outer, far = (torch.tensor([values]) for values in ([2.0, 2, 4, 4], [0.0, 0, 8, 8], [40.0, 40, 44, 44]))
    assert float(giou(inner, outer)) == pytest.approx(4 / 64)
    assert float(giou(inner, inner)) == pytest.approx(1)
    assert -1 < float(giou(inner, far)) < -0.9


@pytest.mark.parametrize("seed", range(4))
def test_the_suppression_is_that_of_greedy_search(seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (1, 2, 20, 20))
    boxes = torch.from_numpy(np.concatenate([corner, corner + rng.uniform(10, 40, corner.shape)], axis=1)).float()
    heat = torch.from_numpy(rng.uniform(0.01, 1, (1, 2, 20, 20))).float()
    scores, classes = (part[0].numpy() for part in decoded(heat, boxes, most=80, iou=0.5)[1:])
    every, places = decoded(heat, boxes, most=80, iou=2.0)[:2]
    expected: list[int] = []
    shared = overlaps(every[0].double().numpy(), every[0].double().numpy())
    for number in range(len(scores)):
        if all(classes[number] != classes[other] or shared[number, other] <= 0.5 for other in expected):
            expected.append(number)
    assert np.flatnonzero(scores > 0).tolist() == expected
    assert (np.diff(places[0].numpy()) <= 0).all()
    assert len(expected) < 80


def test_crops_show_the_boxes_where_the_image_has_them():
    rng = np.random.default_rng(1)
    images, boxes = [], []
    for _ in range(4):
        pixels, corners = torch.zeros(1, 3, 100, 90), []
        for x, y in rng.integers(0, 70, (3, 2)).tolist():
            pixels[..., y : y + 12, x : x + 9] = 200.0
            corners.append([x, y, x + 9, y + 12])
        images.append(pixels)
        boxes.append(torch.tensor(corners).float())
    options = CentreBoxesOptions(image_size=[100, 92], crop=64, batch_size=30)
    crops = Crops(LabelledImages(images, boxes, [["a"] * 3] * 4), ["a"], options, 4, 16)
    pixels, targets = crops.draw(torch.Generator().manual_seed(0))
    assert pixels.shape == (30, 3, 64, 64)
    seen = 0
    for crop, one in zip(pixels, targets, strict=True):
        for x0, y0, x1, y1 in one.boxes.unique(dim=0).int().clamp(0, 64).tolist():
            inside = crop[:, y0:y1, x0:x1]
            assert float(inside.min()) > 150
            seen += 1
    assert seen > 30


def test_crops_suit_the_boxes_where_the_options_leave_it_open():
    def side(*sides, **options):
        boxes = [torch.tensor([[10.0, 10, 10 + width, 10 + height]]) for width, height in sides]
        return crop_side(CentreBoxesOptions(**options), boxes)

    small, large = [(7, 5)] * 20, [(60, 20)] * 20
    assert side(*small, (300, 300)) == 128
    assert side(*large) == 256
    assert side(*[(20, 400)] * 20) == 512
    assert side(*large, crop=96) == 96


# The fit


def test_the_loss_falls_and_the_same_seed_gives_the_same_bits(dataset, model, tmp_path, test_pixels):
    reports = []
    again = fitted(fitting_of(dataset, tmp_path), lambda *report: reports.append(report[3]))
    best = max(report["map_50"] for report in reports)
    assert again.detector.fit_facts()["validate_map_50"] == pytest.approx(best)
    assert reports[-1]["heat_loss"] < reports[0]["heat_loss"]
    for ours, theirs in zip(again.inspect(test_pixels), model.inspector.inspect(test_pixels), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_fit_that_is_killed_goes_on_to_the_same_bits(dataset, model, tmp_path):
    class Killed(BaseException):
        pass

    def kill(*report):
        if report[:2] == ("epochs", 2):
            raise Killed

    with pytest.raises(Killed):
        fitted(fitting_of(dataset, tmp_path), kill)
    epochs = []
    resumed = fitted(fitting_of(dataset, tmp_path), lambda *report: epochs.append(report[1]))
    whole = model.inspector.detector.state_dict()
    assert epochs == [1, 2, 3]
    assert resumed.detector.state_dict().keys() == whole.keys()
    assert all(torch.equal(value, whole[name]) for name, value in resumed.detector.state_dict().items())


def test_the_backbones_normalisations_stay_as_they_are_and_its_weights_do_not(model):
    fresh = detector_with("centre_boxes", CentreBoxesOptions(**OPTIONS)).backbone.state_dict()
    trained = model.inspector.detector.backbone.state_dict()
    norms = [name for name, weight in fresh.items() if weight.ndim == 1]
    convolutions = [name for name, weight in fresh.items() if weight.ndim == 4]
    assert norms
    assert convolutions
    assert all(torch.equal(fresh[name], trained[name]) for name in norms)
    assert [name for name in convolutions if torch.equal(fresh[name], trained[name])] == []


def test_a_fit_without_labels_is_refused_with_what_to_set():
    detector = detector_with("centre_boxes", CentreBoxesOptions(**OPTIONS))
    with pytest.raises(DataError, match=r"this fit has none; set prepare\.task to boxes"):
        detector.fit([torch.zeros(1, 3, 48, 48)], seed=0)
    nothing = LabelledImages([torch.zeros(1, 3, 48, 48)], [torch.zeros(0, 4)], [[]])
    with pytest.raises(DataError, match="no image with the role fit has a box"):
        detector.fit(nothing.pixels, seed=0, context=FitContext(labelled=Labelled(nothing, nothing)))


def test_levels_that_do_not_halve_are_refused(dataset, tmp_path):
    with pytest.raises(ConfigError, match="each half as fine as the one before"):
        fitted(fitting_of(dataset, tmp_path, layers=[0, 2]))


def test_what_a_fit_of_boxes_cannot_do_is_refused(dataset, tmp_path):
    fitting = fitting_of(
        dataset, tmp_path, values=replace(PLAIN, rotations=4), calibrate=replace(CALIBRATE, method="cross")
    )
    with pytest.raises(ConfigError, match=r"fit\.rotations, calibrate\.method: cross: fit\.detector centre_boxes"):
        fitting.start(fitting.records)


# A start from an earlier fit


@pytest.fixture(scope="module")
def earlier(model, dataset, tmp_path_factory):
    """The options that start from the model of this file."""
    folder = tmp_path_factory.mktemp("earlier") / "model"
    fitting = fitting_of(dataset, folder.parent / "checkpoints")
    fitting.save(folder, model.inspector, fitting.certify(model.inspector, silent), category="parts")
    return {"start_from": str(folder), "start_from_sha256": sha256_of(folder / "detector.safetensors")}


def test_a_start_gives_a_class_what_it_had_whatever_its_place_and_spelling(model, earlier, test_pixels):
    detector = detector_with("centre_boxes", CentreBoxesOptions(**OPTIONS, **earlier))
    old = model.inspector.detector
    assert old.box_classes().names == ["hole", "scratch", "stain"]
    _, told = detector._begun(["Scratch", "dent", "hole"], torch.zeros(0, 4), seed=17)
    assert told == {"kept": ["Scratch", "hole"], "new": ["dent"], "dropped": ["stain"]}
    pixels = torch.from_numpy(test_pixels[:3]).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        (before, boxes), (after, same_boxes) = (logits_of(one.backbone, one.head, pixels) for one in (old, detector))
    assert torch.equal(after[:, 0], before[:, 1])
    assert torch.equal(after[:, 2], before[:, 0])
    assert torch.equal(boxes, same_boxes)
    assert float(after[:, 1].max()) < -3.5  # a new class is rare until it has learned


def test_a_fit_that_starts_from_another_begins_where_it_ended(dataset, earlier, tmp_path):
    first = {}
    for name, options in (("cold", {}), ("warm", earlier)):
        reports = []
        fitting = fitting_of(dataset, tmp_path / name, epochs=1, **options)
        inspector = fitted(fitting, lambda *report, kept=reports: kept.append(report[3]))
        first[name] = reports[0]["heat_loss"]
    assert first["warm"] < 0.8 * first["cold"]
    facts = inspector.detector.fit_facts()
    assert (facts["classes_kept"], facts["classes_new"]) == ("hole, scratch, stain", "none")
    assert facts["weights"] == "a fitted model"


def test_a_start_that_does_not_fit_is_refused_by_name(dataset, earlier, tmp_path):
    copied = shutil.copytree(earlier["start_from"], tmp_path / "pca")
    manifest = read_sealed(copied)
    seal(copied, manifest | {"detector": manifest["detector"] | {"name": "pca"}}, ["detector.safetensors"])
    for change, error, message in (
        ({"start_from": "nowhere"}, WeightsError, r"fit\.start_from is 'nowhere': expected the folder"),
        ({"start_from_sha256": None}, WeightsError, r"set fit\.start_from_sha256 to the SHA-256"),
        ({"start_from_sha256": "0" * 64}, WeightsError, r"fit\.start_from_sha256 says 0000"),
        ({"start_from": str(copied)}, ConfigError, "a model of pca; expected one of centre_boxes"),
        ({"width": 16}, ConfigError, r"whose width is 48, and fit\.width is 16"),
        ({"layers": [1, 2]}, ConfigError, r"whose layers is \[0, 1, 2\], and fit\.layers is \[1, 2\]"),
    ):
        with pytest.raises(error, match=message):
            fitted(fitting_of(dataset, tmp_path / "checkpoints", **(earlier | change)))


# The gauge


def test_the_score_of_an_image_is_that_of_its_best_box(model, test_pixels):
    scores, _, found = model.inspector.inspect_with_boxes(test_pixels)
    assert [boxes.scores[0] for boxes in found] == scores.tolist()
    assert all((np.diff(boxes.scores) <= 0).all() for boxes in found)


def test_boxes_lie_in_pixels_of_the_image_whatever_its_size(model, test_pixels):
    image = test_pixels[-1]
    twice = np.repeat(np.repeat(image, 3, axis=0), 2, axis=1)
    (own,), (larger,) = (model.inspector.inspect_with_boxes(pixels[None])[2] for pixels in (image, twice))
    best = np.array([2, 3, 2, 3]) * own.corners[0]
    assert np.abs(best - larger.corners[0]).max() < 3
    for boxes, (height, width) in ((own, image.shape[:2]), (larger, twice.shape[:2])):
        assert boxes.corners.min() >= 0
        assert (boxes.corners[:, 2:] <= [width, height]).all()


def test_no_calibrate_part_has_a_box_above_the_certified_threshold_but_the_rank_allows(model, dataset):
    records = dataset.with_role("calibrate")
    found = find_boxes(model.inspector, dataset, records, model.inspector.detector.box_classes()).found
    n_with_box = sum(bool((boxes.scores >= model.threshold.threshold).any()) for boxes in found)
    assert model.threshold.certified
    assert n_with_box == model.threshold.rank - 1


def test_a_confidence_is_that_of_the_network_and_one_threshold_is_another_for_each_class():
    classes = BoxClasses(["a", "b"], [0.5, 0.2])
    for number, unit in enumerate(classes.units):
        for odds in (-3.0, -0.5, 0.0, 0.5, 3.0):
            logit = np.log(unit / (1 - unit)) + odds
            score = 1 + odds if odds > 0 else 1 / (1 - odds)
            assert classes.confidence(number, score) == pytest.approx(1 / (1 + np.exp(-logit)))
    assert classes.confidences(1.0) == pytest.approx({"a": 0.5, "b": 0.2})


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "gauge.onnx"
    export_onnx(model.inspector, path, metadata=bundle_facts(model), opset=18)
    return path


def test_the_bundle_gives_the_boxes_of_the_reference_and_a_part_passes_where_it_has_none(
    model, exported, dataset, tmp_path, test_pixels
):
    parity = check_parity(model, exported, dataset, PARITY)
    metrics = parity.metrics()
    assert metrics["passed"]
    assert metrics["n_boxes"] > 10
    assert metrics["n_boxes_unmatched"] == 0
    assert all(is_known(name) for name in metrics)
    write_bundle(tmp_path / "bundle", exported, model, parity, dataset, MEASURED)
    scorer = Scorer(tmp_path / "bundle")
    check_network(scorer)
    verdicts = scorer.score_pixels(test_pixels)
    _, _, reference = model.inspector.inspect_with_boxes(test_pixels)
    for verdict, boxes in zip(verdicts, reference, strict=True):
        expected = boxes.where(boxes.scores >= scorer.threshold)
        assert len(verdict.boxes) == len(expected)
        assert bool(verdict.boxes) == verdict.anomalous
        for box, corners, score in zip(verdict.boxes, expected.corners, expected.scores, strict=True):
            assert [box.x, box.y, box.x + box.width, box.y + box.height] == pytest.approx(corners.tolist(), abs=0.05)
            assert box.score == pytest.approx(score, rel=1e-4)
    assert {verdict.label for verdict in verdicts} == {"pass", "reject"}
    assert verdicts[0].row()["boxes"] == [vars(box) for box in verdicts[0].boxes]


def test_no_bundle_is_written_where_a_box_moves_by_a_pixel(model, exported, dataset, tmp_path, monkeypatch):
    from gonogo.export import parity

    real = parity.boxes_of
    calls = []

    def moved(corners, scores, classes):
        calls.append(corners)
        return real(corners + len(calls) % 2, scores, classes)  # the reference, then onnxruntime

    monkeypatch.setattr(parity, "boxes_of", moved)
    result = check_parity(model, exported, dataset, PARITY)
    with pytest.raises(ParityError, match="have no partner of their class"):
        write_bundle(tmp_path / "bundle", exported, model, result, dataset, MEASURED)
    assert not (tmp_path / "bundle").exists()


def boxes(*rows):
    return Boxes(
        np.array([[x, 0.0, x + 5, 5] for x, _, _ in rows]).reshape(-1, 4),
        np.array([number for _, number, _ in rows], dtype=int),
        np.array([score for _, _, score in rows]),
    )


def test_boxes_at_the_threshold_or_above_are_compared_one_to_one_by_class():
    ours = boxes((0, 0, 2.0), (10, 1, 1.5), (20, 0, 0.9))
    same = compared_boxes(ours, boxes((0.01, 0, 2.0), (10, 1, 1.5)), 1.0)  # the faint one is shown to nobody
    assert (same.n_unmatched, same.n_flips, same.holds(1e-4)) == (0, 0, True)
    assert compared_boxes(ours, boxes((0, 0, 2.0), (10, 0, 1.5)), 1.0).n_unmatched == 2  # another class, both ways
    assert compared_boxes(ours, boxes((0, 0, 2.0)), 1.0).n_unmatched == 1
    assert compared_boxes(ours, boxes((0, 0, 2.0), (0, 0, 2.0), (10, 1, 1.5)), 1.0).n_unmatched == 1
    flipped = compared_boxes(boxes((0, 0, 1.0)), boxes((0, 0, 0.99999)), 1.0)
    assert (flipped.n_flips, flipped.holds(1e-4)) == (1, True)


def test_metrics_and_rows_of_boxes_are_those_of_a_plain_count(model, dataset):
    pytest.importorskip("faster_coco_eval")
    classes = model.inspector.detector.box_classes()
    results = find_boxes(model.inspector, dataset, dataset.with_role("test"), classes)
    threshold = float(np.median([found.scores[0] for found in results.found]))
    record = replace(model.threshold, threshold=threshold)
    metrics = box_metrics(results, record, n_resamples=100, confidence=0.95, seed=1, most=300)
    assert all(is_known(name) for name in metrics)
    rows = box_rows(results, threshold)
    found = [row for row in rows if row["kind"] == "found"]
    labelled = [row for row in rows if row["kind"] == "labelled"]
    assert (metrics["n_found_boxes"], metrics["n_labelled_boxes"]) == (len(found), len(labelled))
    n_hits = round(metrics["box_precision"] * len(found))
    assert n_hits == round(metrics["box_recall"] * len(labelled))
    assert n_hits <= sum(row["overlaps"] >= 0.5 for row in found)
    assert metrics["map_50_low"] <= metrics["map_50"] <= metrics["map_50_high"]
    of_class = {name: sum(row["label"] == name for row in labelled) for name in classes.names}
    confused = {name: sum(n for key, n in metrics.items() if key.startswith(f"confusion.{name}.")) for name in of_class}
    assert confused == of_class


def test_boxes_with_the_score_zero_are_no_boxes():
    corners, scores = np.zeros((1, 3, 4)), np.array([[2.0, 0.0, 1.0]])
    (found,) = boxes_of(corners, scores, np.array([[4, 5, 6]]))
    assert (found.scores.tolist(), found.classes.tolist()) == ([2.0, 1.0], [4, 6])


def test_without_the_library_the_evaluation_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    truth = Boxes(np.array([[0.0, 0, 5, 5]]), np.array([0]), np.ones(1))
    with pytest.raises(MissingExtraError, match=r"install gonogo\[boxes\]"):
        coco_precision([truth], [truth], 1, most=100)
