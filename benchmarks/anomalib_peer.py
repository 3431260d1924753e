"""anomalib's side of benchmarks/anomalib_side_by_side.py, run by the interpreter that has anomalib.

Its PatchCore and PaDiM get gonogo's backbone weights and their normalisation, its EfficientAD the same teacher and
penalty images; otherwise anomalib's defaults: a float32 bank, nine neighbours for PatchCore's image score. Nothing is
drawn or logged, and images are read in the process itself.
"""

import logging
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))  # of this checkout, whatever is installed
sys.path.append(str(HERE))

import numpy as np  # noqa: E402

from gonogo.detectors.backbones.torchvision_schema import import_torchvision  # noqa: E402

import_torchvision()

import onnxruntime  # noqa: E402
import torch  # noqa: E402
from anomalib.data import Folder  # noqa: E402
from anomalib.data.utils import read_image  # noqa: E402
from anomalib.engine import Engine  # noqa: E402
from anomalib.models import EfficientAd, Padim, Patchcore  # noqa: E402
from anomalib.pre_processing import PreProcessor  # noqa: E402
from lightning.pytorch.callbacks import Callback  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torchvision.transforms.v2 import Compose, Normalize, Resize  # noqa: E402

from gonogo.compute.memory import peak_bytes, resident_bytes  # noqa: E402
from peer import answer  # noqa: E402
from verdicts import milliseconds  # noqa: E402

BACKBONE = "tf_efficientnet_lite0"
LAYERS = [2, 3]  # indices of timm's feature levels, as gonogo counts them
SETTINGS = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "limit_val_batches": 0,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Began(Callback):  # type: ignore[misc]  # its type is not known where types are checked
    """When the first image was asked for."""

    def __init__(self) -> None:
        self.at = 0.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.at = time.perf_counter()


def patchcore(image_size: int, weights: str, options: Mapping[str, Any]) -> Any:
    """anomalib's PatchCore with the backbone weights of the file `weights`."""
    return with_weights(Patchcore(coreset_sampling_ratio=options["coreset_ratio"], **of_backbone(image_size)), weights)


def padim(image_size: int, weights: str, options: Mapping[str, Any]) -> Any:
    """anomalib's PaDiM with the same weights."""
    return with_weights(Padim(n_features=options["n_features"], **of_backbone(image_size)), weights)


def efficientad(image_size: int, _: str, options: Mapping[str, Any]) -> Any:
    """anomalib's EfficientAD with the teacher of the file `teacher`, in place of its download."""
    model = EfficientAd(
        imagenet_dir=options["penalty_folder"],
        model_size=options["size"],
        pre_processor=PreProcessor(transform=Compose([Resize((image_size, image_size), antialias=True)])),
        visualizer=False,
        evaluator=False,
    )
    teacher = torch.load(options["teacher"], map_location="cpu", weights_only=True)
    model.prepare_pretrained_model = lambda: model.model.teacher.load_state_dict(teacher)
    return model


def of_backbone(image_size: int) -> dict[str, Any]:
    """What PatchCore and PaDiM have in common."""
    transform = Compose(
        [
            Resize((image_size, image_size), antialias=True),
            Normalize(mean=[127 / 255] * 3, std=[128 / 255] * 3),
        ]
    )
    return {
        "backbone": BACKBONE,
        "layers": LAYERS,
        "pre_trained": False,
        "pre_processor": PreProcessor(transform=transform),
        "visualizer": False,
        "evaluator": False,
    }


def with_weights(model: Any, weights: str) -> Any:
    """The model with gonogo's weights of the backbone."""
    found = model.model.feature_extractor.feature_extractor.load_state_dict(load_file(weights), strict=False)
    if found.missing_keys:
        raise ValueError(f"{weights} lacks {found.missing_keys[:3]}")
    return model


MODELS: dict[str, Callable[[int, str, Mapping[str, Any]], Any]] = {
    "patchcore": patchcore,
    "padim": padim,
    "efficientad": efficientad,
}


