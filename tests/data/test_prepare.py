"""Prepare: every image looked at, one part on one side, and nothing wrong passed over."""

import io
import json
import zlib
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from conftest import CALIBRATE, PREPARE, unseen
from gonogo.data.prepare.card import card_facts, count_metrics
from gonogo.data.prepare.prepare import prepare, prepare_params
from gonogo.data.sample import Sample
from gonogo.errors import ConfigError, DataError
from gonogo.images.reading import write_png
from gonogo.images.roles import ROLES, TEST, TRAIN
from gonogo.reports.data_card import write_data_card


def part(name, *, roles=TRAIN, group=None, label=0, seed=None, mask=None, shape=(12, 10), **more):
    """A sample whose pixels depend on `seed`, its name unless told otherwise."""
    rng = np.random.default_rng(zlib.crc32(name.encode()) if seed is None else seed)
    return Sample(
        name=name,
        image=rng.integers(0, 255, (*shape, 3), dtype=np.uint8),
        label=label,
        defect_type="dent" if label else "good",
        roles=roles,
        group_id=group,
        mask=mask,
        **more,
    )


def parts(n_train=40, n_good=6, n_bad=5):
    mask = np.zeros((12, 10), bool)
    mask[2:4, 3:6] = True
    return [
        *(part(f"train{i:02d}", seed=i) for i in range(n_train)),
        *(part(f"good{i:02d}", seed=100 + i, roles=TEST) for i in range(n_good)),
        *(part(f"bad{i:02d}", seed=200 + i, roles=TEST, label=1, mask=mask) for i in range(n_bad)),
    ]


def prepared(samples, folder, *, raw=None, seed=17, calibrate=CALIBRATE, **changes):
    values = replace(PREPARE, **({"calibrate_share": 0.4} | changes))
    return prepare(
        samples, values, calibrate, category="parts", folder=folder, raw=raw or folder, seed=seed, progress=unseen
    )


def roles_of(found):
    return {image.sample.name: role for image, role in found.roles}


def only_problem(found, level):
    [problem] = [problem for problem in found.problems if problem.level == level]
    return str(problem)


# Roles


def test_train_is_dealt_to_fit_and_calibrate_by_share_and_the_layouts_test_stays_test(tmp_path):
    roles = roles_of(prepared(parts(), tmp_path))
    assert Counter(role for name, role in roles.items() if name.startswith("train")) == {"fit": 24, "calibrate": 16}
    assert {role for name, role in roles.items() if not name.startswith("train")} == {"test"}


def test_without_a_test_set_good_parts_go_to_all_three_roles_and_defects_to_test(tmp_path):
    samples = [*(part(f"g{i}", seed=i, roles=ROLES) for i in range(50)), part("b", label=1, roles=ROLES)]
    roles = roles_of(prepared(samples, tmp_path))
    assert roles.pop("b") == "test"
    assert Counter(roles.values()) == {"fit": 24, "calibrate": 16, "test": 10}


def test_the_seed_decides_the_roles_and_one_more_image_hardly_moves_the_others(tmp_path):
    base = roles_of(prepared(parts(), tmp_path / "a"))
    assert roles_of(prepared(parts()[::-1], tmp_path / "b")) == base
    assert roles_of(prepared(parts(), tmp_path / "c", seed=18)) != base
    more = roles_of(prepared([*parts(), part("train99", seed=999)], tmp_path / "d"))
    assert sum(more[name] != role for name, role in base.items()) <= 1


def test_all_shots_of_one_part_get_one_role(tmp_path):
    samples = [part(f"p{i:02d}s{j}", group=f"p{i:02d}") for i in range(20) for j in range(3)]
    roles = roles_of(prepared([*samples, *parts(n_train=0)], tmp_path))
    by_group = {f"p{i:02d}": {roles[f"p{i:02d}s{j}"] for j in range(3)} for i in range(20)}
    assert Counter(next(iter(found)) for found in by_group.values() if len(found) == 1) == {"fit": 12, "calibrate": 8}


def test_images_with_the_same_pixels_get_one_role_and_are_counted(tmp_path):
    twins = [part(f"twin{i}{j}", seed=500 + i) for i in range(10) for j in range(2)]
    found = prepared([*parts(n_train=10), *twins], tmp_path)
    roles = roles_of(found)
    assert all(roles[f"twin{i}0"] == roles[f"twin{i}1"] for i in range(10))
    assert (
        "10 images repeating another one of the same role, pixel by pixel: images/twin00.png = images/twin01.png"
        in "\n".join(map(str, found.problems))
    )


