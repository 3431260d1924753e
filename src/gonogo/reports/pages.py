"""Pages from the templates of this room: each is one HTML file that holds everything it shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.highest_parts import HighestParts
from gonogo.files import write_text
from gonogo.reports.histogram import histogram


def text_of(template: str, *, markup: bool, **values: Any) -> str:
    """The text of a template, filled with the values.

    Args:
        template: name of a file in `templates`; a name in it that `values` lacks is an error.
        markup: whether the text is HTML, so that a value with `<` in it has to be shown and not obeyed.
    """
    environment = Environment(  # nosec B701 - pages are escaped; the README of a new project is Markdown
        loader=PackageLoader("gonogo.reports", "templates"),
        autoescape=markup,  # noqa: S701 - as above
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def render(path: Path, template: str, **values: Any) -> None:
    """Write the HTML page of a template, filled with the values."""
    write_text(path, text_of(template, markup=True, **values))


def write_calibration_page(
    path: Path,
    record: ThresholdRecord,
    *,
    category: str,
    highest: HighestParts,
    pictures: Sequence[str] = (),
    excluded: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the calibration page: the scores of good parts, the threshold, and what is certified about it.

    Args:
        pictures: data URIs of the highest parts, in their order.
        excluded: what `prepare.exclude` left out, as the data card's facts have it.
    """
    render(
        path,
        "calibration.html.j2",
        category=category,
        record=record,
        chart=histogram(record.good_scores, [], record.threshold, band=(record.band_low, record.band_high)),
        highest=highest,
        pictures=pictures,
        excluded=excluded,
        n_above=sum(score >= record.threshold for score in record.good_scores),
    )