class Fitted:
    """One model, from the fit on."""

    def __init__(self) -> None:
        self.model: Any = None
        self.engine: Any = None
        self.session: Any = None

    @torch.inference_mode()
    def features(self, images: list[str], image_size: int, weights: str, out: str) -> dict[str, Any]:
        """Write the patches (n * p, d) of the images, as the memory bank would take them."""
        model = patchcore(image_size, weights, {"coreset_ratio": 1.0})
        assert model.model.training  # it returns them in training alone; the backbone is in eval mode all the same
        patches = [model.model(model.pre_processor(_pixels(path)[None])) for path in images]
        np.save(out, torch.cat(patches).numpy())
        return {}

    def fit(
        self,
        images: list[str],
        image_size: int,
        weights: str,
        out: str,
        folder: str,
        seed: int,
        detector: str,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Fit the model `detector` by the engine, and write the bank (m, d) of a PatchCore."""
        torch.manual_seed(seed)
        self.model = MODELS[detector](image_size, weights, options)
        trained = {"max_steps": options["steps"], "limit_val_batches": 1.0} if "steps" in options else {}
        good = Path(images[0]).parent
        data = Folder(
            name="part",
            root=good.parent,
            normal_dir=good.name,
            num_workers=0,
            test_split_mode="none",
            val_split_mode="from_train" if trained else "none",  # its quantiles are those of images set aside
            val_split_ratio=0.1,
            train_batch_size=1 if trained else 32,
        )
        began = Began()
        self.engine = Engine(default_root_dir=folder, callbacks=[began], **(SETTINGS | trained))
        choose = None if trained else self.model.fit
        marks = [0.0, 0.0]

        def timed() -> None:
            assert choose is not None
            marks[0] = time.perf_counter()
            choose()
            marks[1] = time.perf_counter()

        if choose is not None:
            self.model.fit = timed
        before = resident_bytes()
        start = time.perf_counter()
        self.engine.fit(self.model, datamodule=data)
        end = time.perf_counter()
        peak = peak_bytes()
        if choose is not None:
            del self.model.fit  # the class has it
        self.model.eval()
        found = {"fit_s": end - start, "before_mb": before / 1e6, "peak_mb": peak / 1e6}
        if detector != "patchcore":
            return found
        np.save(out, self.model.model.memory_bank.numpy())
        return found | {
            "feature_s": marks[0] - began.at,
            "coreset_s": marks[1] - marks[0],
            "n_picks": len(self.model.model.memory_bank),
        }

    def export(self, folder: str, image_size: int, threads: int) -> dict[str, Any]:
        """Write the ONNX file by anomalib's own export and open it.

        First as it exports by default, for any number of images; where that file does not take one image, for one
        image alone, which is the same work.
        """
        from importlib import metadata

        names = ("anomalib", "lightning", "torch", "timm", "onnxruntime")
        found: dict[str, Any] = {"versions": {name: metadata.version(name) for name in names}}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        black = np.zeros((1, 3, image_size, image_size), np.float32)
        for key, shapes in (("onnx_failed", {}), ("onnx_of_one_image_failed", {"dynamic_shapes": None})):
            try:
                path = self.model.to_onnx(folder, input_size=(image_size, image_size), **shapes)
                session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
                session.run(None, {session.get_inputs()[0].name: black})
            except Exception as error:  # it may not work, and the results say so
                found[key] = f"{type(error).__name__}: {str(error)[:300]}"
                continue
            self.session = session
            return found | {"onnx_mb": sum(f.stat().st_size for f in Path(path).parent.iterdir()) / 1e6}
        return found

    @torch.inference_mode()
    def score(self, images: list[str], out: str) -> dict[str, Any]:
        """Write the scores (n,) and maps (n, h, w) of its network, before its post-processing clamps them."""
        scored = [self.model.model(self.model.pre_processor(_pixels(path)[None])) for path in images]
        np.savez(
            out,
            scores=torch.cat([output.pred_score.flatten() for output in scored]).numpy(),
            maps=torch.cat([output.anomaly_map.flatten(0, 1) for output in scored]).numpy(),
        )
        return {}

    def verdicts(self, how: str, images: list[str]) -> dict[str, Any]:
        """Milliseconds from file to score and map for each image: by the engine, its network called, or onnxruntime.

        The engine takes the whole folder in one call, as documented, so that its start is shared by all images.
        """
        if how == "engine":
            start = time.perf_counter()
            predictions = self.engine.predict(self.model, data_path=Path(images[0]).parent)
            taken = (time.perf_counter() - start) * 1e3
            if len(predictions) != len(images):
                raise ValueError(f"the engine judged {len(predictions)} of {len(images)} images")
            return {"ms": [taken / len(images)]}
        judge = {"network": self._by_network, "onnx": self._by_onnx}[how]
        return {"ms": milliseconds(judge, [Path(path) for path in images])}

    @torch.inference_mode()
    def _by_network(self, path: Path) -> Any:
        return self.model(read_image(path, as_tensor=True)[None])

    def _by_onnx(self, path: Path) -> Any:
        with Image.open(path) as file:
            pixels = np.asarray(file.convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255
        return self.session.run(None, {self.session.get_inputs()[0].name: pixels})


def _pixels(path: str) -> torch.Tensor:
    """(3, h, w) float32 in [0, 1]."""
    pixels: torch.Tensor = read_image(path, as_tensor=True)
    return pixels


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "anomalib"):
        logging.getLogger(name).setLevel(logging.ERROR)
    fitted = Fitted()
    answer({name: getattr(fitted, name) for name in ("features", "fit", "export", "score", "verdicts")})
