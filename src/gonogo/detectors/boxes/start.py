"""A fitted `CentreBoxes` that another training goes on from, also where the classes have changed since."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gonogo.data.names import words_of
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.detectors.boxes.network import BoxHead
from gonogo.detectors.options import CentreBoxesOptions
from gonogo.detectors.training.checkpoints import tensors_in
from gonogo.errors import ConfigError, WeightsError
from gonogo.files import open_sealed

FILE = "detector.safetensors"  # of a model's folder
SAME = ("backbone", "layers", "width")  # options that decide the network's shape
OF_CLASSES = ("head.heat.1.weight", "head.heat.1.bias")  # have a row for each class


@dataclass(frozen=True)
class Start:
    """The network of a fitted model, and the names of its classes."""

    state: dict[str, Tensor]
    classes: list[str]

    @torch.no_grad()
    def begin(self, backbone: Backbone, head: BoxHead, classes: Sequence[str]) -> dict[str, list[str]]:
        """Bring the weights into a backbone and a head for `classes`; tells what became of the classes.

        A class keeps its own last layer where the model has one whose name differs at most in case and separators; a
        class that is new keeps the first weights of `head`, and one that is gone is dropped. All else is shared.
        """
        known = {words_of(name): number for number, name in enumerate(self.classes)}
        numbers = [known.get(words_of(name)) for name in classes]
        own = head.state_dict()
        for name in OF_CLASSES:
            rows = own[name.removeprefix("head.")]
            for row, number in enumerate(numbers):
                if number is not None:
                    rows[row] = self.state[name][number]
        shared = {name: value for name, value in self.state.items() if name not in OF_CLASSES}
        head.load_state_dict(own | _below("head.", shared))
        backbone.load_state_dict(_below("backbone.", shared))
        return {
            "kept": [name for name, number in zip(classes, numbers, strict=True) if number is not None],
            "new": [name for name, number in zip(classes, numbers, strict=True) if number is None],
            "dropped": [name for number, name in enumerate(self.classes) if number not in numbers],
        }


def read_start(folder: Path, sha256: str | None, options: CentreBoxesOptions) -> Start:
    """The model in `folder`, after every check.

    Raises:
        WeightsError: there is no such model, no hash was given, or it is that of another.
        IntegrityError: a file of the folder was changed.
        ConfigError: the model is none of this detector, or its network has another shape.
    """
    if not (folder / "manifest.json").is_file():
        raise WeightsError(f"fit.start_from is {str(folder)!r}: expected the folder of a fitted model, as models/NAME")
    sealed = open_sealed(folder)
    described: dict[str, Any] = sealed.content.get("detector", {})
    if described.get("name") != "centre_boxes":
        raise ConfigError(
            f"fit.start_from is {str(folder)!r}, a model of {described.get('name', 'no detector')}; expected one of "
            "centre_boxes"
        )
    actual = sealed.content["files"][FILE]
    if sha256 is None:
        raise WeightsError(
            f"{folder}: set fit.start_from_sha256 to the SHA-256 of its {FILE} that you mean (this one's is {actual})"
        )
    if actual != sha256.lower():
        raise WeightsError(
            f"{folder}: the SHA-256 of {FILE} is {actual}, fit.start_from_sha256 says {sha256}; another fit wrote it"
        )
    theirs = CentreBoxesOptions(**described["options"])
    for name in SAME:
        ours, other = (json.loads(json.dumps(getattr(one, name))) for one in (options, theirs))  # a tuple is a list
        if ours != other:
            raise ConfigError(
                f"fit.start_from is {str(folder)!r}, whose {name} is {other}, and fit.{name} is {ours}; they must be "
                "the same, since the weights fit no other network"
            )
    state = tensors_in(sealed.files[FILE])
    return Start(state, json.loads(bytes(state["classes_"].tolist())))


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
