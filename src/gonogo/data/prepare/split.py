"""Which image has which role: by the layout where it says so, by seed elsewhere, one part always on one side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gonogo.data.sample import Sample, Shares, draw
from gonogo.images.roles import Role


@dataclass(frozen=True)
class Split:
    """A role for each sample, None where it has none.

    Attributes:
        roles: in the samples' order.
        conflicts: samples of one part or one content that the layout puts on both sides, as lists of positions.
        left_out: defective samples whose part went to fit or calibrate, where only good ones are of use.
        contaminants: defective samples that were moved into fit on purpose.
        validators: defective samples that were moved into validate.
    """

    roles: list[Role | None]
    conflicts: list[list[int]]
    left_out: list[int]
    contaminants: list[int]
    validators: list[int]


def split(
    samples: Sequence[Sample],
    contents: Sequence[str],
    shares: Shares,
    *,
    contaminate: float = 0.0,
    validate: float = 0.0,
) -> Split:
    """Deal the roles: all samples of one group, and all with the same pixels, get the same one.

    A part with good and defective shots may go to fit or calibrate where the layout leaves that open; its defective
    shots are then left out. A part without a good shot goes to test, or is left out where the layout trains on it.

    Args:
        contents: the digest of each sample's pixels.
        contaminate: share of the defective test samples to move into fit; whole parts move, so that none is on both
            sides, and the good shots of those parts move too.
        validate: share of the defective samples still in test to move into validate, in the same way.
    """
    roles: list[Role | None] = [None] * len(samples)
    conflicts: list[list[int]] = []
    left_out: list[int] = []
    parts = {min(samples[i].name for i in part): part for part in _parts(samples, contents)}
    open_roles: dict[str, list[Role]] = {}
    for name, part in parts.items():
        shared = [role for role in samples[part[0]].roles if all(role in samples[i].roles for i in part)]
        only_defects = all(samples[i].label == 1 for i in part)
        if not shared:
            conflicts.append(part)
        elif not only_defects:
            open_roles[name] = shared
        elif "test" in shared:
            open_roles[name] = ["test"]
        else:
            left_out += part
    for name, role in shares.split(open_roles).items():
        for i in parts[name]:
            if samples[i].label == 1 and role != "test":
                left_out.append(i)
            else:
                roles[i] = role

    def move(to: Role, share: float, purpose: str) -> list[int]:
        defective = {i for i, role in enumerate(roles) if role == "test" and samples[i].label == 1}
        wanted, moved = round(share * len(defective)), list[int]()
        holders = [name for name, part in parts.items() if defective.intersection(part)]
        for name in sorted(holders, key=lambda name: draw(shares.seed, purpose, name)):
            if len(moved) >= wanted:
                break
            moved += [i for i in parts[name] if samples[i].label == 1]
            for i in parts[name]:
                roles[i] = to
        return sorted(moved)

    contaminants = move("fit", contaminate, "contaminate")
    validators = move("validate", validate, "validate")
    return Split(roles, conflicts, sorted(left_out), contaminants, validators)


def split_labelled(samples: Sequence[Sample], contents: Sequence[str], shares: Shares, *, validate: float) -> Split:
    """Deal the roles for a fit that learns from labelled defects: all samples of one part get the same one.

    A part with a good shot is dealt as in `split`, and its defective shots are left out where it goes to calibrate. A
    part without a good shot goes to test or fit, by the same share. Of the parts in fit that show a defect, some move
    to validate, which chooses the best epoch.

    Args:
        contents: the digest of each sample's pixels.
        validate: share of the defective samples outside test to move into validate; whole parts move.
    """
    roles: list[Role | None] = [None] * len(samples)
    conflicts: list[list[int]] = []
    left_out: list[int] = []
    parts = {min(samples[i].name for i in part): part for part in _parts(samples, contents)}
    with_good: dict[str, list[Role]] = {}
    without: dict[str, list[Role]] = {}
    for name, part in parts.items():
        shared = [role for role in samples[part[0]].roles if all(role in samples[i].roles for i in part)]
        if all(samples[i].label == 1 for i in part):
            shared = [role for role in shared if role in ("fit", "test")]
            without[name] = shared
        else:
            with_good[name] = shared
        if not shared:
            conflicts.append(part)
    open_roles = [{name: roles for name, roles in group.items() if roles} for group in (with_good, without)]
    dealt = shares.split(open_roles[0]) | replace(shares, calibrate=0.0).split(open_roles[1])
    for name, role in dealt.items():
        for i in parts[name]:
            if samples[i].label == 1 and role == "calibrate":
                left_out.append(i)
            else:
                roles[i] = role
    fitted = {i for i, role in enumerate(roles) if role == "fit" and samples[i].label == 1}
    holders = [name for name, part in parts.items() if fitted.intersection(part)]
    validators: list[int] = []
    for name in sorted(holders, key=lambda name: draw(shares.seed, "validate", name)):
        if len(validators) >= round(validate * len(fitted)):
            break
        validators += [i for i in parts[name] if samples[i].label == 1]
        for i in parts[name]:
            roles[i] = "validate"
    return Split(roles, conflicts, sorted(left_out), [], sorted(validators))


def _parts(samples: Sequence[Sample], contents: Sequence[str]) -> list[list[int]]:
    """Positions of the samples that a group id or equal pixels tie together, directly or through others."""
    if not samples:
        return []
    first: dict[tuple[str, str], int] = {}
    pairs = []
    for i, (sample, content) in enumerate(zip(samples, contents, strict=True)):
        keys = [("content", content)] + ([("group", sample.group_id)] if sample.group_id is not None else [])
        pairs += [(i, first.setdefault(key, i)) for key in keys]
    rows, columns = np.array(pairs).T
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(samples), len(samples)))
    _, part_of = connected_components(graph, directed=False)
    parts: dict[int, list[int]] = {}
    for i, part in enumerate(part_of.tolist()):
        parts.setdefault(part, []).append(i)
    return list(parts.values())
