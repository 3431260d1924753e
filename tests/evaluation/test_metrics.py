"""Metrics against plain loops, and verdicts against scikit-learn, on raw and unbounded scores."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from gonogo.errors import ConfigError, ShapeError, UndefinedMetricError
from gonogo.evaluation.accuracy import resampling
from gonogo.evaluation.accuracy.metrics import (
    auroc,
    average_precision,
    binomial_interval,
    f1_oracle,
    false_alarm_rate_at,
    image_statistics,
    n_found,
    precision_recall_curve,
    random_metrics,
    roc_curve,
    verdict_metrics,
)
from gonogo.evaluation.accuracy.resampling import bootstrap_intervals, resampled_metrics


def drawn(kind: str, dtype: type, seed: int = 0, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """(scores, labels) of n images, a third of them anomalous and a little higher."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3 == 0)
    plain = rng.normal(size=n) + labels
    scores = {
        "random": plain,
        "tied": np.round(plain),
        "constant": np.full(n, 3.7),
        "huge": plain * 1e30,
        "at the ends of float32": np.clip(plain, -1, 1) * 3.4e38,
        "tiny": plain * 1e-30,
        "neighbouring floats": np.float64(25.0) + np.round(plain) * np.spacing(dtype(25.0)),
    }[kind]
    return scores.astype(dtype), labels


KINDS = ["random", "tied", "constant", "huge", "at the ends of float32", "tiny", "neighbouring floats"]
every_kind = pytest.mark.parametrize(
    ("scores", "labels"),
    [
        pytest.param(*drawn(kind, dtype), id=f"{kind}, {dtype.__name__}")
        for kind in KINDS
        for dtype in (np.float32, np.float64)
    ],
)


def counts_at(scores: np.ndarray, labels: np.ndarray, threshold: float) -> tuple[int, int]:
    """(true positives, false positives) counted one by one."""
    rejected = [(label, score) for label, score in zip(labels, scores, strict=True) if score >= threshold]
    return sum(1 for label, _ in rejected if label), sum(1 for label, _ in rejected if not label)


# Image scores


@every_kind
def test_auroc_is_the_share_of_pairs_in_the_right_order(scores, labels):
    pairs = list(product(scores[labels], scores[~labels]))
    wins = sum(1.0 if bad > good else 0.5 if bad == good else 0.0 for bad, good in pairs)
    with np.errstate(all="raise"):
        assert auroc(scores, labels) == pytest.approx(wins / len(pairs), abs=1e-12)


@every_kind
def test_average_precision_is_the_sum_over_each_distinct_threshold(scores, labels):
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        true, false = counts_at(scores, labels, threshold)
        total += true / (true + false) * (true / labels.sum() - recall_before)
        recall_before = true / labels.sum()
    with np.errstate(all="raise"):
        assert average_precision(scores, labels) == pytest.approx(total, abs=1e-12)


@every_kind
def test_each_point_of_both_curves_counts_scores_at_or_above_its_threshold(scores, labels):
    _, _, thresholds = precision_recall_curve(scores, labels)
    assert thresholds.tolist() == sorted(set(scores.tolist()), reverse=True)
    assert roc_curve(scores, labels)[2].tolist() == [math.inf, *thresholds]
    for fpr, tpr, threshold in zip(*roc_curve(scores, labels), strict=True):
        true, false = counts_at(scores, labels, threshold)
        assert (fpr, tpr) == (false / (~labels).sum(), true / labels.sum())
    for precision, recall, threshold in zip(*precision_recall_curve(scores, labels), strict=True):
        true, false = counts_at(scores, labels, threshold)
        assert (precision, recall) == (true / (true + false), true / labels.sum())


@every_kind
def test_f1_oracle_is_the_best_of_all_thresholds(scores, labels):
    best = max(sklearn_metrics.f1_score(labels, scores >= threshold) for threshold in set(scores.tolist()))
    assert f1_oracle(scores, labels) == pytest.approx(best, abs=1e-12)


INCREASING_MAPS = {
    "stretched and below zero": lambda x: 3e6 * x - 1e9,
    "cubed": lambda x: x**3,
    "exponential": np.exp,
    "squashed": lambda x: 1 / (1 + np.exp(-x)),
    "hyperbolic": lambda x: -1 / (x + 100),
}


