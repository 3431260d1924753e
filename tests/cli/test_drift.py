"""gonogo drift: rows of gonogo score in, the state of the certificate out."""

import json

import numpy as np
import pytest

from gonogo.cli.main import main
from gonogo.inference.bundle import read_bundle


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
    bundle, digits, about, tmp_path, capsys
):
    main(
        [
            "score",
            str(bundle),
            *(str(digits.path_of(r)) for r in digits.with_role("calibrate")),
            "--out",
            f"{tmp_path}/a",
        ]
    )
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
    assert "certificate withdrawn, after 500 parts, since 3" in out
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
    status, report = drift(capsys, bundle, tmp_path / "none", "--withdrawn", "0")
    assert (status, report["error"]["code"]) == (3, "ConfigError")
