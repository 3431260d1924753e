"""What torch makes a graph of."""

import torch
from torch import nn

from gonogo.export.graph import traced


def test_a_trace_leaves_activations_in_place_as_they_were():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU6(inplace=True), nn.ReLU())
    proto = traced(module, {"x": (("n", 3, 8, 8), torch.float32)}, ["y"], 20)
    assert [node.op_type for node in proto.graph.node] == ["Conv", "Clip"]  # the second one changes nothing
    assert [one.inplace for one in module[1:]] == [True, False]
