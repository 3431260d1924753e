"""The versions of what computes, for manifests and checkpoints."""

import platform
from importlib import metadata

import gonogo


def versions(*distributions: str) -> dict[str, str]:
    """Versions of gonogo, Python and the named distributions."""
    return {"gonogo": gonogo.__version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in distributions
    }