@pytest.mark.parametrize("increasing", INCREASING_MAPS.values(), ids=INCREASING_MAPS.keys())
@pytest.mark.parametrize("metric", [auroc, average_precision, f1_oracle])
def test_a_rank_metric_is_unchanged_by_any_increasing_map_of_the_scores(metric, increasing):
    rng = np.random.default_rng(3)
    labels = rng.random(60) < 0.4
    scores = rng.integers(-15, 15, 60).astype(float) + 3 * labels  # ties stay ties under each map
    assert metric(increasing(scores), labels) == metric(scores, labels)


@pytest.mark.parametrize("metric", [auroc, average_precision, f1_oracle])
def test_a_rank_metric_does_not_depend_on_the_order_of_the_images(metric):
    scores, labels = drawn("tied", np.float64)
    order = np.random.default_rng(1).permutation(len(scores))
    assert metric(scores[order], labels[order]) == metric(scores, labels)


@pytest.mark.parametrize("metric", [auroc, average_precision, f1_oracle])
def test_a_rank_metric_is_the_same_of_images_that_all_stand_twice(metric):
    scores, labels = drawn("tied", np.float64)
    assert metric(np.tile(scores, 2), np.tile(labels, 2)) == pytest.approx(metric(scores, labels), abs=1e-12)


def test_reversed_scores_give_the_complement_of_auroc():
    scores, labels = drawn("tied", np.float64)
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels), abs=1e-12)
    assert auroc(labels.astype(float), labels) == 1.0
    assert auroc(-labels.astype(float), labels) == 0.0


# Verdicts


def test_verdict_metrics_equal_scikit_learns():
    scores, labels = drawn("random", np.float64)
    verdicts = verdict_metrics(scores, labels, 0.8)
    rejected = scores >= 0.8
    (passed_good, false_alarms), (misses, hits) = sklearn_metrics.confusion_matrix(labels, rejected)
    assert (verdicts.false_alarms, verdicts.misses) == (false_alarms, misses)
    assert (verdicts.n_good, verdicts.n_defective) == (passed_good + false_alarms, misses + hits)
    assert verdicts.false_alarm_rate == pytest.approx(false_alarms / (passed_good + false_alarms))
    assert verdicts.recall == pytest.approx(sklearn_metrics.recall_score(labels, rejected))
    assert verdicts.precision == pytest.approx(sklearn_metrics.precision_score(labels, rejected))
    assert verdicts.f1 == pytest.approx(sklearn_metrics.f1_score(labels, rejected))


def test_a_score_on_the_threshold_is_anomalous():
    verdicts = verdict_metrics(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0, 0, 1, 1]), 2.0)
    assert (verdicts.false_alarms, verdicts.misses) == (1, 0)


def test_a_float32_score_is_compared_with_the_threshold_itself_and_not_with_its_rounding():
    score = np.float32(25.0)
    threshold = 25.0 + float(np.spacing(score)) / 4  # rounds to the score
    verdicts = verdict_metrics(np.array([score, score]), np.array([0, 1]), threshold)
    assert (verdicts.false_alarms, verdicts.misses) == (0, 1)


def test_where_nothing_is_rejected_precision_and_f1_are_zero():
    verdicts = verdict_metrics(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1]), math.inf)
    assert (verdicts.precision, verdicts.f1, verdicts.recall, verdicts.false_alarm_rate) == (0.0, 0.0, 0.0, 0.0)
    assert verdicts.misses == 1


def test_f1_oracle_is_never_below_f1_at_a_threshold():
    scores, labels = drawn("tied", np.float64)
    at_each = [verdict_metrics(scores, labels, threshold).f1 for threshold in np.linspace(-4, 4, 33)]
    assert max(at_each) == pytest.approx(f1_oracle(scores, labels))


# Intervals


def plain_metrics(threshold: float):
    """The metrics that get an interval, as functions of the scores and labels of the images drawn."""
    found = image_statistics(threshold)
    return {name: metric for name, metric in found.items() if name not in ("precision", "f1_oracle")}


