"""Accept as good: reviewed images join fit or calibrate, the gauge is made anew, and either can be undone.

What the certificate is worth afterwards depends on how the parts were chosen. Calibrate parts that were accepted
because the gauge had rejected them are no less likely than any good part to lie above the score that the wanted share
of good parts exceeds: the threshold comes out no lower than a random draw would have it, and the bound on false alarms
holds, on the safe side; recall may fall. Parts that were accepted because they had passed are less likely to lie there:
the threshold comes out too low, and the bound does not hold. docs/calibration.md has both in figures.
"""

import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from gonogo.calibration.threshold import CalibrateParams
from gonogo.data import SOURCES
from gonogo.data.prepare.accepted import (
    Acceptance,
    AcceptedImage,
    AcceptedRole,
    RollBack,
    append_acceptance,
    append_roll_back,
    read_history,
)
from gonogo.data.prepare.params import PrepareParams
from gonogo.data.reviewed import ReviewedArchive, read_reviewed, unpack_images
from gonogo.errors import ConfigError, DataError, GonogoError, ImageError, PipelineError
from gonogo.files import today
from gonogo.images.dataset import RAW, Dataset, located, read_dataset
from gonogo.inference.scorer import Scorer, Verdict
from gonogo.params import Params, project_path, read_yaml
from gonogo.project.candidates import (
    Candidate,
    accepted_contents,
    candidates_in,
    copy_candidates,
    known_among,
    refuse,
    remove_copies,
)
from gonogo.project.gauge_summary import Figures, figures

Dvc = Callable[..., None]  # runs dvc with these arguments; a PipelineError where it fails


@dataclass(frozen=True)
class Project:
    """One category of the project whose root is the current folder.

    Attributes:
        targets: dvc's names of the category's stages.
        joint: names of the stages that gather all categories.
    """

    params: Params
    category: str
    targets: tuple[str, ...]
    joint: tuple[str, ...]

    @classmethod
    def here(cls, category: str) -> Self:
        """Read params.yaml and dvc.yaml.

        Raises:
            ConfigError: they are not here, or there is no such category.
        """
        params = Params(Path("params.yaml"), category)
        stages = read_yaml(Path("dvc.yaml")).get("stages", {})
        return cls(
            params,
            category,
            tuple(f"{name}@{category}" for name, stage in stages.items() if "matrix" in stage),
            tuple(name for name, stage in stages.items() if "matrix" not in stage and name != "code"),
        )

    @property
    def history(self) -> Path:
        """The file that keeps every acceptance."""
        return project_path("accepted")

    @property
    def bundle(self) -> Path:
        """The gauge in use, if the pipeline has made one."""
        return project_path("bundles", self.category)

    def copies_of(self, acceptance: Acceptance) -> list[Path]:
        """Where the images of `acceptance` lie."""
        return [located(image.path, Path(), self.params.raw) for image in acceptance.images]

    def figures(self, accepted: Iterable[Path]) -> Figures | None:
        """The gauge in use in figures, and how many of the `accepted` images it rejects."""
        return figures(self.bundle, project_path("metrics"), self.category, list(accepted))


@dataclass(frozen=True)
class Change:
    """An acceptance, made or taken back, and the gauge before and after; None where there is no gauge."""

    acceptance: Acceptance
    before: Figures | None
    after: Figures | None
    remarks: list[str]


def accept(
    project: Project,
    files: Sequence[Path],
    *,
    role: AcceptedRole,
    by: str,
    reason: str | None,
    group: str | None,
    dvc: Dvc | None,
    leaves_out: bool = False,
    dry_run: bool = False,
) -> Change:
    """Copy `files` into the raw folder, add them to the history and make the category's gauge anew.

    First the category is brought up to date, so that before and after differ by these images alone. Where dvc fails
    afterwards, the acceptance is taken back, the copies are removed and the earlier gauge is made again.

    Args:
        by: who says that they are good.
        group: the part that all of them show; None: `prepare.group_pattern` says so, or each stands alone.
        dvc: None: the pipeline is not run, and there is no gauge to show afterwards.
        leaves_out: leave out what the category has already, and say so in a remark, in place of refusing all.
        dry_run: refuse what would be refused, and otherwise write and run nothing.

    Raises:
        DataError: an image cannot be read, is of another size than the category's images, or is one that the category
            has already, in whatever role; all such images are in the message, and nothing was written. Or all images
            were left out.
        PipelineError: dvc failed; everything is as it was, or the message says what is not.
    """
    candidates = _candidates(project, files, role, group, twins=leaves_out)
    if dvc is not None and not dry_run:
        dvc("repro", *project.targets)
    history = read_history(project.history)
    dataset, known = _known(project, candidates, history)
    left_out = {}
    if leaves_out:
        left_out, known = known, {}
        candidates = [candidate for candidate in candidates if candidate.file not in left_out]
        if not candidates:
            told = "\n  ".join(f"{file.name} {where}" for file, where in left_out.items())
            raise DataError(f"nothing was accepted: the category has all of these images already:\n  {told}")
    refuse(candidates, role, dataset, known)
    acceptance = Acceptance(
        id=_id(project, role, candidates, len(history)),
        date=today(),
        by=by,
        reason=reason,
        category=project.category,
        role=role,
        images=tuple(_judged(project.bundle, candidates)),
    )
    before = project.figures(candidate.file for candidate in candidates)
    remarks = _remarks(project, [*history, acceptance], role)
    remarks += [f"not accepted: {file.name} {where}" for file, where in left_out.items()]
    if dry_run:
        return Change(acceptance, before, None, remarks)
    copies = copy_candidates(project.params.raw, candidates)
    try:
        append_acceptance(project.history, acceptance)
    except BaseException:
        remove_copies(copies)
        raise
    if dvc is None:
        return Change(acceptance, before, None, remarks)
    try:
        dvc("repro", *project.targets)
    except (GonogoError, KeyboardInterrupt) as error:
        raise _taken_back(project, acceptance, by, copies, dvc, error) from error
    after = project.figures(project.copies_of(acceptance))
    return Change(acceptance, before, after, [*remarks, *_gathered(project, dvc)])


