"""The ablation measures no point of a commit twice, and its tables and plots show what it measured."""

import itertools
import json
import re

import pytest

import ablation
import benchmark_tables
from ablation_plot import FIGURES, write_plot
from checkout import ROOT
from gonogo.errors import ConfigError, PipelineError
from gonogo.params import read_yaml
from gonogo.reports.panels import HEIGHT, WIDTH, Panel, draw, scale_of

PLAN = {
    "factors": {
        "coreset ratio": {"0.003": {"fit.coreset_ratio": 0.003}, "0.01": {}, "0.1": {"fit.coreset_ratio": 0.1}},
        "seed": {"17": {}, "18": {"seed": 18}, "19": {"seed": 19}},
    }
}
CONTENT = read_yaml(ROOT / "params.yaml")
del CONTENT["overrides"]["brick"]["fit"]  # so that brick takes the options of the section
MACHINE = {"cpu": "abacus", "cores": 2, "memory_mb": 25000, "threads": 2}
ABOUT = {"machine": MACHINE, "versions": {"torch": "2"}, "commit": "0123456789ab"}


def figures(settings):
    """Figures of a gauge that gets slower and better with its bank, and differs with the seed."""
    ratio, seed = settings.get("fit.coreset_ratio", 0.01), settings.get("seed", 17)
    auroc = 0.8 + ratio + (seed - 17) / 100
    return {
        "image_auroc": auroc,
        "image_auroc_low": auroc - 0.05,
        "image_auroc_high": auroc + 0.05,
        "synthetic_auroc": 0.7 - ratio,
        "covering_radius": 20.0,
        "p50_ms": 1000 * ratio,
        "bundle_mb": 3.0,
    }


class Measure:
    """Runs nothing, and remembers what it was asked for."""

    def __init__(self, failing=()):
        self.asked, self.failing = [], failing

    def __call__(self, name, part, settings):
        self.asked.append((part, settings))
        if settings in self.failing:
            raise PipelineError("fit@brick: DataError: too few")
        return figures(settings)


@pytest.fixture
def measured(tmp_path):
    """The JSON of a whole run."""
    out = tmp_path / "ablation.json"
    assert ablation.measure_due(ablation.points(PLAN, ["brick"]), out, Measure(), ABOUT) == []
    return out


def test_the_point_that_changes_nothing_is_measured_once_and_stands_in_every_factor():
    points = ablation.points(PLAN, ["brick", "grass"])
    assert [point["settings"] for point in points if point["part"] == "brick"] == [
        {"fit.coreset_ratio": 0.003},
        {},
        {"fit.coreset_ratio": 0.1},
        {"seed": 18},
        {"seed": 19},
    ]
    (shared,) = (point for point in points if point["part"] == "grass" and not point["settings"])
    assert shared["factors"] == {
        "coreset ratio": {"place": 1, "label": "0.01"},
        "seed": {"place": 0, "label": "17"},
    }


def test_a_factor_that_does_not_say_what_it_is_compared_with_is_an_error():
    with pytest.raises(ConfigError, match="size has no point that changes nothing"):
        ablation.points({"factors": {"size": {"8": {"fit.image_size": 8}}}}, ["brick"])


def test_what_was_measured_on_this_commit_is_not_measured_again_and_a_failure_is(tmp_path):
    due, out = ablation.points(PLAN, ["brick"]), tmp_path / "ablation.json"
    failed = ablation.measure_due(due, out, first := Measure([{"fit.coreset_ratio": 0.1}]), ABOUT)
    assert len(first.asked) == 5
    assert failed == ['3/5  brick  {"fit.coreset_ratio": 0.1}: fit@brick: DataError: too few']
    assert ablation.measure_due(due, out, again := Measure(), ABOUT) == []
    assert again.asked == [("brick", {"fit.coreset_ratio": 0.1})]
    assert len(json.loads(out.read_text())["rows"]) == 5


def test_what_was_measured_on_another_commit_goes(measured):
    due = ablation.points(PLAN, ["brick"])[:2]
    ablation.measure_due(due, measured, measure := Measure(), ABOUT | {"commit": "f" * 12})
    assert len(measure.asked) == 2
    assert {row["commit"] for row in json.loads(measured.read_text())["rows"]} == {"f" * 12}


def test_the_rank_correlation_is_of_each_part_and_absent_where_it_has_no_value(measured):
    rows = json.loads(measured.read_text())["rows"]
    assert ablation.rank_correlation([row for row in rows if "seed" not in row["settings"]]) == {"brick": -1.0}
    assert ablation.rank_correlation(rows[:2]) == {}
    assert ablation.rank_correlation([row | {"synthetic_auroc": 0.5} for row in rows]) == {}