@pytest.mark.parametrize("kind", ["random", "tied", "constant"])
@pytest.mark.parametrize("n", [4, 60])
def test_a_metric_of_a_resample_equals_the_metric_of_the_images_drawn(kind, n):
    scores, labels = drawn(kind, np.float32, n=n)
    counts = np.random.default_rng(8).multinomial(n, np.full(n, 1 / n), size=40).astype(float)
    resampled = resampled_metrics(scores, labels, 0.8)
    assert resampled.keys() == plain_metrics(0.8).keys()
    n_undefined = 0
    for name, metric in plain_metrics(0.8).items():
        for value, times in zip(resampled[name](counts), counts.astype(int), strict=True):
            try:
                expected = metric(np.repeat(scores, times), np.repeat(labels, times))
            except UndefinedMetricError:
                expected, n_undefined = math.nan, n_undefined + 1
            assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert (n_undefined > 0) is (n == 4)


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("kind", ["random", "tied", "constant"])
def test_the_false_alarms_at_a_recall_are_the_fewest_of_all_thresholds_that_reach_it(kind, recall):
    scores, labels = drawn(kind, np.float64)
    reached = [
        float((scores[~labels] >= threshold).mean())
        for threshold in np.unique(scores)
        if (scores[labels] >= threshold).mean() >= recall
    ]
    assert false_alarm_rate_at(scores, labels, recall=recall) == min(reached)


def test_a_share_of_images_is_the_number_that_a_person_counts():
    assert [n_found(n, 0.95) for n in (20, 40, 60, 100, 140)] == [19, 38, 57, 95, 133]
    assert n_found(100, 0.99) == 99
    assert n_found(1, 0.9) == 1
    for recall in (0, 1.01, math.nan):
        with pytest.raises(ConfigError, match=r"recall: expected a share in \(0, 1\]"):
            n_found(10, recall)


@pytest.mark.parametrize(("n_good", "n_defective"), [(30, 12), (5, 40), (1, 1)])
def test_what_chance_gives_is_the_mean_of_many_random_scores(n_good, n_defective):
    rng, labels = np.random.default_rng(3), np.repeat([False, True], [n_good, n_defective])
    expected, statistics = random_metrics(n_good, n_defective), image_statistics(0)
    drawn_values = {name: [] for name in expected}
    for _ in range(800):
        scores = rng.random(len(labels))
        for name, values in drawn_values.items():
            values.append(statistics[name](scores, labels))
    for name, values in drawn_values.items():
        standard_error = np.std(values) / math.sqrt(len(values))
        assert expected[name] == pytest.approx(np.mean(values), abs=4 * standard_error)
    assert random_metrics(n_good, 0) == random_metrics(0, n_defective) == {}


def test_counts_of_other_images_are_refused():
    scores, labels = drawn("random", np.float64, n=9)
    for metric in resampled_metrics(scores, labels, 0.0).values():
        with pytest.raises(ShapeError, match=r"expected \(r, 9\), one per image, got \(2, 8\)"):
            metric(np.ones((2, 8)))


def recorder(statistic):
    """A statistic that keeps the counts and values of all resamples."""
    calls = []

    def recorded(counts):
        values = statistic(counts)
        calls.extend(zip(counts, values, strict=True))
        return values

    return recorded, calls


def image_auroc(scores, labels):
    return resampled_metrics(scores, labels, 0.0)["image_auroc"]


def mean_of(values):
    """The mean of one value per image over each resample."""
    return lambda counts: counts @ values / counts.sum(axis=1)


def intervals(statistic, groups, **changes):
    options = {"n_resamples": 200, "confidence": 0.9, "seed": 0} | changes
    return bootstrap_intervals({"it": statistic}, groups, **options)["it"]


def own_groups(scores):
    return [str(number) for number in range(len(scores))]


def test_an_interval_holds_the_middle_share_of_the_resampled_values():
    scores, labels = drawn("random", np.float64)
    recorded, calls = recorder(image_auroc(scores, labels))
    low, high = intervals(recorded, own_groups(scores), confidence=0.8)
    values = sorted(value for _, value in calls)
    assert len(values) == 200
    assert values[19] <= low <= values[20]
    assert values[179] <= high <= values[180]
    assert low < auroc(scores, labels) < high


