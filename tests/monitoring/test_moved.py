"""What moved, and by how much."""

import numpy as np
import pytest

from gonogo.monitoring.moved import most_typical, movement


def test_a_shift_is_in_standard_deviations_of_what_was_before():
    rng = np.random.default_rng(1)
    before = rng.normal(50, 4, 4000)
    found = movement("brightness", before, rng.normal(44, 8, 4000))
    assert found.shift == pytest.approx(-1.5, abs=0.1)
    assert found.spread == pytest.approx(2, abs=0.1)
    assert found.before == pytest.approx([before.mean(), before.std(), *np.percentile(before, (5, 50, 95))])


def test_values_that_are_not_known_are_left_out_and_a_side_without_any_is_none():
    assert movement("noise", [1.0, np.nan, 3.0], [2.0, 4.0]).n_before == 2
    assert movement("noise", [np.nan], [1.0]) is None


@pytest.mark.parametrize("before", [[5.0, 5.0, 5.0], [5.0]])
def test_what_never_varied_has_no_shift_in_deviations(before):
    found = movement("size", before, [6.0, 6.0])
    assert (found.shift, found.spread) == (None, None)
    assert found.after[0] == 6.0


def test_the_most_typical_part_is_the_one_at_the_medians_and_no_scale_decides():
    values = np.random.default_rng(2).normal(size=(200, 3)) * (1e6, 1.0, 1e-6)
    values[17] = np.median(values, axis=0)
    values[3, 1] = np.nan
    assert most_typical(values) == 17
