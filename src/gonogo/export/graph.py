"""The gauge as one ONNX file, from uint8 pixels of any size and batch size to scores and anomaly maps."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper
from pydantic import Field
from torch import Tensor, nn

from gonogo.compute.memory import without_garbage_collection
from gonogo.detectors.contract import NETWORK_NODE, BringsNetwork, Detector
from gonogo.detectors.isolation_forest import IsolationForest
from gonogo.model.inspector import Inspector
from gonogo.model.tiling import Tiles

INT8_FILE = "gauge_int8.onnx"  # beside the float file, where `ExportParams.int8` is True
PIXELS, SCORE, MAP, PATCHES = "pixels", "score", "anomaly_map", "patch_scores"

Shape = tuple[int | str, ...]  # a name stands for a dimension of any size
IMAGES: tuple[Shape, torch.dtype] = (("n", "h", "w", 3), torch.uint8)
INNER = "detector/"  # begins every name inside the detector's graph where it is part of another
EXAMPLE_SIZES = {"n": 2, "h": 48, "w": 40}


@dataclass(frozen=True)
class ExportParams:
    """The `export` section."""

    opset: Annotated[int, Field(ge=18, le=21)]
    int8: bool


def export_onnx(inspector: Inspector, path: Path, *, metadata: Mapping[str, Any], opset: int) -> None:
    """Write the inspector as ONNX, with `metadata` in the file as JSON strings.

    Input `pixels` (n, h, w, 3) uint8 RGB; outputs `score` (n,) and `anomaly_map` (n, h, w), float32, and those of
    `Inspector.outputs` that the detector has; of one that localises also `patch_scores` (n, t, gh, gw) float32, the
    detector's own grids, one of each tile.

    Raises:
        ExportError: the detector cannot be written as ONNX.
    """
    if inspector.tiles is None and not isinstance(inspector.detector, IsolationForest):
        names = [SCORE, MAP, *_more_outputs(inspector.detector)]
        proto = traced(_Whole(inspector), {PIXELS: IMAGES}, names, opset)
        proto = _with_network(proto, inspector.detector, opset)
    else:
        proto = _composed(inspector, opset)
    describe(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)


def describe(proto: onnx.ModelProto, metadata: Mapping[str, Any]) -> None:
    """Put `metadata` into the file as JSON strings, in place of any that it had."""
    helper.set_model_props(
        proto, {f"gonogo.{key}": json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    )


def traced(
    module: nn.Module, inputs: dict[str, tuple[Shape, torch.dtype]], outputs: list[str], opset: int
) -> onnx.ModelProto:
    """The graph that torch makes of the module's `forward`, whose inputs have the given names, shapes and types."""
    sizes = {name: torch.export.Dim(name) for name in EXAMPLE_SIZES}
    examples, dynamic = [], []
    for shape, dtype in inputs.values():
        examples.append(
            torch.zeros([EXAMPLE_SIZES[size] if isinstance(size, str) else size for size in shape], dtype=dtype)
        )
        dynamic.append({axis: sizes[size] for axis, size in enumerate(shape) if isinstance(size, str)})
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), _out_of_place(module), without_garbage_collection():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter about torch's own tree specs
        warnings.filterwarnings("ignore", "# The axis name: . will not be used")  # two inputs have the same n
        program = torch.onnx.export(
            module.eval(),
            tuple(examples),
            dynamo=True,
            dynamic_shapes=tuple(dynamic),
            input_names=list(inputs),
            output_names=outputs,
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    return _without_traces(proto)


@contextmanager
def _out_of_place(module: nn.Module) -> Iterator[None]:
    """Within it no activation works in place: of one that does, the exporter makes other operators one by one, which
    takes a fifth of its time, and the graph comes to the same."""
    in_place = [one for one in module.modules() if getattr(one, "inplace", None) is True]
    for one in in_place:
        one.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for one in in_place:
            one.inplace = True  # type: ignore[assignment]


def _without_traces(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without stack traces, which have this machine's paths: the same gauge would be another file."""
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]
    return proto


class _Outputs(nn.Module):
    """A detector with all its outputs, for torch to trace."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return self.detector.outputs(pixels)


class _Whole(nn.Module):
    """An inspector without tiles, with all outputs of the graph, for torch to trace."""

    def __init__(self, inspector: Inspector) -> None:
        super().__init__()
        self.inspector = inspector

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        detector = self.inspector.detector
        scores, grids, *others = detector.outputs(self.inspector.resized(pixels))
        patches = [grids[:, None]] if detector.localises else []
        further = self.inspector.further(others, pixels)
        return *self.inspector.to_image(scores, grids, pixels), *further, *patches


def _more_outputs(detector: Detector) -> list[str]:
    """The names of the graph's outputs after score and map."""
    return [*detector.output_names(), *([PATCHES] if detector.localises else [])]


class _Frame(nn.Module):
    """What an inspector does before its detector and after it, for torch to trace."""

    def __init__(self, inspector: Inspector) -> None:
        super().__init__()
        self.inspector = inspector

    def forward(
        self, pixels: Tensor, scores: Tensor, grids: Tensor, first: Tensor | None = None, second: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        inspector = self.inspector
        seen = inspector.resized(pixels), *inspector.to_image(scores, grids, pixels)
        others = [inspector.to_canvas(cells) for cells in (first, second) if cells is not None]
        if inspector.detector.localises:
            others.append(grids[:, None] if inspector.tiles is None else grids.transpose(0, 1))
        return *seen, *others


def _composed(inspector: Inspector, opset: int) -> onnx.ModelProto:
    """The inspector's own graph with the detector's inside."""
    detector, tiles = inspector.detector, inspector.tiles
    with torch.inference_mode():
        results = detector.outputs(torch.zeros(1, 3, *detector.image_size))
    seen: Shape = ("n",) if tiles is None else (len(tiles), "n")
    names = detector.output_names()
    inputs = {PIXELS: IMAGES} | {
        name: ((*seen, *result.shape[1:]), result.dtype)
        for name, result in zip(["scores", "grids", *(f"{name}/tiles" for name in names)], results, strict=True)
    }
    proto = traced(_Frame(inspector), inputs, ["resized", SCORE, MAP, *_more_outputs(detector)], opset)
    inner = compose.add_prefix(_detector_graph(detector, opset), INNER)
    graph = proto.graph
    nodes = list(graph.node)
    after = next(number for number, node in enumerate(nodes, start=1) if "resized" in node.output)
    if tiles is None:
        inside = _once(inner.graph)
        graph.initializer.extend(inner.graph.initializer)
    else:
        inside = _loop(tiles, inner.graph, list(inputs)[1:])
    for replaced, entries in ((list(inputs)[1:], graph.input), (["resized"], graph.output)):
        for entry in [entry for entry in entries if entry.name in replaced]:
            entries.remove(entry)
    del graph.node[:]
    graph.node.extend([*nodes[:after], *inside, *nodes[after:]])
    _take_definitions(proto, inner)
    return proto


def _take_definitions(proto: onnx.ModelProto, other: onnx.ModelProto) -> None:
    """Let `proto` know the operator sets and functions that `other` knows."""
    known = {entry.domain for entry in proto.opset_import}
    proto.opset_import.extend(entry for entry in other.opset_import if entry.domain not in known)
    proto.functions.extend(other.functions)


def _once(inner: onnx.GraphProto) -> list[onnx.NodeProto]:
    """From `resized` to `scores` and `grids` by the detector's graph."""
    return [
        helper.make_node("Identity", ["resized"], [f"{INNER}tile"]),
        *inner.node,
        helper.make_node("Identity", [f"{INNER}score"], ["scores"]),
        helper.make_node("Identity", [f"{INNER}grid"], ["grids"]),
    ]


def _loop(tiles: Tiles, inner: onnx.GraphProto, outputs: list[str]) -> list[onnx.NodeProto]:
    """To `outputs` by ONNX's Scan, which holds one tile at a time and the detector's constants once."""
    numbers, n_columns = torch.arange(len(tiles)), len(tiles.columns)
    rows, columns = tiles.rows[numbers // n_columns], tiles.columns[numbers % n_columns]  # (t, th), (t, tw)
    places = {"rows": rows, "columns": columns}
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["resized", "tile/rows"], ["tile/strip"], axis=2),
            helper.make_node("Gather", ["tile/strip", "tile/columns"], [f"{INNER}tile"], axis=3),
            *inner.node,
        ],
        "tile",
        [
            helper.make_tensor_value_info(f"tile/{name}", TensorProto.INT64, [length])
            for name, length in zip(places, tiles.image_size, strict=True)
        ],
        inner.output,
        inner.initializer,  # onnxruntime lays out a convolution's constants for speed only where they stand beside it
    )
    constants = [
        helper.make_node("Constant", [], [f"tiles/{name}"], value=numpy_helper.from_array(of_tiles.numpy()))
        for name, of_tiles in places.items()
    ]
    inputs = [f"tiles/{name}" for name in places]
    return [*constants, helper.make_node("Scan", inputs, outputs, body=body, num_scan_inputs=len(inputs))]


