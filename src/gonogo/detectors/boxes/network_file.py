"""A network in an ONNX file that others wrote, checked against a contract and brought to one form: of one image."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from gonogo.detectors.options import OnnxBoxesOptions
from gonogo.errors import ConfigError, ExportError
from gonogo.images.size import ImageSize

OUTPUTS = {
    "detections": ("boxes", "scores", "labels"),
    "detr": ("boxes", "logits"),
    "detr_softmax": ("boxes", "logits"),
    "yolo": ("predictions",),
    "yolo_objectness": ("predictions",),
}  # of each contract, in its order
PREFIX = "inner/"  # of every name inside the network
PIXELS = "pixels"
LEAST_OPSET = 13  # from which on our own nodes are written


class NetworkFile:
    """The network of a file, run by onnxruntime one image at a time.

    Shapes are those of one image: boxes (k, 4), scores (k,) and labels (k,) with k of `max_boxes`, best first, where
    the contract is `detections`; boxes (q, 4) and logits (q, c) of the queries for `detr`; predictions (m, 4 + c), or
    with a column more for the objectness, for `yolo`, however the file has its axes.
    """

    def __init__(self, content: bytes, options: OnnxBoxesOptions) -> None:
        """Look at the file, which the options describe.

        Raises:
            ConfigError: it is not what they say; the message names the option.
        """
        self.content, self.options = content, options
        self.size = ImageSize.of(options.image_size)
        session = _session(content)
        self._one_by_one = self._takes_one(session)
        self.outputs = self._chosen_outputs([output.name for output in session.get_outputs()])
        self.transposed = False
        if options.contract.startswith("yolo"):
            self.transposed = self._has_columns_first(session)
        blank = np.zeros((3, *self.size), dtype=np.float32)
        self.shapes: list[list[int]] = [list(result.shape) for result in self.run(blank)]
        self._check_outputs()

    @property
    def n_classes(self) -> int:
        """How many classes the options name."""
        return len(self.options.classes)

    @cached_property
    def _running(self) -> Any:
        return _session(self.of_one_image())

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        """What the network gives for one image, (3, h, w) float32 as it takes it.

        Raises:
            ConfigError: that is not what the contract says.
        """
        try:
            results: list[np.ndarray] = self._running.run(None, {PIXELS: pixels})
        except Exception as error:  # of any type: onnxruntime's own errors have no common root
            raise ConfigError(
                f"fit.contract {self.options.contract}: the outputs of fit.model, {', '.join(self.outputs)}, are not "
                f"{', '.join(OUTPUTS[self.options.contract])} with {self.n_classes} classes ({_first_line(error)}); "
                "correct fit.classes or fit.outputs, or choose another fit.contract"
            ) from error
        return results

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which starts onnxruntime anew."""
        return {name: value for name, value in self.__dict__.items() if name != "_running"}

    def of_one_image(self, opset: int | None = None) -> bytes:
        """The network as an ONNX model from pixels (3, h, w) to the outputs that the class describes.

        Args:
            opset: the operator set; None leaves that of the file, if this form can be written in it.

        Raises:
            ExportError: onnx cannot bring the network into the operator set.
        """
        import onnx
        from onnx import TensorProto, compose, helper, numpy_helper

        model = _in_opset(onnx.load_from_string(self.content), opset)
        inner = compose.add_prefix(model, PREFIX)
        graph = inner.graph
        known = {entry.name for entry in graph.initializer}
        (taken,) = (entry.name for entry in graph.input if entry.name not in known)
        before, after = _Nodes("fed"), _Nodes("read")
        if self._one_by_one:
            before.add("Identity", PIXELS, gives=[taken])
        else:
            before.add("Unsqueeze", PIXELS, np.array([0]), gives=[taken])
        results = self._read(after, [f"{PREFIX}{name}" for name in self.outputs])
        constants = before.constants | after.constants
        whole = helper.make_graph(
            [*before.nodes, *graph.node, *after.nodes],
            "one_image",
            [helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, [3, *self.size])],
            [helper.make_tensor_value_info(name, kind, None) for name, kind in results],
            [*graph.initializer, *(numpy_helper.from_array(value, name) for name, value in constants.items())],
        )
        found = helper.make_model(whole, opset_imports=inner.opset_import, functions=inner.functions)
        found.ir_version = inner.ir_version
        content: bytes = found.SerializeToString()
        return content

    def _read(self, nodes: "_Nodes", outputs: Sequence[str]) -> list[tuple[str, int]]:
        """Names and ONNX types of the outputs in our form, made from the network's own by further nodes."""
        from onnx import TensorProto

        number, whole_number = int(TensorProto.FLOAT), int(TensorProto.INT64)

        def shaped(name: str, shape: list[int], kind: int = number) -> str:
            return nodes.add("Cast", nodes.add("Reshape", name, np.array(shape)), to=kind)

        if self.options.contract == "detections":  # as many as the image has: filled up with none, and the best taken
            most = self.options.max_boxes
            boxes, scores, labels = outputs
            every = [
                nodes.add("Concat", shaped(boxes, [-1, 4]), np.zeros((most, 4), dtype=np.float32), axis=0),
                nodes.add("Concat", shaped(scores, [-1]), np.zeros(most, dtype=np.float32), axis=0),
                nodes.add("Concat", shaped(labels, [-1], whole_number), np.zeros(most, dtype=np.int64), axis=0),
            ]
            nodes.add("TopK", every[1], np.array([most]), gives=["best_scores", "best"], axis=0)
            kinds = [number, number, whole_number]
            return [(nodes.add("Gather", name, "best", axis=0), kind) for name, kind in zip(every, kinds, strict=True)]
        if self.options.contract.startswith("detr"):
            boxes, logits = outputs
            width = self.n_classes + (self.options.contract == "detr_softmax")
            return [(shaped(boxes, [-1, 4]), number), (shaped(logits, [-1, width]), number)]
        (predictions,) = outputs
        if self.transposed:
            return [(nodes.add("Transpose", shaped(predictions, [self._width, -1]), perm=[1, 0]), number)]
        return [(shaped(predictions, [-1, self._width]), number)]

    @property
    def _width(self) -> int:
        """Columns of a prediction of YOLO."""
        return 4 + self.n_classes + (self.options.contract == "yolo_objectness")

    def _takes_one(self, session: Any) -> bool:
        """Whether the network takes an image (3, h, w), as torchvision's detection models do, and no batch of one."""
        inputs = session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(entry.name for entry in inputs)
            raise ConfigError(f"fit.model has {len(inputs)} inputs ({names}); expected one, the pixels (1, 3, h, w)")
        (given,) = inputs
        if given.type != "tensor(float)":
            raise ConfigError(f"fit.model takes {given.type}; expected float32 pixels, tensor(float)")
        shape = list(given.shape)
        wanted = [3, *self.size] if len(shape) == 3 else [1, 3, *self.size]
        if len(shape) != len(wanted) or any(
            isinstance(side, int) and side != needed for side, needed in zip(shape, wanted, strict=True)
        ):
            raise ConfigError(
                f"fit.model takes pixels of the shape {shape}, and fit.image_size asks for {wanted}; set "
                "fit.image_size to the height and width that the network was exported with"
            )
        return len(shape) == 3

    def _chosen_outputs(self, there: Sequence[str]) -> list[str]:
        wanted = OUTPUTS[self.options.contract]
        chosen = list(there if self.options.outputs is None else self.options.outputs)
        unknown = [name for name in chosen if name not in there]
        if unknown or len(chosen) != len(wanted):
            raise ConfigError(
                f"fit.contract {self.options.contract} takes {len(wanted)} outputs, {', '.join(wanted)}; fit.model has "
                f"{', '.join(there)}; name them in this order in fit.outputs"
            )
        return chosen

    def _has_columns_first(self, session: Any) -> bool:
        """Whether the predictions are (4 + c, m) and not (m, 4 + c)."""
        width = self._width
        blank = np.zeros([*([] if self._one_by_one else [1]), 3, *self.size], dtype=np.float32)
        shape = tuple(session.run(self.outputs, {session.get_inputs()[0].name: blank})[0].shape)
        sides = list(shape[1:]) if len(shape) == 3 and shape[0] == 1 else []
        if sides.count(width) != 1:
            raise ConfigError(
                f"fit.contract {self.options.contract}: with {self.n_classes} fit.classes, expected predictions of the "
                f"shape (1, {width}, m) or (1, m, {width}); fit.model gives {shape}; correct fit.classes, or "
                "choose another fit.contract"
            )
        return bool(sides[0] == width)

    def _check_outputs(self) -> None:
        """The sizes of the outputs agree with one another; those of single images would not reshape otherwise."""
        if not self.options.contract.startswith("detr"):
            return
        boxes, logits = self.shapes
        if boxes[0] != logits[0]:
            extra = " and one for none" if self.options.contract == "detr_softmax" else ""
            raise ConfigError(
                f"fit.contract {self.options.contract}: fit.model has {boxes[0]} boxes, and its logits make "
                f"{logits[0]} rows of {logits[1]} classes, the {self.n_classes} of fit.classes{extra}; correct "
                "fit.classes, or choose another fit.contract"
            )


