"""Whatever an item is or does, it is one error in its row: the others are judged, and no start meets it for ever."""

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as runtime
from PIL import Image

from gonogo.cli.main import main
from gonogo.errors import IntegrityError
from gonogo.inference.scorer import Scorer
from gonogo.line import inputs
from gonogo.line.begun import MOST_LINES, MOST_STARTS, Begun
from gonogo.line.inputs import items
from hot_folders import rows_of
from processes import COMMAND_LINE, needs_kill, until

ODD = (13, 11)  # width and height of the image that does what no other does


@pytest.fixture(scope="module")
def good(digits):
    """The content of an image that the gauge passes."""
    return digits.path_of(next(record for record in digits.with_role("test") if not record.label)).read_bytes()


@pytest.fixture
def folder(good, tmp_path):
    """Three images, of which the second is the odd one."""
    made = tmp_path / "in"
    made.mkdir()
    for name in ("1.png", "3.png"):
        (made / name).write_bytes(good)
    Image.new("RGB", ODD, (9, 99, 199)).save(made / "2.png")
    return made


def kinds(rows):
    return {Path(row["file"]).name: row.get("verdict", "error") for row in rows}


FOUND = {"1.png": "pass", "2.png": "error", "3.png": "pass"}
RAISED = [
    MemoryError(),
    RecursionError("too deep"),
    RuntimeError("from a library"),
    runtime.RuntimeException("bad allocation"),
    PermissionError(13, "Permission denied"),
    FileNotFoundError(2, "No such file or directory"),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    IntegrityError("a score that is no number"),
    ZeroDivisionError(),
]


@pytest.mark.parametrize("raised", RAISED, ids=lambda error: type(error).__name__)
def test_what_an_item_raises_is_its_error_row(raised, bundle, folder, monkeypatch, capsys):
    judge = Scorer.score_pixels

    def odd(scorer, pixels, **how):
        if pixels.shape[2:0:-1] == ODD:
            raise raised
        return judge(scorer, pixels, **how)

    monkeypatch.setattr(Scorer, "score_pixels", odd)
    assert main(["score", str(bundle), str(folder), "--json"]) == 3
    rows = json.loads(capsys.readouterr().out)["results"]
    assert kinds(rows) == FOUND
    assert f"{folder / '2.png'} cannot be " in rows[1]["error"]


MODES = {
    "folder": lambda folder: [folder, "--out", "rows.jsonl"],
    "standard input": lambda _: ["-", "--out", "rows.jsonl"],
    "watch and journal": lambda folder: ["--watch", folder, "--settle", "0", "--idle", "0", "--out", "rows.jsonl"],
    "watch and sort": lambda folder: ["--watch", folder, "--settle", "0", "--idle", "0", "--sort", "sorted"],
    "one worker": lambda folder: [folder, "--csv", "rows.csv", "--workers", "1"],
}


@pytest.mark.parametrize("mode", MODES)
def test_so_it_is_in_every_mode(mode, bundle, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{folder / name}\n" for name in FOUND)))
    judge = Scorer.score_pixels
    monkeypatch.setattr(
        Scorer,
        "score_pixels",
        lambda scorer, pixels, **how: 1 / 0 if pixels.shape[1] == ODD[1] else judge(scorer, pixels, **how),
    )
    assert main(["score", str(bundle), *map(str, MODES[mode](folder))]) == 3
    assert "2 pass, 0 reject, 1 unreadable" in capsys.readouterr().err
    if mode == "watch and sort":
        assert sorted(path.relative_to("sorted").as_posix() for path in Path("sorted").rglob("*.*")) == [
            "error/2.png",
            "good/1.png",
            "good/3.png",
        ]


# Kills its process, or keeps it busy for ever, in the work on the odd image.
ODD_ENDS = f"""
import os, signal, sys, time
from pathlib import Path
from gonogo.inference.scorer import Scorer
judge, what = Scorer.score_pixels, sys.argv.pop(1)
def odd(scorer, pixels, **how):
    if pixels.shape[2:0:-1] == {ODD}:
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        Path(what).touch()
        while True:
            time.sleep(1)
    return judge(scorer, pixels, **how)
Scorer.score_pixels = odd
"""


def odd_ends(what, *words):
    return [sys.executable, "-c", ODD_ENDS + COMMAND_LINE, what, *map(str, words)]


@needs_kill
@pytest.mark.parametrize("kept", ["--out", "--sort"])
@pytest.mark.parametrize("watched", [True, False])
def test_an_item_that_ends_the_process_is_given_up_and_all_others_are_judged_once(
    kept, watched, bundle, folder, tmp_path
):
    place = tmp_path / ("rows.jsonl" if kept == "--out" else "sorted")
    source = ["--watch", folder, "--settle", "0", "--idle", "0"] if watched else [folder]
    command = odd_ends("kill", "score", bundle, *source, kept, place, "--jsonl" if kept == "--sort" else "--json")
    ends = [
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        for _ in range(MOST_STARTS + 2)
    ]
    later = 0 if watched and kept == "--sort" else 3  # once it lies in the folder error/, nothing is left
    assert ends == [-signal.SIGKILL] * MOST_STARTS + [3, later]
    if kept == "--out":
        assert kinds(rows_of(place)) == FOUND
        assert Counter(row["file"] for row in rows_of(place)).most_common(1)[0][1] == 1
        assert "ended 3 times" in next(row["error"] for row in rows_of(place) if "error" in row)
        assert not (tmp_path / "rows.jsonl.begun").exists()
    else:
        assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()) == [
            "error/2.png",
            "good/1.png",
            "good/3.png",
        ]


