"""Boxes drawn into a picture: where their lines and classes stand."""

import numpy as np
import pytest

from gonogo.images.draw_boxes import DrawnBox, with_boxes

COLOUR = (200, 100, 0)
PICTURE = np.full((200, 300, 3), 90, dtype=np.uint8)


def rows_of(corners, text, *, below=False):
    """The rows of the picture in which most of a stretch has the box's colour: its lines, and what its class is on."""
    drawn = with_boxes(PICTURE, [DrawnBox(corners, text, COLOUR, below)])
    return set(np.flatnonzero((drawn == COLOUR).all(axis=2).sum(axis=1) > 20).tolist())


@pytest.mark.parametrize(
    ("corners", "below", "has_text"),
    [
        ((100, 80, 200, 120), False, range(64, 79)),
        ((100, 80, 200, 120), True, range(121, 136)),
        ((100, 2, 200, 40), False, range(41, 56)),
        ((100, 160, 200, 198), True, range(144, 159)),
        ((0, 0, 300, 200), False, range(185, 200)),
        ((0, 0, 300, 200), True, range(185, 200)),
    ],
)
def test_the_class_stands_above_its_box_or_below_and_always_within_the_picture(corners, below, has_text):
    with_text, without = (rows_of(corners, text, below=below) for text in ("scratch 66%", ""))
    assert with_text > without
    assert with_text - without <= set(has_text)
    assert len(with_text - without) >= 3


def test_nothing_inside_a_box_is_covered():
    drawn = with_boxes(PICTURE, [DrawnBox((100, 80, 107, 87), "pore", COLOUR)])
    assert (drawn[80:87, 100:107] == 90).all()
    assert (drawn[79, 99:108] == COLOUR).all()
