"""Thresholds by other methods than the exact one, the p-value and the flag of a verdict, and the calibration page."""

import dataclasses
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import stats

import gonogo.calibration.tail
from conftest import CALIBRATE, REGIONS, fitted, manifest_of
from gonogo.calibration.certificate import ThresholdRecord
from gonogo.calibration.highest_parts import highest_parts
from gonogo.calibration.tail import fit_tail
from gonogo.calibration.threshold import certified_rate, lowest_rank, threshold_of
from gonogo.data.sample import Sample
from gonogo.errors import ConfigError, DataError
from gonogo.model.cross_fit import cross_inspect, folds_of
from gonogo.reports.pages import write_calibration_page

PARTS = [str(number) for number in range(1000)]


def calibrated(scores, method="holdout", **changes):
    params = dataclasses.replace(CALIBRATE, method=method, **changes)
    return threshold_of(np.asarray(scores, dtype=float), PARTS[: len(scores)], params, seed=17)


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """Enough for these tests, which fit many tails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gonogo.calibration.tail, "N_DRAWS", 49)
        yield


@pytest.fixture(scope="module")
def exponential():
    return np.random.default_rng(3).exponential(size=400)


@pytest.fixture(scope="module")
def of_tail(exponential):
    return calibrated(exponential, "tail", false_alarm_rate=0.02)


# The p-value and the flag


def test_the_p_value_counts_the_good_scores_that_are_as_high_and_the_part_itself():
    record = calibrated(np.arange(9.0))
    assert [record.p_value(score) for score in (-1.0, 0.0, 0.5, 8.0, 8.1)] == [1.0, 1.0, 0.9, 0.2, 0.1]


def test_p_values_of_good_parts_are_uniform_or_larger():
    rng = np.random.default_rng(0)
    p_values = np.array([calibrated(rng.normal(size=24)).p_value(rng.normal()) for _ in range(1500)])
    for level in (0.04, 0.2, 0.6):
        assert abs((p_values <= level).mean() - level) < 3 * np.sqrt(level / 1500)


def test_the_p_value_of_a_rejected_part_is_at_most_the_rank_of_the_threshold():
    record = calibrated(np.random.default_rng(1).normal(size=100))
    assert record.p_value(record.threshold) <= record.rank / 101


@pytest.mark.parametrize(("n", "rate"), [(29, 0.1), (100, 0.1), (300, 0.02)])
def test_the_lower_limit_of_the_band_is_rarely_above_the_score_that_the_target_exceeds(n, rate):
    rank = lowest_rank(n, rate, 0.95)
    assert stats.binom.sf(rank - 1, n, rate) <= 0.05 < stats.binom.sf(rank - 2, n, rate)
    rng = np.random.default_rng(0)
    lows = np.array([np.sort(rng.uniform(size=n))[-rank] for _ in range(4000)])
    assert (lows > 1 - rate).mean() < 0.05 + 3 * np.sqrt(0.05 / 4000)


def test_the_lower_limit_of_so_few_scores_that_none_is_low_enough_is_the_lowest():
    assert lowest_rank(1, 0.1, 0.95) == 1
    assert calibrated([3.0]).band_low == 3.0


def test_scores_around_the_threshold_are_uncertain_and_those_beyond_the_band_are_not():
    record = calibrated(np.arange(100.0))
    assert record.band_low < record.gap_low < record.threshold < record.band_high == record.gap_high
    assert record.uncertain(record.threshold)
    assert record.uncertain(record.band_low)
    assert record.uncertain(record.band_high)
    assert not record.uncertain(np.nextafter(record.band_low, -np.inf))
    assert not record.uncertain(np.nextafter(record.band_high, np.inf))


def test_above_the_largest_good_score_the_band_ends_as_far_above_the_threshold_as_that_score_is_below():
    record = calibrated(np.arange(29.0))
    assert record.gap_high is None
    assert record.band_high - record.threshold == pytest.approx(record.threshold - 28.0)


def test_the_record_comes_back_from_its_json_values_as_it_was(of_tail):
    left_out = calibrated(np.arange(40.0), "leave_one_out")
    for record in (calibrated(np.arange(40.0)), calibrated(np.arange(40.0), "cross"), left_out, of_tail):
        assert ThresholdRecord.from_dict(record.to_dict()) == record


@pytest.mark.parametrize(
    ("change", "error"),
    [({"threshold": float("nan")}, ValueError), ({"good_scores": []}, ValueError), ({"rank_": 3}, TypeError)],
)
def test_a_record_that_makes_no_sense_is_refused(change, error):
    with pytest.raises(error):
        ThresholdRecord.from_dict({**calibrated(np.arange(40.0)).to_dict(), **change})


# Crosswise


def sample(number, part, role="fit"):
    pixels = np.full((8, 8, 3), 20 + number, dtype=np.uint8)
    return Sample(name=f"{number:03d}", image=pixels, label=0, defect_type="good", roles=(role,), group_id=part)


@pytest.fixture(scope="module")
def crosswise(digits):
    """(the folds, the parts that each gauge was fitted on, what was inspected, the rule)."""
    folds, fitted_on = folds_of(digits.with_role("fit")[:12], 3, seed=17), []

    def fit(records, number):
        assert number == len(fitted_on) + 1
        fitted_on.append({record.path for record in records})
        return fitted("mean_image", dataclasses.replace(digits, records=tuple(records)))

    return folds, fitted_on, *cross_inspect(fit, digits, folds, REGIONS, localises=True)


def test_no_gauge_saw_a_part_that_it_scores_and_every_part_is_scored_once(crosswise, digits):
    folds, fitted_on, inspection, rule = crosswise
    paths = {record.path for record in digits.with_role("fit")[:12]}
    assert Counter(record.path for record in inspection.records) == Counter(paths)
    for fold, seen in zip(folds, fitted_on, strict=True):
        assert seen == paths - {record.path for record in fold}
    assert rule.threshold.n_images == 12


def test_scores_are_those_of_the_gauge_that_did_not_see_the_part(crosswise, digits):
    folds, _, inspection, _ = crosswise
    others = [record for fold in folds[1:] for record in fold]
    gauge = fitted("mean_image", dataclasses.replace(digits, records=tuple(others)))
    expected = [float(gauge.inspect(digits.pixels_of(record)[None])[0][0]) for record in folds[0]]
    np.testing.assert_allclose(inspection.scores[: len(folds[0])], expected, rtol=1e-6)


def test_the_images_of_a_part_are_in_one_fold_and_folds_are_as_even_as_parts_allow(tmp_path):
    samples = [sample(number, f"part {number // 2}") for number in range(14)]
    manifest = manifest_of([*samples, sample(50, "c", "calibrate"), sample(51, "t", "test")], tmp_path)
    folds = folds_of(manifest.with_role("fit"), 3, seed=5)
    assert sorted(len(fold) for fold in folds) == [4, 4, 6]
    parts = [{record.group_id for record in fold} for fold in folds]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 7
    with pytest.raises(DataError, match="folds is 8, but there are 7 good parts"):
        folds_of(manifest.with_role("fit"), 8, seed=5)


def test_a_threshold_from_crosswise_scores_is_never_called_certified():
    record, exact = calibrated(np.arange(100.0), "cross"), calibrated(np.arange(100.0))
    assert (record.threshold, record.certified_false_alarm_rate) == (exact.threshold, exact.certified_false_alarm_rate)
    assert (exact.certified, record.certified) == (True, False)
    assert record.sentence.startswith("an estimate, not a guarantee: at most")
    assert "one of 5 gauges that did not see it" in record.sentence
    assert calibrated(np.arange(20.0), "cross").sentence.endswith("9 more are needed for the target")


# Leave-one-part-out


@pytest.mark.parametrize(
    ("n", "rate", "rank", "bound", "more"),
    [
        (9, 0.1, 1, 0.1, 0),
        (8, 0.1, 1, 1 / 9, 1),
        (23, 0.1, 1, 1 / 24, 0),
        (39, 0.1, 2, 3 / 40, 0),
        (240, 0.1, 12, 23 / 241, 0),
    ],
)
def test_the_mean_bound_of_leave_one_out_scores_is_within_the_target_where_the_parts_allow(n, rate, rank, bound, more):
    record = calibrated(np.arange(float(n)), "leave_one_out", false_alarm_rate=rate)
    assert (record.rank, record.more_groups_needed) == (rank, more)
    assert record.on_average.false_alarm_rate == pytest.approx(bound)
    assert record.gap_low < record.threshold
    assert sum(score >= record.threshold for score in record.good_scores) == rank - 1
    assert not record.certified


def test_the_mean_rate_of_a_nearest_neighbour_gauge_is_within_its_leave_one_out_bound():
    """Parts on a line, in clusters: as adverse as it is simple, since each one's nearest neighbour decides."""
    rng = np.random.default_rng(5)
    for n in (9, 19):
        rejected = []
        for _ in range(1500):
            parts = np.sort(rng.standard_t(2, size=n))
            gaps = np.diff(parts)
            scores = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))
            record = calibrated(scores, "leave_one_out", false_alarm_rate=0.2)
            rejected.append(np.abs(parts - rng.standard_t(2)).min() >= record.threshold)
        bound = record.on_average.false_alarm_rate
        assert np.mean(rejected) < bound + 3 * np.sqrt(bound / 1500)


