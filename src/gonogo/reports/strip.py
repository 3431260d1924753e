"""A strip of test parts for the report's first screen: each part, where it differs, and how it was judged."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from gonogo.inference.scorer import Verdict
from gonogo.reports.drawing import REGION_LINE, Size, box_tile, image_tile, jpeg_uri, region_lines, tile_size
from gonogo.reports.parts import Part, PartImages

T = TypeVar("T")

SIDE, SHOWN_SIDE = 160, 116  # pixels of a square tile, as stored and as shown on a page
N_PARTS, N_GOOD, N_WRONG = 8, 3, 2  # shown in all; of them good parts that pass, and wrong verdicts
# The colour over a part, by its map's value in thresholds: none up to 0.7, orange at 1, dark red from 1.6 on.
HEAT_AT = np.array([0.7, 1.0, 1.6])
HEAT = np.array([[255, 214, 90], [247, 131, 35], [170, 12, 32]], dtype=np.float64)
OPACITY = np.array([0.0, 0.65, 0.85])


def strip_of(parts: Sequence[Part], images: PartImages) -> dict[str, Any]:
    """The parts to show with their pictures as data URIs, and how many there are of each kind, as JSON values."""
    room = tile_size((images.size_of(part) for part in parts), SIDE)
    return {
        "n_good": sum(not part.defective for part in parts),
        "n_false_alarms": sum(part.false_alarm for part in parts),
        "n_defective": sum(part.defective for part in parts),
        "n_missed": sum(part.missed for part in parts),
        "parts": [_described(part, images, room) for part in chosen_parts(parts)],
    }


def chosen_parts(parts: Sequence[Part]) -> list[Part]:
    """The parts to show, `N_PARTS` at most and each once.

    First good parts that pass, evenly spaced by score; then rejected defects, of as many types as there is room for and
    evenly spaced by score within a type; last, if there are any, wrong verdicts: the worst ones, of both kinds if both
    occur.
    """
    passed = [part for part in parts if not part.defective and not part.rejected]
    missed = _by_score([part for part in parts if part.missed])
    false_alarms = _by_score([part for part in parts if part.false_alarm])[::-1]
    n_missed = min(len(missed), N_WRONG - min(len(false_alarms), N_WRONG // 2))
    wrong = [*missed[:n_missed], *false_alarms[: N_WRONG - n_missed]]
    room = N_PARTS - N_GOOD - len(wrong)
    by_type: dict[str, list[Part]] = {}
    for part in parts:
        if part.defective and part.rejected:
            by_type.setdefault(part.defect_type, []).append(part)
    types = _evenly([by_type[name] for name in sorted(by_type)], room)
    shares = [room // len(types) + (number < room % len(types)) for number in range(len(types))]
    found = [part for of_type, n in zip(types, shares, strict=True) for part in _evenly(_by_score(of_type), n)]
    return [*_evenly(_by_score(passed), N_GOOD), *found, *wrong]


def _by_score(parts: Sequence[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: (part.score, part.image))


def _evenly(ordered: Sequence[T], n: int) -> list[T]:
    """Up to `n` of them, evenly spaced: one from the middle of each of `n` equal stretches."""
    n = min(n, len(ordered))
    return [ordered[(2 * number + 1) * len(ordered) // (2 * n)] for number in range(n)]


def overlays_of(paths: Sequence[str], parts: Sequence[Part], images: PartImages) -> list[str]:
    """Of the parts with these images, each with its map over it, as data URIs; without it where none is localised."""
    by_image = {part.image: part for part in parts}
    chosen = [by_image[path] for path in paths]
    room = tile_size((images.size_of(part) for part in chosen), SIDE)
    pictures = []
    for part in chosen:
        pixels, verdict = images.pixels_of(part), images.verdict_of(part)
        localises = verdict.rule.threshold is not None
        if verdict.boxes is not None:
            pictures.append(jpeg_uri(box_tile(pixels, images.boxes_of(part), verdict.boxes, room)))
            continue
        pictures.append(jpeg_uri(overlay_tile(pixels, verdict, room) if localises else image_tile(pixels, room)))
    return pictures


def _described(part: Part, images: PartImages, room: Size) -> dict[str, Any]:
    pixels, verdict = images.pixels_of(part), images.verdict_of(part)
    picture = image_tile(pixels, room)
    overlay = overlay_tile(pixels, verdict, room) if verdict.rule.threshold is not None else None
    if verdict.boxes is not None:
        overlay = box_tile(pixels, images.boxes_of(part), verdict.boxes, room)
    return {
        "image": part.image,
        "defective": part.defective,
        "defect_type": part.defect_type,
        "rejected": part.rejected,
        "missed": part.missed,
        "false_alarm": part.false_alarm,
        "times_threshold": part.score / part.threshold if part.threshold > 0 else None,
        "width": round(picture.shape[1] * SHOWN_SIDE / SIDE),
        "height": round(picture.shape[0] * SHOWN_SIDE / SIDE),
        "picture": jpeg_uri(picture),
        "overlay": None if overlay is None else jpeg_uri(overlay),
    }


def overlay_tile(pixels: np.ndarray, verdict: Verdict, room: Size) -> np.ndarray:
    """The part in grey with its map's colours over it, and a thin line around each region."""
    grey = image_tile(pixels, room).mean(axis=2, keepdims=True) * 0.8 + 51
    size = (grey.shape[1], grey.shape[0])
    relative = np.zeros(verdict.anomaly_map.shape, dtype=np.float32)
    if verdict.threshold > 0:
        relative = (verdict.anomaly_map / verdict.threshold).astype(np.float32)
    relative = np.asarray(Image.fromarray(relative).resize(size, Image.Resampling.BOX))
    heat = np.stack([np.interp(relative, HEAT_AT, channel) for channel in HEAT.T], axis=-1)
    opacity = np.interp(relative, HEAT_AT, OPACITY)[..., None]
    tile: np.ndarray = (grey * (1 - opacity) + heat * opacity).round().astype(np.uint8)
    tile[region_lines(verdict.defect_mask, size)] = REGION_LINE
    return tile
