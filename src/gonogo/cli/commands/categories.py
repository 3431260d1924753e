"""gonogo categories: the categories of this project, where their images come from, and the metrics of their gauges."""

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.cli.names import PARAMS, known_categories
from gonogo.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name, and where to write labels to."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a category; default: list them all")
    parser.add_argument(
        "--yolo",
        type=Path,
        metavar="FOLDER",
        help="write the prepared images of NAME, but those to calibrate, with YOLO's labels and dataset.yaml",
    )


def run(arguments: argparse.Namespace) -> Answer:
    """List the categories, or describe one: its parameters, its images, its metrics."""
    from gonogo.params import Params

    names = Params(PARAMS).categories
    if arguments.name is None:
        if arguments.yolo is not None:
            raise UsageError("--yolo needs the name of a category", command="gonogo categories")
        listed = [_headline(name) for name in names]
        head = ("category", "source", "detector", "image AUROC", "recall", "false alarms")
        rows = [tuple("-" if value is None else _shown(value) for value in entry.values()) for entry in listed]
        return Answer({"ok": True, "categories": listed}, in_columns([head, *rows], head=True))
    known_categories([arguments.name], command="gonogo categories")
    return _described(arguments.name) if arguments.yolo is None else _written(arguments.name, arguments.yolo)


def _written(name: str, folder: Path) -> Answer:
    """The category's labelled images in YOLO's form."""
    from gonogo.data.prepare.yolo_labels import write_yolo
    from gonogo.images.dataset import read_dataset
    from gonogo.params import Params, project_path

    counts = write_yolo(read_dataset(project_path("prepared", name), Params(PARAMS).raw), folder)
    said = ", ".join(f"{count} {split}" for split, count in counts.items())
    return Answer({"ok": True, "name": name, "folder": str(folder), "images": counts}, f"{folder}: {said} images")


def _headline(name: str) -> dict[str, Any]:
    from gonogo.project.stage_metrics import measured

    parameters, metrics = _sections(name), measured("evaluate", name) or {}
    figures = ("image_auroc", "recall", "false_alarm_rate")
    return {
        "name": name,
        "source": parameters["prepare"].get("source"),
        "detector": parameters["fit"].get("detector"),
    } | {figure: metrics.get(figure) for figure in figures}


def _described(name: str) -> Answer:
    from gonogo.cli.stage_text import summary_text
    from gonogo.project.stage_metrics import measured

    parameters, counts, metrics = _sections(name), measured("prepare", name), measured("evaluate", name)
    lines = [
        f"{section}: {', '.join(f'{key}: {json.dumps(value)}' for key, value in values.items())}"
        for section, values in parameters.items()
    ]
    if counts is None:
        lines.append(f"images: not prepared yet; dvc repro prepare@{name} prepares them")
    else:
        lines.append(f"images: {', '.join(f'{key[2:]} {value}' for key, value in counts.items() if key[:2] == 'n_')}")
    lines.append(
        f"not evaluated yet; gonogo eval {name} evaluates it"
        if metrics is None
        else summary_text("evaluate", name, metrics)
    )
    report = {"ok": True, "name": name, "parameters": parameters, "images": counts, "metrics": metrics}
    return Answer(report, "\n".join(lines))


def _sections(name: str) -> dict[str, Any]:
    """The category's parameters by section, as its stages read them."""
    from gonogo.data.prepare.params import PrepareParams
    from gonogo.model.fit_params import FitParams
    from gonogo.params import VARIANT_KEYS, Params, read_yaml

    content = read_yaml(PARAMS)
    params = Params(PARAMS, name, content=content)
    kinds: dict[str, type[Any]] = {"fit": FitParams, "prepare": PrepareParams}
    shared = {section: [field.name for field in fields(kind)] for section, kind in kinds.items()}
    sections = [key for key, value in content.items() if isinstance(value, dict) and key != "overrides"]
    assert set(VARIANT_KEYS) == set(shared)
    return {section: params.section(section, shared=shared.get(section, ())) for section in sections}


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
