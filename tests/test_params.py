"""Parameters: what DVC reads is what we read, and a mistake is named with file, key, value and what is allowed."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from checkout import ROOT
from gonogo.calibration.threshold import CalibrateParams
from gonogo.data import SOURCES
from gonogo.detectors import DETECTORS
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.errors import ConfigError
from gonogo.export.parity import ParityParams
from gonogo.export.router import RouterParams
from gonogo.model.fit_params import FitParams, fit_section
from gonogo.params import Params, build, read_yaml

GOOD = """
seed: 3
categories: [brick, digit_0]
prepare: {source: surfaces, window: 48}
fit:
  {detector: pca, device: cpu, memory_budget_mb: null, tiling: null, left_out: 6,
   image_size: 16, explained_variance: 0.5}
calibrate: {false_alarm_rate: 0.1, confidence: 0.95, margin: 1.0e-3, method: holdout, folds: 5, tail_share: 0.2,
            probability: null, defect_rate: null}
overrides:
  brick: {}
  digit_0: {fit: {image_size: 8}, prepare: {source: digits, normal_class: 0}}
"""


def params(tmp_path: Path, text: str = GOOD, category: str = "brick") -> Params:
    (tmp_path / "params.yaml").write_text(text)
    return Params(tmp_path / "params.yaml", category)


def test_an_override_merges_into_its_section(tmp_path):
    assert params(tmp_path, category="digit_0").section("fit") == {
        "detector": "pca",
        "device": "cpu",
        "memory_budget_mb": None,
        "tiling": None,
        "left_out": 6,
        "image_size": 8,
        "explained_variance": 0.5,
    }
    assert params(tmp_path).section("fit")["image_size"] == 16


def test_an_override_that_names_another_variant_replaces_the_section(tmp_path):
    assert params(tmp_path, category="digit_0").section("prepare") == {"source": "digits", "normal_class": 0}


@dataclass(frozen=True)
class Shared:
    """What a section says for every variant."""

    share: float


def test_what_a_section_says_for_every_variant_outlives_a_change_of_variant(tmp_path):
    text = GOOD.replace("{source: surfaces, ", "{source: surfaces, share: 0.25, ")
    digits = params(tmp_path, text, category="digit_0").variant("prepare", SOURCES, Shared)
    assert (digits.made.normal_class, digits.values.share) == (0, 0.25)
    assert (digits.name, digits.options) == ("digits", {"normal_class": 0})
    surfaces = params(tmp_path, text).variant("prepare", SOURCES, Shared)
    assert (surfaces.made.window, surfaces.values.share) == (48, 0.25)
    changed = text.replace("normal_class: 0", "normal_class: 0, share: 0.5")
    assert params(tmp_path, changed, category="digit_0").variant("prepare", SOURCES, Shared).values.share == 0.5


def test_a_misspelt_option_names_those_of_the_variant_and_those_for_all(tmp_path):
    text = GOOD.replace("{source: surfaces, window", "{source: surfaces, share: 0.25, windo")
    with pytest.raises(ConfigError, match=r"unknown key 'windo'.*allowed: photograph, window, .*share"):
        params(tmp_path, text).variant("prepare", SOURCES, Shared)


def test_numbers_are_read_as_dvc_writes_them(tmp_path):
    text = GOOD.replace("1.0e-3", "2e-06").replace("seed: 3", "seed: 010")
    read = params(tmp_path, text)
    assert read.values("calibrate", CalibrateParams).margin == 2e-6
    assert read.seed == 10


def test_a_whole_number_serves_as_a_float(tmp_path):
    @dataclass(frozen=True)
    class One:
        rate: float

    assert params(tmp_path, GOOD + "one: {rate: 1}\n").values("one", One).rate == 1.0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("margin: 1.0e-3", "margin: yes", ["params.yaml: calibrate", "margin", "'yes'"]),
        ("confidence: 0.95, ", "", ["params.yaml: calibrate", "'confidence' is missing"]),
        ("confidence: 0.95", "confidence: 0.95, confidance: 1", ["'confidance'", "allowed: method"]),
    ],
)
def test_a_wrong_key_or_type_is_named_with_what_is_allowed(tmp_path, old, new, words):
    with pytest.raises(ConfigError) as error:
        params(tmp_path, GOOD.replace(old, new)).values("calibrate", CalibrateParams)
    assert all(word in str(error.value) for word in words)


def test_a_misspelt_option_of_a_detector_is_an_error_and_names_the_right_ones(tmp_path):
    words = r"'explained_varience'.*did you mean explained_variance\?.*allowed: image_size, explained_variance"
    with pytest.raises(ConfigError, match=words):
        params(tmp_path, GOOD.replace("explained_variance", "explained_varience")).variant(
            "fit", DETECTOR_OPTIONS, FitParams
        )


def test_options_left_over_from_another_detector_are_named_with_what_to_write_instead(tmp_path):
    left_over = GOOD.replace("explained_variance", "coreset_ratio")
    with pytest.raises(
        ConfigError, match=r"coreset_ratio are options of another detector.*brick: \{fit: \{detector: pca"
    ):
        params(tmp_path, left_over, category="brick").variant("fit", DETECTOR_OPTIONS, FitParams)


def test_an_option_out_of_range_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"explained_variance is 1\.5"):
        params(tmp_path, GOOD.replace("0.5", "1.5")).variant("fit", DETECTOR_OPTIONS, FitParams)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -float("inf")])
@pytest.mark.parametrize("name", ["fit.smoothing", "fit.memory_budget_mb", "parity.tolerance", "router.slack"])
def test_a_number_is_finite(name, value, tmp_path):
    """YAML has .inf and .nan: a map smoothed without end, or a gate that anything passes."""
    content, (section, key) = read_yaml(ROOT / "params.yaml"), name.split(".")
    content[section][key] = value
    own = Params(tmp_path / "params.yaml", content=content)
    kind = {"parity": ParityParams, "router": RouterParams}.get(section)
    with pytest.raises(ConfigError, match=rf"{key} is -?(inf|nan); Input should be a finite number"):
        fit_section(own) if kind is None else own.values(section, kind)


def test_an_unknown_detector_lists_the_known_ones(tmp_path):
    with pytest.raises(
        ConfigError, match=f"'patchcor'; did you mean patchcore\\? choose one of {', '.join(DETECTORS)}"
    ):
        params(tmp_path, GOOD.replace("detector: pca", "detector: patchcor")).variant(
            "fit", DETECTOR_OPTIONS, FitParams
        )


def test_an_unknown_category_and_an_override_of_nothing_are_errors(tmp_path):
    with pytest.raises(ConfigError, match=r"no category 'bricks'; did you mean brick\? choose one of brick, digit_0"):
        params(tmp_path, category="bricks")
    with pytest.raises(ConfigError, match=r"overrides\.digit_0: there is no section 'fitt'; did you mean fit\?"):
        params(tmp_path, GOOD.replace("{fit:", "{fitt:"))


@pytest.mark.parametrize("value", ["true", "-1", "1.5", "a"])
def test_only_a_whole_number_of_0_or_more_is_a_seed(value, tmp_path):
    with pytest.raises(ConfigError, match=r"seed is (True|-1|1\.5|'a'); expected"):
        _ = params(tmp_path, GOOD.replace("seed: 3", f"seed: {value}")).seed


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ("3", "overrides is 3; expected a mapping"),
        ("{digit_0: [fit]}", r"overrides\.digit_0 is \['fit'\]; expected a mapping"),
        ("{digit_0: {fit: patchcore}}", r"overrides\.digit_0\.fit is 'patchcore'; expected a mapping"),
    ],
)
def test_overrides_that_are_no_mapping_are_an_error_and_no_traceback(overrides, says, tmp_path):
    text = GOOD[: GOOD.index("overrides:")] + f"overrides: {overrides}\n"
    with pytest.raises(ConfigError, match=says):
        params(tmp_path, text)


def test_a_section_that_is_no_mapping_is_what_is_wrong_and_not_its_override(tmp_path):
    content = read_yaml(ROOT / "params.yaml") | {"fit": 3}
    with pytest.raises(ConfigError, match=r"fit is 3, and overrides\.\w+ changes options of it; expected a mapping"):
        Params(tmp_path / "params.yaml", content=content)


def test_a_file_in_another_encoding_is_an_error_and_no_traceback(tmp_path):
    (tmp_path / "params.yaml").write_bytes("seed: 3  # größe".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"params\.yaml is not in UTF-8: .*; save it so"):
        read_yaml(tmp_path / "params.yaml")


def test_a_project_has_at_least_one_category(tmp_path):
    with pytest.raises(ConfigError, match=r"categories is \[\]; expected one or more distinct names"):
        params(tmp_path, GOOD.replace("categories: [brick, digit_0]", "categories: []"))


def test_a_value_that_is_no_mapping_where_one_is_asked_for_is_said_in_yaml_words(tmp_path):
    for value in ("true", "{flat_field: 3}"):
        content = read_yaml(ROOT / "params.yaml")
        content["fit"]["preprocess"] = YAML(typ="safe").load(value)
        with pytest.raises(ConfigError, match="expected a mapping of its keys"):
            fit_section(Params(tmp_path / "params.yaml", content=content))


def test_a_missing_file_and_a_broken_one_are_errors(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        Params(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="not valid YAML"):
        params(tmp_path, "seed: [1")


@dataclass(frozen=True)
class Inner:
    """What a section says in a mapping of its own."""

    width: int


@dataclass(frozen=True)
class Outer:
    """A section with such a mapping."""

    inner: Inner | None


def test_a_mapping_inside_a_section_is_checked_as_the_section_is():
    assert build(Outer, {"inner": {"width": 3}}, where="p: s") == Outer(Inner(3))
    assert build(Outer, {"inner": None}, where="p: s") == Outer(None)
    with pytest.raises(ConfigError, match=r"p: s\.inner: .*key 'widht' = 3; did you mean width\? allowed: width"):
        build(Outer, {"inner": {"widht": 3}}, where="p: s")
    with pytest.raises(ConfigError, match=r"p: s\.inner: width is '3'"):
        build(Outer, {"inner": {"width": "3"}}, where="p: s")
