"""Names of others are shown on one line, without anything that acts on a terminal, and are otherwise as they are."""

import sys

import pytest

from gonogo.text import ascii_name, in_utf8, meant, printable


@pytest.mark.parametrize("text", ["part 1.png", "größe.png", "部品.png", "a\\b & 'c' \"d\" #1", "", "=1+1"])
def test_what_can_be_read_stays_as_it_is(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nPASS b.png", "a\\nPASS b.png"),
        ("\x1b[2K\rb", "\\x1b[2K\\rb"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("a\u2028b\x85c", "a\\u2028b\\x85c"),
        (b"a\xff.png".decode("utf-8", "surrogateescape"), "a\\udcff.png"),
    ],
)
def test_what_acts_on_a_terminal_or_ends_a_line_is_an_escape(text, shown):
    assert printable(text) == shown


def test_every_character_becomes_one_line_that_can_be_encoded():
    shown = printable("".join(map(chr, range(sys.maxunicode + 1))))
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"a\xff.png", "a\\udcff.png"),
        (b"\xc3", "\\udcc3"),
        ("größe 部.png".encode(), "größe 部.png"),
        (b"a\\udcff\n", "a\\udcff\n"),
    ],
)
def test_any_name_of_a_file_can_be_written_as_utf8_and_what_is_utf8_stays(name, text):
    assert in_utf8(name.decode("utf-8", "surrogateescape")) == text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Größe (µm)", "Grosse_m"),
        ("Éclat  n° 3", "Eclat_n_3"),
        ("a-b_c", "a-b_c"),
        ("_x-", "x"),
        ("日本", ""),
        ("日本 2", "2"),
    ],
)
def test_a_name_in_ascii_keeps_its_letters_and_no_marks(name, expected):
    assert ascii_name(name, "_") == expected


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("Cookies", "did you mean cookie?"),
        ("--dta", "did you mean --data?"),
        ("nuts", "did you mean hazelnuts?"),
        ("--store", ""),
    ],
)
def test_names_are_alike_whatever_their_case_and_their_dashes(name, question):
    assert meant(name, ["cookie", "hazelnuts", "--data", "--work"]) == question
