"""Every value of params.yaml, read for every category as the stages will read it, before the first of them runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gonogo.errors import ConfigError
from gonogo.files import require_raw
from gonogo.params import Params, import_class, read_yaml
from gonogo.project.settings import applied

# What each section of params.yaml becomes, and for one that picks a variant the registry to pick from.
SECTIONS: Mapping[str, tuple[str, str | None]] = {
    "prepare": ("gonogo.data.prepare.params:PrepareParams", "gonogo.data:SOURCES"),
    "fit": ("gonogo.model.fit_params:FitParams", "gonogo.detectors.options:DETECTOR_OPTIONS"),
    "calibrate": ("gonogo.calibration.threshold:CalibrateParams", None),
    "regions": ("gonogo.calibration.regions:RegionParams", None),
    "evaluate": ("gonogo.evaluation.accuracy.evaluate:EvaluateParams", None),
    "export": ("gonogo.export.graph:ExportParams", None),
    "parity": ("gonogo.export.parity:ParityParams", None),
    "robustness": ("gonogo.evaluation.robustness.robustness:RobustnessParams", None),
    "bench": ("gonogo.evaluation.speed.bench:BenchParams", None),
    "report": ("gonogo.reports.sheet:ReportParams", None),
    "router": ("gonogo.export.router:RouterParams", None),
    "retrieve": ("gonogo.evaluation.retrieval:RetrieveParams", None),
}


def check_values(params: Path, settings: Sequence[str] = ()) -> list[str]:
    """The categories of the project, once every value was read for each of them as its stages read it.

    Args:
        params: params.yaml; nothing is written.
        settings: values in the place of those in it, each as `experiment_option` returns it.

    Raises:
        ConfigError: values are wrong; the message has each of them once, with the categories that read it.
    """
    content = applied(settings, read_yaml(params))
    categories = Params(params, content=content).categories
    require_raw(Params(params, content=content).raw)
    problems: dict[str, list[str]] = {}
    for category in categories:
        own = Params(params, category, content=content)
        for name in SECTIONS:
            try:
                _read(own, name)
            except ConfigError as error:
                problems.setdefault(str(error), []).append(category)
    if problems:
        raise ConfigError(
            "; ".join(
                problem if len(of) == len(categories) else f"{', '.join(of)}: {problem}"
                for problem, of in problems.items()
            )
        )
    return categories


def _read(own: Params, name: str) -> None:
    kind, registry = SECTIONS[name]
    made: Callable[..., Any] = import_class(kind)
    if registry is None:
        own.values(name, made)
    else:
        own.variant(name, import_class(registry), made)
