"""Images that a list names: JSON lines, and a category's data set by index."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from checkout import ROOT
from gonogo.cli.main import main
from gonogo.errors import DataError, ImageError
from gonogo.files import sha256_of
from gonogo.images.dataset import Dataset
from gonogo.inference.scorer import Scorer
from gonogo.line.inputs import pixels_of
from gonogo.line.listed import batch_items, dataset_items
from hot_folders import parts, rows_of  # noqa: F401

# ruff: noqa: F811  fixtures are imported, and then named


def test_a_batch_names_images_and_what_it_says_of_each_stands_in_its_row(bundle, parts, tmp_path, capsys):
    (tmp_path / "lot").mkdir()
    shutil.copy(parts[0], tmp_path / "lot/a b.png")
    lines = [
        json.dumps({"path": "lot/a b.png", "serial": "0042", "lot": 7}),
        "",
        json.dumps(str(parts[1])),
        "no JSON",
        json.dumps({"file": "x.png"}),
        json.dumps({"path": "missing.png", "serial": "0043"}),
    ]
    batch = tmp_path / "batch.jsonl"
    batch.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    out = tmp_path / "rows.jsonl"
    assert main(["score", str(bundle), "--batch", str(batch), "--out", str(out), "--json"]) == 3
    counts = json.loads(capsys.readouterr().out)
    assert (counts["n_files"], counts["n_errors"], counts["n_rejected"]) == (5, 3, 1)
    rows = rows_of(out)
    assert [Path(row["file"]).name for row in rows] == [
        "a b.png", parts[1].name, "batch.jsonl, line 4", "batch.jsonl, line 5", "missing.png"
    ]  # fmt: skip
    assert [row.get("given") for row in rows] == [{"serial": "0042", "lot": 7}, None, None, None, {"serial": "0043"}]
    assert rows[0]["score"] == pytest.approx(Scorer(bundle).score_image(parts[0]).score, rel=1e-6)
    assert "expected an object with the key path" in rows[3]["error"]
    main(["score", str(bundle), "--batch", str(batch), "--out", str(out), "--json"])
    assert json.loads(capsys.readouterr().out)["n_new"] == 0
    main(["score", str(bundle), "--batch", str(batch), "--csv", str(tmp_path / "rows.csv")])
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        given = [row["given"] for row in csv.DictReader(file)]
    assert [json.loads(text) if text else None for text in given] == [row.get("given") for row in rows]


def test_a_batch_that_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read as a batch"):
        list(batch_items(tmp_path / "none.jsonl"))
    for text in ("", "\n \n"):
        (tmp_path / "empty.jsonl").write_text(text)
        with pytest.raises(DataError, match="has no line"):
            list(batch_items(tmp_path / "empty.jsonl"))


def test_an_image_of_a_data_set_is_named_by_its_index_and_none_names_all_of_test(digits):
    (one,) = dataset_items(digits, [3])
    assert (one.path, one.given["index"]) == (digits.path_of(digits.records[3]), 3)
    assert one.given["defect_type"] == digits.records[3].defect_type
    tested = list(dataset_items(digits, []))
    assert [item.path for item in tested] == [digits.path_of(record) for record in digits.with_role("test")]
    for wrong in (-1, len(digits.records)):
        with pytest.raises(DataError, match=f"has the indexes 0 to {len(digits.records) - 1}; got {wrong}"):
            list(dataset_items(digits, [wrong]))


def test_a_raw_file_that_changed_since_prepare_is_an_error_and_no_verdict(digits, tmp_path):
    records = digits.records[:2]
    for record in records:
        shutil.copy(digits.path_of(record), tmp_path / Path(record.path).name)
    kept = [
        replace(record, path=f"raw/{Path(record.path).name}", sha256=sha256_of(tmp_path / Path(record.path).name))
        for record in records
    ]
    shutil.copy(tmp_path / Path(records[1].path).name, tmp_path / Path(records[0].path).name)
    changed, same = dataset_items(Dataset(tmp_path, tmp_path, tuple(kept)), [0, 1])
    assert pixels_of(same).shape[2] == 3
    with pytest.raises(ImageError, match="changed since the prepare stage saw it"):
        pixels_of(changed)


def test_the_command_finds_the_data_set_of_the_project(bundle, digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("vars:\n- prepared: data/prepared\n")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/prepared").mkdir()
    (tmp_path / "data/prepared/digit_0").symlink_to(digits.folder, target_is_directory=True)
    main(["score", str(bundle), "--from", "digit_0", "--index", "3", "--index", "0", "--json"])
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [row["given"]["index"] for row in rows] == [3, 0]
    scorer = Scorer(bundle)
    for row, record in zip(rows, (digits.records[3], digits.records[0]), strict=True):
        assert row["score"] == pytest.approx(scorer.score_image(digits.path_of(record)).score, rel=1e-6)
    with pytest.raises(SystemExit) as ended:
        main(["score", str(bundle), "--from", "digit0"])
    assert ended.value.code == 2
    assert "no category 'digit0'; did you mean digit_0? choose one of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.png", "--batch", "b.jsonl"], "expected one of PATH ..., --batch FILE, --from CATEGORY"),
        (["--from", "brick", "--batch", "b.jsonl"], "and --watch DIR, got several"),
        ([], "and --watch DIR, got none"),
        (["--index", "3"], "--index needs --from"),
        (["x.png", "--index", "3"], "--index needs --from"),
    ],
)
def test_images_are_named_in_one_way(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["score", "BUNDLE", *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
