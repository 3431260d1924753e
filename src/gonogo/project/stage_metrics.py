"""The metrics of a category that a stage wrote, from the files in metrics/."""

from typing import Any

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.files import read_json, read_sealed
from gonogo.params import project_path


def measured(stage: str, category: str) -> dict[str, Any] | None:
    """The metrics of a stage, None where it has not run; for `fit` also the threshold and what is certified of it."""
    path = project_path("metrics", stage, f"{category}.json")
    if not path.is_file():
        return None
    metrics: dict[str, Any] = read_json(path)
    model = project_path("models", category)
    if stage == "fit" and (model / "manifest.json").is_file():
        record = ThresholdRecord.from_dict(read_sealed(model)["threshold"])
        metrics |= {"threshold": record.threshold, "claim": record.sentence}
    return metrics
