"""Which files of a hot folder are given out, when, and what that costs where many stay."""

import os
import sys

import pytest

from gonogo.errors import DataError
from gonogo.line import hot_folder
from gonogo.line.hot_folder import LISTED_AGAIN, N_LOOKED_AT, HotFolder
from gonogo.line.inputs import Stamp, items


def watching(folder, **options):
    now = [0.0]
    return now, HotFolder(folder, settle=2.0, without=set(), clock=lambda: now[0], **options)


def test_a_file_is_given_out_once_and_not_before_it_has_stopped_growing(tmp_path):
    now, hot = watching(tmp_path)
    given = []
    for second, size in enumerate([10, 20, 30, 30, 30, 30, 30]):
        now[0] = float(second)
        if second < 3:
            (tmp_path / "a.png").write_bytes(b"." * size)
        given += [(second, item.path.name) for item in hot.complete()]
        assert hot.waiting is (second < 4)
    assert given == [(4, "a.png")]


def test_a_file_that_is_written_anew_is_given_out_again_and_so_is_one_in_the_place_of_one_that_went(tmp_path):
    now, hot = watching(tmp_path)
    part = tmp_path / "sub" / "a.png"

    def given_after(seconds):
        list(hot.complete())
        now[0] += seconds
        return [item.within.as_posix() for item in hot.complete()]

    part.parent.mkdir()
    part.write_bytes(b"1")
    assert given_after(2) == ["sub/a.png"]
    assert given_after(2) == []
    part.write_bytes(b"22")
    assert given_after(1.9) == []
    assert given_after(0.1) == ["sub/a.png"]
    hot.forget(part)
    assert given_after(2) == ["sub/a.png"]


def test_hidden_files_and_other_suffixes_are_left_alone_and_a_folder_that_is_not_there_is_refused(tmp_path):
    for name in (".a.png", "a.png.partial", "a.txt"):
        (tmp_path / name).write_bytes(b"1")
    now, hot = watching(tmp_path)
    assert list(hot.complete()) == []
    now[0] = 9.0
    assert list(hot.complete()) == []
    with pytest.raises(DataError, match="is not a folder"):
        watching(tmp_path / "none")


def given(hot, now, seconds=0.0):
    now[0] += seconds
    return [(item.within.as_posix(), item.error) for item in hot.complete()]


def test_a_folder_that_comes_and_goes_stops_nothing_and_its_files_are_given_out(tmp_path):
    now, hot = watching(tmp_path)
    for turn in range(5):
        folder = tmp_path / f"t{turn}"
        folder.mkdir()
        (folder / "a.png").write_bytes(b"1")
        assert given(hot, now) == []
        assert given(hot, now, 2) == [(f"t{turn}/a.png", None)]
        (folder / "a.png").unlink()
        folder.rmdir()
    assert given(hot, now, 9) == []


def test_a_subfolder_that_vanishes_between_its_listing_and_the_look_into_it_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    (tmp_path / "z.png").write_bytes(b"1")
    now, hot = watching(tmp_path)
    listing = hot_folder.list_folder

    def racing(folder, skipped):
        found = listing(folder, skipped)
        if folder == tmp_path and (tmp_path / "gone").exists():
            (tmp_path / "gone").rmdir()
        return found

    monkeypatch.setattr(hot_folder, "list_folder", racing)
    assert given(hot, now) == []
    assert given(hot, now, 2) == [("z.png", None)]


@pytest.fixture
def locked(monkeypatch):
    """Folders that cannot be listed for as long as they are in this set; root could list those of the disk."""
    refused = set()
    listing = hot_folder.list_folder

    def refusing(folder, skipped):
        if folder.name in refused:
            raise PermissionError(13, "Permission denied", str(folder))
        return listing(folder, skipped)

    monkeypatch.setattr(hot_folder, "list_folder", refusing)
    return refused


