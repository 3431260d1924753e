"""Whether a certificate still holds, on the line: by the rows of the journal, the same after any number of starts."""

import json
import os
import shutil
import signal
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from checkout import ROOT
from processes import command_killed, needs_kill
from watched_lines import WatchedLine, rows_of_parts

# isort: split
from gonogo.cli.main import main
from gonogo.errors import IntegrityError
from gonogo.inference.scorer import Scorer
from gonogo.line.checkpoint import PIECE
from gonogo.line.journal import Journal
from gonogo.line.standing import LineStanding
from gonogo.monitoring.certificate_watch import WatchParams


@pytest.fixture(scope="module")
def folders(digits, tmp_path_factory):
    """Good parts, and the same parts much darker, of which each has many copies that are not the same file.

    Names and times are the same in every run: they decide how ties are broken, and so whether it is in doubt by chance.
    """
    root = tmp_path_factory.mktemp("folders")
    records = digits.with_role("calibrate")
    for number, chosen in enumerate(np.random.default_rng(1).integers(0, len(records), 180)):
        with Image.open(digits.path_of(records[chosen])) as image:
            pixels = np.array(image.convert("RGB"))
        for name, share in (("a good", 1.0), ("b dark", 0.6)):
            (root / name).mkdir(exist_ok=True)
            path = root / name / f"{number:03}.png"
            Image.fromarray((pixels * share).astype(np.uint8)).save(path)
            os.utime(path, (number, number))
    return root


