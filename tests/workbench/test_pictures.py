"""What the workbench draws of an image: its map, or the boxes where they decide."""

from dataclasses import replace

import numpy as np

from conftest import REGIONS
from gonogo.calibration.boxes import FoundBox
from gonogo.calibration.regions import RegionRule
from gonogo.images.colours import FOUND_BOX, LABELLED_BOX
from gonogo.images.draw_boxes import DrawnBox
from gonogo.inference.scorer import BoxModel, Verdict
from gonogo.workbench.pictures import seen_tile

PIXELS = np.full((40, 40, 3), 90, dtype=np.uint8)
BESIDE = Verdict(
    score=2.0,
    threshold=1.0,
    anomalous=True,
    p_value=0.1,
    probability=None,
    uncertain=False,
    anomaly_map=np.ones((40, 40), dtype=np.float32),
    rule=RegionRule(REGIONS, None),
    boxes=[FoundBox("pore", 20, 20, 8, 8, 2.0, 0.7)],
    box_model=BoxModel("parts", "ab12", 1.0),
)


def has(tile, colour):
    return bool((tile == colour).all(axis=2).any())


def test_boxes_take_the_place_of_the_map_where_they_decide():
    labelled = [DrawnBox((4, 4, 12, 12), "pore", LABELLED_BOX)]
    tile = seen_tile(PIXELS, replace(BESIDE, box_model=None), (160, 160), labelled)
    assert has(tile, FOUND_BOX)
    assert has(tile, LABELLED_BOX)
    assert has(tile, PIXELS[0, 0])
    tile = seen_tile(PIXELS, BESIDE, (160, 160), labelled)
    assert not has(tile, FOUND_BOX)
    assert not has(tile, PIXELS[0, 0])  # the map's colours
