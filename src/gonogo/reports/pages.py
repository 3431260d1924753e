"""Pages from templates beside this file: one HTML file that holds everything it shows."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gonogo.files import write_text


def text_of(template: str, *, markup: bool, **values: Any) -> str:
    """What `template` makes of the values; a name that it lacks is an error. With `markup`, theirs is shown as text."""
    environment = Environment(
        loader=PackageLoader("gonogo.reports", "templates"),
        autoescape=markup,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def render(path: Path, template: str, **values: Any) -> None:
    """Write the page that `template` makes of the values."""
    write_text(path, text_of(template, markup=True, **values))
