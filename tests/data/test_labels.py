"""Images with a label file each, as LabelMe, Pascal VOC and YOLO write them, and what people get wrong in them."""

import base64
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gonogo.data.label_files import FORMATS
from gonogo.data.labels import Labels
from gonogo.data.sample import Sample, Shares
from gonogo.errors import ConfigError, DataError
from gonogo.images.reading import write_png
from gonogo.images.roles import ROLES

HEIGHT, WIDTH = 8, 12
SHARES = Shares(seed=17, test=0.2, calibrate=0.3)
BOX = (2, 3, 6, 5)  # left, top, right, bottom, as edges
EMPTY = {"labelme": '{"shapes": []}', "voc": "<annotation/>", "yolo": "\n"}
NAMES = "dent\nscratch\nOK\n"


def tree(root: Path, texts: Mapping[str, str | bytes]) -> Path:
    """Images where there is no text; b.png has no object."""
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith((".png", ".jpg")):
            pixels = np.random.default_rng(len(name)).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            write_png(path, pixels)
        else:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def labelme(*shapes: Mapping[str, Any], **more: Any) -> str:
    return json.dumps({"imageWidth": WIDTH, "imageHeight": HEIGHT, "shapes": list(shapes)} | more)


def shape(kind: str, *points: tuple[float, float], label: str = "dent", **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": [list(point) for point in points]} | more


def voc(*objects: str, size: str = f"<width>{WIDTH}</width><height>{HEIGHT}</height>", name: str = "x.png") -> str:
    return f"<annotation><filename>{name}</filename><size>{size}</size>{''.join(objects)}</annotation>"


def boxed(left: float, top: float, right: float, bottom: float, label: str = "dent", more: str = "") -> str:
    edges = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return f"<object><name>{label}</name><bndbox>{edges}</bndbox>{more}</object>"


def line(left: float, top: float, right: float, bottom: float, number: int = 0) -> str:
    centre = (left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT
    size = (right - left) / WIDTH, (bottom - top) / HEIGHT
    return " ".join(map(str, (number, *centre, *size))) + "\n"


DENT = {
    "labelme": labelme(shape("rectangle", (2, 3), (6, 5))),
    "voc": voc(boxed(*BOX)),
    "yolo": line(*BOX),
}
each_format = pytest.mark.parametrize("format_", DENT)


def labelled(root: Path, format_: str, text: str | bytes, **more: str) -> Path:
    """An image a.png that `text` is of, and a good one."""
    suffix = FORMATS[format_].suffix
    names = {"classes.txt": NAMES} if format_ == "yolo" else {}
    return tree(root, {"a.png": "", f"a{suffix}": text, "b.png": "", f"b{suffix}": EMPTY[format_]} | names | more)


def read(root: Path, format_: str, **options: Any) -> list[Sample]:
    return list(Labels(format=format_, **options).samples("parts", root, SHARES))


def refusal(root: Path, format_: str, error: type[Exception] = DataError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        read(root, format_, **options)
    return str(caught.value)


def drawn(sample: Sample) -> np.ndarray:
    assert callable(sample.mask)
    return sample.mask(HEIGHT, WIDTH)


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


@each_format
def test_an_image_with_an_object_is_defective_and_one_without_is_good(format_, tmp_path):
    bad, good = read(labelled(tmp_path, format_, DENT[format_]), format_)
    assert (bad.name, bad.label, bad.defect_type, bad.roles) == ("a.png", 1, "dent", ROLES)
    [box] = bad.boxes
    assert box == {"x": 2, "y": 3, "width": pytest.approx(4), "height": pytest.approx(2), "label": "dent"}
    np.testing.assert_array_equal(drawn(bad), rectangle(*BOX))
    assert (good.name, good.label, good.defect_type, good.roles, good.mask) == ("b.png", 0, "good", ROLES, None)


PLACES = [
    ("a{}", "a.png"),
    ("labels/a{}", "images/a.png"),
    ("Annotations/a{}", "JPEGImages/a.png"),
    ("labels/train/a{}", "images/train/a.png"),
    ("train/labels/a{}", "train/images/a.png"),
    ("obj_train_data/a{}", "obj_train_data/a.png"),
    ("lot 1/a.b{}", "lot 1/a.b.png"),
    ("la\u0308bel/a\u0308{}", "la\u0308bel/\u00e4.png"),
]


@each_format
@pytest.mark.parametrize(("file", "image"), PLACES)
def test_a_label_file_is_found_where_the_tools_put_it(format_, file, image, tmp_path):
    suffix = FORMATS[format_].suffix
    texts = {image: "", file.format(suffix): DENT[format_], "b.png": "", f"b{suffix}": EMPTY[format_]}
    samples = read(tree(tmp_path, texts | {"classes.txt": NAMES}), format_)
    assert {sample.name: sample.label for sample in samples} == {image: 1, "b.png": 0}


@each_format
def test_files_of_one_name_in_train_and_val_are_told_apart(format_, tmp_path):
    suffix = FORMATS[format_].suffix
    texts = {"images/train/a.png": "", "images/val/a.png": "", f"labels/train/a{suffix}": DENT[format_]}
    texts |= {f"labels/val/a{suffix}": EMPTY[format_], "data.yaml": "names: {0: dent}\n"}
    assert [(s.name, s.label) for s in read(tree(tmp_path, texts), format_)] == [
        ("images/train/a.png", 1),
        ("images/val/a.png", 0),
    ]


@each_format
def test_an_image_without_a_label_file_is_what_a_person_says_and_nothing_by_itself(format_, tmp_path):
    root = labelled(tmp_path, format_, DENT[format_], **{"c.png": "", "d.png": ""})
    message = refusal(root, format_)
    assert "2 of 4 images have no label file" in message
    assert "c.png" in message
    assert "prepare.unlabelled: good or leave_out" in message
    good = read(root, format_, unlabelled="good")
    assert [(s.name, s.label) for s in good] == [("a.png", 1), ("b.png", 0), ("c.png", 0), ("d.png", 0)]
    assert [s.name for s in read(root, format_, unlabelled="leave_out")] == ["a.png", "b.png"]


@each_format
def test_what_is_called_like_a_mask_is_no_good_image_that_has_no_label(format_, tmp_path):
    root = labelled(tmp_path, format_, DENT[format_], **{"a_mask.png": "", "SegmentationClass/a.png": ""})
    assert [s.name for s in read(root, format_, unlabelled="good")] == ["a.png", "b.png"]


@each_format
def test_label_files_that_no_image_or_two_images_have_are_refused(format_, tmp_path):
    suffix = FORMATS[format_].suffix
    orphan = labelled(tmp_path / "orphan", format_, DENT[format_], **{f"gone{suffix}": DENT[format_]})
    assert f"1 label files match no image: {orphan}/gone{suffix}" in refusal(orphan, format_)
    twice = labelled(tmp_path / "twice", format_, DENT[format_], **{"a.jpg": ""})
    assert "a.jpg" in (message := refusal(twice, format_))
    assert "rename one image" in message
    double = labelled(tmp_path / "double", format_, DENT[format_], **{f"labels/a{suffix}": DENT[format_]})
    assert "label files of one image" in refusal(double, format_)


@each_format
def test_images_that_all_have_an_object_are_refused_since_none_is_good(format_, tmp_path):
    root = labelled(tmp_path, format_, DENT[format_])
    (root / f"b{FORMATS[format_].suffix}").write_text(DENT[format_])
    assert "none is good" in refusal(root, format_)


@each_format
def test_other_files_of_the_same_suffix_are_passed_over(format_, tmp_path):
    others = {"notes/readme.txt": "made on 3 May", "readme.txt": "x", "sizes.txt": "1 2 3 4 5\n2 3 4 5 6\n"}
    others |= {"labels/readme.txt": "y", "a/meta.json": "{}", "meta.json": '{"shapes": []}', "log.xml": "<log/>"}
    assert [s.label for s in read(labelled(tmp_path, format_, DENT[format_], **others), format_)] == [1, 0]


TWO = {
    "labelme": labelme(shape("rectangle", (0, 0), (12, 8), label="ok"), shape("rectangle", (2, 3), (6, 5))),
    "voc": voc(boxed(0, 0, 12, 8, "ok"), boxed(*BOX)),
    "yolo": line(0, 0, 12, 8, 2) + line(*BOX),
}
OK = {
    "labelme": labelme(shape("rectangle", (0, 0), (12, 8), label="Normal")),
    "voc": voc(boxed(0, 0, 12, 8, "GOOD")),
    "yolo": line(0, 0, 12, 8, 2),
}


@each_format
def test_objects_that_are_called_good_mark_nothing(format_, tmp_path):
    root = labelled(tmp_path, format_, TWO[format_])
    (root / f"b{FORMATS[format_].suffix}").write_text(OK[format_])
    bad, good = read(root, format_)
    assert (bad.defect_type, [box["label"] for box in bad.boxes], good.label) == ("dent", ["dent"], 0)
    np.testing.assert_array_equal(drawn(bad), rectangle(*BOX))


@each_format
def test_classes_say_what_counts_and_must_be_there_and_not_be_called_good(format_, tmp_path):
    root = labelled(tmp_path, format_, TWO[format_])
    assert "no category 'dint' (did you mean 'dent'?)" in refusal(root, format_, ConfigError, classes=["dint"])
    assert "though its name says good" in refusal(
        root, format_, ConfigError, classes=["ok" if format_ != "yolo" else "OK"]
    )
    assert [s.label for s in read(root, format_, classes=["dent"])] == [1, 0]


@each_format
def test_boxes_that_leave_the_image_are_clipped_and_those_outside_are_refused(format_, tmp_path):
    over = {
        "labelme": labelme(shape("rectangle", (6, 5), (-2, -1))),
        "voc": voc(boxed(-2, -1, 6, 5)),
        "yolo": line(-2, -1, 6, 5),
    }[format_]
    [bad, _] = read(labelled(tmp_path / "over", format_, over), format_)
    np.testing.assert_array_equal(drawn(bad), rectangle(0, 0, 6, 5))
    outside = {
        "labelme": labelme(shape("rectangle", (12, 3), (15, 5))),
        "voc": voc(boxed(12, 3, 15, 5)),
        "yolo": "0 1.5 .5 .1 .1\n",
    }[format_]
    message = refusal(labelled(tmp_path / "outside", format_, outside), format_)
    assert "a." in message
    assert "has no area in the image" in message or "from 0 to 1" in message


NO_SIZE = {
    "labelme": [labelme(shape("rectangle", (2, 3), (6, 5)), imageWidth=None, imageHeight=None)],
    "voc": [voc(boxed(*BOX), size=""), voc(boxed(*BOX), size="<width>0</width><height>0</height>")],
}


@pytest.mark.parametrize(("format_", "text"), [(key, text) for key, texts in NO_SIZE.items() for text in texts])
def test_where_a_file_does_not_say_the_size_that_of_the_image_counts(format_, text, tmp_path):
    [bad, _] = read(labelled(tmp_path, format_, text), format_)
    assert bad.size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(drawn(bad), rectangle(*BOX))


@each_format
def test_an_image_of_another_size_than_annotated_is_refused_when_its_mask_is_drawn(format_, tmp_path):
    [bad, _] = read(labelled(tmp_path, format_, DENT[format_]), format_)
    assert bad.size == (WIDTH, HEIGHT)
    with pytest.raises(DataError, match="annotated at 12 x 8 pixels, its file has 8 x 12"):
        bad.mask(WIDTH, HEIGHT)


@pytest.mark.parametrize("format_", ["labelme", "voc"])
def test_a_file_that_says_that_it_is_of_another_image_that_is_there_is_refused(format_, tmp_path):
    text = {
        "labelme": labelme(shape("rectangle", (2, 3), (6, 5)), imagePath="..\\x\\b.png"),
        "voc": voc(boxed(*BOX), name="b.png"),
    }
    root = labelled(tmp_path, format_, text[format_])
    assert "says that it is of b.png" in refusal(root, format_)
    (root / "a.png").rename(root / "z.png")
    (root / f"a{FORMATS[format_].suffix}").rename(root / f"z{FORMATS[format_].suffix}")
    (root / f"z{FORMATS[format_].suffix}").write_text(DENT[format_])  # of a.png, which was renamed
    assert [s.label for s in read(root, format_)] == [0, 1]


# LabelMe


def circle() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return (x - 6) ** 2 + (y - 4) ** 2 < 9


def bitmap(marked: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(marked).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


L_SHAPE = np.array([[1, 0], [1, 1], [1, 1]], dtype=bool)


@pytest.mark.parametrize(
    ("one", "mask"),
    [
        (shape("polygon", (2, 3), (6, 3), (6, 5), (2, 5)), rectangle(*BOX)),
        ({"label": "dent", "points": [[2, 3], [6, 3], [6, 5], [2, 5]]}, rectangle(*BOX)),
        (shape("rectangle", (6, 5), (2, 3)), rectangle(*BOX)),
        (shape("rectangle", (2, 3), (6, 3), (6, 5), (2, 5)), rectangle(*BOX)),
        (shape("circle", (6, 4), (6, 7)), circle()),
        (shape("mask", (4, 2), (5, 4), mask=bitmap(L_SHAPE)), np.pad(L_SHAPE, ((2, 3), (4, 6)))),
    ],
    ids=["polygon", "of old versions", "rectangle", "rectangle of four", "circle", "mask"],
)
def test_a_shape_of_labelme_covers_what_labelme_shows(one, mask, tmp_path):
    [bad, _] = read(labelled(tmp_path, "labelme", labelme(one)), "labelme")
    np.testing.assert_array_equal(drawn(bad), mask)


def test_an_image_with_a_line_or_a_point_is_defective_and_has_no_mask(tmp_path):
    two = labelme(shape("linestrip", (0, 0), (3, 3), label="scratch"), shape("rectangle", (2, 3), (6, 5)))
    [bad, _] = read(labelled(tmp_path / "two", "labelme", two), "labelme")
    assert (bad.label, bad.defect_type, bad.mask, len(bad.boxes)) == (1, "dent", None, 1)
    [bad, _] = read(labelled(tmp_path / "one", "labelme", labelme(shape("point", (0, 0)))), "labelme")
    assert (bad.label, bad.defect_type, bad.mask) == (1, "dent", None)


@pytest.mark.parametrize(
    ("flags", "options", "found"),
    [
        ({"NG": True, "good": False}, {}, (1, "NG")),
        ({"good": True}, {}, (0, "good")),
        ({"scratch": True}, {"classes": ["dent", "scratch"]}, (1, "scratch")),
        ({"checked": True}, {"classes": ["dent"]}, (0, "good")),
        ({"checked": False}, {}, (0, "good")),
    ],
)
def test_flags_of_an_image_without_shapes_are_heeded(flags, options, found, tmp_path):
    root = labelled(tmp_path, "labelme", labelme(flags=flags), **{"c.png": "", "c.json": DENT["labelme"]})
    first = read(root, "labelme", **options)[0]
    assert (first.label, first.defect_type, first.mask) == (*found, None)


def test_flags_that_may_mean_anything_or_contradict_the_shapes_are_refused(tmp_path):
    root = labelled(tmp_path / "unclear", "labelme", labelme(flags={"checked": True}))
    assert "flagged 'checked', which may be a defect or not" in refusal(root, "labelme")
    both = labelme(shape("rectangle", (2, 3), (6, 5)), flags={"good": True})
    assert "flagged 'good', and has a defect" in refusal(labelled(tmp_path / "both", "labelme", both), "labelme")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"shapes": [', "a.json is no JSON"),
        ("[" * 100_000, "a.json is no JSON"),
        ('{"objects": []}', "expected LabelMe's object with the list `shapes`"),
        (labelme(shape("polygon", (2, 3), (6, 3))), "shape 0: a polygon of 2 points encloses nothing"),
        (labelme(shape("rectangle", (2, 3))), "shape 0: a rectangle of 1 points"),
        (labelme(shape("polygon")), "shape 0: expected points"),
        (labelme({"label": "dent", "points": [[1, "2"]]}), "shape 0: expected points"),
        (labelme({"label": "dent", "points": [[1, float("nan")]]}), "shape 0: expected points"),
        (labelme({"label": " ", "points": [[1, 2]]}), "shape 0: expected an object with a label"),
        (labelme("dent"), "shape 0: expected an object with a label"),
        (labelme(shape("star", (2, 3), (6, 3), (6, 5))), "shape 0: a star of 3 points"),
        (labelme(shape("rectangle", (1, 1), (2, 2)), imageWidth=None), "expected imageWidth and imageHeight"),
        (labelme(shape("rectangle", (1, 1), (2, 2)), imageWidth="12"), "expected imageWidth and imageHeight"),
        (labelme(shape("mask", (4, 2), (9, 9), mask=bitmap(L_SHAPE))), "does not fill its box"),
        (labelme(shape("mask", (4, 2), (5, 4), mask="no image")), "no image in Base64"),
        (labelme(shape("mask", (4, 2), (5, 4), mask=base64.b64encode(b"x").decode())), "cannot be read as an image"),
        (labelme().encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_wrong_file_of_labelme_is_refused_with_what_is_wrong(text, says, tmp_path):
    message = refusal(labelled(tmp_path, "labelme", text), "labelme")
    assert "a.json" in message
    assert says in message


# Pascal VOC


def test_all_wrong_label_files_are_counted_at_once(tmp_path):
    message = refusal(labelled(tmp_path, "voc", voc(boxed(2, 3, 2, 5)), **{"b.xml": voc(boxed(2, 3, 6, "x"))}), "voc")
    assert "a.xml, object 1: the box" in message
    assert message.endswith("b.xml, object 1")
    assert "; and 1 more, the last" in message


TRIANGLE = "<polygon><x1>0</x1><y1>0</y1><x2>8</x2><y2>0</y2><x3>0</x3><y3>8</y3></polygon>"
POINTS = "<polygon>" + "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((0, 0), (8, 0), (0, 8))) + "</polygon>"


@pytest.mark.parametrize("polygon", [TRIANGLE, POINTS])
def test_a_polygon_in_pascal_voc_is_the_mask(polygon, tmp_path):
    [bad, _] = read(labelled(tmp_path, "voc", voc(boxed(0, 0, 8, 8, more=polygon))), "voc")
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    np.testing.assert_array_equal(drawn(bad), x + y < 8)


@pytest.mark.parametrize(("wide", "high", "angle"), [(4, 2, math.pi / 2), (5, 3, 0.4), (6, 4, -math.pi)])
def test_a_turned_box_in_pascal_voc_is_the_mask_and_has_the_box_around_it(wide, high, angle, tmp_path):
    values = zip(("cx", "cy", "w", "h", "angle"), (6, 4, wide, high, angle), strict=True)
    turned = "".join(f"<{name}>{value}</{name}>" for name, value in values)
    given = voc(f"<object><type>robndbox</type><name>dent</name><robndbox>{turned}</robndbox></object>")
    [bad, _] = read(labelled(tmp_path, "voc", given), "voc")
    width, height = (
        abs(math.cos(angle)) * one + abs(math.sin(angle)) * other for one, other in ((wide, high), (high, wide))
    )
    around = (6 - width / 2, 4 - height / 2, width, height)
    assert tuple(bad.boxes[0][name] for name in ("x", "y", "width", "height")) == pytest.approx(around)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    along = (x - 6) * math.cos(angle) + (y - 4) * math.sin(angle)  # clockwise, where y points down
    across = (y - 4) * math.cos(angle) - (x - 6) * math.sin(angle)
    np.testing.assert_array_equal(drawn(bad), (abs(along) < wide / 2) & (abs(across) < high / 2))


def test_an_object_without_a_box_makes_its_image_defective_and_leaves_it_without_a_mask(tmp_path):
    pointed = "<object><name>dent</name><point><x>3</x></point></object>"
    [bad, _] = read(labelled(tmp_path, "voc", voc(boxed(*BOX, label="scratch"), pointed)), "voc")
    assert (bad.label, bad.defect_type, bad.mask) == (1, "scratch", None)


def test_pascal_voc_is_read_with_declarations_and_a_byte_order_mark(tmp_path):
    text = '\ufeff<?xml version="1.0" encoding="utf-8"?>\n' + voc(boxed("2.0", " 3 ", 6, 5))
    [bad, _] = read(labelled(tmp_path, "voc", text), "voc")
    np.testing.assert_array_equal(drawn(bad), rectangle(*BOX))


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    "<annotation><object><name>&b;</name></object></annotation>"
)
FOREIGN = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation><object>&x;</object></annotation>'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LAUGHS, "declares a document type or entities"),
        (FOREIGN, "declares a document type or entities"),
        (LAUGHS.encode("utf-16"), "not UTF-8"),
        ("<annotation><object>", "a.xml is no XML"),
        ("<annotations><image/></annotations>", "expected Pascal VOC's <annotation>, got <annotations>"),
        (voc(boxed(2, 3, 6, 5), size="<width>12</width>"), "expected a number as size/height, got None"),
        (voc(boxed(2, 3, "x", 5)), "object 1: expected a number as bndbox/xmax, got 'x'"),
        (voc(boxed(2, 3, "nan", 5)), "object 1: expected a number as bndbox/xmax"),
        (
            voc(boxed(*BOX), "<object><name>dent</name><bndbox/></object>"),
            "object 2: expected a number as bndbox/xmin, got None",
        ),
        (voc(boxed(*BOX, label="")), "object 1: expected a <name>"),
        (voc(boxed(6, 3, 2, 5)), "object 1: the box"),
        (voc(boxed(*BOX, more="<polygon><x1>0</x1><y1>0</y1></polygon>")), "a polygon of 1 points"),
    ],
)
def test_a_wrong_file_of_pascal_voc_is_refused_with_what_is_wrong(text, says, tmp_path):
    message = refusal(labelled(tmp_path, "voc", text), "voc")
    assert "a.xml" in message
    assert says in message


# YOLO


def test_a_polygon_of_yolo_is_the_mask(tmp_path):
    corners = [value for x, y in ((0, 0), (8, 0), (0, 8)) for value in (x / WIDTH, y / HEIGHT)]
    text = " ".join(map(str, (1, *corners)))
    [bad, _] = read(labelled(tmp_path, "yolo", text), "yolo")
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    np.testing.assert_array_equal(drawn(bad), x + y < 8)
    assert bad.defect_type == "scratch"


def test_yolos_coordinates_are_those_of_the_upright_image(tmp_path):
    root = labelled(tmp_path, "yolo", "0 0.25 0.25 0.5 0.5\n")
    (root / "a.png").rename(root / "c.png")
    picture = Image.open(root / "c.png")
    picture.load()
    exif = picture.getexif()
    exif[274] = 6  # to be turned by 90 degrees
    picture.save(root / "a.png", exif=exif)
    (root / "c.png").unlink()
    bad = read(root, "yolo")[0]
    assert bad.size == (HEIGHT, WIDTH)
    assert [(box["width"], box["height"]) for box in bad.boxes] == [(HEIGHT / 2, WIDTH / 2)]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.yaml", "nc: 2\nnames: [dent, scratch]\n"),
        ("data.yml", "names:\n  0: dent\n  1: scratch\n"),
        ("obj.names", "dent\r\nscratch\r\n\r\n"),
        ("labels/classes.txt", "\ufeffdent\nscratch"),
        ("train/_darknet.labels", "dent\nscratch\n"),
    ],
)
def test_the_names_of_yolos_classes_are_found_where_tools_put_them(file, text, tmp_path):
    root = labelled(tmp_path, "yolo", line(*BOX, number=1))
    (root / "classes.txt").unlink()
    tree(root, {file: text, "train.txt": "a.png\n", "hyp.yaml": "lr: 0.1\n"})
    assert read(root, "yolo")[0].defect_type == "scratch"


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("a.txt", "3 .5 .5 .1 .1\n", "a.txt, line 1: class 3 is not among the names: 0 dent, 1 scratch, 2 OK"),
        ("a.txt", "-1 .5 .5 .1 .1\n", "a.txt, line 1: class -1 is not among the names"),
        ("a.txt", "0 .5 .5 .1 .1\n0 6 4 4 2\n", "a.txt, line 2: coordinates are shares of the image from 0 to 1"),
        ("a.txt", "0 .5 .5 .1\n", "a.txt, line 1: expected a class and 4 numbers"),
        ("a.txt", "0 .5 .5 .1 .1 .9\n", "a prediction's confidence is not read"),
        ("a.txt", "0 .5 .5 .1 nan\n", "coordinates are shares"),
        ("a.txt", "0 .5 .5 0 0\n", "has no area"),
        ("a.txt", "dent .5 .5 .1 .1\n", "expected the number of a class"),
        ("classes.txt", "", "nothing says what class 0 is; put the names into a file classes.txt"),
        ("data.yaml", "names: [hole]\n", "name the classes differently"),
        ("data.yaml", "names: dent\n", "expected names as a list"),
        ("data.yaml", "kpt_shape: [4, 3]\nnames: [dent, scratch, OK]\n", "the labels are key points"),
        ("data.yaml", "names: [dent\n", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_wrong_file_of_yolo_is_refused_with_what_is_wrong(file, text, says, tmp_path):
    root = labelled(tmp_path, "yolo", line(*BOX))
    (root / file).write_text(text)
    with pytest.raises((DataError, ConfigError)) as caught:
        read(root, "yolo")
    assert says in str(caught.value)


@each_format
def test_an_image_that_cannot_be_read_is_yielded_for_prepare_to_report(format_, tmp_path):
    root = labelled(tmp_path, format_, {**DENT, **{key: texts[0] for key, texts in NO_SIZE.items()}}[format_])
    (root / "a.png").write_bytes(b"no image")
    assert [(s.name, s.label) for s in read(root, format_)] == [("a.png", 1), ("b.png", 0)]
