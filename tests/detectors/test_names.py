"""Detectors found by their names and by those of anomalib, and made by name."""

import pytest

from gonogo.detectors import CAPABILITIES, make_detector
from gonogo.detectors.names import NEAREST, detector_name
from gonogo.detectors.options import DETECTOR_OPTIONS
from gonogo.errors import ConfigError
from gonogo.export.patch_rule import GridRule, grid_rule
from gonogo.model.fit_params import fit_section
from gonogo.params import Params, build

FIT = (
    "device: cpu, cluster: null, memory_budget_mb: null, tiling: null, left_out: 0, shots: null, rotations: 1, "
    "finetune: null"
)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Padim", "padim"),
        ("PaDiM", "padim"),
        ("Patchcore", "patchcore"),
        ("EfficientAd", "efficientad"),
        ("efficient_ad", "efficientad"),
        ("Supersimplenet", "supersimplenet"),
        ("isolation-forest", "isolation_forest"),
    ],
)
def test_a_name_is_found_however_its_words_are_joined(written, name):
    assert detector_name(written) == name


@pytest.mark.parametrize("model", NEAREST)
def test_a_model_of_anomalib_that_is_not_here_names_the_nearest_that_is(model):
    nearest = NEAREST[model][0]
    assert detector_name(nearest) == nearest
    with pytest.raises(ConfigError, match=f"nearest detector is {nearest}: .*model: {model}$"):
        detector_name(model.lower())


def test_a_misspelt_name_is_answered_with_the_one_that_was_meant():
    with pytest.raises(ConfigError, match=r"no detector 'patchcor'; did you mean patchcore\? choose one of mean_im"):
        detector_name("patchcor")


def test_a_detector_is_made_by_name_with_checked_options():
    assert make_detector("Pca", image_size=16).options.image_size == 16
    with pytest.raises(ConfigError, match=r"unknown key 'image_sise'.*did you mean image_size"):
        make_detector("pca", image_sise=16)
    with pytest.raises(ConfigError, match="explained_variance is 2"):
        make_detector("pca", explained_variance=2.0)


def test_params_take_a_name_as_anomalib_writes_it(tmp_path):
    """An override that spells the detector in another way keeps the options: it names the same one."""
    path = tmp_path / "params.yaml"
    path.write_text(
        f"categories: [nut]\nfit: {{detector: PCA, image_size: 8, {FIT}}}\n"
        "overrides: {nut: {fit: {detector: pca}}}\n",
        encoding="utf-8",
    )
    chosen = fit_section(Params(path, "nut"))
    assert (chosen.name, chosen.made.image_size) == ("pca", 8)
    path.write_text(
        path.read_text(encoding="utf-8").replace("PCA", "Dfm").replace("detector: pca", "shots: 1"), "utf-8"
    )
    with pytest.raises(ConfigError, match=r"fit\.detector: 'Dfm' is a model of anomalib .* nearest detector is mahal"):
        fit_section(Params(path, "nut"))


@pytest.mark.parametrize("top_share", [None, 0, 0.01, 1])
@pytest.mark.parametrize("name", [name for name, can in CAPABILITIES.items() if can.localises])
def test_every_detector_that_localises_takes_the_same_shares_and_null(name, top_share):
    assert build(DETECTOR_OPTIONS[name], {"top_share": top_share}, where=name).top_share == top_share


def test_the_own_score_of_patchcore_is_its_highest_cell():
    assert grid_rule(make_detector("patchcore", top_share=None, weights="random", image_size=32)) == GridRule("max")