def test_the_seed_decides_the_interval():
    scores, labels = drawn("random", np.float64)
    statistic = image_auroc(scores, labels)
    first, again, other = (intervals(statistic, own_groups(scores), seed=seed) for seed in (4, 4, 5))
    assert first == again != other


def test_one_resample_of_all_statistics_is_the_same():
    scores, labels = drawn("random", np.float64)
    metrics = resampled_metrics(scores, labels, 0.0)
    (one, calls_of_one), (other, calls_of_other) = recorder(metrics["image_auroc"]), recorder(metrics["image_ap"])
    bootstrap_intervals({"one": one, "other": other}, own_groups(scores), n_resamples=20, confidence=0.9, seed=1)
    pairs = list(zip(calls_of_one, calls_of_other, strict=True))
    assert len(pairs) == 20
    assert all(np.array_equal(a[0], b[0]) for a, b in pairs)


def test_resamples_in_several_blocks_are_those_of_one(monkeypatch):
    scores, labels = drawn("random", np.float64)
    at_once = intervals(image_auroc(scores, labels), own_groups(scores))
    monkeypatch.setattr(resampling, "BLOCK", 7 * len(scores))
    assert intervals(image_auroc(scores, labels), own_groups(scores)) == at_once


def test_groups_are_drawn_whole_as_many_as_there_are_and_with_replacement():
    groups = ["a", "b", "c", "a", "c", "c", "d", "e"]
    recorded, calls = recorder(mean_of(np.arange(8.0)))
    intervals(recorded, groups)
    repeated = 0
    for counts, _ in calls:
        per_group = {group: {counts[i] for i in range(8) if groups[i] == group} for group in set(groups)}
        assert all(len(times) == 1 for times in per_group.values())
        assert sum(times.pop() for times in per_group.values()) == 5
        repeated += max(counts) > 1
    assert repeated > 100


def test_a_second_shot_of_each_part_adds_no_confidence_and_counted_as_a_part_would():
    scores, labels = drawn("random", np.float64)
    parts = own_groups(scores)
    doubled = image_auroc(np.tile(scores, 2), np.tile(labels, 2))
    alone = intervals(image_auroc(scores, labels), parts)
    twice, as_parts = intervals(doubled, parts * 2), intervals(doubled, own_groups(parts * 2))
    assert twice == pytest.approx(alone, abs=1e-12)
    assert as_parts[1] - as_parts[0] < 0.85 * (alone[1] - alone[0])


def test_a_resample_on_which_a_statistic_is_undefined_is_left_out_of_that_statistic_alone():
    scores, labels = np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1], dtype=bool)
    ranked, calls = recorder(image_auroc(scores, labels))
    both = bootstrap_intervals(
        {"auroc": ranked, "mean": mean_of(scores)}, ["a", "b", "c"], n_resamples=90, confidence=0.9, seed=2
    )
    assert 0 < sum(not math.isnan(value) for _, value in calls) < len(calls) == 90
    assert both["auroc"] == (1.0, 1.0)
    assert both["mean"][0] < 2 < both["mean"][1]


def test_a_statistic_without_any_resample_is_an_error_that_names_it():
    with pytest.raises(UndefinedMetricError, match="it is undefined on all 200 resamples"):
        intervals(image_auroc(np.arange(4.0), np.zeros(4, dtype=bool)), ["a", "b", "c", "d"])


def test_intervals_cover_the_true_rate_about_as_often_as_they_promise():
    rng = np.random.default_rng(6)
    n_draws, covered = 150, 0
    for seed in range(n_draws):
        rejected = (rng.random(60) < 0.3).astype(float)
        low, high = intervals(mean_of(rejected), own_groups(rejected), seed=seed, n_resamples=150)
        covered += low <= 0.3 <= high
    spread = math.sqrt(n_draws * 0.9 * 0.1)
    assert 0.9 * n_draws - 4 * spread < covered < 0.9 * n_draws + 3 * spread