def test_groups_and_equal_pixels_tie_through_one_another(tmp_path):
    chain = [part("a", group="g"), part("b", group="g", seed=999), part("c", group="h", seed=999)]
    for seed in range(6):
        roles = roles_of(prepared([*chain, *parts()], tmp_path / str(seed), seed=seed))
        assert roles["a"] == roles["b"] == roles["c"]


def test_defective_shots_of_a_part_in_fit_or_calibrate_are_left_out_and_counted(tmp_path):
    samples = [
        part(f"p{i:02d}_{label}", group=f"p{i:02d}", label=label, roles=ROLES) for i in range(20) for label in (0, 1)
    ]
    found = prepared(samples, tmp_path)
    roles = roles_of(found)
    kept = {name[:3] for name in roles if name.endswith("1")}
    assert kept == {name[:3] for name, role in roles.items() if role == "test"}
    assert len(kept) == 4
    assert count_metrics(found)["n_left_out"] == 16
    assert "16 images left out, defective" in "\n".join(map(str, found.warnings))


def test_a_group_pattern_reads_the_group_from_the_name(tmp_path):
    samples = [part(f"{i:02d}_cropped_{j}", roles=ROLES) for i in range(15) for j in range(4)]
    found = prepared(samples, tmp_path, group_pattern=r"([^/]*)_cropped")
    assert {record.group_id for record in found.dataset.records} == {f"{i:02d}" for i in range(15)}
    assert len({(record.group_id, record.role) for record in found.dataset.records}) == 15
    with pytest.raises(ConfigError, match="finds no group id in 'train00'"):
        prepared([*samples, *parts()], tmp_path, group_pattern=r"([^/]*)_cropped")
    with pytest.raises(ConfigError, match="put parentheses around"):
        prepared(samples, tmp_path, group_pattern="cropped")
    with pytest.raises(ConfigError, match="is no regular expression"):
        prepared(samples, tmp_path, group_pattern="(")


def test_a_part_on_both_sides_of_the_layout_is_an_error_until_it_is_dealt_anew(tmp_path):
    torn = [part("x", group="p1"), part("y", group="p1", roles=TEST)]
    found = prepared([*parts(), *torn], tmp_path / "a")
    with pytest.raises(
        DataError, match=r"1 part with images on both sides.*set prepare\.split to shuffle.*p1 \(images/x"
    ):
        found.require_no_error()
    assert not {"x", "y"} & set(roles_of(found))
    anew = prepared([*parts(), *torn], tmp_path / "b", split="shuffle")
    anew.require_no_error()
    assert roles_of(anew)["x"] == roles_of(anew)["y"]


# Contamination


def test_contamination_moves_its_share_of_the_defects_into_fit_and_nowhere_else(tmp_path):
    clean = roles_of(prepared(parts(n_bad=10), tmp_path / "clean"))
    found = prepared(parts(n_bad=10), tmp_path / "dirty", contaminate=0.3)
    roles = roles_of(found)
    moved = {name for name, role in roles.items() if role != clean[name]}
    assert len(moved) == 3
    assert all(name.startswith("bad") and roles[name] == "fit" for name in moved)
    assert {name for name, role in roles.items() if role == "calibrate"} == {
        name for name, role in clean.items() if role == "calibrate"
    }
    counts = count_metrics(found)
    assert (counts["n_fit"], counts["n_fit_defective"], counts["n_test_defective"]) == (27, 3, 7)
    assert "3 images defective and in fit, as prepare.contaminate asks" in "\n".join(map(str, found.warnings))
    found.require_no_error()


def test_a_contaminating_part_moves_whole_so_that_no_shot_of_it_stays_in_test(tmp_path):
    shots = [part(f"q{i}_{k}", group=f"q{i}", label=k, roles=TEST) for i in range(6) for k in (0, 1)]
    found = prepared([*parts(n_bad=0), *shots], tmp_path, contaminate=0.5)
    by_group = {f"q{i}": {roles_of(found)[f"q{i}_{k}"] for k in (0, 1)} for i in range(6)}
    assert Counter(frozenset(roles) for roles in by_group.values()) == {frozenset({"fit"}): 3, frozenset({"test"}): 3}


# What is wrong with the data


