"""The model card of a gauge: what it is, what it was made of, what it does, and what may not be asked of it.

Source: Mitchell et al. 2019, "Model Cards for Model Reporting", for what a card has to say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.changes import markdown_table, readable
from gonogo.files import write_text
from gonogo.operating_points import Rate, ScoresByKind, operating_points
from gonogo.threshold_record import ThresholdRecord

HEADLINE_SEVERITY = 3
RESULTS = (
    ("image_auroc", "image AUROC"),
    ("image_ap", "image AP"),
    ("pixel_auroc", "pixel AUROC"),
    ("pixel_ap", "pixel AP"),
    ("aupro_30", "AUPRO@0.30"),
    ("aupro_05", "AUPRO@0.05"),
    ("seg_f1", "F1 of marked pixels"),
    ("recall", "recall"),
    ("false_alarm_rate", "false-alarm rate"),
    ("precision", "precision"),
    ("f1", "F1"),
)
FEW, BAD = 30, 0.5  # test images of a kind; a recall or a false-alarm rate under changed conditions


@dataclass(frozen=True)
class Card:
    """What the pipeline found out about one category.

    Attributes:
        bundle: the manifest of its bundle.
        prepare, evaluate, parity, robustness: its metrics files.
        rows: its per-image records.
    """

    category: str
    bundle: Mapping[str, Any]
    prepare: Mapping[str, Any]
    evaluate: Mapping[str, Any]
    parity: Mapping[str, Any]
    robustness: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    @property
    def record(self) -> ThresholdRecord:
        """What is known of its threshold."""
        return ThresholdRecord.from_dict(self.bundle["threshold"])


def write_model_card(path: Path, card: Card) -> None:
    """Write the card as Markdown, the same bytes for the same gauge and metrics."""
    write_text(path, "\n".join(_lines(card)) + "\n")


def _lines(card: Card) -> Iterator[str]:
    record = card.record
    yield f"# {card.category}: model card"
    yield ""
    yield f"A go/no-go gauge: it rejects a part of the category {card.category} that differs from good ones. It learned"
    yield "good parts alone. What follows was written by the pipeline from what it measured."
    yield from ("", "## Certificate", "")
    sentence = record.sentence
    yield f"**{sentence[0].upper()}{sentence[1:]}.**"
    yield f"A part is rejected where its score is at or above {record.threshold:.6g}."
    yield from ("", "## Gauge", "")
    yield from markdown_table(["", "value"], list(_gauge(card)))
    yield from ("", "## Data", "")
    yield from markdown_table(["role", "images"], list(_roles(card)))
    yield ""
    yield f"Fingerprint of images, masks, roles and groups: `{card.evaluate['data_fingerprint']}`."
    yield from ("", "## Results on the test images", "")
    yield from markdown_table(["metric", "value", "interval", "trivial baseline"], list(_results(card.evaluate)))
    yield ""
    yield f"Intervals: {card.evaluate['interval_confidence']:.0%}, by bootstrap over parts."
    yield "The baseline is the distance to the mean good image."
    if "absent" in card.evaluate:
        yield f"Without a value on these images: {card.evaluate['absent']}."
    rates = _recall_by_type(card)
    if rates:
        yield ""
        rows = [[name, f"{rate.k} of {rate.n}", f"{rate.low:.1%} to {rate.high:.1%}"] for name, rate in rates.items()]
        yield from markdown_table(["defect type", "found", "exact interval"], rows)
    yield from ("", "## When conditions change", "")
    changed = list(_robustness(card.robustness))
    yield f"At the same threshold, test images changed in known ways, at severity {HEADLINE_SEVERITY} of 5."
    yield ""
    yield from markdown_table(["corruption", "false alarms", "recall"], changed) or ["Not measured."]
    yield from ("", "## Limits", "")
    yield from (f"- {limit}" for limit in _limits(card, record))
    yield from ("", "## Reproduce", "", "```console")
    name = f"plots/model_cards/{card.category}.md"
    yield f"$ git checkout $(git log -1 --format=%H -- {name})"
    yield f"$ make run    # or, of this category alone: dvc repro robustness@{card.category} bench@{card.category}"
    yield "```"


def _recall_by_type(card: Card) -> Mapping[str, Rate]:
    (point,) = operating_points(ScoresByKind.of(card.rows), card.record, [card.record.threshold])
    return point.recall_by_type


def _gauge(card: Card) -> Iterator[list[str]]:
    detector, versions = card.bundle["detector"], {**card.bundle["versions"], **card.bundle["runtime"]}
    options = ", ".join(f"{key} {value}" for key, value in detector["options"].items())
    yield ["detector", f"`{detector['name']}`{f' ({options})' if options else ''}"]
    yield from ([name.replace("_", " "), readable(value)] for name, value in detector["facts"].items())
    yield ["input", f"{card.bundle['preprocessing']['input']}; {card.bundle['preprocessing']['resize']}"]
    yield from ([name, f"`{digest}`"] for name, digest in card.bundle["files"].items())
    proof = f"{card.parity['n_comparisons']} comparisons with the reference, {card.parity['n_flips']} verdicts flipped"
    yield ["parity", f"{proof}, scores within {card.parity['score_max_diff_e6']:.3g} millionths"]
    yield ["versions", ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))]


def _roles(card: Card) -> Iterator[list[str]]:
    counts = card.prepare
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
    for name, title in RESULTS:
        if name in metrics:
            limits = [metrics.get(f"{name}_{end}") for end in ("low", "high")]
            interval = "" if None in limits else f"{limits[0]:.3f} to {limits[1]:.3f}"
            baseline = metrics.get(f"{name}_baseline")
            yield [title, f"{metrics[name]:.3f}", interval, "" if baseline is None else f"{baseline:.3f}"]


def _robustness(metrics: Mapping[str, Any]) -> Iterator[list[str]]:
    names = dict.fromkeys(
        name.partition(".")[2].rpartition("_")[0] for name in metrics if name.endswith(f"_{HEADLINE_SEVERITY}")
    )
    for name in ("none", *names):
        suffix = name if name == "none" else f"{name}_{HEADLINE_SEVERITY}"
        found = [metrics.get(f"{rate}.{suffix}") for rate in ("false_alarm_rate", "recall")]
        if any(rate is not None for rate in found):
            title = "as they are" if name == "none" else name.replace("_", " ")
            yield [title, *("" if rate is None else f"{rate:.0%}" for rate in found)]


def _limits(card: Card, record: ThresholdRecord) -> Iterator[str]:
    yield (
        "The certificate speaks of parts drawn as the calibrate parts were. Other light, lenses, suppliers or cameras "
        "are not covered."
        if record.method == "holdout"
        else "No false-alarm rate is guaranteed: the method of calibration does not give one."
    )
    if record.more_groups_needed:
        yield f"The wanted false-alarm rate takes {record.more_groups_needed} more good parts to calibrate."
    yield f"{card.evaluate['uncertain_rate']:.1%} of the test images lie where the verdict is flagged uncertain."
    for name, what in (("n_good", "good"), ("n_defective", "defective")):
        if card.evaluate[name] < FEW:
            yield f"Only {card.evaluate[name]} {what} test images: what was measured on them is rough."
    if card.evaluate["n_defective"]:
        yield "Recall was measured on the defect types above; of other types nothing is known."
    for name, rate in _recall_by_type(card).items():
        if rate.value <= BAD:
            yield f"Of the defect type {name}, {rate.k} of {rate.n} were found."
    if not card.bundle["localises"]:
        yield "The detector does not say where a part differs."
    false_alarms, recall = (card.robustness.get(f"worst_{name}") for name in ("false_alarm_rate", "recall"))
    if false_alarms is not None and false_alarms >= BAD:
        corruption = card.robustness["worst_false_alarm_rate_corruption"]
        yield f"Of good parts {false_alarms:.0%} are rejected under {corruption} of severity {HEADLINE_SEVERITY}."
    if recall is not None and recall <= BAD:
        corruption = card.robustness["worst_recall_corruption"]
        yield f"Of defects {recall:.0%} are found under {corruption} of severity {HEADLINE_SEVERITY}."
    lift = card.evaluate.get("image_auroc_lift")
    if lift is not None and lift <= 0:
        yield "It does not rank images better than the distance to the mean good image."
    if card.bundle["detector"]["facts"].get("weights") == "random":
        yield "The backbone's weights are random, by request: nothing here says anything about trained weights."
