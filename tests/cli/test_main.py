"""The command: one line per file for people, one JSON object for programs, and a status that says what happened."""

import json
import shutil

import numpy as np
import pytest

from gonogo.cli.main import main, parse_arguments
from gonogo.errors import UsageError
from gonogo.files import read_sealed, seal
from gonogo.inference.scorer import Scorer
from gonogo.line.outputs import line_of
from gonogo.line.score import Line


def of_label(digits, label):
    record = next(record for record in digits.with_role("test") if record.label == label)
    return digits.path_of(record)


@pytest.fixture(scope="module")
def passing(bundle, digits):
    """A good part that the gauge passes."""
    scorer = Scorer(bundle)
    paths = (digits.path_of(record) for record in digits.with_role("fit"))
    return next(path for path in paths if not scorer.score_image(path).anomalous)


@pytest.fixture(scope="module")
def files(bundle, digits, passing, tmp_path_factory):
    """What the command may be given, by name: bundles and images, in order and out of it."""
    folder = tmp_path_factory.mktemp("given")
    shutil.copytree(bundle, folder / "tampered")
    with (folder / "tampered" / "gauge.onnx").open("ab") as gauge:
        gauge.write(b"\0")
    shutil.copytree(bundle, folder / "edited")
    manifest = folder / "edited" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"confidence": 0.95', '"confidence": 0.99'))
    (folder / "broken.png").write_bytes(passing.read_bytes()[:60])
    (folder / "empty.png").write_bytes(b"")
    return {
        "bundle": bundle,
        "no bundle": folder / "none",
        "tampered": folder / "tampered",
        "edited": folder / "edited",
        "good": passing,
        "defect": of_label(digits, 1),
        "broken": folder / "broken.png",
        "empty": folder / "empty.png",
        "missing": folder / "missing.png",
        "folder": folder,
    }


CASES = [
    (["version"], 0),
    (["doctor"], 0),
    (["score", "bundle", "good"], 0),
    (["score", "bundle", "good", "defect", "good"], 1),
    (["score", "bundle", "broken"], 3),
    (["score", "bundle", "defect", "empty", "missing", "folder"], 3),
    (["score", "no bundle", "good"], 4),
    (["score", "good", "good"], 4),
    (["score", "tampered", "good"], 4),
    (["score", "edited", "good"], 4),
]


