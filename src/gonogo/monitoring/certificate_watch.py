"""What production says about a gauge's certificate: it holds, is in doubt, or is withdrawn."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.errors import ConfigError
from gonogo.monitoring.bets import Rate, log_mean
from gonogo.monitoring.evidence import SHARE_FOR_MISSED, ChangeTest, Evidence

State = Literal["holds", "in doubt", "withdrawn"]


@dataclass(frozen=True)
class WatchParams:
    """How a certificate is watched.

    withdrawn: at most this share of certificates that hold is ever withdrawn, however long one looks.
    in_doubt: at most this share of them is ever called in doubt.
    missed_share: the largest share of missed defects among the parts that pass for which both are still true; 0: the
        parts that pass are taken for good ones.
    defect_rate: the largest share of defective parts that production is expected to have; a reject rate above the
        certified rate and this one together is evidence too. None: the reject rate is not tested.
    run_length: without any change, a change is called recent once in so many parts, or less often.
    """

    withdrawn: float = 0.05
    in_doubt: float = 0.2
    missed_share: float = 0.0
    defect_rate: float | None = None
    run_length: float = 10_000

    def __post_init__(self) -> None:
        requirements = {
            "withdrawn": (0 < self.withdrawn < 1, "a share in (0, 1)"),
            "in_doubt": (self.withdrawn <= self.in_doubt < 1, "a share in [withdrawn, 1)"),
            "missed_share": (0 <= self.missed_share < 1, "a share in [0, 1)"),
            "defect_rate": (self.defect_rate is None or 0 <= self.defect_rate < 1, "a share in [0, 1), or none"),
            "run_length": (1 < self.run_length < math.inf, "a number of parts above 1"),
        }
        for key, (holds, expected) in requirements.items():
            if not holds:
                raise ConfigError(f"drift: {key} is {getattr(self, key)!r}; expected {expected}")


class CertificateWatch:
    """The evidence against one certificate, from all that its gauge inspected since it was taken into use.

    Three claims are tested, and the mean of their evidence decides, so that all together keep the promise of
    `WatchParams.withdrawn`:

    - **scores**: those of the parts that pass come from where the passing calibrate scores came from, by `ChangeTest`.
      Both are cut at `gap_low`, the calibrate score that the threshold stands on, and not at the threshold: given this
      one, the scores below it are as a draw of parts below it is, which those below the threshold are not.
    - **rejects**: no more parts are rejected than the certified rate and the expected defect rate allow.
    - **audits**: no more of the good parts in a random sample, which people reviewed, were rejected than the
      certified rate allows. It is the one test of what the certificate promises.

    A withdrawal stays, whatever comes after it; only a new watch begins anew.

    Args:
        record: the gauge's threshold with its good scores and its certified rate.

    Raises:
        ConfigError: the certified rate and `defect_rate` together leave nothing to test.
    """

    def __init__(self, record: ThresholdRecord, params: WatchParams) -> None:
        self._record, self._params = record, params
        self._scores = ChangeTest(
            # Of a bank that has grown since, new scores are lower, and these say nothing of them.
            (score for score in record.good_scores if score < record.gap_low and not record.grown),
            missed_share=params.missed_share,
            missed_alpha=SHARE_FOR_MISSED * params.withdrawn,
        )
        rate = record.certified_false_alarm_rate
        self._rates: dict[str, tuple[Rate, Evidence]] = {}
        if rate is not None:
            if params.defect_rate is not None:
                if rate + params.defect_rate >= 1:
                    raise ConfigError(
                        f"drift: the certified rate, {rate:.3g}, and defect_rate, {params.defect_rate:g}, allow any "
                        "reject rate; expect fewer defective parts, or leave defect_rate out"
                    )
                self._rates["rejects"] = Rate(rate + params.defect_rate), Evidence()
            self._rates["audits"] = Rate(rate), Evidence()
        self.number = 0
        self.withdrawn_at: str | None = None

    def add(self, key: str, score: float) -> float | None:
        """Take the next inspected part; the key is its own, such as the inspection's id.

        Returns the p-value of its score, by the rank among all before it; None for a part that is rejected, or nearly.
        """
        self.number += 1
        p_value = self._scores.add(key, score) if score < self._record.gap_low else None
        self._observe("rejects", score >= self._record.threshold)
        self._latch(key)
        return p_value

    def add_audited(self, key: str, *, rejected: bool) -> None:
        """Take a good part of the random sample, once a person has called it good."""
        self._observe("audits", rejected)
        self._latch(key)

    def _observe(self, name: str, happened: bool) -> None:
        if name in self._rates:
            rate, evidence = self._rates[name]
            evidence.multiply(rate.log_factor(happened))

    def _latch(self, key: str) -> None:
        if self.withdrawn_at is None and self.log_evidence >= -math.log(self._level(self._params.withdrawn)):
            self.withdrawn_at = key

    def _level(self, share: float) -> float:
        return share - (SHARE_FOR_MISSED * self._params.withdrawn if self._params.missed_share else 0.0)

    @property
    def evidence(self) -> dict[str, Evidence]:
        """The evidence against each claim that is tested."""
        return {"scores": self._scores.evidence} | {name: evidence for name, (_, evidence) in self._rates.items()}

    @property
    def log_evidence(self) -> float:
        """Logarithm of the mean of the evidence against all claims."""
        return log_mean([evidence.log for evidence in self.evidence.values()])

    @property
    def state(self) -> State:
        """Whether the certificate holds."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        doubtful = self.log_evidence >= -math.log(self._level(self._params.in_doubt))
        return "in doubt" if doubtful else "holds"

    def to_dict(self) -> dict[str, Any]:
        """The state with its evidence, as JSON values."""
        return {
            "state": self.state,
            "parts": self.number,
            "withdrawn_at": self.withdrawn_at,
            "log_evidence": self.log_evidence,
            "needed": -math.log(self._level(self._params.withdrawn)),
            "claims": {
                name: {
                    "observations": evidence.number,
                    "log_evidence": evidence.log,
                    "since": evidence.since,
                    "recent_change": evidence.log_restarted >= math.log(self._params.run_length),
                }
                for name, evidence in self.evidence.items()
            },
        }


def watched(record: ThresholdRecord, params: WatchParams, scores: Iterable[tuple[str, float]]) -> CertificateWatch:
    """The watch after all of these parts, each by its key and score, in the order in which they were inspected."""
    watch = CertificateWatch(record, params)
    for key, score in scores:
        watch.add(key, score)
    return watch
