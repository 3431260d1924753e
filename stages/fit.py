"""Fit a detector on good images and certify its threshold on others that it never saw."""

import time
from dataclasses import replace
from typing import Any

import torch
from dvclive.live import Live

import door
from gonogo.checkpoints import Checkpoints
from gonogo.cluster import connect
from gonogo.config import Params
from gonogo.detectors import DETECTORS
from gonogo.files import code_fingerprint, write_metrics
from gonogo.finetune import finetune_on_load
from gonogo.fit import FitParams, device_of, draw_shots
from gonogo.fit_images import FitImages
from gonogo.forecast import forecast, taken
from gonogo.inspection import inspect_calibrate
from gonogo.inspector import Inspector
from gonogo.manifest import Manifest, read_manifest
from gonogo.model import save_model, versions
from gonogo.regions import RegionParams
from gonogo.suspicious import score_fit_images, write_suspicious
from gonogo.threshold import CalibrateParams, certify


def main(category: str, params: Params) -> None:
    calibrate = params.values("calibrate", CalibrateParams)
    regions = params.values("regions", RegionParams)
    chosen = params.variant("fit", DETECTORS, FitParams)
    cluster = connect(chosen.values.cluster)
    manifest = read_manifest(door.path("prepared", category), params.raw, cluster=cluster)
    device = device_of("cpu" if cluster else chosen.values.device)
    inspector = Inspector(chosen.made, regions.inside, tiling=chosen.values.tiling).to(device)
    records = draw_shots(manifest.with_role("fit"), chosen.values.shots, seed=params.seed)
    images = FitImages(inspector, manifest, records, device=device, rotations=chosen.values.rotations)
    alone = FitImages(
        inspector, replace(manifest, cluster=None), records, device=device, rotations=chosen.values.rotations
    )
    expected = forecast(inspector.detector, alone, budget_mb=chosen.values.memory_budget_mb)
    helped = f"{cluster.n_workers} workers of Ray look at the images; alone, " if cluster else ""
    door.say(f"{category}: {helped}{expected.sentence}")
    origin = made_from(manifest, params)
    checkpoints = Checkpoints(door.path("checkpoints", category), origin)
    inspector.detector.checkpoints = checkpoints

    with Live(str(door.path("plots", "fit", category)), dvcyaml=None, save_dvc_exp=False, report=None) as live:

        def record(what: str, n_done: int, n_total: int, values: dict[str, float]) -> None:
            door.show_progress(what, n_done, n_total, values)
            for name, value in values.items():
                live.step = n_done
                live.log_metric(name, value)

        start = time.perf_counter()
        if chosen.values.finetune is not None:
            finetune_on_load(
                inspector.detector,
                images,
                chosen.values.finetune,
                seed=params.seed,
                checkpoints=Checkpoints(checkpoints.folder / "finetune", origin),  # removed with the others
                progress=record,
            )
        inspector.detector.fit(images, seed=params.seed, progress=record)
    costs = taken(start, expected)
    write_metrics(door.path("metrics", "fit", f"{category}.json"), costs)
    door.say(f"{category}: the fit took {costs['peak_memory_mb']:,.0f} MB at its peak and {costs['fit_s']:,.0f} s")
    inspector.cpu()  # whose scores are the reference

    images = FitImages(inspector, manifest, records, rotations=chosen.values.rotations)
    looked = score_fit_images(inspector, images, n_shown=chosen.values.suspicious, progress=door.show_progress)
    good, rule = inspect_calibrate(inspector, manifest, regions)
    threshold = certify(good.scores, good.groups, **vars(calibrate))
    save_model(
        door.path("models", category),
        inspector,
        threshold,
        rule,
        category=category,
        detector_name=chosen.name,
        options=chosen.options,
        data_fingerprint=manifest.fingerprint,
    )
    shown = door.path("plots", "suspicious")
    write_suspicious(shown, looked, manifest, category=category, threshold=threshold.threshold)
    checkpoints.remove()
    door.say(f"{category}: {looked.sentence(threshold.threshold)}")
    door.say(f"{category}: threshold {threshold.threshold:.4g}, {threshold.sentence}")


def made_from(manifest: Manifest, params: Params) -> dict[str, Any]:
    """All that a training depends on: a checkpoint of anything else is not taken up."""
    return {
        "data": manifest.fingerprint,
        "params": {"seed": params.seed, "fit": params.section("fit"), "regions": params.section("regions")},
        "code": code_fingerprint(),
        "versions": versions("torch", "timm", "numpy") | {"threads": torch.get_num_threads()},
    }


if __name__ == "__main__":
    door.run(main)
