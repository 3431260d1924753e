"""The page of a category's data card: its facts, and some images of each kind."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.images.dataset import Dataset, Record
from gonogo.images.roles import ROLES
from gonogo.reports.drawing import image_tile, jpeg_uri, tile_size
from gonogo.reports.pages import render

SIDE, PER_KIND = 132, 8  # pixels of a square tile; images of each kind


def write_data_card(path: Path, card: Mapping[str, Any], dataset: Dataset) -> None:
    """Write the card, `card_facts` of the prepare stage, as one HTML page that holds everything it shows."""
    render(path, "data_card.html.j2", card=card, kinds=list(_kinds(dataset)))


def _kinds(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Rows of the sample grid: good images by role, then each defect type, a few of each, evenly spaced."""
    rows: dict[tuple[int, str], list[Record]] = {}
    for record in dataset.records:
        kind = record.role if record.label == 0 else record.defect_type
        rows.setdefault((record.label, kind), []).append(record)
    room = tile_size(((record.width, record.height) for record in dataset.records), SIDE)
    for label, kind in sorted(rows, key=lambda row: (row[0], ROLES.index(row[1]) if row[0] == 0 else row[1])):
        records = rows[label, kind]
        chosen = [records[i] for i in np.unique(np.linspace(0, len(records) - 1, PER_KIND).round().astype(int))]
        yield {
            "title": f"good, {kind}" if label == 0 else kind,
            "n": len(records),
            "tiles": [_tile(dataset, record, room) for record in chosen],
        }


def _tile(dataset: Dataset, record: Record, room: tuple[int, int]) -> dict[str, Any]:
    tile = image_tile(dataset.pixels_of(record), room, dataset.mask_of(record) if record.label == 1 else None)
    return {"uri": jpeg_uri(tile), "name": record.path, "width": tile.shape[1], "height": tile.shape[0]}
