"""Every value of params.yaml, read for every category as the stages will read it, before the first of them runs."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gonogo.errors import ConfigError, GonogoError
from gonogo.files import require_raw
from gonogo.params import Params, import_class, project_path, read_yaml
from gonogo.project.settings import applied

READER = "reads it"  # of a function that takes the parameters and reads its section itself

# What each section of params.yaml becomes, and for one that picks a variant the registry to pick from, or READER.
SECTIONS: Mapping[str, tuple[str, str | None]] = {
    "prepare": ("gonogo.data.prepare.params:PrepareParams", "gonogo.data:SOURCES"),
    "fit": ("gonogo.model.fit_params:fit_section", READER),
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


def check_values(params: Path, settings: Sequence[str] = (), *, wanted: Collection[str] = ()) -> list[str]:
    """The categories of the project, once every value was read for each of them as its stages read it.

    Where a category that is wanted has no fitted model yet, or a setting changes its fit, its detector is made too, and
    the files that its fit reads besides the images are looked at: weights, a teacher, a flat field.

    Args:
        params: params.yaml; nothing is written.
        settings: values in the place of those in it, each as `experiment_option` returns it.
        wanted: the categories that will run; none: all.

    Raises:
        ConfigError: values are wrong; the message has each of them once, with the categories that read it.
    """
    content = applied(settings, read_yaml(params))
    shared = Params(params, content=content)
    categories = shared.categories
    _ = shared.seed
    require_raw(shared.raw)
    problems: dict[str, list[str]] = {}
    for category in categories:
        own = Params(params, category, content=content)
        wrong = list(_wrong_sections(own))
        if not wrong and (not wanted or category in wanted) and _fits(category, settings):
            try:
                _make(own)
            except GonogoError as error:
                wrong = [str(error)]
        for problem in wrong:
            problems.setdefault(problem, []).append(category)
    if problems:
        raise ConfigError(
            "; ".join(
                problem if len(of) == len(categories) else f"{', '.join(of)}: {problem}"
                for problem, of in problems.items()
            )
        )
    return categories


def _wrong_sections(own: Params) -> Iterator[str]:
    for name in SECTIONS:
        try:
            _read(own, name)
        except ConfigError as error:
            yield str(error)


def _read(own: Params, name: str) -> None:
    kind, registry = SECTIONS[name]
    made: Callable[..., Any] = import_class(kind)
    if registry == READER:
        made(own)
    elif registry is None:
        own.values(name, made)
    else:
        own.variant(name, import_class(registry), made)


def _fits(category: str, settings: Sequence[str]) -> bool:
    """Whether a run will fit the category for sure: it has no model yet, or a setting changes its section `fit`."""
    keys = [setting.lstrip("+~").partition("=")[0].split(".") for setting in settings]
    changes = any(key[0] == "fit" or key[:3] == ["overrides", category, "fit"] for key in keys)
    return changes or not project_path("models", category, "manifest.json").is_file()


def _make(own: Params) -> None:
    """Make what a fit begins with, as `Fitting.start` does, and look at the files that it reads besides the images."""
    from gonogo.calibration.regions import RegionParams  # where it is used: torch and timm take seconds
    from gonogo.detectors import detector_with
    from gonogo.model.fit_params import fit_section
    from gonogo.model.inspector import Inspector

    chosen = fit_section(own)
    detector = detector_with(chosen.name, chosen.made)
    inside = own.values("regions", RegionParams).inside
    inspector = Inspector(detector, inside, tiling=chosen.values.tiling, preprocess=chosen.values.preprocess)
    detector.require_files()
    if inspector.preprocessing is not None:
        inspector.preprocessing.load()
