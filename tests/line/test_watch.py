"""A hot folder, files sorted by verdict, and a webhook: each file once, whatever fails, whenever it is killed."""

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gonogo.cli.main import main
from gonogo.line.sorting import Sorter
from hot_folders import parts, rows_of, watch  # noqa: F401  parts is a fixture
from processes import COMMAND_LINE, command_killed, needs_kill, until

# ruff: noqa: F811  fixtures are imported, and then named


def below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_each_file_goes_into_the_folder_of_its_verdict_and_none_takes_the_place_of_another(bundle, parts, tmp_path):
    good, bad = parts
    out, rows = tmp_path / "sorted", tmp_path / "rows.jsonl"
    for part, name in ((good, "1.png"), (bad, "2.png"), (good, "sub/1.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(part, tmp_path / name)
    (tmp_path / "3.png").write_bytes(b"no image")
    assert watch(bundle, tmp_path, "--sort", out, "--out", rows) == 3
    assert below(out) == ["error/3.png", "good/1.png", "good/sub/1.png", "reject/2.png"]
    shutil.copy2(out / "good/1.png", tmp_path / "1.png")  # the very same, once more
    assert watch(bundle, tmp_path, "--sort", out, "--out", rows) == 0
    assert below(out) == ["error/3.png", "good/1.png", "good/1_2.png", "good/sub/1.png", "reject/2.png"]
    assert len(rows_of(rows)) == 5
    assert all(Path(row["moved_to"]).is_file() for row in rows_of(rows))
    assert [path.name for path in tmp_path.glob("*.png")] == []


def test_without_a_folder_to_sort_into_files_stay_and_have_a_row_once_over_all_starts(bundle, parts, tmp_path):
    shutil.copy(parts[1], tmp_path / "1.png")
    rows = tmp_path / "rows.jsonl"
    assert watch(bundle, tmp_path, "--out", rows) == 1
    assert watch(bundle, tmp_path, "--out", rows) == 1
    assert [row["file"] for row in rows_of(rows)] == [str(tmp_path / "1.png")]


def test_a_file_named_twice_is_judged_and_moved_once_without_a_hot_folder_too(bundle, parts, tmp_path, capsys):
    shutil.copy(parts[0], tmp_path / "1.png")
    arguments = ["score", str(bundle), str(tmp_path / "1.png"), str(tmp_path), "--sort", str(tmp_path / "s"), "--jsonl"]
    main([*arguments, "--workers", "3"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.get("moved_to") for row in found if "error" not in row] == [str(tmp_path / "s/good/1.png")]
    assert below(tmp_path) == ["s/good/1.png"]


def test_a_file_that_has_a_row_and_was_not_moved_is_moved_and_not_judged_again(bundle, parts, tmp_path, monkeypatch):
    """A kill between the row and the move, made by a move that fails."""
    shutil.copy(parts[1], tmp_path / "1.png")
    arguments = [tmp_path, "--sort", tmp_path / "s", "--out", tmp_path / "rows.jsonl"]
    with monkeypatch.context() as killed:
        killed.setattr(Sorter, "move", lambda *_: 1 / 0)
        assert watch(bundle, *arguments) not in (0, 1)
    assert (tmp_path / "1.png").is_file()
    assert watch(bundle, *arguments) == 1
    assert below(tmp_path / "s") == ["reject/1.png"]
    assert len(rows_of(tmp_path / "rows.jsonl")) == 1


def test_another_file_of_that_name_is_judged_although_the_first_was_never_moved(bundle, parts, tmp_path, monkeypatch):
    shutil.copy(parts[0], tmp_path / "1.png")
    arguments = [tmp_path, "--sort", tmp_path / "s", "--out", tmp_path / "rows.jsonl"]
    with monkeypatch.context() as killed:
        killed.setattr(Sorter, "move", lambda *_: 1 / 0)
        watch(bundle, *arguments)
    shutil.copy(parts[1], tmp_path / "1.png")
    assert watch(bundle, *arguments) == 1
    assert below(tmp_path / "s") == ["reject/1.png"]


@needs_kill
@pytest.mark.parametrize("at", [2000, 2111, 2222])
def test_killed_while_it_watches_and_started_again_every_file_is_in_one_place_with_one_row(bundle, parts, tmp_path, at):
    hot, out, rows = tmp_path / "hot", tmp_path / "sorted", tmp_path / "rows.jsonl"
    hot.mkdir()
    for number in range(150):
        shutil.copy(parts[number % 2], hot / f"{number:03d}.png")
    words = ["score", str(bundle), "--watch", str(hot), "--settle", "0"]
    words += ["--sort", str(out), "--out", str(rows), "--workers", "1"]
    killed = command_killed(COMMAND_LINE, *words, first="Line._move", at=at)
    assert subprocess.run(killed, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert 0 < len(list(hot.iterdir())) < 150
    assert watch(bundle, hot, "--sort", out, "--out", rows) == 1
    names = Counter(path.name for path in out.rglob("*.png"))
    assert names == Counter(f"{number:03d}.png" for number in range(150))
    assert Counter(Path(row["file"]).name for row in rows_of(rows)) == names
    assert len(list((out / "reject").iterdir())) == 75


@needs_kill
def test_asked_to_stop_it_ends_well_and_says_what_it_did(bundle, parts, tmp_path):
    shutil.copy(parts[1], tmp_path / "1.png")
    command = [sys.executable, "-m", "gonogo.cli.main", "score", str(bundle), "--watch", str(tmp_path), "--settle", "0"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "rows.jsonl")], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    rows = tmp_path / "rows.jsonl"
    until(lambda: rows.is_file() and rows.stat().st_size)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert said.startswith("0 pass, 1 reject, 0 unreadable")
