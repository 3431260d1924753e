"""Whether the certificates of the gauges of a line still hold, by the rows of its journal, in their order.

What was learnt is what the rows say, so a start reads it from the journal, and is where the start before it ended; that
it has not to read all rows again, it is kept beside them.
"""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from gonogo.images.statistics import STATISTICS
from gonogo.inference.scorer import Scorer
from gonogo.line.journal import Row
from gonogo.line.rows import read_row
from gonogo.monitoring.certificate_watch import CertificateWatch, WatchParams


class LineStanding:
    """A watch for each gauge of the line."""

    def __init__(self, scorers: Mapping[str, Scorer], params: WatchParams) -> None:
        """Begin to watch.

        Args:
            scorers: the gauges by category.
            params: how their certificates are watched; the same at each start.

        Raises:
            ConfigError: a certified rate and the defect rate together leave nothing to test.
        """
        self._scorers, self._params = scorers, params
        self._watches = self._begun()
        self._since: dict[str, str] = {}  # file by which a certificate was withdrawn, by category
        self._new: dict[str, list[tuple[float, ...]]] = {name: [] for name in scorers}  # values not kept yet

    def _begun(self) -> dict[str, CertificateWatch]:
        return {name: CertificateWatch(one.record, self._params, STATISTICS) for name, one in self._scorers.items()}

    def learn(self, row: Row) -> str | None:
        """Learn from the row of an image; the new state of its certificate, or None where that is as before."""
        told = read_row("", row)
        watch = None if told.score is None else self._watches.get(str(told.category))
        if watch is None or told.score is None:
            return None
        before = watch.state
        watch.add(told.key, told.score, told.statistics)
        if watch.tests(told.score):
            values = (told.score, *(told.statistics or (math.nan,) * len(STATISTICS)))
            self._new[str(told.category)].append(values)
        if watch.withdrawn_at == told.key:
            self._since.setdefault(str(told.category), told.file)
        return None if watch.state == before else watch.state

    def kept(self) -> dict[str, Any]:
        """What was learnt, with the values of the parts since the last call, as JSON values that are exact."""
        kept = {
            "params": asdict(self._params),
            "statistics": list(STATISTICS),
            "since": dict(self._since),
            "watches": {name: watch.kept() for name, watch in self._watches.items()},
            "values": {name: _packed(values) for name, values in self._new.items()},
        }
        self._new = {name: [] for name in self._watches}
        return kept

    def resume(self, kept: Sequence[Mapping[str, Any]]) -> None:
        """Go on, to the last bit, where `kept` was, of which these are all pieces.

        Raises:
            ValueError: the certificates were watched in another way; all is as it was.
            KeyError, TypeError: it is damaged; all is as it was.
        """
        last = kept[-1]
        if (last["params"], last["statistics"]) != (asdict(self._params), list(STATISTICS)):
            raise ValueError("the certificates were watched in another way")
        watches = self._begun()
        for name, watch in watches.items():
            values = b"".join(base64.b64decode(piece["values"][name], validate=True) for piece in kept)
            watch.resume(last["watches"][name], np.frombuffer(values, dtype="<f8").reshape(-1, 1 + len(STATISTICS)))
        self._watches, self._since = watches, dict(last["since"])

    def of(self, category: str) -> dict[str, Any]:
        """The state of a certificate and, where it is withdrawn, the file by which it was."""
        return {"state": self._watches[category].state, "since": self._since.get(category)}

    def stamp(self, rows: list[Row], is_new: Callable[[Row], bool]) -> list[Row]:
        """Say in each row that has a verdict whether its certificate held before it, and learn from the row.

        Args:
            rows: in the order in which they are recorded; those that say it already are left as they are.
            is_new: whether the image of a row has no row yet; the others are not learnt from again.

        Returns an event for each change of a state.
        """
        events = []
        for row in rows:
            category = row.get("category")
            if "score" not in row or "certificate" in row or category not in self._watches:
                continue
            row["certificate"] = self.of(category)
            state = self.learn(row) if is_new(row) else None
            if state is not None:
                events.append(
                    {
                        "event": "certificate",
                        "category": category,
                        "bundle": row["bundle"],
                        **self.of(category),
                        "file": row["file"],
                        "key": f"certificate {category} {state} {row['key']}",
                    }
                )
        return events

    def sentence(self, category: str) -> str:
        """The state of a certificate in words."""
        told = self.of(category)
        since = "" if told["since"] is None else f", since {told['since']}"
        return f"{category}: certificate {told['state']}{since}"

    def report(self) -> dict[str, Any]:
        """What each watch has learnt, by category, as `CertificateWatch.to_dict` has it, with `since`."""
        return {name: watch.to_dict() | {"since": self._since.get(name)} for name, watch in self._watches.items()}


def _packed(values: Sequence[tuple[float, ...]]) -> str:
    return base64.b64encode(np.array(values, dtype="<f8").tobytes()).decode()
