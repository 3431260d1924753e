"""Accept as good: the history only grows, prepare gives the images exactly their role, and all of it can be undone."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from checkout import ROOT
from conftest import CALIBRATE, PREPARE, STAGES_IN_ONE, shares, unseen
from gonogo.calibration.threshold import certified_rank, certify
from gonogo.cli.main import main
from gonogo.data.anomalib_folder import AnomalibFolder
from gonogo.data.digits import Digits, read_digits
from gonogo.data.prepare.accepted import (
    Acceptance,
    AcceptedImage,
    RollBack,
    active_acceptance,
    append_acceptance,
    append_roll_back,
    copy_name,
    is_copy,
    read_history,
)
from gonogo.data.prepare.card import card_facts, count_metrics
from gonogo.data.prepare.prepare import Prepared, prepare
from gonogo.data.sample import Sample
from gonogo.errors import ConfigError, DataError, PipelineError
from gonogo.files import read_json, read_sealed, seal, write_metrics
from gonogo.images.dataset import RAW, located
from gonogo.images.dataset import read_dataset as read_records
from gonogo.images.reading import read_image, write_png
from gonogo.images.roles import TEST
from gonogo.inference.scorer import ONNX_FILE, Scorer
from gonogo.params import read_yaml
from gonogo.project.dvc import run_dvc
from gonogo.reports.data_card import write_data_card
from small_project import one_stage

CATEGORY = "digit_0"
SOURCE = Digits(normal_class=0, defects_per_class=3)


def smudged(number: int, noise: int) -> np.ndarray:
    """(8, 8, 3) uint8: a handwritten 0 under so many grey levels of noise, unlike any image of the data set."""
    images, digits = read_digits()
    zero = images[np.flatnonzero(digits == 0)[number]].astype(int)
    return np.clip(zero + np.random.default_rng(number).integers(-noise, noise + 1, zero.shape), 0, 255).astype(
        np.uint8
    )


def acceptance(raw: Path, files: list[Path], *, role="calibrate", group=None, id_="0a1b2c3d") -> Acceptance:
    """An acceptance of `files`, whose copies are made below `raw`."""
    images = []
    for file in files:
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        name = copy_name(CATEGORY, role, sha256, file)
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, raw / name)
        images.append(AcceptedImage(path=RAW + name, sha256=sha256, group_id=group))
    return Acceptance(
        id=id_, date="2026-11-21", by="Ada", reason="oil", category=CATEGORY, role=role, images=tuple(images)
    )


TAKEN_BACK = RollBack(date="2026-11-22", by="Bob", reason="a dent after all")


@pytest.fixture
def files(tmp_path):
    """Four images of good parts: two that look like others of the data set, then two that do not."""
    for number, noise in enumerate((20, 20, 120, 120)):
        write_png(tmp_path / "reviewed" / f"part{number}.png", smudged(number, noise))
    return sorted((tmp_path / "reviewed").iterdir())


# The history


def test_the_history_gives_back_what_was_written_and_only_grows(tmp_path, files):
    path = tmp_path / "data" / "accepted.jsonl"
    assert read_history(path) == []
    first, second = (acceptance(tmp_path, files[i : i + 1], id_=id_) for i, id_ in enumerate(("aa", "bb")))
    append_acceptance(path, first)
    once = path.read_bytes()
    append_acceptance(path, second)
    append_roll_back(path, "aa", TAKEN_BACK)
    assert path.read_bytes().startswith(once)
    assert path.read_bytes().count(b"\n") == 3
    assert read_history(path) == [replace(first, rolled_back=TAKEN_BACK), second]
    assert active_acceptance(path, "bb") == second
    assert [event.sentence for event in read_history(path)] == [
        "aa  2026-11-21  Ada accepted 1 image of digit_0 to calibrate: oil; "
        "rolled back 2026-11-22 by Bob: a dent after all",
        "bb  2026-11-21  Ada accepted 1 image of digit_0 to calibrate: oil",
    ]


def test_what_is_not_accepted_cannot_be_rolled_back_and_nothing_is_written(tmp_path, files):
    path = tmp_path / "accepted.jsonl"
    append_acceptance(path, acceptance(tmp_path, files[:1], id_="aa"))
    append_acceptance(path, acceptance(tmp_path, files[1:2], id_="bb"))
    append_roll_back(path, "aa", TAKEN_BACK)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="aa was rolled back already, on 2026-11-22 by Bob; those that can be: bb"):
        append_roll_back(path, "aa", TAKEN_BACK)
    with pytest.raises(ConfigError, match="has no acceptance 'cc'; those that can be rolled back: bb"):
        append_roll_back(path, "cc", TAKEN_BACK)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.replace("accept", "except", 1), "event is 'except'"),
        (lambda line: line.replace('"calibrate"', '"test"', 1), "role is 'test'"),
        (lambda line: line.replace("raw/accepted", "raw/../accepted"), "is not where accepted images lie"),
        (lambda line: line.replace('"by"', '"buy"'), "buy"),
        (lambda line: line + line, "the id '0a1b2c3d' stands there twice"),
        (lambda line: line + '{"event": "roll back", "id": "x", "date": "d", "by": "b"}\n', "'x' is not accepted"),
        (lambda line: line[:40], "expected a JSON object"),
    ],
)
def test_a_line_that_is_no_event_is_an_error_that_says_where_it_stands(change, message, tmp_path, files):
    path = tmp_path / "accepted.jsonl"
    append_acceptance(path, acceptance(tmp_path, files[:1]))
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=rf"accepted\.jsonl, line [12]: .*{message}"):
        read_history(path)


def test_a_line_is_never_glued_to_one_that_an_editor_left_without_an_end(tmp_path, files):
    path = tmp_path / "accepted.jsonl"
    path.write_text('{"event": "begin", "what": "images"}')
    append_acceptance(path, acceptance(tmp_path, files[:1]))
    assert [event.id for event in read_history(path)] == ["0a1b2c3d"]


def test_the_repositorys_history_is_one_that_can_be_read_and_a_merge_keeps_both_sides_of_it():
    assert read_history(ROOT / "data" / "accepted.jsonl") == []
    assert "data/accepted.jsonl merge=union" in (ROOT / ".gitattributes").read_text()


# Prepare


def prepared(folder: Path, raw: Path, *accepted: Acceptance, samples=None, **changes) -> Prepared:
    """What the prepare stage makes of the digits, or of `samples`, and of what was accepted."""
    return prepare(
        SOURCE.samples(CATEGORY, raw, shares(17)) if samples is None else samples,
        replace(PREPARE, **changes),
        CALIBRATE,
        category=CATEGORY,
        folder=folder,
        raw=raw,
        seed=17,
        progress=unseen,
        accepted=accepted,
    )


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """The digits without any acceptance."""
    folder = tmp_path_factory.mktemp("untouched")
    found = prepared(folder / "prepared", folder / "raw")
    found.require_no_error()
    return found


@pytest.mark.parametrize("role", ["fit", "calibrate"])
def test_accepted_images_join_exactly_their_role_and_move_no_other_image(role, tmp_path, files, untouched):
    made = acceptance(tmp_path / "raw", files, role=role)
    found = prepared(tmp_path / "prepared", tmp_path / "raw", made)
    found.require_no_error()
    joined = [record for record in found.dataset.records if record.accepted]
    assert [record for record in found.dataset.records if not record.accepted] == list(untouched.dataset.records)
    assert [record.path for record in joined] == sorted(image.path for image in made.images)
    assert {(record.role, record.label, record.defect_type) for record in joined} == {(role, 0, "good")}
    assert len({record.group_id for record in joined}) == 4
    said = {"id": "0a1b2c3d", "date": "2026-11-21", "by": "Ada", "reason": "oil"}
    assert all(record.accepted == said for record in joined)
    read = read_records(tmp_path / "prepared", tmp_path / "raw")
    assert read.records == found.dataset.records
    pixels = sorted(read.pixels_of(record).tobytes() for record in joined)
    assert pixels == sorted(read_image(file).tobytes() for file in files)
    assert count_metrics(found)["n_accepted"] == 4
    assert count_metrics(found)[f"n_{role}"] == count_metrics(untouched)[f"n_{role}"] + 4


def test_without_an_acceptance_that_stands_the_manifest_is_the_same_to_the_byte(tmp_path, files, untouched):
    rolled_back = replace(acceptance(tmp_path / "raw", files), rolled_back=TAKEN_BACK)
    found = prepared(tmp_path / "prepared", tmp_path / "raw", rolled_back)
    text = (tmp_path / "prepared" / "manifest.jsonl").read_text()
    assert text == (untouched.dataset.folder / "manifest.jsonl").read_text()
    assert "accepted" not in text
    assert count_metrics(found) == count_metrics(untouched)


def test_the_same_pixels_in_another_role_are_an_error_that_names_both_whatever_the_files_format(tmp_path, untouched):
    twins = [next(r for r in untouched.dataset.with_role(role) if r.label == 0) for role in ("test", "fit")]
    for number, twin in enumerate(twins):
        path = tmp_path / f"twin{number}.bmp"
        Image.fromarray(untouched.dataset.pixels_of(twin)).save(path)
        found = prepared(tmp_path / str(number), tmp_path / "raw", acceptance(tmp_path / "raw", [path]))
        with pytest.raises(DataError) as error:
            found.require_no_error()
        assert "1 image accepted as good with the very same pixels as another" in str(error.value)
        assert f"twin{number}.bmp = {twin.path}, in {twin.role} (accepted as 0a1b2c3d)" in str(error.value)
        assert "gonogo accept --roll-back ID" in str(error.value)


def test_an_accepted_file_that_is_gone_or_another_one_is_an_error_however_many_rejects_are_allowed(tmp_path, files):
    made = acceptance(tmp_path / "raw", files[:3])
    gone, changed, _ = (located(image.path, tmp_path, tmp_path / "raw") for image in made.images)
    gone.unlink()
    shutil.copy(files[3], changed)
    found = prepared(tmp_path / "prepared", tmp_path / "raw", made, max_rejects=5)
    with pytest.raises(DataError, match="2 images accepted as good, but now missing or another file") as error:
        found.require_no_error()
    assert f"{changed} is another file than the one recorded: its SHA-256 differs" in str(error.value)
    assert f"{gone} cannot be read" in str(error.value)
    assert "(accepted as 0a1b2c3d)" in str(error.value)
    assert count_metrics(found)["n_accepted"] == 1


def test_shots_of_one_part_are_one_group_and_may_not_lie_in_two_roles(tmp_path, files, untouched):
    groups = {role: untouched.dataset.with_role(role)[0].group_id for role in ("fit", "calibrate", "test")}
    for role in ("fit", "calibrate"):
        alike = acceptance(tmp_path / "raw", files[:2], role=role, group=groups[role])
        found = prepared(tmp_path / role, tmp_path / "raw", alike)
        found.require_no_error()
        assert count_metrics(found)[f"n_{role}"] == count_metrics(untouched)[f"n_{role}"] + 2
        assert count_metrics(found)["n_calibrate_groups"] == count_metrics(untouched)["n_calibrate_groups"]
        assert [r for r in found.dataset.records if not r.accepted] == list(untouched.dataset.records)
    torn = prepared(tmp_path / "b", tmp_path / "raw", acceptance(tmp_path / "raw", files[2:], group=groups["test"]))
    with pytest.raises(DataError, match="2 images accepted into another role than others of the same part") as error:
        torn.require_no_error()
    assert "is not in test as its part is (accepted as 0a1b2c3d)" in str(error.value)


def raw_samples(raw: Path, source) -> list[Sample]:
    return list(source.samples(CATEGORY, raw, shares(17)))


def test_no_source_takes_a_copy_for_its_own_and_no_pattern_of_the_section_touches_one(tmp_path, files):
    raw = tmp_path / "raw"
    for number in range(30):
        write_png(raw / "good" / f"{number:02d}_shot.png", smudged(number + 40, 60))
    made = acceptance(raw, files)
    found_by_source = raw_samples(raw, AnomalibFolder(normal_dir="."))
    assert sum(is_copy(sample.name) for sample in found_by_source) == 4  # it looks at any depth
    options = {"exclude": ["*part*", "good/29*"], "group_pattern": r"/(\d+)_shot", "split": "shuffle"}
    with pytest.raises(ConfigError, match=r"'\*part\*' matches no image"):
        prepared(tmp_path / "a", raw, made, samples=found_by_source, **options)
    options["exclude"] = ["good/29*"]
    found = prepared(tmp_path / "b", raw, made, samples=found_by_source, **options)
    found.require_no_error()
    assert sum(record.path.startswith("raw/accepted") for record in found.dataset.records) == 4
    assert {record.role for record in found.dataset.records if record.accepted} == {"calibrate"}
    assert len(found.dataset.records) == 33
    left = prepared(tmp_path / "c", raw, replace(made, rolled_back=TAKEN_BACK), samples=found_by_source, **options)
    assert not [record for record in left.dataset.records if "accepted" in record.path]


def test_an_accepted_image_that_the_data_call_defective_is_an_error(tmp_path, files):
    made = acceptance(tmp_path / "raw", files[:1])
    bad = Sample(name="bad", image=read_image(files[0]), label=1, defect_type="dent", roles=TEST)
    samples = [*SOURCE.samples(CATEGORY, tmp_path, shares(17)), bad]
    with pytest.raises(DataError, match="1 image called good and defective at once"):
        prepared(tmp_path / "prepared", tmp_path / "raw", made, samples=samples).require_no_error()


def test_the_card_lists_what_was_accepted_and_what_was_taken_back(tmp_path, files):
    judged = acceptance(tmp_path / "raw", files[:1], id_="aaaa")
    judged = replace(judged, images=(replace(judged.images[0], score=9.5, threshold=7.25, verdict="reject"),))
    back = replace(acceptance(tmp_path / "raw", files[1:2], role="fit", id_="bbbb"), rolled_back=TAKEN_BACK)
    found = prepared(tmp_path / "prepared", tmp_path / "raw", judged, back)
    card = card_facts(found, category=CATEGORY, source="digits", options={})
    assert [event["id"] for event in card["accepted"]] == ["aaaa", "bbbb"]
    assert json.loads(json.dumps(card))["accepted"][1]["rolled_back"]["by"] == "Bob"
    write_data_card(tmp_path / "card.html", card, found.dataset)
    page = " ".join((tmp_path / "card.html").read_text().split())
    assert "<b>aaaa</b> accepted into calibrate 2026-11-21 by Ada: oil" in page
    assert f"{judged.images[0].path}, rejected then: score 9.5, threshold 7.25" in page
    assert "<b>bbbb</b>: <b>rolled back</b> 2026-11-22 by Bob, a dent after all; it was accepted into fit" in page
    empty = card_facts(prepared(tmp_path / "b", tmp_path / "raw"), category=CATEGORY, source="digits", options={})
    write_data_card(tmp_path / "empty.html", empty, found.dataset)
    assert "accepted" not in (tmp_path / "empty.html").read_text().partition("Sample images")[0]


# The command, with a pipeline that looks at the images and calibrates as the real one does, but never fits


class Pipeline:
    """Stands for dvc in the project in the current folder; fails at the calls whose numbers are in `failing`."""

    def __init__(self, bundle: Path):
        self.bundle, self.calls, self.failing, self.error = bundle, [], set(), PipelineError("dvc repro failed")

    def __call__(self, *arguments: str) -> None:
        self.calls.append(arguments)
        if len(self.calls) in self.failing:
            shutil.rmtree("bundles", ignore_errors=True)  # DVC removes what a stage makes before it runs
            raise self.error
        if "--single-item" not in arguments:
            self.reproduce()

    def reproduce(self) -> None:
        events = [event for event in read_history(Path("data/accepted.jsonl")) if event.category == CATEGORY]
        found = prepared(Path("data/prepared") / CATEGORY, Path("data/raw"), *events)
        write_metrics(Path("metrics/prepare") / f"{CATEGORY}.json", count_metrics(found))
        found.require_no_error()
        manifest, judge = found.dataset, Scorer(self.bundle)
        calibrate, test = manifest.with_role("calibrate"), manifest.with_role("test")
        scores = {r.path: judge.score_image(manifest.path_of(r)).score for r in (*calibrate, *test)}
        record = certify(
            np.array([scores[r.path] for r in calibrate]),
            [r.group_id for r in calibrate],
            false_alarm_rate=0.1,
            confidence=0.95,
            margin=1e-3,
        )
        shutil.copytree(self.bundle, Path("bundles") / CATEGORY, dirs_exist_ok=True)
        gauge = onnx.load(Path("bundles") / CATEGORY / ONNX_FILE)
        (told,) = (entry for entry in gauge.metadata_props if entry.key == "gonogo.threshold")
        told.value = json.dumps(record.to_dict())
        onnx.save(gauge, Path("bundles") / CATEGORY / ONNX_FILE)
        content = read_sealed(self.bundle) | {"threshold": record.to_dict()}
        seal(Path("bundles") / CATEGORY, content, content.pop("files"))
        rejected = {label: [scores[r.path] >= record.threshold for r in test if r.label == label] for label in (0, 1)}
        measured = {"n_false_alarms": sum(rejected[0]), "n_good": len(rejected[0]), "recall": np.mean(rejected[1])}
        measured["false_alarm_rate"] = np.mean(rejected[0])
        write_metrics(Path("metrics/evaluate") / f"{CATEGORY}.json", {k: float(v) for k, v in measured.items()})


@pytest.fixture
def pipeline(tmp_path, bundle, monkeypatch):
    """A project in the current folder, and what stands for dvc in it."""
    root = tmp_path / "project"
    (root / "data" / "raw").mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml", "data/accepted.jsonl"):
        shutil.copy(ROOT / name, root / name)
    monkeypatch.chdir(root)
    stand_in = Pipeline(bundle)
    monkeypatch.setattr("gonogo.project.dvc.run_dvc", stand_in)
    return stand_in


def accept(*files, role="calibrate", **options):
    words = [f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in options.items()]
    return main(["accept", *map(str, files), "--category", CATEGORY, "--role", role, "--by", "Ada", *words])


def answer(capsys):
    """The JSON object on standard output."""
    return json.loads(capsys.readouterr().out)


def state(folder="."):
    """What a project holds: each file's bytes."""
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def test_rejected_parts_that_are_accepted_raise_the_threshold_and_a_roll_back_restores_it(pipeline, files, capsys):
    before = state(files[0].parent)
    assert accept(*files[2:], reason="oil", json=True) == 0
    report = answer(capsys)
    assert [image["verdict"] for image in report["acceptance"]["images"]] == ["reject", "reject"]
    old, new = report["before"], report["after"]
    assert new["threshold"] > old["threshold"]
    assert (new["n_groups"], new["n_fit"]) == (old["n_groups"] + 2, old["n_fit"])
    assert new["certified_false_alarm_rate"] < old["certified_false_alarm_rate"]
    assert new["recall"] <= old["recall"]
    assert (old["n_accepted_rejected"], new["n_accepted_rejected"], new["n_accepted"]) == (2, 0, 2)
    assert "the bound on false alarms holds, on the safe side, and recall may fall" in report["remarks"][0]
    targets = [
        f"{s}@{CATEGORY}" for s in ("prepare", "fit", "evaluate", "export", "parity", "robustness", "bench", "report")
    ]
    gather = ("repro", "--single-item", "router", "retrieve", "summary")
    assert pipeline.calls == [("repro", *targets), ("repro", *targets), gather]
    assert state(files[0].parent) == before
    copies = sorted(path.read_bytes() for path in Path("data/raw/accepted").rglob("*.png"))
    assert copies == sorted(file.read_bytes() for file in files[2:])

    id_ = report["acceptance"]["id"]
    assert main(["accept", "--roll-back", id_, "--by", "Bob", "--reason", "dents", "--json"]) == 0
    undone = answer(capsys)
    assert (undone["before"], undone["after"]) == (new, old)
    assert undone["acceptance"]["rolled_back"]["reason"] == "dents"
    assert main(["accept", "--history", "--json"]) == 0
    assert [event["id"] for event in answer(capsys)["acceptances"]] == [id_]
    assert main(["accept", "--roll-back", id_, "--by", "Bob"]) == 3
    assert "was rolled back already" in capsys.readouterr().err
    assert accept(*files[2:], json=True) == 0  # what was taken back may be accepted again
    assert answer(capsys)["acceptance"]["id"] != id_


