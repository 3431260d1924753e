"""The search: what it tries and chooses, for made-up measurements and a clock that stands still between them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gonogo.detectors.options import PatchCoreOptions
from gonogo.errors import ConfigError, DataError
from gonogo.images.size import ImageSize
from gonogo.params import build
from gonogo.tuning.criterion import FoldScores
from gonogo.tuning.good_parts import FOLDS
from gonogo.tuning.journal import Journal
from gonogo.tuning.measurements import Measurements
from gonogo.tuning.search import FURTHER_MS, OVER, UNREACHED, Budget, Search
from gonogo.tuning.space import Shape, key_of, smoothed

BASE = PatchCoreOptions(coreset_ratio=0.01, layers=[2, 3])
ENOUGH = 1e9


class Killed(Exception):
    """In place of `kill -9`."""


class World:
    """Made-up parts: a gauge's strength is a function of its options, and each measurement takes a second."""

    def __init__(self, strength, *, ms=lambda options: options.image_size / 16, killed_at=None, sharpest=3):
        self.sharpest = sharpest
        self.strength, self.ms, self.killed_at = strength, ms, killed_at
        self.now, self.asked = 0.0, []

    def _tick(self, what):
        self.asked.append(what)
        if len(self.asked) == self.killed_at:
            raise Killed
        self.now += 1

    def clock(self):
        return self.now

    def latency(self, options):
        self._tick(("latency", key_of(options)))
        return self.ms(options)

    def scores(self, fold, candidates):
        self._tick(("fold", fold, tuple(map(key_of, candidates))))
        return [self._of(fold, one) for one in candidates]

    def _of(self, fold, options):
        noise = np.random.default_rng(fold)
        good = noise.normal(0, 1, 12)
        return FoldScores([str(n) for n in range(12)], good, noise.normal(self.strength(options), 1, (12, 4)))

    def localisation(self, fold, candidates):
        self._tick(("maps", fold, tuple(map(key_of, candidates))))
        noise = np.random.default_rng(fold).normal(0, 0.3, 9)
        return [(noise + 1 / (1 + abs(one.smoothing - self.sharpest))).tolist() for one in candidates]


def searched(world, path, *, verdict_ms=20.0, seconds=ENOUGH, base=BASE, shape=Shape(), brief=False):  # noqa: B008
    journal = Journal(path / "a.jsonl", {})
    try:
        measured = Measurements(journal, world, world.latency, world.clock)
        return Search(base, Budget(verdict_ms, seconds), measured, seed=1, shape=shape, brief=brief).run()
    finally:
        journal.close()


def best_is_whitened(options):
    """Whitening helps most at 0.75, a larger image a little, more neighbours not at all."""
    return 1 - abs(options.whitening - 0.75) + options.image_size / 1000 - options.n_neighbors / 10


@pytest.fixture(autouse=True, scope="module")
def quick_disk():
    """That rows reach the disk is for the journal's own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gonogo.tuning.journal.os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nothing stopped, and the world that it asked."""
    world = World(best_is_whitened)
    return world, searched(world, tmp_path_factory.mktemp("whole"))


def test_it_finds_the_best_options_within_the_budget(whole):
    found = whole[1]
    assert (found.chosen.whitening, found.chosen.image_size, found.chosen.n_neighbors) == (0.75, 320, 1)
    assert found.chosen.smoothing == pytest.approx(2.5)  # 3 pixels is nearest to 2 or 4 of 256, at 320
    assert found.complete
    assert found.best.folds == FOLDS
    assert found.best.gain.value > found.best.gain.error > 0


def test_no_gauge_over_the_budget_is_chosen_and_each_is_listed(tmp_path):
    found = searched(World(lambda options: options.image_size / 100), tmp_path, verdict_ms=17.0)
    assert found.chosen.image_size == 256
    over = [one for one in found.tried if one.ms > 17]
    assert over
    assert {one.fate for one in over} == {OVER}
    judged = [one for one in over if one.folds]
    assert judged
    assert all(one.ms <= 17 + FURTHER_MS for one in judged)
    assert found.further().options.image_size == 384
    assert found.further().gain.value > found.best.gain.value
    assert found.front()[-1] is found.further()
    times = [one.ms for one in found.front()]
    assert times == sorted(times)


