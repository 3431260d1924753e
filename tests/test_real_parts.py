"""On real parts, where their images lie beside the project: the numbers that a PatchCore must reach."""

from pathlib import Path

import numpy as np
import pytest

from conftest import manifest_of, shares
from gonogo.detectors.patchcore import PatchCore
from gonogo.inspection import inspect_records
from gonogo.inspector import FitImages, Inspector
from gonogo.metrics import auroc, pixel_metrics
from gonogo.sources.folder import Folder
from gonogo.sources.mvtec_ad import MVTecAD

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent; its images are not ours to ship")


@pytest.mark.parametrize(
    ("category", "source", "aupro_30"),
    [("hazelnut", MVTecAD(folder="hazelnut_toy"), 0.92), ("cookie", Folder(folder="cookie/cookie"), 0.90)],
)
def test_patchcore_tells_good_from_defective_parts_and_shows_where(category, source, aupro_30, tmp_path):
    manifest = manifest_of(source.samples(category, DATA, shares(17)), tmp_path, raw=DATA)
    inspector = Inspector(PatchCore())
    inspector.detector.fit(FitImages(inspector, manifest, manifest.with_role("fit")), seed=17)
    test = inspect_records(inspector, manifest, manifest.with_role("test"), keep_maps=True)
    assert auroc(test.scores.astype(np.float64), test.labels) > 0.99
    masks = [manifest.mask_of(record) for record in test.records]
    assert pixel_metrics(test.anomaly_maps, masks).aupro_30 > aupro_30
