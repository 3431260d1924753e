"""The fit of a category on a rented GPU: the plan, which needs no account, and the body that runs there.

The body gets what the stage fit reads as one archive and returns what the stage wrote, so that it is the same on this
machine and on a rented one. Only `launch` talks to Modal, and needs an account.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path, PurePosixPath

from gonogo.errors import ConfigError, DataError, MissingExtraError, PipelineError
from gonogo.images.dataset import RAW, located, read_dataset
from gonogo.params import Params, project_path
from gonogo.project.dvc import run_dvc
from gonogo.project.git import git

PARAMS = Path("params.yaml")
# US dollars for an hour of Modal's GPUs, by name; some regions and kinds of machines cost more.
PRICES = {"T4": 0.5904, "L4": 0.7992, "L40S": 1.9512, "A100-80GB": 2.4984, "H100": 3.9492}
PRICES_OF = "2026-05-07"
CODE, SINGLE = ("src/", "stages/"), ("params.yaml", "dvc.yaml")  # of the files that git has, those that the stage needs
RAW_THERE = "raw_images"  # the folder of raw images in the archive, wherever it lies here


@dataclass(frozen=True)
class Plan:
    """What a fit on a rented GPU would do and cost.

    Attributes:
        gpu: name of the GPU, one of PRICES.
        hours: after which the fit is ended there.
        dollars: what that costs at most, at the price of PRICES_OF.
        n_files, bytes_up: what is sent, before it is compressed.
        bytes_down: size of the category's model here, which that of the new one is like; None where there is none.
    """

    category: str
    stage: str
    gpu: str
    hours: float
    dollars: float
    n_files: int
    bytes_up: int
    bytes_down: int | None

    @property
    def sentence(self) -> str:
        """The plan for whoever pays."""
        down = "of unknown size" if self.bytes_down is None else f"of about {self.bytes_down / 1e6:,.1f} MB"
        return (
            f"{self.stage} on one {self.gpu}, ended after {self.hours:g} h at most: at most {self.dollars:,.2f} US "
            f"dollars, at the price of {PRICES_OF}; {self.n_files} files of {self.bytes_up / 1e6:,.1f} MB go up, a "
            f"model {down} comes down"
        )


def plan_fit(category: str, *, gpu: str, hours: float) -> Plan:
    """The plan for the project in the current folder.

    Raises:
        ConfigError: there is no such category or GPU, or the hours are none.
        DataError: the category is not prepared.
    """
    Params(PARAMS, category)
    if gpu not in PRICES:
        raise ConfigError(f"there is no price of a GPU {gpu!r}; choose one of {', '.join(PRICES)}")
    if not 0 < hours <= 24:
        raise ConfigError(f"hours is {hours:g}; a fit is given more than 0 and at most 24")
    files = [source for source, _ in _files(category)]
    model = project_path("models", category)
    down = sum(path.stat().st_size for path in model.rglob("*") if path.is_file()) if model.is_dir() else None
    size = sum(path.stat().st_size for path in files)
    return Plan(category, f"fit@{category}", gpu, hours, PRICES[gpu] * hours, len(files), size, down)


def archive_of(category: str) -> bytes:
    """What the stage fit of a category reads, as one archive.

    Raises:
        DataError: the category is not prepared.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for source, name in _files(category):
            if name == PARAMS.name:
                text = re.sub(r"(?m)^raw:.*$", f"raw: {RAW_THERE}", source.read_text(encoding="utf-8"))
                archive.writestr(name, text)
            else:
                archive.write(source, name)
    return packed.getvalue()


def fit_archive(archive: bytes, category: str) -> bytes:
    """Run the stage fit on an archive's files, in a folder of its own; an archive of what it wrote.

    This is the body that a rented machine runs; it has gonogo installed.

    Raises:
        PipelineError: the stage failed; the message is its own.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(archive, folder)
        (folder / RAW_THERE).mkdir(exist_ok=True)
        before = set(folder.rglob("*"))
        command = [sys.executable, "stages/fit.py", "--category", category]
        done = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip()[-2000:]
            raise PipelineError(f"stages/fit.py failed with exit status {done.returncode}: {said}")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
            for file in sorted(path for path in folder.rglob("*") if path.is_file() and path not in before):
                made.write(file, file.relative_to(folder).as_posix())
        return packed.getvalue()


def unpack(archive: bytes, folder: Path) -> list[str]:
    """Write the files of an archive below a folder; their names.

    Raises:
        DataError: a name leads out of the folder; nothing is written.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        names = [info.filename for info in files.infolist() if not info.is_dir()]
        for name in names:
            place = PurePosixPath(name)
            if place.is_absolute() or ".." in place.parts or "\\" in name:
                raise DataError(f"the archive names {name!r}, outside of its folder")
        files.extractall(folder, names)
    return names


def launch(plan: Plan) -> list[str]:
    """Run the plan on Modal, and bring what the stage wrote into the workspace and into DVC; the names of the files.

    What happens on Modal itself is not tested, since it needs an account.

    Raises:
        MissingExtraError: modal is not installed.
        PipelineError: there is no token, Modal refuses, the stage failed there, or DVC does not take the files.
    """
    try:
        import modal
    except ImportError as error:
        raise MissingExtraError("this needs modal, which is missing; pip install 'gonogo[gpu]'") from error
    image = modal.Image.debian_slim(python_version="3.11").pip_install(*pins()).add_local_python_source("gonogo")
    app = modal.App("gonogo-fit")
    remote = app.function(image=image, gpu=plan.gpu, timeout=int(3600 * plan.hours), serialized=True)(fit_archive)
    try:
        with app.run():
            made = remote.remote(archive_of(plan.category), plan.category)
    except modal.exception.AuthError as error:
        raise PipelineError(f"Modal has no token here ({error}); `modal token new` makes one") from error
    except modal.exception.Error as error:
        raise PipelineError(f"Modal: {error}") from error
    names = unpack(made, Path())
    run_dvc("commit", "--force", plan.stage)
    return names


def pins() -> list[str]:
    """The packages of the pipeline as they are installed here, for the machine that is rented."""
    found = []
    for requirement in requires("gonogo") or ():
        match = re.match(r"[A-Za-z0-9._-]+", requirement)
        if match and ("extra ==" not in requirement or re.search(r"extra == .pipeline.", requirement)):
            try:
                found.append(f"{match[0]}=={version(match[0]).partition('+')[0]}")
            except PackageNotFoundError:
                continue
    return found


def _files(category: str) -> Iterator[tuple[Path, str]]:
    """What the stage fit reads, each file with its name in the archive: code, parameters, and the category's images.

    Raises:
        DataError: the category is not prepared.
    """
    for name in git(Path(), "ls-files", "-z").split("\0")[:-1]:
        if name.startswith(CODE) or name in SINGLE:
            yield Path(name), name
    prepared = project_path("prepared", category)
    dataset = read_dataset(prepared, Params(PARAMS, category).raw)
    for path in sorted(prepared.rglob("*")):
        if path.is_file():
            yield path, path.as_posix()
    for record in dataset.records:
        if record.path.startswith(RAW) and record.role != "test":
            below = record.path.removeprefix(RAW)
            yield located(record.path, prepared, dataset.raw), f"{RAW_THERE}/{below}"
