"""The layouts of the field: what each file on disk becomes, and what is said of the trees that people get wrong.

A tree is a mapping of paths to contents, so that a wrong one is the right one with a path changed.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gonogo.data import SOURCES, source_class
from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.unused import unused_files
from gonogo.errors import ConfigError, DataError, ImageError
from gonogo.images.masks import read_mask
from gonogo.images.roles import ROLES, TEST, TRAIN

HEIGHT, WIDTH = 5, 7
SHARES = Shares(seed=0, test=0.25, calibrate=0.5)
FIT, CALIBRATE = ("fit",), ("calibrate",)


@dataclass(frozen=True)
class Picture:
    """An image of a part, unlike any other."""


@dataclass(frozen=True)
class Rows:
    """A mask: these rows of it, over the whole width, have this value and the rest is 0."""

    rows: tuple[int, ...]
    value: int = 255


PART = Picture()
Tree = dict[str, Picture | Rows | str]
Expected = tuple[str, int, str, tuple[str, ...], str | None, tuple[int, ...] | None]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A published layout: its tree and the samples it holds, in their order.

    Attributes:
        source, options, category: what samples are asked of.
        tree: contents by path below the raw folder.
        samples: (name, label, defect type, roles, group, rows of the mask).
        defect: an image whose mask, and nothing else, is at `mask`.
    """

    source: str
    category: str
    tree: Tree
    samples: list[Expected]
    defect: str
    mask: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join((self.source, *self.options.values()))


def write(raw: Path, tree: Tree) -> None:
    for name, content in reversed(tree.items()):  # the order of the files on disk must not matter
        path = raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif isinstance(content, Rows):
            Image.fromarray(content.value * mask_of(content.rows).astype(np.uint8)).save(path)
        else:
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)


