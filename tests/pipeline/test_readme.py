"""README.md and docs/ show the numbers of this commit, their links lead somewhere, and CI runs their commands."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import front_picture
import readme
from gonogo.calibration.regions import PixelThreshold, RegionParams, RegionRule
from gonogo.errors import ConfigError
from gonogo.images.colours import OUTLINE
from gonogo.inference.scorer import Verdict
from gonogo.params import read_yaml
from gonogo.project.settings import experiment_option
from transcripts import differences

LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def test_the_readmes_tables_are_what_the_measured_files_say():
    assert readme.main(["table"]) == 0


def test_a_changed_metric_changes_the_table():
    def changed(name: str) -> str:
        text = readme.here(name)
        return json.dumps(json.loads(text) | {"recall": 0.123}) if name == "metrics/evaluate/brick.json" else text

    before, after = (readme.results_table(read).splitlines() for read in (readme.here, changed))
    differing = [line for line, other in zip(after, before, strict=True) if line != other]
    assert len(differing) == 1
    assert "| brick |" in differing[0]
    assert "| 12.3% |" in differing[0]


def test_a_table_without_its_markers_is_an_error():
    with pytest.raises(ValueError, match="expected one"):
        readme.with_table("no markers here", "results", "table")


def test_only_the_table_between_the_markers_is_replaced():
    text = "<!-- a: begin -->\n1\n<!-- a: end -->\nbetween\n<!-- b: begin -->\n2\n<!-- b: end -->\n"
    assert readme.with_table(text, "b", "new\n") == text.replace("2\n", "new\n")


def test_commands_are_the_lines_with_a_dollar_of_marked_blocks():
    text = "```console\n$ not marked\n```\n<!-- run: one -->\n```console\n$ echo a\na\n$ echo b\n```\n"
    blocks = readme.command_blocks(text)
    assert {name: readme.commands_of(block) for name, block in blocks.items()} == {"one": ["echo a", "echo b"]}


def test_a_mark_that_marks_nothing_is_an_error():
    with pytest.raises(ValueError, match="right before"):
        readme.command_blocks("<!-- run: lost -->\n\n```console\n$ echo a\n```\n")


def test_a_block_stops_at_its_first_failing_command(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        readme.run_block("page.md", "failing", f"$ false | cat\n$ touch {tmp_path / 'reached'}\n")
    assert not (tmp_path / "reached").exists()


def test_commands_of_a_block_share_one_shell(tmp_path):
    assert readme.run_block("page.md", "shared", f"$ cd {tmp_path}\n$ touch here\n") == []
    assert (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("", None),  # a page need not show what a command prints
        ("fit 12 images\nrecall 0.8312  of  50\ndone\n", None),
        ("fit 12 images\n…\n", None),
        ("…\ndone\n", None),
        ("fit … images\nrecall 0.83… of 50\n…\n", None),
        ("fit 12 images\nrecall 0.825 of 50\ndone\n", None),  # another processor rounds differently
        ("fit 12 images\nrecall 0.8 of 50\ndone\n", "did not print 'recall 0.8 of 50', but 'recall 0.8312 of 50'"),
        ("fit 13 images\n…\n", "did not print 'fit 13 images', but 'fit 12 images'"),
        ("fit 12 images\n…\nready\n", "did not print 'ready'"),
        ("fit 12 images\ndone\n", "did not print 'done', but 'recall 0.8312 of 50'"),
        ("fit 12 images\nrecall 0.8312 of 50\n", "it also printed 'done'"),
    ],
)
def test_what_a_page_shows_is_what_its_commands_print(shown, said):
    printed = "$ fit\nloading\rfit 12 images\nrecall 0.8312 of 50\n\ndone\n$ other\nsomething\n"
    found = differences(f"$ fit\n{shown}$ other\n", printed)
    assert [said in one for one in found] == ([] if said is None else [True]), found


def test_a_block_that_shows_what_is_not_printed_fails_and_says_where(monkeypatch, capsys):
    block = "<!-- run: one -->\n```console\n$ echo 2 parts\n3 parts\n```\n"
    monkeypatch.setattr(readme, "pages", lambda: {"page.md": block})
    assert readme.main(["run", "one"]) == 1
    assert "page.md, block one: $ echo 2 parts: it did not print '3 parts', but '2 parts'" in capsys.readouterr().err


SETTING = re.compile(r"(?:-S|--set-param)[ =](?P<setting>\+?[a-z_]+\.[^\s'=]+=\S+)")
EXPERIMENTS = [
    (page.name, found["setting"])
    for page in [readme.ROOT / "README.md", *sorted((readme.ROOT / "docs").glob("*.md"))]
    for line in page.read_text().splitlines()
    if "dvc exp run" in line or "run_experiments.py" in line
    for found in SETTING.finditer(line)
]


@pytest.mark.parametrize(("page", "setting"), EXPERIMENTS)
def test_dvc_takes_each_setting_of_the_docs_with_a_plus_where_params_yaml_does_not_list_it(page, setting):
    content = read_yaml(readme.ROOT / "params.yaml")
    assert experiment_option(setting.removeprefix("+"), content) == setting, page


def test_the_docs_have_settings_to_try():
    assert len(EXPERIMENTS) > 3


def test_the_comparison_has_a_table_per_part_and_a_dash_where_a_figure_does_not_exist():
    rows = [
        {"part": part, "detector": "knn", "image_auroc": 0.5, "false_alarm_rate": 0.25, "recall": 1.0, "fit_s": 2.5}
        | {"p50_ms": 7.0, "bundle_mb": 0.25, "n_good": 4, "n_defective": 6, "commit": "0123456789ab"}
        | {"machine": {"cpu": "abacus", "threads": 2}}
        for part in ("left", "right")
    ]
    files = {"benchmarks/detectors.json": json.dumps({"rows": rows})}
    lines = readme.detectors_table(files.__getitem__).splitlines()
    assert lines[0] == "**left**: 4 good and 6 defective test images"
    assert lines.count("| `knn` | 0.500 | – | – | 25.0% | 100.0% | 2.5 s | 7.0 ms | 0.2 MB |") == 2
    assert lines[-1] == "Measured on abacus, 2 threads, commit 0123456789."


def test_the_readme_is_at_most_150_lines_long():
    assert len(readme.here("README.md").splitlines()) <= 150


def test_two_pages_with_a_block_of_one_name_are_an_error():
    text = "<!-- run: one -->\n```console\n$ echo a\n```\n"
    assert readme.blocks_of_pages({"a.md": text}) == {"one": ("a.md", "$ echo a\n")}
    with pytest.raises(ValueError, match=r"both a\.md and b\.md"):
        readme.blocks_of_pages({"a.md": text, "b.md": text})


def test_ci_runs_every_marked_block_of_readme_and_docs():
    script = readme.here(".ci/run")
    calls = re.findall(r"tools/readme\.py run ((?:[\w-]+ ?)+)", script)
    assert sorted(" ".join(calls).split()) == sorted(readme.blocks_of_pages(readme.pages()))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub and the web site give to a page's headings."""
    headings = re.findall(
        r"^#+ (.*)$", CODE.sub(lambda code: code[0] if "\n" not in code[0] else "", text), re.MULTILINE
    )
    plain = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"\s", "-", heading) for heading in plain}


