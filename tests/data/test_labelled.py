"""Labelled defects for a fit of boxes: one name for each kind, one role for each part, and drawn ones that CI fits."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import CALIBRATE, PREPARE, shares, unseen
from gonogo.data.blemishes import Blemishes
from gonogo.data.prepare.classes import with_classes
from gonogo.data.prepare.prepare import prepare
from gonogo.data.prepare.split import split_labelled
from gonogo.data.prepare.yolo_labels import write_yolo
from gonogo.data.regions import Region, RegionMask
from gonogo.data.sample import Sample
from gonogo.data.yolo import class_names, read_yolo
from gonogo.errors import ConfigError, DataError
from gonogo.images.roles import ROLES

LABELLED = replace(PREPARE, task="boxes", calibrate_share=0.7, validate_share=0.2)


def labelled(name, *labels, group=None):
    boxes = [
        {"x": 2.0 * i, "y": 1.0, "width": 2.0, "height": 3.0 + i, "label": label} for i, label in enumerate(labels)
    ]
    regions = tuple(Region(label=b["label"], box=(b["x"], 1.0, b["x"] + 2.0, 1.0 + b["height"])) for b in boxes)
    return Sample(
        name=name,
        image=np.zeros((8, 8, 3), np.uint8),
        label=int(bool(labels)),
        defect_type=labels[0] if labels else "good",
        roles=ROLES,
        group_id=group,
        mask=RegionMask(where=name, size=(8, 8), regions=regions) if labels else None,
        boxes=boxes,
    )


def labels_of(sample):
    return [box["label"] for box in sample.boxes]


def test_names_that_differ_in_case_and_separators_are_one_class():
    found = with_classes(
        [labelled("a", "Pit  Hole", "CRACK"), labelled("b", "pit_hole"), labelled("c", "pit hole")], {}
    )
    assert [labels_of(sample) for sample in found] == [["pit hole", "crack"], ["pit hole"], ["pit hole"]]


def test_the_table_merges_and_drops_and_an_image_without_another_object_is_good():
    samples = [labelled("a", "pore", "dust"), labelled("b", "Dust"), labelled("c", "porosity")]
    a, b, c = with_classes(samples, {"Porosity": "pore", "dust": None})
    assert (labels_of(a), labels_of(c)) == (["pore"], ["pore"])
    assert (b.label, b.defect_type, b.boxes, b.mask) == (0, "good", (), None)
    assert a.mask(8, 8).sum() == 2 * 3  # the dust's pixels are no longer marked
    assert samples[0].mask(8, 8).sum() > 2 * 3


def test_the_class_whose_boxes_are_largest_after_the_merge_names_the_defect_type():
    (found,) = with_classes([labelled("a", "b", "a1", "b")], {"a1": "b"})
    assert found.defect_type == "b"


def test_a_label_that_no_object_has_is_refused_with_those_that_are_there():
    with pytest.raises(ConfigError, match="labelled 'por'; the labels are: dust, pore"):
        with_classes([labelled("a", "pore", "dust")], {"por": None})
    with pytest.raises(ConfigError, match="'PORE' stands there twice"):
        with_classes([labelled("a", "pore")], {"pore": None, "PORE": None})


def test_a_defective_image_without_a_box_is_refused():
    with pytest.raises(DataError, match="1 images are defective and have no box: b"):
        with_classes([labelled("a", "pore"), replace(labelled("b", "pore"), boxes=())], {})


def test_each_part_has_one_role_and_calibrate_has_good_shots_alone():
    rng = np.random.default_rng(3)
    samples = []
    for part in range(60):
        kind = part % 3  # good | mixed | defective
        for shot in range(3):
            bad = kind == 2 or (kind == 1 and shot == 0)
            samples.append(labelled(f"{part:02d}_{shot}", *(["pore"] if bad else []), group=f"p{part}"))
    order = rng.permutation(len(samples))
    samples = [samples[i] for i in order]
    split = split_labelled(samples, [s.name for s in samples], shares(5), validate=0.25)
    roles = defaultdict(set)
    for i, role in enumerate(split.roles):
        if i not in split.left_out:
            roles[samples[i].group_id].add(role)
    assert all(len(of_part) == 1 and None not in of_part for of_part in roles.values())
    dealt = list(zip(split.roles, (s.label for s in samples), strict=True))
    assert ("calibrate", 0) in dealt
    assert ("calibrate", 1) not in dealt
    assert {("fit", 1), ("fit", 0), ("validate", 1), ("test", 1), ("test", 0)} <= set(dealt)
    assert all(samples[i].label == 1 for i in split.left_out)
    n_outside = sum(role in ("fit", "validate") and label == 1 for role, label in dealt)
    assert 0.2 <= len(split.validators) / n_outside <= 0.35


def test_drawn_defects_change_the_pixels_of_their_boxes_and_no_other():
    good = {s.group_id: s for s in Blemishes(views=1).samples("any", Path(), shares(1)) if s.label == 0}
    source = Blemishes(views=2)
    samples = list(source.samples("any", Path(), shares(1)))
    assert {s.group_id for s in samples if s.label == 1}.isdisjoint(good)
    marked = [s for s in samples if s.label == 1]
    assert {box["label"] for s in marked for box in s.boxes} == set(source.defect_types)
    for sample in marked:
        inside = np.zeros((48, 48), bool)
        for box in sample.boxes:
            x, y, width, height = (int(box[key]) for key in ("x", "y", "width", "height"))
            part = sample.mask[y : y + height, x : x + width]
            borders = [part[0], part[-1], part[:, 0], part[:, -1]]
            assert all(border.any() for border in borders)
            inside[y : y + height, x : x + width] = True
        assert not sample.mask[~inside].any()


def test_prepare_deals_drawn_defects_to_fit_validate_and_test(tmp_path):
    found = prepare(
        Blemishes().samples("any", Path(), shares(17)),
        LABELLED,
        CALIBRATE,
        category="parts",
        folder=tmp_path,
        raw=tmp_path,
        seed=17,
        progress=unseen,
    )
    found.require_no_error()
    records = found.dataset.records
    assert {(r.role, r.label) for r in records} == {
        ("fit", 0), ("fit", 1), ("validate", 1), ("calibrate", 0), ("test", 0), ("test", 1)
    }  # fmt: skip
    assert all(bool(r.boxes) == (r.label == 1) for r in records)


def test_without_validate_images_the_problem_says_what_to_change(tmp_path):
    found = prepare(
        Blemishes().samples("any", Path(), shares(17)),
        replace(LABELLED, validate_share=0.0),
        CALIBRATE,
        category="parts",
        folder=tmp_path,
        raw=tmp_path,
        seed=17,
        progress=unseen,
    )
    with pytest.raises(DataError, match=r"no defective image has the role validate.*prepare\.validate_share"):
        found.require_no_error()


def test_yolo_labels_are_read_back_as_the_boxes_and_no_calibrate_image_is_among_them(tmp_path):
    dataset = prepare(
        Blemishes(views=1).samples("any", Path(), shares(17)),
        LABELLED,
        CALIBRATE,
        category="parts",
        folder=tmp_path / "prepared",
        raw=tmp_path,
        seed=17,
        progress=unseen,
    ).dataset
    folder = tmp_path / "yolo"
    counts = write_yolo(dataset, folder)
    names = class_names(folder)
    assert list(names.values()) == ["hole", "scratch", "stain"]
    for role, split in (("fit", "train"), ("validate", "val"), ("test", "test")):
        records = dataset.with_role(role)
        images = sorted((folder / "images" / split).iterdir())
        assert len(records) == len(images) == counts[split]
        for record, image in zip(records, images, strict=True):
            assert image.read_bytes() == dataset.path_of(record).read_bytes()
            said = read_yolo(folder / "labels" / split / f"{image.stem}.txt", image, names)
            assert [region.label for region in said.regions] == [box["label"] for box in record.boxes]
            for region, box in zip(said.regions, record.boxes, strict=True):
                expected = [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]
                assert region.box == pytest.approx(expected, abs=1e-4)
    assert sum(counts.values()) == len(dataset.records) - len(dataset.with_role("calibrate"))
    with pytest.raises(DataError, match="exists already"):
        write_yolo(dataset, folder)


def test_one_good_part_is_enough_and_without_any_the_error_says_so(tmp_path):
    samples = list(Blemishes(views=1).samples("parts", Path(), shares(17)))
    good, defective = ([sample for sample in samples if sample.label == label] for label in (0, 1))

    def prepared(n_good):
        folder = tmp_path / str(n_good)
        chosen = [*good[:n_good], *defective]
        about = {"category": "parts", "folder": folder, "raw": tmp_path, "seed": 17, "progress": unseen}
        return prepare(chosen, LABELLED, CALIBRATE, **about)

    with pytest.raises(DataError, match=r"no good image has the role calibrate .* a single one is enough to evaluate"):
        prepared(0).require_no_error()
    one = prepared(1)
    one.require_no_error()
    assert [record.role for record in one.dataset.records if record.label == 0] == ["calibrate"]
    assert any("1 good parts to calibrate certify at most" in str(problem) for problem in one.warnings)