@pytest.mark.usefixtures("pipeline")
def test_people_read_a_table_of_before_and_after(files, capsys):
    assert accept(files[0], files[2], role="fit") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("Ada accepted 2 images of digit_0 to fit, 1 of them rejected then")
    rows = {line[:25].strip(): line[25:].split() for line in lines[1:9]}
    assert rows[""] == ["before", "after"]
    assert rows["images fitted on"] == ["106", "108"]
    assert rows["parts calibrated on"] == ["36", "36"]
    assert rows["false alarms, certified"] == ["<=", "7.98%", "<=", "7.98%"]
    assert rows["accepted images rejected"] == ["1", "of", "2", "1", "of", "2"]
    assert "the certificate is of calibrate parts" in lines[9]
    [event] = read_history(Path("data/accepted.jsonl"))
    assert lines[10:] == [f"to take it back: gonogo accept --roll-back {event.id}"]
    assert main(["accept", "--history", "--category", "brick"]) == 0
    assert capsys.readouterr().out == "nothing was accepted\n"


@pytest.mark.usefixtures("pipeline")
def test_parts_that_all_passed_are_accepted_with_a_warning(files, capsys):
    assert accept(*files[:2]) == 0
    assert (
        "WARNING: all 2 images accepted to calibrate had passed. If they were accepted because"
        in capsys.readouterr().out
    )
    assert accept(files[2]) == 0
    out = capsys.readouterr().out
    assert "WARNING" not in out
    assert "1 of 3 images accepted to calibrate had been rejected" in out


