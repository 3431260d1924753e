"""The parts that benchmarks look at, prepared as the pipeline would."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gonogo.calibration.threshold import CalibrateParams
from gonogo.data import source_class
from gonogo.data.prepare.prepare import Prepared, prepare, prepare_params, shares_of
from gonogo.params import build, read_yaml
from results import ROOT


def prepare_part(
    name: str, source: Mapping[str, Any], data: Path, folder: Path, *, progress: Callable[[int, int], None]
) -> Prepared:
    """The images of one part in `folder`, dealt by params.yaml; `source` is its layout with that layout's options."""
    params = read_yaml(ROOT / "params.yaml")
    dealing = prepare_params(params["prepare"])
    options = {key: value for key, value in source.items() if key != "source"}
    samples = build(source_class(source["source"]), options, where=name).samples(
        name, data, shares_of(dealing, params["seed"])
    )
    return prepare(
        samples,
        dealing,
        build(CalibrateParams, params["calibrate"], where="calibrate"),
        category=name,
        folder=folder,
        raw=data,
        seed=params["seed"],
        progress=progress,
    )