def score(capsys, *words):
    status = main(["score", *map(str, words), "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out), captured.err


def rows_in(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_parts_that_change_withdraw_it_and_each_row_says_so_while_verdicts_go_on(
    bundle, folders, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "rows"
    monkeypatch.chdir(folders)
    _, report, err = score(capsys, bundle, ".", "--out", out)
    rows = rows_in(out)
    states = [row["certificate"]["state"] for row in rows]
    at = states.index("withdrawn")
    assert 180 < at < len(rows) - 20
    assert set(states[:180]) == {"holds"}
    assert set(states[at:]) == {"withdrawn"}
    assert rows[at]["certificate"]["since"] == rows[at - 1]["file"]  # said in the next row
    assert all(row["verdict"] in ("pass", "reject") for row in rows)
    (told,) = report["certificates"].values()
    assert (told["state"], told["since"], told["parts"]) == ("withdrawn", rows[at - 1]["file"], 360)
    assert "certificate withdrawn, since" in err
    assert main(["drift", str(bundle), str(out), "--json"]) == 1
    of_drift = json.loads(capsys.readouterr().out)
    assert {name: of_drift[name] for name in ("parts", "log_evidence", "claims", "withdrawn_at")} == {
        name: told[name] for name in ("parts", "log_evidence", "claims", "withdrawn_at")
    }


def test_a_start_goes_on_where_the_one_before_ended_to_the_last_bit(bundle, folders, tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _, at_once, _ = score(capsys, bundle, folders / "a good", "--out", whole)
    lines = whole.read_text().splitlines(keepends=True)
    parts.write_text("".join(lines[:77]) + lines[77][:50])  # as a kill leaves it
    _, again, _ = score(capsys, bundle, folders / "a good", "--out", parts)
    assert again["n_new"] == 103
    assert again["certificates"] == at_once["certificates"]
    assert parts.read_text() == whole.read_text()


def test_a_file_that_has_a_second_row_counts_once(bundle, folders, tmp_path, capsys):
    out = tmp_path / "rows"
    _, report, _ = score(capsys, bundle, folders / "a good", "--out", out)
    with out.open("a") as file:
        file.writelines(out.read_text().splitlines(keepends=True)[:50])
    _, again, _ = score(capsys, bundle, folders / "a good", "--out", out)
    assert again["certificates"] == report["certificates"]


def test_sorted_files_count_once_too(bundle, folders, tmp_path, capsys):
    shutil.copytree(folders / "a good", tmp_path / "in")
    _, report, _ = score(capsys, bundle, tmp_path / "in", "--out", tmp_path / "rows", "--sort", tmp_path / "sorted")
    _, plain, _ = score(capsys, bundle, folders / "a good", "--out", tmp_path / "others")
    (one,), (other,) = report["certificates"].values(), plain["certificates"].values()
    assert one["parts"] == other["parts"] == 180


def test_a_change_is_an_event_beside_the_rows(bundle):
    scorer = Scorer(bundle, threads=1)
    standing = LineStanding({scorer.category: scorer}, WatchParams())
    score = max(one for one in scorer.record.good_scores if one < scorer.record.gap_low)
    events = []
    for number in range(300):
        row = {"file": f"{number}.png", "key": f"{number:04}", "bundle": "b", "category": scorer.category}
        events += standing.stamp([row | {"verdict": "pass", "score": score}], lambda _: True)
    states = [one["state"] for one in events]
    assert states[-1] == "withdrawn"
    assert all(before != after for before, after in pairwise(["holds", *states]))
    assert events[-1]["since"] == events[-1]["file"]
    assert len({one["key"] for one in events}) == len(events)


def test_a_row_that_is_damaged_is_refused_by_its_line(tmp_path):
    (tmp_path / "rows").write_text('{"file": "a", "key": "00", "bundle": "f", "verdict": "pass", "score": null}\n')
    scorers = {}
    with pytest.raises(IntegrityError, match="line 1"):
        Journal(tmp_path / "rows", fingerprint="f", learner=LineStanding(scorers, WatchParams()))


def test_how_it_is_watched_needs_the_rows_that_are_watched(bundle, folders, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["score", str(bundle), str(folders / "a good"), "--defect-rate", "0.1"])
    assert ended.value.code == 2
    assert "need --out" in capsys.readouterr().err


def learnt_anew(path, tmp_path):
    """What a start knows that has the rows alone."""
    copy = tmp_path / "copy"
    shutil.copy(path, copy)
    return WatchedLine(copy).told()


@pytest.fixture(scope="module")
def long_journal(tmp_path_factory):
    """A journal of three pieces, and a few rows after these."""
    path = tmp_path_factory.mktemp("long") / "rows"
    line = WatchedLine(path)
    line.add(rows_of_parts(0, 3 * PIECE + 100))
    line.journal.close()
    return path


@pytest.fixture
def journal(long_journal, tmp_path):
    for path in (long_journal, checkpoint(long_journal)):
        shutil.copy(path, tmp_path)
    return tmp_path / long_journal.name


def checkpoint(journal):
    return journal.with_name(f"{journal.name}.checkpoint")


def test_a_start_reads_the_rows_since_the_checkpoint_alone_and_knows_the_same_to_the_last_bit(journal, tmp_path):
    line = WatchedLine(journal)
    assert line.n_learnt == 100
    assert line.told() == learnt_anew(journal, tmp_path)
    assert line.standing.of("brick")["state"] == "withdrawn"
    line.add(rows_of_parts(3 * PIECE + 100, PIECE))
    line.journal.close()
    again = WatchedLine(journal)
    assert again.n_learnt < PIECE
    assert again.told() == line.told()


KILLED = """
import sys
from pathlib import Path
from watched_lines import WatchedLine, rows_of_parts
line = WatchedLine(Path(sys.argv[1]))
line.add(rows_of_parts(10_000, 2_000))
"""


@needs_kill
@pytest.mark.parametrize(
    ("first", "at"), [("Journal.append", 1), ("LineStanding.kept", 1), ("Checkpoint._tail", 1), ("Checkpoint.add", 1)]
)
def test_after_a_kill_at_any_step_a_start_knows_what_the_rows_say(journal, first, at, tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    died = subprocess.run(command_killed(KILLED, str(journal), first=first, at=at), env=environment, check=False)
    assert died.returncode == -signal.SIGKILL
    assert WatchedLine(journal).told() == learnt_anew(journal, tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-500])


def spoil(path):
    path.write_bytes(path.read_bytes().replace(b'"values"', b'"valses"', 1))


@pytest.mark.parametrize(
    ("change", "n_read"), [(cut, PIECE), (spoil, 3 * PIECE), (lambda path: path.write_text("[]\n"), 3 * PIECE)]
)
def test_of_a_checkpoint_that_is_damaged_what_is_whole_is_taken_or_nothing(journal, change, n_read, tmp_path):
    change(checkpoint(journal))
    line = WatchedLine(journal)
    assert line.n_learnt == n_read + 100
    assert line.told() == learnt_anew(journal, tmp_path)
    line.journal.close()
    assert WatchedLine(journal).n_learnt == 0  # it was written anew


def test_a_checkpoint_of_another_journal_or_another_watch_is_not_taken(journal):
    params = WatchParams(withdrawn=0.01)
    line = WatchedLine(journal, params)
    assert line.n_learnt == 3 * PIECE + 100
    line.journal.close()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[1:]))
    assert WatchedLine(journal, params).n_learnt == 3 * PIECE + 99
