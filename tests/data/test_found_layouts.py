"""What people's folders are found to be: each file is used as a person would, named as of no use, or refused with why.

Each row of FOUND is a tree of files; docs/data.md shows the rows as a table.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doc_tables import documented, table, write
from gonogo.data import source_class
from gonogo.data.prepare.layouts import categories_in, outside
from gonogo.data.sample import Shares
from gonogo.data.unused import sentences
from gonogo.errors import DataError
from gonogo.images.reading import write_png
from gonogo.params import build

SHARES = Shares(seed=3, test=0.25, calibrate=0.5)
SQUARE = {"label": "dent", "points": [[1, 1], [3, 3]], "shape_type": "rectangle"}
LABELME = json.dumps({"version": "5.5", "shapes": [SQUARE], "imagePath": "x.png", "imageWidth": 6, "imageHeight": 8})
NO_OBJECT = "<annotation><filename>x.png</filename><size><width>6</width><height>8</height></size></annotation>"
BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"
VOC = NO_OBJECT.replace("</annotation>", f"<object><name>dent</name>{BOX}</object></annotation>")
CVAT_XML = '<annotations><image id="0"><polygon label="dent" points="1,1;2,2"/></image></annotations>'


def coco(*names: str) -> str:
    images = [{"id": n, "file_name": name, "width": 6, "height": 8} for n, name in enumerate(names)]
    square = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": [], "iscrowd": 0}
    return json.dumps({"images": images, "annotations": [square], "categories": [{"id": 1, "name": "dent"}]})


@dataclass(frozen=True)
class Found:
    """A tree, and what is found in it.

    Attributes:
        what: the tree, and `said` what is made of it, for the docs.
        files: paths; those of images are drawn, others hold the text.
        n_good: good images, n_defects: defective ones by type, n_masks: those with a mask; None: refused. Of ONE_EACH
            they are those of each category, and n_defects has those by category.
        words: of the refusal, or of what is said of files without use.
    """

    what: str
    said: str
    files: dict[str, str] = field(default_factory=dict)
    n_good: int | None = None
    n_defects: dict[str, Any] = field(default_factory=dict)
    n_masks: int = 0
    words: str = ""


def files(*names: str, **texts: str) -> dict[str, str]:
    """Images `names`, in which {0-3} stands for four of them."""
    found: dict[str, str] = {}
    for name in names:
        head, _, rest = name.partition("{")
        if rest:
            span, _, tail = rest.partition("}")
            first, last = map(int, span.split("-"))
            found |= {f"{head}{number}{tail}": "" for number in range(first, last + 1)}
        else:
            found[name] = ""
    return found | texts


GOOD = "good/g{0-3}.png"
FOUND = [
    Found(
        "`Normal/`, `Dent/`: any case, `ok`, `gut`, `pass`, ...",
        "good parts and a defect type",
        files("Normal/g{0-3}.png", "Dent/d{0-1}.png"),
        4,
        {"Dent": 2},
    ),
    Found(
        "`train/GOOD`, `test/Good`, `test/dent`",
        "one name of good parts, whatever its case",
        files("train/GOOD/g{0-3}.png", "test/Good/h{0-1}.png", "test/dent/d{0-1}.png"),
        6,
        {"dent": 2},
    ),
    Found(
        "`good/` and `ok/` side by side",
        "refused: `ok` would be a defect type",
        files(GOOD, "ok/h{0-1}.png"),
        words="though its name says good",
    ),
    Found(
        "`good/` and `Good/` side by side",
        "refused: two spellings",
        files(GOOD, "Good/h{0-1}.png"),
        words="good",
    ),
    Found(
        "`good/lot2/…`, `dent/monday/…`",
        "images at any depth belong to the folder above",
        files("good/lot1/g{0-3}.png", "good/lot2/g{0-1}.png", "dent/monday/d{0-1}.png"),
        6,
        {"dent": 2},
    ),
    Found(
        "`good/bad/…`",
        "refused: the two names contradict each other",
        files(GOOD, "good/bad/d{0-1}.png"),
        words="among good parts",
    ),
    Found(
        "`dent/good/…`",
        "refused: a part of its own, or a wrong name",
        files(GOOD, "dent/good/h{0-1}.png"),
        words="name .* in prepare.folder",
    ),
    Found(
        "`masks/`, `gt/`, `ground_truth/`, `labels/` with a folder per defect type",
        "masks",
        files(GOOD, "dent/d{0-2}.png", "GT/dent/d{0-1}_mask.png"),
        4,
        {"dent": 3},
        2,
    ),
    Found(
        "`mask/` with one heap of masks",
        "masks, where each is called like one defective image",
        files(GOOD, "dent/d{0-1}.png", "hole/e{0-1}.png", "mask/d{0-1}.png", "mask/e0_gt.png"),
        4,
        {"dent": 2, "hole": 2},
        3,
    ),
    Found(
        "`mask/` with masks of no image",
        "refused, with their names",
        files(GOOD, "dent/d{0-1}.png", "mask/x{0-1}.png"),
        words="expected a folder per defect type, got x0.png",
    ),
    Found(
        "`dent/d1.png` beside `dent/d1_mask.png`, or `dent/masks/d1.png`",
        "masks",
        files(GOOD, "dent/d{0-2}.png", "dent/d0_mask.png", "dent/masks/d1.png"),
        4,
        {"dent": 3},
        2,
    ),
    Found(
        "`normal_test`, `good 2` beside `good/`",
        "refused: would be a defect type",
        files(GOOD, "normal_test/h{0-1}.png"),
        words="normal_test would be a defect type beside 'good', though its name says good",
    ),
    Found(
        "`not_ok/`, `NG/`, `abnormal/`",
        "defect types",
        files(GOOD, "not_ok/h{0-1}.png", "NG/n.png"),
        4,
        {"not_ok": 2, "NG": 1},
    ),
    Found(
        "`dent_mask/` beside `dent/`",
        "refused: masks belong in `ground_truth/dent`",
        files(GOOD, "dent/d0.png", "dent_mask/d0.png"),
        words="its name says that it holds masks",
    ),
    Found(
        "`test/`, `images/`, `unsorted/`, `backup/`, … beside `good/`",
        "refused: not the name of a defect",
        files(GOOD, "dent/d0.png", "Unsorted/h{0-1}.png"),
        words="its name does not say of which defect",
    ),
    Found(
        "`masks/` and `ground_truth/` side by side",
        "refused: which holds the masks?",
        files(GOOD, "dent/d0.png", "masks/dent/d0.png", "ground_truth/dent/d0.png"),
        words="which holds the masks",
    ),
    Found(
        "`val/good` beside `train/` and `test/`",
        "good parts to calibrate on; all of `train/` is for fit",
        files("train/good/g{0-3}.png", "val/good/v{0-2}.png", "test/good/h0.png", "test/dent/d0.png"),
        8,
        {"dent": 1},
    ),
    Found(
        "`val/dent`",
        "refused: defects belong under `test/`",
        files("train/good/g{0-3}.png", "val/dent/v{0-2}.png", "test/dent/d0.png"),
        words="has defects, dent",
    ),
    Found(
        "`train/*.png` without a folder of good parts",
        "refused, with what to do",
        files("train/g{0-3}.png", "test/good/h{0-3}.png", "test/dent/d0.png"),
        words="4 images that lie in no folder of it; move good ones there",
    ),
    Found(
        "`.jfif`, `.jpe`, `.dib`, `.pbm`, `.pnm`",
        "images like others",
        files(GOOD, "good/a.jfif", "good/b.JPE", "good/c.pnm"),
        7,
    ),
    Found(
        "`.gif`, `.heic`, `.jp2`, `.zip`, … among images",
        "counted and named, with their folder",
        files(GOOD, **{"good/a.gif": "GIF89a", "good/b.HEIC": "x", "good/c.qoi": "x"}),
        4,
        words=r"3 files of formats that are not read .*: 3 in good \(a.gif, b.HEIC, c.qoi\)",
    ),
    Found(
        "images beside the folders `good/` and `dent/`",
        "counted and named, with their folder",
        files(GOOD, "dent/d0.png", "loose{0-4}.png"),
        4,
        {"dent": 1},
        words=r"5 image files without use.*: 5 in \. \(loose0.png, loose1.png, loose2.png and 2 more\)",
    ),
    Found(
        "images of other folders beside categories",
        "counted and named, with their folder",
        files("nut/good/g{0-3}.png", "sorted later/x{0-1}.png"),
        4,
        words=r"2 image files without use.*: 2 in sorted later \(x0.png, x1.png\)",
    ),
    Found(
        "thumbnails and hidden files of systems",
        "left out",
        files(GOOD, **{"good/.DS_Store": "x", "good/@eaDir/g0.png/S.jpg": "x", "__MACOSX/._g0.png": "x"}),
        4,
    ),
    Found("images alone in the folder that is named", "all are good", files("g{0-3}.png"), 4),
    Found(
        "images alone beside a table of numbers or a `.json`, `.xml` of no image",
        "all are good",
        files("g{0-3}.png", **{"sizes.txt": "1 2 3 4 5\n", "meta.json": "{}", "log.xml": "<log/>"}),
        4,
    ),
    Found(
        "images alone, label files that are called otherwise",
        "refused, with the names of the files",
        files("g{0-3}.png", **{"1.json": LABELME}),
        words="1 label files match no image: .*1.json",
    ),
    Found(
        "images alone in a folder below",
        "refused: name that folder",
        files("images/g{0-3}.png"),
        words=r"images are there \(4 in images\).* name the folder that holds good parts alone",
    ),
    Found(
        "images with masks in one heap",
        "refused: not all are good",
        files("g{0-3}.png", "g2_mask.png"),
        words="1 of 5 images are named like masks",
    ),
    Found(
        "images alone, some of which are called `NG_1.png`, `2_nok.png`, ...",
        "refused: not all are good",
        files("OK_{0-3}.png", "NG_{0-1}.png"),
        words="2 of 6 images are named like defective parts, the first NG_0.png",
    ),
    Found(
        "images alone, some of which are called `good_1.png`, ...",
        "refused: not all may be good",
        files("good_{0-3}.png", "scratch_{0-1}.png"),
        words="2 of 6 images are not named like good parts, as good_0.png and 3 more are, the first scratch_0.png",
    ),
    Found(
        "`dent/d1.png` beside `dent/mask_d1.png`",
        "masks",
        files(GOOD, "dent/d{0-1}.png", "dent/mask_d0.png"),
        4,
        {"dent": 2},
        1,
    ),
    Found(
        "`dent/a/d1.png`, `dent/b/d1.png` and `dent/a/masks/d1.png`",
        "the mask of the image beside it",
        files(GOOD, "dent/a/d1.png", "dent/b/d1.png", "dent/a/masks/d1.png"),
        4,
        {"dent": 2},
        1,
    ),
    Found(
        "`dent/rgb/d1.png`, `dent/uv/d1.png` and `dent/gt/d1.png`",
        "refused: a mask of two images",
        files(GOOD, "dent/rgb/d1.png", "dent/uv/d1.png", "dent/gt/d1.png"),
        words="gt/d1.png is the mask of .*rgb/d1.png, .*uv/d1.png by their names",
    ),
    Found(
        "`good/rgb/`, `good/xyz/` and `dent/gt/` as MVTec 3D-AD has them; `dent/d1.png` and `dent/Depth/d1_depth.png`",
        "photographs and masks; depth and infrared of the same parts are counted and named",
        files(
            "train/good/rgb/g{0-3}.png",
            "train/good/xyz/g{0-3}.tiff",
            "test/dent/d{0-1}.png",
            "test/dent/Depth/d{0-1}_depth.png",
            "test/dent/gt/d{0-1}.png",
        ),
        4,
        {"dent": 2},
        2,
        "6 image files without use.*2 in test/dent/Depth .*4 in train/good/xyz",
    ),
    Found(
        "`good/depth/g1.png` alone",
        "pictures of depth are the parts",
        files("good/depth/g{0-3}.png", "dent/depth/d{0-1}.png"),
        4,
        {"dent": 2},
    ),
    Found(
        "`good/depth/` whose images are called otherwise; `good/depth/` and `good/ir/` alone",
        "refused: parts of their own, or recordings of which parts?",
        files(GOOD, "good/depth/h{0-1}.png"),
        words="good/depth holds 2 images that are called like no image outside of it, the first h0.png",
    ),
    Found(
        "`depth/` beside `good/`",
        "refused: not the name of a defect",
        files(GOOD, "depth/g{0-3}.png"),
        words="depth would be a defect type, though its name says that it holds other recordings",
    ),
    Found(
        "`train/good/gt/`, `val/good/masks/`",
        "masks of good parts, which should mark nothing",
        files("train/good/g{0-3}.png", "train/good/gt/g0.png", "val/good/v{0-1}.png", "val/good/masks/v0.png"),
        6,
    ),
    Found(
        "`d1_overlay.png`, `d1_heatmap.png` beside `d1.png`; `overlays/`, `unsure/` beside `good/`",
        "refused: drawn of another image; no name of a defect",
        files(GOOD, "dent/d0.png", "dent/d0_overlay.png"),
        words="1 images are named like pictures that were drawn of others, the first .*d0_overlay.png",
    ),
    Found(
        "LabelMe's `.json` beside good images",
        "refused, unless it has no shape",
        files(GOOD, **{"good/g1.json": LABELME, "good/g2.json": LABELME}),
        words="LabelMe files annotate 2 images .*good/g1.png",
    ),
    Found(
        "LabelMe's `.json` in another encoding than UTF-8",
        "refused: save it as UTF-8",
        files("b.png", "c.png", **{"b.json": "GBK" + LABELME.replace("dent", "\u5212\u75d5")}),
        words="b.json is not UTF-8",
    ),
    Found(
        "DOTA's `.txt`",
        "refused, with the line",
        files("b.png", "c.png", **{"c.txt": "1 1 9 1 9 9 1 9 dent 0\n"}),
        words="c.txt, line 1: expected the number of a class and coordinates",
    ),
    Found(
        "LabelMe's `.json` without a shape",
        "good",
        files(GOOD, **{"good/g1.json": json.dumps({"version": "5.5", "shapes": []})}),
        4,
    ),
    Found(
        "LabelMe's `.json`, Pascal VOC's `.xml` or YOLO's `.txt` beside the images",
        "found; an image whose file has no object is good",
        files("b.png", "c.png", "d.png", **{"b.xml": VOC, "c.xml": NO_OBJECT, "d.xml": NO_OBJECT}),
        2,
        {"dent": 1},
        1,
    ),
    Found(
        "`images/train/` beside `labels/train/`, with `data.yaml`; `JPEGImages/` beside `Annotations/`",
        "found",
        files(
            "images/train/b.png",
            "images/val/b.png",
            **{"labels/train/b.txt": "0 0.5 0.5 0.5 .5\n", "labels/val/b.txt": "", "data.yaml": "names: [dent]"},
        ),
        1,
        {"dent": 1},
        1,
    ),
    Found(
        "such images below `lot1/`, `lot2/`; below `2024-05-01/`, `cam_left/`, `train/`, ...",
        "one category",
        files(
            "lot1/b.png", "lot1/c.png", "lot2/b.png", **{"lot1/b.xml": VOC, "lot1/c.xml": NO_OBJECT, "lot2/b.xml": VOC}
        ),
        1,
        {"dent": 2},
        2,
    ),
    Found(
        "such images below `pcb1/`, `pcb2/`; below `bottle/`, `lot2/`",
        "refused: products, or lots of one product?",
        files(
            "pcb1/b.png", "pcb1/c.png", "pcb2/b.png", **{"pcb1/b.xml": VOC, "pcb1/c.xml": NO_OBJECT, "pcb2/b.xml": VOC}
        ),
        words="are they products, or lots of one product",
    ),
    Found(
        "such images, some without a label file",
        "refused: are they good? `gonogo init --unlabelled good` says it, or `leave_out`",
        files("b.png", "c.png", "d.png", **{"b.json": LABELME}),
        words="2 of 3 images have no label file of LabelMe: .*c.png, .*d.png. They may be good, or nobody",
    ),
    Found(
        "such images, each with an object",
        "refused: none is good",
        files("b.png", "c.png", **{"b.json": LABELME, "c.json": LABELME}),
        words="so that none is good",
    ),
    Found(
        "objects that are called `ok`, `good`, `normal`, ...",
        "mark nothing: their image is good, unless another object is a defect",
        files("b.png", "c.png", **{"b.xml": VOC, "c.xml": VOC.replace("dent", "OK")}),
        1,
        {"dent": 1},
        1,
    ),
    Found(
        "YOLO's classes without names, or a number without a name",
        "refused: name them in `classes.txt` or `data.yaml`",
        files("b.png", "c.png", **{"b.txt": "3 0.5 0.5 1e-1 .2\n", "c.txt": "", "classes.txt": "dent\n"}),
        words="b.txt, line 1: class 3 is not among the names: 0 dent",
    ),
    Found(
        "label files without their image",
        "refused, with their names",
        files("b.png", **{"b.txt": "", "x.txt": "0 .5 .5 .1 .1", "classes.txt": "dent\n"}),
        words="1 label files match no image: .*x.txt",
    ),
    Found(
        "label files of two formats",
        "refused: remove those that do not count",
        files("b.png", "c.png", **{"b.xml": VOC, "c.json": LABELME}),
        words="has label files of 2 formats: .*c.json .LabelMe. and .*b.xml .Pascal VOC.",
    ),
    Found(
        "such files beside defective images of `dent/`",
        "masks, where there is no other",
        files(GOOD, "dent/d0.png", "dent/d1.png", **{"dent/d0.json": LABELME}),
        4,
        {"dent": 2},
        1,
    ),
    Found(
        "`labels/` or `Annotations/` of such files beside or below `good/`",
        "refused, where one of a good image has an object",
        files(
            GOOD,
            "dent/d0.png",
            **{"labels/good/g1.txt": "0 .5 .5 .1 .1", "Annotations/g2.xml": VOC},
        ),
        words="(Pascal VOC|YOLO) files annotate 1 image among the good ones, the first .*good/g[12].png",
    ),
    Found(
        "one file of CVAT, VIA, Label Studio or Datumaro for many images",
        "refused, where it names a good image and has an object",
        files("b.png", "c.png", **{"via.json": json.dumps({"b.png9": {"filename": "b.png", "regions": [{"r": 1}]}})}),
        words="via.json annotates images among the good ones",
    ),
    Found(
        "Label Studio's or Labelbox's list of labels, `g1_polygons.json` beside `g1.png`, and the like",
        "refused, where it has an object or a label",
        files("g{0-3}.png", **{"g1_gtFine_polygons.json": json.dumps({"objects": [{"label": "dent"}]})}),
        words="g1_gtFine_polygons.json annotates images among the good ones",
    ),
    Found(
        "a list of some of the images, or with a word about each",
        "refused",
        files("g{0-3}.png", **{"defects.txt": "g1.png\ng2.png\n"}),
        words="defects.txt annotates images among the good ones",
    ),
    Found(
        "a list of all images",
        "of no meaning",
        files("g{0-3}.png", **{"train.txt": "".join(f"data/g{n}.png\n" for n in range(4))}),
        4,
    ),
    Found(
        "CVAT's `annotations.xml`, Supervisely's `ann/` without `good/`",
        "refused: export as COCO",
        files("images/b.png", **{"annotations.xml": CVAT_XML}),
        words=r"\./annotations.xml \(CVAT\) annotate images in a format that is not read",
    ),
    Found(
        "COCO's `annotations/` beside `images/`",
        "found, with the folder that has the images",
        files("images/default/a.png", "images/default/b.png", **{"annotations/instances.json": coco("a.png", "b.png")}),
        1,
        {"dent": 1},
        1,
    ),
    Found(
        "`annotations/` with a file for each of `train/` and `val/`",
        "found, with a folder for each file",
        files(
            "train/a.png",
            "train/b.png",
            "val/c.png",
            "val/d.png",
            **{
                "annotations/train.json": coco("a.png", "b.png"),
                "annotations/val.json": "\ufeff" + coco("c.png", "d.png"),
            },
        ),
        2,
        {"dent": 2},
        2,
    ),
    Found(
        "COCO without its images",
        "refused, with what to do",
        files("images/a.png", **{"annotations/i.json": coco("a.png", "b.png")}),
        words="put the images beside the file",
    ),
    Found(
        "images that no COCO file lists",
        "counted and named",
        files("a.png", "b.png", "c.png", **{"i.json": coco("a.png", "b.png")}),
        1,
        {"dent": 1},
        1,
        words=r"1 image files? without use.* \(c.png\)",
    ),
    Found(
        "a table with `;` or tabs, capitals, a byte-order mark, `filename`",
        "read",
        files("i/a.png", "i/b.png", **{"LIST.CSV": "\ufeffFileName;Label\r\ni/a.png;OK\r\ni/b.png;NG\r\n"}),
        1,
        {"anomaly": 1},
    ),
    Found(
        "a table in UTF-16 or Latin-1",
        "refused: save it as UTF-8",
        files("i/a.png", **{"list.csv": "UTF-16"}),
        words="list.csv looks like a table of images, but cannot be read as one: .*save it as UTF-8",
    ),
    Found(
        "a table of Excel",
        "refused: save it as CSV",
        files("i/a.png", **{"list.xlsx": "PK"}),
        words="the table list.xlsx, which is to be saved as CSV",
    ),
    Found(
        "images that a table does not list",
        "counted and named, unless the table has categories",
        files("i/a.png", "i/b.png", "i/c.png", "i/d.png", **{"list.csv": "path,label\ni/a.png,0\ni/b.png,1\n"}),
        1,
        {"anomaly": 1},
        words=r"2 image files without use.*: 2 in i \(c.png, d.png\)",
    ),
    Found(
        "a table of images with other columns",
        "refused, with the column",
        files("i/a.png", "i/b.png", **{"list.csv": "picture,quality\ni/a.png,0\n"}),
        words="list.csv looks like a table of images, but cannot be read as one: .*unknown column 'picture'",
    ),
    Found(
        "a table whose names differ from the files in case",
        "refused, with the file that is there",
        files("i/A.png", **{"list.csv": "path,label\ni/a.PNG,0\n"}),
        words="is not there, but .*i/A.png is",
    ),
]


def draw(root: Path, names: dict[str, str]) -> None:
    for number, (name, text) in enumerate(sorted(names.items())):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("GBK"):
            path.write_bytes(text.removeprefix("GBK").encode("gbk"))
        elif text == "UTF-16":
            path.write_bytes("path,label\ni/a.png,0\n".encode("utf-16"))
        elif text or name.endswith((".txt", ".DS_Store")):
            path.write_bytes(text.encode())
        else:
            pixels = np.random.default_rng(number).integers(0, 256, (8, 6, 3), dtype=np.uint8)
            write_png(path, pixels if "mask" not in name.lower() else pixels[..., 0] // 200)


@pytest.mark.parametrize("row", FOUND, ids=lambda row: row.what)
def test_a_folder_is_found_to_be_what_a_person_would_say_or_refused(row, tmp_path):
    raw = tmp_path / "parts"
    draw(raw, row.files)
    if row.n_good is None:
        with pytest.raises(DataError, match=row.words):
            categories_in(raw, SHARES)
        return
    (one,) = found = categories_in(raw, SHARES)
    assert (one.n_good, one.defects, one.n_masks) == (row.n_good, row.n_defects, row.n_masks)
    said = sentences([*one.unused, *outside(raw, found)])
    if row.words:
        assert len(said) == 1
        with pytest.raises(DataError, match=row.words):
            raise DataError(said[0])
    else:
        assert said == []


def test_a_validation_set_is_calibrates_and_train_is_fits(tmp_path):
    draw(tmp_path, files("train/good/g{0-3}.png", "Validation/good/v{0-1}.png", "test/good/h0.png"))
    samples = source_class("folder")(folder=".").samples("parts", tmp_path, SHARES)
    assert {Path(s.name).parts[0]: s.roles for s in samples} == {
        "train": ("fit",), "Validation": ("calibrate",), "test": ("test",),
    }  # fmt: skip


def test_the_mask_of_an_image_is_found_wherever_it_lies(tmp_path):
    names = ("dent/a/d0.png", "dent/b/d0.png", "masks/dent/a/d0_mask.png", "masks/dent/b/d0_mask.png", GOOD)
    draw(tmp_path, files(*names))
    samples = source_class("folder")(folder=".").samples("parts", tmp_path, SHARES)
    masks = {s.name: s.mask for s in samples if s.label == 1}
    assert masks == {f"dent/{lot}/d0.png": tmp_path / f"masks/dent/{lot}/d0_mask.png" for lot in "ab"}


def test_one_mask_for_two_images_is_refused_with_all_three(tmp_path):
    draw(tmp_path, files(GOOD, "dent/d0.png", "dent/d0.jpg", "masks/dent/d0.png"))
    with pytest.raises(DataError, match=r"masks/dent/d0.png is the mask of .*dent/d0.jpg and of .*dent/d0.png"):
        categories_in(tmp_path, SHARES)


def test_a_file_without_use_whose_name_is_not_utf_8_is_named_with_escapes(tmp_path):
    draw(tmp_path, files(GOOD))
    (tmp_path / "good" / os.fsdecode(b"gr\xf6sse.gif")).write_bytes(b"GIF89a")
    (one,) = categories_in(tmp_path, SHARES)
    (unused,) = one.unused
    assert str(unused).encode() == rb"1 in good (gr\udcf6sse.gif)"


def test_copies_of_accepted_images_are_no_defect_type_and_not_without_use(tmp_path):
    draw(tmp_path, files(GOOD, "dent/d0.png", "accepted/parts/fit/0123456789ab_x.png"))
    (one,) = found = categories_in(tmp_path, SHARES)
    assert (one.n_good, one.defects, one.unused, outside(tmp_path, found)) == (4, {"dent": 1}, (), [])


def test_options_that_init_writes_are_those_that_prepare_takes(tmp_path):
    names = files("train/a.png", "train/b.png", "val/c.png", "val/d.png")
    texts = {"annotations/train.json": coco("a.png", "b.png"), "annotations/val.json": coco("c.png", "d.png")}
    draw(tmp_path, names | texts)
    (one,) = categories_in(tmp_path, SHARES)
    assert one.options["images"] == ["../train", "../val"]
    made = build(source_class("coco"), one.options, where="prepare")
    assert len(list(made.samples("parts", tmp_path, SHARES))) == 4


def test_what_a_person_says_of_images_without_a_label_file_is_an_option_of_the_source(tmp_path):
    draw(tmp_path, files("b.png", "c.png", "d.png", **{"b.json": LABELME, "c.json": '{"shapes": []}'}))
    (good,), (fewer,) = (categories_in(tmp_path, SHARES, said) for said in ("good", "leave_out"))
    assert (good.n_good, good.options) == (2, {"format": "labelme", "unlabelled": "good"})
    assert (fewer.n_good, fewer.options, [str(one) for one in fewer.unused]) == (
        1, {"format": "labelme", "unlabelled": "leave_out"}, ["1 in . (d.png)"],
    )  # fmt: skip
    made = build(source_class("labels"), good.options, where="prepare")
    assert len(list(made.samples("parts", tmp_path, SHARES))) == 3


ONE_EACH = [
    Found(
        "label files of LabelMe, Pascal VOC or YOLO below `bottle/`, `cable/`",
        "a category for each, which may have formats of their own",
        files(
            "bottle/b.png",
            "bottle/c.png",
            "cable/images/d.png",
            "cable/images/e.png",
            **{"bottle/b.xml": VOC, "bottle/c.xml": NO_OBJECT, "cable/labels/d.txt": "0 0.5 0.5 0.5 .5\n"},
            **{"cable/labels/e.txt": "", "cable/classes.txt": "cut\n"},
        ),
        1,
        {"bottle": {"dent": 1}, "cable": {"cut": 1}},
        1,
    ),
    Found(
        "`annotations/` and `images/` of COCO below `bottle/`, `cable/`",
        "a category for each",
        files(
            "bottle/images/a.png",
            "bottle/images/b.png",
            "cable/images/a.png",
            "cable/images/b.png",
            **{f"{name}/annotations/instances.json": coco("a.png", "b.png") for name in ("bottle", "cable")},
        ),
        1,
        {"bottle": {"dent": 1}, "cable": {"dent": 1}},
        1,
    ),
    Found(
        "tables of one name, `bottle/labels.csv`, `cable/labels.csv`",
        "a category for each, called like its folder",
        files(
            "bottle/a.png",
            "bottle/b.png",
            "cable/a.png",
            "cable/b.png",
            **{f"{name}/labels.csv": "path,label\na.png,0\nb.png,1\n" for name in ("bottle", "cable")},
        ),
        1,
        {"bottle": {"anomaly": 1}, "cable": {"anomaly": 1}},
    ),
]


@pytest.mark.parametrize("row", ONE_EACH, ids=lambda row: row.what)
def test_products_with_label_files_of_their_own_are_a_category_each(row, tmp_path):
    draw(tmp_path, row.files)
    found = categories_in(tmp_path, SHARES)
    assert {one.name: one.defects for one in found} == row.n_defects
    for one in found:
        assert (one.n_good, one.n_masks, one.unused) == (row.n_good, row.n_masks, ())
        made = build(source_class(one.source), one.options, where="prepare")
        assert {Path(sample.name).parts[0] for sample in made.samples(one.name, tmp_path, SHARES)} == {one.name}
    assert outside(tmp_path, found) == []


SAYS_SOMETHING = {
    "export.json": [{"image": "/data/upload/1/g1.png", "label": [{"x": 1, "rectanglelabels": ["dent"]}]}],
    "labels.json": [{"image": "g1.png", "label": "dent"}],
    "flags.json": {"g1.png": {"defect": 1}},
    "export.ndjson": {"data_row": {"external_id": "g1.png"}, "labels": [{"objects": [{"name": "dent"}]}]},
    "createml.json": [{"image": "g1.png", "annotations": [{"label": "dent"}]}],
    "isat.json": {"info": {"name": "g1.png"}, "objects": [{"category": "dent"}]},
    "g1.json": {"info": {"name": "g1.png"}, "objects": [{"category": "dent"}]},
    "g1-labels.json": {"shapes": [{"label": "dent"}]},
    "list.txt": "g0.png 0\ng1.png 1\ng2.png 0\ng3.png 0\n",
    "list.lst": "\\images\\g1.png\n",
}
SAYS_NOTHING = {
    "camera.json": {"g1.png": {"exposure_us": 300, "gain": 2.0}, "labels": []},
    "list.txt": "g0.png\ng1.png\ng2.png\ng3.png\n",
    "notes.txt": "The camera was moved after g1.png was taken.\n",
    "other.json": [{"image": "other_image.png", "label": "dent"}],
}


@pytest.mark.parametrize("name", SAYS_SOMETHING)
@pytest.mark.parametrize("beside", ["", "good/"])
def test_images_are_not_taken_for_good_where_a_file_beside_them_says_something_of_one(name, beside, tmp_path):
    said = SAYS_SOMETHING[name]
    draw(tmp_path, files(beside + "g{0-3}.png", **{beside + name: said if isinstance(said, str) else json.dumps(said)}))
    with pytest.raises(
        DataError, match=rf"{name} annotates images among the good ones|files annotate 1 image among|match no image"
    ):
        categories_in(tmp_path, SHARES)


@pytest.mark.parametrize("name", SAYS_NOTHING)
def test_images_are_good_where_a_file_beside_them_says_nothing_of_what_they_show(name, tmp_path):
    said = SAYS_NOTHING[name]
    draw(tmp_path, files("g{0-3}.png", **{name: said if isinstance(said, str) else json.dumps(said)}))
    (one,) = categories_in(tmp_path, SHARES)
    assert one.n_good == 4


@pytest.mark.parametrize(
    ("names", "n_categories"),
    [
        (("lot_1", "lot_2"), 1),
        (("2024-05-01", "2024-05-02"), 1),
        (("cam left", "cam right"), 1),
        (("task_1_bottle", "task_2_bottle"), 1),
        (("Train", "valid"), 1),
        (("monday", "tuesday"), 1),
        (("bottle", "cable"), 2),
        (("Flansch groß", "Gehäuse"), 2),
        (("M8-screw", "M10-nut"), 2),
        (("pcb1", "pcb2"), None),
        (("bottle", "lot2"), None),
    ],
)
def test_names_of_folders_tell_products_from_lots_of_one_or_a_person_is_asked(names, n_categories, tmp_path):
    for name in names:
        texts = {f"{name}/{name}b.xml": VOC, f"{name}/{name}c.xml": NO_OBJECT}
        draw(tmp_path, files(f"{name}/{name}b.png", f"{name}/{name}c.png", **texts))
    if n_categories is None:
        with pytest.raises(DataError, match="are they products, or lots of one product"):
            categories_in(tmp_path, SHARES)
    else:
        assert len(categories_in(tmp_path, SHARES)) == n_categories


def test_a_product_whose_images_all_show_a_defect_is_refused_by_its_name(tmp_path):
    texts = {"bottle/b.xml": VOC, "bottle/c.xml": NO_OBJECT, "cable/b.xml": VOC}
    draw(tmp_path, files("bottle/b.png", "bottle/c.png", "cable/b.png", **texts))
    with pytest.raises(DataError, match=r"cable: each of 1 images has an object .* none is good"):
        categories_in(tmp_path, SHARES)


TABLE = table(("what lies there", "is"), [(row.what, row.said) for row in [*FOUND, *ONE_EACH]])


def test_the_table_of_layouts_in_the_docs_is_this_one():
    assert documented("data.md", "layouts") == TABLE


if __name__ == "__main__":
    write("data.md", "layouts", TABLE)