def test_options_in_force_that_are_too_slow_are_left_for_the_best_that_is_not(tmp_path):
    found = searched(World(lambda options: options.image_size / 100), tmp_path, verdict_ms=13.0)
    assert found.chosen.image_size == 192
    assert found.best.gain.value < 0
    assert found.base.fate == OVER
    assert found.further().options.image_size == 320


def test_where_the_options_in_force_are_too_slow_a_gauge_that_is_not_is_found_whatever_time_is_left(tmp_path):
    found = searched(World(lambda options: options.image_size / 100), tmp_path, verdict_ms=13.0, seconds=1)
    assert found.best.ms <= 13
    assert found.best.folds == 1
    assert not found.complete


@pytest.mark.parametrize(
    ("ms", "more", "allowed", "size"), [(2.0, 8, 20.0, 320), (30.0, 8, 40.0, 320), (41.26, 12, 51.3, 256)]
)
def test_a_budget_that_nobody_stated_lets_the_options_in_force_be_chosen(ms, more, allowed, size, tmp_path):
    world = World(best_is_whitened, ms=lambda options: ms + more * (options.image_size > 256))
    found = searched(world, tmp_path, verdict_ms=None, brief=True)
    assert found.allowed_ms == allowed
    assert (found.chosen.image_size, found.chosen.whitening) == (size, 0.75)


def test_options_in_force_that_are_far_too_slow_are_not_what_a_little_more_time_buys(tmp_path):
    far = replace(BASE, image_size=448)
    found = searched(World(lambda options: options.image_size / 100), tmp_path, verdict_ms=13.0, base=far)
    assert found.base.ms > 13 + FURTHER_MS
    assert found.further().options.image_size == 320


def test_where_no_gauge_is_quick_enough_the_quickest_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no gauge gives a verdict in 2 ms.*takes 8\.0 ms"):
        searched(World(lambda _: 1.0), tmp_path, verdict_ms=2.0)


def test_of_gauges_that_are_as_good_the_one_with_the_fewest_changes_is_chosen(tmp_path):
    """More neighbours change nothing, and neither do more pixels."""
    found = searched(World(lambda options: 1 + (options.whitening >= 0.5)), tmp_path)
    assert found.chosen.whitening >= 0.5
    others = replace(found.chosen, whitening=BASE.whitening, smoothing=BASE.smoothing)
    assert replace(others, layers=list(others.layers)) == BASE


@pytest.mark.parametrize(("sharpest", "chosen"), [(4.1, 4.0), (8, 8.0), (0.1, 0.0)])
def test_the_smoothing_is_that_of_the_best_maps(tmp_path, sharpest, chosen):
    found = searched(World(lambda _: 1.0, sharpest=sharpest), tmp_path, brief=True)
    assert found.chosen.smoothing == chosen
    assert dict(found.smoothing)[chosen] == max(precision for _, precision in found.smoothing)


def test_parts_that_take_no_defect_are_refused(tmp_path):
    with pytest.raises(DataError, match="no defect that the gauge would look at can be planted"):
        searched(World(lambda _: np.nan), tmp_path)


def test_without_a_gain_beyond_its_error_the_options_stay_as_they_are(tmp_path):
    found = searched(World(lambda _: 1.0), tmp_path)
    assert replace(found.chosen, smoothing=BASE.smoothing) == BASE


def test_all_that_it_tries_are_valid_options(whole):
    found = whole[1]
    for one in [*found.tried, *[type(found.best)(options, 1.0) for options in smoothed(BASE)]]:
        build(PatchCoreOptions, json.loads(key_of(one.options)), where="tried")
    assert len({key_of(one.options) for one in found.tried}) == len(found.tried) > 20


