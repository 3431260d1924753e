"""On a Ray cluster the same is computed as in one process, also where a worker is killed in the middle."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import OPTIONS, REGIONS, STAGES_IN_ONE, TINY, copy_pipeline, made
from gonogo.cli.main import main
from gonogo.compute.cluster import Cluster, _do, _made_with, connect
from gonogo.detectors.contract import FitContext
from gonogo.errors import ConfigError, DataError, ImageError, IntegrityError, MissingExtraError, WorkerError
from gonogo.inference.scorer import Scorer
from gonogo.line.many import LEAST_PART, score_many
from gonogo.model.fit_images import FitImages
from gonogo.model.fit_params import FitParams
from gonogo.model.inspection import inspect_records, score_images
from gonogo.model.inspector import Inspector

ROOT = Path(__file__).resolve().parents[2]


class OneDies(Cluster):
    """A cluster, one of whose workers is killed in the middle of its work."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.killed = folder / "killed"

    def map(self, work, items, *, together):
        return super().map(KilledOnce(work, str(self.killed)), items, together=together)


class KilledOnce:
    """Work whose first item of all kills the process that does it; then it is done as any other."""

    def __init__(self, work, mark):
        self.work, self.mark = work, mark

    def __call__(self, item):
        found = self.work(item)
        with suppress(FileExistsError):
            Path(self.mark).mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
        return found


@pytest.fixture(scope="module")
def cluster():
    """Two workers on this machine."""
    ray = pytest.importorskip("ray", reason="no Ray: `make cluster` runs these tests in an environment that has it")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # by default others come first, such as all that runs beside the tests
        started = Cluster(n_workers=2)
    yield started
    ray.shutdown()


def squared(number):
    time.sleep(0.1)
    return {"square": number**2, "pid": os.getpid()}


def refused(number):
    raise ImageError(f"{number}.png cannot be read as an image: so it is")


def test_results_come_in_order_and_a_killed_worker_loses_none(cluster):
    found, pids = [], []
    for one in cluster.map(squared, range(48), together=4):
        found.append(int(one["square"]))
        pids.append(int(one["pid"]))
        if len(found) == 1:
            os.kill(pids[0], signal.SIGKILL)
    assert found == [number**2 for number in range(48)]
    assert pids[0] not in pids[-8:]  # it died before the end
    assert len(set(pids)) > 1


def test_what_a_worker_raises_is_raised_here(cluster):
    with pytest.raises(ImageError, match=r"0\.png cannot be read as an image: so it is"):
        list(cluster.map(refused, range(3), together=3))


