"""Fit a detector on good images and certify its threshold on others that it never saw."""

import time

import entry_point
from gonogo.calibration.regions import RegionParams
from gonogo.calibration.threshold import CalibrateParams
from gonogo.compute.cluster import connect
from gonogo.compute.live import open_live
from gonogo.files import write_metrics, write_rows
from gonogo.images.dataset import read_dataset
from gonogo.model.fit_images import FitImages
from gonogo.model.fit_params import fit_section
from gonogo.model.fitting import Fitting, fit_costs
from gonogo.model.inspection import score_fit_images
from gonogo.model.left_out import COLUMNS, save_left_out
from gonogo.params import Params


def main(category: str, params: Params) -> None:
    chosen = fit_section(params)
    calibrate, regions = params.values("calibrate", CalibrateParams), params.values("regions", RegionParams)
    cluster = connect(chosen.values.cluster)
    dataset = read_dataset(entry_point.path("prepared", category), params.raw, cluster=cluster)
    fitting = Fitting(dataset, chosen, calibrate, regions, params.seed, entry_point.path("checkpoints", category))
    inspector, images = fitting.start(fitting.records)
    # Open before the forecast: it imports DVC, which the process that is measured is to have already.
    with open_live(entry_point.path("plots", "fit", category)) as live:

        def log(what: str, n_done: int, n_total: int, values: dict[str, float]) -> None:
            entry_point.show_progress(what, n_done, n_total, values)
            for name, value in values.items():
                live.step = n_done
                live.log_metric(name, value)

        expected = fitting.forecast(inspector, images)
        forecast_mb = expected.peak_mb
        by_workers = f"{cluster.n_workers} workers of Ray process the images; without them, " if cluster else ""
        entry_point.say(f"{category}: {by_workers}{expected.sentence}")
        start = time.perf_counter()
        fitting.fit(inspector, images, log)
    costs = fit_costs(start) | {"forecast_mb": forecast_mb}
    metrics = costs | {"data_fingerprint": dataset.fingerprint}
    write_metrics(entry_point.path("metrics", "fit", f"{category}.json"), metrics)
    entry_point.say(
        f"{category}: the fit took {costs['peak_memory_mb']:,.0f} MB at its peak and {costs['fit_s']:,.0f} s"
    )
    images = FitImages(inspector, dataset, fitting.records, rotations=chosen.values.rotations)
    left_out = score_fit_images(inspector, images, n_shown=chosen.values.left_out, progress=entry_point.show_progress)
    calibration = fitting.certify(inspector, entry_point.show_progress)
    fitting.save(entry_point.path("models", category), inspector, calibration, category=category)
    threshold = calibration.threshold
    save_left_out(entry_point.path("left_out", f"{category}.npz"), left_out)
    write_rows(entry_point.path("plots", "left_out", f"{category}.csv"), left_out.rows(), COLUMNS)
    fitting.remove_checkpoints()
    entry_point.say(f"{category}: {left_out.sentence}")
    entry_point.say(f"{category}: threshold {threshold.threshold:.4g}, {threshold.sentence}")
    if warning := calibration.highest.warning:
        entry_point.say(f"{category}: WARNING: {warning}; the report's page of the calibration shows these parts")


if __name__ == "__main__":
    entry_point.run(main)
