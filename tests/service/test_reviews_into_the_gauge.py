"""From the line back into the gauge: parts are judged, reviewed and accepted, and the next fit counts on them."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from serving import Running

# isort: split
from checkout import ROOT
from conftest import copy_pipeline, run_stages
from gonogo.cli.main import main
from gonogo.data.digits import read_digits
from gonogo.images.dataset import read_dataset
from gonogo.images.reading import read_image, write_png
from gonogo.inference.bundle import read_bundle
from gonogo.service.security import new_key
from gonogo.service.settings import Settings

CATEGORY = "digit_0"
STAGES = ("prepare", "fit", "evaluate", "export", "parity")  # up to the bundle
MADE = ("models", "bundles", "metrics", "plots", "reports", "data/prepared", "data/cards")


def new_parts(folder, n):
    """Files of a handwritten 0 under noise, unlike any image of the data set."""
    images, digits = read_digits()
    zeros, rng = images[np.flatnonzero(digits == 0)].astype(int), np.random.default_rng(5)
    for number in range(n):
        noisy = np.clip(zeros[number] + rng.integers(-20, 21, zeros[number].shape), 0, 255)
        write_png(folder / f"part{number}.png", noisy.astype(np.uint8))
    return sorted(folder.glob("*.png"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose stages run in this process, as dvc would run them, and have run once."""
    folder = tmp_path / "project"
    copy_pipeline(folder)
    (folder / "data/accepted.jsonl").touch()
    shutil.copy(ROOT / "data/accepted.jsonl", folder / "data/accepted.jsonl")

    def repro(*arguments):
        if "--single-item" not in arguments:
            for name in MADE:
                shutil.rmtree(folder / name, ignore_errors=True)
            run_stages(folder, STAGES)

    monkeypatch.chdir(folder)
    monkeypatch.setattr("gonogo.project.dvc.run_dvc", repro)
    repro()
    return folder


def calibrated_on(folder):
    """The SHA-256 of the images that the gauge is calibrated on, and how many good parts its certificate counts."""
    images = read_dataset(folder / "data/prepared" / CATEGORY, folder / "data/raw").with_role("calibrate")
    record = json.loads((folder / "bundles" / CATEGORY / "manifest.json").read_text())["threshold"]
    return {image.sha256 for image in images}, record["n_calibrate"]


def test_what_was_reviewed_as_good_is_accepted_once_and_counts_in_the_next_gauge(project, tmp_path, capsys):
    before, n_before = calibrated_on(project)
    bundle = shutil.copytree(project / "bundles" / CATEGORY, tmp_path / "bundle")
    parts = new_parts(tmp_path / "line", 5)
    images = read_dataset(project / "data/prepared" / CATEGORY, project / "data/raw")
    tested = next(image for image in images.with_role("test") if image.label == 0)
    known = [tmp_path / "line/tested.png", tmp_path / "line/twin.bmp"]  # which the data have, and a second file of one
    shutil.copy(images.path_of(tested), known[0])
    Image.fromarray(read_image(parts[4])).save(known[1])
    with Running(Settings(bundle=bundle, data=tmp_path / "data", threads=1, deadline=60.0, audit_share=1.0)) as running:
        running.keys["Ana"] = new_key(running.service.store, "Ana", "review")[1]
        for path in [*parts, *known]:
            answer = running.ask("POST", "/v1/inspect", content=path.read_bytes(), params={"name": path.name})
            assert answer.status_code == 200
        own = {"Sec-Fetch-Site": "same-origin"}
        running.http.post("/sign-in", data={"key": running.keys["Ana"]}, headers=own)
        for number in range(len(parts) + len(known)):  # through the queue, in which all of them are
            task = running.ask("POST", "/v1/reviews:next", role="Ana").json()["inspection"]
            form = {"label": "good"} if task["image"]["name"] != parts[0].name else {"new_type": "dent"}
            shown = running.http.post(f"/review/{task['id']}/review", data=form, headers=own)
            assert shown.status_code == 200, number
        answer = running.http.post("/review/export", data={"category": CATEGORY}, headers=own)
        (tmp_path / "reviewed.zip").write_bytes(answer.content)

    words = ["accept", "--reviewed", str(tmp_path / "reviewed.zip"), "--category", CATEGORY, "--role", "calibrate"]
    assert main([*words, "--by", "Bob", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    good = {hashlib.sha256(path.read_bytes()).hexdigest() for path in parts[1:]}
    history = json.loads((project / "data/accepted.jsonl").read_text().splitlines()[-1])
    assert {image["sha256"] for image in history["images"]} == good
    assert "Ana" in history["reason"], told
    assert [f"{tested.path}, which has the role test" in remark for remark in told["remarks"]].count(True) == 1

    after, n_after = calibrated_on(project)
    assert n_after == n_before + len(good)
    assert after - before == good
    assert hashlib.sha256(parts[0].read_bytes()).hexdigest() not in after
    assert read_bundle(project / "bundles" / CATEGORY).fingerprint != read_bundle(bundle).fingerprint

    assert main([*words, "--by", "Bob"]) == 3
    err = capsys.readouterr().err
    assert "nothing was accepted: the category has all of these images already" in err
    assert f"has the very same pixels as {tested.path}, which has the role test" in err
    assert calibrated_on(project) == (after, n_after)
