"""The model card of a gauge: its certificate, its data, its results on the test images, and its limits.

Source: Mitchell et al. 2019, "Model Cards for Model Reporting", for what a card has to say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.evaluation.accuracy.operating_points import Rate, ScoresByKind, operating_points
from gonogo.evaluation.metric_table import ACCURACY
from gonogo.evaluation.tables import markdown_table, readable

HEADLINE_SEVERITY = 3
FEW_IMAGES = 30  # good or defective test images, below which a rate measured on them is called rough
BAD_RATE = 0.5  # a recall at or below it, or a false-alarm rate at or above it, is named among the limits


@dataclass(frozen=True)
class CategoryResults:
    """The results of one category that a model card shows.

    Attributes:
        prepare, evaluate: metrics files of these stages.
        rows: per-image records.
    """

    prepare: Mapping[str, Any]
    evaluate: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


def card_text(bundle: Mapping[str, Any], results: CategoryResults, robustness: Mapping[str, Any] | None = None) -> str:
    """The card as Markdown, the same text for the same gauge and metrics.

    Args:
        bundle: the bundle's manifest; `files` may not be there yet, as in the card that goes into the bundle.
        robustness: metrics of the robustness stage, which needs the finished bundle; None before that stage ran.
    """
    return "\n".join(_lines(bundle, results, robustness)) + "\n"


def _lines(bundle: Mapping[str, Any], results: CategoryResults, robustness: Mapping[str, Any] | None) -> Iterator[str]:
    category, evaluate = bundle["category"], results.evaluate
    record = ThresholdRecord.from_dict(bundle["threshold"])
    recall_by_type = _recall_by_type(results, record)
    yield f"# {category}: model card"
    yield ""
    yield f"A go/no-go gauge: it rejects a part of the category {category} that differs from good ones. It learned"
    yield "from good parts alone. The pipeline wrote this card from its own measurements."
    yield from ("", "## Certificate", "")
    sentence = record.sentence
    yield f"**{sentence[0].upper()}{sentence[1:]}.**"
    yield f"A part is rejected where its score is at or above {record.threshold:.6g}."
    yield from ("", "## Gauge", "")
    yield from markdown_table(["", "value"], list(_gauge(bundle)))
    yield from ("", "## Data", "")
    yield from markdown_table(["role", "images"], list(_roles(results.prepare)))
    yield ""
    yield f"Fingerprint of images, masks, roles and groups: `{evaluate['data_fingerprint']}`."
    yield from ("", "## Results on the test images", "")
    yield from markdown_table(["metric", "value", "interval", "trivial baseline"], list(_results(evaluate)))
    yield ""
    yield f"Intervals: {evaluate['interval_confidence']:.0%}, by bootstrap over parts."
    yield "The baseline is the distance to the mean good image."
    if "absent" in evaluate:
        yield f"Without a value on these images: {evaluate['absent']}."
    if "int8_flips" in bundle["parity"]:
        yield "The results are those of the gauge in floating point. This one computes in eight bits, with its own"
        yield f"threshold: the verdicts of {bundle['parity']['int8_flips']} test images differ."
    if recall_by_type:
        yield ""
        rows = [
            [name, f"{rate.k} of {rate.n}", f"{rate.low:.1%} to {rate.high:.1%}"]
            for name, rate in recall_by_type.items()
        ]
        yield from markdown_table(["defect type", "found", "exact interval"], rows)
    yield from ("", "## When conditions change", "")
    page = f"plots/model_cards/{category}.md"
    if robustness is None:
        yield f"This is measured with the finished bundle, after this card was written: see `{page}` in the project."
    else:
        changed = list(_robustness(robustness))
        yield f"Rates at the same threshold on test images that were changed, at severity {HEADLINE_SEVERITY} of 5."
        yield ""
        yield from markdown_table(["corruption", "false alarms", "recall"], changed) or ["Not measured."]
    yield from ("", "## Limits", "")
    yield from (f"- {limit}" for limit in _limits(bundle, record, evaluate, recall_by_type, robustness or {}))
    yield from ("", "## Reproduce", "", "```console")
    yield f"$ git checkout $(git log -1 --format=%H -- {page})"
    yield f"$ make run    # or, of this category alone: dvc repro robustness@{category} bench@{category}"
    yield "```"


def _recall_by_type(results: CategoryResults, record: ThresholdRecord) -> Mapping[str, Rate]:
    (point,) = operating_points(ScoresByKind.from_rows(results.rows), record, [results.evaluate["threshold"]])
    return point.recall_by_type


def _gauge(bundle: Mapping[str, Any]) -> Iterator[list[str]]:
    detector, parity = bundle["detector"], bundle["parity"]
    options = ", ".join(f"{key} {value}" for key, value in detector["options"].items())
    yield ["detector", f"`{detector['name']}`{f' ({options})' if options else ''}"]
    yield from ([name.replace("_", " "), readable(value)] for name, value in detector["facts"].items())
    yield ["input", f"{bundle['preprocessing']['input']}; {bundle['preprocessing']['resize']}"]
    yield from ([name, f"`{digest}`"] for name, digest in bundle.get("files", {}).items())
    proof = f"{parity['n_comparisons']} comparisons with the reference, {parity['n_flips']} verdicts flipped"
    yield ["parity", f"{proof}, scores within {parity['score_max_diff_e6']:.3g} millionths"]
    versions = {**bundle["versions"], **bundle["runtime"]}
    yield ["versions", ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))]


def _roles(counts: Mapping[str, Any]) -> Iterator[list[str]]:
    defective = counts["n_fit_defective"]
    yield ["fit", f"{counts['n_fit']}" + (f", {defective} of them defective on purpose" if defective else "")]
    yield ["calibrate", f"{counts['n_calibrate']} of {counts['n_calibrate_groups']} parts"]
    if counts.get("n_validate"):
        yield ["validate", f"{counts['n_validate']}"]
    yield ["test, good", f"{counts['n_test_good']}"]
    for name, count in counts.items():
        if name.startswith("n_test."):
            yield [f"test, {name.removeprefix('n_test.')}", f"{count}"]


def _results(metrics: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, metric in ACCURACY.items():
        if name in metrics:
            limits = [metrics.get(f"{name}_{end}") for end in ("low", "high")]
            interval = "" if None in limits else f"{limits[0]:.{metric.digits}f} to {limits[1]:.{metric.digits}f}"
            baseline = metrics.get(f"{name}_baseline")
            shown = "" if baseline is None else f"{baseline:.{metric.digits}f}"
            yield [metric.title, f"{metrics[name]:.{metric.digits}f}", interval, shown]


def _robustness(metrics: Mapping[str, Any]) -> Iterator[list[str]]:
    names = dict.fromkeys(
        name.partition(".")[2].rpartition("_")[0] for name in metrics if name.endswith(f"_{HEADLINE_SEVERITY}")
    )
    for name in ("none", *names):
        suffix = name if name == "none" else f"{name}_{HEADLINE_SEVERITY}"
        rates = [metrics.get(f"{rate}.{suffix}") for rate in ("false_alarm_rate", "recall")]
        if any(rate is not None for rate in rates):
            title = "unchanged" if name == "none" else name.replace("_", " ")
            yield [title, *("" if rate is None else f"{rate:.0%}" for rate in rates)]


def _limits(
    bundle: Mapping[str, Any],
    record: ThresholdRecord,
    evaluate: Mapping[str, Any],
    recall_by_type: Mapping[str, Rate],
    robustness: Mapping[str, Any],
) -> Iterator[str]:
    yield (
        "The certificate holds for parts that are drawn as the calibrate parts were. It does not cover other light, "
        "lenses, suppliers or cameras."
        if record.method == "holdout"
        else "No false-alarm rate is guaranteed: the method of calibration does not give one."
    )
    if record.more_groups_needed:
        yield f"To certify the wanted false-alarm rate, {record.more_groups_needed} more calibrate parts are needed."
    yield f"The verdict on {evaluate['uncertain_rate']:.1%} of the test images is flagged uncertain."
    for name, what in (("n_good", "good"), ("n_defective", "defective")):
        if evaluate[name] < FEW_IMAGES:
            yield f"There are only {evaluate[name]} {what} test images: the rate measured on them is rough."
    if evaluate["n_defective"]:
        yield "Recall was measured on the defect types above; nothing is known about other types."
    for name, rate in recall_by_type.items():
        if rate.value <= BAD_RATE:
            yield f"Only {rate.k} of {rate.n} defects of the type {name} were found."
    if not bundle["localises"]:
        yield "The detector does not show where a part differs."
    false_alarms, recall = (robustness.get(f"worst_{name}") for name in ("false_alarm_rate", "recall"))
    if false_alarms is not None and false_alarms >= BAD_RATE:
        corruption = robustness["worst_false_alarm_rate_corruption"]
        yield f"{false_alarms:.0%} of good parts are rejected under {corruption} of severity {HEADLINE_SEVERITY}."
    if recall is not None and recall <= BAD_RATE:
        corruption = robustness["worst_recall_corruption"]
        yield f"Only {recall:.0%} of defects are found under {corruption} of severity {HEADLINE_SEVERITY}."
    lift = evaluate.get("image_auroc_lift")
    if lift is not None and lift <= 0:
        yield "The gauge does not rank images better than the distance to the mean good image does."
    if bundle["detector"]["facts"].get("weights") == "random":
        yield "The backbone's weights are random, as params.yaml asks: these results do not apply to trained weights."
