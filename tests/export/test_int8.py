"""Eight bits: only convolutions are rounded, the gauge is certified anew, and one that judges otherwise is refused."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.metrics import roc_auc_score

from conftest import MEASURED, fitted, modelled
from gonogo.calibration.threshold import certify
from gonogo.errors import ConfigError, ExportError, ParityError
from gonogo.evaluation.metric_table import is_known
from gonogo.export.graph import export_onnx
from gonogo.export.int8 import judge_int8
from gonogo.export.parity import Parity, ParityParams, ParityResult, check_parity
from gonogo.export.quantise import CALIBRATION_IMAGES, FLOATS, calibration_images, quantise
from gonogo.export.write_bundle import write_bundle
from gonogo.inference.scorer import Scorer, open_session, run_session
from gonogo.model.saved import bundle_facts

ANY = ParityParams(1e-4, [1], [[9, 9], [30, 20]], 64, int8_auroc_change=1.0, int8_flips=1.0)


@pytest.fixture(scope="module")
def some(digits):
    """The digits with every sixth image of calibrate and test."""
    kept = [r for role in ("calibrate", "test") for r in digits.with_role(role)[::6]]
    return replace(digits, records=(*digits.with_role("fit")[:40], *kept))


@pytest.fixture(scope="module")
def gauge(some, tmp_path_factory):
    """(model, ONNX file, the same in eight bits) of a gauge with a small convolutional backbone."""
    folder = tmp_path_factory.mktemp("int8")
    model = modelled(fitted("padim", some), some, folder / "model")
    export_onnx(model.inspector, folder / "gauge.onnx", metadata=bundle_facts(model), opset=18)
    quantise(folder / "gauge.onnx", folder / "gauge_int8.onnx", calibration_images(some))
    return model, folder / "gauge.onnx", folder / "gauge_int8.onnx"


@pytest.fixture(scope="module")
def int8(gauge, some):
    return judge_int8(*gauge, some, ANY)


def scores_of(path, manifest, records):
    session = open_session(path)
    return np.array([float(run_session(session, manifest.pixels_of(r)[None])[0][0]) for r in records])


def test_every_convolution_after_the_first_few_is_in_bytes_and_nothing_else_that_multiplies(gauge):
    _, float_path, int8_path = gauge
    graph = onnx.load(int8_path).graph
    made_by = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    first, others = convolutions[:FLOATS], convolutions[FLOATS:]
    assert len(convolutions) == sum(node.op_type == "Conv" for node in onnx.load(float_path).graph.node)
    assert all(node.input[1] in constants for node in first)
    assert others
    for node in others:
        seen, weights = (made_by[name] for name in node.input[:2])
        assert (seen.op_type, weights.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert constants[weights.input[0]].data_type == onnx.TensorProto.INT8
        values = onnx.numpy_helper.to_array(constants[weights.input[0]])
        assert np.abs(values.astype(int)).max() <= 64  # seven bits: no processor's sum of two products overflows
        assert constants[weights.input[1]].dims == [len(values)]  # a scale per channel
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm"):
            assert "DequantizeLinear" not in {made_by[name].op_type for name in node.input if name in made_by}


def test_it_is_the_same_bytes_again(gauge, some, tmp_path):
    _, float_path, int8_path = gauge
    quantise(float_path, tmp_path / "again.onnx", calibration_images(some))
    assert (tmp_path / "again.onnx").read_bytes() == int8_path.read_bytes()


def test_ranges_are_learnt_from_fit_images_alone_and_from_no_more_than_are_needed(digits):
    seen = list(calibration_images(digits))
    of_fit = {digits.pixels_of(record).tobytes() for record in digits.with_role("fit")}
    assert 0.5 * CALIBRATION_IMAGES < len(seen) <= CALIBRATION_IMAGES < len(digits.with_role("fit"))
    assert {pixels.tobytes() for pixels in seen} <= of_fit


def test_its_threshold_is_certified_by_its_own_scores_of_the_calibrate_images(gauge, some, int8):
    model, _, int8_path = gauge
    records = some.with_role("calibrate")
    scores = scores_of(int8_path, some, records)
    certificate = model.threshold
    expected = certify(
        scores,
        [record.group_id for record in records],
        false_alarm_rate=certificate.target_false_alarm_rate,
        confidence=certificate.confidence,
        margin=certificate.margin,
    )
    assert int8.threshold == replace(
        expected, calibrate_fingerprint=certificate.calibrate_fingerprint, date=certificate.date
    )
    assert int8.threshold.threshold != certificate.threshold
    assert int8.rule.params == model.rule.params
    assert int8.rule.threshold.threshold != model.rule.threshold.threshold


def test_one_that_was_not_calibrated_on_held_out_images_is_refused(gauge, some):
    model, float_path, int8_path = gauge
    model = replace(model, threshold=replace(model.threshold, method="cross"))
    with pytest.raises(ConfigError, match=r"calibrate.method is 'cross'"):
        judge_int8(model, float_path, int8_path, some, ANY)


def test_flips_and_change_of_auroc_are_those_of_the_test_images(gauge, some, int8):
    model, float_path, int8_path = gauge
    records = some.with_role("test")
    before, after = (scores_of(path, some, records) for path in (float_path, int8_path))
    labels = [record.label for record in records]
    flips = (before >= model.threshold.threshold) != (after >= int8.threshold.threshold)
    metrics = int8.metrics()
    assert all(map(is_known, metrics))
    assert metrics["int8_auroc_change"] == pytest.approx(roc_auc_score(labels, after) - roc_auc_score(labels, before))
    assert (metrics["int8_flips"], metrics["int8_flip_share"]) == (flips.sum(), pytest.approx(flips.mean()))
    assert not np.array_equal(before, after)
    np.testing.assert_allclose(after, before, rtol=0.3)


@pytest.fixture
def judged(int8):
    """By hand: of ten test images one verdict flips, and the image AUROC falls from 1 to 0.96."""
    before = np.array([1.0, 1.1, 1.2, 1.3, 1.4, 2.1, 2.2, 2.3, 2.4, 2.5])
    after = before.copy()
    after[5:7] = 1.35, 1.95  # the second stays above the threshold of its own gauge
    return replace(
        int8,
        threshold=replace(int8.threshold, threshold=1.9),
        float_threshold=2.0,
        images=[f"{number}.png" for number in range(10)],
        labels=np.arange(10) >= 5,
        float_scores=before,
        int8_scores=after,
    )


@pytest.mark.parametrize(
    ("flips", "change", "message"),
    [
        (0.0, 1.0, r"flips on 1 of 10 test images, 0.1 of them, .*int8_flips allows 0; the first is 5.png: 2.1 of 2 "),
        (0.09, 1.0, "int8_flips allows 0.09"),
        (0.1, 0.03, r"AUROC changes by -0\.0400, parity.int8_auroc_change allows a fall of 0.03"),
        (0.1, 0.05, None),
    ],
)
def test_it_is_refused_beyond_either_tolerance(judged, flips, change, message):
    judged = replace(judged, params=replace(ANY, int8_flips=flips, int8_auroc_change=change))
    if message is None:
        judged.require_agreement()
        return
    with pytest.raises(ParityError, match=message):
        judged.require_agreement()


def test_a_higher_auroc_is_no_reason_to_refuse_and_without_defects_there_is_none(judged):
    better = replace(judged, float_scores=judged.int8_scores, int8_scores=judged.float_scores)
    replace(better, params=replace(ANY, int8_auroc_change=0.0)).require_agreement()
    good = replace(judged, labels=np.zeros(10, dtype=bool))
    assert "int8_auroc_change" not in good.metrics()
    good.require_agreement()


def test_the_bundle_judges_in_eight_bits_by_its_own_threshold_and_says_so_inside_and_outside(
    gauge, some, int8, tmp_path
):
    model, float_path, int8_path = gauge
    parity = check_parity(model, float_path, some, ANY)
    write_bundle(tmp_path / "bundle", int8_path, model, parity, some, MEASURED, int8)
    scorer = Scorer(tmp_path / "bundle")
    verdicts = [scorer.score_image(some.path_of(record)) for record in some.with_role("test")]
    assert [verdict.score for verdict in verdicts] == int8.int8_scores.tolist()
    assert scorer.threshold == int8.threshold.threshold
    assert scorer.rule == int8.rule
    assert scorer.manifest["parity"]["int8_flips"] == int(int8.flips.sum())
    card = (tmp_path / "bundle" / "model_card.md").read_text(encoding="utf-8")
    assert f"the verdicts of {int8.flips.sum()} test images differ" in card
    props = onnxruntime.InferenceSession(tmp_path / "bundle" / "gauge.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(props["gonogo.threshold"]) == int8.threshold.to_dict()
    assert json.loads(props["gonogo.regions"]) == int8.rule.to_dict()
    assert json.loads(props["gonogo.category"]) == "digit_0"


def test_no_bundle_is_written_where_either_proof_fails(gauge, some, int8, judged, tmp_path):
    model, _, int8_path = gauge
    agreeing = ParityResult("a.png", "8 x 8", 1, reference_score=2.0, onnx_score=2.0, map_difference=0.0)
    fails = replace(judged, params=replace(ANY, int8_flips=0.0))
    with pytest.raises(ParityError, match="int8_flips"):
        write_bundle(tmp_path / "bundle", int8_path, model, Parity([agreeing], 1.0, 1e-4), some, MEASURED, fails)
    flipped = replace(agreeing, onnx_score=0.5)
    with pytest.raises(ParityError, match=r"reference score 2, onnxruntime 0\.5"):
        write_bundle(tmp_path / "bundle", int8_path, model, Parity([flipped], 1.0, 1e-4), some, MEASURED, int8)
    assert not (tmp_path / "bundle").exists()


def test_a_gauge_without_convolutions_cannot_be_put_into_eight_bits(digits_model, digits, tmp_path):
    export_onnx(digits_model.inspector, tmp_path / "gauge.onnx", metadata={}, opset=18)
    with pytest.raises(ExportError, match=r"export\.int8 is true, but the graph has no convolution to quantise"):
        quantise(tmp_path / "gauge.onnx", tmp_path / "int8.onnx", calibration_images(digits))
    assert not (tmp_path / "int8.onnx").exists()