def mask_of(rows: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[list(rows)] = True
    return mask


def drawn(sample: Sample) -> np.ndarray | None:
    if sample.mask is None or isinstance(sample.mask, np.ndarray):
        return sample.mask
    return read_mask(sample.mask).marked if isinstance(sample.mask, Path) else sample.mask(HEIGHT, WIDTH)


def samples_of(layout: Layout, raw: Path, tree: Tree | None = None, **options: str) -> list[Sample]:
    raw.mkdir(exist_ok=True)
    write(raw, layout.tree if tree is None else tree)
    return list(source_class(layout.source)(**{**layout.options, **options}).samples(layout.category, raw, SHARES))


def renamed(tree: Tree, old: str, new: str) -> Tree:
    assert any(old in path for path in tree)
    return {path.replace(old, new): content for path, content in tree.items()}


def without(tree: Tree, *paths: str) -> Tree:
    assert set(paths) <= set(tree)
    return {path: content for path, content in tree.items() if path not in paths}


def one(samples: list[Sample], name: str) -> Sample:
    (sample,) = (sample for sample in samples if sample.name == name)
    return sample


def like_mvtec_ad(source: str, category: str) -> Layout:
    return Layout(
        source=source,
        category=category,
        tree={
            f"{category}/train/good/000.png": PART,
            f"{category}/train/good/001.png": PART,
            f"{category}/train/good/.hidden.png": "left by a file browser",
            f"{category}/test/good/000.png": PART,
            f"{category}/test/broken/000.png": PART,
            f"{category}/test/scratch/000.png": PART,
            f"{category}/test/scratch/010.png": PART,
            f"{category}/ground_truth/broken/000_mask.png": Rows((0,)),
            f"{category}/ground_truth/scratch/000_mask.png": Rows((1,)),
            f"{category}/ground_truth/scratch/010_mask.png": Rows((2, 3)),
            f"{category}/license.txt": "CC BY-NC-SA 4.0",
            f"other_{category}/train/good/000.png": PART,
        },
        samples=[
            (f"{category}/train/good/000.png", 0, "good", TRAIN, None, None),
            (f"{category}/train/good/001.png", 0, "good", TRAIN, None, None),
            (f"{category}/test/broken/000.png", 1, "broken", TEST, None, (0,)),
            (f"{category}/test/good/000.png", 0, "good", TEST, None, None),
            (f"{category}/test/scratch/000.png", 1, "scratch", TEST, None, (1,)),
            (f"{category}/test/scratch/010.png", 1, "scratch", TEST, None, (2, 3)),
        ],
        defect=f"{category}/test/scratch/010.png",
        mask=f"{category}/ground_truth/scratch/010_mask.png",
    )


BTAD = Layout(
    source="btad",
    category="03",
    tree={
        "01/train/ok/0000.bmp": PART,
        "03/train/ok/0000.bmp": PART,
        "03/test/ok/0001.bmp": PART,
        "03/test/ko/0002.bmp": PART,
        "03/test/ko/0010.bmp": PART,
        "03/ground_truth/ko/0002.bmp": Rows((4,)),
        "03/ground_truth/ko/0010.png": Rows((0, 1)),
    },
    samples=[
        ("03/train/ok/0000.bmp", 0, "good", TRAIN, None, None),
        ("03/test/ko/0002.bmp", 1, "ko", TEST, None, (4,)),
        ("03/test/ko/0010.bmp", 1, "ko", TEST, None, (0, 1)),
        ("03/test/ok/0001.bmp", 0, "good", TEST, None, None),
    ],
    defect="03/test/ko/0010.bmp",
    mask="03/ground_truth/ko/0010.png",
)

VISA_FOLDERS = Layout(
    source="visa",
    options={"split": "folders"},
    category="candle",
    tree={
        "candle/train/good/0836.JPG": PART,
        "candle/test/good/0790.JPG": PART,
        "candle/test/bad/000.JPG": PART,
        "candle/test/bad/001.JPG": PART,
        "candle/ground_truth/bad/000.png": Rows((2,)),
        "candle/ground_truth/bad/001.png": Rows((1, 2)),
    },
    samples=[
        ("candle/train/good/0836.JPG", 0, "good", TRAIN, None, None),
        ("candle/test/bad/000.JPG", 1, "bad", TEST, None, (2,)),
        ("candle/test/bad/001.JPG", 1, "bad", TEST, None, (1, 2)),
        ("candle/test/good/0790.JPG", 0, "good", TEST, None, None),
    ],
    defect="candle/test/bad/000.JPG",
    mask="candle/ground_truth/bad/000.png",
)

MVTEC_AD_2 = Layout(
    source="mvtec_ad_2",
    category="vial",
    tree={
        "vial/train/good/000_regular.png": PART,
        "vial/validation/good/000_regular.png": PART,
        "vial/test_public/good/000_regular.png": PART,
        "vial/test_public/good/000_shift_1.png": PART,
        "vial/test_public/bad/000_regular.png": PART,
        "vial/test_public/bad/000_shift_1.png": PART,
        "vial/test_public/ground_truth/bad/000_regular_mask.png": Rows((1,)),
        "vial/test_public/ground_truth/bad/000_shift_1_mask.png": Rows((1, 2)),
        "vial/test_private/000_regular.png": PART,
        "vial/test_private_mixed/000_mixed.png": PART,
    },
    samples=[
        ("vial/train/good/000_regular.png", 0, "good", FIT, "vial/train/good/000", None),
        ("vial/validation/good/000_regular.png", 0, "good", CALIBRATE, "vial/validation/good/000", None),
        ("vial/test_public/bad/000_regular.png", 1, "bad", TEST, "vial/test_public/bad/000", (1,)),
        ("vial/test_public/bad/000_shift_1.png", 1, "bad", TEST, "vial/test_public/bad/000", (1, 2)),
        ("vial/test_public/good/000_regular.png", 0, "good", TEST, "vial/test_public/good/000", None),
        ("vial/test_public/good/000_shift_1.png", 0, "good", TEST, "vial/test_public/good/000", None),
    ],
    defect="vial/test_public/bad/000_shift_1.png",
    mask="vial/test_public/ground_truth/bad/000_shift_1_mask.png",
)

MVTEC_LOCO = Layout(
    source="mvtec_loco",
    category="pushpins",
    tree={
        "pushpins/defects_config.json": json.dumps(
            [
                {
                    "defect_name": "missing_pushpin",
                    "pixel_value": 254,
                    "saturation_threshold": 1500,
                    "relative_saturation": False,
                },
                {
                    "defect_name": "broken",
                    "pixel_value": 250,
                    "saturation_threshold": 0.5,
                    "relative_saturation": True,
                },
            ]
        ),
        "pushpins/train/good/000.png": PART,
        "pushpins/validation/good/000.png": PART,
        "pushpins/test/good/000.png": PART,
        "pushpins/test/logical_anomalies/000.png": PART,
        "pushpins/test/structural_anomalies/000.png": PART,
        "pushpins/ground_truth/logical_anomalies/000/000.png": Rows((0,), 254),
        "pushpins/ground_truth/structural_anomalies/000/000.png": Rows((0,), 250),
        "pushpins/ground_truth/structural_anomalies/000/001.png": Rows((1, 3), 254),
    },
    samples=[
        ("pushpins/train/good/000.png", 0, "good", FIT, None, None),
        ("pushpins/validation/good/000.png", 0, "good", CALIBRATE, None, None),
        ("pushpins/test/good/000.png", 0, "good", TEST, None, None),
        ("pushpins/test/logical_anomalies/000.png", 1, "logical_anomalies", TEST, None, (0,)),
        ("pushpins/test/structural_anomalies/000.png", 1, "structural_anomalies", TEST, None, (0, 1, 3)),
    ],
    defect="pushpins/test/logical_anomalies/000.png",
    mask="pushpins/ground_truth/logical_anomalies/000/000.png",
)

VISA_CSV = """object,split,label,image,mask
candle,train,normal,candle/Data/Images/Normal/0836.JPG,
candle,test,normal,candle/Data/Images/Normal/0790.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png
capsules,train,normal,capsules/Data/Images/Normal/078.JPG,
"""

VISA = Layout(
    source="visa",
    category="candle",
    tree={
        "split_csv/1cls.csv": VISA_CSV,
        "candle/Data/Images/Normal/0836.JPG": PART,
        "candle/Data/Images/Normal/0790.JPG": PART,
        "candle/Data/Images/Anomaly/000.JPG": PART,
        "candle/Data/Masks/Anomaly/000.png": Rows((3,), 2),
    },
    samples=[
        ("candle/Data/Images/Normal/0836.JPG", 0, "good", TRAIN, None, None),
        ("candle/Data/Images/Normal/0790.JPG", 0, "good", TEST, None, None),
        ("candle/Data/Images/Anomaly/000.JPG", 1, "bad", TEST, None, (3,)),
    ],
    defect="candle/Data/Images/Anomaly/000.JPG",
    mask="candle/Data/Masks/Anomaly/000.png",
)

KOLEKTOR_SDD = Layout(
    source="kolektor_sdd",
    category="commutators",
    tree={
        "kos01/Part0.jpg": PART,
        "kos01/Part0_label.bmp": Rows(()),
        "kos01/Part5.jpg": PART,
        "kos01/Part5_label.bmp": Rows((4,)),
        "kos02/Part0.jpg": PART,
        "kos02/Part0_label.bmp": Rows(()),
    },
    samples=[
        ("kos01/Part0.jpg", 0, "good", ROLES, "kos01", None),
        ("kos01/Part5.jpg", 1, "defect", ROLES, "kos01", (4,)),
        ("kos02/Part0.jpg", 0, "good", ROLES, "kos02", None),
    ],
    defect="kos01/Part5.jpg",
    mask="kos01/Part5_label.bmp",
)

KOLEKTOR_SDD_2 = Layout(
    source="kolektor_sdd_2",
    category="surfaces",
    tree={
        "train/10000.png": PART,
        "train/10000_GT.png": Rows(()),
        "train/10301.png": PART,
        "train/10301_GT.png": Rows((2,)),
        "train/10301 (copy).png": PART,
        "train/10301_GT (copy).png": Rows((2,)),
        "test/20000.png": PART,
        "test/20000_GT.png": Rows(()),
        "test/20001.png": PART,
        "test/20001_GT.png": Rows((0, 4)),
    },
    samples=[
        ("train/10000.png", 0, "good", TRAIN, None, None),
        ("test/20000.png", 0, "good", TEST, None, None),
        ("test/20001.png", 1, "defect", TEST, None, (0, 4)),
    ],
    defect="test/20001.png",
    mask="test/20001_GT.png",
)


def entry(kind: str, image: str, mask: str | None = None) -> dict[str, str | None]:
    return {"category": "toy", "anomaly_class": kind, "image_path": image, "mask_path": mask}


REAL_IAD_JSON: dict[str, Any] = {
    "meta": {"prefix": "toy/", "normal_class": "OK"},
    "train": [
        entry("OK", "OK/S0002/toy_0002_OK_C1_20230922.jpg"),
        entry("OK", "OK/S0001/toy_0001_OK_C1_20230922.jpg"),
        entry("OK", "OK/S0001/toy_0001_OK_C2_20230922.jpg"),
    ],
    "test": [
        entry("OK", "OK/S0003/toy_0003_OK_C1_20230922.jpg"),
        entry("OK", "NG/AK/S0001/toy_0001_NG_AK_C1_20230922.jpg"),
        entry("AK", "NG/AK/S0001/toy_0001_NG_AK_C2_20230922.jpg", "NG/AK/S0001/toy_0001_NG_AK_C2_20230922.png"),
    ],
}


def real_iad_tree(content: dict[str, Any], jsons: str = "realiad_jsons") -> Tree:
    entries = content["train"] + content["test"]
    images: Tree = {f"realiad_1024/toy/{e['image_path']}": PART for e in entries}
    masks: Tree = {f"realiad_1024/toy/{e['mask_path']}": Rows((1,)) for e in entries if e["mask_path"]}
    return {f"{jsons}/toy.json": json.dumps(content), **images, **masks}


REAL_IAD = Layout(
    source="real_iad",
    category="toy",
    tree=real_iad_tree(REAL_IAD_JSON),
    samples=[
        ("realiad_1024/toy/OK/S0002/toy_0002_OK_C1_20230922.jpg", 0, "good", TRAIN, "OK/S0002", None),
        ("realiad_1024/toy/OK/S0001/toy_0001_OK_C1_20230922.jpg", 0, "good", TRAIN, "OK/S0001", None),
        ("realiad_1024/toy/OK/S0001/toy_0001_OK_C2_20230922.jpg", 0, "good", TRAIN, "OK/S0001", None),
        ("realiad_1024/toy/OK/S0003/toy_0003_OK_C1_20230922.jpg", 0, "good", TEST, "OK/S0003", None),
        ("realiad_1024/toy/NG/AK/S0001/toy_0001_NG_AK_C1_20230922.jpg", 0, "good", TEST, "NG/AK/S0001", None),
        ("realiad_1024/toy/NG/AK/S0001/toy_0001_NG_AK_C2_20230922.jpg", 1, "AK", TEST, "NG/AK/S0001", (1,)),
    ],
    defect="realiad_1024/toy/NG/AK/S0001/toy_0001_NG_AK_C2_20230922.jpg",
    mask="realiad_1024/toy/NG/AK/S0001/toy_0001_NG_AK_C2_20230922.png",
)

FOLDER = Layout(
    source="folder",
    options={"folder": "caps"},
    category="bottle_caps",
    tree={
        "caps/good/b.jpg": PART,
        "caps/good/a.jpg": PART,
        "caps/dented/a.jpg": PART,
        "caps/dented/b.jpg": PART,
        "caps/ground_truth/dented/a_mask.png": Rows((1,)),
        "caps/ground_truth/dented/b.png": Rows((2,)),
        "caps/torn/a.jpg": PART,
    },
    samples=[
        ("caps/dented/a.jpg", 1, "dented", ROLES, None, (1,)),
        ("caps/dented/b.jpg", 1, "dented", ROLES, None, (2,)),
        ("caps/good/a.jpg", 0, "good", ROLES, None, None),
        ("caps/good/b.jpg", 0, "good", ROLES, None, None),
        ("caps/torn/a.jpg", 1, "torn", ROLES, None, None),
    ],
    defect="caps/dented/a.jpg",
    mask="caps/ground_truth/dented/a_mask.png",
)

FOLDER_SPLIT = Layout(
    source="folder",
    options={"folder": "caps"},
    category="bottle_caps",
    tree={
        "caps/train/good/a.jpg": PART,
        "caps/test/good/b.jpg": PART,
        "caps/test/dented/c.jpg": PART,
        "caps/test/dented/e.jpg": PART,
        "caps/ground_truth/dented/c.png": Rows((1,)),
        "caps/test/torn/d.jpg": PART,
    },
    samples=[
        ("caps/train/good/a.jpg", 0, "good", TRAIN, None, None),
        ("caps/test/dented/c.jpg", 1, "dented", TEST, None, (1,)),
        ("caps/test/dented/e.jpg", 1, "dented", TEST, None, None),
        ("caps/test/good/b.jpg", 0, "good", TEST, None, None),
        ("caps/test/torn/d.jpg", 1, "torn", TEST, None, None),
    ],
    defect="caps/test/dented/c.jpg",
    mask="caps/ground_truth/dented/c.png",
)

MVTEC_AD, MPDD = like_mvtec_ad("mvtec_ad", "bottle"), like_mvtec_ad("mpdd", "bracket_black")
SORTED = [MVTEC_AD, MPDD, BTAD, VISA_FOLDERS, MVTEC_AD_2, MVTEC_LOCO]  # <category>/train, /test and masks by type
LISTED = [VISA, REAL_IAD]  # a file says which image is what
LABELLED = [KOLEKTOR_SDD, KOLEKTOR_SDD_2]  # one category, a label beside each image
FOLDERS = [FOLDER, FOLDER_SPLIT]
COMPLETE = [*SORTED, *LISTED, *LABELLED]  # every defect has a mask


def each(*layouts: Layout) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("layout", layouts, ids=str)


# The right tree


@each(*COMPLETE, *FOLDERS)
def test_each_file_of_the_published_tree_becomes_the_sample_that_it_is_in_one_order(layout: Layout, tmp_path: Path):
    found = samples_of(layout, tmp_path)
    assert [(s.name, s.label, s.defect_type, s.roles, s.group_id) for s in found] == [
        expected[:5] for expected in layout.samples
    ]


@each(*COMPLETE, *FOLDERS)
def test_the_mask_of_a_defect_is_true_where_its_file_is_not_black(layout: Layout, tmp_path: Path):
    found = {sample.name: drawn(sample) for sample in samples_of(layout, tmp_path)}
    truth = {name: rows for name, *_, rows in layout.samples}
    assert {name for name, mask in found.items() if mask is None} == {n for n, rows in truth.items() if rows is None}
    shown = {name: mask for name, mask in found.items() if mask is not None}
    assert layout.defect in shown
    for name, mask in shown.items():
        np.testing.assert_array_equal(mask, mask_of(truth[name]), err_msg=name)


@each(*COMPLETE, *FOLDERS)
def test_in_a_published_tree_no_image_is_without_use(layout: Layout, tmp_path: Path):
    samples = samples_of(layout, tmp_path)
    source = source_class(layout.source)(**layout.options)
    assert unused_files(source, layout.category, tmp_path, samples) == []


# Of each source that reads a folder: a file that no sample uses, beside a tree that it reads.
STRAYS = {
    **{f"{layout}": (layout, f"{layout.category}/elsewhere/a.png") for layout in (MVTEC_AD, MPDD, BTAD, VISA_FOLDERS)},
    "mvtec_ad_2": (MVTEC_AD_2, "vial/elsewhere/a.png"),
    "mvtec_loco": (MVTEC_LOCO, "pushpins/elsewhere/a.png"),
    "visa": (VISA, "candle/Data/Images/Normal/a.png"),
    "kolektor_sdd": (KOLEKTOR_SDD, "a.png"),
    "kolektor_sdd_2": (KOLEKTOR_SDD_2, "elsewhere/a.png"),
    "real_iad": (REAL_IAD, "realiad_1024/toy/OK/S0002/a.png"),
    "folder": (FOLDER, "caps/a.png"),
}


@pytest.mark.parametrize(("layout", "stray"), STRAYS.values(), ids=STRAYS)
def test_images_beside_those_of_the_layout_are_named(layout: Layout, stray: str, tmp_path: Path):
    samples = samples_of(layout, tmp_path, {**layout.tree, stray: PART})
    source = source_class(layout.source)(**layout.options)
    (one,) = unused_files(source, layout.category, tmp_path, samples)
    assert str(one) == f"1 in {Path(stray).parent} (a.png)"


def test_every_source_says_where_its_images_lie(tmp_path: Path):
    tried = {layout.source for layout, _ in STRAYS.values()}
    listing = {"manifest", "coco", "labels", "anomalib", "lookout"}  # in test_annotations.py and test_found_layouts.py
    drawn_ones = set(SOURCES) - tried - listing
    assert drawn_ones == {"rendered", "surfaces", "digits", "blemishes"}
    for name in drawn_ones:
        assert source_class(name)().places("any", tmp_path) == Places()


def test_what_a_published_set_leaves_out_by_its_split_is_not_named(tmp_path: Path):
    jsons = "realiad_jsons_sv"
    fewer = REAL_IAD_JSON | {"train": REAL_IAD_JSON["train"][:2]}
    tree = {**real_iad_tree(REAL_IAD_JSON), **real_iad_tree(fewer, jsons)}
    samples = samples_of(REAL_IAD, tmp_path, tree, jsons=jsons)
    assert unused_files(source_class("real_iad")(jsons=jsons), "toy", tmp_path, samples) == []


@each(*COMPLETE, *FOLDERS)
def test_a_sample_is_named_by_the_path_of_its_image_which_stays_where_it_is(layout: Layout, tmp_path: Path):
    found = samples_of(layout, tmp_path)
    assert [sample.image for sample in found] == [tmp_path / name for name, *_ in layout.samples]


@each(*COMPLETE)
def test_the_data_set_may_lie_in_a_folder_below_raw_and_names_say_so(layout: Layout, tmp_path: Path):
    tree = {f"sets/mine/{path}": content for path, content in layout.tree.items()}
    found = samples_of(layout, tmp_path, tree, folder="sets/mine")
    assert [sample.name for sample in found] == [f"sets/mine/{name}" for name, *_ in layout.samples]


@each(*SORTED, *LISTED)
def test_the_gauge_may_be_called_otherwise_than_the_category(layout: Layout, tmp_path: Path):
    found = samples_of(replace(layout, category="line_3"), tmp_path, layout.tree, name=layout.category)
    assert [sample.name for sample in found] == [name for name, *_ in layout.samples]


# What people get wrong in every layout


@each(*COMPLETE)
def test_a_missing_mask_is_yielded_as_the_path_that_it_should_have(layout: Layout, tmp_path: Path):
    sample = one(samples_of(layout, tmp_path, without(layout.tree, layout.mask)), layout.defect)
    assert sample.label == 1
    assert sample.mask == tmp_path / layout.mask


@each(*COMPLETE)
def test_a_mask_that_cannot_be_read_raises_when_it_is_drawn_and_not_before(layout: Layout, tmp_path: Path):
    sample = one(samples_of(layout, tmp_path, {**layout.tree, layout.mask: "no image"}), layout.defect)
    assert sample.label == 1
    with pytest.raises(ImageError, match=Path(layout.mask).name):
        drawn(sample)


@each(*SORTED, *LABELLED, *FOLDERS)
def test_a_mask_without_an_image_is_an_error_that_names_it(layout: Layout, tmp_path: Path):
    last = "000" if layout is MVTEC_LOCO else Path(layout.mask).stem
    with pytest.raises(DataError, match=rf"match no image.*{last}"):
        samples_of(layout, tmp_path, without(layout.tree, layout.defect))


@each(*(layout for layout in (*SORTED, *FOLDERS) if layout is not MVTEC_LOCO))
def test_masks_of_a_type_without_images_are_an_error_that_names_it(layout: Layout, tmp_path: Path):
    kind, folder = Path(layout.defect).parent.name, Path(layout.defect).parent.as_posix()
    with pytest.raises(DataError, match=f"has masks of {kind}, but"):
        samples_of(layout, tmp_path, renamed(layout.tree, f"{folder}/", f"{folder}_renamed/"))


@each(*(layout for layout in (*SORTED, FOLDER) if layout is not MVTEC_LOCO))
def test_masks_that_lie_in_no_folder_of_a_type_are_an_error_that_names_them(layout: Layout, tmp_path: Path):
    folder = Path(layout.mask).parent
    tree = renamed(layout.tree, f"{folder.as_posix()}/", f"{folder.parent.as_posix()}/")
    with pytest.raises(DataError, match=rf"expected a folder per defect type, got .*{Path(layout.mask).name}"):
        samples_of(layout, tmp_path, tree)


@each(*SORTED, *LISTED)
def test_a_misspelt_category_is_answered_with_the_nearest(layout: Layout, tmp_path: Path):
    misspelt = f"{layout.category}x"
    with pytest.raises(ConfigError, match=rf"no category '{misspelt}' \(did you mean '{layout.category}'\?\)"):
        samples_of(replace(layout, category=misspelt), tmp_path)


@each(*SORTED)
def test_a_folder_one_level_too_deep_is_answered_with_where_to_point(layout: Layout, tmp_path: Path):
    with pytest.raises(ConfigError, match="looks like a category itself: name the folder above it"):
        samples_of(layout, tmp_path, folder=layout.category)


@each(*SORTED)
def test_a_folder_one_level_too_high_is_answered_with_what_is_there(layout: Layout, tmp_path: Path):
    tree = {f"unpacked/{path}": content for path, content in layout.tree.items()}
    with pytest.raises(ConfigError, match=f"no category '{layout.category}'; it holds unpacked"):
        samples_of(layout, tmp_path, tree)


@each(*COMPLETE, *FOLDERS)
def test_a_folder_that_is_not_there_is_answered_with_the_nearest_on_the_way_to_it(layout: Layout, tmp_path: Path):
    (tmp_path / "sets" / "industrial").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"is no folder \(did you mean 'industrial'\?\).*holds industrial"):
        samples_of(layout, tmp_path, folder="sets/industriel/mine")


