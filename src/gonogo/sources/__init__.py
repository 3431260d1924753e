"""Data sources by the name that `params.yaml: prepare.source` gives them."""

from gonogo.sample import Source
from gonogo.sources.digits import Digits
from gonogo.sources.surfaces import Surfaces

SOURCES: dict[str, type[Source]] = {"surfaces": Surfaces, "digits": Digits}
