"""The networks that fit.backbone can name: which there are and whose weights are here, without importing timm."""

import os
import re
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from gonogo.errors import MissingExtraError
from gonogo.project.catalogue import constant


def backbone_names() -> list[str]:
    """Every model that the installed timm can build, from the text of its files.

    Raises:
        MissingExtraError: there is no timm.
    """
    found = find_spec("timm")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("backbones are timm's, which is missing; pip install 'gonogo[pipeline]'")
    files = Path(found.submodule_search_locations[0], "models").glob("*.py")
    pattern = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
    return sorted(name for file in files for name in pattern.findall(file.read_text(encoding="utf-8")))


def weights_here() -> dict[str, str]:
    """Where the pretrained weights of backbones are that this machine has, by backbone.

    Those of a package, and those that Hugging Face's hub keeps after a download, by its `timm/` repositories.
    """
    here = {}
    package = constant("gonogo.detectors.backbones.backbone", "LITE0_PACKAGE")
    with suppress(metadata.PackageNotFoundError):
        here[constant("gonogo.detectors.backbones.backbone", "LITE0")] = (
            f"package {package} {metadata.version(package)}"
        )
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    for folder in sorted(cache.glob("models--timm--*/snapshots")):
        name = folder.parent.name.removeprefix("models--timm--").partition(".")[0]
        here.setdefault(name, str(folder.parent))
    return here
