"""A number in the docs agrees with its file, or its section states what else it is."""

import json

import pytest

import doc_numbers

FILES = {
    "metrics/a.json": json.dumps({"recall": 0.7404, "n": 1234, "name": "x", "passed": True}),
    "benchmarks/b.json": json.dumps({"rows": [{"part": "nut", "n": 1, "s": 2.5}, {"part": "nut", "n": 2, "s": 3.0}]}),
}


def read(name: str) -> str:
    try:
        return FILES[name]
    except KeyError as error:
        raise FileNotFoundError(name) from error


def errors_in(text: str) -> list[str]:
    return list(doc_numbers.complaints("page.md", text, read, lambda commit: commit == "0123abc"))


def test_every_number_of_the_projects_own_pages_holds():
    assert doc_numbers.main([]) == 0


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("0.74<!-- = metrics/a.json recall -->", True),
        ("0.75<!-- = metrics/a.json recall -->", False),
        ("74.0 %<!-- = metrics/a.json recall -->", True),
        ("74%<!-- = metrics/a.json recall -->", True),
        ("73%<!-- = metrics/a.json recall -->", False),
        ("1,234<!-- = metrics/a.json n --> images", True),
        ("1234<!-- = metrics/a.json n --> images", True),
        ("1,235<!-- = metrics/a.json n --> images", False),
        ("3.0<!-- = benchmarks/b.json part=nut n=2 s --> s", True),
        ("2.5<!-- = benchmarks/b.json part=nut n=2 s --> s", False),
    ],
)
def test_a_tied_number_must_be_the_files_with_as_many_digits(text, right):
    assert (errors_in(text) == []) is right


def test_writing_puts_the_files_values_in_place_and_nothing_else():
    text = "a 0.1<!-- = metrics/a.json recall --> b 9 %<!-- = metrics/a.json recall --> c 0.1"
    expected = "a 0.7<!-- = metrics/a.json recall --> b 74 %<!-- = metrics/a.json recall --> c 0.1"
    assert doc_numbers.refreshed(text, read) == expected


@pytest.mark.parametrize(
    ("tie", "message"),
    [
        ("metrics/none.json recall", "metrics/none.json cannot be read"),
        ("metrics/a.json recal", "has no number at recal"),
        ("metrics/a.json name", "has no number at name"),
        ("metrics/a.json passed", "has no number at passed"),
        ("benchmarks/b.json part=nut s", "has 2 rows with part=nut"),
        ("benchmarks/b.json part=bolt s", "has 0 rows with part=bolt"),
    ],
)
def test_a_tie_to_a_missing_value_is_an_error(tie, message):
    assert [message in sentence for sentence in errors_in(f"0.5<!-- = {tie} -->")] == [True]


@pytest.mark.parametrize("figure", ["0.95", "12 %", "3.5 ms", "4 s", "1,100 MB", "5.8 TB"])
def test_a_figure_without_a_source_is_named_with_its_section(figure):
    text = f"# A\n\nfine\n\n## B\n\nIt takes {figure} here.\n"
    assert ["'B': 1 numbers without a source" in sentence for sentence in errors_in(text)] == [True]
    assert errors_in(f"{text}\nMeasured once, at commit `0123abc`.\n") == []
    assert errors_in(f"{text}\n<!-- numbers: defined -->\n") == []


def test_a_declaration_reaches_no_further_than_its_section():
    text = "## A\n\nMeasured once, at commit `0123abc`. 0.95\n\n## B\n\n0.96\n"
    assert ["'B'" in sentence for sentence in errors_in(text)] == [True]


def test_a_study_must_name_an_existing_commit():
    assert "which this repository does not have" in errors_in("0.95. Measured once, at commit `fffffff`.")[0]


def test_code_and_written_tables_are_left_out():
    text = "`0.95` [x](a/0.95) \n\n```yaml\n# 0.95\nrate: 0.95\n```\n\n<!-- t: begin -->\n| 0.95 |\n<!-- t: end -->\n"
    assert errors_in(text) == []
