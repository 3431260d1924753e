"""From a source's samples to a dataset: every image looked at, given its role and recorded, and none copied."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gonogo.calibration.threshold import CalibrateParams
from gonogo.data.prepare.accepted import Acceptance, accepted_samples, is_copy
from gonogo.data.prepare.classes import with_classes
from gonogo.data.prepare.examine import Examined, Reject, examine_all
from gonogo.data.prepare.params import PrepareParams
from gonogo.data.prepare.preflight import Problem, problems
from gonogo.data.prepare.raw_files import require_watched
from gonogo.data.prepare.split import Split, split, split_labelled
from gonogo.data.sample import Sample, Shares
from gonogo.data.unused import Unused
from gonogo.errors import ConfigError, DataError
from gonogo.images.dataset import Dataset, Record, write_dataset
from gonogo.images.roles import SPLIT_ROLES, Role
from gonogo.params import build


@dataclass(frozen=True)
class Excluded:
    """A pattern of `prepare.exclude`, its reason, and the names of the images that it leaves out and none before it."""

    pattern: str
    reason: str | None
    images: Sequence[str]


@dataclass(frozen=True)
class Prepared:
    """What the prepare stage found: the dataset of what can be used, and everything that the data card tells."""

    dataset: Dataset
    images: list[Examined]
    assigned: Split
    rejects: list[Reject]
    excluded: Sequence[Excluded]
    problems: list[Problem]
    accepted: Sequence[Acceptance]

    @property
    def has_errors(self) -> bool:
        """Whether a problem changes the meaning of a number, so that the pipeline must stop."""
        return any(problem.level == "error" for problem in self.problems)

    def require_no_error(self) -> None:
        """Do nothing, or refuse.

        Raises:
            DataError: a problem changes the meaning of a number; all such problems are in the message.
        """
        errors = [str(problem) for problem in self.problems if problem.level == "error"]
        if errors:
            raise DataError("\n  ".join(errors))

    @property
    def n_excluded(self) -> int:
        """The number of images that `prepare.exclude` leaves out."""
        return sum(len(one.images) for one in self.excluded)

    @property
    def warnings(self) -> list[Problem]:
        """The problems that do not stop the pipeline."""
        return [problem for problem in self.problems if problem.level == "warning"]

    @property
    def roles(self) -> list[tuple[Examined, Role]]:
        """The images that have a role, with it."""
        return [(image, role) for image, role in zip(self.images, self.assigned.roles, strict=True) if role is not None]


def prepare_params(section: Mapping[str, Any]) -> PrepareParams:
    """What the `prepare` section of params.yaml says for every source.

    Raises:
        ConfigError: it makes no sense.
    """
    known = {field.name: section[field.name] for field in fields(PrepareParams) if field.name in section}
    return build(PrepareParams, known, where="prepare")


def shares_of(params: PrepareParams, seed: int) -> Shares:
    """How parts are assigned by these parameters."""
    return Shares(seed=seed, test=params.test_share, calibrate=params.calibrate_share)


def prepare(
    samples: Iterable[Sample],
    params: PrepareParams,
    calibrate: CalibrateParams,
    *,
    category: str,
    folder: Path,
    raw: Path,
    seed: int,
    progress: Callable[[int, int], None],
    accepted: Sequence[Acceptance] = (),
    unused: Sequence[Unused] = (),
) -> Prepared:
    """Examine, split and record the samples of one category; write the dataset, and what has no file yet, to `folder`.

    Images that were `accepted` into a role join it beside what is assigned: they move no other image, and the section's
    patterns and split are not for them.

    `unused` are image files beside those of the samples, to be named.

    Problems are returned, not raised, so that they can be shown together before `require_no_error`.

    Raises:
        ConfigError: a pattern is wrong, or matches nothing.
        DataError: two samples have one name, there is no sample, or a file cannot be recorded or watched.
    """
    own = [sample for sample in samples if not (isinstance(sample.image, Path) and is_copy(sample.name))]
    excluded = _excluded(own, params)
    listed = _chosen(own, {name for one in excluded for name in one.images}, params)
    if params.task == "boxes":
        listed = with_classes(listed, params.class_map)
    require_watched(listed, raw)
    seen = examine_all([*listed, *accepted_samples(accepted, raw)], folder, raw, progress)
    images = [image for image in seen if isinstance(image, Examined)]
    rejects = [image for image in seen if isinstance(image, Reject)]
    dealable = [image for image in images if image.sample.accepted is None]  # the first of `images`
    to_split = [image.sample for image in dealable], [image.content for image in dealable], shares_of(params, seed)
    if params.task == "boxes":
        assigned = split_labelled(*to_split, validate=params.validate_share)
    else:
        assigned = split(*to_split, contaminate=params.contaminate, validate=params.validate_share)
    assigned = replace(assigned, roles=assigned.roles + [image.sample.roles[0] for image in images[len(dealable) :]])
    dataset = write_dataset(
        folder,
        raw,
        (
            _record(image, role, category)
            for image, role in zip(images, assigned.roles, strict=True)
            if role is not None
        ),
    )
    found = problems(
        images,
        assigned,
        rejects,
        max_rejects=params.max_rejects,
        calibrate=calibrate,
        unused=unused,
        labelled=params.task == "boxes",
    )
    return Prepared(dataset, images, assigned, rejects, excluded, found, accepted)


def _excluded(samples: Sequence[Sample], params: PrepareParams) -> list[Excluded]:
    """What each pattern of `prepare.exclude` leaves out."""
    found: list[Excluded] = []
    taken: set[str] = set()
    for one in params.exclusions:
        matched = [sample.name for sample in samples if fnmatchcase(sample.name, one.pattern)]
        if not matched:
            raise ConfigError(f"prepare.exclude: {one.pattern!r} matches no image; the first is {_first(samples)}")
        found.append(Excluded(one.pattern, one.reason, [name for name in matched if name not in taken]))
        taken.update(matched)
    return found


def _chosen(samples: Sequence[Sample], excluded: Collection[str], params: PrepareParams) -> list[Sample]:
    """The samples that are not excluded, grouped and opened as the parameters say."""
    kept = [sample for sample in samples if sample.name not in excluded]
    names: set[str] = set()
    for sample in kept:
        if sample.name in names:
            raise DataError(f"two samples have the name {sample.name!r}")
        names.add(sample.name)
    if not kept:
        raise DataError("the source holds no image")
    if params.group_pattern is not None:
        kept = [replace(sample, group_id=group_in(sample.name, params.group_pattern)) for sample in kept]
    if params.split == "shuffle":
        kept = [replace(sample, roles=SPLIT_ROLES) for sample in kept]
    return kept


def group_in(name: str, pattern: str) -> str:
    """The group id that `prepare.group_pattern` reads from a raw file's name.

    Raises:
        ConfigError: it is no regular expression, or finds none.
    """
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise ConfigError(f"prepare.group_pattern {pattern!r} is no regular expression: {error}") from error
    if found is None or not found.groups() or found[1] is None:
        raise ConfigError(
            f"prepare.group_pattern {pattern!r} finds no group id in {name!r}; put parentheses around the part "
            "of the name that all shots of one part share"
        )
    return str(found[1])


def _first(samples: Sequence[Sample]) -> str:
    return repr(samples[0].name) if samples else "missing, since the source holds none"


def _record(image: Examined, role: Role, category: str) -> Record:
    sample = image.sample
    has_mask = sample.label == 1 and image.mask.usable
    return Record(
        path=image.path,
        sha256=image.sha256,
        category=category,
        role=role,
        label=sample.label,
        defect_type=sample.defect_type,
        mask=image.mask.name if has_mask else None,
        mask_sha256=image.mask.sha256 if has_mask else None,
        group_id=sample.group_id if sample.group_id is not None else sample.name,
        width=image.width,
        height=image.height,
        boxes=sample.boxes,
        saturation=sample.saturation,
        accepted=sample.accepted,
    )