def test_a_folder_that_cannot_be_listed_is_one_error_for_as_long_as_that_lasts(tmp_path, locked):
    for name in ("secret/a.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    locked.add("secret")
    now, hot = watching(tmp_path)
    error = ("secret", f"{tmp_path / 'secret'} cannot be listed: Permission denied")
    assert given(hot, now) == [error]
    assert given(hot, now, 2) == [("b.png", None)]
    assert [given(hot, now, 9) for _ in range(3)] == [[], [], []]
    locked.clear()
    assert given(hot, now) == []
    assert given(hot, now, 2) == [("secret/a.png", None)]
    locked.add("secret")
    assert given(hot, now, LISTED_AGAIN) == [error]


def test_while_the_hot_folder_itself_is_away_nothing_is_forgotten(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"1")
    now, hot = watching(folder)
    assert given(hot, now) == []
    assert given(hot, now, 2) == [("a.png", None)]
    folder.rename(tmp_path / "away")
    assert given(hot, now, 2) == []
    assert hot.outage == "No such file or directory"
    (tmp_path / "away").rename(folder)
    (folder / "b.png").write_bytes(b"1")
    assert given(hot, now) == []
    assert hot.outage is None
    assert given(hot, now, 2) == [("b.png", None)]


def test_what_is_no_regular_file_is_one_error_and_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"1")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.jpg")
    now, hot = watching(tmp_path)
    errors = given(hot, now)
    assert [name for name, _ in errors] == ["broken.png", "fifo.png", "zero.png"]
    assert all("is no regular file" in error for _, error in errors)
    assert given(hot, now, 2) == [("a.jpg", None), ("link.png", None)]
    assert [given(hot, now, 9) for _ in range(3)] == [[], [], []]


def test_a_file_that_cannot_be_looked_at_is_one_error_until_it_can(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"1")
    now, hot = watching(tmp_path)
    with monkeypatch.context() as refusing:

        def refuse(_):
            raise PermissionError(13, "Permission denied")

        refusing.setattr(Stamp, "of", refuse)
        ((name, error),) = given(hot, now)
        assert (name, "Permission denied" in error) == ("a.png", True)
        assert given(hot, now, 9) == []
    assert given(hot, now) == []
    assert given(hot, now, 2) == [("a.png", None)]


@pytest.mark.parametrize("n_files", [N_LOOKED_AT + 1, 4 * N_LOOKED_AT])
def test_a_look_costs_the_same_however_many_files_stay(n_files, tmp_path, monkeypatch):
    for number in range(n_files):
        (tmp_path / f"{number:05d}.png").write_bytes(b"1")
    now, hot = watching(tmp_path)
    hot.complete()
    now[0] += 2
    assert len(hot.complete()) == n_files
    now[0] += LISTED_AGAIN
    hot.complete()
    stamps, listings = [], []
    of, listing = Stamp.of, hot_folder.list_folder
    monkeypatch.setattr(Stamp, "of", lambda path: stamps.append(path) or of(path))
    monkeypatch.setattr(hot_folder, "list_folder", lambda *folder: listings.append(folder) or listing(*folder))
    for _ in range(20):
        now[0] += 0.2
        assert hot.complete() == []
    assert len(stamps) == 20 * N_LOOKED_AT
    assert len(set(stamps)) == n_files  # each has its turn
    assert listings == []
    (tmp_path / "new.png").write_bytes(b"1")
    hot.complete()
    now[0] += 2
    assert [item.path.name for item in hot.complete()] == ["new.png"]


def test_of_many_files_one_that_was_written_again_is_found_in_its_turn(tmp_path):
    for number in range(3 * N_LOOKED_AT):
        (tmp_path / f"{number:05d}.png").write_bytes(b"1")
    now, hot = watching(tmp_path)
    hot.complete()
    now[0] += 2
    hot.complete()
    (tmp_path / "00007.png").write_bytes(b"22")
    found = [name for _ in range(20) for name, _ in given(hot, now, 1)]
    assert found == ["00007.png"]


def test_what_is_remembered_does_not_grow_with_the_files_that_went(tmp_path):
    now, hot = watching(tmp_path)
    for _ in range(50):
        (tmp_path / "snap.png").write_bytes(b"1")
        hot.complete()
        now[0] += 2
        (item,) = hot.complete()
        item.path.unlink()
        hot.forget(item.path)
        hot.complete()
    assert len(hot._given) <= 1


def test_more_levels_of_folders_than_python_has_of_calls_are_looked_into(tmp_path):
    levels = [tmp_path / "/".join("d" * depth) for depth in range(1, sys.getrecursionlimit() + 100)]
    for level in levels:
        level.mkdir()
    (levels[-1] / "a.png").write_bytes(b"1")
    try:
        now, hot = watching(tmp_path)
        hot.complete()
        now[0] += 2
        assert [item.path for item in hot.complete()] == [levels[-1] / "a.png"]
        assert [item.path for item in items([str(tmp_path)])] == [levels[-1] / "a.png"]
    finally:
        (levels[-1] / "a.png").unlink()
        for level in reversed(levels):
            level.rmdir()