def _session(content: bytes) -> Any:
    """Raises ConfigError where onnxruntime cannot load the file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of any type: onnxruntime's own errors have no common root
        raise ConfigError(
            f"fit.model cannot be loaded by onnxruntime ({_first_line(error)}); expected one ONNX file with its "
            "weights inside and operators of ONNX alone"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _in_opset(model: Any, opset: int | None) -> Any:
    """The model in the operator set; None leaves its own, or the least that our own nodes need."""
    from onnx import version_converter

    (own,) = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    wanted = max(own, LEAST_OPSET) if opset is None else opset
    if own == wanted:
        return model
    try:
        return version_converter.convert_version(model, wanted)
    except Exception as error:  # of any type: the converter raises RuntimeError and its own kinds
        raise ExportError(
            f"fit.model is in ONNX's operator set {own}, which onnx cannot turn into {wanted} ({_first_line(error)}); "
            f"export the network in that of export.opset, or set export.opset to {own} if that is between 18 and 21"
        ) from error


class _Nodes:
    """Nodes of a graph, each with a name of its own, and the constants that they read."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, operator: str, *inputs: str | np.ndarray, gives: Sequence[str] = (), **attributes: Any) -> str:
        """A further node; an array among its inputs becomes a constant. The name of its first output."""
        from onnx import helper

        names = []
        for given in inputs:
            if isinstance(given, str):
                names.append(given)
            else:
                names.append(f"{self.prefix}_constant_{len(self.constants)}")
                self.constants[names[-1]] = given
        outputs = list(gives) or [f"{self.prefix}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(operator, names, outputs, **attributes))
        return outputs[0]
