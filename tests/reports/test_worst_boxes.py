"""The page of the worst cases by class: which boxes it shows, in which order, and what a cut-out shows of them."""

import numpy as np

from box_gauge import blemishes
from gonogo.calibration.boxes import BoxClasses, Boxes
from gonogo.evaluation.boxes.box_accuracy import BoxResults, box_rows, labelled_boxes
from gonogo.images.colours import FOUND_BOX, LABELLED_BOX
from gonogo.reports.worst_boxes import BoxCase, cases_by_class, cut_out, write_worst_boxes


def case(label, x, side, *, labelled=True, score=1.0, overlap=0.0):
    return BoxCase("a.png", label, labelled, (x, 10.0, x + side, 10.0 + side), score, overlap)


def test_a_class_has_its_missed_defects_by_size_and_its_wrong_boxes_by_score():
    boxes = [
        case("pore", 0, 4),
        case("pore", 10, 9),
        case("pore", 20, 30, overlap=0.6),
        case("pore", 30, 5, labelled=False, score=1.2, overlap=0.49),
        case("pore", 40, 5, labelled=False, score=3.4),
        case("pore", 21, 30, labelled=False, score=9.0, overlap=0.6),
        case("crack", 50, 5, labelled=False, score=1.1),
    ]
    crack, pore = cases_by_class(boxes)
    assert (crack.label, crack.missed, len(crack.wrong)) == ("crack", [], 1)
    assert [box.corners[0] for box in pore.missed] == [10, 0]
    assert [box.score for box in pore.wrong] == [3.4, 1.2]
    assert (pore.n_labelled, pore.n_found) == (3, 3)


def test_a_cut_out_shows_the_box_with_its_neighbours_even_at_the_border_of_the_image():
    pixels = np.full((200, 300, 3), 128, dtype=np.uint8)
    missed, found = case("pore", 292, 8), case("pore", 270, 8, labelled=False)
    tile = cut_out(pixels, missed, [missed, found])
    assert tile.shape == (220, 220, 3)
    (_, columns), (_, others) = (np.nonzero((tile == colour).all(axis=2)) for colour in (LABELLED_BOX, FOUND_BOX))
    assert columns.min() > others.max()  # 48 pixels of the image, the last of which the labelled box has
    assert columns.max() >= 215


def test_the_page_counts_every_class_and_shows_its_worst_cases(tmp_path):
    dataset = blemishes(tmp_path / "data")
    records = [record for record in dataset.with_role("test") if record.boxes]
    classes = BoxClasses(["hole", "scratch", "stain"], [0.5] * 3)
    truth = [labelled_boxes(record, classes) for record in records]
    wrong = Boxes(np.array([[1.0, 1, 3, 3]]), np.array([2]), np.array([2.5]))
    found = [wrong, *(boxes.where(np.ones(len(boxes), bool)) for boxes in truth[1:])]  # all but those of the first
    rows = [
        {name: str(value) for name, value in row.items()}
        for row in box_rows(BoxResults(records, found, truth, classes), 1.0)
    ]
    write_worst_boxes(tmp_path / "page.html", rows, dataset, category="parts")
    page = (tmp_path / "page.html").read_text()
    missed = sum(len(one.missed) for one in cases_by_class([BoxCase.from_row(row) for row in rows]))
    assert missed == len(truth[0]) > 0
    assert page.count("<figure>") == missed + 1
    assert page.count(records[0].path) == missed + 1
    assert "score 2.5, overlap 0.00" in page