def _detector_graph(detector: Detector, opset: int) -> onnx.ModelProto:
    """Input `tile` (n, 3, h, w) in [0, 255]; outputs `score` (n,), `grid` (n, gh, gw) and its further ones."""
    if isinstance(detector, IsolationForest):
        return _forest_graph(detector, opset)
    tile: Shape = ("n", 3, *detector.image_size)
    names = ["score", "grid", *detector.output_names()]
    proto = traced(_Outputs(detector), {"tile": (tile, torch.float32)}, names, opset)
    return _with_network(proto, detector, opset)


def _with_network(proto: onnx.ModelProto, detector: Detector, opset: int) -> onnx.ModelProto:
    """`proto` with the network that a detector brings in place of its node; the graph of any other detector unchanged.

    The network is put into a Scan over the images, since such networks are written for one image or trace for the batch
    that they see.
    """
    if not isinstance(detector, BringsNetwork):
        return proto
    network = compose.add_prefix(onnx.load_from_string(detector.onnx_of_one_image(opset)), "network/")
    (node,) = (node for node in proto.graph.node if (node.domain, node.op_type) == NETWORK_NODE)
    body = _without_traces(network).graph
    node.CopyFrom(helper.make_node("Scan", node.input, node.output, body=body, num_scan_inputs=1))
    _take_definitions(proto, network)
    (domain,) = (entry for entry in proto.opset_import if entry.domain == NETWORK_NODE[0])
    proto.opset_import.remove(domain)
    return proto