@each(*COMPLETE, *FOLDERS)
def test_a_folder_outside_raw_is_refused(layout: Layout, tmp_path: Path):
    write(tmp_path / "elsewhere", layout.tree)
    with pytest.raises(ConfigError, match="lies outside the raw folder"):
        samples_of(layout, tmp_path / "raw", {}, folder="../elsewhere")
    (tmp_path / "raw" / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"link that leads out of the raw folder, to .*elsewhere.*, whose files DVC"):
        samples_of(layout, tmp_path / "raw", {}, folder="linked")


@each(*SORTED, FOLDER_SPLIT)
def test_train_and_test_swapped_is_said_in_so_many_words(layout: Layout, tmp_path: Path):
    test = "test_public" if layout is MVTEC_AD_2 else "test"
    tree = renamed(renamed(renamed(layout.tree, "/train/", "/other/"), f"/{test}/", "/train/"), "/other/", f"/{test}/")
    with pytest.raises(DataError, match=f"are train and {test} swapped"):
        samples_of(layout, tmp_path, tree)


@each(*SORTED)
def test_a_defect_beside_the_good_parts_of_train_is_an_error(layout: Layout, tmp_path: Path):
    with pytest.raises(DataError, match="must hold good parts alone, but has stray"):
        samples_of(layout, tmp_path, {**layout.tree, f"{layout.category}/train/stray/000.png": PART})


