"""Step 4, evaluation: metrics with intervals and lift, curves, and a comparison with any commit or experiment."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from gonogo.evaluation.metric_table import ACCURACY, BASELINE, EXACT_LIMITS, GAUGE, HEADLINES, METRICS
from gonogo.files import read_rows
from gonogo.params import project_path
from gonogo.project.compare import DERIVED
from gonogo.project.stage_metrics import measured
from gonogo.service.pages.access import admin_page_key
from gonogo.service.pages.rendering import render
from gonogo.workbench.pages.categories import ChosenCategory
from gonogo.workbench.versions import compared, versions_of

SIDE, MARGIN = 260, 30  # pixels of a curve's square, and of the margins for its axes
Revision = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-]?[^\x00]*$")]  # no option of git
router = APIRouter(dependencies=[Depends(admin_page_key)])


@router.get("/evaluation")
def evaluation(request: Request, category: ChosenCategory, against: Revision = "") -> Response:
    """The page."""
    name = category.name
    metrics = measured("evaluate", name)
    other, refused = compared(name, against, None) if against else (None, "")
    changed = [] if other is None else [one for one in other.metrics if not one.name.endswith(DERIVED)]
    return render(
        request,
        "evaluation.html.j2",
        category=category,
        metrics=metrics,
        rows=[] if metrics is None else metric_rows(metrics),
        curves=[_curve(name, "roc", "fpr", "tpr"), _curve(name, "pr", "recall", "precision")],
        versions=versions_of(name),
        against=against,
        comparison=other,
        changes=[one for one in changed if one.old != one.new and one.stage in ("evaluate", "robustness", "parity")],
        refused=refused,
        headlines={key: metric for key, metric in HEADLINES.items() if key in METRICS},
    )


def metric_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The accuracies of an evaluation, in the table's order, with limits, baseline and lift where they have them."""
    return [
        {"name": name, "metric": metric, "value": metrics[name], "exact": metrics.get(EXACT_LIMITS.get(name, ""))}
        | {ending: metrics.get(f"{name}_{ending}") for ending in ("low", "high", "baseline", "lift")}
        for name, metric in ACCURACY.items()
        if name in metrics
    ]


def _curve(category: str, kind: str, across: str, up: str) -> dict[str, Any]:
    path = project_path("plots", kind, f"{category}.csv")
    rows: Sequence[Mapping[str, str]] = read_rows(path) if path.is_file() else ()

    def path_of(of: str) -> str:
        points = [
            f"{MARGIN + float(row[across]) * SIDE:.1f} {8 + (1 - float(row[up])) * SIDE:.1f}"
            for row in rows
            if row.get("of", GAUGE) == of  # a file of an earlier version has the gauge's curve alone
        ]
        return "M" + "L".join(points) if points else ""

    gauge = path_of(GAUGE)
    return {
        **{"kind": kind, "across": across, "up": up, "side": SIDE, "margin": MARGIN, "n": gauge.count("L") + 1},
        **{"path": gauge, "baseline": path_of(BASELINE)},
    }
