"""gonogo detectors: the values of fit.detector, and the options of each. Nothing here imports torch."""

import argparse
from dataclasses import asdict, fields
from typing import Any

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.detectors import CAPABILITIES, DETECTORS, Capabilities
from gonogo.detectors.described import documentation, options_of
from gonogo.detectors.names import detector_name
from gonogo.errors import ConfigError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a detector; default: list them all")


def run(arguments: argparse.Namespace) -> Answer:
    """List the detectors, or describe one."""
    name = arguments.name
    if name is None:
        summaries = [(known, documentation(known)[0]) for known in DETECTORS]
        report = [
            {"name": known, "summary": summary, "capabilities": asdict(CAPABILITIES[known])}
            for known, summary in summaries
        ]
        rows = [(known, *_marks(known), summary) for known, summary in summaries]
        head = ("", *(field.name.replace("_", " ") for field in fields(Capabilities)), "")
        return Answer({"ok": True, "detectors": report}, in_columns([head, *rows], head=True))
    try:
        name = detector_name(name)
    except ConfigError as error:
        raise UsageError(str(error), command="gonogo detectors") from error
    from gonogo.detectors.options import DETECTOR_OPTIONS
    from gonogo.model.fit_params import FitParams

    summary, about, score = documentation(name)
    options, shared = list(options_of(DETECTOR_OPTIONS[name])), [field.name for field in fields(FitParams)]
    report_of_one = {
        "name": name,
        "made_by": DETECTORS[name].partition(":")[2],
        "summary": summary,
        "about": about,
        "score": score,
        "capabilities": asdict(CAPABILITIES[name]),
        "options": [asdict(option) for option in options],
        "shared_options": shared,
    }
    rows = [
        (
            f"  {option.name}",
            "required" if option.required else _as_yaml(option.default),
            option.allowed,
            option.description,
        )
        for option in options
    ]
    text = [
        f"{name}: {summary}",
        "",
        *([about, ""] if about else []),
        score,
        "",
        "; ".join(
            f"{field.name.replace('_', ' ')}: {mark}"
            for field, mark in zip(fields(Capabilities), _marks(name), strict=True)
        ),
        "",
        in_columns([("  option", "default", "allowed", ""), *rows], head=True),
        "",
        f"with every detector: {', '.join(shared)}; params.yaml explains them",
    ]
    return Answer({"ok": True, **report_of_one}, "\n".join(text))


def _marks(name: str) -> list[str]:
    """What a detector can do, in the order of the fields of `Capabilities`."""
    words = {True: "yes", False: "-", None: "depends"}
    return [words[can] for can in asdict(CAPABILITIES[name]).values()]


def _as_yaml(default: Any) -> str:
    return "null" if default is None else str(default)
