"""The roofline of a verdict: the least time that its graph needs, from the peak rates measured on the machine.

Counted are the multiply-adds of convolutions and matrix products, two operations each, and the bytes of the graph's
constants, read once, of the pixels and of score and map. Not counted are elementwise operations, reductions, resizes
and intermediate values: a runtime may fuse the former and keep the latter in its caches, so that they cost nothing.
Nodes whose shapes are not known before the graph runs are not counted either. Everything that is not counted makes the
roofline lower, never higher; only an implementation that computes something else, such as Winograd's convolutions or
int8, can be faster than the roofline.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import onnx
from onnx import GraphProto, NodeProto, TensorProto, inliner, shape_inference

Shapes = dict[str, tuple[int, ...]]  # known shapes, by the name of the value

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Work:
    """The floating-point operations and the bytes of one verdict."""

    operations: int
    bytes: int

    def milliseconds(self, matmul_gflops: float, copy_gb_per_s: float) -> float:
        """The time of the operations at the rate of a plain product, plus that of the bytes at the rate of a copy."""
        return 1e3 * (self.operations / (matmul_gflops * 1e9) + self.bytes / (copy_gb_per_s * 1e9))


def count_work(network: bytes, height: int, width: int) -> Work:
    """The work of a gauge's graph for one image of (height, width) pixels."""
    proto = inliner.inline_local_functions(onnx.load_from_string(network))
    (pixels,) = proto.graph.input
    for dimension, size in zip(pixels.type.tensor_type.shape.dim, (1, height, width, 3), strict=True):
        dimension.dim_value = size
    del proto.graph.value_info[:]  # the exporter's, with names in place of sizes
    graph = shape_inference.infer_shapes(proto, data_prop=True).graph
    input_and_output = height * width * 3 + 4 * (1 + height * width)
    return Work(_operations(graph, {}), _constant_bytes(graph) + input_and_output)


def _operations(graph: GraphProto, outer: Shapes) -> int:
    shapes = outer | dict(_known_shapes(graph))
    return sum(_node_operations(node, shapes) for node in graph.node)


def _node_operations(node: NodeProto, shapes: Shapes) -> int:
    bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    if node.op_type == "Scan" and node.input[-1] in shapes:
        return shapes[node.input[-1]][0] * sum(_operations(body, shapes) for body in bodies)
    if node.op_type not in PRODUCTS or any(name not in shapes for name in (*node.input[:2], node.output[0])):
        return 0
    first, second, result = (shapes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        return 2 * prod(result) * prod(second[1:])  # weights (out, in / groups, *kernel)
    if node.op_type == "ConvTranspose":
        return 2 * prod(first) * prod(second[1:])  # weights (in, out / groups, *kernel)
    transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
    return 2 * prod(result) * first[-2 if transposed else -1]


def _known_shapes(graph: GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    for tensor in graph.initializer:
        yield tensor.name, tuple(tensor.dims)
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in shape.dim):
            yield value.name, tuple(d.dim_value for d in shape.dim)


def _constant_bytes(graph: GraphProto) -> int:
    """Bytes of the constants of a graph and of the graphs inside it; each counts once, however often it is used."""
    inside = [a for node in graph.node for a in node.attribute]
    tensors = [*graph.initializer, *(a.t for a in inside if a.HasField("t"))]
    return sum(_tensor_bytes(tensor) for tensor in tensors) + sum(
        _constant_bytes(a.g) for a in inside if a.HasField("g")
    )


def _tensor_bytes(tensor: TensorProto) -> int:
    return int(prod(tensor.dims)) * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
