"""What a gauge's features are: which network computes them, and in what form a bundle gives them.

The space identifies the numbers that the features are: two gauges of the same space give the same features of the same
image. It is a hash of what computes them and of nothing that a fit learns, so that a gauge that was fitted again keeps
the cases that were collected with the one before.
"""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import torch

from gonogo.detectors.contract import FEATURES
from gonogo.model.inspector import Inspector


def feature_facts(inspector: Inspector) -> dict[str, Any] | None:
    """`space` (hexadecimal), `dims` and `cells` (rows and columns over the image); None: the detector has no features.

    The detector must be fitted.
    """
    if not inspector.detector.has_features:
        return None
    side = torch.zeros(1, *inspector.input_size, 3, dtype=torch.uint8)
    with torch.inference_mode():
        results = dict(zip(inspector.detector.output_names(), inspector.outputs(side)[2:], strict=True))
    _, dims, *cells = results[FEATURES].shape
    return {"space": feature_space(inspector), "dims": dims, "cells": cells}


def feature_space(inspector: Inspector) -> str:
    """SHA-256 of the backbone with its weights, and of what is done to pixels before it sees them."""
    (backbone,) = inspector.detector.backbones()
    tiling = None if inspector.tiles is None else asdict(inspector.tiles.tiling)
    described = {
        "backbone": backbone.name,
        "layers": backbone.layers,
        "image_size": list(inspector.detector.image_size),
        "tiling": tiling,
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    tensors = {"mean": backbone.mean, "std": backbone.std, **backbone.model.state_dict()}
    if inspector.inside is not None:
        tensors["inside"] = inspector.inside
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
