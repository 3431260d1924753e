"""params.yaml stands in the form in which DVC writes it back, so that an experiment changes its own lines alone."""

import difflib
import shutil

import pytest
from dvc.utils.hydra import apply_overrides

from checkout import ROOT


@pytest.mark.parametrize(
    ("settings", "n_lines"),
    [
        (["seed=18"], 1),
        (["seed=18", "fit.coreset_ratio=0.005"], 2),
        (["overrides.digit_0.fit.explained_variance=0.8"], 1),
        (["+fit.n_neighbors=3"], 1),
    ],
)
def test_an_experiment_changes_as_many_lines_as_it_has_settings(tmp_path, settings, n_lines):
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    apply_overrides(path, settings)
    before, after = ((place / "params.yaml").read_text(encoding="utf-8").splitlines() for place in (ROOT, tmp_path))
    added = [line for line in difflib.ndiff(before, after) if line.startswith("+ ")]
    assert len(added) == n_lines, "\n".join(added)


def test_a_subset_of_categories_changes_the_list_of_categories_alone(tmp_path):
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    apply_overrides(path, ["categories=[digit_0]"])
    before, after = ((place / "params.yaml").read_text(encoding="utf-8").splitlines() for place in (ROOT, tmp_path))
    changed = [line for line in difflib.ndiff(before, after) if line[:2] in ("+ ", "- ")]
    assert changed
    assert all(line[2:].startswith("- ") for line in changed)
