"""Fit a detector on many synthetic images within a budget of memory, and print what was forecast and what it took.

    python benchmarks/memory_budget.py patchcore --images 20000 --budget-mb 1000 --option bank_patches=5000

One process does it all, as the fit stage does: forecast, fit, then score a few images that it never saw. `peak_mb` is
the largest resident size of that process, Python and torch included, in megabytes of 1e6 bytes.
"""

import argparse
import json
import os
import platform
import time

import numpy as np
import torch

from gonogo.compute.memory import peak_bytes, resident_bytes
from gonogo.compute.versions import versions
from gonogo.detectors import DETECTORS, detector_with
from gonogo.detectors.contract import FitContext
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.detectors.training.forecast import MB
from gonogo.evaluation.speed.bench import cpu_name
from gonogo.model.fitting import forecast_fit, room_in
from gonogo.model.inspector import Inspector
from gonogo.params import build
from textures import SEED, Textures

N_SCORED = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", choices=list(DETECTORS))
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=256, help="pixels of an image's side")
    parser.add_argument("--budget-mb", type=float, default=None, help="fit.memory_budget_mb; none by default")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=JSON", help="an option of the detector")
    asked = parser.parse_args()
    options = {key: json.loads(value) for key, _, value in (option.partition("=") for option in asked.option)}
    detector = detector_with(asked.detector, build(DETECTOR_OPTIONS[asked.detector], options, where=asked.detector))
    inspector = Inspector(detector)
    images = Textures(inspector, asked.images, side=asked.side)

    before = resident_bytes()
    expected = forecast_fit(detector, images, budget_mb=asked.budget_mb)
    said = expected.sentence
    print(said, flush=True)
    start = time.perf_counter()
    detector.fit(images, seed=SEED, context=FitContext(room=room_in(asked.budget_mb)))
    seconds = time.perf_counter() - start
    unseen = Textures(inspector, N_SCORED, side=asked.side, first=asked.images)
    with torch.inference_mode():
        scores = [float(detector(image)[0]) for image in unseen]
    figures = {
        "detector": asked.detector,
        "options": options,
        "n_images": asked.images,
        "image_side": asked.side,
        "budget_mb": asked.budget_mb,
        "before_mb": before / MB,
        "peak_mb": peak_bytes() / MB,
        "fit_seconds": seconds,
        "forecast": said,
        "forecast_seconds": expected.seconds,
        "facts": detector.fit_facts(),
        "mean_score": float(np.mean(scores)),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "os": platform.system(),
        **versions("torch", "timm", "numpy"),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
