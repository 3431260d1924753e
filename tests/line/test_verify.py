"""gonogo verify and explain: whether a bundle may be used here, and why it judges an image so."""

import json
import shutil

import numpy as np
import pytest

from gonogo.cli.main import main
from gonogo.files import read_sealed, seal
from gonogo.images.reading import read_image
from gonogo.inference.scorer import Scorer
from gonogo.line.explain import top_cells


@pytest.fixture(scope="module")
def images(digits):
    """Test images of both kinds."""
    return [digits.path_of(record) for record in digits.with_role("test")][::7]


@pytest.fixture
def reference(bundle, images, tmp_path, capsys):
    """What gonogo score wrote of the images."""
    main(["score", str(bundle), *map(str, images), "--jsonl"])
    path = tmp_path / "reference.jsonl"
    path.write_text(capsys.readouterr().out)
    return path


def changed(reference, change):
    rows = [json.loads(line) for line in reference.read_text().splitlines()]
    change(rows)
    reference.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def test_a_proven_bundle_is_fit_for_use_and_scores_as_its_reference_says(bundle, images, reference, tmp_path, capsys):
    assert main(["verify", str(bundle)]) == 0
    assert "certified" in capsys.readouterr().out
    assert main(["verify", str(bundle), "--reference", str(reference), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n_images"], report["passed"], report["bundle"]) == (len(images), True, Scorer(bundle).fingerprint)
    for image in images[:3]:
        shutil.copy(image, tmp_path / image.name)
    elsewhere = [str(tmp_path / image.name) for image in images[:3]]
    assert main(["verify", str(bundle), *elsewhere, "--reference", str(reference), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_images"] == 3
    assert main(["verify", str(bundle), *elsewhere, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_images"] == 3


def test_a_score_beyond_the_tolerance_and_a_verdict_that_flips_are_a_no(bundle, reference, capsys):
    arguments = ["verify", str(bundle), "--reference", str(reference)]
    scorer = Scorer(bundle)

    def drift(rows):
        rows[0]["score"] *= 1.01
        rows[0]["score"] += 0.01 * np.median([row["score"] for row in rows])

    rows = changed(reference, drift)
    assert main([*arguments, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in report["differences"]] == [rows[0]["file"]]
    assert main([*arguments, "--tolerance", "0.1"]) == 0
    assert main(arguments) == 1
    assert "NO  1 of" in capsys.readouterr().out

    def flip(rows):
        rejected = next(row for row in rows if row["score"] >= scorer.threshold)
        rejected["score"] = float(np.nextafter(scorer.threshold, 0))

    changed(reference, flip)
    assert main([*arguments, "--tolerance", "1e6", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["n_flips"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no score"),
        ("[]\n", "line 1: expected"),
        ('{"file": "a"}\n', "line 1: expected"),
        (None, "cannot be read as verdicts"),
    ],
)
def test_a_reference_that_is_none_is_refused(text, message, bundle, tmp_path, capsys):
    path = tmp_path / "reference.jsonl"
    if text is not None:
        path.write_text(text)
    assert main(["verify", str(bundle), "--reference", str(path)]) == 3
    assert message in capsys.readouterr().err


def test_an_image_that_the_reference_does_not_know_or_that_is_broken_is_an_error(bundle, reference, tmp_path, capsys):
    (tmp_path / "other.png").write_bytes(b"\x89PNG")
    assert main(["verify", str(bundle), str(tmp_path / "other.png"), "--reference", str(reference)]) == 3
    assert "has no score of" in capsys.readouterr().err
    assert main(["verify", str(bundle), str(tmp_path / "other.png")]) == 3
    assert "cannot be read as an image" in capsys.readouterr().err


def ending(bundle, folder, node, tensor=None):
    """A copy of the bundle, hashes made right, whose network's `score` is what `node` makes of the true one.

    `node` has operator, inputs and attributes; `tensor` is type, shape and values of the constant c.
    """
    onnx = pytest.importorskip("onnx", reason="no onnx, which the scoring install leaves out")
    operator, inputs, attributes = node
    node = onnx.helper.make_node(operator, inputs, ["score"], **attributes)
    tensors = [onnx.helper.make_tensor("c", getattr(onnx.TensorProto, tensor[0]), *tensor[1:])] if tensor else []
    shutil.copytree(bundle, folder)
    proto = onnx.load(folder / "gauge.onnx")
    for old in proto.graph.node:
        old.output[:] = ["true_score" if name == "score" else name for name in old.output]
        old.input[:] = ["true_score" if name == "score" else name for name in old.input]
    proto.graph.node.append(node)
    proto.graph.initializer.extend(tensors)
    onnx.save(proto, folder / "gauge.onnx")
    content = {key: value for key, value in read_sealed(bundle).items() if key != "files"}
    seal(folder, content, ["gauge.onnx"])
    return folder


@pytest.mark.parametrize(
    ("node", "tensor", "message"),
    [
        (("Add", ["true_score", "c"], {}), ("FLOAT", [1], [np.nan]), "not a number"),
        (("ReduceSum", ["true_score"], {"keepdims": 1}), None, "expected (2,)"),
        (("CumSum", ["true_score", "c"], {"reverse": 1}), ("INT64", [], [0]), "in a batch with another"),
        (("Reshape", ["true_score", "c"], {}), ("INT64", [1], [7]), "the network fails"),
    ],
    ids=["not a number", "one score for all", "scores that depend on their neighbours", "a graph that fails"],
)
def test_a_network_that_does_not_do_what_a_gauge_does_is_no_bundle_to_use(
    node, tensor, message, bundle, tmp_path, capsys
):
    folder = ending(bundle, tmp_path / "bad", node, tensor)
    assert main(["verify", str(folder), "--json"]) == 4
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]


def test_cells_are_the_highest_of_the_map_cut_into_squares():
    anomaly_map = np.random.default_rng(3).random((23, 41)).astype(np.float32)
    side = 6  # ceil(41 / 8)
    slow = {
        (x, y, min(side, 41 - x), min(side, 23 - y)): anomaly_map[y : y + side, x : x + side].max()
        for y in range(0, 23, side)
        for x in range(0, 41, side)
    }
    expected = sorted(slow.items(), key=lambda one: -one[1])
    cells = top_cells(anomaly_map, n_cells=8)
    assert [(cell.box, cell.peak) for cell in cells] == expected
    for cell in cells:
        assert anomaly_map[cell.at[1], cell.at[0]] == cell.peak
    assert len(top_cells(anomaly_map[:2, :2], n_cells=8)) == 4


def test_an_explanation_has_the_verdict_its_regions_cells_and_what_the_threshold_is_worth(
    bundle, images, tmp_path, capsys
):
    scorer = Scorer(bundle)
    drawn = {}
    for image in images:
        assert main(["explain", str(bundle), str(image), "--json", "--picture", str(tmp_path / "e.png")]) == 0
        report, verdict = json.loads(capsys.readouterr().out), scorer.score_image(image)
        assert report["verdict"] == ("reject" if verdict.anomalous else "pass")
        assert (report["p_value"], report["uncertain"]) == (verdict.p_value, verdict.uncertain)
        assert [tuple(region["box"]) for region in report["regions"]] == [region.box for region in verdict.regions]
        assert report["cells"][0]["peak"] == pytest.approx(float(verdict.anomaly_map.max()))
        assert len(report["cells"]) == 5
        assert report["threshold_record"] == scorer.record.sentence
        drawn[verdict.anomalous] = read_image(tmp_path / "e.png")
    assert not np.array_equal(drawn[True], drawn[False])
    rejected = next(image for image in images if scorer.score_image(image).anomalous)
    main(["explain", str(bundle), str(rejected)])
    said = capsys.readouterr().out
    assert f"{rejected}: reject, score " in said
    assert "region 1: " in said
    assert scorer.record.sentence in said
    (tmp_path / "broken.png").write_bytes(b"")
    assert main(["explain", str(bundle), str(tmp_path / "broken.png")]) == 3
