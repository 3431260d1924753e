"""Settings of an experiment: listed options as they are, others with a plus, misspelt ones refused by name."""

import shutil

import pytest
from dvc.utils.hydra import apply_overrides

from checkout import ROOT
from gonogo.errors import ConfigError
from gonogo.params import read_yaml
from gonogo.project.settings import experiment_option

CONTENT = read_yaml(ROOT / "params.yaml")


@pytest.mark.parametrize(
    ("setting", "option"),
    [
        ("seed=3", "seed=3"),
        ("fit.coreset_ratio=0.02", "fit.coreset_ratio=0.02"),
        ("fit.n_neighbors=3", "+fit.n_neighbors=3"),
        ("prepare.size=128", "+prepare.size=128"),
        ("overrides.digit_0.fit.explained_variance=0.8", "overrides.digit_0.fit.explained_variance=0.8"),
        ("overrides.digit_0.bench.runs=3", "+overrides.digit_0.bench.runs=3"),
        ("+fit.n_neighbors=3", "+fit.n_neighbors=3"),
        ("~fit.whitening", "~fit.whitening"),
    ],
)
def test_an_option_that_the_file_does_not_list_is_added_without_a_plus_of_ones_own(tmp_path, setting, option):
    assert experiment_option(setting, CONTENT) == option
    shutil.copy(ROOT / "params.yaml", tmp_path)
    apply_overrides(tmp_path / "params.yaml", [option])  # DVC takes it
    assert read_yaml(tmp_path / "params.yaml") != CONTENT


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("fit.coreset_rato=0.02", "option of fit 'coreset_rato' is unknown; did you mean coreset_ratio"),
        ("fitt.coreset_ratio=0.02", "section 'fitt' is unknown; did you mean fit"),
        ("overrides.digit_O.fit.image_size=8", "category 'digit_O' is unknown; did you mean digit_"),
        ("overrides.digit_0.fit.explained_varance=1", "did you mean explained_variance"),
        ("bench.run=3", "did you mean runs"),
        ("sed=3", "did you mean seed"),
        ("overrides.digit_0=3", "expected overrides.CATEGORY.SECTION.OPTION=VALUE"),
    ],
)
def test_a_misspelt_setting_names_what_is_close_to_it(setting, message):
    content = CONTENT | {"overrides": {"digit_0": CONTENT["overrides"]["digit_0"]}}
    if setting == "overrides.digit_0=3":
        content["overrides"] = {}
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        experiment_option(setting, content)
