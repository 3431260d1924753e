"""Fit a detector on many synthetic images within a budget of memory, and print what was forecast and what it took.

    python benchmarks/memory_budget.py patchcore --images 20000 --budget-mb 1000 --option bank_patches=5000

One process does it all, as the fit stage does: forecast, fit, then score a few images that it never saw. `peak_mb` is
the largest resident size of that process, Python and torch included, in megabytes of 1e6 bytes. An image is made from
its number when its turn comes, so that neither disk nor memory holds more than one.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gonogo.bench import cpu_name
from gonogo.config import build
from gonogo.detectors import DETECTORS
from gonogo.detectors.contract import Detector
from gonogo.forecast import MB, forecast
from gonogo.inspector import Inspector
from gonogo.model import versions
from gonogo.process import peak_bytes, resident_bytes

SEED = 17
N_SCORED = 20


class Textures(Sequence[Tensor]):
    """Pixels (1, 3, s, s) of images with numbers from `first` on: a texture, moved, lit and blurred by chance."""

    def __init__(self, inspector: Inspector, n: int, *, side: int, first: int = 0) -> None:
        self.inspector, self.n, self.side, self.first = inspector, n, side, first
        rng = np.random.default_rng(SEED)
        rows, columns = np.mgrid[: 2 * side, : 2 * side]
        waves = np.sin(rows / 7) * np.cos(columns / 11) + 0.5 * np.sin((rows + columns) / 3)
        self.texture = 120 + 25 * waves[..., None] + rng.normal(0, 12, (2 * side, 2 * side, 3))

    def __len__(self) -> int:
        return self.n

    @torch.inference_mode()
    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # only an int: nobody slices it
        if not 0 <= index < self.n:
            raise IndexError(index)
        rng = np.random.default_rng([SEED, self.first + index])
        top, left = rng.integers(0, self.side, 2)
        window = self.texture[top : top + self.side, left : left + self.side]
        pixels = window * rng.normal(1, 0.05) + rng.normal(0, 6, window.shape)
        return self.inspector.resized(torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))[None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", choices=list(DETECTORS))
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=256, help="pixels of an image's side")
    parser.add_argument("--budget-mb", type=float, default=None, help="fit.memory_budget_mb; none by default")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=JSON", help="an option of the detector")
    asked = parser.parse_args()
    options = {key: json.loads(value) for key, _, value in (option.partition("=") for option in asked.option)}
    detector: Detector = build(DETECTORS[asked.detector], options, where=asked.detector)
    inspector = Inspector(detector)
    images = Textures(inspector, asked.images, side=asked.side)

    before = resident_bytes()
    expected = forecast(detector, images, budget_mb=asked.budget_mb)
    said = expected.sentence
    print(said, flush=True)
    start = time.perf_counter()
    detector.fit(images, seed=SEED)
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
        "facts": detector.facts(),
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
