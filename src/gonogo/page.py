"""Pages from templates beside this file: one HTML file that holds everything it shows."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gonogo.files import write_text


def render(path: Path, template: str, **values: Any) -> None:
    """Write the page that `template` makes of the values; a name that it lacks is an error, and markup is text."""
    environment = Environment(loader=PackageLoader("gonogo", "."), autoescape=True, undefined=StrictUndefined)
    write_text(path, environment.get_template(template).render(**values))