def _forest_graph(detector: IsolationForest, opset: int) -> onnx.ModelProto:
    """The grey levels, skl2onnx's forest from them to the mean path length, and score = 2^(-length / expected)."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    forest = detector.forest()
    proto: onnx.ModelProto = to_onnx(
        forest,
        initial_types=[("rows", FloatTensorType([None, forest.n_features_in_]))],
        target_opset={"": opset, "ai.onnx.ml": 3},
    )
    graph = proto.graph
    grey = [
        helper.make_node("ReduceMean", ["tile", "channels"], ["grey"], keepdims=0),
        helper.make_node("Flatten", ["grey"], ["rows"]),
    ]
    result = [
        helper.make_node("Mul", [graph.output[0].name, "per_length"], ["exponent"]),
        helper.make_node("Pow", ["two", "exponent"], ["score_column"]),
        helper.make_node("Reshape", ["score_column", "flat_shape"], ["score"]),
        helper.make_node("Reshape", ["score_column", "grid_shape"], ["grid"]),
    ]
    constants = {
        "channels": np.array([1]),
        "per_length": np.float32(-1 / detector.expected()),
        "two": np.float32(2),
        "flat_shape": np.array([-1]),
        "grid_shape": np.array([-1, 1, 1]),
    }
    nodes = [*grey, *graph.node, *result]
    for entries in (graph.node, graph.input, graph.output):
        del entries[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    graph.input.append(helper.make_tensor_value_info("tile", TensorProto.FLOAT, ["n", 3, *detector.image_size]))
    graph.output.append(helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"]))
    graph.output.append(helper.make_tensor_value_info("grid", TensorProto.FLOAT, ["n", 1, 1]))
    return proto
