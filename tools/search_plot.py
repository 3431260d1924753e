"""The picture of a search: what each trial reached, and what it reached by each parameter."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from gonogo.reports.panels import Panel, draw

COLUMNS = 3


def study_svg(results: Mapping[str, Any]) -> str:
    """The SVG of a study's trials.json."""
    done = [trial for trial in results["trials"] if trial["state"] == "done"]
    failed = [trial for trial in results["trials"] if trial["state"] == "failed"]
    best = next((number for number, trial in enumerate(done) if trial["number"] == results["best"]), None)
    better = max if results["direction"] == "maximize" else min
    reached = [(trial["number"], better(one["value"] for one in done[: n + 1])) for n, trial in enumerate(done)]
    last = max((trial["number"] for trial in results["trials"]), default=0)
    history = Panel(
        results["criterion"],
        "trial",
        points=[(trial["number"], trial["value"]) for trial in done],
        ticks=[(float(number), str(number)) for number in sorted({0, last // 2, last})],
        line=reached,
        best=best,
        failed=[trial["number"] for trial in failed],
    )
    return draw([history, *(_slice(key, spec, done, best) for key, spec in results["space"].items())], columns=COLUMNS)


def _slice(key: str, spec: Mapping[str, Any], done: Sequence[Mapping[str, Any]], best: int | None) -> Panel:
    values = [trial["params"][key] for trial in done]
    if "choices" in spec:
        texts = [json.dumps(choice, sort_keys=True) for choice in spec["choices"]]
        xs = [float(texts.index(json.dumps(value, sort_keys=True))) for value in values]
        ticks = [(float(place), text) for place, text in enumerate(texts)]
    else:
        ends = (spec["low"], spec["high"])
        xs = [math.log10(value) if spec["log"] else float(value) for value in values]
        ticks = [(math.log10(value) if spec["log"] else float(value), f"{value:g}") for value in ends]
    points = [(x, float(trial["value"])) for x, trial in zip(xs, done, strict=True)]
    return Panel(key, "", points=points, ticks=ticks, best=best)
