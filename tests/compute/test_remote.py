"""Data and models in a bucket: DVC's push, pull and import-url, and scoring from it, against a real S3 server."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gonogo.inference.scorer import Scorer

REASON = "no moto and dvc-s3: `make cluster` runs these tests in an environment that has them"
pytest.importorskip("moto", reason=REASON)
pytest.importorskip("dvc_s3", reason=REASON)

# What a server of one's own asks for; moto takes any key.
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """The address of a server of S3 with two buckets, `store` and `photos`."""
    port_file = tmp_path_factory.mktemp("s3") / "log"
    with port_file.open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", "0"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | KEYS,
        )
    try:
        address = ""
        for _ in range(3000):
            said = port_file.read_text()
            if "Running on http" in said:
                address = "http" + said.split("Running on http")[1].split()[0]
                break
            time.sleep(0.1)
        assert address, port_file.read_text()
        for bucket in ("store", "photos"):
            client(address).create_bucket(Bucket=bucket)
        yield address
    finally:
        server.kill()
        server.wait()


def client(endpoint):
    import boto3

    return boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="any", aws_secret_access_key="any")


def put(endpoint, key, data):
    client(endpoint).put_object(Bucket="photos", Key=key, Body=data)


def dvc(folder, *words):
    environment = os.environ | KEYS | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / ".site")}
    command = [sys.executable, "-m", "dvc", *words]
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert result.returncode == 0, f"dvc {' '.join(words)}: {result.stderr}"
    return result.stdout


def git(folder, *words):
    who = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def project(endpoint, tmp_path_factory):
    """A project of DVC whose default remote is the bucket `store`, as docs/scale.md sets it up."""
    folder = tmp_path_factory.mktemp("project")
    git(folder, "init", "--quiet")
    dvc(folder, "init", "--quiet")
    dvc(folder, "remote", "add", "--default", "bucket", "s3://store/gonogo")
    dvc(folder, "remote", "modify", "bucket", "endpointurl", endpoint)
    return folder


def test_what_is_pushed_to_a_bucket_is_pulled_into_a_fresh_clone(project, bundle, tmp_path):
    shutil.copytree(bundle, project / "bundles/digit_0")
    dvc(project, "add", "--quiet", "bundles/digit_0")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "A bundle")
    assert "5 files pushed" in dvc(project, "push")  # gauge, manifest, report, card, and the list of all
    git(tmp_path, "clone", "--quiet", str(project), "clone")
    clone = tmp_path / "clone"
    assert not (clone / "bundles/digit_0").exists()
    dvc(clone, "pull", "--quiet")
    assert Scorer(clone / "bundles/digit_0").threshold == Scorer(bundle).threshold
    for path in bundle.iterdir():
        assert (clone / "bundles/digit_0" / path.name).read_bytes() == path.read_bytes()


def test_images_are_imported_from_a_bucket_and_its_changes_are_seen(project, endpoint, digits):
    paths = [digits.path_of(record) for record in digits.with_role("test")[:3]]
    for number, path in enumerate(paths[:2]):
        put(endpoint, f"tiles/good/{number}.png", path.read_bytes())
    (project / "data/raw").mkdir(parents=True)
    dvc(project, "remote", "add", "photos", "s3://photos")
    dvc(project, "remote", "modify", "photos", "endpointurl", endpoint)
    dvc(project, "import-url", "--quiet", "remote://photos/tiles", "data/raw/tiles")
    imported = project / "data/raw/tiles/good"
    assert sorted(path.name for path in imported.iterdir()) == ["0.png", "1.png"]
    assert (imported / "1.png").read_bytes() == paths[1].read_bytes()
    put(endpoint, "tiles/good/1.png", paths[2].read_bytes())
    dvc(project, "update", "--quiet", "data/raw/tiles.dvc")
    assert (imported / "1.png").read_bytes() == paths[2].read_bytes()


def test_the_command_scores_from_bucket_to_bucket_without_torch(bundle, digits, endpoint, tmp_path):
    pytest.importorskip("ray", reason=REASON)
    import pyarrow.fs
    import pyarrow.parquet

    paths = [digits.path_of(record) for record in digits.with_role("test")[:5]]
    for number, path in enumerate(paths):
        put(endpoint, f"line/{number}.png", path.read_bytes())
    put(endpoint, "line/torn.png", paths[0].read_bytes()[:50])
    (tmp_path / "torch.py").write_text("raise ImportError('torch is blocked')\n")
    environment = os.environ | KEYS | {"AWS_ENDPOINT_URL": endpoint}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[2] / "src")])
    command = [sys.executable, "-m", "gonogo.cli.main", "score", str(bundle), "s3://photos/line", "--cluster"]
    command += ["--out", "s3://store/rows", "--workers", "1", "--json"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 3, result.stderr
    report = json.loads(result.stdout)
    assert (report["ok"], report["n_files"], report["n_new"], report["n_errors"]) == (False, 6, 6, 1)
    store = pyarrow.fs.S3FileSystem(access_key="any", secret_key="any", region="us-east-1", endpoint_override=endpoint)
    (part,) = store.get_file_info(pyarrow.fs.FileSelector("store/rows"))
    rows = pyarrow.parquet.read_table(part.path, filesystem=store).to_pylist()
    scorer = Scorer(bundle, threads=1)
    expected = [scorer.score_image(path).score for path in paths]
    assert [row["path"] for row in rows] == [
        f"s3://photos/line/{name}.png" for name in ("0", "1", "2", "3", "4", "torn")
    ]
    assert [row["score"] for row in rows] == [*expected, None]
    assert "cannot be read as an image" in rows[5]["error"]