def test_one_image_that_cannot_be_accepted_keeps_all_of_them_out_and_each_is_named(pipeline, files, tmp_path, capsys):
    pipeline.reproduce()
    manifest = read_records(Path("data/prepared") / CATEGORY, Path("data/raw"))
    test = next(record for record in manifest.with_role("test") if record.label == 0)
    shutil.copy(manifest.path_of(test), tmp_path / "test.png")
    Image.fromarray(read_image(files[0])).save(tmp_path / "again.bmp")
    (tmp_path / "broken.png").write_bytes(files[0].read_bytes()[:50])
    write_png(tmp_path / "large.png", np.zeros((9, 8, 3), np.uint8))
    before = state()
    assert accept(*files, tmp_path / "broken.png", tmp_path / "again.bmp") == 3
    said = capsys.readouterr().err
    assert "nothing was accepted:" in said
    assert "broken.png cannot be read as an image" in said
    assert f"again.bmp has the very same pixels as {files[0]}; name one of them" in said
    assert pipeline.calls == []
    assert accept(*files, tmp_path / "test.png", tmp_path / "large.png", no_run=True) == 3
    said = capsys.readouterr().err
    assert f"test.png has the very same pixels as {test.path}, which has the role test" in said
    assert "large.png is 8 x 9 pixels; all images of the category are 8 x 8" in said
    assert accept(files[0], group=test.group_id, no_run=True) == 3
    assert f"shows part '{test.group_id}', which has the role test" in capsys.readouterr().err
    assert state() == before


