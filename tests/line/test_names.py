"""Whatever a file is called, its row is one row in every output, says nothing else, and no output fails on it."""

import csv
import io
import json
import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from gonogo.cli.main import main
from gonogo.images.reading import read_image
from gonogo.line.names import FORMULA, MOST_BYTES, as_cell, fitting, from_cell
from gonogo.line.picture import write_picture

NAMES = [
    "plain.png",
    "größe 日本 ü.png",
    "a b'c.png",
    'comma,"quoted".png',
    "=1+1.png",
    "+1.png",
    "-1.png",
    "@SUM(A1).png",
    "＝1.png",
    "'quoted.png",
    "\ttab.png",
    "cr\r.png",
    "crlf\r\npass    1          forged.png",
    "lf\npass    1          forged.png",
    "\x1b[2K\x1b[1A\x1b[32mpass.png",
    "\x9b31m.png",
    "\u202egnp.tcejer.png",
    "\u2066isolated\u2069.png",
    "line\u2028separator.png",
    "back\\slash\\n.png",
    "\x07bell\x08.png",
    os.fsdecode(b"latin\xe9 \xff.png"),
]


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """One image under every name."""
    made = tmp_path_factory.mktemp("names")
    data = digits.path_of(digits.with_role("test")[0]).read_bytes()
    for name in NAMES:
        (made / name).write_bytes(data)
    (made / "broken\x1b[31m.png").write_bytes(b"no image")
    return made


EXPECTED = {*NAMES, "broken\x1b[31m.png"}


def is_harmless(text):
    return not any(unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in text)


def test_a_line_of_text_is_one_line_without_control_characters(bundle, folder, capsys):
    main(["score", str(bundle), str(folder)])
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(NAMES)
    assert len(err.splitlines()) == 2  # one error, and the summary
    assert all(line.startswith(("pass", "reject")) for line in out.splitlines())
    assert is_harmless(out.replace("\n", ""))
    assert is_harmless(err.replace("\n", ""))


def test_json_is_exact(bundle, folder, tmp_path, capsys):
    main(["score", str(bundle), str(folder), "--json"])
    rows = json.loads(capsys.readouterr().out)["results"]
    assert {Path(row["file"]).name for row in rows} == EXPECTED
    main(["score", str(bundle), str(folder), "--jsonl"])
    lines = capsys.readouterr().out.split("\n")[:-1]
    assert [json.loads(line)["file"] for line in lines] == [row["file"] for row in rows]
    for _ in range(2):
        assert main(["score", str(bundle), str(folder), "--out", str(tmp_path / "rows.jsonl")]) == 3
    kept = (tmp_path / "rows.jsonl").read_text().split("\n")[:-1]
    assert [json.loads(line)["file"] for line in kept] == [row["file"] for row in rows]


def test_csv_has_a_row_for_each_file_that_no_reader_tears_or_calculates_and_that_can_be_turned_back(
    bundle, folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(folder)
    main(["score", str(bundle), *[os.path.join(".", name) for name in EXPECTED], "--csv", str(tmp_path / "a.csv")])  # noqa: PTH118
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(
        os.fsencode(name) for name in EXPECTED if "\n" not in name
    ))))  # fmt: skip
    main(["score", str(bundle), "-", "--csv", str(tmp_path / "b.csv")])
    for table, expected in (
        (tmp_path / "a.csv", EXPECTED),
        (tmp_path / "b.csv", {n for n in EXPECTED if "\n" not in n}),
    ):
        text = table.read_bytes().decode("utf-8")
        assert is_harmless(text.replace("\n", ""))
        assert len(text.splitlines()) == len(expected) + 1
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert {from_cell(row["file"]).removeprefix("./") for row in rows} == expected
        assert not [row["file"] for row in rows if row["file"][0] in FORMULA]


def test_parquet_has_a_row_for_each_file_and_is_exact_where_it_can_be(bundle, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="no pyarrow: pip install 'gonogo[parquet]'")
    main(["score", str(bundle), str(folder), "--parquet", str(tmp_path / "rows.parquet")])
    found = {Path(name).name for name in parquet.read_table(tmp_path / "rows.parquet")["file"].to_pylist()}
    undecoded = {name for name in EXPECTED if not is_utf8(name)}
    assert found == (EXPECTED - undecoded) | {"latin\\udce9 \\udcff.png"}