# The tail


def test_the_tail_finds_the_score_that_the_target_exceeds_of_known_distributions():
    rng = np.random.default_rng(11)
    for shape in (-0.3, 0.0, 0.3):
        scores = stats.genpareto.rvs(shape, size=4000, random_state=rng)
        record = threshold_of(
            scores,
            [str(number) for number in range(4000)],
            dataclasses.replace(CALIBRATE, method="tail", false_alarm_rate=0.005),
            seed=17,
        )
        true = stats.genpareto.isf(0.005, shape)
        assert 0.97 * record.tail.threshold_low < true < 1.03 * record.tail.threshold_high
        assert record.tail.shape == pytest.approx(shape, abs=0.12)
        assert 0.002 < stats.genpareto.sf(record.threshold, shape) < 0.01


def test_the_tail_reaches_rates_that_so_few_parts_cannot_certify(exponential):
    record = calibrated(exponential, "tail", false_alarm_rate=0.001)
    assert not calibrated(exponential, false_alarm_rate=0.001).certified
    assert record.threshold > exponential.max() * 0.9
    assert record.certified_false_alarm_rate is None
    assert not record.certified
    assert record.more_groups_needed == 0


def test_the_tails_threshold_keeps_the_margin_from_every_good_score(exponential, of_tail):
    distances = np.abs(exponential - of_tail.threshold)
    assert distances.min() >= 0.999 * CALIBRATE.margin * np.median(exponential)
    assert of_tail.rank == (exponential > of_tail.threshold).sum() + 1
    assert of_tail.gap_low == exponential[exponential < of_tail.threshold].max()
    assert of_tail.gap_high == exponential[exponential > of_tail.threshold].min()


