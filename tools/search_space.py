"""What a search varies, over which categories and by which criterion: a YAML file, checked before anything runs."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from gonogo.calibration.regions import RegionParams
from gonogo.calibration.threshold import CalibrateParams
from gonogo.detectors.names import detector_name
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.errors import ConfigError
from gonogo.evaluation.metric_table import SUMMARISED
from gonogo.model.fit_params import fit_section
from gonogo.params import VARIANT_KEYS, Params, Section, build, read_yaml
from gonogo.project.recipes import ABSENT, SHARED, Change, differences

CRITERIA = {
    "synthetic_auroc": "good calibrate images against damaged copies of them",
    "validation_auroc": "calibrate images, good and labelled defective",
}
DETECTOR = "fit.detector"
SEARCHED = "fit"  # the one section that is searched: others change what the criterion is measured on, or nothing in it
TESTED = ("image_", "pixel_", "aupro", "seg_", "f1", "recall", "precision", "false_alarm", "worst_")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both allowed; whole ones where both are. `log`: as likely in each decade."""

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"expected low < high, got {self.low!r} and {self.high!r}")
        if self.log and self.low <= 0:
            raise ConfigError(f"log needs low > 0, got {self.low!r}")

    @property
    def whole(self) -> bool:
        """Whether the numbers are whole ones."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def extremes(self) -> list[Any]:
        """The values that are checked before the search begins."""
        return [self.low, self.high]

    def holds(self, value: Any) -> bool:
        """Whether `value` is one of them."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (isinstance(value, int) or not self.whole)


@dataclass(frozen=True)
class Choices:
    """Any of some values, lists and mappings among them."""

    choices: Annotated[list[Any], Field(min_length=2)]

    def __post_init__(self) -> None:
        if len(set(self.texts)) < len(self.choices):
            raise ConfigError(f"a choice stands twice: {self.choices!r}")

    @property
    def texts(self) -> list[str]:
        """The values as JSON, which a study can keep."""
        return [json.dumps(choice, sort_keys=True) for choice in self.choices]

    @property
    def extremes(self) -> list[Any]:
        """The values that are checked before the search begins: all."""
        return self.choices

    def holds(self, value: Any) -> bool:
        """Whether `value` is one of them."""
        return json.dumps(value, sort_keys=True) in self.texts


@dataclass(frozen=True)
class _File:
    """The keys of a search's file; `Space` says what they mean."""

    description: str
    categories: Annotated[list[str], Field(min_length=1)]
    criterion: str
    n_trials: Annotated[int, Field(ge=1)]
    params: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    fixed: dict[str, Any]
    direction: Literal["maximize", "minimize"] = "maximize"
    seed: Annotated[int, Field(ge=0)] = 17


