"""Several shots of one part are found by names and by the camera's time, and proposed with what they would change."""

import io
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import CALIBRATE, PREPARE, unseen
from gonogo.data.folder import Folder
from gonogo.data.prepare.prepare import group_in, prepare
from gonogo.data.prepare.shots import seconds_of, shots_by_name
from gonogo.data.sample import Sample, Shares
from gonogo.images.roles import ROLES


def named(*names, label=0, group=None):
    image = np.zeros((4, 4, 3), np.uint8)
    return [
        Sample(name=name, image=image, label=label, defect_type="good", roles=ROLES, group_id=group) for name in names
    ]


@pytest.mark.parametrize(
    ("form", "group"),
    [
        ("good/item{part:02d}_part{shot}.png", "good/item00"),
        ("good/{part}_cam{shot}.jpg", "good/0"),
        ("good/bolt-{part} view {shot}.png", "good/bolt-0"),
        ("good/SN{part:04d}_{shot}.tif", "good/SN0000"),
        ("good/{part:03d}_{letter}.png", "good/000"),
        ("good/nut {part} ({shot}).bmp", "good/nut 0"),
        ("good/{part}_cropped_{shot}_3_tile_000_png.rf.a814834a{shot}.jpg", "good/0"),
        ("lot.2/{part}.angle{shot:02d}.png", "lot.2/0"),
    ],
)
def test_names_of_shots_propose_a_pattern_that_finds_the_parts(form, group):
    names = [form.format(part=part, shot=shot, letter="abc"[shot]) for part in range(6) for shot in range(3)]
    shots = shots_by_name(named(*names))
    assert (shots.n_images, shots.n_parts) == (18, 6)
    assert shots.example == (Path(names[0]).name, Path(names[1]).name)
    assert len({group_in(name, shots.pattern) for name in names}) == 6
    assert {group_in(name, shots.pattern) for name in names[:3]} == {group}


@pytest.mark.parametrize(
    "names",
    [
        [f"good/{number:03d}.png" for number in range(30)],
        [f"good/img_{number}.png" for number in range(30)],
        [f"good/20240501_{number:04d}.png" for number in range(30)],
        [f"good/lot{lot}_{number}.png" for lot in range(3) for number in range(20)],
        [f"good/part_{number:02d}.png" for number in range(30)],
    ],
)
def test_numbers_and_lots_are_no_shots_of_a_part(names):
    assert shots_by_name(named(*names)) is None


def test_known_groups_are_left_alone_and_defects_do_not_count():
    names = [f"item{part}_part{shot}.png" for part in range(5) for shot in range(3)]
    assert shots_by_name(named(*names, group="x")) is None
    assert shots_by_name(named(*names, label=1)) is None


def photograph(path, when, seed):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[36867] = when.strftime("%Y:%m:%d %H:%M:%S")
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif)


def warned(raw, folder, **changes):
    samples = Folder(folder=".").samples("parts", raw, Shares(seed=0, test=0.2, calibrate=0.4))
    values = replace(PREPARE, calibrate_share=0.4, **changes)
    found = prepare(samples, values, CALIBRATE, category="parts", folder=folder, raw=raw, seed=0, progress=unseen)
    return "\n".join(map(str, found.warnings))


@pytest.mark.parametrize(("pause", "is_burst"), [(60, True), (4, False)])
def test_bursts_by_the_cameras_time_are_named_with_what_they_would_change(tmp_path, pause, is_burst):
    start = datetime(2026, 5, 4, 8, 30)
    for part in range(10):
        for shot in range(3):
            when = start + timedelta(seconds=part * (pause + 2) + shot)
            photograph(tmp_path / "raw" / "good" / f"{part * 3 + shot:05d}.jpg", when, part * 3 + shot)
    text = warned(tmp_path / "raw", tmp_path / "out")
    assert ("30 good images may be shots of 10 parts, as 00000.jpg and 00001.jpg" in text) == is_burst
    assert ("give them one group_id in a manifest: about 3 parts will calibrate in place of 10" in text) == is_burst


def test_prepare_proposes_a_pattern_until_it_is_set(tmp_path):
    for part in range(10):
        for shot in range(3):
            photograph(tmp_path / "raw" / "good" / f"p{part}_view{shot}.png", datetime(2026, 5, 4), part * 3 + shot)
    text = warned(tmp_path / "raw", tmp_path / "a")
    assert "set prepare.group_pattern: '^(.*?)" in text
    assert "and not 25.9%" in text
    assert "may be shots" not in warned(tmp_path / "raw", tmp_path / "b", group_pattern=r"(p\d+)_view")


def test_a_time_that_is_none_is_no_time(tmp_path):
    photograph(tmp_path / "a.jpg", datetime(2026, 5, 4, 8, 30), 1)
    data = (tmp_path / "a.jpg").read_bytes()
    assert seconds_of(data, Path("a.jpg")) is not None
    assert seconds_of(data.replace(b"2026:05:04", b"0000:00:00"), Path("a.jpg")) is None
    stream = io.BytesIO()
    Image.new("L", (3, 3)).save(stream, "PNG")
    assert seconds_of(stream.getvalue(), Path("a.png")) is None
    assert seconds_of(b"no image", Path("a.png")) is None
