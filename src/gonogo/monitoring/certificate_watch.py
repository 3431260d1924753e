"""What production says about a gauge's certificate: it holds, is in doubt, or is withdrawn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from gonogo.calibration.certificate import ThresholdRecord
from gonogo.errors import ConfigError
from gonogo.monitoring.bets import Rate, log_mean
from gonogo.monitoring.evidence import SHARE_FOR_MISSED, ChangeTest, Evidence

State = Literal["holds", "in doubt", "withdrawn"]
MOST_DEFECTIVE = 0.5  # share of defective parts that any production is taken to stay below
FORMAT = 1  # of what `CertificateWatch.kept` gives


@dataclass(frozen=True)
class WatchParams:
    """How a certificate is watched.

    withdrawn: at most this share of certificates that hold is ever withdrawn, however long one looks.
    in_doubt: at most this share of them is ever called in doubt.
    missed_share: the largest share of missed defects among the parts that pass for which both are still true; 0: the
        parts that pass are taken for good ones.
    defect_rate: the largest share of defective parts that production is expected to have; a reject rate above the
        certified rate and this one together is evidence too. Without it a change by which every part is rejected
        would not show, since the other tests look at parts that pass; so it is one half unless it is known better.
        None: the reject rate is not tested.
    run_length: without any change, a change is called recent once in so many parts, or less often.
    """

    withdrawn: float = 0.05
    in_doubt: float = 0.2
    missed_share: float = 0.0
    defect_rate: float | None = MOST_DEFECTIVE
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

    Four claims are tested, and the mean of their evidence decides, so that all together keep the promise of
    `WatchParams.withdrawn`:

    - **scores**: those of the parts that pass come from where the passing calibrate scores came from, by `ChangeTest`.
      Both are cut at `gap_low`, the calibrate score that the threshold stands on, and not at the threshold: given this
      one, the scores below it are as a draw of parts below it is, which those below the threshold are not.
    - **images**: statistics of the same parts' images come from where the earlier ones came from. Its evidence is the
      mean of that of each statistic.
    - **rejects**: no more parts are rejected than the certified rate and the expected defect rate allow. It is not
        tested where a weak certificate and an expected rate of one half or less allow any.
    - **audits**: no more of the good parts in a random sample, which people reviewed, were rejected than the
      certified rate allows. It is the one test of what the certificate promises.

    A withdrawal stays, whatever comes after it; only a new watch begins anew.

    Args:
        record: the gauge's threshold with its good scores and its certified rate.
        statistics: names of the statistics of each image; none: images are not tested.

    Raises:
        ConfigError: the certified rate and `defect_rate` together leave nothing to test.
    """

    def __init__(self, record: ThresholdRecord, params: WatchParams, statistics: Sequence[str] = ()) -> None:
        self._record, self._params, self._statistics = record, params, tuple(statistics)
        self._changes = ChangeTest(
            # Of a bank that has grown since, new scores are lower, and these say nothing of them.
            [
                [score for score in record.good_scores if score < record.gap_low and not record.grown],
                *([] for _ in statistics),
            ],
            missed_share=params.missed_share,
            missed_alpha=SHARE_FOR_MISSED * params.withdrawn,
        )
        rate = record.certified_false_alarm_rate
        self._rejects = self._audits = None if rate is None else Rate(rate)
        expected = params.defect_rate
        allows_all = rate is not None and expected is not None and rate + expected >= 1
        if allows_all and expected is not None and expected > MOST_DEFECTIVE:
            raise ConfigError(
                f"drift: the certified rate, {rate:.3g}, and defect_rate, {expected:g}, allow any "
                "reject rate; expect fewer defective parts, or leave defect_rate out"
            )
        if rate is not None:
            self._rejects = None if expected is None or allows_all else Rate(rate + expected)
        self._of_rejects, self._of_audits = Evidence(), Evidence()
        self.number = 0
        self.withdrawn_at: str | None = None

    def add(self, key: str, score: float, statistics: Sequence[float] = ()) -> float | None:
        """Take the next inspected part; the key is its own, such as the inspection's id.

        Args:
            key: see there.
            score: of the part.
            statistics: of its image, in the order of their names; none where they are not known.

        Returns the p-value of its score, by the rank among all before it; None for a part that is rejected, or nearly.
        """
        self.number += 1
        p_value = None
        if score < self._record.gap_low:
            p_value = self._changes.add(key, [score, *(statistics if self._statistics else ())])[0]
        if self._rejects is not None:
            self._of_rejects.multiply(self._rejects.log_factor(score >= self._record.threshold), key)
        self._latch(key)
        return p_value

    def tests(self, score: float) -> bool:
        """Whether a part with this score is among those whose scores and images are tested."""
        return score < self._record.gap_low

    def set_audits(self, key: str, *, rejected: int, passed: int) -> None:
        """Say how many good parts of the random sample were rejected, and how many passed, up to the part `key`.

        People may review the rejected ones first. So that their order does not matter, a part of the sample that waits
        for its review must be counted as what speaks less against the certificate: among `passed` if it passed, and
        not at all if it was rejected. The evidence is then at most that of the whole sample, whoever reviews what when.
        """
        if self._audits is not None:
            log = self._audits.log_wealth(rejected, passed)
            self._of_audits = Evidence(log, rejected + passed)
            self._latch(key)

    def _latch(self, key: str) -> None:
        if self.withdrawn_at is None and self.log_evidence >= -math.log(self._level(self._params.withdrawn)):
            self.withdrawn_at = key

    def _level(self, share: float) -> float:
        return share - (SHARE_FOR_MISSED * self._params.withdrawn if self._params.missed_share else 0.0)

    @property
    def evidence(self) -> dict[str, Evidence]:
        """The evidence against each claim that is tested, but that of images."""
        found = {"scores": self._changes.evidence[0]}
        if self._rejects is not None:
            found["rejects"] = self._of_rejects
        if self._audits is not None:
            found["audits"] = self._of_audits
        return found

    @property
    def image_evidence(self) -> dict[str, Evidence]:
        """The evidence of each statistic of the images."""
        return dict(zip(self._statistics, self._changes.evidence[1:], strict=True))

    @property
    def log_claims(self) -> dict[str, float]:
        """Logarithm of the evidence against each claim."""
        found = {name: evidence.log for name, evidence in self.evidence.items()}
        if self._statistics:
            found["images"] = log_mean([evidence.log for evidence in self._changes.evidence[1:]])
        return found

    @property
    def log_evidence(self) -> float:
        """Logarithm of the mean of the evidence against all claims."""
        return log_mean(list(self.log_claims.values()))

    @property
    def state(self) -> State:
        """Whether the certificate holds."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        doubtful = self.log_evidence >= -math.log(self._level(self._params.in_doubt))
        return "in doubt" if doubtful else "holds"

    def to_dict(self) -> dict[str, Any]:
        """The state with its evidence, as JSON values."""
        claims = {name: self._told(evidence) for name, evidence in self.evidence.items()}
        if self._statistics:
            told = {name: self._told(evidence) for name, evidence in self.image_evidence.items()}
            strongest = max(told.values(), key=lambda one: float(one["log_evidence"]))
            claims["images"] = strongest | {"log_evidence": self.log_claims["images"], "statistics": told}
        return {
            "state": self.state,
            "parts": self.number,
            "withdrawn_at": self.withdrawn_at,
            "log_evidence": self.log_evidence,
            "needed": -math.log(self._level(self._params.withdrawn)),
            "claims": claims,
        }

    def _told(self, evidence: Evidence) -> dict[str, Any]:
        return {
            "observations": evidence.number,
            "log_evidence": evidence.log,
            "since": evidence.since,
            "since_key": evidence.since_key or None,
            "recent_change": evidence.log_restarted >= math.log(self._params.run_length),
        }

    def kept(self) -> dict[str, Any]:
        """All that was learnt but the values of the parts, as JSON values that are exact."""
        return {
            "format": FORMAT,
            "number": self.number,
            "withdrawn_at": self.withdrawn_at,
            "changes": self._changes.state(),
            "rejects": asdict(self._of_rejects),
            "reject_weights": None if self._rejects is None else self._rejects.state["weights"].tolist(),
            "audits": asdict(self._of_audits),
        }

    def resume(self, kept: Mapping[str, Any], values: np.ndarray) -> None:
        """Go on, to the last bit, where a watch that was made by the same arguments was.

        Args:
            kept: what its `kept` gave.
            values: (n, 1 + number of statistics), the score and the statistics of each part that it tested (`tests`);
                nan for a statistic that was not known.

        Raises:
            ValueError: another version of gonogo kept it in another form.
        """
        if kept.get("format") != FORMAT:
            raise ValueError(f"the watch was kept in the form {kept.get('format')}, this is {FORMAT}")
        self._changes.resume(kept["changes"], values)
        self.number, self.withdrawn_at = kept["number"], kept["withdrawn_at"]
        if self._rejects is not None:
            self._rejects.state["weights"][:] = kept["reject_weights"]
        self._of_rejects, self._of_audits = Evidence(**kept["rejects"]), Evidence(**kept["audits"])
