"""OnnxBoxes: a network of the user's own finds what it finds alone, whatever its contract, and no wrong one is taken.

The networks are a fitted `CentreBoxes` in the clothes of others, so that the boxes that must come out are known.
"""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from scipy.special import logsumexp

from box_gauge import PARITY, PLAIN, blemishes, box_model, silent
from conftest import CALIBRATE, MEASURED, REGIONS
from gonogo.detectors.boxes.onnx_boxes import OnnxBoxes
from gonogo.detectors.options import OnnxBoxesOptions
from gonogo.errors import ConfigError, DataError, WeightsError
from gonogo.export.graph import export_onnx
from gonogo.export.parity import check_parity
from gonogo.export.write_bundle import write_bundle
from gonogo.inference.scorer import Scorer
from gonogo.model.fitting import Fitting
from gonogo.model.inspector import Inspector
from gonogo.model.saved import bundle_facts, load_model
from gonogo.params import Variant
from onnx_networks import SIDE, in_contract, queries_of, written


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return blemishes(tmp_path_factory.mktemp("blemishes"))


@pytest.fixture(scope="module")
def known(dataset, tmp_path_factory):
    """The gauge inside the networks."""
    return box_model(dataset, tmp_path_factory.mktemp("model")).inspector


@pytest.fixture(scope="module")
def networks(known, tmp_path_factory):
    """The options of a network in each contract."""
    folder, queries = tmp_path_factory.mktemp("networks"), queries_of(known.detector)
    names = list(known.detector.box_classes().names)
    found = {}
    for contract in ("detr", "yolo", "yolo_objectness", "detections"):
        file = written(in_contract(queries, contract), folder / f"{contract}.onnx")
        classes = [None, *names] if contract == "detections" else names
        found[contract] = file | {"contract": contract, "classes": classes, "image_size": SIDE, "nms_iou": 0.5}
    return found


@pytest.fixture(scope="module")
def test_pixels(dataset):
    return np.stack([dataset.pixels_of(record) for record in dataset.with_role("test")])


def fitting_of(dataset, folder, options):
    made = OnnxBoxesOptions(**options)
    return Fitting(dataset, Variant(made, "onnx_boxes", options, PLAIN), CALIBRATE, REGIONS, 17, folder / "checkpoints")


def fitted(dataset, folder, options):
    fitting = fitting_of(dataset, folder, options)
    return fitting.fit(*fitting.start(fitting.records), silent)


@pytest.mark.parametrize("contract", ["detr", "yolo", "yolo_objectness", "detections"])
def test_the_boxes_are_those_of_the_network(contract, networks, known, dataset, test_pixels, tmp_path):
    ours = fitted(dataset, tmp_path, networks[contract])
    classes = ours.detector.box_classes()
    assert classes.names == list(known.detector.box_classes().names)
    scores, maps, found = ours.inspect_with_boxes(test_pixels)
    expected = known.inspect_with_boxes(test_pixels)[2]
    n_compared = 0
    for score, painted, boxes, own in zip(scores, maps, found, expected, strict=True):
        confidences = [
            known.detector.box_classes().confidence(*pair) for pair in zip(own.classes, own.scores, strict=True)
        ]
        for corners, number, value in list(zip(boxes.corners, boxes.classes, boxes.scores, strict=True))[:5]:
            same = (own.classes == number) & (np.abs(own.corners - corners).max(axis=1) < 1e-3)
            assert same.sum() == 1
            assert classes.confidence(number, value) == pytest.approx(confidences[int(same.argmax())], rel=1e-4)
            n_compared += 1
        assert score == boxes.scores.max() == pytest.approx(painted.max(), rel=0.02)
        if contract != "detections":  # which gives the best class of a place alone
            assert boxes.scores[0] == pytest.approx(own.scores[0], rel=1e-3)
    assert n_compared > 100