def test_the_sentence_of_a_tail_says_that_it_is_a_model_with_its_fit_and_interval(of_tail):
    low, high = of_tail.tail.threshold_low, of_tail.tail.threshold_high
    assert of_tail.sentence == (
        "a model, not a guarantee: 2.00% of good parts are rejected if the tail of their scores is generalised Pareto "
        f"(fits with p = {of_tail.tail.goodness_p_value:.2f}); the threshold's 95% interval is {low:.4g} to "
        f"{high:.4g}, from 80 of 400 good parts (one image of each)"
    )
    assert low <= of_tail.threshold <= high


def test_a_tail_of_another_kind_fits_badly_and_one_of_its_kind_does_not(of_tail):
    two_kinds = np.concatenate([np.linspace(0, 1, 320), np.linspace(1.0, 1.2, 40), np.linspace(9.0, 9.2, 40)])
    assert calibrated(two_kinds, "tail", false_alarm_rate=0.02).tail.goodness_p_value < 0.05
    assert of_tail.tail.goodness_p_value > 0.05


def test_the_same_seed_gives_the_same_record(exponential, of_tail):
    assert calibrated(exponential, "tail", false_alarm_rate=0.02) == of_tail


@pytest.mark.parametrize(
    ("n", "share", "rate", "error", "message"),
    [
        (199, 0.2, 0.02, DataError, "needs 200 good parts and 20 of them in its tail, got 199 and 39"),
        (399, 0.05, 0.02, DataError, "got 399 and 19"),
        (400, 0.1, 0.1, ConfigError, r"must be below calibrate.tail_share, 0\.1"),
    ],
)
def test_a_tail_that_says_nothing_is_refused(n, share, rate, error, message):
    ordered = np.sort(np.random.default_rng(0).exponential(size=n))[::-1]
    with pytest.raises(error, match=message):
        fit_tail(ordered, share=share, false_alarm_rate=rate, confidence=0.95, seed=17)


