"""The saved state of a training, from which an interrupted one resumes: tensors beside JSON, without pickle."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load, save_file
from torch import Tensor

from gonogo.errors import IntegrityError
from gonogo.files import SCHEMA, open_sealed, read_json, seal


class Checkpoints:
    """The last state of one training, in a folder that holds at most one.

    `origin` is everything that the trained values depend on. A state with another origin is never loaded, and the next
    `save` replaces it.
    """

    def __init__(self, folder: Path, origin: Mapping[str, Any]) -> None:
        """`origin` must be JSON: the data's fingerprint, options, seed, `code_fingerprint`, versions."""
        self.folder = folder
        self.origin = origin
        self.fingerprint = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()

    def with_origin(self, **more: Any) -> "Checkpoints":
        """Checkpoints in the same folder whose origin has `more` entries, which only the training itself knows."""
        return Checkpoints(self.folder, {**self.origin, **more})

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the last state. If the process is killed at any moment, either the old or the new one is complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        old = set(self.folder.glob("*.safetensors"))
        number = 1 + max((int(path.stem) for path in old), default=0)
        new = self.folder / f"{number}.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, new)
        content = {"schema": SCHEMA, "fingerprint": self.fingerprint, "facts": dict(facts)}
        seal(self.folder, content, [new.name])  # from here on `load` reads the new state
        for path in old:
            path.unlink()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors and facts of the last state; None if there is none with this origin.

        Raises:
            IntegrityError: the state is not the one that was saved.
        """
        if not (self.folder / "manifest.json").is_file():
            return None
        try:
            if read_json(self.folder / "manifest.json").get("fingerprint") != self.fingerprint:
                return None
            sealed = open_sealed(self.folder)
        except IntegrityError as error:
            raise IntegrityError(
                f"{self.folder}: the checkpoint is damaged ({error}); remove the folder to train from the start"
            ) from error
        (data,) = sealed.files.values()
        return tensors_in(data), sealed.content["facts"]

    def remove(self) -> None:
        """Remove the state, once the trained model is saved elsewhere."""
        if self.folder.exists():
            shutil.rmtree(self.folder)


def tensors_in(data: bytes) -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file, by name.

    Each has memory of its own, since arithmetic on memory of another alignment may round differently.

    Raises:
        SafetensorError: they are not the bytes of such a file.
    """
    return {name: tensor.clone() for name, tensor in load(data).items()}
