"""gonogo init: what it takes for a layout, and the project that it writes."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from checkout import ROOT
from gonogo.cli.commands.init import MOST_TUNED, TUNE_MINUTES
from gonogo.cli.main import main
from gonogo.data import SOURCES
from gonogo.data.prepare.layouts import Category, categories_in
from gonogo.data.prepare.params import PrepareParams
from gonogo.data.sample import Shares
from gonogo.errors import ConfigError, DataError, PipelineError
from gonogo.images.reading import write_png
from gonogo.params import Params, read_yaml
from gonogo.project.new_project import START, START_HIDDEN, starting_files, write_project

SHARES = Shares(seed=1, calibrate=0.25, test=0.2)


def draw(folder: Path, n_images: int, *, size: tuple[int, int] = (8, 6)) -> None:
    generator = np.random.default_rng(len(folder.parts))
    for number in range(n_images):
        write_png(folder / f"{number}.png", generator.integers(0, 256, (*size, 3), dtype=np.uint8))


def named(found: list[Category]) -> list[tuple[str, str, dict[str, object], int, dict[str, int]]]:
    return [(one.name, one.source, one.options, one.n_good, one.defects) for one in found]


def test_good_parts_beside_defect_types_are_a_category(tmp_path):
    raw = tmp_path / "tiles"
    draw(raw / "good", 3)
    draw(raw / "scratch", 2)
    draw(raw / "ground_truth" / "scratch", 1)
    (one,) = categories_in(raw, SHARES)
    assert named([one]) == [("tiles", "folder", {"folder": "."}, 3, {"scratch": 2})]
    assert (one.n_masks, one.n_open, one.size) == (1, 3, (6, 8))
    assert one.sentence == (
        "tiles: layout folder, 3 good and 2 defective images (scratch 2), 1 with a mask; the first has 6 x 8 pixels"
    )


def test_an_image_that_cannot_be_read_is_listed_and_the_project_is_written(tmp_path, capsys):
    draw(tmp_path / "tiles" / "good", 3)
    draw(tmp_path / "tiles" / "chip", 1)
    (tmp_path / "tiles" / "good" / "0.png").write_bytes(b"no image")  # the first, of which the size is asked
    (tmp_path / "tiles" / "chip" / "x.jpg").write_bytes(b"")
    assert main(["init", str(tmp_path / "tiles"), "--into", str(tmp_path / "project"), "--no-tune", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["categories"]
    assert [Path(said.partition(" cannot be read")[0]).name for said in one["unreadable"]] == ["x.jpg", "0.png"]
    assert (one["n_good"], one["size"]) == (3, [6, 8])
    for number in (1, 2):
        (tmp_path / "tiles" / "good" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 3 good images can be read"):
        categories_in(tmp_path / "tiles", SHARES)


def test_several_categories_lie_below_with_other_names_for_good_parts(tmp_path):
    draw(tmp_path / "set" / "nut" / "train" / "good", 2)
    draw(tmp_path / "set" / "nut" / "test" / "good", 1)
    draw(tmp_path / "set" / "nut" / "test" / "hole", 1)
    draw(tmp_path / "big bolt" / "OK", 4)
    draw(tmp_path / ".hidden" / "good", 1)
    found = categories_in(tmp_path, SHARES)
    assert named(found) == [
        ("big_bolt", "folder", {"folder": "big bolt", "good": "OK"}, 4, {}),
        ("nut", "folder", {"folder": "set/nut"}, 3, {"hole": 1}),
    ]
    assert [one.n_open for one in found] == [4, 2]


def test_two_categories_of_one_name_are_called_by_their_place(tmp_path):
    draw(tmp_path / "a" / "nut" / "good", 1)
    draw(tmp_path / "b" / "nut" / "good", 1)
    assert [one.name for one in categories_in(tmp_path, SHARES)] == ["a_nut", "b_nut"]


def test_published_layouts_that_look_like_another_are_told_apart(tmp_path):
    for place in ("train/good", "validation/good", "test/good"):
        draw(tmp_path / "box" / place, 1)
    (tmp_path / "box" / "defects_config.json").write_text("[]")
    assert named(categories_in(tmp_path, SHARES)) == [("box", "mvtec_loco", {"folder": ".", "name": "box"}, 3, {})]


def test_coco_files_are_one_category_with_the_folder_of_their_images_and_classes_of_boxes(tmp_path, capsys):
    square = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": [], "iscrowd": 0}
    names = ["Open_Pore", "open pore"]
    for part in ("train", "test"):
        draw(tmp_path / "raw" / part / "images", 2)
        images = [{"id": n, "file_name": f"{n}.png", "width": 6, "height": 8, "extra": part} for n in range(2)]
        content = {"images": images, "annotations": [square], "categories": [{"id": 1, "name": names.pop()}]}
        (tmp_path / "raw" / part / "marks.json").write_text(json.dumps(content))
    options = {"annotations": ["test/marks.json", "train/marks.json"], "images": "images"}
    assert named(categories_in(tmp_path / "raw", SHARES)) == [
        ("raw", "coco", options, 2, {"Open_Pore": 1, "open pore": 1})
    ]
    assert main(["init", str(tmp_path / "raw"), "--into", str(tmp_path / "own"), "--no-tune"]) == 0
    assert "boxes of 1 class are labelled (open pore); prepare.task: boxes" in capsys.readouterr().out


def test_a_table_of_images_is_a_category_for_each_that_it_names(tmp_path):
    draw(tmp_path / "all", 3)
    rows = ["path,label,category", "all/0.png,good,nut", "all/1.png,good,bolt", "all/2.png,1,bolt"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    (tmp_path / "notes.csv").write_text("who,when\n")
    assert named(categories_in(tmp_path, SHARES)) == [
        ("bolt", "manifest", {"file": "list.csv", "name": "bolt"}, 1, {"anomaly": 1}),
        ("nut", "manifest", {"file": "list.csv", "name": "nut"}, 1, {}),
    ]


def test_a_folder_that_has_a_project_is_refused_with_a_few_of_its_files(tmp_path):
    draw(tmp_path / "raw" / "part" / "good", 2)
    found = categories_in(tmp_path / "raw", SHARES)
    write_project(tmp_path / "own", tmp_path / "raw", found)
    with pytest.raises(ConfigError, match=r"own has ([\w.]+, ){3}[\w.]+ and \d+ more already; name an empty folder"):
        write_project(tmp_path / "own", tmp_path / "raw", found)


def test_a_folder_with_images_alone_is_one_of_good_parts(tmp_path):
    draw(tmp_path / "line 3", 2)
    assert named(categories_in(tmp_path / "line 3", SHARES)) == [("line_3", "anomalib", {"normal_dir": "."}, 2, {})]


@pytest.mark.parametrize("name", ["01", "null", "true", "1e3", "2024-01-01", "0x1F", "off", "1_0"])
def test_a_name_that_yaml_takes_for_something_else_stays_a_name(name, tmp_path):
    draw(tmp_path / "raw" / name / "good", 2)
    write_project(tmp_path / "own", tmp_path / "raw", categories_in(tmp_path / "raw", SHARES))
    params = Params(tmp_path / "own" / "params.yaml", name)
    assert params.categories == [name]
    assert params.variant("prepare", SOURCES, PrepareParams).options["folder"] == name
    assert name in params.overrides_by_section()


@pytest.mark.parametrize(("name", "plain"), [("größe", "grosse"), ("-x-", "x"), ("a.b c", "a_b_c"), ("部品", "parts")])
def test_a_name_is_made_plain(name, plain, tmp_path):
    draw(tmp_path / name / "good", 1)
    draw(tmp_path / "other" / "good", 1)
    assert sorted(one.name for one in categories_in(tmp_path, SHARES)) == sorted([plain, "other"])


@pytest.mark.parametrize("names", [("部品", "零件"), ("a b", "a_b"), ("Nut", "nut")])
def test_two_names_that_are_one_when_made_plain_are_refused(names, tmp_path):
    for name in names:
        draw(tmp_path / name / "good", 1)
    with pytest.raises(DataError, match=f"two categories would be called .*{names[0]!r}.*{names[1]!r}"):
        categories_in(tmp_path, SHARES)


def test_a_file_whose_name_is_not_utf_8_is_refused_by_name(tmp_path):
    draw(tmp_path / "good", 2)
    (tmp_path / "good" / "0.png").rename(tmp_path / "good" / os.fsdecode(b"gr\xf6sse.png"))
    with pytest.raises(DataError, match=r"1 files have names that are not UTF-8.*'good/gr\\udcf6sse\.png'"):
        categories_in(tmp_path, SHARES)


@pytest.mark.parametrize("linked", ["good", "dent", "good/lot2"])
def test_a_folder_that_is_a_link_out_of_the_raw_folder_is_refused(linked, tmp_path):
    for folder in ("good", "dent") if linked == "good" else ("good", "dent", "good/lot2"):
        draw(tmp_path / "share" / folder if folder == linked else tmp_path / "raw" / folder, 2)
    (tmp_path / "raw" / linked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "raw" / linked).symlink_to(tmp_path / "share" / linked)
    with pytest.raises(DataError, match=f"raw/{linked} is a link to .*share/{linked}, outside of the raw folder"):
        categories_in(tmp_path / "raw", SHARES)


def test_links_that_dvc_looks_through_are_no_matter(tmp_path):
    draw(tmp_path / "share" / "good", 2)
    (tmp_path / "raw").symlink_to(tmp_path / "share")
    (tmp_path / "share" / "good" / "2.png").symlink_to(tmp_path / "share" / "good" / "1.png")
    assert [one.n_good for one in categories_in(tmp_path / "raw", SHARES)] == [3]


def test_what_has_no_layout_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        categories_in(tmp_path / "nowhere", SHARES)
    draw(tmp_path / "some", 1)
    draw(tmp_path / "others", 1)
    with pytest.raises(DataError, match="Put good parts into a folder 'good'"):
        categories_in(tmp_path, SHARES)


def test_a_layout_with_a_mistake_is_refused_with_what_its_source_says(tmp_path):
    draw(tmp_path / "train" / "good", 1)
    draw(tmp_path / "train" / "scratch", 1)
    with pytest.raises(DataError, match="expected the folder 'good' alone"):
        categories_in(tmp_path, SHARES)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project for two categories of different sources, beside its images."""
    folder = tmp_path_factory.mktemp("new")
    draw(folder / "raw" / "nut" / "good", 3)
    found = [
        *categories_in(folder / "raw", SHARES),
        Category("bolt", "manifest", {"file": "it's.csv", "name": None}, 1, 1, {}, 0, (1, 1)),
    ]
    written = write_project(folder / "own", folder / "raw", found)
    assert all((folder / "own" / name).is_file() for name in written)
    return folder / "own"


