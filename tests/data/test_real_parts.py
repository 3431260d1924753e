"""On real parts, where their images lie beside the project: the numbers that the detectors of places must reach."""

from pathlib import Path

import numpy as np
import pytest

from conftest import made, manifest_of, shares
from gonogo.data.folder import Folder
from gonogo.data.mvtec_ad import MVTecAD
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.evaluation.accuracy.pixel_metrics import pixel_metrics
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import score_images
from gonogo.model.inspector import Inspector

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent; its images are not ours to ship")


@pytest.mark.parametrize(
    ("detector", "category", "source", "aupro_30"),
    [
        ("patchcore", "hazelnut", MVTecAD(folder="hazelnut_toy"), 0.92),
        ("patchcore", "cookie", Folder(folder="cookie/cookie"), 0.90),
        ("padim", "hazelnut", MVTecAD(folder="hazelnut_toy"), 0.95),
        ("padim", "cookie", Folder(folder="cookie/cookie"), 0.78),
    ],
)
def test_good_and_defective_parts_are_told_apart_and_it_is_shown_where(detector, category, source, aupro_30, tmp_path):
    manifest = manifest_of(source.samples(category, DATA, shares(17)), tmp_path, raw=DATA)
    inspector = Inspector(made(detector))
    inspector.detector.fit(FitImages(inspector, manifest, manifest.with_role("fit")), seed=17)
    test = manifest.with_role("test")
    scores, maps = zip(*score_images(inspector, manifest, test), strict=True)
    assert auroc(np.array(scores), np.array([record.label == 1 for record in test])) > 0.99
    assert pixel_metrics(maps, map(manifest.mask_of, test)).aupro_30 > aupro_30
