"""gonogo score over many files: where names come from, where rows go, and a kill in the middle loses nothing."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from gonogo.calibration.regions import dilated
from gonogo.cli.main import main
from gonogo.errors import DataError, IntegrityError
from gonogo.images.colours import OUTLINE
from gonogo.images.reading import read_image, write_png
from gonogo.inference.gauges import OneGauge
from gonogo.inference.scorer import Scorer
from gonogo.line.inputs import Item, items
from gonogo.line.journal import Journal
from gonogo.line.outputs import COLUMNS, MAP_UNIT, Csv, Parquet, Pictures, crop_at_peak
from gonogo.line.score import Line, workers_and_threads
from hot_folders import rows_of
from processes import COMMAND_LINE, command_killed, needs_kill


def of_label(digits, label):
    return [digits.path_of(record) for record in digits.with_role("test") if record.label == label]


@pytest.fixture(scope="module")
def tree(digits, tmp_path_factory):
    """A folder of images at two depths, with a hidden one, one that is no image, and one that is broken."""
    folder = tmp_path_factory.mktemp("tree")
    good, bad = of_label(digits, 0), of_label(digits, 1)
    for place in ("b/2", "a", ".hidden"):
        (folder / place).mkdir(parents=True)
    shutil.copy(good[0], folder / "b/2/part.png")
    shutil.copy(bad[0], folder / "a/part.png")
    shutil.copy(bad[1], folder / "c.PNG")
    shutil.copy(good[1], folder / "a/.part.png")
    shutil.copy(good[1], folder / ".hidden/part.png")
    (folder / "a/notes.txt").write_text("no image")
    (folder / "a/z.png").write_bytes(b"\x89PNG")
    return folder


FOUND = ["a/part.png", "a/z.png", "b/2/part.png", "c.PNG"]


def results(out):
    return json.loads(out)["results"]


def test_a_folder_gives_its_images_at_any_depth_by_name_and_one_that_is_broken_stops_nothing(bundle, tree, capsys):
    assert main(["score", str(bundle), str(tree), "--json"]) == 3
    found = results(capsys.readouterr().out)
    assert [row["file"] for row in found] == [str(tree / name) for name in FOUND]
    scorer = Scorer(bundle)
    assert "z.png" in found[1]["error"]
    for row in (found[0], found[2], found[3]):
        assert row["score"] == pytest.approx(scorer.score_image(tree / row["file"]).score, rel=1e-6)


def test_globs_and_names_on_standard_input_give_the_same_rows_as_names(bundle, tree, monkeypatch, capsys):
    main(["score", str(bundle), str(tree / "**/part.png"), str(tree / "*.PNG"), "--json"])
    by_glob = results(capsys.readouterr().out)
    names = [str(tree / name) for name in ("a/part.png", "b/2/part.png", "c.PNG")]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(names) + "\n\n"))
    main(["score", str(bundle), "-", "--json"])
    by_stdin = results(capsys.readouterr().out)
    main(["score", str(bundle), *names, "--json", "--workers", "1"])
    assert results(capsys.readouterr().out) == by_stdin == by_glob
    assert [row["verdict"] for row in by_glob] == ["reject", "pass", "reject"]


def test_what_names_nothing_is_an_error_and_the_others_are_still_judged(bundle, tree, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    places = [str(tmp_path / "*.jpg"), str(tmp_path / "empty"), str(tmp_path / "none.png"), str(tree / "c.PNG")]
    assert main(["score", str(bundle), *places, "--json"]) == 3
    found = results(capsys.readouterr().out)
    assert [row.get("verdict", "error") for row in found] == ["error", "error", "error", "reject"]
    for row, said in zip(found, ("matches no file", "has no image in it or below", "cannot be read"), strict=False):
        assert said in row["error"]


def test_standard_input_without_a_name_is_an_error_and_not_a_pass(bundle, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["score", str(bundle), "-"]) == 3
    assert "nothing to judge" in capsys.readouterr().err


def test_json_lines_and_csv_have_what_the_one_object_has(bundle, tree, tmp_path, capsys):
    main(["score", str(bundle), str(tree), "--json"])
    expected = results(capsys.readouterr().out)
    assert main(["score", str(bundle), str(tree), "--jsonl"]) == 3
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == expected
    assert err.startswith("1 pass, 2 reject, 1 unreadable; threshold ")

    assert main(["score", str(bundle), str(tree), "--csv", str(tmp_path / "rows.csv"), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert (report["n_files"], report["n_rejected"], report["n_errors"], "results" in report) == (4, 2, 1, False)
    rows = list(csv.DictReader((tmp_path / "rows.csv").open(newline="")))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["score"] for row in rows] == ["" if "error" in row else repr(row["score"]) for row in expected]
    assert [row["n_regions"] for row in rows] == [
        "" if "error" in row else str(len(row["regions"])) for row in expected
    ]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["pore", 'Riß, "tief"', "=1+1", "'quoted", "a\nb\\u0041", "\u202erow", "\udcff"])
def test_boxes_in_a_table_are_those_of_the_row_in_json_whatever_a_class_is_called(name, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="no pyarrow: pip install 'gonogo[parquet]'")
    box = {"label": name, "x": 0.1, "y": 2.5, "width": 7.0, "height": 1 / 3, "score": 1.25, "confidence": 0.625}
    model = {"category": name, "bundle": "ab12", "threshold": 1.0}
    rows = [{"boxes": [box, box], "box_model": model, "given": {name: name}}, {"boxes": []}, {}]
    for sink in (Csv(tmp_path / "rows.csv"), Parquet(tmp_path / "rows.parquet")):
        for row in rows:
            sink.write({"file": "a.png"} | row)
        sink.close()
    cells = list(csv.DictReader((tmp_path / "rows.csv").open(newline="", encoding="utf-8")))
    values = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    for row, cell, value in zip(rows, cells, values, strict=True):
        for column in ("boxes", "box_model", "given"):
            assert (json.loads(cell[column]) if cell[column] else None) == row.get(column)
            assert (json.loads(value[column]) if value[column] is not None else None) == row.get(column)


def test_parquet_has_the_same_rows(bundle, tree, tmp_path, capsys):
    parquet = pytest.importorskip("pyarrow.parquet", reason="no pyarrow: pip install 'gonogo[parquet]'")
    main(["score", str(bundle), str(tree), "--json"])
    expected = results(capsys.readouterr().out)
    main(["score", str(bundle), str(tree), "--parquet", str(tmp_path / "rows.parquet")])
    rows = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["file"] for row in rows] == [row["file"] for row in expected]
    assert [row["score"] for row in rows] == [row.get("score") for row in expected]
    assert [row["error"] for row in rows] == [row.get("error") for row in expected]


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [("pyarrow", ["--parquet", "rows.parquet"], "gonogo[parquet]"), ("cv2", [], "gonogo[video]")],
)
def test_what_needs_an_extra_says_which(module, arguments, extra, bundle, tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(b"")
    place = "clip.mp4" if module == "cv2" else str(tree)
    assert main(["score", str(bundle), place, *arguments]) == 4
    assert extra in capsys.readouterr().err


class Capture:
    """As many grey frames as OpenCV would read; a stand-in for a camera, which no test has."""

    def __init__(self, frames):
        self.frames = iter(frames)

    def read(self):
        frame = next(self.frames, None)
        return frame is not None, frame

    def release(self):
        pass


def test_each_nth_frame_of_a_camera_is_an_image_in_rgb(monkeypatch):
    frames = [np.full((4, 5, 3), (10 * n, 0, 200), dtype=np.uint8) for n in range(5)]
    fake = type(sys)("cv2")
    opened = []
    fake.VideoCapture = lambda source: opened.append(source) or Capture(frames)
    fake.COLOR_BGR2RGB, fake.cvtColor = 4, lambda pixels, _: pixels[..., ::-1]
    monkeypatch.setitem(sys.modules, "cv2", fake)
    found = list(items(["camera:0"], every=2))
    assert opened == [0]
    assert [item.name for item in found] == ["camera:0#frame=0", "camera:0#frame=2", "camera:0#frame=4"]
    assert [item.pixels[0, 0].tolist() for item in found] == [[200, 0, 0], [200, 0, 20], [200, 0, 40]]
    assert len({item.within for item in found}) == 3
    frames.clear()
    (nothing,) = items(["camera:1"])
    assert "gives no frame" in nothing.error


def test_a_video_gives_its_frames(bundle, tmp_path, capsys):
    cv2 = pytest.importorskip("cv2", reason="no OpenCV: pip install 'gonogo[video]'")
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (32, 32))
    for level in (0, 120, 250):
        writer.write(np.full((32, 32, 3), level, dtype=np.uint8))
    writer.release()
    main(["score", str(bundle), str(tmp_path / "clip.avi"), "--json"])
    found = results(capsys.readouterr().out)
    assert [row["file"].partition("#")[2] for row in found] == ["frame=0", "frame=1", "frame=2"]
    assert len({row["score"] for row in found}) == 3


def test_pictures_show_map_mask_and_overlay_and_no_two_images_share_one(bundle, tree, tmp_path, capsys):
    folders = {name: tmp_path / name for name in ("maps", "masks", "overlays", "crops")}
    arguments = [word for name, folder in folders.items() for word in (f"--{name}", str(folder))]
    main(["score", str(bundle), str(tree), "--json", *arguments])
    found = {row["file"]: row for row in results(capsys.readouterr().out) if "error" not in row}
    assert len(found) == 3
    for folder in folders.values():
        assert len(list(folder.iterdir())) == 3
    scorer = Scorer(bundle)
    for file, row in found.items():
        verdict = scorer.score_image(tree / file)
        drawn = np.asarray(Image.open(row["map"]))
        np.testing.assert_allclose(drawn, verdict.anomaly_map / scorer.threshold * MAP_UNIT, atol=1, rtol=1e-4)
        np.testing.assert_array_equal(np.asarray(Image.open(row["mask"])) == 255, verdict.defect_mask)
        around = dilated(verdict.defect_mask, 1) & ~verdict.defect_mask
        overlay = read_image(tmp_path / row["overlay"])
        np.testing.assert_array_equal((overlay == OUTLINE).all(axis=2), around)
        np.testing.assert_array_equal(
            read_image(tmp_path / row["crop"]), crop_at_peak(read_image(tree / file), verdict)
        )
    assert any(row["regions"] for row in found.values())


def test_a_terminal_sees_a_count_where_it_sees_no_verdicts(bundle, tree, tmp_path, monkeypatch, capsys):
    for telling, shown in ((["--csv", str(tmp_path / "rows.csv")], True), ([], False), (["--jsonl"], False)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        main(["score", str(bundle), str(tree), *telling])
        assert ("4 images" in capsys.readouterr().err) is shown
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    main(["score", str(bundle), str(tree), "--csv", str(tmp_path / "rows.csv")])
    assert "4 images" not in capsys.readouterr().err


def test_images_are_asked_for_as_they_are_judged_and_rows_do_not_wait_for_them(bundle, tree):
    asked, written = [], []

    class Sink:
        def write(self, row):
            written.append(len(asked))

    found = (asked.append(n) or Item(f"{n}", tree / "c.PNG", tree) for n in range(200))
    Line(OneGauge(Scorer(bundle, threads=1)), 2, Sink(), Pictures()).run(found, threading.Event())
    assert len(written) == 200
    assert all(asked_then <= number + 4 for number, asked_then in enumerate(written))


def test_threads_are_those_asked_for_shared_by_workers_that_each_take_a_file(tree, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    one, many = [str(tree / "c.PNG")], [str(tree)]
    assert workers_and_threads(one, threads=None, workers=None) == (1, None)
    assert workers_and_threads(one, threads=3, workers=None) == (1, 3)
    assert workers_and_threads(many, threads=None, workers=None) == (6, 1)
    assert workers_and_threads(many, threads=3, workers=None) == (3, 1)
    assert workers_and_threads(many, threads=6, workers=2) == (2, 3)


USAGE = [
    [],
    ["FILE", "--watch", "DIR"],
    ["--watch", "DIR"],
    ["FILE", "--idle", "1"],
    ["FILE", "--json", "--jsonl"],
    ["FILE", "--csv", "a", "--parquet", "b"],
    ["FILE", "--out", "a", "--csv", "b"],
    ["FILE", "--webhook", "http://localhost", "--out", "a"],
    ["FILE", "--webhook", "http://localhost", "--webhook-secret-file", "a"],
    ["FILE", "--cluster"],
    ["FILE", "--cluster", "--out", "a", "--sort", "b"],
    ["FILE", "--cluster", "--out", "a", "--overlay-scale", "min-max"],
    ["FILE", "--cluster", "--out", "a", "--defect-rate", "0.1"],
    ["FILE", "--settle", "-1"],
    ["FILE", "--settle", "1"],
    ["FILE", "--index", "0"],
    ["FILE", "--overlay-scale", "min-max"],
    ["FILE", "--webhook-wait", "1"],
    ["FILE", "--every", "2"],
    ["--watch", "DIR", "--out", "a", "--every", "2"],
    ["FILE.png", "--pixels", "bgr8"],
    [".", "--pixels", "bgr8"],
    ["FILE", "--out", "a", "--webhook", "URL", "--webhook-secret-file", "b", "--webhook-only", "uncertain"],
    ["FILE", "--workers", "0"],
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_what_does_not_go_together_is_wrong_usage(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["score", "BUNDLE", *arguments])
    assert stop.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_called_again_it_judges_what_has_no_row_and_counts_all(bundle, tree, tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    assert main(["score", str(bundle), str(tree / "c.PNG"), "--out", str(out), "--json"]) == 1
    assert main(["score", str(bundle), str(tree), "--out", str(out), "--json"]) == 3
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["n_files"], first["n_new"]) == (1, 1)
    assert (second["n_files"], second["n_new"], second["n_rejected"], second["n_errors"]) == (4, 3, 2, 1)
    assert sorted(row["file"] for row in rows_of(out)) == sorted(str(tree / name) for name in FOUND)
    before = out.read_bytes()
    assert main(["score", str(bundle), str(tree), "--out", str(out), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["n_new"] == 0
    assert out.read_bytes() == before


def test_a_file_that_was_written_anew_is_judged_anew(bundle, digits, tmp_path):
    part, out = tmp_path / "part.png", tmp_path / "rows.jsonl"
    shutil.copy(of_label(digits, 0)[0], part)
    main(["score", str(bundle), str(part), "--out", str(out)])
    shutil.copy(of_label(digits, 1)[0], part)
    main(["score", str(bundle), str(part), "--out", str(out)])
    assert [row["verdict"] for row in rows_of(out)] == ["pass", "reject"]


@needs_kill
def test_killed_in_the_middle_and_called_again_every_image_has_one_row(bundle, digits, tmp_path):
    """A real kill -9 of a real process, after the first rows that it writes; then a line that a kill has torn."""
    folder, out = tmp_path / "many", tmp_path / "rows.jsonl"
    folder.mkdir()
    pixels = read_image(of_label(digits, 0)[0])
    write_png(folder / "0000.png", pixels.repeat(40, 0).repeat(40, 1))
    for number in range(1, 400):
        os.link(folder / "0000.png", folder / f"{number:04d}.png")
    words = ["score", str(bundle), str(folder), "--out", str(out)]
    killed = command_killed(COMMAND_LINE, *words, "--workers", "1", first="Line._count", at=20)
    assert subprocess.run(killed, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    n_before = len(rows_of(out))
    assert 0 < n_before < 400
    torn = out.read_bytes()
    out.write_bytes(torn[:-40])

    subprocess.run([sys.executable, "-m", "gonogo.cli.main", *words], check=True, stderr=subprocess.DEVNULL)
    files = [row["file"] for row in rows_of(out)]
    assert sorted(files) == [str(folder / f"{number:04d}.png") for number in range(400)]
    assert out.read_bytes().startswith(torn[: torn.rindex(b"\n", 0, -40) + 1])


def journalled(path, *rows, fingerprint="f"):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Journal(path, fingerprint=fingerprint)


ROW = {"file": "a.png", "key": "00" * 16, "bundle": "f", "verdict": "pass"}


def test_rows_of_another_bundle_a_damaged_line_and_a_second_start_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"rows of the bundle f, this is g"):
        journalled(tmp_path / "a", ROW, fingerprint="g")
    (tmp_path / "b").write_text(json.dumps(ROW)[:-5] + "\n" + json.dumps(ROW) + "\n")
    with pytest.raises(IntegrityError, match="line 1 is not a row"):
        Journal(tmp_path / "b", fingerprint="f")
    first = journalled(tmp_path / "c", ROW)
    with pytest.raises(DataError, match="in use by another process"):
        Journal(tmp_path / "c", fingerprint="f")
    first.close()
    Journal(tmp_path / "c", fingerprint="f").close()


@pytest.mark.parametrize("torn", [b'{"file": "b', b"\0\0\0", b'{"file": "b"}', b'{"file": "b"}\n'])
def test_a_torn_last_line_goes_and_what_follows_is_whole(torn, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(ROW).encode() + b"\n" + torn)
    journal = Journal(path, fingerprint="f")
    journal.append([ROW | {"key": "11" * 16}])
    assert [row["key"][:2] for row in rows_of(path)] == ["00", "11"]
    assert len(journal.verdicts) == 2