@each(MVTEC_AD_2, MVTEC_LOCO)
def test_a_validation_set_is_good_parts_and_must_be_there(layout: Layout, tmp_path: Path):
    stray = {**layout.tree, f"{layout.category}/validation/stray/000.png": PART}
    with pytest.raises(DataError, match="validation must hold good parts alone, but has stray"):
        samples_of(layout, tmp_path / "stray", stray)
    with pytest.raises(DataError, match="validation has no folder 'good'"):
        samples_of(layout, tmp_path / "gone", renamed(layout.tree, "/validation/", "/val/"))


@each(*LISTED)
def test_a_listed_image_that_is_missing_is_yielded_for_prepare_to_report(layout: Layout, tmp_path: Path):
    sample = one(samples_of(layout, tmp_path, without(layout.tree, layout.defect)), layout.defect)
    assert sample.image == tmp_path / layout.defect
    assert sample.label == 1


# MVTec LOCO AD


def test_loco_keeps_for_each_defect_of_an_image_how_much_of_it_must_be_found(tmp_path: Path):
    sample = one(samples_of(MVTEC_LOCO, tmp_path), "pushpins/test/structural_anomalies/000.png")
    masks = "pushpins/ground_truth/structural_anomalies/000"
    assert list(sample.saturation) == [
        {"mask": f"{masks}/000.png", "threshold": 0.5, "relative": True, "defect": "broken"},
        {"mask": f"{masks}/001.png", "threshold": 1500, "relative": False, "defect": "missing_pushpin"},
    ]


