"""Average precision of boxes as COCO defines it, by an installed library: by overlap, class and size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gonogo.calibration.boxes import Boxes
from gonogo.errors import MissingExtraError, UndefinedMetricError

SIZES = ("small", "medium", "large")  # COCO's: an area below 32 x 32 pixels, below 96 x 96, and above
IOU_50, IOU_75 = 0, 5  # places of 0.5 and 0.75 among COCO's ten overlaps


@dataclass(frozen=True)
class Precision:
    """Average precisions, each a share; those of a class or size without a labelled box are absent.

    Attributes:
        map_50, map_75: mean over the classes, at an overlap of 0.5 and of 0.75.
        map_50_95: mean over the overlaps 0.5, 0.55, ..., 0.95 too.
        ap_50, ap_50_95: by the number of the class.
        map_50_by_size: by COCO's name of the size.
    """

    map_50: float
    map_75: float
    map_50_95: float
    ap_50: dict[int, float]
    ap_50_95: dict[int, float]
    map_50_by_size: dict[str, float]


def coco_precision(found: Sequence[Boxes], labelled: Sequence[Boxes], n_classes: int, *, most: int) -> Precision:
    """The average precision of the boxes found in each image.

    Args:
        found: of each image, best first.
        labelled: of each image.
        n_classes: their numbers are 0 to n_classes - 1.
        most: boxes of an image that count, COCO's maxDets.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
        UndefinedMetricError: no box is labelled.

    Source: Lin et al. 2014, "Microsoft COCO"; the library is faster-coco-eval, and the tests ask pycocotools.
    """
    if not any(len(boxes) for boxes in labelled):
        raise UndefinedMetricError("no test image has a labelled box, so that no average precision can be measured")
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise MissingExtraError(
            "the evaluation of boxes needs faster-coco-eval, which is missing; install gonogo[boxes]"
        ) from error
    truth = COCO(dataset_of(labelled, n_classes))
    ours = truth.loadRes(results_of(found)) if any(len(boxes) for boxes in found) else None
    if ours is None:
        nothing = {number: 0.0 for boxes in labelled for number in set(boxes.classes.tolist())}
        return Precision(0.0, 0.0, 0.0, nothing, nothing, {})
    evaluation = COCOeval_faster(truth, ours, iouType="bbox")
    evaluation.params.maxDets = [1, 10, most]
    evaluation.evaluate()
    evaluation.accumulate()
    return precision_of(evaluation.eval)


def precision_of(evaluated: dict[str, Any]) -> Precision:
    """The averages of COCO's array of precisions by overlap, recall, class, size and maxDets; -1 stands for none."""
    precision = np.asarray(evaluated["precision"])[..., -1]  # (10 overlaps, 101 recalls, classes, sizes with all first)
    counted = precision[..., 0].mean(axis=1)  # (10, classes)
    known = [number for number in range(counted.shape[1]) if counted[IOU_50, number] >= 0]
    by_size = {}
    for place, size in enumerate(SIZES, start=1):
        of_size = precision[IOU_50, :, :, place].mean(axis=0)
        if (of_size >= 0).any():
            by_size[size] = float(of_size[of_size >= 0].mean())
    return Precision(
        map_50=float(counted[IOU_50, known].mean()),
        map_75=float(counted[IOU_75, known].mean()),
        map_50_95=float(counted[:, known].mean()),
        ap_50={number: float(counted[IOU_50, number]) for number in known},
        ap_50_95={number: float(counted[:, number].mean()) for number in known},
        map_50_by_size=by_size,
    )


def dataset_of(labelled: Sequence[Boxes], n_classes: int) -> dict[str, Any]:
    """The labelled boxes of each image in COCO's form; ids count from 1, since 0 stands for none there."""
    annotations: list[dict[str, Any]] = []
    for image, boxes in enumerate(labelled, start=1):
        for corners, number in zip(boxes.corners.tolist(), boxes.classes.tolist(), strict=True):
            box = _box(corners)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": number + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    return {
        "info": {},
        "images": [{"id": image} for image in range(1, len(labelled) + 1)],
        "annotations": annotations,
        "categories": [{"id": number + 1, "name": str(number)} for number in range(n_classes)],
    }


def results_of(found: Sequence[Boxes]) -> list[dict[str, Any]]:
    """The boxes found in each image in COCO's form."""
    return [
        {"image_id": image, "category_id": number + 1, "bbox": _box(corners), "score": score}
        for image, boxes in enumerate(found, start=1)
        for corners, number, score in zip(
            boxes.corners.tolist(), boxes.classes.tolist(), boxes.scores.tolist(), strict=True
        )
    ]


def _box(corners: Sequence[float]) -> list[float]:
    x0, y0, x1, y1 = corners
    return [x0, y0, x1 - x0, y1 - y0]