def broken_links(page: Path) -> list[str]:
    """The links of a page to a file or to a heading that does not exist; addresses on the web are left out."""
    broken = []
    for match in LINK.finditer(CODE.sub("", page.read_text(encoding="utf-8"))):
        name, _, anchor = match["target"].partition("#")
        if re.match(r"\w+:", name):
            continue
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(match["target"])
    return broken


def test_every_link_in_readme_and_docs_leads_to_a_file_and_a_heading():
    pages = [readme.ROOT / "README.md", readme.ROOT / "AGENTS.md", *(readme.ROOT / "docs").rglob("*.md")]
    assert {page.name: links for page in pages if (links := broken_links(page))} == {}


def test_the_index_links_every_page_of_the_docs():
    docs = readme.ROOT / "docs"
    linked = {match["target"].partition("#")[0] for match in LINK.finditer((docs / "index.md").read_text("utf-8"))}
    pages = {path.name for path in docs.glob("*.md")} - {"index.md"}
    assert pages - linked == set()


@pytest.mark.parametrize("link", ["none.md", "b.md#nothing", "#nothing"])
def test_a_link_to_nothing_is_found(tmp_path, link):
    (tmp_path / "a.md").write_text(f"# A title: of two\n\n[x](b.md#what-it-costs) [y](#a-title-of-two) [z]({link})\n")
    (tmp_path / "b.md").write_text("# B\n\n## What it costs\n")
    assert broken_links(tmp_path / "a.md") == [link]


def record(defect_type: str, score: float, role: str = "test") -> dict[str, str]:
    return {"role": role, "defect_type": defect_type, "score": str(score), "image": f"{defect_type}{score}"}


def test_the_picture_shows_the_middle_images_by_score_and_no_best_ones():
    rows = [record("good", score) for score in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]
    rows += [record("dent", score) for score in (2.0, 9.0, 4.0)] + [record("stain", score) for score in (7.0, 8.0, 6.0)]
    rows.append(record("good", 99.0, role="calibrate"))
    assert [row["image"] for row in front_picture.choose(rows, 2)] == ["good4.0", "stain7.0"]
    assert [row["image"] for row in front_picture.choose(rows, 6)] == ["good2.0", "good5.0", "stain7.0", "dent4.0"]


def test_the_picture_shows_no_images_from_a_folder(tmp_path):
    (tmp_path / "params.yaml").write_text(
        "categories: [zero, mine, listed]\nprepare: {source: digits}\n"
        "overrides: {zero: {}, mine: {prepare: {source: folder}}, listed: {prepare: {source: manifest}}}\n"
    )
    assert front_picture.built_in(tmp_path) == ["zero"]
    with pytest.raises(ConfigError, match="built-in categories alone"):
        front_picture.read_parts(tmp_path, ["mine"])


def test_the_picture_draws_a_line_around_regions_alone():
    params = RegionParams("quantile", 1e-3, 3.0, 1.0, 0, 0, 1, None, 0.0)
    rule = RegionRule(params, PixelThreshold(1.0, "quantile", 1e-3, 1e-3, 1000, 1))
    maps = np.zeros((2, 40, 60), dtype=np.float32)
    maps[1, 10:20, 30:40] = 2.0
    parts = [
        front_picture.Part("tile", bool(peak), np.full((40, 60, 3), 128, dtype=np.uint8),
                           Verdict(peak, 1.0, peak >= 1.0, 0.5, None, False, one, rule))
        for one, peak in zip(maps, (0.0, 2.0), strict=True)
    ]  # fmt: skip
    columns = (np.asarray(front_picture.draw(parts)) == OUTLINE).all(axis=2).any(axis=0)
    middle = front_picture.LABEL + front_picture.SIDE + front_picture.GAP
    assert not columns[:middle].any()
    assert columns[middle:].any()
