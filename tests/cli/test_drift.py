"""gonogo drift: rows of gonogo score in, the state of the certificate out."""

import json
import os
import shutil
import subprocess
from importlib.util import find_spec

import numpy as np
import pytest

from checkout import ROOT

# isort: split
from gonogo.cli.main import main
from gonogo.inference.bundle import read_bundle
from gonogo.monitoring.simulation import LABEL

EVIDENTLY = ROOT / ".venv-evidently/bin/python"


@pytest.fixture
def about(bundle):
    read = read_bundle(bundle)
    return read.fingerprint, read.manifest["threshold"]


def rows(path, scores, fingerprint, **more):
    lines = [
        json.dumps(
            {
                "file": f"part {number}.png",
                "key": f"{number}",
                "bundle": fingerprint,
                "verdict": "pass",
                "score": float(score),
            }
            | more
        )
        for number, score in enumerate(scores)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def drift(capsys, *arguments):
    status = main(["drift", *(str(argument) for argument in arguments), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_verdicts_of_gonogo_score_are_read_and_scores_like_those_of_the_calibrate_parts_leave_it_holding(
    bundle, digits, about, tmp_path, monkeypatch, capsys
):
    (tmp_path / "parts").mkdir()
    for number, record in enumerate(digits.with_role("calibrate")):  # names and times decide how ties are broken
        path = shutil.copy(digits.path_of(record), tmp_path / "parts" / f"{number:03}.png")
        os.utime(path, (number, number))
    monkeypatch.chdir(tmp_path)
    main(["score", str(bundle), "parts", "--out", f"{tmp_path}/a"])
    capsys.readouterr()
    status, report = drift(capsys, bundle, tmp_path / "a")
    assert (status, report["state"], report["parts"]) == (0, "holds", len(digits.with_role("calibrate")))
    fingerprint, threshold = about
    drawn = np.random.default_rng(1).choice(threshold["good_scores"], 600)
    status, report = drift(capsys, bundle, rows(tmp_path / "b", drawn, fingerprint), "--defect-rate", "0.02")
    assert (status, report["state"], report["withdrawn_at"]) == (0, "holds", None)


def test_other_scores_withdraw_it_with_status_1_and_the_text_says_since_which_part(bundle, about, tmp_path, capsys):
    fingerprint, threshold = about
    good = np.random.default_rng(1).choice(threshold["good_scores"], 300)
    path = rows(tmp_path / "rows", [*good, *good[:200] * 0 + np.median(good)], fingerprint)
    assert main(["drift", str(bundle), str(path)]) == 1
    out = capsys.readouterr().out
    assert "certificate withdrawn, after 500 parts, since part 3" in out
    assert drift(capsys, bundle, path)[1]["claims"]["scores"]["since"] > 200


def test_rows_of_errors_have_no_score_and_are_passed_over(bundle, about, tmp_path, capsys):
    fingerprint, _ = about
    path = rows(tmp_path / "rows", [1.0, 2.0], fingerprint, score=None, error="no image")
    assert drift(capsys, bundle, path)[1]["parts"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON\n", "line 1: expected a row that gonogo score"),
        ("[1]\n", "line 1: expected a row"),
        ('{"score": 1, "verdict": "pass"}\n', "line 1: expected a row"),
        (
            '{"file": "a.png", "bundle": "0123456789abcdef", "verdict": "pass", "score": 1}\n',
            "line 1 is of the bundle 0123456789ab",
        ),
    ],
)
def test_what_is_no_row_of_this_gauge_is_refused_by_its_line(bundle, tmp_path, capsys, text, message):
    (tmp_path / "rows").write_text(text)
    status, report = drift(capsys, bundle, tmp_path / "rows")
    assert status == 3
    assert message in report["error"]["message"]


def test_a_file_that_is_missing_and_a_share_that_is_none_are_named(bundle, tmp_path, capsys):
    status, report = drift(capsys, bundle, tmp_path / "none")
    assert (status, report["error"]["code"]) == (3, "DataError")
    assert "none cannot be read as verdicts: No such file or directory" in report["error"]["message"]
    status, report = drift(capsys, bundle, tmp_path / "none", "--withdrawn", "0")
    assert (status, report["error"]["code"]) == (3, "ConfigError")


# What moved


@pytest.fixture(scope="module")
def images(digits, tmp_path_factory):
    """Good parts that set no threshold of the bundle and that no detector saw, as files of their own."""
    folder = tmp_path_factory.mktemp("good")
    for number, record in enumerate(one for one in digits.with_role("test") if one.label == 0):
        shutil.copy(digits.path_of(record), folder / f"{number:03}.png")
    return folder


def test_the_page_says_what_moved_and_shows_a_part_before_and_after(bundle, images, tmp_path, capsys):
    page = tmp_path / "page.html"
    words = ("--simulate", "brightness", "--severity", "5", "--html", page, "--withdrawn", "0.3", "--in-doubt", "0.3")
    status, report = drift(capsys, bundle, images, *words)
    n = len(list(images.iterdir()))
    assert (status, report["state"], report["parts"]) == (1, "withdrawn", n)
    moved = {one["name"]: one for one in report["moved"]}
    assert abs(moved["brightness"]["shift"]) > 1
    assert abs(moved["brightness"]["n_before"] - n / 2) < 6
    text = page.read_text()
    assert "certificate is withdrawn" in text
    assert text.count("data:image/jpeg;base64,") == 2
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert report["typical_before"] in text
    assert report["since"] in text


def test_a_simulation_says_that_it_is_one_in_every_output_and_the_same_seed_gives_the_same(
    bundle, images, tmp_path, capsys
):
    words = ("--simulate", "noise", "--severity", "2", "--seed", "4", "--html", tmp_path / "page.html")
    before = sorted(tmp_path.rglob("*"))
    _, report = drift(capsys, bundle, images, *words)
    assert report["simulation"] | {"n_before": 0} == {
        "label": LABEL, "kind": "noise", "severity": 2, "share": 1.0, "begin": 0.5, "seed": 4, "n_before": 0,
    }  # fmt: skip
    assert LABEL in (tmp_path / "page.html").read_text()
    assert drift(capsys, bundle, images, *words)[1] == report
    assert sorted(tmp_path.rglob("*")) == [*before, tmp_path / "page.html"]  # and nothing else is written
    main(["drift", str(bundle), str(images), "--simulate", "noise"])
    assert capsys.readouterr().out.startswith(LABEL)


def test_what_belongs_to_a_simulation_needs_one_and_so_do_images(bundle, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["drift", str(bundle), str(tmp_path), "--severity", "2"])
    assert "--severity needs --simulate" in capsys.readouterr().err
    assert drift(capsys, bundle, tmp_path, "--simulate", "blur")[0] == 3


@pytest.mark.skipif(find_spec("evidently") is not None, reason="Evidently is installed here")
def test_without_evidently_its_report_is_refused_with_where_to_get_it_and_never_of_a_simulation(
    bundle, about, tmp_path, capsys
):
    fingerprint, threshold = about
    scores = np.random.default_rng(1).choice(threshold["good_scores"], 60)
    words = ["drift", str(bundle), str(rows(tmp_path / "rows", scores, fingerprint)), "--evidently"]
    assert main([*words, str(tmp_path / "page.html")]) == 4
    assert "`make evidently`" in capsys.readouterr().err
    rows(tmp_path / "rows", scores[:59], fingerprint)
    assert main([*words, str(tmp_path / "page.html")]) == 3
    assert "there are 59 parts with a score" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*words, str(tmp_path / "page.html"), "--simulate", "blur"])
    assert ended.value.code == 2
    assert not (tmp_path / "page.html").exists()


@pytest.mark.skipif(not EVIDENTLY.exists(), reason="no .venv-evidently: `make evidently` makes it")
def test_evidently_reports_the_numbers_of_the_same_rows(bundle, about, tmp_path):
    fingerprint, threshold = about
    good = np.random.default_rng(1).choice(threshold["good_scores"], 200)
    path, page = rows(tmp_path / "rows", [*good, *good[:100] * 0 + np.median(good)], fingerprint), tmp_path / "a.html"
    words = [str(EVIDENTLY), "-m", "gonogo.cli", "drift", str(bundle), str(path), "--evidently", str(page)]
    ran = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    told = page.read_text()
    assert "Score" in told
    assert "K-S p_value" in told
    assert "Brightness, grey levels" not in told  # these rows have no statistics