def test_without_a_run_it_is_written_down_and_refused_a_second_time_all_the_same(pipeline, files, capsys):
    pipeline.reproduce()
    assert accept(files[2], no_run=True, reason="oil") == 0
    assert "`dvc repro` makes the gauge again" in capsys.readouterr().out
    assert pipeline.calls == []
    [event] = read_history(Path("data/accepted.jsonl"))
    assert event.images[0].score == Scorer(Path("bundles") / CATEGORY).score_image(files[2]).score
    assert accept(files[2], no_run=True) == 3
    assert f"part2.png was accepted already, as {event.id}" in capsys.readouterr().err
    assert main(["accept", "--roll-back", event.id, "--by", "Bob", "--no-run"]) == 0
    assert accept(files[2], no_run=True) == 0


def test_a_dry_run_refuses_what_would_be_refused_and_otherwise_changes_nothing(pipeline, files, capsys):
    pipeline.reproduce()
    before = state()
    assert accept(files[2], dry_run=True, json=True) == 0
    would_be = answer(capsys)
    assert would_be["dry_run"] is True
    assert would_be["acceptance"]["images"][0]["score"] > 0
    assert accept(files[0], files[0], dry_run=True) == 3
    assert state() == before
    assert accept(files[2], no_run=True) == 0
    [event] = read_history(Path("data/accepted.jsonl"))
    assert main(["accept", "--roll-back", event.id, "--by", "Bob", "--dry-run"]) == 0
    assert "nothing was taken back" in capsys.readouterr().out
    assert read_history(Path("data/accepted.jsonl")) == [event]
    assert pipeline.calls == []


