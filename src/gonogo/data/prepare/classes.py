"""The kinds of labelled defects under one name each, whatever the tools and people called them."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gonogo.data.names import words_of
from gonogo.data.regions import RegionMask
from gonogo.data.sample import Sample
from gonogo.data.tree import listed
from gonogo.errors import ConfigError, DataError


def with_classes(samples: Sequence[Sample], table: Mapping[str, str | None]) -> list[Sample]:
    """The samples with unified labels: lower case, single spaces, one spelling for names that differ in separators.

    Then the `table` applies: it merges a label into another, or with None leaves its objects out. An image with no
    other object is then good. A class without an object, such as the empty parent that some exports write, is no class.

    Raises:
        ConfigError: the table has a label that no object has, or says two things of one.
        DataError: a defective image has no box, so that nobody knows what a fit should find there.
    """
    spelling = _spellings([str(box["label"]) for sample in samples for box in sample.boxes])
    target: dict[str, str | None] = {}
    for label, into in table.items():
        key = words_of(label)
        if key not in spelling:
            there = ", ".join(sorted(spelling.values())) or "none"
            raise ConfigError(f"prepare.class_map: no object is labelled {label!r}; the labels are: {there}")
        if key in target:
            raise ConfigError(f"prepare.class_map: {label!r} stands there twice; keep one")
        target[key] = None if into is None else spelling.get(words_of(into), _plain(into))

    def unified(label: str) -> str | None:
        key = words_of(label)
        return target.get(key, spelling.get(key, _plain(label)))

    unboxed = [sample.name for sample in samples if sample.label == 1 and not sample.boxes]
    if unboxed:
        raise DataError(
            f"{len(unboxed)} images are defective and have no box: {listed(unboxed, 3)}. A fit of boxes would learn "
            "that nothing is there: label the defects, or leave the images out with prepare.exclude"
        )
    return [_renamed(sample, unified) for sample in samples]


def _spellings(labels: Sequence[str]) -> dict[str, str]:
    """By `words_of`, the first of all plain spellings in the order of the alphabet."""
    found: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        found[words_of(label)].add(_plain(label))
    return {key: min(spellings) for key, spellings in found.items()}


def _plain(label: str) -> str:
    return " ".join(unicodedata.normalize("NFC", label).casefold().split())


def _renamed(sample: Sample, unified: Callable[[str], str | None]) -> Sample:
    if sample.label == 0:
        return sample
    boxes = [{**box, "label": label} for box in sample.boxes if (label := unified(str(box["label"]))) is not None]
    mask = sample.mask
    if isinstance(mask, RegionMask):
        mask = replace(mask, regions=tuple(one for one in mask.regions if unified(one.label) is not None))
    elif len(boxes) < len(sample.boxes):
        mask = None  # nobody knows which of its pixels are left
    if not boxes:
        return replace(sample, label=0, defect_type="good", boxes=(), mask=None)
    areas: dict[str, float] = defaultdict(float)
    for box in boxes:
        areas[box["label"]] += box["width"] * box["height"]
    largest = max(sorted(areas), key=lambda label: areas[label])
    return replace(sample, defect_type=largest, boxes=boxes, mask=mask)