def accept_reviewed(
    project: Project,
    archive: Path,
    *,
    role: AcceptedRole,
    by: str,
    reason: str | None,
    group: str | None,
    dvc: Dvc | None,
    dry_run: bool = False,
) -> Change:
    """Accept the parts of an archive of reviewed images that its reviewers found good, as `accept` does.

    Those that the category has already, accepted or in whatever role, are left out and told of in a remark, so that a
    later archive of the same service can be accepted too.

    Args:
        reason: None: who reviewed them.

    Raises:
        DataError: it is no such archive or is damaged, it has no such part that the category does not have, or as in
            `accept`.
        PipelineError: as in `accept`.
    """
    found = read_reviewed(archive)
    before = {
        image.sha256
        for acceptance in _active(read_history(project.history), project.category)
        for image in acceptance.images
    }
    good = [image for image in found.images if image.category == project.category and image.label == "good"]
    new = [image for image in good if image.sha256 not in before]
    if not new:
        raise DataError(
            f"{archive} has no good part of {project.category} to accept: {len(good)} of its {len(found.images)} "
            "images are good parts of it, and all of these are accepted already"
        )
    names = sorted({name for image in new for name in image.good})
    with tempfile.TemporaryDirectory() as folder:
        made = accept(
            project,
            unpack_images(archive, new, Path(folder)),
            role=role,
            by=by,
            reason=reason or f"reviewed as good by {', '.join(names)}",
            group=group,
            dvc=dvc,
            leaves_out=True,
            dry_run=dry_run,
        )
    return replace(made, remarks=[*made.remarks, *_left_out(found, n_before=len(good) - len(new))])


def roll_back(project: Project, acceptance: Acceptance, *, by: str, reason: str | None, dvc: Dvc | None) -> Change:
    """Add to the history that `acceptance` is taken back, and make the gauge without it.

    The copies stay where they are, so that an earlier commit can be reproduced; no source takes them for its own.

    Raises:
        ConfigError: it was taken back before.
        PipelineError: dvc failed; the history says already that the acceptance is taken back.
    """
    copies = project.copies_of(acceptance)
    before = project.figures(copies)
    taken_back = RollBack(date=today(), by=by, reason=reason)
    append_roll_back(project.history, acceptance.id, taken_back)
    acceptance = replace(acceptance, rolled_back=taken_back)
    if dvc is None:
        return Change(acceptance, before, None, [])
    dvc("repro", *project.targets)
    return Change(acceptance, before, project.figures(copies), _gathered(project, dvc))


def n_unknown(project: Project, files: Sequence[Path]) -> int:
    """How many different images the files hold that the category does not have, by the data that were prepared last.

    Raises:
        DataError: a file cannot be read, or there are no such data.
    """
    candidates = _candidates(project, files, "fit", "any", twins=True)
    _, known = _known(project, candidates, read_history(project.history))
    return len(candidates) - len(known)


def git_user() -> str:
    """Who git says is working here.

    Raises:
        ConfigError: it does not say.
    """
    try:
        command = ["git", "config", "user.name"]
        name = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        name = ""
    if not name:
        raise ConfigError("who decides this? git has no user.name; add --by NAME")
    return name


def _candidates(
    project: Project, files: Sequence[Path], role: AcceptedRole, group: str | None, *, twins: bool
) -> list[Candidate]:
    """The files as candidates; see `candidates_in`."""
    prepare = project.params.variant("prepare", SOURCES, PrepareParams).values
    return candidates_in(
        files,
        category=project.category,
        role=role,
        raw=project.params.raw,
        group=group,
        group_pattern=prepare.group_pattern,
        twins=twins,
    )


