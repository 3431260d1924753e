"""The script that runs in anomalib's own environment: it loads a checkpoint and computes raw scores and maps.

`gonogo.detectors.anomalib.anomalib` starts it with the name of the model and the height and width of its images. To a
request

    checkpoint (m,) uint8           it answers version (), grid (2,): height and width of a map, 1 x 1 without one
    pixels (n, 3, h, w) float32     score (n,), anomaly_map (n, gh, gw), both float32
    opset ()                        onnx (m,) uint8: a graph from pixels (3, h, w) to score (), anomaly_map (gh, gw)

or error (), a sentence.
"""

import io
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

# numpy and torch are imported by now, from this environment; gonogo comes from beside this file.
if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from gonogo.detectors.anomalib.worker import receive, send
from gonogo.detectors.backbones.torchvision_schema import import_torchvision
from gonogo.images.size import ImageSize

if __name__ == "__main__":
    sys.path.pop(0)


class Refusal(Exception):
    """The request cannot be fulfilled; the message is for the user."""


class Raw(nn.Module):
    """anomalib's pre-processing and network, without the post-processing that clamps and normalises its output."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.pre_processor = module.pre_processor
        self.network = module.model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Score () and map (gh, gw) of pixels (3, h, w) in [0, 255]; without a map, the score as (1, 1)."""
        image = pixels[None] / 255
        output = self.network(image if self.pre_processor is None else self.pre_processor(image))
        score, anomaly_map = output.pred_score, output.anomaly_map
        if score is None:
            score = anomaly_map.amax()  # as anomalib's PostProcessor does
        grid = score.reshape(1, 1) if anomaly_map is None else anomaly_map.reshape(anomaly_map.shape[-2:])
        return score.reshape(()).float(), grid.float()


def load(checkpoint: np.ndarray, model: str, image_size: ImageSize) -> Raw:
    """The checkpoint's network, ready to score. Only tensors and plain data are unpickled, never code.

    Raises:
        Refusal: anomalib has no such model, the checkpoint is not one of it, or its pre-processing is not a resize to
            `image_size` and a normalisation.
    """
    import anomalib.models
    import timm

    kinds = {name.lower(): getattr(anomalib.models, name) for name in anomalib.models.__all__}
    kind = kinds.get(model.replace("_", "").lower())
    if kind is None:
        raise Refusal(f"fit.model is {model!r}; anomalib has {', '.join(sorted(anomalib.models.__all__))}")
    create = timm.create_model

    def without_download(*args: Any, **kwargs: Any) -> Any:  # the checkpoint holds these weights too, and all of them
        return create(*args, **(kwargs | {"pretrained": False}))

    try:
        with mock.patch("timm.create_model", without_download):
            module = kind.load_from_checkpoint(
                io.BytesIO(checkpoint.tobytes()), map_location="cpu", strict=True, weights_only=True
            )
    except pickle.UnpicklingError as error:
        raise Refusal(
            "expected a checkpoint of tensors and plain data, as anomalib writes it from 2.7 on; this one is none, or "
            f"holds objects, which could run any code and are not loaded: train it again ({str(error)[:300]})"
        ) from error
    except Exception as error:
        raise Refusal(f"the checkpoint does not make a {kind.__name__}: {type(error).__name__}: {error}") from error
    _require_resize(module.pre_processor, image_size)
    return Raw(module).eval().requires_grad_(False)


def _require_resize(pre_processor: Any, image_size: ImageSize) -> None:
    """Accept what gonogo's own resize followed by a normalisation equals.

    Raises:
        Refusal: it crops, or does something else to the image, or resizes to another size.
    """
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    transform = None if pre_processor is None else pre_processor.transform
    waiting = [] if transform is None else [transform]
    while waiting:
        step = waiting.pop()
        if isinstance(step, Compose):
            waiting += step.transforms
        elif isinstance(step, Resize):
            size = ImageSize(*(step.size if len(step.size) == 2 else list(step.size) * 2))
            if size != image_size:
                raise Refusal(
                    f"fit.image_size is {image_size.written}, the checkpoint resizes to {size.height} x {size.width}; "
                    f"set fit.image_size to {size.written}"
                )
        elif not isinstance(step, Normalize):
            raise Refusal(f"the checkpoint's pre-processing has {step}; only Resize and Normalize can be taken")


@torch.inference_mode()
def score(raw: Raw, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Scores (n,) and maps (n, gh, gw) of pixels (n, 3, h, w), image by image, so that no batch changes a score."""
    scored = [raw(image) for image in torch.from_numpy(pixels)]
    scores, maps = (torch.stack(parts).numpy() for parts in zip(*scored, strict=True))
    return {"score": scores, "anomaly_map": maps}


def describe(raw: Raw, image_size: ImageSize) -> dict[str, np.ndarray]:
    """anomalib's version, and the size of the maps, from a black image."""
    import anomalib

    maps = score(raw, np.zeros((1, 3, *image_size), np.float32))["anomaly_map"]
    return {"version": np.array(anomalib.__version__), "grid": np.array(maps.shape[1:])}


def onnx_of(raw: Raw, image_size: ImageSize, opset: int) -> np.ndarray:
    """The bytes of the ONNX graph of one image, (m,) uint8."""
    program = torch.onnx.export(
        raw,
        (torch.zeros(3, *image_size),),
        dynamo=True,
        input_names=["pixels"],
        output_names=["score", "anomaly_map"],
        opset_version=opset,
        verbose=False,
    )
    assert program is not None
    return np.frombuffer(program.model_proto.SerializeToString(), np.uint8)


def main(model: str, image_size: ImageSize) -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    import_torchvision()
    import anomalib.models  # noqa: F401  where it is missing, the process ends with the message

    raw: Any = None
    while True:
        try:
            request = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if "checkpoint" in request:
                raw = load(request["checkpoint"], model, image_size)
                answer = describe(raw, image_size)
            elif "opset" in request:
                answer = {"onnx": onnx_of(raw, image_size, int(request["opset"]))}
            else:
                answer = score(raw, request["pixels"])
        except Exception as error:
            traceback.print_exc()
            message = str(error) if isinstance(error, Refusal) else f"{type(error).__name__}: {error}"
            answer = {"error": np.array(message)}
        send(answers, **answer)


if __name__ == "__main__":
    main(sys.argv[1], ImageSize(int(sys.argv[2]), int(sys.argv[3])))
