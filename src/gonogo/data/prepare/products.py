"""Whether folders with label files of their own are products, each a category, or lots of one product."""

import re
from collections.abc import Sequence
from pathlib import Path

from gonogo.data.names import (
    BAD,
    GOOD,
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    LOTS,
    MASK,
    TEST,
    TRAIN,
    UNCLEAR,
    VALIDATION,
    says,
    suggests,
    words_of,
)
from gonogo.data.tree import folders_in, images_below, images_in, listed
from gonogo.errors import DataError

OF_ONE_SET = TRAIN | TEST | VALIDATION | IMAGE_FOLDERS | LABEL_FOLDERS | MASK | UNCLEAR | GOOD | BAD


def product_folders(raw: Path, labelled: Sequence[str]) -> list[str]:
    """The names of the folders in `raw` that are products of their own; none where all belong to one product.

    Args:
        raw: the folder of all images.
        labelled: names of the folders in it that hold label files with an object.

    Raises:
        DataError: the names do not tell which of the two they are.
    """
    holding = [name for name in folders_in(raw) if images_below(raw / name)]
    if len(holding) < 2 or set(holding) != set(labelled) or images_in(raw):
        return []
    if any(says(name, OF_ONE_SET) for name in holding):
        return []
    lots = [name for name in holding if suggests(name, LOTS) or not re.search(r"[^\W\d_]", name)]
    if len(lots) == len(holding):
        return []
    if lots or len({re.sub(r"\d+", "", words_of(name)) for name in holding}) == 1:
        raise DataError(
            f"{raw} has folders with label files of their own, {listed(holding, 4)}: are they products, or lots of one "
            "product? Their names do not tell. Name one of them to gonogo init for a project of its own, or rename "
            "them: as lot_1, lot_2, ... they are one category, and by names of products one each"
        )
    return holding
