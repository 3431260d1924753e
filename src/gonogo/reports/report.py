"""The report: one HTML page that holds everything it shows, so that it can be mailed, printed and opened offline."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.route import LeftOut
from gonogo.evaluation.metric_table import ACCURACY, EXACT_LIMITS
from gonogo.files import read_json
from gonogo.reports.front import front_chart
from gonogo.reports.histogram import histogram
from gonogo.reports.pages import render

N_BEST = 5  # trials of a search that are listed
RATES = ("false_alarm_rate", "recall")


@dataclass(frozen=True)
class CategoryReport:
    """What the page shows of one category.

    Attributes:
        prepare, evaluate, parity, bench, robustness: the metrics file of each stage.
        rows: the per-image records.
        robustness_rows: the rates on changed images.
        sheet: file of the picture sheet.
        fit_rows, fit_sheet: the scores of the fit images, each as if it had not been fitted on, and their sheet.
        record: the bundle's threshold record.
        strip: the parts of the first screen, `strip_of` in the report stage.
    """

    name: str
    prepare: Mapping[str, Any]
    evaluate: Mapping[str, Any]
    parity: Mapping[str, Any]
    bench: Mapping[str, Any]
    rows: Sequence[Mapping[str, str]]
    robustness: Mapping[str, Any]
    robustness_rows: Sequence[Mapping[str, str]]
    sheet: Path
    fit_rows: Sequence[Mapping[str, str]]
    fit_sheet: Path
    record: ThresholdRecord
    strip: Mapping[str, Any]

    @property
    def certificate(self) -> str:
        """The certificate as one sentence."""
        sentence = self.record.sentence
        return f"{sentence[0].upper()}{sentence[1:]}."

    @property
    def sheet_uri(self) -> str:
        """The picture sheet as a data URI."""
        return data_uri(self.sheet)

    @property
    def fit_sheet_uri(self) -> str:
        """The sheet of fit images as a data URI."""
        return data_uri(self.fit_sheet)

    @property
    def robustness_card(self) -> list[dict[str, Any]]:
        """Rates by severity of each corruption, from 0, the unchanged images; None where there is no rate."""
        unchanged, *changed = self.robustness_rows
        card = []
        for name in dict.fromkeys(row["corruption"] for row in changed):
            rows = [unchanged, *(row for row in changed if row["corruption"] == name)]
            rates = {key: [float(row[key]) if row[key] else None for row in rows] for key in RATES}
            card.append({"name": name, **rates})
        return card

    @property
    def histogram(self) -> dict[str, Any]:
        """Bars, threshold and axis of the score histogram in SVG units."""
        return histogram(
            [float(row["score"]) for row in self.rows if row["label"] == "0"],
            [float(row["score"]) for row in self.rows if row["label"] == "1"],
            float(self.evaluate["threshold"]),
        )


@dataclass(frozen=True)
class StudyReport:
    """What the page shows of one search: the table that tools/search.py wrote, and its picture."""

    results: Mapping[str, Any]
    picture: Path

    @property
    def picture_uri(self) -> str:
        """The picture as a data URI."""
        return data_uri(self.picture, "svg+xml")

    @property
    def best(self) -> list[Mapping[str, Any]]:
        """The best trials, the best first; of trials with the same parameters only the first."""
        return ranked(self.results)[:N_BEST]

    def n_in_state(self, state: str) -> int:
        """How many trials are in this state: done, failed or stopped."""
        return sum(row["state"] == state for row in self.results["trials"])


def ranked(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The trials of a search that have a value, the best first; of trials with the same parameters only the first."""
    done = [row for row in results["trials"] if row["state"] == "done" and "same_as" not in row]
    return sorted(done, key=lambda row: float(row["value"]), reverse=results["direction"] == "maximize")


def read_studies(folder: Path) -> list[StudyReport]:
    """The searches in `folder`, by name; none where there is no folder."""
    return [
        StudyReport(read_json(table), table.with_name("study.svg")) for table in sorted(folder.glob("*/trials.json"))
    ]


def read_tunings(folder: Path) -> list[dict[str, Any]]:
    """What `gonogo tune` found, by category, each with its chart; none where there is no folder."""
    found = [read_json(path) for path in sorted(folder.glob("*.tune.json"))]
    return [results | {"chart": front_chart(results)} for results in found]


def retrieval_of(metrics: Mapping[str, Any], categories: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The metrics of the retrieve stage by category, each without the category in its name."""
    found: dict[str, dict[str, Any]] = {category: {} for category in categories}
    for key, value in metrics.items():
        name, _, category = key.partition(".")
        if category in found:
            found[category][name] = value
    return found


def data_uri(picture: Path, kind: str = "png") -> str:
    """A picture file of that kind as text that a page can hold."""
    return f"data:image/{kind};base64," + base64.b64encode(picture.read_bytes()).decode()


def write_report(
    path: Path,
    summary: Mapping[str, Any],
    categories: Sequence[CategoryReport],
    studies: Sequence[StudyReport] = (),
    left_out: Sequence[LeftOut] = (),
    tunings: Sequence[Mapping[str, Any]] = (),
    retrieval: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the page. Its links to each category's pages lead to a folder of the category's name beside it."""
    content: dict[str, Any] = {"summary": summary, "categories": categories, "studies": studies, "left_out": left_out}
    content |= {"tunings": tunings, "retrieval": retrieval or {}}
    render(path, "report.html.j2", accuracy=ACCURACY, exact_limits=EXACT_LIMITS, **content)
