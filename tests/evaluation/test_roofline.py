"""The roofline counts what a graph must do, by hand where a hand can, and nothing that could be had for less."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gonogo.evaluation.speed.roofline import Work, count_work


def network_of(nodes, constants):
    """The ONNX file of a gauge of nodes from `pixels` to its outputs; sizes are names, as in an export."""
    graph = helper.make_graph(
        nodes,
        "gauge",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "h", "w", 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["n", "h", "w"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


def planes():
    """From `pixels` (n, h, w, 3) to `planes` (n, 3, h, w) float."""
    return [
        helper.make_node("Transpose", ["pixels"], ["moved"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["moved"], ["planes"], to=TensorProto.FLOAT),
    ]


def told(source):
    """Score and map of `source` (n, 1, h, w), without a product."""
    return [
        helper.make_node("ReduceMax", [source, "places"], ["score"], keepdims=0),
        helper.make_node("Squeeze", [source, "channel"], ["anomaly_map"]),
    ]


TOLD = {"places": np.array([1, 2, 3]), "channel": np.array([1])}  # 4 * 8 bytes
SEEN_AND_TOLD = 10 * 6 * 3 + 4 + 4 * 10 * 6  # pixels, score and map of 10 x 6


def test_a_convolution_counts_each_weight_that_each_output_is_made_with_and_groups_save_their_share():
    weights = {"w": np.ones((6, 3, 5, 5), np.float32), "deep": np.ones((6, 1, 3, 3), np.float32)}
    weights["last"] = np.ones((1, 6, 1, 1), np.float32)
    nodes = [
        helper.make_node("Conv", ["planes", "w"], ["a"], pads=[2, 2, 2, 2]),  # (n, 6, 10, 6)
        helper.make_node("Conv", ["a", "deep"], ["b"], pads=[1, 1, 1, 1], group=6),
        helper.make_node("Conv", ["b", "last"], ["c"]),
    ]
    work = count_work(network_of([*planes(), *nodes, *told("c")], weights | TOLD), 10, 6)
    per_place = 6 * 3 * 5 * 5 + 6 * 3 * 3 + 6
    assert work.operations == 2 * 10 * 6 * per_place
    assert work.bytes == 4 * per_place + 4 * 8 + SEEN_AND_TOLD


def test_products_count_an_addition_and_a_multiplication_for_each_pair_that_they_meet():
    constants = {"left": np.ones((4, 10), np.float32), "square": np.ones((6, 6), np.float32)}
    nodes = [
        helper.make_node("ReduceMax", ["planes", "channel"], ["grey"]),  # (n, 1, 10, 6)
        helper.make_node("MatMul", ["left", "grey"], ["a"]),  # (n, 1, 4, 6)
        helper.make_node("Squeeze", ["a", "first"], ["b"]),  # (4, 6)
        helper.make_node("Gemm", ["b", "b"], ["c"], transA=1),  # (6, 6) over 4
        helper.make_node("Gemm", ["c", "square"], ["d"]),  # (6, 6) over 6
        helper.make_node("ReduceMax", ["d"], ["e"], keepdims=1),
        helper.make_node("Add", ["grey", "e"], ["f"]),
    ]
    constants |= {"first": np.array([0, 1])}
    work = count_work(network_of([*planes(), *nodes, *told("f")], constants | TOLD), 10, 6)
    assert work.operations == 2 * (4 * 6 * 10 + 6 * 6 * 4 + 6 * 6 * 6)


def test_what_a_scan_does_counts_once_for_each_turn_and_its_constants_are_read_once():
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["planes", "row"], ["strip"], axis=2),  # (n, 3, 6): rows are scalars here
            helper.make_node("MatMul", ["strip", "inner"], ["seen"]),  # (n, 3, 2) over 6
        ],
        "body",
        [helper.make_tensor_value_info("row", TensorProto.INT64, [])],
        [helper.make_tensor_value_info("seen", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((6, 2), np.float32), "inner")],
    )
    nodes = [
        helper.make_node("Constant", [], ["rows"], value=numpy_helper.from_array(np.arange(5))),
        helper.make_node("Scan", ["rows"], ["all"], body=body, num_scan_inputs=1),
        helper.make_node("ReduceMax", ["all"], ["most"], keepdims=0),
        helper.make_node("ReduceMax", ["planes", "channel"], ["grey"]),
        helper.make_node("Add", ["grey", "most"], ["raised"]),
    ]
    work = count_work(network_of([*planes(), *nodes, *told("raised")], TOLD), 10, 6)
    assert work.operations == 5 * 2 * 3 * 2 * 6
    assert work.bytes == 4 * 12 + 5 * 8 + 4 * 8 + SEEN_AND_TOLD


def test_a_product_whose_sizes_are_not_known_before_it_runs_counts_nothing():
    nodes = [
        helper.make_node("ReduceMax", ["planes", "channel"], ["grey"]),
        helper.make_node("NonZero", ["grey"], ["where"]),  # (4, however many)
        helper.make_node("Cast", ["where"], ["places"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["places"], ["turned"]),
        helper.make_node("MatMul", ["places", "turned"], ["product"]),
        helper.make_node("ReduceMax", ["product"], ["most"], keepdims=0),
        helper.make_node("Add", ["grey", "most"], ["raised"]),
        helper.make_node("ReduceMax", ["raised", "all"], ["score"], keepdims=0),
        helper.make_node("Squeeze", ["raised", "channel"], ["anomaly_map"]),
    ]
    constants = {"all": TOLD["places"], "channel": TOLD["channel"]}
    assert count_work(network_of([*planes(), *nodes], constants), 10, 6).operations == 0


def test_time_is_that_of_the_operations_and_then_that_of_the_bytes():
    assert Work(3 * 10**9, 10**9).milliseconds(100, 20) == pytest.approx(30 + 50)