def test_its_parameters_are_those_of_the_pipeline_but_for_the_images(project):
    own, ours = read_yaml(project / "params.yaml"), read_yaml(ROOT / "params.yaml")
    assert own["categories"] == ["nut", "bolt"]
    assert (project / own["raw"]).resolve() == project.parent / "raw"
    assert own["overrides"] == {
        "nut": {"prepare": {"folder": "nut"}, "fit": {"image_size": [288, 224]}},
        "bolt": {"prepare": {"source": "manifest", "file": "it's.csv", "name": None}},
    }
    assert ours["prepare"].pop("part")
    assert own["prepare"] == ours["prepare"] | {"source": "folder"}
    assert {key: own[key] for key in ("seed", "fit", "calibrate")} == {
        key: ours[key] for key in ("seed", "fit", "calibrate")
    }
    for name in own["categories"]:
        Params(project / "params.yaml", name).variant("prepare", SOURCES, PrepareParams)


def told(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def sizes_in(project: Path) -> dict[str, object]:
    names = read_yaml(project / "params.yaml")["categories"]
    return {name: Params(project / "params.yaml", name).section("fit")["image_size"] for name in names}


def test_a_shape_that_all_images_have_is_the_sections_own(tmp_path, capsys):
    for name in ("nut", "bolt"):
        draw(tmp_path / "raw" / name / "good", 3, size=(50, 124))
    assert main(["init", str(tmp_path / "raw"), "--into", str(tmp_path / "own")]) == 0
    said = "every image is resized to 160 x 416 pixels (height x width), the shape of its images"
    assert [line for line in told(capsys) if "resized" in line] == [f"bolt: {said}", f"nut: {said}"]
    written = read_yaml(tmp_path / "own" / "params.yaml")
    assert written["fit"]["image_size"] == [160, 416]
    assert written["router"]["image_size"] == 128
    assert sizes_in(tmp_path / "own") == {"bolt": [160, 416], "nut": [160, 416]}
    assert all("fit" not in override for override in written["overrides"].values())
    lines = (tmp_path / "own" / "params.yaml").read_text().splitlines()
    assert lines[lines.index("  - 160") - 1].startswith("  image_size:                 # pixels are resized")


def test_each_category_has_its_own_shape_and_square_ones_the_sections(tmp_path):
    for name, size in {"long": (200, 25), "square": (30, 31), "wide": (50, 124)}.items():
        draw(tmp_path / "raw" / name / "good", 2, size=size)
    write_project(tmp_path / "own", tmp_path / "raw", categories_in(tmp_path / "raw", SHARES))
    assert sizes_in(tmp_path / "own") == {"long": [736, 96], "square": 256, "wide": [160, 416]}


def test_parts_of_many_sizes_get_the_median_shape_and_are_told_so(tmp_path, capsys):
    for number, width in enumerate((10, 20, 20, 40, 200)):
        draw(tmp_path / "raw" / "good" / str(number), 1, size=(20, width))
    write_png(tmp_path / "raw" / "good" / "a.png", np.zeros((20, 40, 3), np.uint8))
    (tmp_path / "raw" / "good" / "b.png").write_bytes(b"no image")  # prepare will say so
    assert main(["init", str(tmp_path / "raw"), "--into", str(tmp_path / "own")]) == 0
    (said,) = [line for line in told(capsys) if "resized" in line]
    assert said == (
        "raw: every image is resized to 224 x 320 pixels (height x width), the median shape of images of 4 sizes"
    )
    assert sizes_in(tmp_path / "own") == {"raw": [224, 320]}


def test_the_shape_is_that_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    (tmp_path / "good").mkdir()
    for number, options in enumerate([{"exif": exif}, {}]):
        stored = Image.new("RGB", (30, 60) if options else (60, 30))
        stored.save(tmp_path / "good" / f"{number}.jpg", **options)
    (one,) = categories_in(tmp_path, SHARES)
    assert one.sizes == (((60, 30), 2),)
    assert one.size == (60, 30)


def test_dvc_knows_every_stage_of_it_and_needs_no_file_of_the_library(project):
    command = [sys.executable, "-m", "dvc", "stage", "list", "--all", "--name-only"]
    listed = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout.split()
    stages = ("prepare", "fit", "evaluate", "export", "parity", "robustness", "bench", "report")
    assert set(listed) == {
        *(f"{stage}@{name}" for stage in stages for name in ("nut", "bolt")),
        "code",
        "router",
        "retrieve",
        "summary",
    }
    for name, stage in read_yaml(project / "dvc.yaml")["stages"].items():
        own = [place for place in stage["deps"] if "$" not in place and not place.startswith("data/")]
        assert own == (["constraints.txt", "stages"] if name == "code" else [])
        assert all((project / place).exists() for place in own)
    assert list(read_yaml(project / "dvc.yaml")["artifacts"]) == ["gauge-nut", "gauge-bolt"]


def test_git_ignores_what_dvc_keeps_before_any_stage_has_run(project):
    """DVC would write these entries itself, but takes them back where a later stage fails."""
    paths = {name: str(path) for entry in read_yaml(project / "dvc.yaml")["vars"] for name, path in entry.items()}
    kept, tracked = [], []
    for stage in read_yaml(project / "dvc.yaml")["stages"].values():
        for out in (*stage.get("outs", []), *stage.get("plots", []), *stage.get("metrics", [])):
            name, options = (out, {}) if isinstance(out, str) else next(iter(out.items()))
            for variable, path in (*paths.items(), ("item.category", "nut")):
                name = name.replace("${" + variable + "}", path)
            (kept if options.get("cache", True) else tracked).append(name)
    assert len(kept) > 8
    assert len(tracked) > 8
    check = ["git", "check-ignore", "--no-index", *kept, *tracked]
    ignored = subprocess.run(check, cwd=project, check=True, capture_output=True, text=True).stdout.splitlines()
    assert ignored == kept


def test_the_version_of_gonogo_is_one_of_its_pins(project):
    assert (project / "constraints.txt").read_text().startswith("gonogo==0.1.0\n")


def test_a_new_repository_has_its_first_commit_with_all_of_it(project):
    def git(*words):
        return subprocess.run(["git", *words], cwd=project, check=True, capture_output=True, text=True).stdout

    assert git("log", "--format=%s").splitlines() == ["Start a project of gonogo"]
    assert git("status", "--short") == ""
    assert "stages/fit.py" in git("ls-files").splitlines()


def test_its_history_of_acceptances_begins_as_ours(project):
    ours = (ROOT / "data/accepted.jsonl").read_text()
    assert (project / "data/accepted.jsonl").read_text() == ours.splitlines(keepends=True)[0]


def test_nothing_that_is_there_is_written_over(project, capsys):
    (project / "README.md").write_text("mine")
    assert main(["init", str(project.parent / "raw"), "--into", str(project)]) == 3
    assert "has constraints.txt, " in capsys.readouterr().err
    assert (project / "README.md").read_text() == "mine"


def test_a_project_among_its_own_images_is_refused(tmp_path, capsys):
    draw(tmp_path / "good", 1)
    assert main(["init", str(tmp_path), "--into", str(tmp_path / "own")]) == 3
    assert "results would count as images" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


def test_a_project_in_a_folder_of_another_repository_is_a_project_of_dvc_there(tmp_path, capsys, monkeypatch):
    subprocess.run(["git", "init", "--quiet", tmp_path / "all"], check=True)
    first = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "first"]
    subprocess.run(["git", *first], cwd=tmp_path / "all", check=True)
    draw(tmp_path / "raw" / "good", 40)
    (tmp_path / "all" / "own").mkdir()
    (tmp_path / "all" / "own" / ".gitignore").write_text("notes")  # without a line's end
    monkeypatch.chdir(tmp_path / "all" / "own")
    assert main(["init", "../../raw", "--no-tune", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["categories"][0]["n_good"] == 40
    assert not Path(".git").exists()
    log = subprocess.run(["git", "log", "--format=%s"], check=True, capture_output=True, text=True).stdout
    assert log == "first\n"
    assert Path(".dvc/config").is_file()
    assert Path(".gitignore").read_text().startswith("notes\n.venv/\n")


def test_it_says_what_so_few_good_parts_certify(tmp_path, capsys):
    draw(tmp_path / "raw" / "good", 40)
    assert main(["init", str(tmp_path / "raw"), "--into", str(tmp_path / "own"), "--no-tune"]) == 0
    out = capsys.readouterr().out
    assert "raw: about 8 good parts will calibrate, which certifies at most 31.2% false alarms; 10% needs 29." in out
    assert f"  cd {tmp_path / 'own'}\n  dvc repro\n" in out


@pytest.mark.parametrize(
    ("n_categories", "n_tuned", "stated"), [(2, 2, []), (2, 2, ["--verdict-ms", "12"]), (MOST_TUNED + 1, 0, [])]
)
def test_a_new_project_has_the_options_that_two_minutes_find(
    n_categories, n_tuned, stated, tmp_path, capsys, monkeypatch
):
    given = []

    def tuned(project, category, **wanted):
        given.append((project, category, wanted))
        if category == "b":
            raise DataError("too few good parts")
        return {"sentences": [f"{category}: chosen"]}, []

    monkeypatch.setattr("gonogo.cli.commands.tune.tuned", tuned)
    for name in "abcdefgh"[:n_categories]:
        draw(tmp_path / "raw" / name / "good", 2)
    assert main(["init", str(tmp_path / "raw"), "--into", str(tmp_path / "own"), *stated]) == 0
    out = capsys.readouterr().out
    assert [category for _, category, _ in given] == list("ab")[:n_tuned]
    assert all(wanted["write"] and wanted["minutes"] * n_categories == TUNE_MINUTES for *_, wanted in given)
    assert {wanted["verdict_ms"] for *_, wanted in given} <= {12.0 if stated else None}
    assert (
        ("a: chosen" in out)
        == ("b keeps the common options, since no search was possible: too few" in out)
        == bool(n_tuned)
    )
    assert ("5 categories keep the common options; gonogo tune CATEGORY" in out) == (not n_tuned)


def test_a_validation_set_calibrates_and_what_it_certifies_is_said(tmp_path, capsys):
    for place, n_images in (("train/good", 40), ("val/good", 11), ("test/good", 2)):
        draw(tmp_path / "raw" / place, n_images)
    assert main(["init", str(tmp_path / "raw"), "--into", str(tmp_path / "own"), "--no-tune"]) == 0
    assert (
        "raw: about 11 good parts will calibrate, which certifies at most 23.8% false alarms" in capsys.readouterr().out
    )


def test_an_installation_has_all_that_a_project_starts_from():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    installed = {
        path.relative_to(ROOT): Path(place).relative_to("share/gonogo") / path.name
        for place, patterns in listed.items()
        for pattern in patterns
        for path in ROOT.glob(pattern)
    }
    needed = {
        path.relative_to(ROOT) for pattern in (*START, *START_HIDDEN) for path in ROOT.glob(pattern) if path.is_file()
    }
    assert set(installed) == needed
    assert all(source == target for source, target in installed.items())


@pytest.mark.parametrize("place", ["prefix", "lib"])  # of an environment, of pip --target
def test_without_a_checkout_it_starts_from_what_was_installed(place, tmp_path, monkeypatch):
    monkeypatch.setattr("gonogo.__file__", str(tmp_path / "lib" / "gonogo" / "__init__.py"))
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path / "prefix"))
    with pytest.raises(PipelineError, match="install it anew"):
        starting_files()
    share = tmp_path / place / "share" / "gonogo"
    (share / "stages").mkdir(parents=True)
    shutil.copy(ROOT / "dvc.yaml", share)
    assert starting_files() == share