@pytest.mark.parametrize(
    ("content", "got"), [(Rows((0,), 255), r"got \[255\]"), (Rows(()), r"got \[\]")], ids=["unknown", "black"]
)
def test_loco_refuses_a_mask_whose_value_the_config_does_not_explain(content: Rows, got: str, tmp_path: Path):
    with pytest.raises(DataError, match=rf"000\.png: expected one pixel value besides 0, of \[250, 254\].*{got}"):
        samples_of(MVTEC_LOCO, tmp_path, {**MVTEC_LOCO.tree, MVTEC_LOCO.mask: content})


def test_loco_refuses_a_mask_of_another_size_than_its_image(tmp_path: Path):
    sample = one(samples_of(MVTEC_LOCO, tmp_path), MVTEC_LOCO.defect)
    assert callable(sample.mask)
    with pytest.raises(DataError, match=r"expected a mask of \(h, w\) \(7, 5\) like its image, got \(5, 7\)"):
        sample.mask(WIDTH, HEIGHT)


@pytest.mark.parametrize("content", [None, "[", '[{"pixel_value": 254}]', '{"pixel_value": 254}'])
def test_loco_refuses_a_config_that_is_missing_or_of_another_form(content: str | None, tmp_path: Path):
    tree = without(MVTEC_LOCO.tree, "pushpins/defects_config.json")
    with pytest.raises(DataError, match=r"defects_config\.json: expected a list of entries with defect_name"):
        samples_of(MVTEC_LOCO, tmp_path, tree if content is None else {**tree, "pushpins/defects_config.json": content})


