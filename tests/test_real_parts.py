"""On real parts, where their images lie beside the project: the numbers that a PatchCore must reach."""

from pathlib import Path

import numpy as np
import pytest

from gonogo.detectors.patchcore import PatchCore
from gonogo.images import read_image, read_mask
from gonogo.inspector import FitImages, Inspector
from gonogo.metrics import auroc, pixel_metrics

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.mark.parametrize(
    ("part", "defect_type", "aupro_30"), [("hazelnut_toy/hazelnut", "colour", 0.92), ("cookie/cookie", "broken", 0.90)]
)
def test_patchcore_tells_good_from_defective_parts_and_shows_where(part, defect_type, aupro_30):
    root = DATA / part
    if not root.is_dir():
        pytest.skip(f"{root} is absent; it holds images that are not ours to ship")
    inspector = Inspector(PatchCore())
    inspector.detector.fit(FitImages(inspector, sorted((root / "train" / "good").iterdir())), seed=17)
    scores, labels, maps, masks = [], [], [], []
    for kind in ("good", defect_type):
        for path in sorted((root / "test" / kind).iterdir()):
            score, anomaly_map = inspector.inspect(read_image(path)[None])
            mask = root / "ground_truth" / kind / f"{path.stem}_mask.png"
            scores.append(score[0])
            labels.append(kind != "good")
            maps.append(anomaly_map[0])
            masks.append(np.zeros(anomaly_map.shape[1:], dtype=bool) if kind == "good" else read_mask(mask))
    assert auroc(np.array(scores), np.array(labels)) > 0.99
    assert pixel_metrics(maps, masks).aupro_30 > aupro_30