def test_the_tables_show_each_factor_in_its_order_and_the_spread_of_the_seeds(measured):
    lines = benchmark_tables.ablation_table(lambda _: measured.read_text()).splitlines()
    assert [line.split(" | ")[:2] for line in lines if line.startswith("| 0.")] == [
        ["| 0.003", "0.803 [0.753, 0.853]"],
        ["| 0.01, as in `params.yaml`", "0.810 [0.760, 0.860]"],
        ["| 0.1", "0.900 [0.850, 0.950]"],
    ]
    assert "| mean ± standard deviation | 0.820 ± 0.010 | – | 0.690 ± 0.000 | 20.00 ± 0.00 | " in "\n".join(lines)
    assert "| 0.1 | 0.900 [0.850, 0.950] | – | 0.600 | 20.00 | 100.0 ms | 3.0 MB |" in lines
    correlation = json.loads(measured.read_text())["rank_correlation"]["brick"]
    assert f"Over these 5 points the rank correlation of the AUROC on damaged good images with that on the test's " \
        f"defects is {correlation:.2f}." in lines  # fmt: skip
    assert lines[-1].endswith("commit 0123456789.")


def test_a_table_that_was_not_measured_says_so():
    def absent(name):
        raise FileNotFoundError(name)

    assert benchmark_tables.ablation_table(absent) == benchmark_tables.ABSENT


def test_the_plot_has_a_panel_per_factor_and_figure_with_a_point_per_row(measured, tmp_path):
    write_plot(tmp_path / "images" / "ablation.svg", json.loads(measured.read_text())["rows"])
    svg = (tmp_path / "images" / "ablation.svg").read_text(encoding="utf-8")
    n_points = 3 + 3
    assert svg.count("<g ") == len(PLAN["factors"]) * len(FIGURES)
    assert svg.count("<circle") == n_points * (len(FIGURES) - 1)  # no masks, no AUPRO
    assert svg.count('r="5"') == len(PLAN["factors"]) * (len(FIGURES) - 1)


@pytest.mark.parametrize(
    ("low", "high"), [(0.803, 0.9), (0.0, 1.0), (3.0, 3.0), (0.0, 0.0), (-7.5, 120.0), (9.99, 10.01)]
)
def test_a_scale_encloses_its_values_with_few_round_numbers(low, high):
    scale = scale_of(low, high)
    assert scale[0] <= low <= high <= scale[-1]
    assert 2 <= len(scale) <= 7
    steps = {round(b - a, 9) for a, b in itertools.pairwise(scale)}
    assert len(steps) == 1
    assert f"{steps.pop():e}"[0] in "125"


def test_no_point_leaves_its_axes_and_markup_in_a_title_is_text():
    svg = draw([Panel("a < b", "x", [(0, 3.0), (5, 9.0)], [(0, "0")], bars=[(0, 1.0, 4.0)], failed=[7])], columns=2)
    places = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([-\d.]+)" cy="([-\d.]+)"', svg)]
    assert len(places) == 2
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert places[0][1] > places[1][1]  # larger is higher up
    assert "a &lt; b" in svg


def test_the_plan_of_the_repository_can_be_set():
    plan = read_yaml(ablation.PLAN)
    for point in ablation.points(plan, plan["parts"]):
        after = ablation.settled(CONTENT, point["part"], {**plan["cheap"], **point["settings"]})
        assert after["categories"] == [point["part"]]
        for key, value in point["settings"].items():
            section, _, name = key.rpartition(".")
            assert (after[section] if section else after)[name] == value


@pytest.mark.parametrize(
    ("part", "settings", "told"),
    [
        ("slate", {}, "no category slate"),
        ("brick", {"fits.image_size": 8}, r"fits\.image_size: params.yaml has no such key"),
        ("brick", {"sed": 8}, "sed: params.yaml has no such key"),
        ("digit_0", {"fit.image_size": 16}, "digit_0 overrides fit"),
    ],
)
def test_a_setting_that_would_change_nothing_is_an_error(part, settings, told):
    with pytest.raises(ConfigError, match=told):
        ablation.settled(CONTENT, part, settings)


def test_an_experiment_that_fails_is_an_error_with_its_reason_and_others_give_their_figures():
    class Clone:
        params = CONTENT
        reason = ""

        def run(self, name, settings, *, categories, stages, targets):
            self.settings = settings
            return self.reason

        def metrics(self, stage, category):
            return {"evaluate": {"image_auroc": 0.9, "recall": 0.1}, "bench": {"p50_ms": 3.0, "bundle_mb": 2.0}}[stage]

    clone = Clone()
    measure = ablation.experiments(clone, {"fit.left_out": 0})
    assert measure("a", "brick", {"seed": 18}) == {"image_auroc": 0.9, "p50_ms": 3.0, "bundle_mb": 2.0}
    assert sorted(clone.settings) == ['categories=["brick"]', "fit.left_out=0", "seed=18"]
    clone.reason = "fit@brick: DataError: too few"
    with pytest.raises(PipelineError, match="too few"):
        measure("b", "brick", {})
