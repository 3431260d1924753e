"""The texts of the pages: one catalogue for each language, `LANGUAGE.json`, with the same keys.

A key is `area.what`. `{name}` stands for a value. A text that depends on a whole number `n` is two, `key.one` and
`key.other`.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = {"en": "English", "de": "Deutsch"}  # each by its own name; the first one is for whoever reads neither
THOUSANDS = {"en": ",", "de": "."}
DECIMAL = {"en": ".", "de": ","}
PERCENT = {"en": "%", "de": "\u00a0%"}


class Texts:
    """The texts, numbers and times of one language."""

    def __init__(self, language: str, catalogue: Mapping[str, str]) -> None:
        self.language, self._catalogue = language, catalogue

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key with its values; a whole number `n` chooses between `key.one` and `key.other`.

        Raises:
            KeyError: the catalogue has no such key, or the text names a value that is not given.
        """
        if key not in self._catalogue:
            key = f"{key}.{'one' if values['n'] == 1 else 'other'}"
        shown = {name: self.number(value) if isinstance(value, int) else value for name, value in values.items()}
        return self._catalogue[key].format(**shown)

    def known(self, key: str) -> bool:
        """Whether the catalogue has the key."""
        return key in self._catalogue

    def number(self, value: float, digits: int = 0) -> str:
        """A number with so many decimals."""
        marks = THOUSANDS[self.language] + DECIMAL[self.language]
        return f"{value:,.{digits}f}".translate(str.maketrans(",.", marks))

    def significant(self, value: float, digits: int = 4) -> str:
        """A number with so many significant digits, as scores are shown."""
        return f"{value:.{digits}g}".replace(".", DECIMAL[self.language])

    def percent(self, share: float, digits: int = 1) -> str:
        """A share in percent, without decimals that are zero."""
        text, decimal = self.number(100 * share, digits), DECIMAL[self.language]
        return (text.rstrip("0").rstrip(decimal) if decimal in text else text) + PERCENT[self.language]


@cache
def texts_of(language: str, others: Sequence[str] = ()) -> Texts:
    """The texts of one of LANGUAGES, and those of other packages, which have catalogues in a folder `texts` too."""
    folders = [files(__package__), *(files(package).joinpath("texts") for package in others)]
    catalogue: dict[str, str] = {}
    for folder in folders:
        catalogue |= json.loads(folder.joinpath(f"{language}.json").read_text(encoding="utf-8"))
    return Texts(language, catalogue)


def preferred_language(accept_language: str) -> str:
    """The one of LANGUAGES that a browser's header Accept-Language prefers."""
    weights: dict[str, float] = {}
    for part in accept_language.lower().split(","):
        name, _, parameter = part.partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        weights.setdefault(name.strip().partition("-")[0], weight)
    known = [name for name in weights if name in LANGUAGES and weights[name] > 0]
    return max(known, key=lambda name: weights[name], default=next(iter(LANGUAGES)))