def test_a_wrong_value_of_another_category_keeps_an_acceptance_from_running_dvc(pipeline, files, capsys):
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("runs: 200", "runs: many"))
    pipeline.reproduce()
    before = state()
    assert accept(files[2]) == 3
    assert "bench: runs is 'many'" in capsys.readouterr().err
    assert pipeline.calls == []
    assert state() == before


@pytest.mark.usefixtures("pipeline")
def test_before_there_is_a_gauge_nothing_is_accepted_unseen(files, capsys):
    assert accept(files[0], no_run=True) == 3
    assert "run the prepare stage" in capsys.readouterr().err
    assert read_history(Path("data/accepted.jsonl")) == []


def test_the_part_is_read_from_the_name_where_params_say_how_and_asked_for_where_it_cannot(pipeline, files, capsys):
    pipeline.reproduce()
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("group_pattern:    ", "group_pattern: 'part(.)' "))
    assert accept(*files[:2], no_run=True) == 0
    [event] = read_history(Path("data/accepted.jsonl"))
    assert [image.group_id for image in event.images] == ["0", "1"]
    other = shutil.copy(files[2], files[2].with_name("other.png"))
    capsys.readouterr()
    assert accept(other, no_run=True) == 3
    said = capsys.readouterr().err
    assert "finds no group id in 'other.png'" in said
    assert "or say with --group which part" in said
    assert accept(other, no_run=True, group="p9") == 0
    assert read_history(Path("data/accepted.jsonl"))[1].images[0].group_id == "p9"


