"""A small real project: photographed bricks with planted defects in folders, `gonogo init`, and a gauge."""

import os
import subprocess
import sys
from pathlib import Path

from checkout import ROOT
from conftest import OF_CATEGORY, run_stages, shares
from gonogo.cli.main import main
from gonogo.data.surfaces import Surfaces
from gonogo.images.reading import write_png

CATEGORY = "brick"
SMALL = {  # so that no stage takes longer than its imports
    "n_resamples: 1000": "n_resamples: 100",
    "synthetic_images: 64": "synthetic_images: 8",
    "other_size_images: 16": "other_size_images: 2",
    "images: 6 ": "images: 2 ",
    "runs: 200": "runs: 5",
    "warmup: 20": "warmup: 1",
}
FIT = "    fit: {detector: pca, image_size: 32, explained_variance: 0.9}\n    calibrate: {false_alarm_rate: 0.2}\n"


def environment(folder: Path) -> dict[str, str]:
    """Of processes in the project: this library, one thread, a site cache of its own."""
    own = {"DVC_SITE_CACHE_DIR": str(folder / "site"), "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return dict(os.environ) | own | {"PATH": path, "SOURCE_DATE_EPOCH": "1800000000"}


def call(project: Path, *words: str) -> None:
    """Run a command in the project."""
    done = subprocess.run(
        words, cwd=project, env=environment(project.parent), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def write_images(raw: Path) -> None:
    """A folder in MVTec's layout: good parts, and defects with masks."""
    parts = Surfaces(photograph="brick", window=32, fit_stride=32, defect_types=("scratch", "stain", "hole"))
    for sample in parts.samples(CATEGORY, Path(), shares(17)):
        split = "test" if sample.roles == ("test",) else "train"
        write_png(raw / split / sample.defect_type / f"{sample.name}.png", sample.image)
        if sample.mask is not None:
            write_png(raw / "ground_truth" / sample.defect_type / f"{sample.name}_mask.png", sample.mask)


def make_project(folder: Path) -> Path:
    """The project in a new folder, with a first commit and one with the results of all stages of its category."""
    write_images(folder / "images" / CATEGORY)
    project = folder / "project"
    os.environ["DVC_SITE_CACHE_DIR"] = str(folder / "site")
    assert main(["init", str(folder / "images"), "--into", str(project), "--no-tune"]) == 0
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    for old, new in SMALL.items():
        assert text.count(old) >= 1, old
        text = text.replace(old, new)
    head, _, own = text.partition(f'  "{CATEGORY}": {{prepare: ')
    options = own.rstrip().removesuffix("}")
    tolerances = "evaluate: {image_auroc: {fall: 0.5}}\nbench: {bundle_mb: {rise: 25%}}\n"
    (project / "tolerances.yaml").write_text(tolerances, encoding="utf-8")
    params.write_text(f"{head}  {CATEGORY}:\n    prepare: {options}\n{FIT}", encoding="utf-8")
    call(project, "git", "config", "user.name", "Ada")
    call(project, "git", "config", "user.email", "ada@localhost")
    call(project, "git", "commit", "--quiet", "--all", "--message", "Parameters")
    # In this process, which has imported torch already; `dvc commit` takes what was made, as `dvc repro` would.
    call(project, sys.executable, "-B", "stages/fingerprint.py")
    run_stages(project, OF_CATEGORY, CATEGORY)
    call(
        project,
        sys.executable,
        "-m",
        "dvc",
        "commit",
        "--force",
        "code",
        *(f"{name}@{CATEGORY}" for name in OF_CATEGORY),
    )
    call(project, "git", "add", "--all")
    call(project, "git", "commit", "--quiet", "--message", "Results")
    return project