@dataclass(frozen=True)
class Space:
    """A search.

    Attributes:
        name: of the file.
        categories: that each experiment runs; its value is the mean of their criteria.
        criterion: one of CRITERIA, of the evaluate stage.
        direction: whether more of it is better, maximize, or less.
        n_trials: experiments in all, those of before included.
        seed: of the sampler.
        params: what is searched, by `fit.KEY`.
        fixed: what every experiment sets, by `section.key`.
    """

    name: str
    categories: list[str]
    criterion: str
    direction: Literal["maximize", "minimize"]
    n_trials: int
    seed: int
    params: Mapping[str, Range | Choices]
    fixed: Mapping[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        """All that may not change while a study goes on."""
        params = {key: asdict(spec) for key, spec in self.params.items()}
        keep = ("categories", "criterion", "direction", "seed")
        return {**{key: getattr(self, key) for key in keep}, "params": params, "fixed": dict(self.fixed)}


def read_space(path: Path) -> Space:
    """Read a search's file.

    Raises:
        ConfigError: a key is unknown, missing or mistyped, or the criterion is none that a search may look at.
    """
    file = build(_File, read_yaml(path), where=str(path))
    _require_criterion(file.criterion, path)
    for key in [*file.params, *file.fixed]:
        if key.count(".") != 1:
            raise ConfigError(f"{path}: {key!r} is no parameter; expected section.key, such as fit.image_size")
    for key in file.params:
        if not key.startswith(f"{SEARCHED}."):
            raise ConfigError(
                f"{path}: params has {key}; a search varies {SEARCHED}.* alone, since all else would change what the "
                "criterion is measured on, or nothing in it. `fixed` sets it for every experiment"
            )
        if key in file.fixed:
            raise ConfigError(f"{path}: {key} stands in params and in fixed; it is either searched or fixed")
    params = {key: _spec(values, where=f"{path}: params.{key}") for key, values in file.params.items()}
    return Space(
        path.stem, file.categories, file.criterion, file.direction, file.n_trials, file.seed, params, file.fixed
    )


def _require_criterion(criterion: str, path: Path) -> None:
    if criterion in CRITERIA:
        return
    allowed = "; ".join(f"{name}, {meaning}" for name, meaning in CRITERIA.items())
    stem = criterion.split(".")[0]
    if stem in SUMMARISED or stem.startswith(TESTED):
        raise ConfigError(
            f"{path}: criterion is {criterion!r}, which is measured on test images. Whoever searches by them has "
            f"fitted to them, and no figure of theirs is evidence any more; choose {allowed}"
        )
    raise ConfigError(f"{path}: criterion is {criterion!r}; expected one of: {allowed}")


def _spec(values: Section, *, where: str) -> Range | Choices:
    try:
        return build(Choices, values, where=where) if "choices" in values else build(Range, values, where=where)
    except ConfigError as error:
        if str(error).startswith(where):
            raise
        raise ConfigError(f"{where}: {error}") from error


def require_valid(space: Space, content: Section, params: Path) -> None:
    """Try the extremes of every parameter on every category, before anything runs.

    Args:
        space: the search.
        content: of the params.yaml that it starts from.
        params: the file, for messages.

    Raises:
        ConfigError: a category or key is unknown, a value is refused, or the criterion would not be there.
    """
    unknown = [category for category in space.categories if category not in content["categories"]]
    if unknown:
        raise ConfigError(
            f"{space.name}: categories has {', '.join(unknown)}; {params} has {', '.join(content['categories'])}"
        )
    for key in space.fixed:
        section, _, name = key.partition(".")
        known = content.get(section)
        if not isinstance(known, dict) or (section != SEARCHED and name not in known):
            raise ConfigError(f"{space.name}: fixed has {key}, which {params} does not have")
    first = {key: spec.extremes[0] for key, spec in space.params.items()}
    for key, spec in space.params.items():
        for value in spec.extremes:
            after = applied(space, content, first | {key: value})
            for category in space.categories:
                checked = Params(params, category, content=after)
                fit_section(checked)
                checked.values("regions", RegionParams)
                calibrate = checked.values("calibrate", CalibrateParams)
                if (calibrate.crosswise or calibrate.grow_bank) and space.criterion == "synthetic_auroc":
                    raise ConfigError(
                        f"{space.name}: {category} has calibrate.method {calibrate.method} and calibrate.grow_bank "
                        f"{str(calibrate.grow_bank).lower()}, by which the gauge learns from all good images, so that "
                        "synthetic_auroc is absent; set calibrate.method: holdout, calibrate.grow_bank: false in fixed"
                    )


def applied(space: Space, content: Section, values: Mapping[str, Any]) -> Section:
    """`content` of a params.yaml with the search's categories, and its fixed and these values where they take effect.

    That is in the section, and in the override of a category that has one for that key or names another detector.
    """
    after = copy.deepcopy(content)
    after["categories"] = list(space.categories)
    settings = {**space.fixed, **values}
    for key in sorted(settings, key=lambda one: one != DETECTOR):  # first, since it drops another one's options
        section, _, name = key.partition(".")
        for category in space.categories:
            override = (after.get("overrides", {}).get(category) or {}).get(section) or {}
            variant = VARIANT_KEYS.get(section, name)
            own = name in override or override.get(variant, after[section].get(variant)) != after[section].get(variant)
            _set(override if own else after[section], name, settings[key], drops=key == DETECTOR)
    return after


def _set(place: Section, name: str, value: Any, *, drops: bool) -> None:
    if drops and place.get(name) != value:
        for other in [key for key in place if key not in SHARED]:
            del place[other]
    place[name] = copy.deepcopy(value)


def changes_of(space: Space, content: Section, values: Mapping[str, Any]) -> list[Change]:
    """What an experiment with these values changes in `content`, as `dvc exp run -S` takes it."""
    return list(differences(content, applied(space, content, values)))


def as_it_is(space: Space, content: Section) -> dict[str, Any] | None:
    """The values of what is searched without a search; None where they differ by category or lie outside."""
    found: dict[str, Any] = {}
    for key, spec in space.params.items():
        values = list(_standing(space, content, key.partition(".")[2]))
        if any(value != values[0] for value in values) or not spec.holds(values[0]):
            return None
        found[key] = values[0]
    return found


def _standing(space: Space, content: Section, name: str) -> Iterator[Any]:
    """What each category has at `fit.NAME`, which may be the detector's own default."""
    after = applied(space, content, {})
    for category in space.categories:
        section = Params(Path("params.yaml"), category, content=after).section(SEARCHED, shared=SHARED)
        defaults = {
            option.name: option.default for option in fields(DETECTOR_OPTIONS[detector_name(section["detector"])])
        }
        value = section.get(name, defaults.get(name, ABSENT))
        yield list(value) if isinstance(value, tuple) else value  # a list, as YAML has it
