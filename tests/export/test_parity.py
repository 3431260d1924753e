"""Parity or no export: the ONNX file agrees at every size and batch, and a planted fault is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from conftest import MEASURED, modelled
from gonogo.detectors.contract import HasMemoryBank
from gonogo.errors import ConfigError, ParityError
from gonogo.evaluation.metric_table import is_known
from gonogo.export.graph import export_onnx
from gonogo.export.model_card import card_text
from gonogo.export.parity import Parity, ParityParams, ParityResult, check_parity
from gonogo.export.write_bundle import write_bundle
from gonogo.inference.scorer import open_session, run_matched, run_named, run_session
from gonogo.model.feature_space import feature_facts
from gonogo.model.saved import bundle_facts

PARAMS = ParityParams(
    tolerance=1e-4,
    batch_sizes=[1, 8],
    other_sizes=[[37, 21], [90, 64]],
    other_size_images=64,
    int8_auroc_change=0.01,
    int8_flips=0.02,
)


@pytest.fixture(scope="module")
def exported(inspector, digits, tmp_path_factory):
    """(model, path of its ONNX file) of each detector in turn."""
    folder = tmp_path_factory.mktemp("exported")
    model = modelled(inspector, digits, folder / "model")
    export_onnx(model.inspector, folder / "gauge.onnx", metadata=bundle_facts(model), opset=18)
    return model, folder / "gauge.onnx"


def few(manifest):
    """The manifest with every eighth image of calibrate and test, to keep the comparison short."""
    chosen = [record for record in manifest.records if record.role != "fit"][::8]
    return replace(manifest, records=tuple(chosen))


@pytest.mark.parametrize("size", [(8, 8), (33, 51), (90, 70)])
@pytest.mark.parametrize("batch", [1, 8])
def test_both_runtimes_agree_at_any_size_and_batch(exported, size, batch):
    model, path = exported
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, *size, 3), dtype=np.uint8)
    scores, maps = run_session(open_session(path), pixels)
    expected_scores, expected_maps = model.inspector.inspect(pixels)
    scale = np.abs(expected_scores).max()
    np.testing.assert_allclose(scores, expected_scores, atol=1e-4 * scale, rtol=0)
    np.testing.assert_allclose(maps, expected_maps, atol=1e-4 * scale, rtol=0)


def test_both_runtimes_name_the_same_good_patches_and_only_of_a_detector_with_a_bank(exported, pixels):
    model, path = exported
    session = open_session(path)
    score, anomaly_map, nearest = run_matched(session, pixels)
    for ours, theirs in zip(run_session(session, pixels), (score, anomaly_map), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if not isinstance(model.inspector.detector, HasMemoryBank):
        assert nearest is None
        return
    assert nearest.dtype == np.int64
    assert (
        nearest == model.inspector.inspect_with_nearest(pixels)[2]
    ).mean() > 0.98  # but for those that are equally near


def test_every_detector_with_one_backbone_gives_its_features_and_no_other_does(exported, pixels):
    model, path = exported
    inspector, session = model.inspector, open_session(path)
    backbones = inspector.detector.backbones()
    if not backbones:
        assert "features" not in {output.name for output in session.get_outputs()}
        assert feature_facts(inspector) is None
        return
    features = run_named(session, pixels[:3], "features")[2]
    with torch.inference_mode():
        layers = backbones[0](inspector.resized(torch.from_numpy(pixels[:3])))
    height, width = min(tuple(layer.shape[2:]) for layer in layers)
    ours = [F.interpolate(one, (height, width), mode="bilinear", antialias=True) for one in layers]
    expected = torch.cat(ours, dim=1).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())
    assert feature_facts(inspector) | {"space": ""} == {
        "space": "",
        "dims": features.shape[1],
        "cells": [height, width],
    }


def test_parity_of_real_images_allows_the_bundle(exported, digits, tmp_path):
    model, path = exported
    parity = check_parity(model, path, few(digits), PARAMS)
    assert {c.batch_size for c in parity.comparisons} == {1, 8}
    assert {c.size for c in parity.comparisons} == {"8 x 8", "37 x 21", "90 x 64"}
    write_bundle(tmp_path / "bundle", path, model, parity, digits, MEASURED)
    assert parity.metrics()["passed"] is True
    assert parity.metrics()["rank_agreement"] > 0.999
    assert all(map(is_known, parity.metrics()))
    written = json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())
    assert {"gauge.onnx", "parity.json", "model_card.md"} <= set(written["files"])
    card = (tmp_path / "bundle" / "model_card.md").read_text(encoding="utf-8")
    assert card == card_text({key: value for key, value in written.items() if key != "files"}, MEASURED)


def test_the_file_says_what_it_is(exported):
    model, path = exported
    props = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert json.loads(props["gonogo.threshold"]) == model.threshold.to_dict()
    assert json.loads(props["gonogo.regions"]) == model.rule.to_dict()
    assert json.loads(props["gonogo.category"]) == "digit_0"
    assert json.loads(props["gonogo.data_fingerprint"]) == model.manifest["data_fingerprint"]
    assert json.loads(props["gonogo.versions"])["torch"]


def test_an_export_is_the_same_bytes_again_and_tells_no_path_of_this_machine(exported, tmp_path):
    model, path = exported
    export_onnx(model.inspector, tmp_path / "gauge.onnx", metadata=bundle_facts(model), opset=18)
    content = path.read_bytes()
    assert content == (tmp_path / "gauge.onnx").read_bytes()
    for folder in (Path(__file__).parents[2], Path(torch.__file__).parents[1], Path.home()):
        assert str(folder).encode() not in content


def test_a_forest_of_any_number_of_trees_is_one_node_so_that_a_line_starts_at_once(fitted_once, tmp_path):
    forest = fitted_once("isolation_forest")
    assert len(forest.detector.forest().estimators_) > 1
    export_onnx(forest, tmp_path / "forest.onnx", metadata={}, opset=18)
    nodes = [node.op_type for node in onnx.load(tmp_path / "forest.onnx").graph.node]
    assert nodes.count("TreeEnsembleRegressor") == 1
    assert len(nodes) < 40


def shifted(path, target, *, by):
    """A copy of the ONNX file whose scores are larger `by` a constant."""
    proto = onnx.load(path)
    for node in proto.graph.node:
        node.output[:] = ["true_score" if name == "score" else name for name in node.output]
        node.input[:] = ["true_score" if name == "score" else name for name in node.input]
    proto.graph.initializer.append(onnx.helper.make_tensor("fault", onnx.TensorProto.FLOAT, [1], [by]))
    proto.graph.node.append(onnx.helper.make_node("Add", ["true_score", "fault"], ["score"]))
    onnx.save(proto, target)
    return target


def test_export_is_refused_when_scores_drift_beyond_the_tolerance(exported, digits, tmp_path):
    model, path = exported
    largest = max(abs(c.reference_score) for c in check_parity(model, path, few(digits), PARAMS).comparisons)
    faulty = shifted(path, tmp_path / "faulty.onnx", by=3e-4 * largest)
    parity = check_parity(model, faulty, few(digits), PARAMS)
    assert parity.metrics()["n_beyond_tolerance"] == len(parity.comparisons)
    with pytest.raises(ParityError, match=r"images/\w+\.png"):
        write_bundle(tmp_path / "bundle", faulty, model, parity, digits, MEASURED)
    assert not (tmp_path / "bundle").exists()


def test_export_is_refused_when_one_verdict_flips():
    same = [ParityResult(f"{i}.png", "8 x 8", 1, float(i), float(i), 0.0) for i in range(20)]
    flip = ParityResult("flip.png", "8 x 8", 1, 10.4999, 10.5001, 0.0)
    parity = Parity([*same, flip], threshold=10.5, tolerance=1e-4)
    assert parity.metrics()["n_beyond_tolerance"] == 0
    with pytest.raises(ParityError, match=r"the verdict flips on flip\.png"):
        parity.require_agreement()


def test_one_image_with_a_huge_score_does_not_excuse_the_others():
    usual = [ParityResult(f"{i}.png", "8 x 8", 1, 1.0 + i, 1.0 + i, 0.0) for i in range(9)]
    huge = ParityResult("huge.png", "8 x 8", 1, 1e9, 1e9 + 1e3, 0.0)
    drifted = ParityResult("drifted.png", "8 x 8", 1, 1.0, 1.01, 0.0)
    Parity([*usual, huge], threshold=50.0, tolerance=1e-4).require_agreement()
    with pytest.raises(ParityError, match=r"drifted\.png.*1 of 11"):
        Parity([*usual, huge, drifted], threshold=50.0, tolerance=1e-4).require_agreement()


def test_a_score_of_zero_is_measured_by_the_usual_score():
    usual = [ParityResult(f"{i}.png", "8 x 8", 1, 10.0, 10.0, 0.0) for i in range(9)]
    zero = ParityResult("zero.png", "8 x 8", 1, 0.0, 1e-5, 1e-5)
    assert Parity([*usual, zero], threshold=50.0, tolerance=1e-4).metrics()["score_max_diff_e6"] == pytest.approx(1.0)


def test_a_tolerance_that_the_thresholds_margin_does_not_cover_is_refused(exported, digits):
    model, path = exported
    with pytest.raises(ConfigError, match="must be below"):
        check_parity(model, path, few(digits), replace(PARAMS, tolerance=1e-3))


def test_a_score_that_is_not_a_number_is_refused_and_its_evidence_stays_finite():
    broken = [ParityResult("a.png", "8 x 8", 1, 1.0, float("nan"), float("nan"))]
    parity = Parity([*broken, ParityResult("b.png", "8 x 8", 1, 2.0, 2.0, 0.0)], 5.0, 1e-4)
    assert parity.metrics()["worst_image"] == "a.png"
    assert all(np.isfinite(v) for v in parity.metrics().values() if isinstance(v, float))
    with pytest.raises(ParityError, match=r"a\.png"):
        parity.require_agreement()
