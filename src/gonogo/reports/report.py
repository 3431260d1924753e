"""The report: one HTML page that holds everything it shows, so that it can be mailed and opened offline."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.files import read_json
from gonogo.reports.histogram import histogram
from gonogo.reports.pages import render

N_BEST = 5  # trials of a search that are listed
RATES = ("false_alarm_rate", "recall")


@dataclass(frozen=True)
class CategoryReport:
    """What the page says of one category: its metrics files, per-image rows, picture sheets and certificate.

    `fit_rows` and `fit_sheet` are those of the fit images that are unlike the others; `robustness_rows` those of images
    that were changed.
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
    certificate: str

    @property
    def sheet_uri(self) -> str:
        """The picture sheet as a data URI."""
        return data_uri(self.sheet)

    @property
    def fit_sheet_uri(self) -> str:
        """The sheet of fit images as a data URI."""
        return data_uri(self.fit_sheet)

    @property
    def n_fit_rejected(self) -> int:
        """How many fit images the gauge would reject, had the fit not seen them."""
        return sum(row["rejected"] == "1" for row in self.fit_rows)

    @property
    def robustness_card(self) -> list[dict[str, Any]]:
        """Of each corruption its rates by severity, from 0, the images as they are; None where there is no rate."""
        as_they_are, *changed = self.robustness_rows
        card = []
        for name in dict.fromkeys(row["corruption"] for row in changed):
            rows = [as_they_are, *(row for row in changed if row["corruption"] == name)]
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
    """What the page says of one search: the table that tools/search.py wrote, and its picture."""

    results: Mapping[str, Any]
    picture: Path

    @property
    def picture_uri(self) -> str:
        """The picture as a data URI."""
        return data_uri(self.picture, "svg+xml")

    @property
    def best(self) -> list[Mapping[str, Any]]:
        """The best trials, each of its kind once, best first."""
        return ranked(self.results)[:N_BEST]

    def n_in_state(self, state: str) -> int:
        """How many trials are done, failed or stopped."""
        return sum(row["state"] == state for row in self.results["trials"])


def ranked(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The trials of a search that have a value, each of its kind once, best first."""
    done = [row for row in results["trials"] if row["state"] == "done" and "same_as" not in row]
    return sorted(done, key=lambda row: float(row["value"]), reverse=results["direction"] == "maximize")


def read_studies(folder: Path) -> list[StudyReport]:
    """The searches in `folder`, by name; none where there is no folder."""
    return [
        StudyReport(read_json(table), table.with_name("study.svg")) for table in sorted(folder.glob("*/trials.json"))
    ]


def data_uri(picture: Path, kind: str = "png") -> str:
    """A picture of that kind as text that a page can hold."""
    return f"data:image/{kind};base64," + base64.b64encode(picture.read_bytes()).decode()


def write_report(
    path: Path, summary: Mapping[str, Any], categories: Sequence[CategoryReport], studies: Sequence[StudyReport] = ()
) -> None:
    """Write the page."""
    render(path, "report.html.j2", summary=summary, categories=categories, studies=studies)