@pytest.mark.parametrize("interrupted", [False, True])
def test_where_dvc_fails_everything_is_as_before_and_the_history_says_what_happened(
    interrupted, pipeline, files, capsys
):
    pipeline.reproduce()
    before = state()
    pipeline.failing = {2}
    pipeline.error = KeyboardInterrupt() if interrupted else PipelineError("dvc repro failed with exit status 255")
    assert accept(*files[2:]) == 4
    said = capsys.readouterr().err
    [event] = read_history(Path("data/accepted.jsonl"))
    assert event.rolled_back.reason.startswith("by itself: " + ("interrupted" if interrupted else "dvc repro failed"))
    assert f"the acceptance {event.id} was rolled back, its copies are removed, your own files untouched" in said
    if interrupted:
        assert "`dvc repro` makes the earlier gauge again" in said
        pipeline.reproduce()
    else:
        assert "the earlier gauge is in place again" in said
    history = Path("data/accepted.jsonl")
    assert {path: data for path, data in state().items() if path != history} == {
        path: data for path, data in before.items() if path != history
    }


def test_where_the_earlier_gauge_cannot_be_made_again_the_error_says_so(pipeline, files, capsys):
    pipeline.failing = {2, 3}
    assert accept(*files[2:]) == 4
    assert "the earlier gauge could not be made again (dvc repro failed): mend that" in capsys.readouterr().err


