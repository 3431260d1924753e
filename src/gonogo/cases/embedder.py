"""Two networks of the user's that lead pictures and words into one space, as those of CLIP do (Radford et al. 2021).

A JSON file describes them; `docs/cases.md` shows one. Two networks of the same dimension need not be of one space, and
nothing in their files says so. Therefore the file has a few pictures with words for each: every one of these pictures
must be nearest to its own words, and all words to their own picture. Halves of different pairs do that by luck in at
most one of 256 files with four pictures. The nearest wrong pair among them also says below which similarity a find
would be no better than a wrong one.
"""

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.errors import ConfigError, ImageError, IntegrityError, MissingExtraError
from gonogo.images.reading import decode
from gonogo.inference.given import (
    ImageNetwork,
    given_session,
    output_of,
    read_description,
    require_keys,
    verified_bytes,
)
from gonogo.inference.scorer import FAILURES

LEAST_PAIRS, MOST_PAIRS = 4, 64
MOST_TOKENS = 512  # where the network leaves the length open
MOST_CHARACTERS = 10_000  # of words that are split into tokens
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
KEPT = 256  # vectors of words


class Embedder:
    """The two halves, as they were checked.

    Attributes:
        space: hex SHA-256 of all that the vectors of pictures depend on.
        least: a similarity that a wrong pair of the check has too; what is below it says nothing.
        working_bytes: upper estimate of the memory that one picture takes.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Load what the JSON file describes, and check it.

        Raises:
            ConfigError: the description is wrong, a network takes or gives something else, or not one space.
            IntegrityError: a file is another one, or cannot be loaded.
            MissingExtraError: tokenizers is not installed.
        """
        described = read_description(path, required=["image", "text", "tokenizer", "check"])
        folder = path.parent
        self._image = ImageNetwork(described["image"], folder, f"{path}: image", threads=threads)
        self._text = _TextNetwork(described["text"], described["tokenizer"], folder, path, threads=threads)
        self.space, self.working_bytes = self._image.identity, self._image.working_bytes
        try:
            n_image, n_text = self._image.probe.shape, self._text.vector("part").shape
        except ImageError as error:
            raise ConfigError(str(error)) from error
        if len(n_image) != 1 or n_image != n_text:
            raise ConfigError(
                f"{path}: the image half gives {n_image} numbers and the text half {n_text}; halves of one space give "
                "the same number"
            )
        self.least = self._checked(described["check"], folder, str(path))

    def picture(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """(d,) float32 of length 1: the vector of an image (h, w, 3) uint8 RGB.

        Raises:
            ImageError: the network fails on it, or gives no direction.
        """
        return _of_length_one(self._image.run(pixels, name), name)

    def words(self, text: str) -> np.ndarray:
        """(d,) float32 of length 1: the vector of words.

        Raises:
            ImageError: the network fails on them, or gives no direction.
        """
        return self._text.vector(text)

    def _checked(self, pairs: object, folder: Path, where: str) -> float:
        """The highest similarity of a picture and the words of another one, once each is nearest to its own."""
        given = pairs if isinstance(pairs, list) else []
        if not LEAST_PAIRS <= len(given) <= MOST_PAIRS:
            raise ConfigError(
                f"{where}: check has {len(given)} pictures; expected {LEAST_PAIRS} to {MOST_PAIRS}, each with file, "
                "sha256 and words"
            )
        pictures, texts = [], []
        for number, pair in enumerate(given, start=1):
            place = f"{where}: check {number}"
            described = require_keys(pair, place, required=["file", "sha256", "words"])
            words = described["words"]
            if not isinstance(words, str) or not words.strip() or words in texts:
                raise ConfigError(
                    f"{place}: words are {words!r}; expected a text that no other picture of the check has"
                )
            try:
                pixels = decode(verified_bytes(described, folder, place), place)[0]
                pictures.append(self.picture(pixels, place))
                self.words(words)
            except ImageError as error:
                raise ConfigError(str(error)) from error
            texts.append(words)
        similar = np.stack(pictures) @ np.stack([self.words(text) for text in texts]).T  # (pictures, words)
        own = np.diag(similar)
        others = np.where(np.eye(len(own), dtype=bool), -np.inf, similar)
        for axis, (one, other) in enumerate((("picture", "words"), ("words", "picture"))):
            best = others.max(axis=1 - axis)
            for number in np.flatnonzero(best >= own).tolist():
                nearest = int(others.argmax(axis=1 - axis)[number])
                raise ConfigError(
                    f"{where}: the {one} of check {number + 1} are nearer to the {other} of check {nearest + 1} "
                    f"({best[number]:.3g}) than to their own ({own[number]:.3g}); the halves are not of one space, "
                    "or the check is wrong"
                )
        return float(others.max())


class _TextNetwork:
    """The half that takes words, with its tokenizer."""

    def __init__(self, given: object, tokenizer: object, folder: Path, path: Path, *, threads: int | None) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError(f"words need a tokenizer ({error}); pip install 'gonogo[text]'") from error
        self._where = f"{path}: text"
        described = require_keys(given, self._where, required=["file", "sha256"], optional=["output"])
        self._session = given_session(verified_bytes(described, folder, self._where), self._where, threads=threads)
        self._inputs = {each.name: (INTEGERS.get(each.type), each.shape) for each in self._session.get_inputs()}
        for name, (kind, shape) in self._inputs.items():
            if name not in TEXT_INPUTS or kind is None or len(shape) != 2:
                raise ConfigError(
                    f"{self._where}: expected a network that takes input_ids (n, length) of integers and perhaps "
                    f"{TEXT_INPUTS[1]} and {TEXT_INPUTS[2]}; it takes {name} {shape}. Are image and text swapped?"
                )
        if TEXT_INPUTS[0] not in self._inputs:
            raise ConfigError(f"{self._where}: the network takes {', '.join(self._inputs)}; expected input_ids")
        length = self._inputs[TEXT_INPUTS[0]][1][1]
        self._output = output_of(self._session, described.get("output"), self._where)
        where = f"{path}: tokenizer"
        of_tokenizer = require_keys(tokenizer, where, required=["file", "sha256"])
        data = verified_bytes(of_tokenizer, folder, where)
        try:
            self._tokenizer: Any = Tokenizer.from_str(data.decode())
        except Exception as error:
            raise IntegrityError(f"{where}: it is no tokenizer of the library tokenizers: {error}") from error
        self._pad(length if isinstance(length, int) else None)
        self._lock = threading.Lock()
        self._vector_of = lru_cache(maxsize=KEPT)(self._run)

    def _pad(self, length: int | None) -> None:
        """Let the tokenizer give exactly so many tokens, with its own token for what is empty; None: as they are."""
        own = self._tokenizer.padding or {}
        self._tokenizer.enable_truncation(length or MOST_TOKENS)
        if length is None:
            self._tokenizer.no_padding()
        else:
            kept = {name: own[name] for name in ("pad_id", "pad_type_id", "pad_token") if name in own}
            self._tokenizer.enable_padding(length=length, **kept)

    def vector(self, text: str) -> np.ndarray:
        """As `Embedder.words`."""
        return self._vector_of(text[:MOST_CHARACTERS].encode(errors="replace").decode())

    def _run(self, text: str) -> np.ndarray:
        with self._lock:
            tokens = self._tokenizer.encode(text)
            of_name = dict(zip(TEXT_INPUTS, (tokens.ids, tokens.attention_mask, tokens.type_ids), strict=True))
            taken = {name: np.array([of_name[name]], dtype=kind) for name, (kind, _) in self._inputs.items()}
            try:
                given = self._session.run([self._output], taken)[0]
            except FAILURES as error:
                raise ImageError(f"{self._where}: the network fails on these words: {error}") from error
        if not isinstance(given, np.ndarray) or given.dtype.kind != "f" or given.ndim != 2 or len(given) != 1:
            shape = getattr(given, "shape", type(given).__name__)
            raise ConfigError(f"{self._where}: expected (1, d) floats for one text, the network gave {shape}")
        return _of_length_one(given[0].astype(np.float32), "these words")


def _of_length_one(vector: np.ndarray, name: str) -> np.ndarray:
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length) or length == 0:
        raise ImageError(f"the network gives no direction for {name}: its numbers are all 0 or not finite")
    return np.asarray(vector / length, dtype=np.float32)
