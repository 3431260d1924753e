"""Networks of others, for tests of `onnx_boxes`: ONNX files in each contract around a gauge whose boxes are known."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from gonogo.detectors.boxes.centre_boxes import CentreBoxes, logits_of
from gonogo.export.graph import traced
from gonogo.files import sha256_of

FAINT = -12.0  # logit of what is no peak; onnxruntime's sigmoid of less is 0
SIDE = 48


class Queries(nn.Module):
    """The peaks of a fitted `CentreBoxes` as DETR has its queries, from pixels (1, 3, 48, 48) in [0, 1]."""

    def __init__(self, detector: CentreBoxes) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        heat, boxes = logits_of(self.detector.backbone, self.detector.head, pixels * 255)
        peak = heat == torch.nn.functional.max_pool2d(heat, 3, stride=1, padding=1)
        logits = torch.where(peak, heat, FAINT).flatten(2).transpose(1, 2)  # (1, cells, c)
        corners = boxes.flatten(2).transpose(1, 2)  # (1, cells, 4)
        low, high = corners[..., :2], corners[..., 2:]
        return torch.cat([(low + high) / 2, high - low], dim=2) / SIDE, logits


def queries_of(detector: CentreBoxes) -> onnx.ModelProto:
    """The network whose outputs `boxes` (1, q, 4) and `logits` (1, q, c) the other contracts are made from."""
    taken = {"images": ((1, 3, SIDE, SIDE), torch.float32)}
    return traced(Queries(detector), taken, ["boxes", "logits"], 18)  # type: ignore[arg-type]


def in_contract(queries: onnx.ModelProto, contract: str) -> onnx.ModelProto:
    """The same network with the outputs of another contract."""
    network = onnx.ModelProto()
    network.CopyFrom(queries)
    if contract == "detr":
        return network
    graph = network.graph
    constants = {
        "side": np.float32(SIDE),
        "half": np.float32(0.5),
        "two": np.float32(2),
        "one": np.array(1),
        "sizes": np.array([2, 2]),
        "first": np.array([0]),
        "last": np.array([2]),
        "least": np.float32(0.002),
    }

    def add(operator: str, *inputs: str, gives: list[str], **attributes: Any) -> None:
        graph.node.append(helper.make_node(operator, inputs, gives, **attributes))

    add("Mul", "boxes", "side", gives=["centred"])
    add("Sigmoid", "logits", gives=["chances"])
    outputs = [("predictions", TensorProto.FLOAT, ["a", "b", "c"])]
    if contract == "yolo":
        add("Concat", "centred", "chances", gives=["rows"], axis=2)
        add("Transpose", "rows", gives=["predictions"], perm=[0, 2, 1])
    elif contract == "yolo_objectness":
        add("ReduceMax", "chances", "last", gives=["best"], keepdims=1)
        add("Div", "chances", "best", gives=["shares"])
        add("Concat", "centred", "best", "shares", gives=["predictions"], axis=2)
    else:
        outputs = [
            ("corners", TensorProto.FLOAT, ["k", 4]),
            ("scores", TensorProto.FLOAT, ["k"]),
            ("labels", TensorProto.INT64, ["k"]),
        ]
        add("Split", "centred", "sizes", gives=["middle", "size"], axis=2)
        add("Mul", "size", "half", gives=["reach"])
        add("Sub", "middle", "reach", gives=["low"])
        add("Add", "middle", "reach", gives=["high"])
        add("Concat", "low", "high", gives=["every_box"], axis=2)
        add("ReduceMax", "chances", "last", gives=["every_score"], keepdims=0)
        add("ArgMax", "chances", gives=["numbers"], axis=2, keepdims=0)
        add("Add", "numbers", "one", gives=["every_label"])  # 0 is the background
        add("Greater", "every_score", "least", gives=["above"])
        add("Squeeze", "above", "first", gives=["chosen"])
        for every, given in (("every_box", "corners"), ("every_score", "scores"), ("every_label", "labels")):
            add("Squeeze", every, "first", gives=[f"{given}/all"])
            add("Compress", f"{given}/all", "chosen", gives=[given], axis=0)
    used = {name for node in graph.node for name in node.input}
    given = {name: np.asarray(value) for name, value in constants.items() if name in used}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in given.items())
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(*output) for output in outputs)
    return network


def written(network: onnx.ModelProto, path: Path) -> dict[str, str]:
    """Write the network, and give the options that name its file."""
    onnx.checker.check_model(network)
    onnx.save(network, path)
    return {"model": str(path), "model_sha256": sha256_of(path)}
