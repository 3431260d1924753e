"""A small gauge that finds boxes, fitted in seconds on drawn defects: what tests of several rooms need of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from conftest import CALIBRATE, MEASURED, PREPARE, REGIONS, TINY, unseen
from gonogo.calibration.threshold import CalibrateParams
from gonogo.compute.progress import Progress
from gonogo.data.blemishes import Blemishes
from gonogo.data.prepare.prepare import prepare, shares_of
from gonogo.detectors.options import CentreBoxesOptions
from gonogo.export.graph import export_onnx
from gonogo.export.parity import ParityParams, check_parity
from gonogo.export.write_bundle import write_bundle
from gonogo.images.dataset import Dataset
from gonogo.model.fit_params import FitParams
from gonogo.model.fitting import Fitting
from gonogo.model.inspector import Inspector
from gonogo.model.saved import Model, bundle_facts, load_model
from gonogo.params import Variant

OPTIONS: dict[str, Any] = TINY | {
    "layers": [0, 1, 2],
    "image_size": 48,
    "crop": 48,
    "epochs": 3,
    "epoch_steps": 6,
    "patience": 0,
}
PLAIN = FitParams(
    device="cpu",
    cluster=None,
    memory_budget_mb=None,
    tiling=None,
    left_out=0,
    shots=None,
    rotations=1,
    finetune=None,
)
PARITY = ParityParams(1e-4, [1, 8], [[33, 51], [90, 70]], 8, 0.01, 0.02)


def silent(*_report: object) -> None:
    """Report to nobody."""


def blemishes(folder: Path) -> Dataset:
    """Drawn defects on brick, prepared in `folder` for a fit of boxes."""
    params = replace(PREPARE, task="boxes", calibrate_share=0.7, validate_share=0.2)
    samples = Blemishes(views=2).samples("parts", Path(), shares_of(params, 17))
    found = prepare(samples, params, CALIBRATE, category="parts", folder=folder, raw=folder, seed=17, progress=unseen)
    found.require_no_error()
    return found.dataset


def fitting_of(
    dataset: Dataset,
    checkpoints: Path,
    *,
    values: FitParams = PLAIN,
    calibrate: CalibrateParams = CALIBRATE,
    **options: Any,
) -> Fitting:
    """The fit of a gauge that finds boxes, with small options and those that are given."""
    chosen = OPTIONS | options
    variant = Variant(CentreBoxesOptions(**chosen), "centre_boxes", chosen, values)
    return Fitting(dataset, variant, calibrate, REGIONS, 17, checkpoints)


def fitted(fitting: Fitting, progress: Progress = silent) -> Inspector:
    """The fitted inspector, before its threshold is certified."""
    inspector, images = fitting.start(fitting.records)
    return fitting.fit(inspector, images, progress)


def box_model(dataset: Dataset, folder: Path) -> Model:
    """The fitted and certified gauge."""
    fitting = fitting_of(dataset, folder / "checkpoints")
    inspector = fitted(fitting)
    fitting.save(folder / "model", inspector, fitting.certify(inspector, silent), category="parts")
    return load_model(folder / "model")


def box_bundle(dataset: Dataset, folder: Path) -> Path:
    """The bundle of such a gauge."""
    model = box_model(dataset, folder)
    export_onnx(model.inspector, folder / "gauge.onnx", metadata=bundle_facts(model), opset=18)
    parity = check_parity(model, folder / "gauge.onnx", dataset, PARITY)
    write_bundle(folder / "bundle", folder / "gauge.onnx", model, parity, dataset, MEASURED)
    return folder / "bundle"
