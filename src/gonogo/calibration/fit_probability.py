"""Fit the curve from score to probability of a defect to labelled images, none of which is a test image."""

import numpy as np

from gonogo.calibration.probability import ProbabilityMethod, ProbabilityRecord
from gonogo.errors import DataError

FEWEST = 5  # labelled images of either kind


def fit_probability(
    good: np.ndarray, defective: np.ndarray, *, method: ProbabilityMethod, defect_rate: float | None
) -> ProbabilityRecord:
    """The curve fitted to labelled scores, for the given share of defective parts on the line.

    Labelled images are seldom collected in the proportion in which parts are produced. The odds are therefore
    multiplied by the ratio of the odds on the line to those among these images. The targets of the fit are
    (n + 1) / (n + 2) for defective and 1 / (n + 2) for good images in place of 1 and 0, where n is the number of images
    of that kind, since no finite number of images proves a probability of 0 or 1.

    Args:
        good, defective: scores (n,), (m,) that the fit did not see.
        method: platt, steady with few images; isotonic, of any growing shape, for some hundred.
        defect_rate: the share of defective parts on the line; None: that among these images.

    Raises:
        DataError: fewer than five of either kind, or defects do not score above good parts on the whole.

    Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines", with its targets; Zadrozny and Elkan 2002,
    "Transforming Classifier Scores into Accurate Multiclass Probability Estimates"; Saerens, Latinne and Decaestecker
    2002 for the odds.
    """
    n_good, n_defective = len(good), len(defective)
    if min(n_good, n_defective) < FEWEST:
        raise DataError(
            f"calibrate.probability: {n_good} good and {n_defective} defective labelled scores, expected at least "
            f"{FEWEST} of each; prepare.validate_share sets defective images aside"
        )
    rate = n_defective / (n_good + n_defective) if defect_rate is None else defect_rate
    scores = np.concatenate([good, defective]).astype(np.float64)
    targets = np.repeat([1 / (n_good + 2), (n_defective + 1) / (n_defective + 2)], [n_good, n_defective])
    xs, fitted = (_platt if method == "platt" else _isotonic)(scores, targets)
    odds = fitted / (1 - fitted) * (rate / (1 - rate)) * (n_good / n_defective)
    probabilities = odds / (1 + odds)
    return ProbabilityRecord(method, rate, tuple(xs.tolist()), tuple(probabilities.tolist()), n_good, n_defective)


def _platt(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two points of the logistic curve: a standard deviation below and above the mean score."""
    from sklearn.linear_model import LogisticRegression  # here: most fits ask for no probability

    centre, scale = float(scores.mean()), max(float(scores.std()), 1e-12)
    # A target of 0.9 is nine tenths of an image that is defective and one tenth of one that is not.
    rows = np.tile((scores - centre) / scale, 2)[:, None]
    labels = np.repeat([1, 0], len(scores))
    shares = np.concatenate([targets, 1 - targets])
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(rows, labels, sample_weight=shares)
    _require_growth(fitted.coef_[0, 0] > 0)
    points = np.array([[-1.0], [1.0]])
    return centre + scale * points[:, 0], fitted.predict_proba(points)[:, 1]


def _isotonic(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the growing curve that is nearest to the targets."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, targets)
    _require_growth(fitted.y_thresholds_[0] < fitted.y_thresholds_[-1])
    return fitted.X_thresholds_, fitted.y_thresholds_


def _require_growth(grows: bool) -> None:
    if not grows:
        raise DataError(
            "calibrate.probability: among the labelled images defects do not score above good parts; no probability "
            "can grow with the score"
        )
