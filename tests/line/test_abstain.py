"""With --abstain, an uncertain verdict is a third outcome: its own folder, count, status and filter of the webhook."""

import csv
import json
import shutil

import pytest

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.cli.commands.score import LABELS
from gonogo.cli.main import main
from gonogo.inference.scorer import Scorer
from gonogo.line.sorting import FOLDERS
from gonogo.line.webhook import Webhook
from hot_folders import rows_of


@pytest.fixture
def folder(digits, bundle, tmp_path, monkeypatch):
    """Six images; the verdicts on the two whose scores are nearest to the threshold are uncertain, one of each kind."""
    scorer, made = Scorer(bundle), tmp_path / "in"
    made.mkdir()
    records = digits.with_role("test")
    chosen = [next(one for one in records if one.label == label) for label in (0, 1)] + list(
        records[:: len(records) // 30]
    )
    scored = {digits.path_of(one): scorer.score_image(digits.path_of(one)) for one in chosen}
    sides = [{path: one for path, one in scored.items() if one.anomalous == side} for side in (False, True)]
    near = [min(side, key=lambda path: abs(side[path].score - scorer.threshold)) for side in sides]
    low, high = (scored[path].score for path in near)
    monkeypatch.setattr(ThresholdRecord, "uncertain", lambda _, score: low <= score <= high)
    others = [path for side, own in zip(sides, near, strict=True) for path in list(side) if path != own]
    clear = [path for path in others if not low <= scored[path].score <= high]
    for path in (*near, *(next(path for path in clear if scored[path].anomalous == kind) for kind in (False, True))):
        shutil.copy(path, made / path.name)
    return made, near


def kinds(rows):
    return sorted((row["verdict"], row.get("leaning"), row["uncertain"]) for row in rows)


def test_uncertain_verdicts_are_a_third_outcome_with_a_count_and_a_status(folder, bundle, tmp_path, capsys):
    made, near = folder
    assert main(["score", str(bundle), str(made), "--json"]) == 1
    plain = json.loads(capsys.readouterr().out)
    assert (plain["n_rejected"], plain["n_uncertain"], plain["n_abstained"]) == (2, 2, 0)
    assert main(["score", str(bundle), str(made), "--abstain", "--json"]) == 1
    apart = json.loads(capsys.readouterr().out)
    assert (apart["n_rejected"], apart["n_uncertain"], apart["n_abstained"], apart["n_files"]) == (1, 2, 2, 4)
    assert kinds(apart["results"]) == [
        ("pass", None, False), ("reject", None, False), ("uncertain", "pass", True), ("uncertain", "reject", True)
    ]  # fmt: skip
    assert main(["score", str(bundle), str(made), "--abstain", "--csv", str(tmp_path / "rows.csv")]) == 1
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert [row["leaning"] for row in csv.DictReader(file)] == [row.get("leaning", "") for row in apart["results"]]
    capsys.readouterr()
    assert main(["score", str(bundle), str(made / near[1].name), "--abstain"]) == 6  # a reject, were it not uncertain
    told = capsys.readouterr()
    assert told.out.startswith("uncertain ")
    assert "leaning to reject" in told.out
    assert "0 pass, 0 reject, 1 uncertain, 0 unreadable" in told.err
    assert main(["score", str(bundle), str(made / near[0].name)]) == 0


def test_uncertain_parts_are_sorted_apart_and_counted_again_after_a_start(folder, bundle, tmp_path, capsys):
    made, near = folder
    options = ["--sort", str(tmp_path / "out"), "--out", str(tmp_path / "rows.jsonl"), "--abstain"]
    assert main(["score", str(bundle), str(made), *options]) == 1
    assert sorted(path.name for path in (tmp_path / "out/uncertain").iterdir()) == sorted(path.name for path in near)
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {"good", "reject", "uncertain"}
    rows = rows_of(tmp_path / "rows.jsonl")
    assert kinds(rows)[2:] == [("uncertain", "pass", True), ("uncertain", "reject", True)]
    again = tmp_path / "again.jsonl"
    kept = [str(path) for path in sorted((tmp_path / "out").rglob("*.png"))]
    main(["score", str(bundle), *kept, "--out", str(again), "--abstain"])
    capsys.readouterr()
    main(["score", str(bundle), *kept, "--out", str(again), "--abstain", "--json"])
    counts = json.loads(capsys.readouterr().out)
    assert (counts["n_new"], counts["n_abstained"], counts["n_rejected"], counts["n_files"]) == (0, 2, 1, 4)


def test_the_webhook_posts_the_named_outcomes_alone(folder, bundle, tmp_path, monkeypatch):
    made, _ = folder
    (made / "broken.png").write_bytes(b"no image")
    (tmp_path / "secret").write_bytes(b"x" * 32)
    posted = []
    monkeypatch.setattr(Webhook, "put", lambda _, rows: posted.extend(rows))
    arguments = [
        "score",
        str(bundle),
        str(made),
        "--abstain",
        "--webhook",
        "http://127.0.0.1:9/",
        "--webhook-wait",
        "0",
    ]
    arguments += ["--webhook-secret-file", str(tmp_path / "secret"), "--out"]
    main([*arguments, str(tmp_path / "a.jsonl"), "--webhook-only", "uncertain", "--webhook-only", "error"])
    assert sorted(row.get("verdict", "error") for row in posted) == ["error", "uncertain", "uncertain"]
    posted.clear()
    main([*arguments, str(tmp_path / "b.jsonl")])
    assert len(posted) == 5


def test_each_outcome_has_a_folder_and_may_be_posted():
    assert set(LABELS) == set(FOLDERS)


def test_a_filter_needs_a_webhook(bundle, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["score", str(bundle), "x.png", "--webhook-only", "reject"])
    assert ended.value.code == 2
    assert "--webhook-only needs --webhook" in capsys.readouterr().err