def test_a_tail_of_equal_scores_is_refused():
    with pytest.raises(DataError, match="80 largest good scores are equal"):
        fit_tail(np.ones(400), share=0.2, false_alarm_rate=0.02, confidence=0.95, seed=17)


# The page


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.words, self.tags = [], Counter()
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        assert not any(name in ("src", "srcset") for name, _ in attributes)

    def handle_data(self, data):
        self.words.append(data)


def page_of(record, folder, category="brick"):
    names = [str(number) for number in range(len(record.good_scores))]
    highest = highest_parts(names, names, np.array(record.good_scores), record)
    write_calibration_page(folder / "page.html", record, category=category, highest=highest)
    return Page((folder / "page.html").read_text(encoding="utf-8"))


def test_the_page_says_what_is_certified_and_from_what(tmp_path):
    record = dataclasses.replace(calibrated(np.arange(46.0)), calibrate_fingerprint="ab" * 32, date="2026-11-21")
    page = page_of(record, tmp_path)
    rate = 100 * certified_rate(46, 2, 0.95)
    assert f"Of good parts like the 46 that calibrated it, this gauge rejects at most {rate:.4g} %" in page.text
    for said in ("Calibration of 2026-11-21", "ab" * 32, "46 images of 46 parts; 1 at or above", "44 to 45", "95 %"):
        assert said in page.text
    assert page.tags["svg"] == 1
    assert page.tags["rect"] > 20


def test_the_page_of_too_few_parts_says_how_many_more_are_needed(tmp_path):
    text = page_of(calibrated(np.arange(20.0)), tmp_path).text
    assert "This is not the wanted 10 %: that takes 9 more good parts." in text
    assert "infinity: no good part scored higher" in text


def test_the_page_of_an_estimate_or_a_model_says_that_it_is_no_guarantee(of_tail, tmp_path):
    assert "This is an estimate, not a guarantee" in page_of(calibrated(np.arange(40.0), "cross"), tmp_path).text
    text = page_of(calibrated(np.arange(39.0), "leave_one_out"), tmp_path).text
    assert "rejects at most 7.5 % on average , by an estimate. It is not certified ." in text
    assert "at most 7.5 %, on average" in text
    text = page_of(of_tail, tmp_path).text
    assert "By a model , this gauge rejects 2 % of good parts. It is not a guarantee ." in text
    assert "nothing: a model" in text
    assert "it fits badly" not in text


def test_a_category_with_a_name_like_html_is_shown_as_it_is(tmp_path):
    assert page_of(calibrated(np.arange(40.0)), tmp_path, category="<b>&").text.startswith("<b>&")