# VisA


def test_visa_without_its_csv_names_the_other_split(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"1cls\.csv is missing.*set prepare\.split to folders"):
        samples_of(VISA, tmp_path, VISA_FOLDERS.tree)


def test_visa_as_published_asked_for_as_folders_names_the_other_split(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"set prepare\.split to 1cls"):
        samples_of(VISA_FOLDERS, tmp_path, VISA.tree)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("test,anomaly", "train,anomaly"),
        ("test,anomaly", "val,anomaly"),
        ("test,anomaly", "test,bad"),
        (",candle/Data/Masks/Anomaly/000.png", ","),
    ],
    ids=["defect in train", "unknown split", "unknown label", "no mask"],
)
def test_visa_names_the_line_of_the_csv_that_it_cannot_take(old: str, new: str, tmp_path: Path):
    assert old in VISA_CSV
    with pytest.raises(DataError, match=r"1cls\.csv, line 4: expected"):
        samples_of(VISA, tmp_path, {**VISA.tree, "split_csv/1cls.csv": VISA_CSV.replace(old, new)})


def test_visa_refuses_a_csv_with_other_columns(tmp_path: Path):
    with pytest.raises(DataError, match=r"expected columns object, split, label, image, mask, got \['image'"):
        samples_of(VISA, tmp_path, {**VISA.tree, "split_csv/1cls.csv": "image,label,mask\n"})


