"""Sources that follow a list: manifests, anomalib's directories, Lookout's lines and COCO's annotations."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gonogo.data.anomalib_folder import AnomalibFolder
from gonogo.data.coco import Coco
from gonogo.data.lookout import Lookout
from gonogo.data.manifest_file import ManifestFile
from gonogo.data.sample import Sample, Shares, Source
from gonogo.data.unused import unused_files
from gonogo.errors import ConfigError, DataError, ImageError
from gonogo.images.roles import ROLES, TEST, TRAIN

SHARES = Shares(seed=17, test=0.2, calibrate=0.3)
HEIGHT, WIDTH = 8, 12


def read(source: Source, raw: Path, category: str = "valve") -> list[Sample]:
    return list(source.samples(category, raw, SHARES))


def named(samples: Sequence[Sample]) -> dict[str, Sample]:
    by_name = {sample.name: sample for sample in samples}
    assert len(by_name) == len(samples) > 0
    return by_name


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def picture(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8)
    Image.fromarray(grey if pixels is None else pixels).save(path)
    return path


def drawn(sample: Sample, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    assert callable(sample.mask)
    return sample.mask(height, width)


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def refusal(source: Source, raw: Path, error: type[Exception] = DataError, category: str = "valve") -> str:
    with pytest.raises(error) as caught:
        read(source, raw, category)
    return str(caught.value)


# A manifest

CSV = """path,label,role,mask,group_id,defect_type
../images/a.png,good,,,part 1,
../images/b.png,0,train,,part 2,good
../images/c.png,good,calibrate,,,
../images/d.png,1,,../masks/d.png,,dent
../images/e.png,anomalous,test,,part 1,
"""


def test_a_csv_manifest_says_everything_about_its_images_in_its_order(tmp_path):
    for name in "abcde":
        picture(tmp_path / f"images/{name}.png")
    picture(tmp_path / "masks/d.png")
    write(tmp_path / "lists/parts.csv", CSV)

    samples = read(ManifestFile(file="lists/parts.csv"), tmp_path)

    images = tmp_path / "images"
    good = {"label": 0, "defect_type": "good"}
    assert samples == [
        Sample(name="images/a.png", image=images / "a.png", roles=ROLES, group_id="part 1", **good),
        Sample(name="images/b.png", image=images / "b.png", roles=TRAIN, group_id="part 2", **good),
        Sample(name="images/c.png", image=images / "c.png", roles=("calibrate",), **good),
        Sample(
            name="images/d.png",
            image=images / "d.png",
            label=1,
            defect_type="dent",
            roles=ROLES,
            mask=tmp_path / "masks/d.png",
        ),
        Sample(
            name="images/e.png", image=images / "e.png", label=1, defect_type="anomaly", roles=TEST, group_id="part 1"
        ),
    ]
    assert all(sample.image.is_file() for sample in samples)


def test_json_lines_say_the_same_as_a_table(tmp_path):
    lines = [
        {"path": "a.png", "label": 0, "role": "fit", "group_id": 7},
        {"path": "b.png", "label": "anomalous", "mask": None, "defect_type": "dent"},
    ]
    write(tmp_path / "parts.jsonl", "\n\n".join(map(json.dumps, lines)) + "\n")
    write(tmp_path / "parts.csv", "path,label,role,group_id,defect_type\na.png,0,fit,7,\nb.png,anomalous,,,dent\n")
    from_lines = read(ManifestFile(file="parts.jsonl"), tmp_path)
    assert [(s.name, s.roles, s.group_id) for s in from_lines] == [("a.png", ("fit",), "7"), ("b.png", ROLES, None)]
    assert from_lines == read(ManifestFile(file="parts.csv"), tmp_path)


def test_a_table_saved_by_a_spreadsheet_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "parts.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\na.png,good\r\n")
    assert [sample.name for sample in read(ManifestFile(file="parts.csv"), tmp_path)] == ["a.png"]


@pytest.mark.parametrize(
    "table",
    [
        "path;label;defect_type\nteil,1.png;good;\nb.png;1;dent\n",
        "Path\tLabel\tDefect_Type\nteil,1.png\tOK\t\nb.png\tNG\tdent\n",
        'FILENAME,LABEL,DEFECT_TYPE\n"teil,1.png",Normal,\nb.png,defective,dent\n',
        '"path";"label";"defect_type"\r\n"teil,1.png";"0";""\r\n"b.png";"bad";"dent"\r\n',
    ],
)
def test_a_table_is_read_as_spreadsheets_of_any_country_write_it(tmp_path, table):
    (tmp_path / "parts.csv").write_bytes(b"\xef\xbb\xbf" + table.encode())
    found = [(s.name, s.label, s.defect_type) for s in read(ManifestFile(file="parts.csv"), tmp_path)]
    assert found == [("teil,1.png", 0, "good"), ("b.png", 1, "dent")]


def test_rows_of_other_categories_are_skipped_and_a_name_may_differ_from_the_gauges(tmp_path):
    write(tmp_path / "parts.csv", "path,label,category\na.png,0,valve\nb.png,0,gasket\n")
    assert [s.name for s in read(ManifestFile(file="parts.csv"), tmp_path)] == ["a.png"]
    assert [s.name for s in read(ManifestFile(file="parts.csv", name="gasket"), tmp_path)] == ["b.png"]


def test_a_category_without_rows_is_refused_with_those_that_have_some(tmp_path):
    write(tmp_path / "parts.csv", "path,label,category\na.png,0,valve\nb.png,0,gasket\n")
    message = refusal(ManifestFile(file="parts.csv"), tmp_path, ConfigError, category="valves")
    assert "did you mean 'valve'" in message
    assert "gasket" in message


def test_listed_files_that_do_not_exist_are_yielded_for_prepare_to_report(tmp_path):
    write(tmp_path / "parts.csv", "path,label,mask\ngone.png,1,gone_mask.png\n")
    [sample] = read(ManifestFile(file="parts.csv"), tmp_path)
    assert (sample.image, sample.mask) == (tmp_path / "gone.png", tmp_path / "gone_mask.png")


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        ("path,label,maks\na.png,1,m.png", 1, "did you mean 'mask'"),
        ("path|label\na.png|1", 1, "unknown column 'path|label'"),
        ("path;label\na.png;0;1", 2, "expected 2 fields"),
        ("filename,path,label\na.png,a.png,0", 1, "'path' stands there twice"),
        ("path,role\na.png,test", 1, "no column 'label'"),
        ("path,label,label\na.png,1,0", 1, "twice"),
        ("path,label\na.png,0\nb.png,perhaps", 3, "0 or good, 1 or anomalous"),
        ("path,label\na.png,0\nb.png,", 3, "0 or good, 1 or anomalous"),
        ("path,label\n,0", 2, "path is empty"),
        ("path,label,role\na.png,0,val", 2, "train, fit, calibrate or test"),
        ("path,label,role\na.png,1,fit", 2, "defective part cannot have role 'fit'"),
        ("path,label,role\na.png,1,calibrate", 2, "defective part cannot have role 'calibrate'"),
        ("path,label,role\na.png,anomalous,train", 2, "defective part cannot have role 'train'"),
        ("path,label,defect_type\na.png,0,dent", 2, "contradicts defect_type 'dent'"),
        ("path,label,defect_type\na.png,1,good", 2, "contradicts defect_type 'good'"),
        ("path,label,mask\na.png,0,m.png", 2, "good part has no mask"),
        ("path,label\n../outside.png,0", 2, "outside the raw folder"),
        ("path,label\n/outside.png,0", 2, "outside the raw folder"),
        ("path,label,mask\na.png,1,../m.png", 2, "outside the raw folder"),
        ("path,label\nimages\\a.png,0", 2, "write / between folders"),
        ("path,label,category\na.png,0,valve\nb.png,0,", 3, "no category"),
        ("path,label,role\na.png,0", 2, "expected 3 fields as in the header, got 2"),
        ('path,label\na.png,"0\nb.png,0', 3, "no CSV"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path, rows, line, says):
    raw = tmp_path / "raw"
    write(raw / "parts.csv", rows)
    message = refusal(ManifestFile(file="parts.csv"), raw)
    assert f"parts.csv, line {line}:" in message
    assert says in message


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"path": "b.png", "label": 0,}', "JSON object"),
        ('["b.png", 0]', "JSON object"),
        ('{"path": "b.png", "label": true}', "label must be text or an integer"),
        ('{"path": "b.png", "label": 0, "grp": 1}', "unknown column 'grp'"),
        ('{"path": "b.png"}', "no column 'label'"),
    ],
)
def test_a_wrong_json_line_is_refused_with_its_number(tmp_path, line, says):
    write(tmp_path / "parts.jsonl", '{"path": "a.png", "label": 0}\n' + line)
    message = refusal(ManifestFile(file="parts.jsonl"), tmp_path)
    assert "parts.jsonl, line 2:" in message
    assert says in message


def test_an_image_listed_as_good_and_as_anomalous_is_refused_with_both_lines(tmp_path):
    write(tmp_path / "parts.csv", "path,label\na.png,0\nb.png,0\nimages/../a.png,1\n")
    message = refusal(ManifestFile(file="parts.csv"), tmp_path)
    assert "line 4:" in message
    assert "line 2, with label 0 and then 1" in message


def test_an_absolute_path_below_the_raw_folder_is_the_same_as_a_relative_one(tmp_path):
    write(tmp_path / "parts.csv", f"path,label\n{tmp_path / 'a.png'},0\n")
    assert [sample.name for sample in read(ManifestFile(file="parts.csv"), tmp_path)] == ["a.png"]


def test_a_manifest_that_is_not_there_is_refused_with_what_is(tmp_path):
    write(tmp_path / "lists/parts.csv", "path,label\n")
    message = refusal(ManifestFile(file="lists/part.csv"), tmp_path, ConfigError)
    assert "did you mean 'parts.csv'" in message


def test_a_manifest_outside_the_raw_folder_is_refused(tmp_path):
    write(tmp_path / "parts.csv", "path,label\na.png,0\n")
    (tmp_path / "raw").mkdir()
    assert "outside the raw folder" in refusal(ManifestFile(file="../parts.csv"), tmp_path / "raw", ConfigError)


def test_an_empty_manifest_and_one_of_another_format_are_refused(tmp_path):
    write(tmp_path / "empty.csv", "path,label\n")
    write(tmp_path / "parts.xlsx", "")
    assert "lists no image" in refusal(ManifestFile(file="empty.csv"), tmp_path)
    assert ".csv or .tsv or .jsonl" in refusal(ManifestFile(file="parts.xlsx"), tmp_path, ConfigError)


def test_a_table_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "parts.csv").write_bytes("path,label\nprüfling.png,0\n".encode("cp1252"))
    assert "UTF-8" in refusal(ManifestFile(file="parts.csv"), tmp_path)


# The directories of anomalib's Folder


def anomalib_tree(root: Path) -> None:
    for name in ("good/1.png", "good/day 2/2.JPG", "good_test/3.png"):
        picture(root / name)
    for kind in ("dent", "scratch"):
        for stem in ("0", "10"):
            picture(root / "bad" / kind / f"{stem}.png")
            picture(root / "ground_truth" / kind / f"{stem}_mask.png")


def test_anomalibs_directories_give_good_parts_for_training_and_the_rest_for_test(tmp_path):
    anomalib_tree(tmp_path / "valve")
    source = AnomalibFolder(
        folder="valve",
        normal_dir="good",
        normal_test_dir="good_test",
        abnormal_dir=["bad/scratch", "bad/dent"],
        mask_dir="ground_truth",
    )
    found = [(s.name, s.label, s.defect_type, s.roles, s.mask) for s in read(source, tmp_path)]
    masks = tmp_path / "valve/ground_truth"
    assert found == [
        ("valve/good/day 2/2.JPG", 0, "good", TRAIN, None),
        ("valve/good/1.png", 0, "good", TRAIN, None),
        ("valve/good_test/3.png", 0, "good", TEST, None),
        ("valve/bad/dent/0.png", 1, "dent", TEST, masks / "dent/0_mask.png"),
        ("valve/bad/dent/10.png", 1, "dent", TEST, masks / "dent/10_mask.png"),
        ("valve/bad/scratch/0.png", 1, "scratch", TEST, masks / "scratch/0_mask.png"),
        ("valve/bad/scratch/10.png", 1, "scratch", TEST, masks / "scratch/10_mask.png"),
    ]


def test_without_a_normal_test_dir_good_parts_are_open_to_every_role(tmp_path):
    anomalib_tree(tmp_path)
    samples = named(read(AnomalibFolder(normal_dir=["good", "good_test"], abnormal_dir="bad"), tmp_path))
    assert {name: s.roles for name, s in samples.items() if s.label == 0} == {
        "good/1.png": ROLES,
        "good/day 2/2.JPG": ROLES,
        "good_test/3.png": ROLES,
    }
    assert [s.mask for s in samples.values() if s.label == 1] == [None] * 4


def test_masks_of_several_folders_may_lie_in_one_heap_when_their_stems_differ(tmp_path):
    for name in ("good/a.png", "dent/b.png", "scratch/c.png", "masks/b.png", "masks/c-gt.png", "masks/.c-gt.png"):
        picture(tmp_path / name)
    source = AnomalibFolder(normal_dir="good", abnormal_dir=["dent", "scratch"], mask_dir="masks", mask_suffix="-gt")
    samples = named(read(source, tmp_path))
    assert samples["dent/b.png"].mask == tmp_path / "masks/b.png"
    assert samples["scratch/c.png"].mask == tmp_path / "masks/c-gt.png"


def test_folders_of_masks_of_other_names_are_laid_beside_their_images_in_order(tmp_path):
    for name in ("good/a.png", "dent/0.png", "scratch/0.png", "dent_masks/0.png", "scratch_masks/0.png"):
        picture(tmp_path / name)
    folders = {"abnormal_dir": ["dent", "scratch"], "mask_dir": ["scratch_masks", "dent_masks"]}
    samples = named(read(AnomalibFolder(normal_dir="good", **folders), tmp_path))
    assert samples["dent/0.png"].mask == tmp_path / "dent_masks/0.png"
    assert samples["scratch/0.png"].mask == tmp_path / "scratch_masks/0.png"


def test_a_missing_mask_is_named_for_prepare_to_report(tmp_path):
    anomalib_tree(tmp_path)
    (tmp_path / "ground_truth/dent/10_mask.png").unlink()
    samples = named(read(AnomalibFolder(normal_dir="good", abnormal_dir="bad", mask_dir="ground_truth"), tmp_path))
    assert samples["bad/dent/10.png"].mask == tmp_path / "ground_truth/dent/10_mask.png"
    assert samples["bad/dent/0.png"].mask == tmp_path / "ground_truth/dent/0_mask.png"


def test_a_mask_that_only_contains_its_images_stem_is_refused(tmp_path):
    for name in ("good/a.png", "bad/1.png", "masks/10.png"):
        picture(tmp_path / name)
    message = refusal(AnomalibFolder(normal_dir="good", abnormal_dir="bad", mask_dir="masks"), tmp_path)
    assert "masks/10.png" in message
    assert "prepare.mask_suffix" in message


def test_a_mask_is_never_given_to_an_image_of_another_folder(tmp_path):
    anomalib_tree(tmp_path)
    (tmp_path / "ground_truth/dent").rename(tmp_path / "ground_truth/zigzag")
    source = AnomalibFolder(normal_dir="good", abnormal_dir="bad", mask_dir="ground_truth")
    assert "call the folders of masks like those of their images" in refusal(source, tmp_path)
    for path in (tmp_path / "ground_truth/zigzag").iterdir():
        path.unlink()
    assert "share a stem" in refusal(source, tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"normal_dir": ".", "abnormal_dir": "bad"}, "overlap"),
        ({"normal_dir": "bad/dent", "abnormal_dir": "bad"}, "overlap"),
        ({"normal_dir": "good", "abnormal_dir": ["bad", "bad/dent"]}, "overlap"),
        ({"normal_dir": "good", "normal_test_dir": "good"}, "overlap"),
        ({"normal_dir": "god"}, "did you mean 'good'"),
        ({"normal_dir": "good", "abnormal_dir": "bad/dend"}, "did you mean 'dent'"),
        ({"normal_dir": []}, "normal_dir is empty"),
        ({"normal_dir": "good", "mask_dir": "ground_truth"}, "without prepare.abnormal_dir"),
        ({"normal_dir": "../other"}, "outside the raw folder"),
    ],
)
def test_directories_that_cannot_be_meant_are_refused(tmp_path, options: Mapping[str, Any], says):
    anomalib_tree(tmp_path / "raw")
    picture(tmp_path / "other/1.png")
    assert says in refusal(AnomalibFolder(**options), tmp_path / "raw", ConfigError)


def test_a_directory_without_images_and_good_parts_among_the_abnormal_are_refused(tmp_path):
    anomalib_tree(tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no image at any depth" in refusal(AnomalibFolder(normal_dir="good", abnormal_dir="empty"), tmp_path)
    picture(tmp_path / "bad/good/9.png")
    message = refusal(AnomalibFolder(normal_dir="good", abnormal_dir="bad"), tmp_path)
    assert "bad/good lies in prepare.abnormal_dir" in message


# Lookout for Vision

PREFIX = "s3://bucket/valves"
WHITE, GREEN, BLUE = (255, 255, 255), (0x2C, 0xA0, 0x2C), (0x1F, 0x77, 0xB4)
COLOURS = {
    "0": {"class-name": "BACKGROUND", "hex-color": "#ffffff", "confidence": 0.0},
    "1": {"class-name": "scratch", "hex-color": "#2ca02c", "confidence": 0.0},
    "2": {"class-name": "dent", "hex-color": "#1F77B4", "confidence": 0.0},
}


def lookout_line(
    image: str, name: str | None, mask: str | None = None, colours: Any = COLOURS, key: str = "anomaly-label"
):
    line: dict[str, Any] = {"source-ref": f"{PREFIX}/{image}", key: 1}  # Lookout does not use the number
    line[f"{key}-metadata"] = {"class-name": name, "type": "groundtruth/image-classification", "job-name": "j"}
    if mask is not None:
        line["anomaly-mask-ref"] = f"{PREFIX}/{mask}"
        line["anomaly-mask-ref-metadata"] = {"internal-color-map": colours, "type": "groundtruth/semantic-segmentation"}
    return line


def lines(path: Path, *entries: Mapping[str, Any]) -> None:
    write(path, "".join(json.dumps(entry) + "\n" for entry in entries))


def colour_mask() -> np.ndarray:
    """(h, w, 3): a scratch of 4 pixels and a dent of 6 on white."""
    pixels = np.full((HEIGHT, WIDTH, 3), WHITE, dtype=np.uint8)
    pixels[1:2, 0:4] = GREEN
    pixels[4:6, 5:8] = BLUE
    return pixels


ANOMALOUS = rectangle(0, 1, 4, 2) | rectangle(5, 4, 8, 6)


def test_lookouts_manifests_give_labels_by_class_name_and_anomalies_to_test(tmp_path):
    root = tmp_path / "valves"
    picture(root / "masks/b.png", colour_mask())
    lines(
        root / "train.manifest",
        lookout_line("train/a.png", "normal", key="my-job"),
        lookout_line("train/b.png", "anomaly", "masks/b.png"),
        lookout_line("train/c.png", "anomaly"),
    )
    lines(root / "test.manifest", lookout_line("test/a.png", "normal", "masks/none.png"))
    source = Lookout(folder="valves", train="train.manifest", test="test.manifest", prefix=PREFIX)
    samples = read(source, tmp_path)
    assert [(s.name, s.label, s.defect_type, s.roles) for s in samples] == [
        ("valves/train/a.png", 0, "good", TRAIN),
        ("valves/train/b.png", 1, "dent", TEST),
        ("valves/train/c.png", 1, "anomaly", TEST),
        ("valves/test/a.png", 0, "good", TEST),
    ]
    assert np.array_equal(drawn(samples[1]), ANOMALOUS)
    assert [sample.mask for sample in (samples[0], samples[2], samples[3])] == [None] * 3


def test_images_that_no_manifest_of_lookouts_lists_are_named_and_masks_are_not(tmp_path):
    for name in ("train/a.png", "train/b.png", "train/c.png", "train/b_mask.png"):
        picture(tmp_path / name, colour_mask())
    lines(
        tmp_path / "all.manifest",
        lookout_line("train/a.png", "normal", "train/b_mask.png"),
        lookout_line("train/b.png", "anomaly", "train/b_mask.png"),
    )
    source = Lookout(train="all.manifest", prefix=PREFIX)
    [one] = unused_files(source, "valve", tmp_path, read(source, tmp_path))
    assert str(one) == "1 in train (c.png)"


def test_without_a_test_manifest_normal_images_are_open_to_every_role(tmp_path):
    lines(tmp_path / "all.manifest", lookout_line("a.png", "normal"), lookout_line("b.png", "anomaly"))
    samples = named(read(Lookout(train="all.manifest", prefix=PREFIX + "/"), tmp_path))
    assert {name: sample.roles for name, sample in samples.items()} == {"a.png": ROLES, "b.png": TEST}


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_masks_with_a_palette_or_with_alpha_are_read_by_their_colours(tmp_path, mode):
    colours = Image.fromarray(colour_mask())
    kept = colours.convert("P", palette=Image.Palette.ADAPTIVE, colors=3) if mode == "P" else colours.convert("RGBA")
    assert kept.mode == mode
    kept.save(tmp_path / "m.png")
    lines(tmp_path / "all.manifest", lookout_line("b.png", "anomaly", "m.png"))
    [sample] = read(Lookout(train="all.manifest", prefix=PREFIX), tmp_path)
    assert np.array_equal(drawn(sample), ANOMALOUS)


def test_a_colour_that_is_not_in_the_map_is_refused_with_the_mask(tmp_path):
    pixels = colour_mask()
    pixels[7, 7:10] = (1, 2, 3)
    picture(tmp_path / "m.png", pixels)
    lines(tmp_path / "all.manifest", lookout_line("b.png", "anomaly", "m.png"))
    [sample] = read(Lookout(train="all.manifest", prefix=PREFIX), tmp_path)
    with pytest.raises(DataError, match=r"m\.png: colour #010203 of 3 pixels.*#ffffff, #2ca02c, #1f77b4"):
        drawn(sample)


def test_a_mask_of_another_size_or_none_at_all_is_reported_when_it_is_drawn(tmp_path):
    picture(tmp_path / "m.png", colour_mask()[:4])
    gone, small = lookout_line("a.png", "anomaly", "gone.png"), lookout_line("b.png", "anomaly", "m.png")
    lines(tmp_path / "all.manifest", gone, small)
    samples = named(read(Lookout(train="all.manifest", prefix=PREFIX), tmp_path))
    assert samples["a.png"].defect_type == "anomaly"
    with pytest.raises(ImageError, match=r"gone\.png"):
        drawn(samples["a.png"])
    with pytest.raises(DataError, match=r"m\.png is 12 x 4 pixels, its image 12 x 8"):
        drawn(samples["b.png"])


def without(line: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != key}


def coloured(number: str, **changes: Any) -> dict[str, Any]:
    colours = COLOURS | {number: COLOURS[number] | changes}
    return lookout_line("b.png", "anomaly", "m.png", colours)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (lookout_line("b.png", "defect"), "expected normal or anomaly"),
        (lookout_line("b.png", None), "expected normal or anomaly"),
        (without(lookout_line("b.png", "normal"), "anomaly-label-metadata"), "groundtruth/image-classification"),
        (lookout_line("b.png", "normal") | {"x-metadata": {"type": "groundtruth/image-classification"}}, "keep one"),
        (without(lookout_line("b.png", "normal"), "source-ref"), "S3 location as 'source-ref'"),
        (lookout_line("b.png", "normal") | {"source-ref": "s3://bucket/valves2/b.png"}, "prepare.prefix"),
        (lookout_line("b.png", "anomaly", "m.png") | {"anomaly-mask-ref": "s3://other/m.png"}, "anomaly-mask-ref"),
        (lookout_line("../b.png", "normal"), "outside the raw folder"),
        (lookout_line("a.png", "anomaly"), "line 1"),
        (lookout_line("b.png", "anomaly", "m.png", {"0": {}}), "BACKGROUND"),
        (lookout_line("b.png", "anomaly", "m.png", None), "internal-color-map must be an object"),
        (coloured("0", **{"class-name": "scratch"}), "BACKGROUND"),
        (coloured("1", **{"hex-color": "green"}), "hex-color 'green' of entry 1"),
        (coloured("1", **{"hex-color": "#FFFFFF"}), "two entries"),
    ],
)
def test_a_wrong_line_of_lookouts_is_refused_with_its_number(tmp_path, entry, says):
    lines(tmp_path / "all.manifest", lookout_line("a.png", "normal"), entry)
    message = refusal(Lookout(train="all.manifest", prefix=PREFIX), tmp_path)
    assert "all.manifest, line 2:" in message
    assert says in message


def test_an_image_in_both_of_lookouts_manifests_is_refused(tmp_path):
    lines(tmp_path / "train.manifest", lookout_line("a.png", "normal"))
    lines(tmp_path / "test.manifest", lookout_line("b.png", "normal"), lookout_line("a.png", "normal"))
    message = refusal(Lookout(train="train.manifest", test="test.manifest", prefix=PREFIX), tmp_path)
    assert "test.manifest, line 2: a.png" in message
    assert "train.manifest, line 1" in message


def test_a_missing_or_empty_manifest_of_lookouts_is_refused(tmp_path):
    write(tmp_path / "train.manifest", "\n")
    assert "lists no image" in refusal(Lookout(train="train.manifest", prefix=PREFIX), tmp_path)
    message = refusal(Lookout(train="trian.manifest", prefix=PREFIX), tmp_path, ConfigError)
    assert "did you mean 'train.manifest'" in message


# COCO


def coco_file(path: Path, listed: Mapping[Any, str], /, *annotations: Mapping[str, Any], **changes: Any) -> None:
    content = {
        "images": [{"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in listed.items()],
        "annotations": [{"id": 100 + number} | dict(entry) for number, entry in enumerate(annotations)],
        "categories": [{"id": 1, "name": "pore"}, {"id": 2, "name": "crack"}],
    }
    write(path, json.dumps(content | changes))


def defect(image: Any, box: Sequence[float], *, category: int = 1, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(box), "segmentation": [], "iscrowd": 0} | more


def corners(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def coco_sample(raw: Path, *annotations: Mapping[str, Any], **options: Any) -> Sample:
    """The sample of the image that `annotations` are of, beside a good one."""
    coco_file(raw / "a.json", {0: "0.png", 1: "1.png"}, *annotations)
    return named(read(Coco(annotations=["a.json"], **options), raw))["1.png"]


def test_coco_files_are_pooled_and_an_image_is_good_when_nothing_is_annotated(tmp_path):
    root = tmp_path / "pores"
    first = defect(7, [1, 2, 3, 4], category=1)
    second = defect(7, [5.5, 0, 6, 6], category=2)
    coco_file(root / "train/_annotations.coco.json", {7: "b.png", 3: "a.png"}, first, second)
    coco_file(root / "test/_annotations.coco.json", {7: "b.png"})
    for name in ("train/images/a.png", "train/images/b.png", "test/images/b.png"):
        picture(root / name)
    files = ["train/_annotations.coco.json", "test/_annotations.coco.json"]
    samples = read(Coco(folder="pores", annotations=files, images="images"), tmp_path)
    assert [(s.name, s.label, s.defect_type, s.roles, s.size) for s in samples] == [
        ("pores/train/images/b.png", 1, "crack", ROLES, (WIDTH, HEIGHT)),
        ("pores/train/images/a.png", 0, "good", ROLES, (WIDTH, HEIGHT)),
        ("pores/test/images/b.png", 0, "good", ROLES, (WIDTH, HEIGHT)),
    ]
    assert samples[0].boxes == [
        {"x": 1, "y": 2, "width": 3, "height": 4, "label": "pore"},
        {"x": 5.5, "y": 0, "width": 6, "height": 6, "label": "crack"},
    ]
    assert [(sample.mask, sample.boxes) for sample in samples[1:]] == [(None, []), (None, [])]
    assert [sample.image for sample in samples] == [tmp_path / sample.name for sample in samples]


def test_a_polygon_along_a_box_covers_the_pixels_of_the_box(tmp_path):
    boxed = coco_sample(tmp_path, defect(1, [2, 3, 4, 3]))
    outlined = coco_sample(tmp_path, defect(1, [2, 3, 4, 3], segmentation=[corners(2, 3, 6, 6)]))
    assert np.array_equal(drawn(boxed), rectangle(2, 3, 6, 6))
    assert np.array_equal(drawn(outlined), rectangle(2, 3, 6, 6))


def test_a_polygon_covers_the_pixels_that_pycocotools_gives_it(tmp_path):
    # The docstring of kwimage's Mask.from_polygons prints what pycocotools makes of this polygon at (9, 5): b04500N2.
    polygon = [3, 0, 2, 1, 2, 4, 4, 4, 4, 3, 7, 0]
    content = {"file_name": "1.png", "id": 1, "width": 5, "height": 9}
    good = {"file_name": "0.png", "id": 0, "width": 5, "height": 9}
    masks = []
    for shape in ([polygon], {"size": [9, 5], "counts": "b04500N2"}):
        entry = defect(1, [2, 0, 3, 4], segmentation=shape)
        coco_file(tmp_path / "a.json", {}, entry, images=[good, content])
        masks.append(drawn(named(read(Coco(annotations=["a.json"]), tmp_path))["1.png"], 9, 5))
    assert masks[0].tolist() == masks[1].tolist()
    assert masks[0].sum() == 10


def test_the_polygons_of_an_annotation_and_the_annotations_of_an_image_are_united(tmp_path):
    two = defect(1, [0, 0, 6, 4], segmentation=[corners(0, 0, 4, 2), corners(2, 1, 6, 4)])
    sample = coco_sample(tmp_path, two, defect(1, [5, 3, 4, 4]))
    assert np.array_equal(drawn(sample), rectangle(0, 0, 4, 2) | rectangle(2, 1, 6, 4) | rectangle(5, 3, 9, 7))


def test_a_region_that_encloses_no_pixel_is_left_to_its_box(tmp_path):
    line = defect(1, [2, 3, 3, 2], segmentation=[[], [2, 3, 5, 5]])
    assert np.array_equal(drawn(coco_sample(tmp_path, line)), rectangle(2, 3, 5, 5))
    speck = defect(1, [6.1, 1.1, 0.2, 0.2], segmentation=[corners(6.1, 1.1, 6.3, 1.3)])
    assert np.array_equal(drawn(coco_sample(tmp_path, speck)), rectangle(6, 1, 7, 2))


def test_the_class_whose_boxes_have_the_largest_area_names_the_defect_type(tmp_path):
    pores = [defect(1, [x, 0, 2, 2], category=1) for x in (0, 4)]
    assert coco_sample(tmp_path, *pores, defect(1, [0, 3, 3, 3], category=2)).defect_type == "crack"
    assert coco_sample(tmp_path, *pores, defect(1, [0, 3, 7, 1], category=2)).defect_type == "pore"


def test_runs_go_down_the_columns(tmp_path):
    # Two columns of background, then rows 1 and 2 of the third.
    runs = {"size": [HEIGHT, WIDTH], "counts": [2 * HEIGHT + 1, 2, HEIGHT * WIDTH - 2 * HEIGHT - 3]}
    sample = coco_sample(tmp_path, defect(1, [0, 0, 9, 8], segmentation=runs))
    assert np.array_equal(drawn(sample), rectangle(2, 1, 3, 3))


def test_compressed_runs_are_those_that_pycocotools_wrote(tmp_path):
    # The docstring of kwimage's Mask shows this string, which pycocotools wrote, and these pixels.
    rows = ["000111110", "001110000", "001111110", "001110110", "001110110"]
    runs = {"size": [5, 9], "counts": ";?1B10O30O4"}
    entries = [{"id": i, "file_name": f"{i}.png", "width": 9, "height": 5} for i in (0, 1)]
    coco_file(tmp_path / "a.json", {}, defect(1, [2, 0, 6, 5], segmentation=runs), images=entries)
    mask = drawn(named(read(Coco(annotations=["a.json"]), tmp_path))["1.png"], 5, 9)
    assert mask.astype(int).tolist() == [[int(pixel) for pixel in row] for row in rows]


def test_a_crowd_is_in_the_mask_but_is_no_object(tmp_path):
    sample = coco_sample(tmp_path, defect(1, [0, 0, 3, 3], iscrowd=1), defect(1, [6, 6, 1, 1]))
    assert np.array_equal(drawn(sample), rectangle(0, 0, 3, 3) | rectangle(6, 6, 7, 7))
    assert [box["x"] for box in sample.boxes] == [6]


def test_boxes_are_clipped_to_the_image(tmp_path):
    sample = coco_sample(tmp_path, defect(1, [-2, 5, 4, 9]))
    assert sample.boxes == [{"x": 0, "y": 5, "width": 2, "height": 3, "label": "pore"}]
    assert np.array_equal(drawn(sample), rectangle(0, 5, 2, 8))


def test_all_wrong_annotations_of_a_file_are_counted_at_once(tmp_path):
    wrong = [defect(1, [2, 2, 0, 3]), defect(1, [2, 2, 3, 3]), defect(1, [2, 2, 3]), defect(7, [2, 2, 3, 3])]
    with pytest.raises(
        DataError, match=r"annotation 100: the box .* no area .*; and 2 more, the last .*annotation 103"
    ):
        coco_sample(tmp_path, *wrong)


@pytest.mark.parametrize("bbox", [None, []])
@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ([[2, 3, 6, 3, 6, 5], [1, 4, 3, 4, 3, 7]], (1, 3, 5, 4)),
        ([[-2, 3, 6, 3, 6, 5]], (0, 3, 6, 2)),
        (
            {"counts": [HEIGHT + 2, 3, HEIGHT - 3, 1, HEIGHT * (WIDTH - 2) - 3], "size": [HEIGHT, WIDTH]},
            (1, 2, 2, 3),
        ),
    ],
)
def test_an_annotation_without_a_box_has_that_of_its_segmentation(tmp_path, bbox, segmentation, box):
    sample = coco_sample(tmp_path, defect(1, [], bbox=bbox, segmentation=segmentation))
    assert tuple(sample.boxes[0][name] for name in ("x", "y", "width", "height")) == box


def test_annotations_of_classes_that_do_not_count_are_as_if_absent(tmp_path):
    mark, pore = defect(0, [0, 0, 9, 8], category=2), defect(1, [1, 1, 1, 1])
    coco_file(tmp_path / "a.json", {0: "0.png", 1: "1.png"}, mark, pore, defect(1, [0, 0, 9, 8], category=2))
    samples = named(read(Coco(annotations=["a.json"], classes=["pore"]), tmp_path))
    assert (samples["0.png"].label, samples["0.png"].boxes) == (0, [])
    assert (samples["1.png"].defect_type, [box["label"] for box in samples["1.png"].boxes]) == ("pore", ["pore"])
    assert np.array_equal(drawn(samples["1.png"]), rectangle(1, 1, 2, 2))


def test_an_image_on_disk_that_no_file_lists_is_left_out(tmp_path):
    for name in ("0.png", "1.png", "unlisted.png"):
        picture(tmp_path / name)
    coco_file(tmp_path / "a.json", {0: "0.png", 1: "1.png"}, defect(1, [0, 0, 1, 1]))
    assert list(named(read(Coco(annotations=["a.json"]), tmp_path))) == ["0.png", "1.png"]


def test_a_file_that_lists_only_defects_is_refused_with_the_number_of_images_it_leaves_out(tmp_path):
    for name in ("0.png", "1.png", "2.png"):
        picture(tmp_path / name)
    coco_file(tmp_path / "a.json", {1: "1.png"}, defect(1, [0, 0, 1, 1]))
    message = refusal(Coco(annotations=["a.json"]), tmp_path)
    assert "2 image files" in message
    assert "do not count as good" in message


def test_a_listed_image_that_is_missing_is_yielded_for_prepare_to_report(tmp_path):
    sample = coco_sample(tmp_path, defect(1, [0, 0, 1, 1]))
    assert sample.image == tmp_path / "1.png"
    assert not sample.image.exists()


def test_an_image_of_another_size_than_annotated_is_refused_when_its_mask_is_drawn(tmp_path):
    sample = coco_sample(tmp_path, defect(1, [0, 0, 1, 1]))
    with pytest.raises(DataError, match=r"image 1: annotated at 12 x 8 pixels, its file has 8 x 12"):
        drawn(sample, WIDTH, HEIGHT)


def test_an_image_listed_in_two_files_is_refused(tmp_path):
    coco_file(tmp_path / "a.json", {0: "0.png"})
    coco_file(tmp_path / "b.json", {5: "images/../0.png"}, defect(5, [0, 0, 1, 1]))
    message = refusal(Coco(annotations=["a.json", "b.json"]), tmp_path)
    assert "b.json: 0.png is listed already in" in message
    assert "a.json" in message


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (defect(9, [0, 0, 1, 1]), "image_id 9 is not among `images`"),
        (defect(1, [0, 0, 1, 1], category=9), "category_id 9 is not among `categories`"),
        (defect(1, [0, 0, 1]), "expected bbox as [x, y, width, height]"),
        (defect(1, [0, 0, 1, float("nan")]), "expected bbox as [x, y, width, height]"),
        (defect(1, [WIDTH, 0, 1, 1]), "has no area in the image of 12 x 8"),
        (defect(1, [0, 0, 1, 1], segmentation=[1, 2, 3, 4, 5, 6]), "expected each polygon as"),
        (defect(1, [0, 0, 1, 1], segmentation=[[1, 2, 3, 4, 5]]), "expected each polygon as"),
        (defect(1, [0, 0, 1, 1], segmentation={"size": [WIDTH, HEIGHT], "counts": [96]}), "do not fill the image"),
        (defect(1, [0, 0, 1, 1], segmentation={"size": [HEIGHT, WIDTH], "counts": [95]}), "do not fill the image"),
        (defect(1, [0, 0, 1, 1], segmentation={"size": [HEIGHT, WIDTH], "counts": [-1, 97]}), "expected the counts"),
        (defect(1, [0, 0, 1, 1], segmentation={"size": [HEIGHT, WIDTH]}), "expected the counts"),
    ],
)
def test_a_wrong_annotation_is_refused_with_its_id(tmp_path, entry, says):
    coco_file(tmp_path / "a.json", {0: "0.png", 1: "1.png"}, entry)
    message = refusal(Coco(annotations=["a.json"]), tmp_path)
    assert "a.json, annotation 100:" in message
    assert says in message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"annotations": None}, "expected an object with the lists images, annotations, categories"),
        ({"images": [{"id": 1, "file_name": "1.png"}]}, "width is None"),
        ({"images": [{"id": 1, "file_name": "1.png", "width": 0, "height": 5}]}, "size in pixels"),
        ({"images": [{"id": 1, "width": 5, "height": 5}]}, "file_name is None"),
        ({"images": [{"id": 1, "file_name": "../1.png", "width": 5, "height": 5}]}, "outside the raw folder"),
        ({"images": 2 * [{"id": 1, "file_name": "1.png", "width": 5, "height": 5}]}, "two of 'images' have the id 1"),
        ({"categories": [{"id": 1}]}, "name is None"),
        ({"categories": ["pore"]}, "every entry of 'categories' must be an object"),
    ],
)
def test_a_file_that_is_not_as_coco_has_it_is_refused_with_what_is_wrong(tmp_path, changes, says):
    coco_file(tmp_path / "a.json", {0: "0.png"}, **changes)
    message = refusal(Coco(annotations=["a.json"]), tmp_path)
    assert "a.json" in message
    assert says in message


def test_malformed_json_is_refused_with_its_file(tmp_path):
    write(tmp_path / "a.json", '{"images": [')
    assert "a.json is no JSON" in refusal(Coco(annotations=["a.json"]), tmp_path)


def test_objects_of_a_class_called_good_mark_nothing(tmp_path):
    categories = [{"id": 1, "name": "dent"}, {"id": 2, "name": "OK"}]
    entries = [defect(1, [0, 0, 1, 1]), defect(1, [0, 0, 9, 8], category=2), defect(0, [0, 0, 9, 8], category=2)]
    coco_file(tmp_path / "a.json", {0: "0.png", 1: "1.png"}, *entries, categories=categories)
    samples = named(read(Coco(annotations=["a.json"]), tmp_path))
    assert {name: (one.label, one.defect_type) for name, one in samples.items()} == {
        "0.png": (0, "good"), "1.png": (1, "dent"),
    }  # fmt: skip
    assert np.array_equal(drawn(samples["1.png"]), rectangle(0, 0, 1, 1))
    message = refusal(Coco(annotations=["a.json"], classes=["OK"]), tmp_path, ConfigError)
    assert "names 'OK' as a defect, though its name says good" in message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"annotations": ["a.json"], "classes": ["pores"]}, "did you mean 'pore'"),
        ({"annotations": ["a.json"], "classes": []}, "nothing is a defect"),
        ({"annotations": []}, "prepare.annotations is empty"),
        ({"annotations": ["b.json"]}, "choose among a.json"),
        ({"annotations": ["a.json"], "images": "imags"}, "did you mean 'images'"),
    ],
)
def test_options_of_coco_that_fit_nothing_are_refused_with_what_is_there(tmp_path, options: Mapping[str, Any], says):
    coco_file(tmp_path / "parts/a.json", {0: "0.png"})
    (tmp_path / "parts/images").mkdir()
    assert says in refusal(Coco(folder="parts", **options), tmp_path, ConfigError)


POROSITY = Path(__file__).parents[3] / "shared" / "data" / "lpbf_porosity"


@pytest.mark.skipif(not POROSITY.is_dir(), reason="the porosity images do not lie beside the project")
def test_the_porosity_images_keep_every_image_and_every_box():
    files = [f"{part}/_annotations.coco.json" for part in ("train", "valid", "test")]
    samples = named(read(Coco(folder=POROSITY.name, annotations=files, images="images"), POROSITY.parent))
    assert len(samples) == 876
    assert sum(sample.label == 0 for sample in samples.values()) == 90
    assert sum(len(sample.boxes) for sample in samples.values()) == 16077 + 3067 + 3959
    assert all(isinstance(sample.image, Path) and sample.image.is_file() for sample in samples.values())
    for sample in samples.values():
        if sample.label == 1:
            mask = drawn(sample, 600, 600)
            for box in sample.boxes:
                x0, y0 = int(box["x"]), int(box["y"])
                assert mask[y0 : y0 + int(box["height"]) + 1, x0 : x0 + int(box["width"]) + 1].any()
