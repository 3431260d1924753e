"""A fitted model as a directory: tensors, and a manifest that describes them and holds their hashes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.probability import ProbabilityRecord, probability_in
from gonogo.calibration.regions import RegionRule
from gonogo.compute.versions import versions
from gonogo.detectors import detector_with
from gonogo.detectors.boxes.labelled import FindsBoxes
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.detectors.training.checkpoints import tensors_in
from gonogo.errors import ConfigError, IntegrityError, NotFittedError
from gonogo.files import SCHEMA, open_sealed, seal
from gonogo.model.feature_space import feature_facts
from gonogo.model.fit_params import Preprocess, Tiling
from gonogo.model.inspector import Inspector
from gonogo.model.preprocessing import STATE
from gonogo.params import build

TENSORS = "detector.safetensors"


@dataclass(frozen=True)
class Model:
    """A fitted inspector, its threshold, its rule for regions and its manifest."""

    inspector: Inspector
    threshold: ThresholdRecord
    probability: ProbabilityRecord | None
    rule: RegionRule
    manifest: Mapping[str, Any]


def save_model(
    folder: Path,
    inspector: Inspector,
    threshold: ThresholdRecord,
    rule: RegionRule,
    *,
    category: str,
    detector_name: str,
    options: Mapping[str, Any],
    data_fingerprint: str,
    fitted_on: Sequence[str],
    rotations: int = 1,
    grown_by: Sequence[str] = (),
    calibrated_on: Sequence[Mapping[str, Any]],
    validated_on: Sequence[Mapping[str, Any]] = (),
    probability: ProbabilityRecord | None = None,
) -> None:
    """Write the detector's learned state and the manifest into `folder`; its facts include those of a tuned backbone.

    Args:
        inspector: with the fitted detector.
        options: keyword arguments that make the same detector again, unfitted.
        data_fingerprint: of the dataset whose images it was fitted and calibrated on.
        fitted_on: the names of the fit images, in their order, each seen in so many `rotations`.
        grown_by: the names of the images whose entries joined the memory bank afterwards, numbered after those.
        calibrated_on: the good images and scores that the threshold comes from, as `Inspection.score_rows` has them.
        validated_on: the images with the role validate and their scores, in the same way.
        probability: from such scores; None where the parameters want none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    detector = inspector.detector
    tiling = None if inspector.tiles is None else inspector.tiles.tiling
    height, width = inspector.input_size
    state = {name: tensor.contiguous() for name, tensor in detector.state_dict().items()}
    preprocess = None if inspector.preprocessing is None else asdict(inspector.preprocessing.params)
    if inspector.preprocessing is not None:
        state |= inspector.preprocessing.saved_state()
    save_file(state, folder / TENSORS)
    facts = detector.fit_facts()
    for backbone in detector.backbones():
        facts |= backbone.facts
    hashes = {backbone.name: backbone.weights_sha256 for backbone in detector.backbones() if backbone.weights_sha256}
    content = {
        "schema": SCHEMA,
        "category": category,
        "detector": {"name": detector_name, "options": dict(options), "facts": facts, "weights_sha256": hashes},
        "preprocessing": {
            "input": "uint8 RGB (n, h, w, 3)",
            "resize": f"antialiased bilinear to {height} x {width}",
            "image_size": detector.image_size.written,
            "tiling": None if tiling is None else asdict(tiling),
            "preprocess": preprocess,
        },
        "localises": detector.localises,
        "threshold": threshold.to_dict(),
        "fitted_on": {"images": list(fitted_on), "rotations": rotations, "grown_by": list(grown_by)},
        "calibrated_on": list(calibrated_on),
        "validated_on": list(validated_on),
        "probability": None if probability is None else probability.to_dict(),
        "regions": rule.to_dict(),
        "data_fingerprint": data_fingerprint,
        "versions": versions("torch", "timm", "scikit-learn", "numpy"),
    }
    if isinstance(detector, FindsBoxes):
        content["boxes"] = detector.box_classes().to_dict()
    seal(folder, content, [TENSORS])


def load_model(folder: Path) -> Model:
    """Load what `save_model` wrote, after checking every hash. Nothing is unpickled.

    Raises:
        IntegrityError: a file is missing or changed, or was written by another version of the format.
    """
    sealed = open_sealed(folder)
    manifest = sealed.content
    try:
        described = manifest["detector"]
        name = described["name"]
        options = build(DETECTOR_OPTIONS[name], described["options"], where=f"{folder}: detector")
        detector = detector_with(name, options)
        tensors = tensors_in(sealed.files[TENSORS])
        levelling = {key: tensors.pop(key) for key in list(tensors) if key.startswith(STATE)}
        detector.restore(tensors)
        detector.require_fitted()  # a model of an earlier version may lack buffers
        threshold = ThresholdRecord.from_dict(manifest["threshold"])
        probability = probability_in(manifest)
        rule = RegionRule.from_dict(manifest["regions"])
        tiling = manifest["preprocessing"]["tiling"]
        preprocess = manifest["preprocessing"].get("preprocess")  # a model of an earlier version has no such key
        inspector = Inspector(
            detector,
            rule.params.inside,
            tiling=None if tiling is None else Tiling(**tiling),
            preprocess=None if preprocess is None else Preprocess(**preprocess),
        )
        if inspector.preprocessing is not None:
            inspector.preprocessing.restore(levelling)
            inspector.preprocessing.require_loaded()
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError, NotFittedError, SafetensorError) as error:
        raise IntegrityError(f"{folder}: its files do not make a model ({error}); fit again") from error
    return Model(inspector, threshold, probability, rule, manifest)


def bundle_facts(model: Model) -> dict[str, Any]:
    """What the ONNX file and the bundle's manifest both have: a part of the model's manifest, and its features."""
    kept = ("schema", "category", "detector", "preprocessing", "localises", "threshold", "probability", "regions")
    found = ("boxes",) if "boxes" in model.manifest else ()  # of a gauge that finds boxes
    facts = {key: model.manifest[key] for key in (*kept, *found, "data_fingerprint", "versions")}
    return facts | {"features": feature_facts(model.inspector)}