def deadly(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_work_that_kills_each_of_its_workers_ends_the_run(cluster):
    with pytest.raises(WorkerError, match=r"a worker of the Ray cluster failed: .*died"):
        list(cluster.map(deadly, range(3), together=3))
    assert [int(one["square"]) for one in cluster.map(squared, range(3), together=1)] == [0, 1, 4]


def test_results_that_nobody_asks_for_anymore_are_not_computed(cluster, tmp_path):
    def touched(number):
        (tmp_path / str(number)).touch()
        return {"square": number}

    assert next(cluster.map(touched, range(1000), together=1))["square"] == 0
    list(cluster.map(touched, [1000, 1001], together=1))  # whatever was under way has ended
    assert len(list(tmp_path.iterdir())) < 20


def test_work_that_cannot_travel_is_refused(cluster):
    pipe = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    pipe.communicate()
    with pytest.raises(ConfigError, match=r"cannot be sent to another process .*set fit.cluster to null"):
        list(cluster.map(lambda _: {"pid": pipe.stdin}, range(1), together=1))


@pytest.mark.usefixtures("cluster")
def test_a_worker_with_other_software_or_without_the_projects_folder_computes_nothing(tmp_path):
    same = _made_with()
    source = same["gonogo's source"]
    other = same | {"numpy": "1.0", "gonogo's source": "another"}
    (row,) = _do([None], str(tmp_path), other, [1])
    (away,) = _do([None], str(tmp_path / "nowhere"), same, [1])
    assert row.error == away.error == "WorkerError"
    assert f"gonogo's source {source} and not another, numpy {same['numpy']} and not 1.0; install" in row.said
    assert "nowhere (No such file or directory); every machine must have the project" in away.said


@pytest.fixture(scope="module")
def map_on(digits, cluster):
    """The digits, which the cluster's workers look at."""
    return replace(digits, cluster=cluster)


def learned(name, manifest, progress=lambda *_: None, **options):
    """An inspector whose detector was fitted on all fit images of a manifest, and those images."""
    detector = made(name, **OPTIONS[name] | TINY | options)
    inspector = Inspector(detector, REGIONS.inside)
    images = FitImages(inspector, manifest, manifest.with_role("fit"))
    detector.fit(images, seed=17, context=FitContext(progress=progress))
    return inspector, images


@pytest.fixture(scope="module")
def padims(digits, map_on, tmp_path_factory):
    """PaDiM fitted here, and on the cluster while one of its workers is killed."""
    dying = OneDies(tmp_path_factory.mktemp("padim"))
    there, images = learned("padim", replace(map_on, cluster=dying))
    assert images.n_parts >= 3
    assert dying.killed.exists()
    return learned("padim", digits)[0], there


def test_padim_learns_the_same_but_for_rounding_though_a_worker_was_killed(padims, digits):
    here, there = padims
    assert there.detector.n_images == here.detector.n_images == len(digits.with_role("fit"))
    for name, ours in here.detector.state_dict().items():
        torch.testing.assert_close(there.detector.state_dict()[name], ours, rtol=1e-5, atol=1e-5)
    records = digits.with_role("test")[:20]
    ours, theirs = (inspect_records(inspector, digits, records) for inspector in (here, there))
    np.testing.assert_allclose(theirs.scores, ours.scores, rtol=1e-6)


def test_scores_and_maps_are_the_same_bits(padims, digits, map_on):
    _, there = padims
    records = digits.with_role("test")[:20]
    ours, theirs = (list(score_images(there, who, records)) for who in (digits, map_on))
    assert len(ours) == 20
    for (our_score, our_map), (their_score, their_map) in zip(ours, theirs, strict=True):
        assert our_score == their_score
        assert np.array_equal(our_map, their_map)


def test_patchcores_coreset_of_coresets_covers_every_patch_within_the_radius_that_it_says(digits, map_on):
    here, there = (
        learned("patchcore", who, image_size=32, bank_patches=40, coreset_ratio=None)[0] for who in (digits, map_on)
    )
    exact, bound = here.detector.fit_facts()["covering_radius"], there.detector.fit_facts()["covering_radius_at_most"]
    images = FitImages(here, digits, digits.with_role("fit"))
    with torch.no_grad():
        patches = (
            torch.cat([here.detector.patch_features(batch).flatten(0, 2) for batch in images]) - there.detector.mean_
        )
    farthest = torch.cdist(patches.double(), there.detector.memory_bank_.double()).amin(dim=1).max().item()
    assert len(there.detector.memory_bank_) == 40
    assert exact <= farthest * (1 + 1e-6)
    assert farthest <= bound * (1 + 1e-5)
    assert farthest <= 4 * exact
    numbers, cells = there.detector.bank_places_.T
    ours = patches.view(len(images), -1, patches.shape[1])[numbers, cells]
    torch.testing.assert_close(ours, there.detector.memory_bank_)  # each entry is the patch it says
    assert set((numbers // 32).tolist()) == set(range(math.ceil(len(images) / 32)))  # every part is in the bank


@pytest.fixture(scope="module")
def fitted_here(tmp_path_factory):
    """A copy of what the pipeline needs, with one small category, and its results."""
    folder = tmp_path_factory.mktemp("here")
    copy_pipeline(folder)
    run_stages(folder, "prepare fit evaluate")
    return folder


def run_stages(folder, stages, **environment):
    """What they say; all of them in one process, which imports torch, and connects to Ray, once."""
    command = [sys.executable, "-B", "-c", STAGES_IN_ONE, stages, "--category", "digit_0"]
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    known["SOURCE_DATE_EPOCH"] = "0"
    result = subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_fit_and_evaluate_on_a_cluster_write_the_same_bytes(fitted_here, tmp_path):
    import ray

    there = tmp_path / "there"
    shutil.copytree(fitted_here, there)
    text = (there / "params.yaml").read_text(encoding="utf-8")
    (there / "params.yaml").write_text(re.sub(r"cluster: +#", "cluster: ray  #", text), encoding="utf-8")
    for name in ("models", "metrics/evaluate", "plots"):
        shutil.rmtree(there / name)
    said = run_stages(there, "fit evaluate", RAY_ADDRESS=ray.get_runtime_context().gcs_address)
    assert "digit_0: 2 workers of Ray process the images; without them, forecast" in said
    names = ["models/fitted/digit_0/detector.safetensors", "models/fitted/digit_0/manifest.json"]
    names += ["metrics/evaluate/digit_0.json", "models/left_out/digit_0.npz"]
    names += ["plots/records/digit_0.csv", "plots/regions/digit_0.csv", "plots/left_out/digit_0.csv"]
    for name in names:
        assert (there / name).read_bytes() == (fitted_here / name).read_bytes(), name


# --- scoring -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """Fifty images at two depths, two of them damaged, and a file that is no image."""
    made = tmp_path_factory.mktemp("many")
    for number, record in enumerate(digits.with_role("test")[:50]):
        path = made / ("a" if number % 2 else "b/c") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = digits.path_of(record).read_bytes()
        path.write_bytes(data[:40] if number in (3, 7) else data)
    (made / "notes.txt").write_text("not an image")
    return made


def rows_of(out):
    import pyarrow.parquet

    return [row for path in sorted(out.glob("*.parquet")) for row in pyarrow.parquet.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def scored(bundle, folder, cluster, tmp_path_factory):  # noqa: ARG001  the cluster must be there
    """A folder of rows, during whose making a worker was killed, and what was counted."""
    out, dying = tmp_path_factory.mktemp("rows"), OneDies(tmp_path_factory.mktemp("scored"))
    counts = score_many(bundle, [str(folder)], str(out), cluster=dying, progress=lambda *_: None)
    assert dying.killed.exists()
    return out, counts


def test_every_image_has_one_row_with_the_scorers_verdict_or_its_error(scored, bundle, folder):
    out, counts = scored
    rows = {row["path"]: row for row in rows_of(out)}
    scorer = Scorer(bundle, threads=1)
    paths = sorted(folder.rglob("*.png"))
    assert len(rows_of(out)) == len(rows) == len(paths) == counts.n_files == counts.n_new == 50
    for path in paths:
        row = rows[str(path)]
        if row["error"] is not None:
            assert path.name in ("03.png", "07.png")
            assert f"{path} cannot be read as an image" in row["error"]
            assert row["score"] is row["verdict"] is row["n_regions"] is row["p_value"] is None
            continue
        verdict = scorer.score_image(path)
        assert (row["score"], row["threshold"]) == (verdict.score, verdict.threshold)
        assert row["verdict"] == ("reject" if verdict.anomalous else "pass")
        assert (row["p_value"], row["uncertain"]) == (verdict.p_value, verdict.uncertain)
        assert row["n_regions"] == len(verdict.regions)
    assert counts.n_errors == 2
    assert counts.n_rejected == sum(row["verdict"] == "reject" for row in rows.values()) > 0


def test_a_second_start_scores_only_what_has_no_row_yet(scored, bundle, folder, cluster, tmp_path):
    out = tmp_path / "rows"
    shutil.copytree(scored[0], out)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert len(before) >= 3
    assert score_many(bundle, [str(folder)], str(out), cluster=cluster, progress=pytest.fail).n_new == 0
    lost = out / min(before)
    n_lost = len(rows_of(out)) - len([row for row in rows_of(out) if row not in rows_in(lost)])
    lost.rename(out / f"{lost.name}.77.partial")  # as a start that was killed leaves it
    assert 0 < n_lost <= LEAST_PART
    again = score_many(bundle, [str(folder)], str(out), cluster=cluster, progress=lambda *_: None)
    assert (again.n_new, again.n_files) == (n_lost, 50)
    by_path = lambda row: row["path"]  # noqa: E731
    assert sorted(rows_of(out), key=by_path) == sorted(rows_of(scored[0]), key=by_path)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet") if path.name in before}
    assert {name: time for name, time in kept.items() if name != lost.name}.items() <= before.items()


def rows_in(path):
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pylist()


def test_rows_of_another_bundle_are_not_mixed_in(scored, bundle, folder, cluster, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    from gonogo.files import read_sealed, seal

    seal(other, read_sealed(bundle) | {"category": "another"}, ["gauge.onnx"])
    with pytest.raises(DataError, match=r"has rows of the bundle .*name another folder"):
        score_many(other, [str(folder)], str(scored[0]), cluster=cluster, progress=pytest.fail)
    with pytest.raises(IntegrityError, match="has no manifest"):
        score_many(tmp_path, [str(folder)], str(scored[0]), cluster=cluster, progress=pytest.fail)
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "missing"):
        with pytest.raises(DataError, match=nothing):
            score_many(bundle, [str(tmp_path / nothing)], str(tmp_path / "o"), cluster=cluster, progress=pytest.fail)


# --- without Ray ---------------------------------------------------------------------------------------------------


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gonogo\[cluster\]'"):
        connect("ray")
    assert connect(None) is None
    with pytest.raises(ConfigError, match=r"fit\.cluster is 'spark'; expected ray or null"):
        connect("spark")


def test_one_machines_budget_and_its_gpu_do_not_go_with_a_cluster():
    alone = {"tiling": None, "left_out": 6, "shots": None, "rotations": 1, "finetune": None}
    with pytest.raises(ConfigError, match=r"fit.memory_budget_mb is 900 .*set one of the two to null"):
        FitParams(device="auto", cluster="ray", memory_budget_mb=900, **alone)
    with pytest.raises(ConfigError, match=r"fit.device is 'cuda' and fit.cluster is 'ray'"):
        FitParams(device="cuda", cluster="ray", memory_budget_mb=None, **alone)
    assert FitParams(device="cuda", cluster=None, memory_budget_mb=900, **alone).cluster is None


def test_cluster_without_out_or_with_what_goes_without_it_is_wrong_usage(capsys):
    for words in (["--cluster"], ["--cluster", "--out", "r", "--threads", "2"]):
        with pytest.raises(SystemExit) as stop:
            main(["score", "bundle", "image.png", *words])
        assert stop.value.code == 2
        assert "--cluster" in capsys.readouterr().err