def test_a_pipeline_that_fails_without_the_images_is_not_their_fault_and_nothing_is_written(pipeline, files, capsys):
    pipeline.failing = {1}
    assert accept(*files[2:]) == 4
    assert "rolled back" not in capsys.readouterr().err
    assert read_history(Path("data/accepted.jsonl")) == []
    assert not Path("data/raw/accepted").exists()


def test_a_summary_that_cannot_be_made_is_a_remark_since_the_gauge_is_there(pipeline, files, capsys):
    pipeline.failing = {3}
    assert accept(*files[2:], json=True) == 0
    assert "summary could not be refreshed (dvc repro failed)" in answer(capsys)["remarks"][-1]
    assert len(read_history(Path("data/accepted.jsonl"))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected IMAGE ..., or --reviewed FILE.zip, or --roll-back ID, or --history"),
        (["a.png", "--history"], "expected IMAGE ..., or --reviewed FILE.zip, or --roll-back ID, or --history"),
        (["a.png", "--category", CATEGORY], "images need --category and --role"),
        (["a.png", "--category", CATEGORY, "--role", "test"], "invalid choice: 'test'"),
        (["--roll-back", "x", "--group", "p"], "--role and --group need images"),
        (["--history", "--no-run"], "--history takes --category only"),
    ],
)
def test_wrong_usage_is_status_2_and_says_what_goes_together(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["accept", *words])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("pipeline")
def test_what_it_needs_and_does_not_find_is_said_by_name(files, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["accept", str(files[0]), "--category", "bricks", "--role", "fit", "--by", "Ada"])
    assert ended.value.code == 2
    assert "no category 'bricks'; did you mean brick? choose one of washer, brick, digit_0" in capsys.readouterr().err
    assert main(["accept", "--roll-back", "x", "--by", "Ada"]) == 3
    assert "has no acceptance 'x'" in capsys.readouterr().err
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    assert main(["accept", str(files[0]), "--category", CATEGORY, "--role", "fit"]) == 3
    assert "git has no user.name; add --by NAME" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main(["accept", "--history"]) == 3
    assert "dvc.yaml: no such file; run this in the project's root" in capsys.readouterr().err