def test_the_same_pixels_in_train_and_test_are_an_error_that_names_both(tmp_path):
    found = prepared([*parts(), part("copy", seed=3, roles=TEST)], tmp_path)
    with pytest.raises(DataError, match=r"1 image on both sides.*images/(copy|train03)\.png = images/(copy|train03)"):
        found.require_no_error()


def test_a_defect_that_also_lies_among_the_good_parts_is_an_error(tmp_path):
    twice = [part("ok", seed=7777, roles=ROLES), part("nok", seed=7777, label=1, roles=ROLES)]
    found = prepared([*parts(), *twice], tmp_path)
    with pytest.raises(DataError, match=r"1 image called good and defective at once: images/ok\.png = images/nok\.png"):
        found.require_no_error()


def test_masks_that_are_missing_unreadable_or_of_another_size_are_errors_and_name_the_image(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a mask")
    write_png(tmp_path / "small.png", np.ones((3, 3), bool))
    faults = [
        part("m1", label=1, roles=TEST, mask=tmp_path / "nowhere.png"),
        part("m2", label=1, roles=TEST, mask=tmp_path / "broken.png"),
        part("m3", label=1, roles=TEST, mask=tmp_path / "small.png"),
        part("m4", label=1, roles=TEST, mask=np.ones((5, 5), bool)),
        part("m5", label=1, roles=TEST, mask=np.ones((12, 10), bool), size=(640, 480)),
    ]
    with pytest.raises(DataError) as error:
        prepared([*parts(), *faults], tmp_path).require_no_error()
    for words in (
        "1 mask missing that the layout promises: images/m1.png",
        "1 mask that cannot be read: images/m2.png",
        "3 masks of another size than the image: images/m3.png (the mask is 3 x 3, its image 10 x 12)",
        "images/m4.png (the mask is 5 x 5",
        "images/m5.png (annotated at 640 x 480, its image is 10 x 12)",
    ):
        assert words in str(error.value)


def test_empty_and_absent_masks_are_warnings_and_leave_the_image_without_one(tmp_path):
    odd = [
        part("empty", label=1, roles=TEST, mask=np.zeros((12, 10), bool)),
        part("none", label=1, roles=TEST),
    ]
    found = prepared([*parts(), *odd], tmp_path)
    found.require_no_error()
    text = "\n".join(map(str, found.warnings))
    assert "1 mask without a marked pixel, which pixel metrics leave out: images/empty.png" in text
    assert "1 image defective but without a mask, which pixel metrics leave out: images/none.png" in text
    by_name = {record.path: record for record in found.dataset.records}
    assert found.dataset.mask_of(by_name["images/empty.png"]) is None
    assert found.dataset.mask_of(by_name["images/bad00.png"]).sum() == 6


def test_a_set_without_any_mask_is_no_problem(tmp_path):
    found = prepared([replace(sample, mask=None) for sample in parts(n_train=80)], tmp_path)
    assert found.problems == []


def test_look_alikes_across_roles_and_among_good_parts_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (16, 17, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)

    def shot(name, **more):
        noise = np.random.default_rng(len(name)).integers(-1, 2, scene.shape)
        return replace(part(name, **more), image=np.clip(scene + noise, 0, 255).astype(np.uint8))

    found = prepared([*parts(n_train=80), shot("one"), shot("other"), shot("tested", roles=TEST)], tmp_path)
    text = "\n".join(map(str, found.warnings))
    assert "1 image of test nearly like one of fit or calibrate: images/tested.png ~ images/o" in text
    assert "1 pair of good images in fit and calibrate nearly alike" in text
    assert "images/other.png ~ images/one.png" in text or "images/one.png ~ images/other.png" in text
    same_part = [shot("one", group="g"), shot("other", group="g")]
    assert "alike" not in warned(prepared([*parts(n_train=80), *same_part], tmp_path / "b"))


def test_too_few_parts_for_the_wanted_rate_are_a_warning_that_says_how_many_more(tmp_path):
    assert only_problem(prepared(parts(), tmp_path / "a"), "warning") == (
        "16 good parts to calibrate certify at most 17.1% false alarms with 95% confidence; the wanted 10.0% needs 29, "
        "13 more"
    )
    modest = replace(CALIBRATE, false_alarm_rate=0.2)
    assert prepared(parts(), tmp_path / "b", calibrate=modest).problems == []


def test_a_role_without_good_images_is_an_error_and_a_test_without_defects_a_warning(tmp_path):
    found = prepared(parts(), tmp_path / "a", calibrate_share=0.0)
    with pytest.raises(
        DataError, match=r"no good image has the role calibrate \(good images: 40 to fit, 0 to calibrate"
    ):
        found.require_no_error()
    assert "no recall can be measured" in only_problem(prepared(parts(n_train=80, n_bad=0), tmp_path / "b"), "warning")
    assert "no false-alarm rate" in only_problem(prepared(parts(n_train=80, n_good=0), tmp_path / "c"), "warning")


def test_two_samples_of_one_name_and_no_sample_at_all_are_errors(tmp_path):
    with pytest.raises(DataError, match="two samples have the name 'train00'"):
        prepared([*parts(), parts()[0]], tmp_path)
    with pytest.raises(DataError, match="holds no image"):
        prepared([], tmp_path)


def test_excluded_images_are_left_alone_and_counted_and_a_vain_pattern_is_an_error(tmp_path):
    found = prepared(parts(), tmp_path, exclude=["train0*", "bad00"])
    assert not {"train00", "train09", "bad00"} & set(roles_of(found))
    assert count_metrics(found)["n_excluded"] == 11
    with pytest.raises(ConfigError, match=r"prepare\.exclude: 'trian\*' matches no image; the first is 'train00'"):
        prepared(parts(), tmp_path, exclude=["trian*"])


def test_the_reason_of_an_exclusion_is_kept_and_shown_and_none_is_said_to_be_missing(tmp_path):
    section = asdict(PREPARE) | {
        "calibrate_share": 0.4,
        "exclude": ["train0*", {"pattern": "train?1", "reason": "dent <at the rim>"}],
    }
    found = prepared(parts(), tmp_path, exclude=prepare_params(section).exclude)
    card = card_facts(found, category="parts", source="folder", options={})
    assert card["excluded"] == [
        {"pattern": "train0*", "reason": None, "images": [f"train0{i}" for i in range(10)]},
        {"pattern": "train?1", "reason": "dent <at the rim>", "images": ["train11", "train21", "train31"]},
    ]
    assert (card["counts"]["n_excluded"], found.n_excluded) == (13, 13)
    write_data_card(tmp_path / "card.html", json.loads(json.dumps(card)), found.dataset)
    page = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "<code>train?1</code>, 3 images: dent &lt;at the rim&gt;" in page
    assert "<code>train0*</code>, 10 images: no reason given" in page


@pytest.mark.parametrize(
    ("exclude", "says"),
    [
        ([{"patern": "a*"}], r"prepare\.exclude\[0\]: .*'patern'.*did you mean pattern"),
        (["a*", {"reason": "dent"}], r"prepare\.exclude\[1\]: key 'pattern' is missing"),
        ([{"pattern": "a*", "reason": ""}], r"prepare\.exclude\[0\]: reason is ''"),
        ([7], r"prepare: exclude\.0.* is 7"),
        ("a*", r"prepare: exclude is 'a\*'"),
    ],
)
def test_an_exclusion_of_another_form_is_refused_with_its_place(exclude, says):
    with pytest.raises(ConfigError, match=says):
        prepare_params(asdict(PREPARE) | {"exclude": exclude})


# Damaged files


def raw_part(path, raw, roles=TRAIN):
    return Sample(name=path.relative_to(raw).as_posix(), image=path, label=0, defect_type="good", roles=roles)


def test_unreadable_files_are_recorded_with_name_and_reason_and_stop_above_max_rejects(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    damaged = [raw_part(tmp_path / name, tmp_path) for name in ("empty.png", "folder.png", "gone.png")]
    strict = prepared([*parts(), *damaged], tmp_path)
    with pytest.raises(DataError, match=r"3 images that cannot be read, more than prepare\.max_rejects = 0"):
        strict.require_no_error()
    lenient = prepared([*parts(), *damaged], tmp_path, max_rejects=3)
    lenient.require_no_error()
    assert count_metrics(lenient)["n_rejects"] == 3
    rejects = card_facts(lenient, category="parts", source="folder", options={})["rejects"]
    assert [reject["image"] for reject in rejects] == ["empty.png", "folder.png", "gone.png"]
    assert "the file is empty" in rejects[0]["reason"]
    assert "no regular file" in rejects[1]["reason"].lower()
    with pytest.raises(DataError, match="3 images that cannot be read"):
        prepared([*parts(), *damaged], tmp_path, max_rejects=2).require_no_error()


def damaged_file(rng, kind):
    """The bytes of a real image in a real format, damaged."""
    pixels = rng.integers(0, 255, (24, 20, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=("PNG", "JPEG", "TIFF", "BMP")[rng.integers(4)])
    data = bytearray(stream.getvalue())
    if kind == "truncated":
        return bytes(data[: rng.integers(1, len(data) // 2)])
    if kind == "header":
        data[: rng.integers(2, 8)] = rng.bytes(8)
    elif kind == "empty":
        return b""
    elif kind == "huge":  # a PNG that claims 60,000 x 60,000 pixels
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, format="PNG")
        data = bytearray(stream.getvalue())
        data[16:24] = (60_000).to_bytes(4, "big") * 2
    elif kind == "scrambled":
        for position in rng.integers(8, len(data), 40):
            data[position] = rng.integers(256)
    return bytes(data)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's complaints about TIFF tags
def test_five_hundred_damaged_files_crash_nothing_and_each_is_recorded_or_read(tmp_path):
    rng = np.random.default_rng(20)
    kinds = ("truncated", "header", "empty", "huge", "scrambled")
    damaged = []
    for number in range(500):
        kind = kinds[number % len(kinds)]
        path = tmp_path / f"{number:03d}_{kind}.png"
        path.write_bytes(damaged_file(rng, kind))
        damaged.append(raw_part(path, tmp_path))
    found = prepared([*parts(), *damaged], tmp_path, max_rejects=500)
    rejected = {reject.sample.name: reject.reason for reject in found.rejects}
    read = {image.sample.name for image in found.images}
    assert set(rejected) | read == {sample.name for sample in [*parts(), *damaged]}
    assert not set(rejected) & read
    assert all(name in reason for name, reason in rejected.items())
    for kind in ("truncated", "empty", "huge"):  # some scrambled and some headers are still images
        assert sum(kind in name for name in rejected) == 100
    assert sum("header" in name for name in rejected) > 80
    assert count_metrics(found)["n_rejects"] == len(rejected) < 500


# The card


def test_the_page_shows_the_counts_the_problems_and_the_pictures(tmp_path):
    odd = part("<odd>", label=1, roles=TEST, mask=np.zeros((12, 10), bool))
    found = prepared([*parts(), odd], tmp_path)
    card = card_facts(found, category="parts & more", source="folder", options={"folder": "x"})
    assert card["sizes"] == {"10 x 12": 52}
    assert card["modes"] == {"RGB": 52}
    assert card["defect_types"]["dent"] == {
        "images": 6,
        "masks": 5,
        "without_mask": 0,
        "masks_at_fault": 1,
        "boxes": 0,
    }
    write_data_card(tmp_path / "card.html", card, found.dataset)
    page = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "<title>parts &amp; more: data card</title>" in page
    assert "<b>24</b>" in page  # fit
    assert "&lt;odd&gt;" in page
    assert "<odd>" not in page
    assert page.count("data:image/jpeg;base64,") == 8 + 8 + 6 + 6
    assert "http" not in page
    write_data_card(tmp_path / "again.html", card, found.dataset)
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "card.html").read_bytes()


def test_images_of_another_size_are_named_with_theirs(tmp_path):
    samples = [*parts(n_train=80), part("odd", roles=TEST, shape=(8, 9))]
    assert "1 image of another size than the 91 of 10 x 12 pixels: images/odd.png (9 x 8)" in warned(
        prepared(samples, tmp_path)
    )


def test_grey_images_among_colour_are_named(tmp_path):
    grey = []
    for number in range(2):
        path = tmp_path / f"g{number}.png"
        write_png(path, np.random.default_rng(number).integers(0, 255, (12, 10), dtype=np.uint8))
        grey.append(replace(part(path.name, roles=TEST), image=path))
    said = warned(prepared([*parts(n_train=80), *grey], tmp_path))
    assert "2 images grey, where the others are in colour: raw/g0.png, raw/g1.png" in said


def test_identical_images_are_one_part_and_the_error_says_so(tmp_path):
    samples = [part(f"same{number}", roles=ROLES, seed=1) for number in range(12)]
    text = "".join(str(problem) for problem in prepared(samples, tmp_path).problems)
    assert "they show one image, and copies of one image get one role" in text


def test_images_of_one_part_get_one_role_and_the_error_says_so(tmp_path):
    samples = [part(f"shot{number}", roles=ROLES, group="item 1") for number in range(12)]
    text = "".join(str(problem) for problem in prepared(samples, tmp_path).problems)
    assert "they are of one part, and the images of one part get one role" in text


def warned(found):
    return "\n".join(str(problem) for problem in found.warnings)
