"""Whether the certificates of the gauges of a line still hold, by the rows of its journal, in their order.

What was learnt is what the rows say, so a start reads it from the journal, and is where the start before it ended.
"""

from collections.abc import Callable, Mapping
from typing import Any

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
        self._watches = {
            category: CertificateWatch(scorer.record, params, STATISTICS) for category, scorer in scorers.items()
        }
        self._since: dict[str, str] = {}  # file by which a certificate was withdrawn, by category

    def learn(self, row: Row) -> str | None:
        """Learn from the row of an image; the new state of its certificate, or None where that is as before."""
        told = read_row("", row)
        watch = None if told.score is None else self._watches.get(str(told.category))
        if watch is None or told.score is None:
            return None
        before = watch.state
        watch.add(told.key, told.score, told.statistics)
        if watch.withdrawn_at == told.key:
            self._since.setdefault(str(told.category), told.file)
        return None if watch.state == before else watch.state

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
