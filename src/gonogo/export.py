"""One ONNX file for the whole gauge: uint8 pixels of any size and batch in, score and anomaly map out."""

import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import onnx
import torch
from onnx import TensorProto, compose, helper
from pydantic import Field
from torch import Tensor, nn

from gonogo.detectors.anomalib import ONNX_NODE, Anomalib
from gonogo.detectors.isolation_forest import IsolationForest
from gonogo.inspector import Inspector

PIXELS, SCORE, MAP = "pixels", "score", "anomaly_map"


@dataclass(frozen=True)
class ExportParams:
    """The `export` section."""

    opset: Annotated[int, Field(ge=18, le=21)]


def export_onnx(inspector: Inspector, path: Path, *, metadata: Mapping[str, Any], opset: int) -> None:
    """Write the inspector as ONNX, with `metadata` in the file as JSON strings.

    Input `pixels` (n, h, w, 3) uint8 RGB; outputs `score` (n,) and `anomaly_map` (n, h, w), float32.

    Raises:
        ExportError: the detector cannot be written as ONNX.
    """
    if isinstance(inspector.detector, IsolationForest):
        proto = _forest_graph(inspector, inspector.detector, opset)
    elif isinstance(inspector.detector, Anomalib):
        proto = _anomalib_graph(inspector, inspector.detector, opset)
    else:
        proto = _traced(inspector, [SCORE, MAP], opset)
    helper.set_model_props(
        proto, {f"gonogo.{key}": json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    )
    onnx.checker.check_model(proto, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)


def _traced(module: nn.Module, outputs: list[str], opset: int) -> onnx.ModelProto:
    example = torch.zeros((2, 48, 40, 3), dtype=torch.uint8)
    dims = {0: torch.export.Dim("n"), 1: torch.export.Dim("h"), 2: torch.export.Dim("w")}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter about torch's own tree specs
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=(dims,),
            input_names=[PIXELS],
            output_names=outputs,
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    return _without_traces(proto)


def _without_traces(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without stack traces, which have this machine's paths: the same gauge would be another file."""
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]
    return proto


class _ForestPixels(nn.Module):
    """The pixels' path of a forest: its features, and 1 where the gauge looks, 0 elsewhere, of the map's size."""

    def __init__(self, inspector: Inspector, forest: IsolationForest) -> None:
        super().__init__()
        self.inspector = inspector
        self.forest = forest

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        looks = torch.ones_like(pixels[..., 0], dtype=torch.float32)
        inspected = self.inspector.inspected(pixels.shape[1], pixels.shape[2])
        return self.forest.features(self.inspector.resized(pixels)), looks if inspected is None else looks * inspected


def _forest_graph(inspector: Inspector, detector: IsolationForest, opset: int) -> onnx.ModelProto:
    """The traced pixels' path, then skl2onnx's forest, then score = -score_samples and a map of the score."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    forest = detector.forest()
    head = _traced(_ForestPixels(inspector, detector), ["features", "looks"], opset)
    tail = to_onnx(
        forest,
        initial_types=[("rows", FloatTensorType([None, forest.n_features_in_]))],
        options={id(forest): {"score_samples": True}},
        target_opset={"": opset, "ai.onnx.ml": 3},
    )
    tail.ir_version = head.ir_version
    for output in tail.graph.output:  # skl2onnx leaves the shape out, and a merge wants one
        output.type.tensor_type.shape.dim.add().dim_param = "n"
        output.type.tensor_type.shape.dim.add().dim_value = 1
    tail = compose.add_prefix(tail, "forest_")
    head = _with_domains(head, tail)
    tail = _with_domains(tail, head)
    proto = compose.merge_models(
        head, tail, io_map=[("features", "forest_rows")], outputs=["looks", "forest_score_samples"]
    )
    proto.graph.initializer.extend(
        [
            helper.make_tensor("flat_shape", TensorProto.INT64, [1], [-1]),
            helper.make_tensor("column_shape", TensorProto.INT64, [3], [-1, 1, 1]),
        ]
    )
    proto.graph.node.extend(
        [
            helper.make_node("Neg", ["forest_score_samples"], ["score_column"]),
            helper.make_node("Reshape", ["score_column", "flat_shape"], [SCORE]),
            helper.make_node("Reshape", ["score_column", "column_shape"], ["score_grid"]),
            helper.make_node("Mul", ["looks", "score_grid"], [MAP]),
        ]
    )
    map_shape = [dim.dim_param for dim in head.graph.output[1].type.tensor_type.shape.dim]
    del proto.graph.output[:]
    proto.graph.output.extend(
        [
            helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, map_shape[:1]),
            helper.make_tensor_value_info(MAP, TensorProto.FLOAT, map_shape),
        ]
    )
    return proto


def _anomalib_graph(inspector: Inspector, detector: Anomalib, opset: int) -> onnx.ModelProto:
    """The traced graph around a node of our own, and in that node's place a Scan of anomalib's graph over the images.

    Scan, since networks of anomalib are written for one image or trace for the batch that they see.
    """
    network = compose.add_prefix(onnx.load_from_string(detector.onnx_of_one_image(opset)), "anomalib_")
    proto = _with_domains(_traced(inspector, [SCORE, MAP], opset), network)
    (node,) = (node for node in proto.graph.node if (node.domain, node.op_type) == ONNX_NODE)
    body = _without_traces(network).graph
    node.CopyFrom(helper.make_node("Scan", node.input, node.output, body=body, num_scan_inputs=1))
    proto.functions.extend(network.functions)
    (domain,) = (entry for entry in proto.opset_import if entry.domain == ONNX_NODE[0])
    proto.opset_import.remove(domain)
    return proto


def _with_domains(proto: onnx.ModelProto, other: onnx.ModelProto) -> onnx.ModelProto:
    known = {entry.domain for entry in proto.opset_import}
    proto.opset_import.extend(entry for entry in other.opset_import if entry.domain not in known)
    return proto
