"""The network's convolutions in eight bits: faster where the processor has instructions for it, but less exact.

Static quantisation by onnxruntime: activations as unsigned bytes with one scale per tensor, from the range that the
fit images show; weights as signed bytes of seven bits, one scale per output channel, so that no processor's sum of two
products overflows and all of them compute the same. Convolutions are quantised, and the clipping and the sums after
them, so that values stay bytes from one operation to the next. The first FLOATS convolutions stay in floats, since
rounding costs most accuracy there (docs/speed.md), and so do all other operations, above all the distances.

`gonogo.export.int8` decides whether the result may be used.
"""

import logging
import math
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from gonogo.errors import ExportError
from gonogo.images.dataset import Dataset

CALIBRATION_IMAGES = 64  # of the fit images, evenly spaced, that show the range of each activation
FLOATS = 6  # the first convolutions in the graph's order, which are not quantised
KEPT = ("Clip", "Relu", "Add")  # quantised too, where all their inputs come from quantised nodes


class _FitImages(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    def __init__(self, batches: Iterable[np.ndarray]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"pixels": batch}


def calibration_images(dataset: Dataset) -> Iterator[np.ndarray]:
    """Pixels (1, h, w, 3) of CALIBRATION_IMAGES fit images, evenly spaced, or of all if they are fewer."""
    records = dataset.with_role("fit")
    for record in records[:: math.ceil(len(records) / CALIBRATION_IMAGES)]:
        yield dataset.pixels_of(record)[None]


def quantise(onnx_path: Path, target: Path, batches: Iterable[np.ndarray]) -> None:
    """Write the gauge of `onnx_path` with its convolutions in eight bits.

    Args:
        batches: pixels (n, h, w, 3) uint8 of fit images, from which the ranges of activations are learnt.

    Raises:
        ExportError: the graph has no more than FLOATS convolutions.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # onnxruntime would advise to pre-process the graph, which was just done.
        logging.disable(logging.WARNING)
        try:
            quant_pre_process(str(onnx_path), str(prepared), skip_symbolic_shape=True)
            nodes = list(quantisable(onnx.load(prepared).graph))
            if not nodes:
                raise ExportError(
                    f"export.int8 is true, but the graph has no convolution to quantise after the first {FLOATS}, "
                    "loops over tiles aside; set it to false, or choose a detector with a deeper CNN and no tiling"
                )
            quantize_static(
                str(prepared),
                str(target),
                _FitImages(batches),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", *KEPT],
                nodes_to_quantize=nodes,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.disable(logging.NOTSET)


def quantisable(graph: GraphProto) -> Iterator[str]:
    """Names of the nodes to quantise, in the graph's order."""
    in_bytes: set[str] = set()
    constants = {"", *(tensor.name for tensor in graph.initializer)}
    n_convolutions = 0
    for node in graph.node:
        if node.op_type == "Conv":
            n_convolutions += 1
            chosen = n_convolutions > FLOATS
        else:
            chosen = node.op_type in KEPT and set(node.input) - constants <= in_bytes
        if chosen:
            in_bytes.update(node.output)
            yield node.name