def test_the_odds_of_a_softmax_are_those_against_all_others_and_none():
    rng = np.random.default_rng(0)
    boxes, logits = rng.uniform(0.2, 0.4, (2, 7, 4)), rng.normal(0, 3, (2, 7, 4))
    options = OnnxBoxesOptions(model="none", contract="detr_softmax", classes=["a", "b", "c"], image_size=[32, 64])
    detector = OnnxBoxes(options)
    corners, odds, classes = detector._candidates([torch.from_numpy(boxes).float(), torch.from_numpy(logits).float()])
    for image in range(2):
        expected = {}
        for query, number in np.ndindex(7, 3):
            others = np.delete(logits[image, query], number)
            expected[query, number] = logits[image, query, number] - logsumexp(others)
        order = sorted(expected, key=expected.get, reverse=True)
        assert odds[image].tolist() == pytest.approx([expected[place] for place in order], abs=1e-4)
        assert classes[image].tolist() == [number for _, number in order]
        x, y, width, height = boxes[image, order[0][0]] * [64, 32, 64, 32]
        assert corners[image, 0].tolist() == pytest.approx(
            [x - width / 2, y - height / 2, x + width / 2, y + height / 2], rel=1e-5
        )


@pytest.mark.parametrize("contract", ["detr", "yolo"])
def test_an_image_of_which_the_network_says_nothing_has_no_score(contract, networks, dataset, tmp_path, monkeypatch):
    ours = fitted(dataset, tmp_path, networks[contract])
    real = ours.detector._loaded.run

    def silent_on_dark_images(pixels):
        results = real(pixels)
        results[-1][..., 5, -1] = np.nan if pixels.mean() < 0.2 else results[-1][..., 5, -1]
        return results

    monkeypatch.setattr(ours.detector._loaded, "run", silent_on_dark_images)
    images = np.full((2, SIDE, SIDE, 3), 200, dtype=np.uint8)
    images[1] = 10
    scores = ours.inspect(images)[0]
    assert np.isnan(scores).tolist() == [False, True]


# Pre-processing


@pytest.mark.parametrize(
    ("size", "fitting", "place"),
    [
        ((40, 80), "letterbox", (0, 16, 64, 48)),
        ((80, 40), "letterbox", (16, 0, 48, 64)),
        ((80, 40), "corner", (0, 0, 32, 64)),
        ((40, 80), "stretch", (0, 0, 64, 64)),
    ],
)
def test_pixels_reach_the_network_as_the_options_say(size, fitting, place):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    numbers = {"fill": 114.0, "divisor": 255.0, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
    options = OnnxBoxesOptions(
        model="none", contract="yolo", classes=["a"], image_size=64, fitting=fitting, colours="bgr", **numbers
    )
    inspector = Inspector(OnnxBoxes(options))
    given = inspector.detector._prepared(inspector.resized(torch.from_numpy(image)[None]))[0].numpy()
    x0, y0, x1, y1 = place
    levels = np.full((64, 64, 3), 114.0)
    planes = [Image.fromarray(image[..., channel].astype(np.float32)) for channel in range(3)]
    resized = [np.asarray(plane.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)) for plane in planes]
    levels[y0:y1, x0:x1] = np.stack(resized, axis=2)
    expected = (levels[..., ::-1] / 255 - numbers["mean"]) / numbers["std"]
    inner = (slice(y0 + 1, y1 - 1), slice(x0 + 1, x1 - 1))  # the kernel mixes the outermost pixel with the bar
    np.testing.assert_allclose(given.transpose(1, 2, 0)[inner], expected[inner], atol=1e-4)
    bar = np.ones((64, 64), bool)
    bar[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1] = False
    np.testing.assert_allclose(given.transpose(1, 2, 0)[bar], expected[bar], atol=1e-5)