@pytest.mark.parametrize(("words", "status"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_json_is_exactly_one_object_on_standard_output_and_the_status_is_the_same(words, status, files, capsys):
    arguments = [str(files.get(word, word)) for word in words]
    assert main([*arguments, "--json"]) == status
    out, err = capsys.readouterr()
    report = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert report["ok"] is (status in (0, 1))
    assert out.count("\n") == 1
    assert err == ""
    assert main(arguments) == status


def test_json_gives_each_file_its_verdict_in_the_order_asked(files, bundle, capsys):
    words = ["good", "empty", "defect", "good"]
    main(["score", str(bundle), *(str(files[word]) for word in words), "--json"])
    report = json.loads(capsys.readouterr().out)
    scorer = Scorer(bundle)
    assert [result["file"] for result in report["results"]] == [str(files[word]) for word in words]
    assert [result.get("verdict", "error") for result in report["results"]] == ["pass", "error", "reject", "pass"]
    assert report["results"][2]["score"] == scorer.score_image(files["defect"]).score
    assert (report["threshold"], report["category"]) == (scorer.threshold, "digit_0")
    assert (report["n_files"], report["n_rejected"], report["n_errors"]) == (4, 1, 1)


def test_for_people_verdicts_stand_on_standard_output_and_complaints_beside_it(files, bundle, capsys):
    main(["score", str(bundle), *(str(files[word]) for word in ("good", "empty", "defect"))])
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["pass", "reject"]
    assert [line.split()[2] for line in out.splitlines()] == [str(files["good"]), str(files["defect"])]
    assert str(files["empty"]) in err.splitlines()[0]
    assert err.splitlines()[-1].startswith("1 pass, 1 reject, 1 unreadable; threshold ")


def test_json_gives_each_file_its_regions_and_people_see_how_many_a_reject_has_and_where(bundle, digits, capsys):
    scorer = Scorer(bundle)
    paths = [digits.path_of(record) for record in digits.with_role("test")]
    verdicts = [scorer.score_image(path) for path in paths]
    assert main(["score", str(bundle), *map(str, paths), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["pixel_threshold"] == scorer.rule.threshold.threshold
    assert report["n_uncertain"] == sum(verdict.uncertain for verdict in verdicts) > 0
    for verdict, result in zip(verdicts, report["results"], strict=True):
        assert (result["p_value"], result["uncertain"]) == (verdict.p_value, verdict.uncertain)
        assert result["p_value"] == scorer.record.p_value(result["score"])
        assert [tuple(region["box"]) for region in result["regions"]] == [region.box for region in verdict.regions]
        assert [region["peak"] for region in result["regions"]] == [region.peak for region in verdict.regions]
        fields = {"box", "area", "centroid", "peak", "mean", "solidity", "elongation"}
        assert all(set(region) == fields for region in result["regions"])

    assert main(["score", str(bundle), *map(str, paths)]) == 1
    said = {"pass": 0, "no region": 0, "1 region": 0, "more": 0}
    for path, verdict, line in zip(paths, verdicts, capsys.readouterr().out.splitlines(), strict=True):
        rest = line.partition(str(path))[2]
        if not verdict.anomalous:
            assert rest == ""
            said["pass"] += 1
        elif not verdict.regions:
            assert rest == "  no region"
            said["no region"] += 1
        else:
            x, y, width, height = verdict.regions[0].box
            count = len(verdict.regions)
            kind = "1 region" if count == 1 else "more"
            start = "1 region" if count == 1 else f"{count} regions, highest"
            assert rest == f"  {start}{',' if count == 1 else ''} {width} x {height} at ({x}, {y})"
            said[kind] += 1
    assert said["pass"] > 5
    assert min(said["1 region"], said["more"]) > 5


def test_of_a_reject_without_a_region_people_read_so_unless_the_gauge_cannot_localise():
    result = {
        "file": "a.png",
        "verdict": "reject",
        "score": 5.0,
        "probability": None,
        "uncertain": False,
        "regions": [],
    }
    assert line_of(result, localises=True) == "reject  5           a.png  no region"
    assert line_of(result, localises=False) == "reject  5           a.png"
    assert line_of(result | {"uncertain": True}, localises=False) == "reject? 5           a.png"
    assert line_of(result | {"probability": 0.873}, localises=False).endswith("a.png  defective with 87.3%")


@pytest.mark.parametrize(
    ("name", "message"),
    [("tampered", "SHA-256 differs"), ("edited", "was changed after it was written"), ("no bundle", "no manifest")],
)
def test_a_bundle_that_cannot_be_trusted_judges_nothing(name, message, files, capsys):
    assert main(["score", str(files[name]), str(files["good"])]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_failure_that_nobody_foresaw_is_status_5_and_not_that_of_a_rejected_part(bundle, files, monkeypatch, capsys):
    monkeypatch.setattr(Line, "run", lambda *_: 1 / 0)
    arguments = ["score", str(bundle), str(files["good"])]
    assert main([*arguments, "--json"]) == 5
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["ok"] is False
    assert report["error"]["code"] == "InternalError"
    assert report["error"]["message"].startswith("ZeroDivisionError: ")
    assert "report it" in report["error"]["hint"]
    assert "Traceback" in err
    assert main(arguments) == 5
    assert "Traceback" in capsys.readouterr().err


def test_a_bundle_whose_scores_are_no_numbers_passes_no_part(bundle, files, tmp_path, capsys):
    onnx = pytest.importorskip("onnx", reason="no onnx, which the scoring install leaves out")
    shutil.copytree(bundle, tmp_path / "bundle")
    gauge = tmp_path / "bundle" / "gauge.onnx"
    proto = onnx.load(gauge)
    for node in proto.graph.node:
        node.output[:] = ["true_score" if name == "score" else name for name in node.output]
        node.input[:] = ["true_score" if name == "score" else name for name in node.input]
    proto.graph.initializer.append(onnx.helper.make_tensor("nan", onnx.TensorProto.FLOAT, [1], [np.nan]))
    proto.graph.node.append(onnx.helper.make_node("Add", ["true_score", "nan"], ["score"]))
    onnx.save(proto, gauge)
    seal(tmp_path / "bundle", read_sealed(bundle), ["gauge.onnx"])
    assert main(["score", str(tmp_path / "bundle"), str(files["good"]), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    (row,) = report["results"]
    assert (report["ok"], report["n_errors"], "verdict" in row) == (False, 1, False)
    assert "gave the score nan" in row["error"]


def test_version_and_doctor_speak_for_people_and_for_agents(capsys):
    import gonogo

    assert main(["version"]) == 0
    assert capsys.readouterr().out.strip() == gonogo.__version__
    assert main(["doctor"]) == 0
    assert "ready to score" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 0
    findings = {f["what"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["onnxruntime"]["ok"]
    assert findings["torch"]["needed"] is False


def test_wrong_usage_is_status_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["score"])
    assert stop.value.code == 2
    assert "BUNDLE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "ordered"),
    [
        ("score b --jsonl x.png", "score --jsonl b x.png"),
        ("score b x.png --csv f y.png", "score --csv f b x.png y.png"),
        ("score b --pixels bgr8 -- -x.npy", "score --pixels bgr8 b -- -x.npy"),
        ("compare old --out o new", "compare --out o old new"),
        ("accept x.png --by Ana y.png", "accept --by Ana x.png y.png"),
        ("cases search one --data d two", "cases search --data d one two"),
    ],
)
def test_options_may_stand_between_names(words, ordered):
    assert vars(parse_arguments(words.split())) == vars(parse_arguments(ordered.split()))


def test_a_wrong_option_between_names_is_named_with_the_right_one():
    with pytest.raises(UsageError, match=r"unrecognized arguments: --jsnl.*did you mean --jsonl\?"):
        parse_arguments(["score", "b", "--jsnl", "x.png"])


@pytest.mark.parametrize("threads", ["0", "-2", "many"])
def test_threads_below_one_are_wrong_usage(threads, files, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["score", str(files["bundle"]), str(files["good"]), "--threads", threads])
    assert stop.value.code == 2
    assert "--threads" in capsys.readouterr().err