def test_a_start_that_ends_in_an_orderly_way_leaves_no_suspicion(tmp_path):
    path = tmp_path / "begun"
    Begun(path).begin("of a kill")
    for n_before in (1, 0, 0, 0):
        begun = Begun(path)
        assert (begun.n_ended("of a kill"), begun.n_ended("aa")) == (n_before, 0)
        begun.begin("aa")
        begun.close()
        assert not path.exists()


def test_only_what_has_no_row_is_suspected_and_only_until_it_has_one(tmp_path):
    path = tmp_path / "begun"
    for n_before in range(3):
        begun = Begun(path)  # and never closed, as a kill leaves it
        assert (begun.n_ended("aa"), begun.n_ended("bb")) == (n_before, 0)
        begun.begin("aa")
        begun.begin("bb")
        begun.done(["bb"])
    begun = Begun(path)
    begun.begin("aa")
    begun.done(["aa"])
    begun.close()
    assert Begun(path).n_ended("aa") == 0


def test_the_file_of_what_is_in_work_stays_small(tmp_path):
    path = tmp_path / "begun"
    begun = Begun(path)
    begun.begin("stays")
    largest = 0
    for number in range(3 * MOST_LINES):
        begun.begin(f"{number:032x}")
        begun.done([f"{number:032x}"])
        largest = max(largest, path.stat().st_size) if number % 1000 == 0 else largest
    assert largest < 40 * MOST_LINES
    assert Begun(path).n_ended("stays") == 1


@needs_kill
def test_asked_to_stop_it_ends_although_an_item_is_in_work_and_the_next_start_judges_the_others(
    bundle, folder, tmp_path
):
    busy, rows = tmp_path / "busy", tmp_path / "rows.jsonl"
    words = ["score", bundle, "--watch", folder, "--settle", "0", "--out", rows, "--workers", "1"]
    process = subprocess.Popen(odd_ends(busy, *words), stderr=subprocess.PIPE, text=True)
    until(busy.exists)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "was given up, and the next start judges it" in said
    assert main([*map(str, words), "--idle", "0"]) in (0, 1)
    assert set(kinds(rows_of(rows))) == set(FOUND)


def test_a_photograph_of_a_format_that_is_not_read_has_a_row_unless_it_lies_there_in_another(good, tmp_path):
    for name in ("1.png", "1.heic", "1.NEF", "2.HEIC", "3.jp2", "notes.txt", "4.npy"):
        (tmp_path / name).write_bytes(good)
    assert [item.within.name for item in items([str(tmp_path)])] == ["1.png", "2.HEIC", "3.jp2"]


def test_of_a_folder_what_cannot_be_read_is_an_error_in_its_place(bundle, good, tmp_path, monkeypatch, capsys):
    for name in ("b/g.png", "a_secret/h.png", "gone/i.png", "z.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(good)
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    listing = inputs.list_folder

    def refusing(folder, skipped):
        if folder.name == "a_secret":
            raise PermissionError(13, "Permission denied")
        if folder.name == "gone":
            raise FileNotFoundError(2, "No such file or directory")
        return listing(folder, skipped)

    monkeypatch.setattr(inputs, "list_folder", refusing)
    assert main(["score", str(bundle), str(tmp_path), "--json"]) == 3
    rows = json.loads(capsys.readouterr().out)["results"]
    assert {Path(row["file"]).name: row.get("error") for row in rows} == {
        "a_secret": f"{tmp_path / 'a_secret'} cannot be listed: Permission denied",
        "g.png": None,
        "fifo.png": f"{tmp_path / 'fifo.png'} cannot be read as an image: it is no regular file",
        "z.png": None,
        "zero.png": f"{tmp_path / 'zero.png'} cannot be read as an image: it is no regular file",
    }


@pytest.mark.parametrize("name", ["a" * 5000, "a/" * 3000, "no\0name.png", "[", "", "\udcff.png", "z.png/b.png"])
def test_a_name_that_names_nothing_is_one_item_with_an_error(name, bundle, good, tmp_path, monkeypatch, capsys):
    (tmp_path / "z.png").write_bytes(good)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{name}\nz.png\n"))
    assert main(["score", str(bundle), "-", "--json"]) == (3 if name else 0)
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [row.get("verdict", "error") for row in rows] == [*(["error"] if name else []), "pass"]


def test_names_on_standard_input_end_with_a_line_end_and_may_have_any_other_byte(monkeypatch):
    names = [b"cr\r.png", b"\xff.png", b"windows.png", "größe.png".encode()]
    piped = io.TextIOWrapper(io.BytesIO(b"\n".join(names).replace(b"windows.png", b"windows.png\r") + b"\n"))
    monkeypatch.setattr(sys, "stdin", piped)
    assert [os.fsencode(item.name) for item in items(["-"])] == names


@pytest.mark.parametrize("place", ["/dev/full", "/dev/zero", "fifo", "folder"])
def test_a_journal_that_is_no_regular_file_is_refused_and_not_read(place, bundle, folder, tmp_path, capsys):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    assert main(["score", str(bundle), str(folder), "--out", str(tmp_path / place)]) == 3
    assert "is no regular file" in capsys.readouterr().err


def test_a_video_that_breaks_off_gives_the_frames_before_and_an_error(monkeypatch):
    fake = type(sys)("cv2")
    fake.error = type("error", (Exception,), {})

    class Capture:
        n_read = 0

        def read(self):
            self.n_read += 1
            if self.n_read > 2:
                raise fake.error("damaged")
            return True, [[0]]

        def release(self):
            pass

    fake.VideoCapture = lambda _: Capture()
    fake.COLOR_BGR2RGB, fake.cvtColor = 4, lambda pixels, _: pixels
    monkeypatch.setitem(sys.modules, "cv2", fake)
    found = list(items(["camera:0"]))
    assert [item.error is None for item in found] == [True, True, False]
    assert "cannot be read from frame 2 on" in found[2].error
