"""What lies among images and is not read is named: how many, the first of them and where, once, at every door."""

import json
import shutil

import pytest

from gonogo.cli.main import main
from gonogo.data import source_class
from gonogo.data.sample import Shares
from gonogo.data.unused import sentences, unused_files
from gonogo.images.foreign import FOREIGN_SUFFIXES
from gonogo.images.reading import SUFFIXES
from gonogo.images.unread import SYSTEM_FOLDERS, UNREAD_SUFFIXES
from gonogo.line.hot_folder import HotFolder
from gonogo.line.inputs import items
from hot_folders import parts, rows_of, watch  # noqa: F401

# ruff: noqa: F811  fixtures are imported, and then named


@pytest.fixture
def folder(parts, tmp_path):
    """Two images in the folder "good" of a data set, another one in a folder below it."""
    made = tmp_path / "raw" / "good"
    (made / "lot").mkdir(parents=True)
    for number, place in enumerate((made, made, made / "lot")):
        shutil.copy(parts[0], place / f"{number}.png")
    return made


def at_prepare(folder):
    source = source_class("folder")(folder=".")
    samples = list(source.samples("x", folder.parent, Shares(seed=0, test=0.2, calibrate=0.2)))
    return sentences(unused_files(source, "x", folder.parent, samples))


@pytest.mark.parametrize("suffix", sorted(UNREAD_SUFFIXES))
def test_a_file_of_a_format_that_is_not_read_is_named_by_the_pipeline_and_by_the_line(folder, bundle, capsys, suffix):
    odd = folder / "lot" / f"odd{suffix.upper()}"
    odd.write_bytes(b"\1\2\3")
    (said,) = at_prepare(folder)
    assert said.startswith("1 files of formats that are not read (save them as PNG")
    assert said.endswith(f"1 in good/lot ({odd.name})")
    status = main(["score", str(bundle), str(folder), "--json"])
    told, warned = capsys.readouterr()
    report = json.loads(told)
    refused = [row["error"] for row in report["results"] if "error" in row]
    if suffix in FOREIGN_SUFFIXES:  # of a photograph: a part that would go unjudged
        assert (status, report["n_unread"], len(refused)) == (3, 0, 1)
        assert str(odd) in refused[0]
    else:
        assert (status, report["n_unread"], refused) == (0, 1, [])
        assert warned == f"gonogo: {said.replace('good/lot', str(folder / 'lot'))}\n"


def test_of_many_the_first_are_named_for_each_folder_and_a_copy_of_an_image_that_is_read_is_no_error(
    folder, bundle, capsys
):
    for name in ("0.heic", "0.raw", "a.hdr", "b.dds", "lot/c.pdf", "lot/notes.txt", "lot/Thumbs.db"):
        (folder / name).write_bytes(b"\1\2\3")
    assert main(["score", str(bundle), str(folder)]) == 0
    warned = capsys.readouterr().err
    where = f"4 in {folder} (0.heic, 0.raw, a.hdr and 1 more), 1 in {folder / 'lot'} (c.pdf)"
    assert (
        f"gonogo: 5 files of formats that are not read (save them as PNG if they are images to use): {where}" in warned
    )
    assert at_prepare(folder)[0].endswith(where.replace(str(folder), "good"))


def test_a_hot_folder_names_what_comes_once_and_what_comes_later_then(folder):
    hot = HotFolder(folder, settle=0.0, without=set())
    (folder / "a.qoi").write_bytes(b"\1")
    assert len(hot.complete()) == 3
    assert hot.unread.files == {str(folder): (1, ["a.qoi"])}
    assert hot.complete() == []
    assert not hot.unread.files
    (folder / "lot" / "b.sgi").write_bytes(b"\1")
    (folder / "elsewhere").symlink_to(folder.parent, target_is_directory=True)
    assert hot.complete() == []
    assert hot.unread.files == {str(folder / "lot"): (1, ["b.sgi"])}
    assert hot.unread.links == [str(folder / "elsewhere")]


def test_a_watch_says_it_and_counts_it(folder, bundle, tmp_path, capsys):
    (folder / "a.qoi").write_bytes(b"\1")
    assert watch(bundle, folder, "--out", tmp_path / "rows.jsonl", "--json") == 0
    told, warned = capsys.readouterr()
    assert json.loads(told)["n_unread"] == 1
    assert warned.count("1 files of formats that are not read") == 1
    assert len(rows_of(tmp_path / "rows.jsonl")) == 3


def test_a_link_to_a_folder_is_named_and_can_be_named_itself(folder, bundle, capsys):
    (folder.parent / "linked").symlink_to(folder / "lot", target_is_directory=True)
    assert main(["score", str(bundle), str(folder.parent), "--json"]) == 0
    told, warned = capsys.readouterr()
    assert len(json.loads(told)["results"]) == 3
    assert f"links to folders are not followed (name these folders themselves): {folder.parent / 'linked'}" in warned
    main(["score", str(bundle), str(folder.parent / "linked"), "--json"])
    assert len(json.loads(capsys.readouterr().out)["results"]) == 1


@pytest.mark.parametrize("name", sorted(SYSTEM_FOLDERS))
def test_thumbnails_of_a_system_are_no_parts(folder, parts, name):
    (folder / name).mkdir()
    shutil.copy(parts[0], folder / name / "SYNOPHOTO_THUMB_M.png")
    assert [item.within.name for item in items([str(folder)])] == ["0.png", "1.png", "2.png"]
    assert len(HotFolder(folder, settle=0.0, without=set()).complete()) == 3


def test_no_suffix_is_both_read_and_not():
    assert not SUFFIXES & UNREAD_SUFFIXES
    assert FOREIGN_SUFFIXES < UNREAD_SUFFIXES