def bright_square(path):
    """A network in the contract `detections` with one box, around the pixels (1, 3, 60, 100) brighter than 0.5."""
    nodes, constants = [], {"half": np.float32(0.5), "planes": np.array([0, 1]), "one": np.float32(1)}
    for axis, (across, length) in enumerate(((2, 100), (3, 60))):
        constants |= {
            f"from_{axis}": np.arange(length, dtype=np.float32),
            f"back_{axis}": np.arange(length, dtype=np.float32) - length,
            f"length_{axis}": np.float32(length),
            f"across_{axis}": np.array([across]),
        }
        nodes += [
            helper.make_node("ReduceMax", ["bright", f"across_{axis}"], [f"line_{axis}"], keepdims=0),
            helper.make_node("ReduceMax", [f"line_{axis}", "planes"], [f"any_{axis}"], keepdims=0),
            helper.make_node("Mul", [f"any_{axis}", f"back_{axis}"], [f"left_{axis}"]),
            helper.make_node("ReduceMin", [f"left_{axis}"], [f"least_{axis}"], keepdims=1),
            helper.make_node("Add", [f"least_{axis}", f"length_{axis}"], [f"low_{axis}"]),
            helper.make_node("Mul", [f"any_{axis}", f"from_{axis}"], [f"right_{axis}"]),
            helper.make_node("ReduceMax", [f"right_{axis}"], [f"most_{axis}"], keepdims=1),
            helper.make_node("Add", [f"most_{axis}", "one"], [f"high_{axis}"]),
        ]
    nodes.insert(0, helper.make_node("Greater", ["images", "half"], ["lit"]))
    nodes.insert(1, helper.make_node("Cast", ["lit"], ["bright"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Concat", ["low_0", "low_1", "high_0", "high_1"], ["boxes"], axis=0))
    constants |= {"confidence": np.array([0.9], dtype=np.float32), "label": np.array([0])}
    nodes += [
        helper.make_node("Identity", [name], [given]) for name, given in (("confidence", "sure"), ("label", "what"))
    ]
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 60, 100])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [4]),
            helper.make_tensor_value_info("sure", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("what", TensorProto.INT64, [1]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return written(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.mark.parametrize("fitting", ["stretch", "letterbox", "corner"])
def test_boxes_come_back_to_where_the_image_has_the_defect(fitting, tmp_path):
    options = OnnxBoxesOptions(
        **bright_square(tmp_path / "bright.onnx"),
        contract="detections",
        classes=["bright"],
        image_size=[60, 100],
        fitting=fitting,
        fill=0.0,
    )
    detector = OnnxBoxes(options)
    content = np.frombuffer((tmp_path / "bright.onnx").read_bytes(), dtype=np.uint8)
    detector.restore(
        {"model_": torch.from_numpy(content.copy()), "units_": torch.tensor([0.5]), "map_50_": torch.tensor(1.0)}
    )
    for height, width in ((60, 100), (300, 200), (110, 300)):
        image = np.zeros((1, height, width, 3), dtype=np.uint8)
        image[:, 30:70, 90:130] = 255
        (found,) = Inspector(detector).inspect_with_boxes(image)[2]
        coarse = max(height / 60, width / 100)
        bottom = min(70, height)
        assert np.abs(found.corners[0] - [min(90, width), 30, min(130, width), bottom]).max() <= coarse


# What is refused


def test_what_does_not_keep_the_contract_is_refused_by_name(networks, dataset, tmp_path):
    names = networks["yolo"]["classes"]
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"no network")
    yolo, detr, detections = (networks[name] for name in ("yolo", "detr", "detections"))
    cases = [
        (yolo | {"model_sha256": "0" * 64}, WeightsError, r"fit\.model_sha256 says 0000"),
        (yolo | {"model_sha256": None}, WeightsError, r"set fit\.model_sha256"),
        (yolo | {"model": "nowhere.onnx"}, WeightsError, r"fit\.model is 'nowhere\.onnx'"),
        (yolo | written_junk(junk), ConfigError, "cannot be loaded by onnxruntime"),
        (yolo | {"classes": [*names, "more"]}, ConfigError, r"expected predictions of the shape \(1, 8, m\)"),
        (yolo | {"contract": "yolo_objectness"}, ConfigError, r"fit\.model gives \(1, 7, 576\)"),
        (
            yolo | {"image_size": 64},
            ConfigError,
            r"shape \[1, 3, 48, 48\], and fit\.image_size asks for \[1, 3, 64, 64\]",
        ),
        (yolo | {"contract": "detr"}, ConfigError, r"takes 2 outputs, boxes, logits; fit\.model has predictions"),
        (detr | {"outputs": ["logits", "nothing"]}, ConfigError, r"fit\.model has boxes, logits; name them"),
        (detr | {"outputs": ["logits", "boxes"]}, ConfigError, r"has 432 boxes, and its logits make 768 rows"),
        (
            detr | {"classes": [*names, "more"]},
            ConfigError,
            r"has 576 boxes, and its logits make 432 rows of 4 classes",
        ),
        (detr | {"classes": [*names, *"abcd"]}, ConfigError, r"are not boxes, logits with 7 classes"),
        (yolo | {"classes": [None, *names[1:]]}, ConfigError, r"the data have boxes of hole; name each class"),
        (detections | {"classes": names}, DataError, "finds a box of class 3; fit.classes names 3, from 0; put null"),
    ]
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            fitted(dataset, tmp_path, options)
    for wrong, message in (({"std": [1, 0, 1]}, "std is"), ({"classes": ["a", "a"]}, "different names")):
        with pytest.raises(ConfigError, match=message):
            OnnxBoxesOptions(**(yolo | wrong))


def written_junk(path):
    from gonogo.files import sha256_of

    return {"model": str(path), "model_sha256": sha256_of(path)}


def test_a_network_of_two_inputs_or_of_whole_numbers_is_refused(networks, dataset, tmp_path):
    network = onnx.load(networks["yolo"]["model"])
    network.graph.input.append(helper.make_tensor_value_info("shape", TensorProto.FLOAT, [1, 2]))
    with pytest.raises(ConfigError, match=r"has 2 inputs \(images, shape\)"):
        fitted(dataset, tmp_path, networks["yolo"] | written(network, tmp_path / "two.onnx"))
    network = onnx.load(networks["yolo"]["model"])
    network.graph.input[0].name = "levels"
    network.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    network.graph.node.insert(0, helper.make_node("Cast", ["levels"], ["images"], to=TensorProto.FLOAT))
    with pytest.raises(ConfigError, match=r"takes tensor\(uint8\); expected float32"):
        fitted(dataset, tmp_path, networks["yolo"] | written(network, tmp_path / "levels.onnx"))


# The bundle


def test_a_bundle_with_a_letterbox_holds_the_network_and_gives_its_boxes(networks, dataset, tmp_path, test_pixels):
    options = networks["detections"] | {"fitting": "letterbox"}
    network = onnx.load(options["model"])
    options |= written(network, tmp_path / "own.onnx")
    fitting = fitting_of(dataset, tmp_path, options)
    inspector = fitting.fit(*fitting.start(fitting.records), silent)
    fitting.save(tmp_path / "model", inspector, fitting.certify(inspector, silent), category="parts")
    (tmp_path / "own.onnx").unlink()
    model = load_model(tmp_path / "model")
    facts = model.manifest["detector"]["facts"]
    assert (facts["contract"], facts["model_sha256"]) == ("detections", options["model_sha256"])
    assert model.threshold.certified
    export_onnx(model.inspector, tmp_path / "gauge.onnx", metadata=bundle_facts(model), opset=20)  # the network's is 18
    parity = check_parity(model, tmp_path / "gauge.onnx", dataset, replace(PARITY, batch_sizes=[1, 2]))
    assert parity.metrics()["n_boxes_unmatched"] == 0
    write_bundle(tmp_path / "bundle", tmp_path / "gauge.onnx", model, parity, dataset, MEASURED)
    scorer = Scorer(tmp_path / "bundle")
    oblong = test_pixels[-3:, 8:40]  # 32 x 48 pixels: bars above and below
    n_boxes = 0
    for verdict, boxes in zip(scorer.score_pixels(oblong), inspector.inspect_with_boxes(oblong)[2], strict=True):
        expected = boxes.where(boxes.scores >= scorer.threshold)
        assert [box.label for box in verdict.boxes] == [model.manifest["boxes"]["names"][n] for n in expected.classes]
        for box, corners in zip(verdict.boxes, expected.corners, strict=True):
            assert [box.x, box.y, box.x + box.width, box.y + box.height] == pytest.approx(corners.tolist(), abs=0.05)
            n_boxes += 1
    assert n_boxes > 0
