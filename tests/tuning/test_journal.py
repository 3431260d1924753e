"""The journal of a search: what is on the disk is known again, and nothing else is taken for it."""

import pytest

from gonogo.errors import PipelineError
from gonogo.tuning.journal import Journal

IDENTITY = {"data": "abc", "code": "1"}
ROWS = [{"kind": "latency", "ms": 1.5, "seconds": 2.0}, {"kind": "fold", "fold": 0, "seconds": 1.0}]


def written(path, rows=ROWS, identity=IDENTITY):
    journal = Journal(path, identity)
    for row in rows:
        journal.append(row)
    journal.close()
    return path


def read(path, identity=IDENTITY):
    journal = Journal(path, identity)
    journal.close()
    return journal


def test_rows_are_known_again(tmp_path):
    found = read(written(tmp_path / "deep" / "a.jsonl"))
    assert found.rows == ROWS
    assert not found.began_anew


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_half_a_line_is_dropped_and_the_next_row_stands_on_a_line_of_its_own(tmp_path, cut):
    path = written(tmp_path / "a.jsonl")
    path.write_bytes(path.read_bytes()[:-cut])
    assert read(path).rows == ROWS[:1]
    assert read(written(path, ROWS[1:])).rows == ROWS


def test_measurements_of_another_search_are_not_taken_over(tmp_path):
    path = written(tmp_path / "a.jsonl")
    found = read(path, IDENTITY | {"code": "2"})
    assert found.rows == []
    assert found.began_anew
    assert read(path, IDENTITY | {"code": "2"}).rows == []


def test_a_file_that_is_no_journal_is_begun_anew(tmp_path):
    (tmp_path / "a.jsonl").write_text("no json\n{}\n")
    assert read(written(tmp_path / "a.jsonl")).rows == ROWS


def test_a_line_that_a_disk_has_lost_is_measured_again(tmp_path):
    path = written(tmp_path / "a.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\x00" * (len(lines[1]) - 1) + b"\n" + lines[2])
    assert read(path).rows == ROWS[1:]


def test_two_searches_do_not_write_one_journal(tmp_path):
    first = Journal(tmp_path / "a.jsonl", IDENTITY)
    with pytest.raises(PipelineError, match="another process writes"):
        Journal(tmp_path / "a.jsonl", IDENTITY)
    first.close()
    read(tmp_path / "a.jsonl")
