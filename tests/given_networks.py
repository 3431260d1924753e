"""Networks as a user may give them, made of a few nodes: halves that have one space, and one that tells depth."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
WORDS = ("[PAD]", *COLOURS, "stain", "a")  # of the tokenizer, by their ids


def saved(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> Path:
    import onnx
    from onnx import helper, numpy_helper

    given = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, given)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(network)
    onnx.save(network, path)
    return path


def image_half(path: Path, *, turn: np.ndarray | None = None, scale: float = 1.0, side: int | str = 8) -> Path:
    """The mean colour of an image (1, 3, side, side), turned in the space of colours."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "turn"], ["vector"]),
    ]
    turn = (np.eye(3) if turn is None else turn) * scale
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, side, side])]
    outputs = [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", turn.shape[1]])]
    return saved(path, nodes, inputs, outputs, {"axes": np.array([2, 3]), "turn": turn.astype(np.float32)})


def text_half(path: Path, *, turn: np.ndarray | None = None, length: int | str = 4) -> Path:
    """The mean colour of the words (1, length) that are colours."""
    from onnx import TensorProto, helper

    of_words = np.zeros((len(WORDS), 3), dtype=np.float32)
    for name, colour in COLOURS.items():
        of_words[WORDS.index(name)] = np.array(colour) / 255
    of_words = of_words @ (np.eye(3) if turn is None else turn).astype(np.float32) + np.float32(1e-3)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("ReduceMean", ["each", "axes"], ["vector"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", length])]
    outputs = [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", of_words.shape[1]])]
    return saved(path, nodes, inputs, outputs, {"axes": np.array([1]), "table": of_words.astype(np.float32)})


def depth_half(path: Path, *, side: int = 16, channels: int | None = None, scale: float = 1.0) -> Path:
    """The brightness of each place, which stands for its nearness; with `channels` in so many of them."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=int(channels is not None)),
        helper.make_node("Mul", ["mean", "scale"], ["depth"]),
    ]
    of_channel = [] if channels is None else [channels]
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, side, side])]
    outputs = [helper.make_tensor_value_info("depth", TensorProto.FLOAT, ["n", *of_channel, side, side])]
    factor = np.full((1, channels, 1, 1) if channels is not None else (1,), scale, dtype=np.float32)
    return saved(path, nodes, inputs, outputs, {"axes": np.array([1]), "scale": factor})


def depth_file(folder: Path, **changes: Any) -> Path:
    """Write a network that tells depth and its description, of which some may be others."""
    folder.mkdir(parents=True, exist_ok=True)
    network = listed(depth_half(folder / "depth.onnx"))
    path = folder / "depth.json"
    path.write_text(json.dumps(network | {"mean": [0, 0, 0], "std": [1, 1, 1], "higher": "nearer"} | changes))
    return path


def tokenizer(path: Path) -> Path:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[PAD]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    path.write_text(made.to_str())
    return path


def picture(colour: Any, size: tuple[int, int] = (48, 40)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, format="PNG")
    return file.getvalue()


def listed(path: Path) -> dict[str, Any]:
    """A file as a description has it."""
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def embedder_file(folder: Path, **changes: Any) -> Path:
    """Write two halves of one space, their tokenizer, the check and the description, of which some may be others."""
    folder.mkdir(parents=True, exist_ok=True)
    check = []
    for name, colour in COLOURS.items():
        path = folder / f"{name}.png"
        path.write_bytes(picture(colour))
        check.append(listed(path) | {"words": f"a {name} stain"})
    described = {
        "image": listed(image_half(folder / "image.onnx")) | {"mean": [0, 0, 0], "std": [1, 1, 1]},
        "text": listed(text_half(folder / "text.onnx")),
        "tokenizer": listed(tokenizer(folder / "tokenizer.json")),
        "check": check,
    }
    path = folder / "embedder.json"
    path.write_text(json.dumps(described | changes))
    return path
