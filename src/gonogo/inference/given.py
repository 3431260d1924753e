"""Networks that a user gives beside the bundle: files with their hashes in a JSON file, and one that takes an image.

    {"file": "a.onnx", "sha256": "…", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "size": [256, 256]}

`file` is seen from the JSON file's folder. What is loaded is the bytes whose hash was compared, so that a file that is
changed or removed later changes nothing.
"""

import hashlib
import math
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

from gonogo.errors import ConfigError, ImageError, IntegrityError
from gonogo.files import json_object, regular_bytes
from gonogo.inference.scorer import FAILURES, NO_NETWORK, open_session
from gonogo.inference.working_memory import NETWORK_BYTES

MOST_JSON = 1 << 20  # bytes
SIDES = (8, 2048)  # pixels of what a network may see, at least and at most
SHA256_DIGITS = frozenset("0123456789abcdef")


def read_description(path: Path, *, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """The JSON object that describes the user's files.

    Raises:
        ConfigError: it cannot be read, is no JSON object, or has other keys.
    """
    try:
        content = json_object(regular_bytes(path, max_bytes=MOST_JSON), path)
    except (OSError, IntegrityError) as error:
        raise ConfigError(f"{path} cannot be read as a description of networks: {error}") from error
    return require_keys(content, str(path), required=required, optional=optional)


def require_keys(
    given: object, where: str, *, required: Collection[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    """The object `given`, which has all required keys and no other than these and the optional ones.

    Raises:
        ConfigError: it does not.
    """
    keys = set(given) if isinstance(given, dict) else set()
    if not isinstance(given, dict) or not set(required) <= keys <= {*required, *optional}:
        more = f", and perhaps {', '.join(sorted(optional))}" if optional else ""
        raise ConfigError(f"{where}: expected an object with {', '.join(sorted(required))}{more}; got {_shown(given)}")
    return given


def verified_bytes(given: Mapping[str, Any], folder: Path, where: str) -> bytes:
    """The bytes of the `file` of a description, whose SHA-256 is that of the description.

    Raises:
        ConfigError: `file` or `sha256` is none.
        IntegrityError: the file cannot be read, or is another one.
    """
    name, expected = given["file"], given["sha256"]
    if not isinstance(name, str) or not name or "\0" in name:
        raise ConfigError(f"{where}: file is {name!r}; expected the path of a file")
    if not isinstance(expected, str) or len(expected) != 64 or not set(expected) <= SHA256_DIGITS:
        raise ConfigError(f"{where}: sha256 is {_shown(expected)}; expected 64 hexadecimal digits in lower case")
    path = folder / name
    try:
        data = regular_bytes(path)
    except OSError as error:
        raise IntegrityError(f"{where}: {path} cannot be read: {error.strerror or error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise IntegrityError(f"{where}: {path} has the SHA-256 {found}, expected {expected}; it is another file")
    return data


def given_session(data: bytes, where: str, *, threads: int | None = None) -> onnxruntime.InferenceSession:
    """A session of a user's network.

    Raises:
        IntegrityError: onnxruntime cannot load it, or its tensors lie in other files.
    """
    try:
        return open_session(data, threads=threads)
    except NO_NETWORK as error:
        raise IntegrityError(f"{where}: onnxruntime cannot load the network: {error}") from error


def output_of(session: onnxruntime.InferenceSession, named: object, where: str) -> str:
    """The name of the output to take: the only one, or the one that the description names.

    Raises:
        ConfigError: there is no such output, or several and none is named.
    """
    names = [output.name for output in session.get_outputs()]
    if named is None and len(names) == 1:
        return str(names[0])
    if named not in names:
        raise ConfigError(f"{where}: output is {_shown(named)}; name one of {', '.join(names)}")
    return str(named)


class ImageNetwork:
    """A user's network that takes one image at a time, as (1, 3, h, w) float32 RGB.

    Attributes:
        identity: hex SHA-256 of all that its numbers depend on: its file, and how an image is given to it.
        working_bytes: upper estimate of the memory that one run takes.
    """

    KEYS, OPTIONAL = ("file", "sha256", "mean", "std"), ("size", "output")

    def __init__(
        self, given: object, folder: Path, where: str, *, more: Collection[str] = (), threads: int | None = None
    ) -> None:
        """Load it and let it see a grey image.

        Args:
            given: the description: `file`, `sha256`, `mean` and `std` of RGB within 0 and 1, `size` (height and width)
                where the network leaves it open, and `output` where it has several.
            folder: from which `file` is seen.
            where: what a message calls it.
            more: further keys that the description must have.
            threads: as for a `Scorer`.

        Raises:
            ConfigError: the description is wrong, or the network takes or gives something else.
            IntegrityError: the file is another one, or cannot be loaded.
        """
        described = require_keys(given, where, required=[*self.KEYS, *more], optional=self.OPTIONAL)
        self._where, self._lock = where, threading.Lock()
        self._mean, self._std = (_three(described[name], f"{where}: {name}") for name in ("mean", "std"))
        if not (self._std > 0).all():
            raise ConfigError(f"{where}: std is {described['std']}; expected three numbers above 0")
        self._session = given_session(verified_bytes(described, folder, where), where, threads=threads)
        inputs = self._session.get_inputs()
        shape, kind = inputs[0].shape, inputs[0].type
        if len(inputs) != 1 or kind != "tensor(float)" or len(shape) != 4 or shape[1] != 3:
            takes = "; ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise ConfigError(
                f"{where}: expected a network that takes one tensor(float) (n, 3, h, w); it takes {takes}"
            )
        self._input = inputs[0].name
        self._height, self._width = _size(shape[2:], described.get("size"), where)
        self._output = output_of(self._session, described.get("output"), where)
        self.working_bytes = NETWORK_BYTES * self._height * self._width
        identity = [described["sha256"], *self._mean.tolist(), *self._std.tolist(), self._height, self._width]
        self.identity = hashlib.sha256(repr([*identity, self._output]).encode()).hexdigest()
        try:
            self.probe = self.run(np.full((self._height, self._width, 3), 128, dtype=np.uint8), "a grey image")
        except ImageError as error:
            raise ConfigError(str(error)) from error

    def run(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """What the network gives for the pixels (h, w, 3) uint8 RGB of an image, without the axis of the batch.

        The whole image is resized to what the network sees. One image goes through it at a time.

        Raises:
            ImageError: the network fails on it, or gives numbers that are not finite; the message has `name`.
        """
        try:
            picture = Image.fromarray(pixels).resize((self._width, self._height), Image.Resampling.BICUBIC)
            normal = (np.asarray(picture, dtype=np.float32) / 255 - self._mean) / self._std
            taken = np.ascontiguousarray(normal.transpose(2, 0, 1)[None])
            with self._lock:
                given = self._session.run([self._output], {self._input: taken})[0]
        except FAILURES as error:
            raise ImageError(f"{self._where}: the network fails on {name}: {error}") from error
        if not isinstance(given, np.ndarray) or given.dtype.kind != "f" or not given.ndim or len(given) != 1:
            shape = getattr(given, "shape", type(given).__name__)
            raise ImageError(f"{self._where}: expected floats for one image, the network gave {shape} for {name}")
        if not np.isfinite(given).all():
            raise ImageError(f"{self._where}: the network gave numbers that are not finite for {name}")
        return np.asarray(given[0], dtype=np.float32)


def _three(given: object, where: str) -> np.ndarray:
    numbers = given if isinstance(given, list) else []
    if len(numbers) != 3 or not all(type(one) in (int, float) and math.isfinite(one) for one in numbers):
        raise ConfigError(f"{where} is {_shown(given)}; expected three numbers, for red, green and blue")
    return np.array(numbers, dtype=np.float32)


def _size(own: Sequence[object], given: object, where: str) -> tuple[int, int]:
    """Height and width of what a network sees, from its own shape and the description."""
    fixed = [side if isinstance(side, int) else None for side in own]
    if given is None:
        given = fixed
    sides = given if isinstance(given, list) else []
    if len(sides) != 2 or not all(type(side) is int and SIDES[0] <= side <= SIDES[1] for side in sides):
        raise ConfigError(
            f"{where}: size is {_shown(given)}; expected height and width of what the network sees, "
            f"within {SIDES[0]} and {SIDES[1]} pixels"
        )
    if any(its is not None and its != side for its, side in zip(fixed, sides, strict=True)):
        raise ConfigError(f"{where}: size is {sides}, but the network sees {list(own)}")
    return sides[0], sides[1]


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 120 else text[:120] + "…"
