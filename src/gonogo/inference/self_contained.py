"""Whether an ONNX file holds all of its weights. Standard library only.

A tensor of an ONNX file may name another file that holds its values. No manifest lists that file and no hash covers it,
so such networks are refused.
"""

from collections.abc import Iterator

from gonogo.errors import IntegrityError

# What holds what, by the numbers of the fields in onnx.proto.
HELD = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
EXTERNAL = (13, 14)  # fields of a tensor: the other file's place, and whether the values are there
VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # types of protobuf's encoding
LOCATION = b"location"  # the key of every place


def require_self_contained(network: bytes, where: str) -> None:
    """Do nothing, or refuse an ONNX file whose tensors lie in other files.

    Args:
        network: the bytes of the ONNX file.
        where: what a message calls it.

    Raises:
        IntegrityError: a tensor names another file, or the bytes are not those of an ONNX file.
    """
    if LOCATION not in network:
        return
    waiting = [("model", memoryview(network))]
    try:
        while waiting:
            kind, message = waiting.pop()
            for number, value in _fields(message):
                if kind == "tensor" and number in EXTERNAL and value not in (0, b""):
                    raise IntegrityError(
                        f"{where}: a tensor of the network lies in another file, which no manifest covers; save the "
                        "network as one file and export again"
                    )
                if isinstance(value, memoryview) and number in HELD[kind]:
                    waiting.append((HELD[kind][number], value))
    except (IndexError, ValueError) as error:
        raise IntegrityError(f"{where}: the network is damaged, no ONNX file ({error})") from error


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The number and value of each field, numbers of fixed length left out."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = _varint(message, position)
            yield number, value
        elif kind == BYTES:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise IndexError("a field ends beyond its message")
            yield number, message[position : position + length]
            position += length
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            position += 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of the unknown type {kind}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number in steps of seven bits, lowest first, and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
