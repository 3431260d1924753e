"""The few numbers of a gauge that accepting more good images can change, for a comparison of before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gonogo.files import read_json
from gonogo.inference.scorer import Scorer, Verdict


@dataclass(frozen=True)
class Figures:
    """The numbers of a gauge; None where the pipeline has no value.

    Attributes:
        n_fit, n_groups: images fitted on, parts calibrated on.
        n_false_alarms, n_good, recall: measured on the test images.
        n_accepted, n_accepted_rejected: images that were accepted as good, and those of them that this gauge rejects.
    """

    threshold: float
    method: str
    certified: bool
    certified_false_alarm_rate: float | None
    confidence: float
    n_fit: int
    n_groups: int
    n_false_alarms: int | None
    n_good: int | None
    recall: float | None
    n_accepted: int
    n_accepted_rejected: int

    @property
    def shown(self) -> dict[str, str]:
        """Each number as text, by its name for people."""
        rate = self.certified_false_alarm_rate
        kind = {"cross": ", estimated", "leave_one_out": "on average only", "tail": "a model"}.get(
            self.method, "" if self.certified else ", off target"
        )
        return {
            "threshold": f"{self.threshold:.6g}",
            "false alarms, certified": kind if rate is None else f"<= {rate:.2%}{kind}",
            "false alarms, on test": "-" if self.n_good is None else f"{self.n_false_alarms} of {self.n_good}",
            "recall, on test": "-" if self.recall is None else f"{self.recall:.1%}",
            "images fitted on": str(self.n_fit),
            "parts calibrated on": str(self.n_groups),
            "accepted images rejected": f"{self.n_accepted_rejected} of {self.n_accepted}",
        }


def figures(bundle: Path, metrics: Path, category: str, accepted: Sequence[Path]) -> Figures | None:
    """The numbers of the gauge in a bundle, and how many of the `accepted` images it rejects; None without a bundle.

    Raises:
        IntegrityError: a file of the bundle is not the one that the pipeline wrote.
    """
    prepared, evaluated = (metrics / stage / f"{category}.json" for stage in ("prepare", "evaluate"))
    if not all(path.is_file() for path in (bundle / "manifest.json", prepared, evaluated)):
        return None
    scorer = Scorer(bundle)
    record, measured = scorer.record, read_json(evaluated)
    verdicts = [verdict for verdict in scorer.score_files(accepted) if isinstance(verdict, Verdict)]
    measures_false_alarms = "false_alarm_rate" in measured  # where test has a good part
    return Figures(
        threshold=record.threshold,
        method=record.method,
        certified=record.certified,
        certified_false_alarm_rate=record.certified_false_alarm_rate,
        confidence=record.confidence,
        n_fit=read_json(prepared)["n_fit"],
        n_groups=record.n_groups,
        n_false_alarms=measured["n_false_alarms"] if measures_false_alarms else None,
        n_good=measured["n_good"] if measures_false_alarms else None,
        recall=measured.get("recall"),
        n_accepted=len(verdicts),
        n_accepted_rejected=sum(verdict.anomalous for verdict in verdicts),
    )