@pytest.mark.parametrize("killed_at", [1, 9, 23, 31])
def test_a_search_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(whole, tmp_path, killed_at):
    world, expected = whole
    first = World(best_is_whitened, killed_at=killed_at)
    with pytest.raises(Killed):
        searched(first, tmp_path)
    second = World(best_is_whitened)
    found = searched(second, tmp_path)
    assert first.asked[:-1] + second.asked == world.asked
    assert found.chosen == expected.chosen
    assert found.tried == expected.tried
    assert found.seconds == expected.seconds


@pytest.mark.parametrize("killed_at", [8, 20])
def test_what_was_measured_before_a_kill_counts_when_it_is_used_and_no_earlier(tmp_path, killed_at):
    whole = World(best_is_whitened)
    expected = searched(whole, tmp_path / "whole", seconds=25)
    assert len(whole.asked) > killed_at
    with pytest.raises(Killed):
        searched(World(best_is_whitened, killed_at=killed_at), tmp_path / "killed", seconds=25)
    found = searched(World(best_is_whitened), tmp_path / "killed", seconds=25)
    assert (found.tried, found.chosen, found.seconds) == (expected.tried, expected.chosen, expected.seconds)


def test_a_search_that_is_done_measures_nothing_again(tmp_path):
    expected = searched(World(best_is_whitened), tmp_path)
    world = World(best_is_whitened)
    assert searched(world, tmp_path).tried == expected.tried
    assert world.asked == []


@pytest.mark.parametrize("seconds", [1, 12, 40])
def test_it_ends_when_the_time_is_spent_and_goes_on_with_more_of_it(whole, tmp_path, seconds):
    world = World(best_is_whitened)
    found = searched(world, tmp_path, seconds=seconds)
    assert found.seconds <= seconds + 2  # the options in force are always timed and judged
    assert not found.complete
    assert {one.fate for one in found.tried if not one.folds and one.fate != OVER} <= {UNREACHED}
    more = searched(World(best_is_whitened), tmp_path)
    assert more.chosen == whole[1].chosen


def test_a_gauge_that_cannot_be_is_listed_with_the_reason(tmp_path):
    def latency(options):
        if options.image_size == 192:
            raise ConfigError("192 does not fit")
        return options.image_size / 16

    found = searched(World(best_is_whitened, ms=latency), tmp_path)
    refused = [one for one in found.tried if one.ms is None]
    assert {one.options.image_size for one in refused} == {192}
    assert {one.fate for one in refused} == {"refused: 192 does not fit"}
    assert found.chosen.image_size == 320


def test_the_short_form_keeps_layers_bank_and_aggregation(tmp_path):
    found = searched(World(best_is_whitened), tmp_path, brief=True)
    kept = {(tuple(one.options.layers), one.options.coreset_ratio, one.options.n_neighbors) for one in found.tried}
    assert kept == {((2, 3), 0.01, 1)}
    assert found.chosen.whitening == 0.75


def test_layers_that_end_before_the_deepest_in_force_are_not_tried(whole):
    found = whole[1]
    assert {max(one.options.layers) for one in found.tried} == {3}
    assert len({tuple(one.options.layers) for one in found.tried}) == 3


def test_oblong_parts_are_seen_in_their_shape_and_as_the_options_in_force_have_it(tmp_path):
    world = World(lambda _: 1.0, ms=lambda options: np.prod(ImageSize.of(options.image_size)) / 4096)
    found = searched(world, tmp_path, verdict_ms=16.0, shape=Shape(aspect=2.5, multiple=16))
    sizes = {key_of(one.options): one.options.image_size for one in found.tried}
    assert 256 in sizes.values()
    oblong = [size for size in sizes.values() if size != 256]
    assert [160, 400] in oblong
    assert all(height % 16 == width % 16 == 0 and 2 < width / height < 3 for height, width in oblong)