# KolektorSDD and KolektorSDD2


@pytest.mark.parametrize(
    ("layout", "other", "message"),
    [
        (KOLEKTOR_SDD, KOLEKTOR_SDD_2, r"expected folders kos01, kos02, \.\.\. with images, got test, train"),
        (KOLEKTOR_SDD_2, KOLEKTOR_SDD, "expected folders train and test, got kos01, kos02"),
    ],
    ids=["first", "second"],
)
def test_each_kolektor_set_says_what_it_found_instead_of_itself(
    layout: Layout, other: Layout, message: str, tmp_path: Path
):
    with pytest.raises(DataError, match=message):
        samples_of(layout, tmp_path, other.tree)


@pytest.mark.parametrize(
    ("layout", "image", "label"),
    [
        (KOLEKTOR_SDD, "kos01/Part0.jpg", "kos01/Part0_label.bmp"),
        (KOLEKTOR_SDD_2, "train/10301.png", "train/10301_GT.png"),
    ],
    ids=["first", "second"],
)
def test_a_kolektor_part_without_a_label_never_counts_as_good_or_as_left_out(
    layout: Layout, image: str, label: str, tmp_path: Path
):
    sample = one(samples_of(layout, tmp_path, without(layout.tree, label)), image)
    assert (sample.label, sample.mask) == (1, tmp_path / label)


# Real-IAD


def test_real_iad_holds_defective_parts_in_train_to_fit_in_all_their_views(tmp_path: Path):
    shown, hidden = "NG/AK/S0009/toy_0009_NG_AK_C1_1.jpg", "NG/AK/S0009/toy_0009_NG_AK_C2_1.jpg"
    noisy = [entry("AK", shown, shown.replace("jpg", "png")), entry("OK", hidden)]
    content = {**REAL_IAD_JSON, "train": REAL_IAD_JSON["train"] + noisy}
    jsons = "realiad_jsons_fuiad_0.4"
    found = samples_of(REAL_IAD, tmp_path, real_iad_tree(content, jsons), jsons=jsons)
    views = {sample.name: (sample.label, sample.roles) for sample in found if sample.group_id == "NG/AK/S0009"}
    assert views == {f"realiad_1024/toy/{shown}": (1, FIT), f"realiad_1024/toy/{hidden}": (0, FIT)}
    assert one(found, REAL_IAD.samples[0][0]).roles == TRAIN


def test_real_iad_takes_its_images_from_the_folder_of_the_resolution(tmp_path: Path):
    found = samples_of(
        REAL_IAD, tmp_path, renamed(REAL_IAD.tree, "realiad_1024/", "realiad_256/"), images="realiad_256"
    )
    assert [s.name for s in found] == [name.replace("_1024/", "_256/") for name, *_ in REAL_IAD.samples]
    assert read_mask(tmp_path / REAL_IAD.mask.replace("_1024/", "_256/")).marked.any()


