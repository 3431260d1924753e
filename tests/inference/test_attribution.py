"""What a score is made of: regions, squares, and all coalitions."""

import json
import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from conftest import bundled, fitted, modelled
from gonogo.cli.main import main
from gonogo.images.reading import read_image
from gonogo.inference.attribution import PatchRule, airport, attribute, shapley
from gonogo.inference.scorer import Scorer
from gonogo.line.explain import explain
from gonogo.model.fit_params import Tiling
from gonogo.model.inspector import Inspector

WHOLE = PatchRule("max", 0.0, 0, (40, 60), (40, 60), (0,), (0,))


def of_all_orders(n_players, worth):
    """Shapley values as they are defined: what each adds to those before it, in every order."""
    values = np.zeros(n_players)
    for order in permutations(range(n_players)):
        for place, player in enumerate(order):
            values[player] += worth(set(order[: place + 1])) - worth(set(order[:place]))
    return values / math.factorial(n_players)


def test_the_closed_form_gives_what_all_orders_of_the_players_give():
    generator = np.random.default_rng(5)
    for base in (0.0, 0.4, 2.0):
        for ties in (False, True):
            costs = generator.random(6).round(1 if ties else 9)
            expected = of_all_orders(6, lambda of, c=costs, b=base: max([b, *(c[i] for i in of)]))
            np.testing.assert_allclose(airport(list(costs), base), expected, atol=1e-12)


def test_all_coalitions_give_what_all_orders_of_the_players_give():
    weights = np.random.default_rng(6).random(5)

    def worth(of):
        return float(np.sqrt(sum(weights[i] for i in of))) + (2.0 if {0, 3} <= set(of) else 0.0)

    np.testing.assert_allclose(shapley(5, worth), of_all_orders(5, worth), atol=1e-12)


def test_more_players_than_are_enumerated_are_refused():
    with pytest.raises(ValueError, match="2048 coalitions"):
        shapley(11, len)


@pytest.fixture
def seen():
    """Patch scores of one tile and of four, and a map of 40 x 60 pixels with two regions."""
    generator = np.random.default_rng(8)
    patches = generator.random((1, 8, 12)) + 1
    patches[0, 1:3, 2:5] += 3
    patches[0, 6, 9] += 2
    anomaly_map = np.kron(patches[0], np.ones((5, 5)))
    return patches, anomaly_map, anomaly_map > 3


def masked_worth(patches, owners, rule):
    return lambda of: rule.score(np.where(np.isin(owners, sorted(of)), patches, 0.0)) if of else 0.0


@pytest.mark.parametrize("aggregate", ["max", "mean_of_highest", "root_mean_square"])
def test_contributions_sum_to_the_score_less_the_base(seen, aggregate):
    patches, anomaly_map, mask = seen
    rule = replace(WHOLE, aggregate=aggregate, highest_share=0.1)
    for usual in (0.0, 1.9, 99.0):
        found = attribute(patches, rule.score(patches), anomaly_map, mask, rule, usual=usual)
        assert [each.region for each in found.contributions] == [0, 1, None]
        assert found.base == (1.9 if aggregate == "max" and usual == 1.9 else 0.0)
        assert abs(found.error) < 1e-12
        total = math.fsum(each.value for each in found.contributions)
        assert total == pytest.approx(found.score - found.base, abs=1e-12)


def test_the_largest_patch_score_is_shared_as_all_orders_of_the_regions_share_it(seen):
    patches, anomaly_map, mask = seen
    found = attribute(patches, float(patches.max()), anomaly_map, mask, WHOLE, usual=0.0)
    owners = np.full(patches.shape, 2)
    owners[0, 1:3, 2:5], owners[0, 6, 9] = 0, 1
    assert [each.highest for each in found.contributions] == [patches[owners == i].max() for i in range(3)]
    expected = of_all_orders(3, masked_worth(patches, owners, WHOLE))
    np.testing.assert_allclose([each.value for each in found.contributions], expected, atol=1e-12)


@pytest.mark.parametrize("aggregate", ["mean_of_highest", "root_mean_square"])
def test_over_several_tiles_all_coalitions_of_the_regions_are_computed(seen, aggregate):
    _, anomaly_map, mask = seen
    rule = PatchRule(aggregate, 0.2, 0, (40, 60), (25, 35), (0, 15), (0, 25))
    patches = np.random.default_rng(3).random((4, 5, 7)) + rule.highest_in_cells(anomaly_map, (5, 7))
    found = attribute(patches, rule.score(patches), anomaly_map, mask, rule, usual=0.0)
    assert found.method == "coalitions"
    regions = np.zeros((40, 60), dtype=int)
    regions[5:15, 10:25], regions[30:35, 45:50] = 2, 1
    owners = 2 - rule.highest_in_cells(regions, (5, 7))
    expected = of_all_orders(3, masked_worth(patches, owners, rule))
    np.testing.assert_allclose([each.value for each in found.contributions], expected, atol=1e-12)
    assert abs(found.error) < 1e-12