@pytest.mark.parametrize(("k", "n"), [(0, 26), (1, 26), (13, 26), (25, 26), (26, 26), (0, 1), (3, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_binomial_limits_are_the_quantiles_of_clopper_and_pearson(k, n, confidence):
    tail = (1 - confidence) / 2
    low = stats.beta.ppf(tail, k, n - k + 1) if k else 0.0
    high = stats.beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0
    assert binomial_interval(k, n, confidence=confidence) == pytest.approx((low, high), abs=1e-10)


@pytest.mark.parametrize(("k", "n"), [(1, 26), (13, 26), (25, 26)])
def test_at_each_binomial_limit_what_was_seen_is_just_as_unlikely_as_agreed(k, n):
    def chance(counts: range, rate: float) -> float:
        return sum(math.comb(n, count) * rate**count * (1 - rate) ** (n - count) for count in counts)

    low, high = binomial_interval(k, n, confidence=0.9)
    assert chance(range(k, n + 1), low) == pytest.approx(0.05, abs=1e-9)
    assert chance(range(k + 1), high) == pytest.approx(0.05, abs=1e-9)


def test_binomial_limits_of_none_and_of_all_are_one_sided():
    assert binomial_interval(0, 26, confidence=0.95) == pytest.approx((0.0, 1 - 0.025 ** (1 / 26)))
    assert binomial_interval(26, 26, confidence=0.95) == pytest.approx((0.025 ** (1 / 26), 1.0))


# Mistakes

SCORE_METRICS = [
    auroc,
    average_precision,
    roc_curve,
    precision_recall_curve,
    f1_oracle,
    lambda scores, labels: false_alarm_rate_at(scores, labels, recall=0.9),
    lambda scores, labels: verdict_metrics(scores, labels, 1.0),
]


@pytest.mark.parametrize("metric", SCORE_METRICS)
@pytest.mark.parametrize(
    ("scores", "labels", "error", "message"),
    [
        ([1.0, 2.0], [0, 0], UndefinedMetricError, "both classes are needed, got 0 anomalous of 2"),
        ([1.0, 2.0], [1, 1], UndefinedMetricError, "got 2 anomalous of 2"),
        ([], [], UndefinedMetricError, "got 0 anomalous of 0"),
        ([1.0, np.nan, np.inf], [0, 1, 1], ShapeError, "expected finite values, got 2 that are not"),
        ([1.0, 2.0, 3.0], [0, 1], ShapeError, r"got \(3,\) and \(2,\)"),
        ([[1.0, 2.0]], [[0, 1]], ShapeError, r"got \(1, 2\) and \(1, 2\)"),
        ([1.0, 2.0], [-1, 1], ShapeError, "0 or False for good"),
        ([1.0, 2.0], [0, 0.9], ShapeError, "1 or True for anomalous"),
    ],
)
def test_scores_and_labels_that_have_no_metric_say_why(metric, scores, labels, error, message):
    with pytest.raises(error, match=message):
        metric(np.array(scores), np.array(labels))


def test_a_threshold_that_is_not_a_number_is_refused_rather_than_passing_every_part():
    with pytest.raises(ShapeError, match="threshold: expected a number, got nan"):
        verdict_metrics(np.array([1.0, 2.0]), np.array([0, 1]), math.nan)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_a_rate_of_nothing_or_of_more_than_all_is_refused(k, n):
    with pytest.raises(UndefinedMetricError, match=f"got k = {k}, n = {n}"):
        binomial_interval(k, n, confidence=0.95)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_a_confidence_outside_its_range_is_refused(confidence):
    with pytest.raises(ConfigError, match=r"confidence: expected .* in \(0, 1\)"):
        intervals(mean_of(np.arange(2.0)), ["a", "b"], confidence=confidence)
    with pytest.raises(ConfigError, match=r"confidence: expected .* in \(0, 1\)"):
        binomial_interval(1, 5, confidence=confidence)


def test_a_resampling_of_nothing_is_refused():
    with pytest.raises(UndefinedMetricError, match="needs at least one image"):
        intervals(mean_of(np.array([])), [])
    with pytest.raises(ShapeError, match="one per image"):
        intervals(image_auroc(np.arange(2.0), np.array([0, 1])), ["a"])