def test_real_iad_without_the_images_of_the_resolution_lists_those_that_are_there(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"realiad_512 is no folder \(did you mean 'realiad_1024'\?\)"):
        samples_of(REAL_IAD, tmp_path, images="realiad_512")


def test_real_iad_says_which_folders_of_jsons_an_archive_nests(tmp_path: Path):
    tree = renamed(REAL_IAD.tree, "realiad_jsons/", "realiad_jsons/realiad_jsons_sv/")
    with pytest.raises(ConfigError, match=r"set prepare\.jsons to realiad_jsons/ and realiad_jsons_sv"):
        samples_of(REAL_IAD, tmp_path, tree)


def _swap(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "train": content["test"], "test": content["train"]}


def _unmasked(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "test": [entry("AK", "NG/AK/S0001/toy_0001_NG_AK_C1_1.jpg")]}


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "test": [entry("OK", "toy_0001_OK_C1_1.jpg")]}


def _short(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "test": [{"image_path": "OK/S0001/toy_0001_OK_C1_1.jpg"}]}


def _no_meta(content: dict[str, Any]) -> dict[str, Any]:
    return {key: content[key] for key in ("train", "test")}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (_swap, "train has 1 defective parts and test none; are they swapped"),
        (_unmasked, "entry 3: expected .* with a mask if anomalous"),
        (_flat, "entry 3: expected the views of a part in a folder"),
        (_short, "entry 3: expected .*'anomaly_class'"),
        (_no_meta, r"expected meta \(prefix, normal_class\), train and test, got KeyError\('meta'\)"),
    ],
)
def test_real_iad_names_what_is_wrong_in_the_json(
    wrong: Callable[[dict[str, Any]], dict[str, Any]], message: str, tmp_path: Path
):
    tree = {**REAL_IAD.tree, "realiad_jsons/toy.json": json.dumps(wrong(REAL_IAD_JSON))}
    with pytest.raises(DataError, match=rf"toy\.json: {message}"):
        samples_of(REAL_IAD, tmp_path, tree)


# A person's own folder


@pytest.mark.parametrize(
    "tree",
    [
        {"caps/good/a.jpg": PART, "caps/good/b.jpg": PART},
        {"caps/train/good/a.jpg": PART, "caps/train/good/b.jpg": PART},
    ],
    ids=["good", "train"],
)
def test_a_folder_of_good_parts_alone_leaves_every_role_open(tree: Tree, tmp_path: Path):
    found = samples_of(FOLDER, tmp_path, tree)
    assert [(s.name, s.label, s.roles) for s in found] == [(name, 0, ROLES) for name in tree]


def test_a_folder_without_good_parts_under_test_lets_train_give_some(tmp_path: Path):
    found = samples_of(FOLDER_SPLIT, tmp_path, without(FOLDER_SPLIT.tree, "caps/test/good/b.jpg"))
    assert [(s.name, s.label, s.roles) for s in found] == [
        ("caps/train/good/a.jpg", 0, ROLES),
        ("caps/test/dented/c.jpg", 1, ROLES),
        ("caps/test/dented/e.jpg", 1, ROLES),
        ("caps/test/torn/d.jpg", 1, ROLES),
    ]


def test_a_folder_with_both_forms_at_once_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="has both train/ and good/; which are the good parts"):
        samples_of(FOLDER_SPLIT, tmp_path, {**FOLDER_SPLIT.tree, "caps/good/f.jpg": PART})


def test_a_folder_whose_good_parts_are_called_otherwise_says_which_option_names_them(tmp_path: Path):
    tree = renamed(FOLDER.tree, "/good/", "/pass/")
    with pytest.raises(DataError, match=r"expected a folder 'good'.*'pass'.*name the folder .* in prepare\.good"):
        samples_of(FOLDER, tmp_path / "unnamed", tree)
    named = samples_of(FOLDER, tmp_path / "named", tree, good="pass")
    assert [s.name for s in named if s.label == 0] == ["caps/pass/a.jpg", "caps/pass/b.jpg"]
    assert {s.defect_type for s in named} == {"good", "dented", "torn"}


def test_a_folder_with_masks_among_the_images_of_test_says_where_they_belong(tmp_path: Path):
    with pytest.raises(DataError, match=r"test/ground_truth holds images; masks belong in .*caps/ground_truth/<"):
        samples_of(FOLDER_SPLIT, tmp_path, renamed(FOLDER_SPLIT.tree, "/ground_truth/dented/", "/test/ground_truth/"))


def test_a_folder_may_lack_some_masks_and_its_defects_then_have_none(tmp_path: Path):
    found = samples_of(FOLDER, tmp_path, without(FOLDER.tree, FOLDER.mask))
    assert one(found, FOLDER.defect).mask is None
    assert one(found, "caps/dented/b.jpg").mask == tmp_path / "caps/ground_truth/dented/b.png"
