"""How a defect becomes a case: its vectors, its region and a picture of it."""

import io
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from gonogo.calibration.regions import Region
from gonogo.inference.scorer import Scorer, Verdict
from gonogo.inference.vectors import Vectors
from gonogo.store.cases import Kind
from gonogo.store.reviews import settle
from gonogo.store.schema import Row
from gonogo.store.store import Store

CROP_SIDE = 192  # pixels of the longer side of a case's picture, at most
LEAST_SHARE = 0.25  # of the image's shorter side, that a picture shows at least
MARGIN = 0.25  # of a region's longer side, beside it
LOSSLESS_SIDE, JPEG_QUALITY = 64, 86  # pixels


def settled_defect(inspection: Row) -> str | None:
    """The defect type of an inspection whose reviews come to a defect; None: they do not."""
    settlement = settle(inspection["reviews"])
    return settlement.defect_type if settlement.label == "defect" else None


def learn_inspection(store: Store, scorer: Scorer, inspection: Row, pixels: np.ndarray, verdict: Verdict) -> None:
    """Keep an inspection that was reviewed as a defect as a case, or bring its case up to date.

    Args:
        store: keeps it.
        scorer: gave the verdict.
        inspection: the row of the store; its reviews must come to a defect.
        pixels: (h, w, 3) uint8 RGB of its image.
        verdict: of these pixels by the scorer in use now, with features.
    """
    defect_type = settled_defect(inspection)
    assert defect_type is not None
    case = {
        "id": inspection["id"],
        "inspection": inspection["id"],
        "source": inspection["name"],
        "image": inspection["image_sha256"],
        "part": None,
        "category": inspection["category"],
        "defect_type": defect_type,
        "at": inspection["at"],
    }
    put_case(store, scorer, case, pixels, verdict)


def put_case(store: Store, scorer: Scorer, case: Mapping[str, Any], pixels: np.ndarray, verdict: Verdict) -> bool:
    """Keep a case of these pixels (h, w, 3) uint8 RGB; whether it is new.

    Its region is the best box, with its class, or that with the highest peak where no box was found. A case that a
    bundle without features makes of boxes has no vectors: it is listed and found by words, and not by likeness.

    Raises:
        DataError: the bundle gives no features, and finds no boxes.
    """
    require_cases(scorer)
    vectors = verdict.vectors
    region = verdict.region
    crop, crop_type = crop_of(pixels, region)
    shown = None if region is None else asdict(region)
    if shown is not None and verdict.boxes:
        shown |= {"label": verdict.boxes[0].label, "confidence": verdict.boxes[0].confidence}
    row = {"at": time.time(), **case, "region": shown, "crop": crop, "crop_type": crop_type}
    return store.cases.put(row, {} if vectors is None else as_bytes(vectors), scorer.space)


def require_cases(scorer: Scorer) -> None:
    """Do nothing if a defect that the bundle judges can become a case: by its features, or by the boxes that it finds.

    Raises:
        DataError: the bundle gives no features, and finds no boxes.
    """
    if not finds_boxes(scorer):
        scorer.require_space()


def finds_boxes(scorer: Scorer) -> bool:
    """Whether a bundle finds boxes, or another beside it does."""
    return scorer.bundles[-1].box_classes is not None


def as_bytes(vectors: Vectors) -> dict[Kind, bytes]:
    """The vectors as the store has them."""
    found: dict[Kind, bytes] = {"image": vectors.image.astype("<f4").tobytes()}
    if vectors.region is not None:
        found["region"] = vectors.region.astype("<f4").tobytes()
    return found


def crop_of(pixels: np.ndarray, region: Region | None) -> tuple[bytes, str]:
    """A picture of a region of an image (h, w, 3) uint8 and what is around it, or of the image, and its media type."""
    picture = Image.fromarray(pixels)
    if region is not None:
        picture = picture.crop(_around(region, pixels.shape[0], pixels.shape[1]))
    picture.thumbnail((CROP_SIDE, CROP_SIDE))
    file = io.BytesIO()
    if max(picture.size) <= LOSSLESS_SIDE:
        picture.save(file, format="PNG")
        return file.getvalue(), "image/png"
    picture.save(file, format="JPEG", quality=JPEG_QUALITY)
    return file.getvalue(), "image/jpeg"


def _around(region: Region, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a square around a region, as far as the image reaches."""
    x, y, box_width, box_height = region.box
    side = max((1 + 2 * MARGIN) * max(box_width, box_height), LEAST_SHARE * min(height, width))
    centre_x, centre_y = x + box_width / 2, y + box_height / 2
    return (
        max(0, round(centre_x - side / 2)),
        max(0, round(centre_y - side / 2)),
        min(width, max(round(centre_x + side / 2), x + box_width)),
        min(height, max(round(centre_y + side / 2), y + box_height)),
    )