def is_utf8(name):
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def test_files_of_all_names_are_sorted_and_drawn(bundle, folder, tmp_path):
    (tmp_path / "in").mkdir()
    for name in EXPECTED:
        (tmp_path / "in" / name).write_bytes((folder / name).read_bytes())
    words = ["score", str(bundle), "--watch", str(tmp_path / "in"), "--settle", "0", "--idle", "0"]
    main([*words, "--sort", str(tmp_path / "s"), "--out", str(tmp_path / "r"), "--overlays", str(tmp_path / "o")])
    assert {path.name for path in (tmp_path / "s").rglob("*.png")} == EXPECTED
    assert len(list((tmp_path / "o").iterdir())) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_explanation_of_a_file_of_any_name_is_printed_and_drawn(name, bundle, folder, tmp_path, capsys):
    assert main(["explain", str(bundle), str(folder / name), "--picture", str(tmp_path / "p.png")]) == 0
    assert is_harmless(capsys.readouterr().out.replace("\n", ""))
    assert main(["explain", str(bundle), str(folder / name), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(folder / name)


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_that_names_a_file_forges_no_line(name, bundle, tmp_path, capsys):
    assert main(["explain", str(bundle), str(tmp_path / "none" / name)]) == 3
    first, *further = capsys.readouterr().err.split("\n")[:-1]
    assert first.startswith("gonogo: ")
    assert all(line.startswith("  ") for line in further)
    assert is_harmless("".join([first, *further]))


def texts():
    """Random texts of all kinds of characters, and those that look like what `as_cell` writes."""
    generator = np.random.default_rng(7)
    alphabet = [
        "'",
        "\\",
        "n",
        "x1b",
        "=",
        "-",
        "\n",
        "\r",
        "\t",
        "\x1b",
        "ü",
        "\u202e",
        "\udcff",
        "\U0001f600",
        "\xa0",
        "u",
    ]
    yield from ("".join(generator.choice(alphabet, size)) for size in generator.integers(0, 9, 3000))
    yield from map(chr, range(0x3000))
    yield from (f"a{chr(number)}b" for number in range(0x110000) if number % 97 == 0)


def test_a_cell_is_turned_back_into_its_text_and_is_no_formula():
    n_texts = 0
    for text in texts():
        cell = as_cell(text)
        assert from_cell(cell) == text
        assert cell.isprintable()
        assert not cell.startswith(tuple(FORMULA))
        n_texts += 1
    assert n_texts > 20_000
    assert as_cell("C:\\parts\\1.png") == "C:\\parts\\1.png"


@pytest.mark.parametrize("each", ["x", "ü", "日", "\U0001f600", "\udcff"])
def test_a_name_is_cut_off_where_it_would_be_too_long_and_keeps_its_ending(each):
    for n_bytes in (1, 250, 255, 256, 700):
        stem = each * (n_bytes // len(os.fsencode(each)))
        name = fitting(stem, "-0123.png")
        assert len(os.fsencode(name)) <= MOST_BYTES
        assert name.endswith("-0123.png")
        assert stem.startswith(name.removesuffix("-0123.png"))
        if len(os.fsencode(stem)) + 9 <= MOST_BYTES:
            assert name == stem + "-0123.png"


@pytest.mark.parametrize("each", ["x", "ü"])
def test_images_with_the_longest_names_are_drawn_and_sorted_without_a_collision(each, bundle, digits, tmp_path):
    (tmp_path / "in").mkdir()
    longest = each * ((MOST_BYTES - 5) // len(each.encode()))
    data = digits.path_of(digits.with_role("test")[0]).read_bytes()
    names = [f"{longest}{end}.png" for end in "ab"]
    words = ["score", str(bundle), "--watch", str(tmp_path / "in"), "--settle", "0", "--idle", "0"]
    words += ["--sort", str(tmp_path / "s"), "--maps", str(tmp_path / "m"), "--out", str(tmp_path / "r")]
    for turn in range(2):
        for name in names:
            (tmp_path / "in" / name).write_bytes(data)
            os.utime(tmp_path / "in" / name, (turn, turn))
        assert main(words) in (0, 1)
    assert len([path for path in (tmp_path / "s").rglob("*.png") if path.read_bytes() == data]) == 4
    assert len(list((tmp_path / "m").iterdir())) == 4
    rows = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    assert len({row["map"] for row in rows}) == len({row["moved_to"] for row in rows}) == 4
    assert all(Path(row["map"]).is_file() and Path(row["moved_to"]).is_file() for row in rows)


def test_a_picture_folder_that_cannot_be_written_ends_the_run_with_the_reason(bundle, digits, tmp_path, capsys):
    (tmp_path / "m").write_text("a file")
    image = digits.path_of(digits.with_role("test")[0])
    assert main(["score", str(bundle), str(image), "--maps", str(tmp_path / "m")]) == 3
    assert f"gonogo: {tmp_path / 'm'}" in capsys.readouterr().err


def test_a_title_that_no_font_has_is_drawn_as_an_escape(bundle, digits, tmp_path):
    from gonogo.inference.scorer import Scorer

    pixels = read_image(digits.path_of(digits.with_role("test")[0]))
    (verdict,) = Scorer(bundle).score_pixels(pixels[None])
    for name in ("\udcff.png", "\\udcff.png"):
        write_picture(tmp_path / f"{len(name)}.png", name, pixels, verdict, [])
    drawn = [read_image(tmp_path / f"{length}.png") for length in (5, 10)]
    np.testing.assert_array_equal(*drawn)
