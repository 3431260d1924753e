"""Fit a detector on good images and certify its threshold on others that it never saw."""

import time
from dataclasses import replace

import numpy as np
from dvclive.live import Live

import entry_point
from gonogo.calibration.fit_probability import fit_probability
from gonogo.calibration.regions import RegionParams, RegionRule
from gonogo.calibration.threshold import CalibrateParams, threshold_of
from gonogo.compute.cluster import connect
from gonogo.compute.progress import no_progress
from gonogo.detectors import DETECTORS
from gonogo.detectors.training.forecast import fit_costs, forecast
from gonogo.files import today, write_metrics
from gonogo.images.dataset import Dataset, Record, read_dataset
from gonogo.model.cross import cross_inspect, folds_of
from gonogo.model.fit import FitParams, draw_shots
from gonogo.model.fit_images import FitImages
from gonogo.model.fitting import Fitting
from gonogo.model.inspection import Inspection, inspect_calibrate, inspect_records, score_fit_images
from gonogo.model.inspector import Inspector
from gonogo.model.saved import save_model
from gonogo.params import Params
from gonogo.reports.calibration_page import write_calibration_page
from gonogo.reports.left_out_sheet import write_left_out


def main(category: str, params: Params) -> None:
    chosen = params.variant("fit", DETECTORS, FitParams)
    cluster = connect(chosen.values.cluster)
    dataset = read_dataset(entry_point.path("prepared", category), params.raw, cluster=cluster)
    calibrate = params.values("calibrate", CalibrateParams)
    regions = params.values("regions", RegionParams)
    fitting = Fitting(dataset, params, chosen.values, regions, entry_point.path("checkpoints", category))
    # Crosswise, good images are fitted on and calibrated on, though never by the same gauge.
    roles = ("fit", "calibrate") if calibrate.method == "cross" else ("fit",)
    records = draw_shots(dataset.with_role(*roles), chosen.values.shots, seed=params.seed)
    inspector, images = fitting.prepared(chosen.made, records)
    expected = forecast(inspector.detector, images.alone(), budget_mb=chosen.values.memory_budget_mb)
    helped = f"{cluster.n_workers} workers of Ray look at the images; alone, " if cluster else ""
    entry_point.say(f"{category}: {helped}{expected.sentence}")
    with Live(str(entry_point.path("plots", "fit", category)), dvcyaml=None, save_dvc_exp=False, report=None) as live:

        def record(what: str, n_done: int, n_total: int, values: dict[str, float]) -> None:
            entry_point.show_progress(what, n_done, n_total, values)
            for name, value in values.items():
                live.step = n_done
                live.log_metric(name, value)

        start = time.perf_counter()
        fitting.fit(inspector, images, record)
    costs = fit_costs(start, expected)
    write_metrics(entry_point.path("metrics", "fit", f"{category}.json"), costs)
    entry_point.say(
        f"{category}: the fit took {costs['peak_memory_mb']:,.0f} MB at its peak and {costs['fit_s']:,.0f} s"
    )

    images = FitImages(inspector, dataset, records, rotations=chosen.values.rotations)
    looked = score_fit_images(inspector, images, n_shown=chosen.values.left_out, progress=entry_point.show_progress)
    if calibrate.method == "cross":
        good, rule = calibrated_crosswise(fitting, inspector, records, calibrate.folds)
    else:
        good, rule = inspect_calibrate(inspector, dataset, regions)
    threshold = replace(
        threshold_of(good.scores, good.groups, calibrate, seed=params.seed),
        calibrate_fingerprint=dataset.fingerprint_of(good.records),
        date=today(),
    )
    validated = validate(inspector, dataset)
    probability = None
    if calibrate.probability is not None:
        probability = fit_probability(
            np.concatenate([good.scores, validated.scores[~validated.labels]]),
            validated.scores[validated.labels],
            method=calibrate.probability,
            defect_rate=calibrate.defect_rate,
        )
    save_model(
        entry_point.path("models", category),
        inspector,
        threshold,
        rule,
        category=category,
        detector_name=chosen.name,
        options=chosen.options,
        data_fingerprint=dataset.fingerprint,
        fitted_on=[record.path for record in records],
        rotations=chosen.values.rotations,
        calibrated_on=good.score_rows(),
        validated_on=validated.score_rows(),
        probability=probability,
    )
    shown = entry_point.path("plots", "left_out")
    write_left_out(shown, looked, dataset, category=category, threshold=threshold.threshold)
    write_calibration_page(entry_point.path("plots", "calibration", f"{category}.html"), threshold, category=category)
    fitting.forget()
    entry_point.say(f"{category}: {looked.sentence(threshold.threshold)}")
    entry_point.say(f"{category}: threshold {threshold.threshold:.4g}, {threshold.sentence}")


def calibrated_crosswise(
    fitting: Fitting, inspector: Inspector, records: list[Record], n_folds: int
) -> tuple[Inspection, RegionRule]:
    """Scores of the fit's good images, each by a gauge that was fitted on the other folds."""

    def fit(others: list[Record], number: int) -> Inspector:
        entry_point.show_progress("folds", number, n_folds, {})
        detector = fitting.params.variant("fit", DETECTORS, FitParams).made
        return fitting.fit(*fitting.prepared(detector, others), no_progress, fold=number)

    good = [record for record in records if record.label == 0]
    folds = folds_of(good, n_folds, seed=fitting.params.seed)
    localises = inspector.detector.localises
    return cross_inspect(fit, fitting.dataset, folds, fitting.regions, localises=localises)


def validate(inspector: Inspector, dataset: Dataset) -> Inspection:
    """Scores of the labelled images that were set aside, if any were."""
    records = [record for record in dataset.records if record.role == "validate"]
    return inspect_records(inspector, dataset, records)


if __name__ == "__main__":
    entry_point.run(main)
