"""README.md shows the numbers of this commit, and its marked commands are the ones that are run."""

import json
import subprocess

import pytest

import readme


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
    assert readme.command_blocks(text) == {"one": ["echo a", "echo b"]}


def test_a_mark_that_marks_nothing_is_an_error():
    with pytest.raises(ValueError, match="right before"):
        readme.command_blocks("<!-- run: lost -->\n\n```console\n$ echo a\n```\n")


def test_a_block_stops_at_its_first_failing_command(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        readme.run_block("failing", ["false | cat", f"touch {tmp_path / 'reached'}"])
    assert not (tmp_path / "reached").exists()


def test_commands_of_a_block_share_one_shell(tmp_path):
    readme.run_block("shared", [f"cd {tmp_path}", "touch here"])
    assert (tmp_path / "here").exists()


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
