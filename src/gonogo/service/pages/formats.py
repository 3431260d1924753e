"""What inspections hold, as a person reads it: times, scores, p-values and certificates in words."""

import math
from datetime import datetime
from typing import Any

from gonogo.service.pages.texts import Texts


class Formats:
    """Formats in one language."""

    def __init__(self, texts: Texts) -> None:
        self._t = texts

    def moment(self, seconds: float) -> str:
        """Date and time, in the time zone of the service's machine."""
        return datetime.fromtimestamp(seconds).strftime(self._t("format.moment"))

    def time(self, seconds: float) -> str:
        """The time of day."""
        return datetime.fromtimestamp(seconds).strftime(self._t("format.time"))

    def iso(self, seconds: float) -> str:
        """Date, time and offset for programs."""
        return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")

    def kind(self, inspection: dict[str, Any]) -> str:
        """The verdict as it is shown: "pass", "reject", or "uncertain" where it could have been the other one."""
        return "uncertain" if inspection["uncertain"] else str(inspection["verdict"])

    def relative(self, inspection: dict[str, Any]) -> str:
        """The score in percent of the threshold; the score itself where the threshold is not above 0."""
        score, threshold = inspection["score"], inspection["threshold"]
        if threshold > 0:
            return self._t("score.relative", percent=self._t.percent(score / threshold, 0))
        return self._t.significant(score)

    def rarity(self, p_value: float, n_good_parts: int) -> str:
        """A p-value in words.

        Args:
            p_value: the probability that a good part scores at least so high.
            n_good_parts: that it was counted on; it is never below 1 / (n_good_parts + 1).
        """
        if p_value * (n_good_parts + 1) < 1.5:
            return self._t("p_value.all", n=n_good_parts)
        if p_value < 0.5:
            return self._t("p_value.rare", percent=self._t.percent(math.floor(1000 * (1 - p_value)) / 1000))
        return self._t("p_value.ordinary", percent=self._t.percent(math.floor(1000 * p_value) / 1000))

    def odds(self, log_evidence: float) -> str:
        """Evidence, whose natural logarithm this is, as a number; one beyond reading as a power of ten."""
        if abs(log_evidence) < math.log(1e5):
            return self._t.significant(math.exp(log_evidence), 3)
        return f"10^{self._t.number(log_evidence / math.log(10))}"

    def standing(self, certificate: dict[str, Any]) -> str:
        """Whether the certificate held when the verdict was given; empty where that was not watched."""
        state, since = certificate.get("state"), certificate.get("since")
        if state is None:
            return ""
        return self._t(f"standing.{state.replace(' ', '_')}", since="" if since is None else self.moment(since))

    def box_model(self, model: dict[str, Any]) -> str:
        """What found the boxes beside the gauge, and what is known of the good parts that get one."""
        rate = model["certificate"]["false_alarm_rate"]
        is_certified = model["certificate"]["certified"] and rate is not None
        return self._t(
            "case.box_model" if is_certified else "case.box_model_uncertified",
            category=model["category"],
            bundle=model["bundle"][:12],
            rate=self._t.percent(math.ceil(1e4 * rate - 1e-9) / 1e4, 2) if is_certified else "",
            confidence=self._t.percent(model["certificate"]["confidence"]),
        )

    def certificate(self, certificate: dict[str, Any]) -> str:
        """What is known about the false alarms at the threshold, as a sentence."""
        rate, method = certificate["false_alarm_rate"], certificate["method"]
        kind = ("certified" if certificate["certified"] else "not_certified") if method == "holdout" else method
        return self._t(
            f"certificate.{kind}",
            rate="" if rate is None else self._t.percent(math.ceil(1e4 * rate - 1e-9) / 1e4, 2),
            confidence=self._t.percent(certificate["confidence"]),
            n=certificate["n_good_parts"],
        )
