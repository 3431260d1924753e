"""Gather the categories of this run, and only those, into one summary and one report page."""

import entry_point
from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.route import ROUTER, LeftOut
from gonogo.compute.versions import versions
from gonogo.evaluation.accuracy.resampling import load_resampled
from gonogo.evaluation.accuracy.summary import Scored, mean_headline, summarise, summary_intervals
from gonogo.export.model_card import CategoryResults, card_text
from gonogo.files import read_json, read_rows, read_sealed, sha256_of, write_json, write_metrics, write_text
from gonogo.params import Params
from gonogo.reports.report import CategoryReport, read_studies, read_tunings, retrieval_of, write_report

COMPUTE = ("numpy", "onnxruntime", "pillow", "scikit-learn", "timm", "torch")  # the packages that compute


def main(params: Params) -> None:
    categories = [report_of(category) for category in params.categories]
    summary = summarise({c.name: c.evaluate for c in categories}, {c.name: c.parity for c in categories})
    intervals = summary_intervals(
        {c.name: c.evaluate for c in categories},
        {c.name: Scored.of(c.rows) for c in categories},
        {c.name: load_resampled(entry_point.path("resampled", f"{c.name}.npz")) for c in categories},
    )
    summary |= intervals
    write_metrics(entry_point.path("metrics", "summary.json"), summary)
    headlines = {c.name: read_json(entry_point.path("metrics", "headline", f"{c.name}.json")) for c in categories}
    write_metrics(entry_point.path("metrics", "mean.json"), mean_headline(headlines))
    write_json(entry_point.path("metrics", "origin.json"), origin(categories))
    studies = read_studies(entry_point.path("searches"))
    left_out = [LeftOut(**one) for one in read_sealed(entry_point.path("set", ROUTER))["left_out"]]
    tunings = read_tunings(entry_point.path("searches"))
    retrieval = retrieval_of(read_json(entry_point.path("metrics", "retrieve.json")), params.categories)
    write_report(entry_point.path("reports", "index.html"), summary, categories, studies, left_out, tunings, retrieval)
    for category in categories:
        write_text(entry_point.path("plots", "model_cards", f"{category.name}.md"), model_card_of(category))
    if "image_auroc.mean" in summary:
        mean, worst = summary["image_auroc.mean"], summary["image_auroc.worst"]
        low, high = (intervals[f"image_auroc.mean_{side}"] for side in ("low", "high"))
        entry_point.say(
            f"image AUROC: mean {mean:.3f} [{low:.3f}, {high:.3f}], worst {worst:.3f} "
            f"({summary['image_auroc.worst_category']})"
        )
    entry_point.say(f"open {entry_point.path('reports', 'index.html').resolve().as_uri()}")


def origin(categories: list[CategoryReport]) -> dict[str, dict[str, str]]:
    """What the results of this run were made with: data by category, code by stage, packages."""
    return {
        "data": {category.name: category.evaluate["data_fingerprint"] for category in categories},
        "code": {file.stem: sha256_of(file) for file in sorted(entry_point.path("code").glob("*.txt"))},
        "versions": versions(*COMPUTE),
    }


def report_of(category: str) -> CategoryReport:
    prepare, evaluate, parity, bench = (
        read_json(entry_point.path("metrics", stage, f"{category}.json"))
        for stage in ("prepare", "evaluate", "parity", "bench")
    )
    return CategoryReport(
        name=category,
        prepare=prepare,
        evaluate=evaluate,
        parity=parity,
        bench=bench,
        rows=read_rows(entry_point.path("plots", "records", f"{category}.csv")),
        robustness=read_json(entry_point.path("metrics", "robustness", f"{category}.json")),
        robustness_rows=read_rows(entry_point.path("plots", "robustness", f"{category}.csv")),
        sheet=entry_point.path("plots", "sheets", f"{category}.png"),
        fit_rows=read_rows(entry_point.path("plots", "left_out", f"{category}.csv")),
        fit_sheet=entry_point.path("plots", "left_out", f"{category}.png"),
        record=ThresholdRecord.from_dict(read_sealed(entry_point.path("bundles", category))["threshold"]),
        strip=read_json(entry_point.path("plots", "parts", f"{category}.json")),
    )


def model_card_of(category: CategoryReport) -> str:
    bundle = read_sealed(entry_point.path("bundles", category.name))
    return card_text(bundle, CategoryResults(category.prepare, category.evaluate, category.rows), category.robustness)


if __name__ == "__main__":
    entry_point.guard(lambda: main(Params(entry_point.PARAMS)), label="summary")
