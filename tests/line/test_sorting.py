"""Files that are sorted: never one in the place of another, never a content that was not judged, none lost."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import pytest

from gonogo.cli.main import main
from gonogo.errors import DataError
from gonogo.line import inputs, score, sorting
from gonogo.line.inputs import Item, Stamp, stamp_of
from gonogo.line.journal import Journal
from gonogo.line.sorting import Sorter, rename_exclusively
from hot_folders import rows_of, watch
from processes import COMMAND_LINE, command_killed, needs_kill

SHARED_MEMORY = Path("/dev/shm")  # of Linux


@pytest.fixture(scope="module")
def parts(digits):
    """The contents of an image that the gauge passes and of one that it rejects."""
    records = digits.with_role("test")
    return [
        digits.path_of(next(record for record in records if record.label == label)).read_bytes() for label in (0, 1)
    ]


@pytest.fixture(params=["renameat2", "reserved"])
def rename(request, monkeypatch):
    """How a file system renames without replacing: by a call of its own, or over a name that was reserved before."""
    if request.param == "reserved":
        monkeypatch.setattr(sorting, "_renameat2", lambda: None)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def on_another_file_system(folder, monkeypatch):
    """Let no rename lead into the folder from outside, as if it were on a file system of its own."""
    rename = sorting.rename_exclusively

    def refusing(source, target):
        if source.is_relative_to(folder) != target.is_relative_to(folder):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target)

    monkeypatch.setattr(sorting, "rename_exclusively", refusing)


@pytest.mark.usefixtures("rename")
def test_a_rename_replaces_nothing_and_leaves_nothing_behind_where_it_fails(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        rename_exclusively(tmp_path / "a", tmp_path / "b")
    assert contents(tmp_path) == {"a": b"a", "b": b"b"}
    with pytest.raises(FileNotFoundError):
        rename_exclusively(tmp_path / "none", tmp_path / "c")
    rename_exclusively(tmp_path / "a", tmp_path / "c")
    assert contents(tmp_path) == {"b": b"b", "c": b"a"}


def move_all(worker, *, folder, reserved):
    """The work of one process: sort its files, which are called like those of the others."""
    if reserved:
        sorting._renameat2 = lambda: None
    sorter = Sorter(folder / "sorted")
    for number in range(200):
        path = folder / str(worker) / f"{number}.png"
        item = Item(str(path), path, Path(path.name))
        row = {"file": str(path), "verdict": "pass"}
        sorter.plan(row, item)
        while sorter.move(row, item.stamp) == "taken":
            sorter.plan(row, item)
        assert Path(row["moved_to"]).read_text() == f"{worker} {number}"


@pytest.mark.parametrize("reserved", [False, True])
def test_several_processes_that_sort_into_one_folder_replace_no_file(reserved, tmp_path):
    for worker in range(3):
        (tmp_path / str(worker)).mkdir()
        for number in range(200):
            (tmp_path / str(worker) / f"{number}.png").write_text(f"{worker} {number}")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(partial(move_all, folder=tmp_path, reserved=reserved), range(3), chunksize=1)
    found = sorted(path.read_text() for path in (tmp_path / "sorted/good").iterdir())
    assert found == sorted(f"{worker} {number}" for worker in range(3) for number in range(200))


@pytest.mark.usefixtures("rename")
def test_a_name_that_another_program_takes_meanwhile_is_left_to_it_and_the_last_row_says_where_the_file_is(
    bundle, parts, tmp_path, monkeypatch
):
    (tmp_path / "1.png").write_bytes(parts[0])
    out, rows = tmp_path / "sorted", tmp_path / "rows.jsonl"
    append = Journal.append

    def racing(journal, added):
        append(journal, added)
        if len(contents(out)) < 2:
            Path(added[0]["moved_to"]).write_text("of another program")

    with monkeypatch.context() as race:
        race.setattr(Journal, "append", racing)
        assert watch(bundle, tmp_path, "--sort", out, "--out", rows) == 0
    assert contents(out) == {
        "good/1.png": b"of another program",
        "good/1_2.png": b"of another program",
        "good/1_3.png": parts[0],
    }
    assert Path(rows_of(rows)[-1]["moved_to"]).read_bytes() == parts[0]
    assert watch(bundle, tmp_path, "--sort", out, "--out", rows) == 0
    assert len(contents(out)) == 3


def changes_at(step, monkeypatch, change):
    """Let the file change once at a step of the work on it."""
    changed = []

    def once():
        if not changed:
            changed.append(change())

    owner, name, is_before = {
        "before it is read": (score, "pixels_of", True),
        "after it is read": (score, "pixels_of", False),
        "before its row": (Journal, "append", True),
        "after its row": (Journal, "append", False),
        "in the moment of the move": (sorting, "rename_exclusively", True),
        "in the moment of the copy": (sorting, "_write_through", True),
        "after it was copied": (sorting, "sync_folder", False),
    }[step]
    function = getattr(owner, name)

    def around(*arguments):
        if is_before:
            once()
        result = function(*arguments)
        once()
        return result

    monkeypatch.setattr(owner, name, around)


STEPS = ["before it is read", "after it is read", "before its row", "after its row", "in the moment of the move"]
STEPS_OF_COPIES = ["in the moment of the copy", "after it was copied"]
CHANGES = ["written in place", "replaced", "written in place with its old time", "cut to its first half"]


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize(
    ("step", "copies"), [(step, False) for step in STEPS] + [(step, True) for step in (*STEPS, *STEPS_OF_COPIES)]
)
def test_what_is_judged_recorded_and_moved_is_one_content(step, copies, how, bundle, parts, tmp_path, monkeypatch):
    part, out, rows = tmp_path / "in" / "1.png", tmp_path / "sorted", tmp_path / "rows.jsonl"
    part.parent.mkdir()
    if copies:
        on_another_file_system(out, monkeypatch)
    part.write_bytes(parts[0])
    stat = part.stat()

    def change():
        if how == "replaced":
            (tmp_path / "new").write_bytes(parts[1])
            (tmp_path / "new").rename(part)
        else:
            part.write_bytes(parts[0][: len(parts[0]) // 2] if how.startswith("cut") else parts[1])
        if how.endswith("time"):
            os.utime(part, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    with monkeypatch.context() as changing:
        changes_at(step, changing, change)
        watch(bundle, part.parent, "--sort", out, "--out", rows)
    if step.endswith("is read"):
        assert len(rows_of(rows)) == 1  # of what changed before its row there is none
    found = contents(out)
    assert len(found) == 1  # it was left to the next look, and that is over
    ((place, content),) = found.items()
    assert place == {parts[1]: "reject/1.png"}.get(content, "error/1.png")
    assert list(part.parent.iterdir()) == []
    assert rows_of(rows)[-1]["moved_to"] == str(out / place)
    assert [row["moved_to"] for row in rows_of(rows)[:-1] if "moved_to" in row and Path(row["moved_to"]).exists()] == []


def test_what_is_read_must_be_the_file_that_was_found_though_its_name_leads_to_that_again(
    bundle, parts, tmp_path, monkeypatch
):
    """Another file has the name while it is read, and the one that was found has it before and after."""
    part, read = tmp_path / "in" / "1.png", inputs.read_file
    part.parent.mkdir()
    part.write_bytes(parts[0])
    (tmp_path / "other").write_bytes(parts[1])
    looked_at = Stamp.of(part)

    def reading_another(path):
        data_and_status = read(tmp_path / "other" if len(others) < 1 else path)
        others.append(path)
        return data_and_status

    others = []
    monkeypatch.setattr(inputs, "read_file", reading_another)
    watch(bundle, part.parent, "--sort", tmp_path / "sorted", "--out", tmp_path / "rows.jsonl")
    assert len(others) == 2
    assert [row["verdict"] for row in rows_of(tmp_path / "rows.jsonl")] == ["pass"]
    assert Stamp.of(tmp_path / "sorted/good/1.png").but_for_renames == looked_at.but_for_renames


def test_a_move_to_another_file_system_keeps_content_and_time_and_takes_no_name_from_another(
    bundle, parts, tmp_path, monkeypatch
):
    (tmp_path / "in").mkdir()
    out = tmp_path / "sorted"
    on_another_file_system(out, monkeypatch)
    for name, content in (("1.png", parts[0]), ("2.png", parts[1])):
        (tmp_path / "in" / name).write_bytes(content)
        os.utime(tmp_path / "in" / name, (1000, 1000))
    (out / "good").mkdir(parents=True)
    (out / "good/1.png").write_bytes(parts[0])
    assert watch(bundle, tmp_path / "in", "--sort", out, "--out", tmp_path / "rows.jsonl") == 1
    assert contents(out) == {"good/1.png": parts[0], "good/1_2.png": parts[0], "reject/2.png": parts[1]}
    assert (out / "reject/2.png").stat().st_mtime == 1000
    assert list((tmp_path / "in").iterdir()) == []


@pytest.fixture
def other_place():
    """A folder on another file system."""
    if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == Path(gettempdir()).stat().st_dev:
        pytest.skip("no second file system that is known to be there")
    with TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        yield Path(folder)


@pytest.mark.parametrize("content", ["the same", "another"])
def test_a_copy_that_a_killed_start_left_beside_its_original_is_the_file_and_gets_no_second_name(
    bundle, parts, tmp_path, monkeypatch, other_place, content
):
    part, rows = tmp_path / "in" / "1.png", tmp_path / "rows.jsonl"
    part.parent.mkdir()
    part.write_bytes(parts[0])
    with monkeypatch.context() as killed:
        killed.setattr(Sorter, "move", lambda *_, **__: 1 / 0)
        watch(bundle, part.parent, "--sort", other_place, "--out", rows)
    left = Path(rows_of(rows)[0]["moved_to"])
    left.write_bytes(parts[0] if content == "the same" else bytes(len(parts[0])))
    assert watch(bundle, part.parent, "--sort", other_place, "--out", rows) == 0
    beside = {} if content == "the same" else {"good/1_2.png": parts[0]}
    assert contents(other_place) == {"good/1.png": left.read_bytes(), **beside}
    assert list(part.parent.iterdir()) == []


def test_an_original_that_cannot_be_removed_stays_and_its_copy_does_not(tmp_path, monkeypatch):
    source = tmp_path / "1.png"
    source.write_text("judged")
    on_another_file_system(tmp_path / "s", monkeypatch)
    sorter, item = Sorter(tmp_path / "s"), Item(str(source), source, Path("1.png"))
    row = {"file": str(source), "verdict": "pass"}
    sorter.plan(row, item)
    rename = sorting.rename_exclusively

    def refusing(old, new):
        if old == source and new.parent == source.parent:
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(old, new)

    monkeypatch.setattr(sorting, "rename_exclusively", refusing)
    with pytest.raises(PermissionError):
        sorter.move(row, item.stamp)
    assert contents(tmp_path) == {"1.png": b"judged"}


@needs_kill
@pytest.mark.parametrize(("first", "at"), [("_write_through", 1), ("_moved_by_copy", 400), ("_removed", 1)])
def test_killed_in_the_midst_of_a_move_to_another_file_system_each_file_is_there_once(
    bundle, parts, tmp_path, other_place, first, at
):
    (tmp_path / "in").mkdir()
    for number in range(8):
        (tmp_path / "in" / f"{number}.png").write_bytes(parts[number % 2])
    rows = tmp_path / "rows.jsonl"
    words = ["score", str(bundle), "--watch", str(tmp_path / "in"), "--settle", "0", "--workers", "1", "--idle", "0"]
    words += ["--sort", str(other_place), "--out", str(rows)]
    killed = command_killed(COMMAND_LINE, *words, first=first, at=at)
    assert subprocess.run(killed, capture_output=True).returncode == -signal.SIGKILL
    assert watch(bundle, tmp_path / "in", "--sort", other_place, "--out", rows) in (0, 1)
    found = {name: data for name, data in contents(other_place).items() if not Path(name).name.startswith(".")}
    assert found == {f"{('good', 'reject')[number % 2]}/{number}.png": parts[number % 2] for number in range(8)}
    assert [path for path in (tmp_path / "in").iterdir() if not path.name.startswith(".")] == []


def test_what_was_replaced_in_the_moment_of_the_move_goes_back_beside_what_has_its_name_since(tmp_path, monkeypatch):
    source = tmp_path / "1.png"
    source.write_text("judged")
    sorter, item = Sorter(tmp_path / "s"), Item(str(source), source, Path("1.png"))
    row = {"file": str(source), "verdict": "pass"}
    sorter.plan(row, item)

    def replacing(old, new):
        if new.parent.name == "good":
            source.write_text("replaced")
        rename_exclusively(old, new)
        if new.parent.name == "good":
            source.write_text("newer still")

    monkeypatch.setattr(sorting, "rename_exclusively", replacing)
    assert sorter.move(row, item.stamp) == "changed"
    assert contents(tmp_path) == {"1.png": b"newer still", "1_2.png": b"replaced"}


def test_a_file_of_a_plain_folder_that_changes_while_it_is_judged_is_an_error_and_stays(
    bundle, parts, tmp_path, monkeypatch, capsys
):
    part = tmp_path / "in" / "1.png"
    part.parent.mkdir()
    part.write_bytes(parts[0])
    changes_at("after it is read", monkeypatch, lambda: part.write_bytes(parts[1]))
    assert main(["score", str(bundle), str(part.parent), "--sort", str(tmp_path / "sorted"), "--json"]) == 3
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert "was changed while it was judged" in row["error"]
    assert "moved_to" not in row
    assert part.read_bytes() == parts[1]


def test_a_file_that_cannot_be_moved_keeps_its_row_is_counted_and_stops_nothing(
    bundle, parts, tmp_path, monkeypatch, capsys
):
    for name in "123":
        (tmp_path / f"{name}.png").write_bytes(parts[0])
    rename = sorting.rename_exclusively

    def refusing(source, target):
        if source.name == "2.png":
            raise PermissionError(1, "Operation not permitted")
        rename(source, target)

    monkeypatch.setattr(sorting, "rename_exclusively", refusing)
    out = tmp_path / "sorted"
    assert watch(bundle, tmp_path, "--sort", out, "--out", tmp_path / "rows.jsonl") == 3
    assert sorted(contents(out)) == ["good/1.png", "good/3.png"]
    assert "2.png cannot be moved: Operation not permitted" in rows_of(tmp_path / "rows.jsonl")[-1]["unmoved"]
    assert "3 pass, 0 reject, 0 unreadable" in (said := capsys.readouterr().err)
    assert "1 could not be moved" in said


def test_a_folder_that_cannot_be_sorted_into_is_an_error_of_the_run(bundle, parts, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.png").write_bytes(parts[0])
    (tmp_path / "sorted").write_text("a file")
    assert watch(bundle, tmp_path / "in", "--sort", tmp_path / "sorted") == 3
    assert f"gonogo: {tmp_path / 'sorted'}" in capsys.readouterr().err
    assert contents(tmp_path / "in") == {"1.png": parts[0]}


def test_a_file_in_the_place_of_a_folder_stops_nothing(bundle, parts, tmp_path):
    out = tmp_path / "sorted"
    (tmp_path / "in/a.png").mkdir(parents=True)
    (tmp_path / "in/a.png/b.png").write_bytes(parts[0])
    (out / "good").mkdir(parents=True)
    (out / "good/a.png").write_bytes(b"an earlier one")
    assert watch(bundle, tmp_path / "in", "--sort", out) == 0
    assert contents(out) == {"good/a.png": b"an earlier one", "good/b.png": parts[0]}


@pytest.mark.parametrize("n_taken", [1, 2, 3, 100, 2000])
def test_a_name_that_is_taken_often_is_planned_with_few_looks(n_taken, tmp_path, monkeypatch):
    good = tmp_path / "good"
    good.mkdir()
    for number in range(1, n_taken + 1):
        (good / ("snap.png" if number == 1 else f"snap_{number}.png")).touch()
    (tmp_path / "snap.png").touch()
    looks = []
    lexists = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: looks.append(path) or lexists(path))
    row = {"file": "snap.png", "verdict": "pass"}
    Sorter(tmp_path).plan(row, Item("snap.png", tmp_path / "snap.png", Path("snap.png")))
    assert row["moved_to"] == str(good / f"snap_{n_taken + 1}.png")
    assert len(looks) <= 2 * n_taken.bit_length() + 2


def test_names_of_one_batch_that_are_alike_get_places_of_their_own(tmp_path):
    sorter, rows = Sorter(tmp_path / "s"), []
    for folder in "abc":
        path = tmp_path / folder / "1.png"
        path.parent.mkdir()
        path.write_text(folder)
        rows.append(({"file": str(path), "verdict": "pass"}, Item(str(path), path, Path("1.png"))))
        sorter.plan(*rows[-1])
    assert [sorter.move(row, item.stamp) for row, item in rows] == ["moved"] * 3
    assert sorted(contents(tmp_path / "s").values()) == [b"a", b"b", b"c"]


def test_a_kill_between_the_reserved_name_and_the_rename_leaves_no_empty_file(bundle, parts, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.png").write_bytes(parts[0])
    arguments = [tmp_path / "in", "--sort", tmp_path / "sorted", "--out", tmp_path / "rows.jsonl"]
    with monkeypatch.context() as killed:

        def dying(_, target):
            target.touch()
            raise ZeroDivisionError

        killed.setattr(sorting, "rename_exclusively", dying)
        assert watch(bundle, *arguments) == 5
    assert contents(tmp_path / "sorted") == {"good/1.png": b""}
    assert watch(bundle, *arguments) == 0
    assert contents(tmp_path / "sorted") == {"good/1.png": parts[0]}
    assert len(rows_of(tmp_path / "rows.jsonl")) == 1


def test_two_stamps_are_equal_for_one_file_with_one_content_alone(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = Stamp.of(tmp_path / "a")
    assert first == stamp_of(tmp_path / "a")
    shutil.copy2(tmp_path / "a", tmp_path / "b")
    assert first != stamp_of(tmp_path / "b")
    (tmp_path / "a").write_bytes(b"22")
    assert first != stamp_of(tmp_path / "a")
    assert stamp_of(tmp_path / "none") is stamp_of(None) is stamp_of(Path("a\0b")) is None


def test_a_folder_to_sort_into_that_is_removed_meanwhile_is_made_again(bundle, parts, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.png").write_bytes(parts[0])
    out = tmp_path / "sorted"
    changes_at("in the moment of the move", monkeypatch, lambda: shutil.rmtree(out / "good"))
    assert watch(bundle, tmp_path / "in", "--sort", out) == 0
    assert contents(out) == {"good/1.png": parts[0]}


def test_a_disk_that_is_full_ends_the_run_with_the_reason(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "1.png").touch()
    monkeypatch.setattr(sorting, "rename_exclusively", full)
    sorter, item = Sorter(tmp_path / "s"), Item(str(tmp_path / "1.png"), tmp_path / "1.png", Path("1.png"))
    row = {"file": str(tmp_path / "1.png"), "verdict": "pass"}
    sorter.plan(row, item)
    with pytest.raises(DataError, match="No space left on device"):
        sorter.move(row, item.stamp)