def test_without_a_region_nine_squares_share_the_score(seen):
    patches, anomaly_map, _ = seen
    found = attribute(patches, float(patches.max()), anomaly_map, np.zeros((40, 60), dtype=bool), WHOLE, usual=0.0)
    assert [each.square for each in found.contributions] == [(i, j) for i in range(3) for j in range(3)]
    assert max(found.contributions, key=lambda each: each.value).square == (0, 0)
    assert found.contributions[8].highest == patches[0, 6, 9]
    assert abs(found.error) < 1e-12


def test_of_many_regions_the_lowest_belong_to_the_rest():
    anomaly_map = np.zeros((40, 60))
    for number in range(12):
        anomaly_map[5 * (number // 6) : 5 * (number // 6) + 3, 10 * (number % 6)] = 20 - number
    patches = WHOLE.highest_in_cells(anomaly_map, (40, 60))
    found = attribute(patches, 20.0, anomaly_map, anomaly_map > 0, WHOLE, usual=0.0)
    assert [each.highest for each in found.contributions] == [20 - number for number in range(9)] + [11]


def test_a_cell_belongs_to_the_highest_region_that_reaches_into_it():
    values = np.zeros((4, 6), dtype=int)
    values[1, 1], values[3, 5] = 7, 3
    rule = replace(WHOLE, canvas=(4, 6), tile=(4, 6))
    assert rule.highest_in_cells(values, (2, 3)).tolist() == [[[7, 0, 0], [0, 0, 3]]]
    assert rule.highest_in_cells(values, (8, 12))[0, 2:4, 2:4].tolist() == [[7, 7], [7, 7]]
    with_margin = replace(rule, margin=1)
    assert with_margin.highest_in_cells(values, (4, 6)).shape == (1, 2, 4)


def test_a_score_that_does_not_follow_from_the_patches_is_not_taken_apart(seen):
    patches, anomaly_map, mask = seen
    assert attribute(patches, 1.01 * float(patches.max()), anomaly_map, mask, WHOLE, usual=0.0) is None


# With a bundle


@pytest.fixture(scope="module")
def gauges(patchcore_bundle, digits, tmp_path_factory):
    """Bundles of a detector whose score is the largest patch score, with and without tiles."""
    made = {("patchcore", False): patchcore_bundle}
    for name, tiling in (("patchcore", Tiling(96, 96, 32)), ("mean_image", Tiling(12, 12, 2))):
        folder = tmp_path_factory.mktemp("gauge")
        inspector: Inspector = fitted(name, digits, tiling=tiling)
        made[name, True] = bundled(modelled(inspector, digits, folder / "model"), digits, folder)
    return made


@pytest.mark.parametrize(
    ("name", "tiled", "method"),
    [("patchcore", False, "airport"), ("patchcore", True, "airport"), ("mean_image", True, "coalitions")],
)
def test_a_bundle_takes_its_scores_apart(gauges, digits, name, tiled, method):
    scorer = Scorer(gauges[name, tiled])
    for record in digits.with_role("test")[::40]:
        explanation = explain(scorer, read_image(digits.path_of(record)), n_cells=8, top=3)
        found = explanation.attribution
        assert found is not None
        assert found.method == method
        assert found.score == explanation.verdict.score
        assert abs(found.error) <= 1e-6 * found.score
        n_regions = min(9, len(explanation.verdict.regions))
        assert len(found.contributions) == (n_regions + 1 if n_regions else 9)


def test_the_command_says_what_the_score_is_made_of(gauges, digits, capsys):
    record = next(record for record in digits.with_role("test") if record.label == 1)
    words = ["explain", str(gauges["patchcore", False]), str(digits.path_of(record))]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = report["attribution"]
    assert found["base"] + sum(each["value"] for each in found["contributions"]) == pytest.approx(report["score"])
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"the score {report['score']:.6g} is made of" in said
    best = max(found["contributions"], key=lambda each: each["value"])
    assert f"{best['value']:+.6g} region {best['region'] + 1}" in said


def test_a_gauge_that_judges_the_image_as_a_whole_says_so(digits, tmp_path, capsys):
    folder = bundled(modelled(fitted("mahalanobis", digits), digits, tmp_path / "model"), digits, tmp_path)
    image = digits.path_of(digits.with_role("test")[0])
    assert main(["explain", str(folder), str(image)]) == 0
    assert "the score is not taken apart: the detector judges the image as a whole" in capsys.readouterr().out
