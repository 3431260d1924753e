"""What is wrong with a category's images, found before anything is computed from them.

A problem that changes the meaning of a number is an error and stops the pipeline; the rest are warnings with counts.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gonogo.calibration.threshold import CalibrateParams, certified_rank, certified_rate, groups_needed
from gonogo.data.prepare.examine import Examined, Reject
from gonogo.data.prepare.look_alikes import look_alikes, usual_look
from gonogo.data.prepare.shots import shots_by_name, shots_by_time
from gonogo.data.prepare.split import Split
from gonogo.data.sample import Sample
from gonogo.data.unused import Unused, sentences
from gonogo.images.roles import SPLIT_ROLES, Role

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"} | {f"I;16{end}" for end in ("", "B", "L", "N")})  # of Pillow
EXAMPLES, SPOKEN = 5, 3  # of a problem: kept for the card, and named in a sentence


@dataclass(frozen=True)
class Problem:
    """One kind of problem: how many images have it, and the first of them."""

    level: Literal["error", "warning"]
    what: str
    n: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        shown = self.examples[:SPOKEN]
        more = f", and {self.n - len(shown)} more" if self.n > len(shown) else ""
        return f"{self.what}: {', '.join(shown)}{more}" if shown else self.what


def problems(
    images: Sequence[Examined],
    assigned: Split,
    rejects: Sequence[Reject],
    *,
    max_rejects: int,
    calibrate: CalibrateParams,
    unused: Sequence[Unused] = (),
    labelled: bool = False,
) -> list[Problem]:
    """All problems, errors first.

    Args:
        images: the readable images, in the order of `assigned`.
        rejects: the unreadable ones.
        max_rejects: how many of those the user accepts.
        calibrate: the rate and confidence that the threshold should be certified for.
        unused: image files beside those of the samples.
        labelled: whether the fit learns from labelled defects.
    """
    found = [
        *_rejects([reject for reject in rejects if reject.sample.accepted is None], max_rejects),
        *_accepted(images, assigned, [reject for reject in rejects if reject.sample.accepted is not None]),
        *_conflicts(images, assigned),
        *_masks(images),
        *_unlike(images),
        *_roles(images, assigned, labelled=labelled),
        *_duplicates(images, assigned),
        *_look_alikes(images, assigned),
        *_certificate(images, assigned, calibrate),
        *_shots(images, assigned, calibrate),
        *(Problem("warning", sentence, 0, ()) for sentence in sentences(unused)),
    ]
    return sorted(found, key=lambda problem: problem.level != "error")


def _problem(level: Literal["error", "warning"], what: str, examples: Sequence[str]) -> Iterator[Problem]:
    """One problem with its examples, or none where there are none; `{images}` in `what` becomes "3 images"."""
    n = len(examples)
    if n:
        counted = {f"{noun}s": f"{n} {noun}{'s' * (n != 1)}" for noun in ("image", "mask", "part", "pair")}
        yield Problem(level, what.format(**counted), n, tuple(examples[:EXAMPLES]))


def _rejects(rejects: Sequence[Reject], max_rejects: int) -> Iterator[Problem]:
    beyond = len(rejects) > max_rejects
    what = "{images} that cannot be read"
    if beyond:
        what += f", more than prepare.max_rejects = {max_rejects} (mend or remove them, or allow so many)"
    yield from _problem("error" if beyond else "warning", what, [reject.reason for reject in rejects])


def _accepted(images: Sequence[Examined], assigned: Split, rejects: Sequence[Reject]) -> Iterator[Problem]:
    """What keeps an image from being the one that was accepted, and from having the role that it was accepted into."""
    yield from _problem(
        "error",
        "{images} accepted as good, but now missing or another file (restore it, or take it back: gonogo accept "
        "--roll-back ID)",
        [f"{reject.reason} (accepted as {_id(reject.sample)})" for reject in rejects],
    )
    same: dict[str, list[int]] = {}
    part: dict[str | None, list[int]] = {}
    for i, image in enumerate(images):
        same.setdefault(image.content, []).append(i)
        part.setdefault(image.sample.group_id, []).append(i)
    known, parts = [], []
    for i, (image, role) in enumerate(zip(images, assigned.roles, strict=True)):
        if image.sample.accepted is None:
            continue
        where = f"accepted as {_id(image.sample)}"
        twin = next((j for j in same[image.content] if j != i), None)
        if twin is not None:
            known.append(f"{image.path} = {images[twin].path}, in {assigned.roles[twin] or 'no role'} ({where})")
        shots = part[image.sample.group_id] if image.sample.group_id is not None else []
        other = next((j for j in shots if assigned.roles[j] not in (role, None)), None)
        if other is not None:
            parts.append(
                f"{image.sample.group_id}: {image.path} is not in {assigned.roles[other]} as its part is ({where})"
            )
    yield from _problem(
        "error",
        "{images} accepted as good with the very same pixels as another (take it back: gonogo accept --roll-back ID)",
        known,
    )
    yield from _problem(
        "error",
        "{images} accepted into another role than others of the same part (take it back: gonogo accept --roll-back ID)",
        parts,
    )


def _id(sample: Sample) -> str:
    return str((sample.accepted or {})["id"])


def _conflicts(images: Sequence[Examined], assigned: Split) -> Iterator[Problem]:
    parts = [[images[i] for i in part] for part in assigned.conflicts]
    same = [part for part in parts if len({image.content for image in part}) == 1]
    yield from _problem(
        "error",
        "{images} on both sides of the layout's split with the very same pixels, so that a test would see what "
        "was fitted (remove one of each, or list it under prepare.exclude with the reason)",
        [" = ".join(image.path for image in part) for part in same],
    )
    yield from _problem(
        "error",
        "{parts} with images on both sides of the layout's split (correct the group ids, or set prepare.split to "
        "shuffle to split whole parts anew)",
        [f"{part[0].sample.group_id} ({part[0].path}, {part[-1].path})" for part in parts if part not in same],
    )
    labels: dict[str, dict[int, str]] = {}
    for image in images:
        labels.setdefault(image.content, {}).setdefault(image.sample.label, image.path)
    yield from _problem(
        "error",
        "{images} called good and defective at once",
        [f"{by_label[0]} = {by_label[1]}" for by_label in labels.values() if len(by_label) == 2],
    )


def _masks(images: Sequence[Examined]) -> Iterator[Problem]:
    for fault, what in (
        ("missing", "{masks} missing that the layout promises"),
        ("unreadable", "{masks} that cannot be read"),
        ("size", "{masks} of another size than the image"),
        (
            "background",
            "{masks} of which it cannot be told whether black or white is the defect (save all masks with 0 for good)",
        ),
    ):
        chosen = [image for image in images if image.mask.fault == fault]
        yield from _problem("error", what, [f"{image.path} ({image.mask.detail})" for image in chosen])
    good = [f"{image.path} ({image.mask.detail})" for image in images if image.mask.fault == "good"]
    yield from _problem("warning", "{masks} marking a defect on a good image, whose mask is not used", good)
    for remark in sorted({image.mask.remark for image in images if image.mask.usable and image.mask.remark}):
        said = [image.path for image in images if image.mask.usable and image.mask.remark == remark]
        yield from _problem("warning", f"{{masks}} {remark}", said)
    empty = [image.path for image in images if image.mask.fault == "empty"]
    yield from _problem("warning", "{masks} without a marked pixel, which pixel metrics leave out", empty)
    defective = [image for image in images if image.sample.label == 1]
    unmasked = [image.path for image in defective if image.sample.mask is None]
    if any(image.mask.usable for image in defective):
        yield from _problem("warning", "{images} defective but without a mask, which pixel metrics leave out", unmasked)


def _roles(images: Sequence[Examined], assigned: Split, *, labelled: bool) -> Iterator[Problem]:
    counts = Counter(
        (role, image.sample.label) for image, role in zip(images, assigned.roles, strict=True) if role is not None
    )
    good = {role: counts[(role, 0)] for role in SPLIT_ROLES}
    dealt_so = ", ".join(f"{count} to {role}" for role, count in good.items()) + _tied(images)
    needed: tuple[Role, ...] = ("calibrate",) if labelled else ("fit", "calibrate")
    for role in needed:
        if not good[role]:
            what = f"no good image has the role {role} (good images: {dealt_so}); have more, or change the shares"
            if labelled and not sum(good.values()):
                what += (
                    ". Without a good part no threshold can be placed, and no rate of false alarms be stated; a single "
                    "one is enough to evaluate, and the record says how little it certifies"
                )
            yield Problem("error", what, 0, ())
    purposes: dict[Role, str] = {"fit": "learn from", "validate": "choose the best epoch by"}
    for role, purpose in purposes.items() if labelled else ():
        if not counts[(role, 1)]:
            what = (
                f"no defective image has the role {role}, so that there is none to {purpose}; have more, or change "
                "prepare.test_share and prepare.validate_share"
            )
            yield Problem("error", what, 0, ())
    if not good["test"] and not counts[("test", 1)]:
        yield Problem("error", "no image has the role test", 0, ())
    elif not good["test"]:
        yield Problem("warning", "no good image is in test, so that no false-alarm rate can be measured", 0, ())
    elif not counts[("test", 1)]:
        yield Problem("warning", "no defective image is in test, so that no recall can be measured", 0, ())
    left_out = [images[i].path for i in assigned.left_out]
    yield from _problem("warning", "{images} left out, defective and of a part that fit or calibrate has", left_out)
    moved = [images[i].path for i in assigned.contaminants]
    yield from _problem("warning", "{images} defective and in fit, as prepare.contaminate asks", moved)


def _tied(images: Sequence[Examined]) -> str:
    """A remark where good images are fewer parts than images, which then get one role together."""
    good = [image for image in images if image.sample.label == 0]
    n_contents = len({image.content for image in good})
    n_groups = len({image.sample.group_id or image.path for image in good})
    if n_contents < len(good):
        shown = "one image" if n_contents == 1 else f"{n_contents} images"
        return f"; they show {shown}, and copies of one image get one role"
    if n_groups < len(good):
        shown = "one part" if n_groups == 1 else f"{n_groups} parts"
        return f"; they are of {shown}, and the images of one part get one role"
    return ""


def _unlike(images: Sequence[Examined]) -> Iterator[Problem]:
    """Images of another size, or grey among colour: often from another camera or export."""
    sizes = Counter((image.width, image.height) for image in images)
    if len(sizes) > 1:
        (usual, n_usual), *_ = sizes.most_common()
        others = [f"{image.path} ({image.width} x {image.height})" for image in images if _size(image) != usual]
        what = f"{{images}} of another size than the {n_usual} of {usual[0]} x {usual[1]} pixels"
        yield from _problem("warning", what, others)
    grey = [image.path for image in images if image.mode in GREY_MODES]
    colour = [image.path for image in images if image.mode not in GREY_MODES]
    if grey and colour:
        fewer, kind, more = (grey, "grey", "in colour") if len(grey) <= len(colour) else (colour, "in colour", "grey")
        yield from _problem("warning", f"{{images}} {kind}, where the others are {more}", fewer)


def _size(image: Examined) -> tuple[int, int]:
    return image.width, image.height


def _duplicates(images: Sequence[Examined], assigned: Split) -> Iterator[Problem]:
    first: dict[str, str] = {}
    copies = []
    for image, role in zip(images, assigned.roles, strict=True):
        if role is not None and first.setdefault(image.content, image.path) != image.path:
            copies.append(f"{first[image.content]} = {image.path}")
    yield from _problem("warning", "{images} repeating another one of the same role, pixel by pixel", copies)


def _look_alikes(images: Sequence[Examined], assigned: Split) -> Iterator[Problem]:
    trained = _unique(images, [i for i, role in enumerate(assigned.roles) if role in ("fit", "calibrate")])
    tested = _unique(images, [i for i, role in enumerate(assigned.roles) if role == "test"])
    yield from _problem(
        "warning",
        "{images} of test nearly like one of fit or calibrate",
        _pairs(images, tested, trained),
    )
    yield from _problem(
        "warning",
        "{pairs} of good images in fit and calibrate nearly alike (of one part? give them one group id)",
        _pairs(images, trained, trained),
    )


def _unique(images: Sequence[Examined], positions: list[int]) -> list[int]:
    """The first of each content: exact duplicates are told apart from those that merely look alike."""
    return list({images[i].content: i for i in reversed(positions)}.values())[::-1]


def _pairs(images: Sequence[Examined], ones: list[int], others: list[int]) -> list[str]:
    if not ones or not others:
        return []
    good = [image.look for image in images if image.sample.label == 0]
    usual = usual_look(np.stack(good or [image.look for image in images]))
    looks = np.stack([images[i].look for i in ones])
    nearest = look_alikes(looks, looks if ones is others else np.stack([images[i].look for i in others]), usual)
    pairs = [(images[one], images[others[near]]) for one, near in zip(ones, nearest, strict=True) if near >= 0]
    strangers = [(a, b) for a, b in pairs if a.sample.group_id is None or a.sample.group_id != b.sample.group_id]
    return list({frozenset((a.path, b.path)): f"{a.path} ~ {b.path}" for a, b in strangers}.values())


def _certificate(images: Sequence[Examined], assigned: Split, calibrate: CalibrateParams) -> Iterator[Problem]:
    groups = {
        image.sample.group_id or image.sample.name
        for image, role in zip(images, assigned.roles, strict=True)
        if role == "calibrate"
    }
    rate, confidence = calibrate.false_alarm_rate, calibrate.confidence
    if groups and certified_rank(len(groups), rate, confidence) < 1:
        needed = groups_needed(rate, confidence)
        what = (
            f"{len(groups)} good parts to calibrate certify at most {certified_rate(len(groups), 1, confidence):.1%} "
            f"false alarms with {confidence:.0%} confidence; the wanted {rate:.1%} needs {needed}, "
            f"{needed - len(groups)} more"
        )
        yield Problem("warning", what, 0, ())


def _shots(images: Sequence[Examined], assigned: Split, calibrate: CalibrateParams) -> Iterator[Problem]:
    samples = [image.sample for image in images]
    shots = shots_by_name(samples) or shots_by_time(samples, [image.taken for image in images])
    if shots is not None:
        yield Problem("warning", shots.sentence(assigned.roles.count("calibrate"), calibrate.confidence), 0, ())