def test_dvc_speaks_on_standard_error_and_its_failure_is_one_of_the_pipeline(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run_dvc("--version")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("== dvc --version\n3.")
    with pytest.raises(PipelineError, match="dvc repro failed with exit status 253; what it said stands above"):
        run_dvc("repro")
    assert "not inside of a DVC repository" in capfd.readouterr().err


# What the choice of the parts does to the certificate


def broken_share(accepted: str, n: int, k: int) -> float:
    """How often the rate of good parts above the threshold exceeds 10 %, where k of n + k were chosen so."""
    rng, broken, draws = np.random.default_rng(1), 0, 4000
    for _ in range(draws):
        scores = rng.random(n)  # the score of a good part is uniform here, so that 1 - threshold is the true rate
        threshold = np.sort(scores)[-certified_rank(n, 0.1, 0.95)]
        low, high = {"rejected": (threshold, 1), "passed": (0, threshold), "all": (0, 1)}[accepted]
        together = np.concatenate([scores, rng.uniform(low, high, k)])
        broken += np.sort(together)[-certified_rank(n + k, 0.1, 0.95)] < 0.9
    return broken / draws


def test_the_bound_holds_for_parts_accepted_as_they_come_or_when_rejected_and_not_when_passed():
    assert broken_share("all", 100, 100) <= 0.055
    assert broken_share("rejected", 100, 100) <= 0.001
    assert broken_share("passed", 100, 100) >= 0.25


# From one end to the other


def outputs(root, stage):
    """The hashes of a stage's outputs, apart from the card, which shows the history, and the cost of the fit."""
    outs = read_yaml(root / "dvc.lock")["stages"][stage]["outs"]
    return {out["path"]: out["md5"] for out in outs if not out["path"].startswith(("data/cards", "metrics/fit"))}


@pytest.mark.slow
def test_with_dvc_an_acceptance_changes_its_own_gauge_alone_and_a_roll_back_brings_the_old_one_back(
    tmp_path, files, monkeypatch, capfd
):
    root = tmp_path / "project"
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("constraints.txt", "data/accepted.jsonl", "data/raw/README.md", ".dvcignore", "params.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    text = (root / "params.yaml").read_text().replace("n_resamples: 1000", "n_resamples: 100")
    text = re.sub(r"categories:\n(- .*\n)+", "categories: [digit_0, digit_8]\n", text)
    text += "  digit_8:\n    prepare: {source: digits, normal_class: 8}\n    fit: {detector: pca, image_size: 8}\n"
    text = re.sub(r"other_sizes: .*\n( +- .*\n)+", "other_sizes: [[9, 9], [20, 12]]\n", text)
    (root / "params.yaml").write_text(text.replace("normal_class: 0}", "normal_class: 0, defects_per_class: 2}"))
    (root / "dvc.yaml").write_text(json.dumps(one_stage(read_yaml(ROOT / "dvc.yaml"))))
    (root / "gauge.py").write_text(STAGES_IN_ONE)
    monkeypatch.chdir(root)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    dvc = [sys.executable, "-m", "dvc"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PATH": path}
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run([*dvc, "init", "--quiet"], check=True)
    subprocess.run([*dvc, "config", "core.analytics", "false"], check=True)
    subprocess.run(["git", "add", "."], check=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, "commit", "--quiet", "--message", "one"], check=True)
    subprocess.run([*dvc, "repro", "prepare@digit_8"], check=True, env=environment)
    other = outputs(root, "prepare@digit_8")
    capfd.readouterr()
    assert accept(*files[2:], json=True) == 0
    made = answer(capfd)
    assert made["before"]["n_groups"] + 2 == made["after"]["n_groups"] == 38
    assert made["after"]["threshold"] > made["before"]["threshold"]
    assert made["after"]["n_accepted_rejected"] < made["before"]["n_accepted_rejected"] == 2
    assert read_json(root / "metrics/prepare/digit_0.json")["n_accepted"] == 2
    with_them = outputs(root, "gauge@digit_0")

    assert main(["accept", "--roll-back", made["acceptance"]["id"], "--by", "Bob", "--json"]) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)["after"] == made["before"]
    assert "Stage 'gauge@digit_0' is cached - skipping run, checking out outputs" in captured.err
    without = outputs(root, "gauge@digit_0")
    assert set(without) == set(with_them)
    assert without["bundles/digit_0"] != with_them["bundles/digit_0"]
    assert made["before"]["n_fit"] == read_json(root / "metrics/prepare/digit_0.json")["n_fit"]

    subprocess.run([*dvc, "repro", "prepare@digit_8"], check=True, env=environment)
    assert "Running stage 'prepare@digit_8'" in capfd.readouterr().out  # looked at again, and found the same
    assert outputs(root, "prepare@digit_8") == other