def _known(
    project: Project, candidates: Sequence[Candidate], history: Iterable[Acceptance]
) -> tuple[Dataset, dict[Path, str]]:
    """The category's data, and which candidates these or the history have already; see `known_among`."""
    dataset = read_dataset(project_path("prepared", project.category), project.params.raw)
    waiting = accepted_contents(_active(history, project.category), project.params.raw)
    return dataset, known_among(candidates, dataset, waiting)


def _left_out(archive: ReviewedArchive, *, n_before: int) -> list[str]:
    """A remark on what of an archive was not accepted, if there is anything."""
    n_defects = sum(image.label == "defect" for image in archive.images)
    counts = {"accepted before": n_before, "defects": n_defects} | archive.left_out
    told = ", ".join(f"{count} {why}" for why, count in counts.items() if count)
    return [f"not accepted: {told}"] if told else []


def _judged(bundle: Path, candidates: Sequence[Candidate]) -> Iterable[AcceptedImage]:
    """The candidates with what the gauge in use says of them, if there is one."""
    found: list[Verdict | ImageError | None] = [None] * len(candidates)
    if (bundle / "manifest.json").is_file():
        found = list(Scorer(bundle).score_files([candidate.file for candidate in candidates]))
    for candidate, verdict in zip(candidates, found, strict=True):
        image = AcceptedImage(path=RAW + candidate.name, sha256=candidate.sha256, group_id=candidate.group_id)
        if isinstance(verdict, ImageError):  # it could be read a moment ago
            raise verdict
        if verdict is not None:
            image = replace(
                image,
                score=verdict.score,
                threshold=verdict.threshold,
                verdict=verdict.label,
            )
        yield image


def _id(project: Project, role: AcceptedRole, candidates: Sequence[Candidate], n_before: int) -> str:
    """Eight hex digits that depend on what is accepted and on how many acceptances came before."""
    words = [project.category, role, str(n_before), *(candidate.sha256 for candidate in candidates)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


def _active(history: Iterable[Acceptance], category: str) -> list[Acceptance]:
    return [event for event in history if event.category == category and event.rolled_back is None]


def _taken_back(
    project: Project, acceptance: Acceptance, by: str, copies: Sequence[Path], dvc: Dvc, error: BaseException
) -> PipelineError:
    """Undo an acceptance that dvc could not follow, and say what came of it."""
    interrupted = isinstance(error, KeyboardInterrupt)
    why = "interrupted" if interrupted else str(error)
    append_roll_back(project.history, acceptance.id, RollBack(date=today(), by=by, reason=f"by itself: {why}"))
    remove_copies(copies)
    state = "`dvc repro` makes the earlier gauge again"
    if not interrupted:
        try:
            dvc("repro", *project.targets)
            state = "the earlier gauge is in place again"
        except GonogoError as again:
            state = f"the earlier gauge could not be made again ({again}): mend that, then `dvc repro`"
    undone = f"the acceptance {acceptance.id} was rolled back, its copies are removed, your own files untouched"
    return PipelineError(f"{why}\n  {undone}; {state}")


def _gathered(project: Project, dvc: Dvc) -> list[str]:
    """Refresh what gathers all categories; a remark where that fails, since the category's own gauge is made."""
    if not project.joint:
        return []
    try:
        dvc("repro", "--single-item", *project.joint)
    except GonogoError as error:
        return [f"{', '.join(project.joint)} could not be refreshed ({error}); `dvc repro` does it for all categories"]
    return []


def _remarks(project: Project, history: Iterable[Acceptance], role: AcceptedRole) -> list[str]:
    """What the choice of the images accepted so far means for the certificate."""
    crosswise = project.params.values("calibrate", CalibrateParams).crosswise
    if role == "fit" and not crosswise:
        return [
            "fitted on: that the gauge now passes these says nothing of others; the certificate is of calibrate parts"
        ]
    verdicts = [
        image.verdict
        for acceptance in _active(history, project.category)
        if acceptance.role == "calibrate" or crosswise
        for image in acceptance.images
        if image.verdict is not None
    ]
    n, n_rejected = len(verdicts), verdicts.count("reject")
    if not n:
        return []
    if not n_rejected:
        return [
            f"WARNING: all {n} images accepted to calibrate had passed. If they were accepted because they passed, the "
            "threshold is too low and the certificate does not hold: accept every good part that is reviewed, those "
            "that were rejected above all, or roll back"
        ]
    return [
        f"{n_rejected} of {n} images accepted to calibrate had been rejected: if that is why they were accepted, the "
        "bound on false alarms holds, on the safe side, and recall may fall"
    ]
