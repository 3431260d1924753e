"""The parts that benchmarks look at, prepared as the pipeline would."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gonogo.calibration.threshold import CalibrateParams
from gonogo.data import source_class
from gonogo.data.prepare.prepare import Prepared, prepare, prepare_params, shares_of
from gonogo.data.sample import Sample
from gonogo.params import build, read_yaml
from results import ROOT

# The layout of each part, with that layout's options.
SOURCES: dict[str, dict[str, Any]] = {
    "hazelnut": {"source": "mvtec_ad", "folder": "hazelnut_toy"},
    "cookie": {"source": "folder", "folder": "cookie/cookie"},
    "washer": {"source": "rendered", "part": "washer"},
    "connector": {"source": "rendered", "part": "connector"},
    "label": {"source": "rendered", "part": "label"},
    "brick": {"source": "surfaces", "photograph": "brick"},
    "grass": {"source": "surfaces", "photograph": "grass"},
    "gravel": {"source": "surfaces", "photograph": "gravel"},
    "digit_0": {"source": "digits", "normal_class": 0},
    "digit_8": {"source": "digits", "normal_class": 8},
}


def prepare_part(
    name: str,
    source: Mapping[str, Any],
    data: Path,
    folder: Path,
    *,
    progress: Callable[[int, int], None],
    seed: int | None = None,
    changed: Callable[[Sample], Sample] | None = None,
) -> Prepared:
    """The images of one part in `folder`, dealt by params.yaml.

    Args:
        name: of the part.
        source: its layout with that layout's options.
        data: the folder of raw images.
        folder: where they are written.
        progress: called with how many are done, and of how many.
        seed: None: that of params.yaml.
        changed: what is done to each sample before; None: nothing.
    """
    params = read_yaml(ROOT / "params.yaml")
    seed = params["seed"] if seed is None else seed
    dealing = prepare_params(params["prepare"])
    options = {key: value for key, value in source.items() if key != "source"}
    samples = build(source_class(source["source"]), options, where=name).samples(name, data, shares_of(dealing, seed))
    return prepare(
        samples if changed is None else map(changed, samples),
        dealing,
        build(CalibrateParams, params["calibrate"], where="calibrate"),
        category=name,
        folder=folder,
        raw=data,
        seed=seed,
        progress=progress,
    )
