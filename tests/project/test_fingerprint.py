"""The fingerprint of a script changes with every file that it depends on, and with no other."""

from pathlib import Path

import pytest

from checkout import ROOT
from gonogo.project import fingerprint as module
from gonogo.project.fingerprint import closure, fingerprint

FILES = {
    "stages/fit.py": "import entry\nfrom gonogo.fitting import fit\n",
    "stages/entry.py": "from gonogo.errors import Oops\n",
    "stages/other.py": "import entry\n",
    "src/gonogo/__init__.py": "",
    "src/gonogo/errors.py": "class Oops(Exception): ...\n",
    "src/gonogo/fitting.py": "def fit():\n    from gonogo.detectors import make\n    return make\n",
    "src/gonogo/detectors/__init__.py": 'DETECTORS = {"pca": "gonogo.detectors.pca:PCA"}\n',
    "src/gonogo/detectors/pca.py": "import numpy\nfrom gonogo.drawing.pages import page\n",
    "src/gonogo/detectors/unused.py": "",
    "src/gonogo/drawing/__init__.py": "",
    "src/gonogo/drawing/pages.py": "def page(): ...\n",
    "src/gonogo/drawing/templates/page.html": "<p>\n",
    "src/gonogo/drawing/unused.py": "",
    "src/gonogo/unused.py": "",
    "constraints.txt": "numpy==2\n",
}
NEEDED = {
    "stages/fit.py",
    "stages/entry.py",
    "src/gonogo/__init__.py",
    "src/gonogo/errors.py",
    "src/gonogo/fitting.py",
    "src/gonogo/detectors/__init__.py",
    "src/gonogo/detectors/pca.py",
    "src/gonogo/drawing/__init__.py",
    "src/gonogo/drawing/pages.py",
    "src/gonogo/drawing/templates/page.html",
    "constraints.txt",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def fingerprint_of(checkout: Path) -> str:
    for name in ("_files_of", "_imports", "_sha256", "_data_files"):
        getattr(module, name).cache_clear()
    return fingerprint(
        checkout / "stages/fit.py", package=checkout / "src/gonogo", beside=[checkout / "constraints.txt"]
    )


def test_it_names_what_is_imported_at_any_depth_and_what_a_registry_names(checkout):
    named = {line.split("  ")[1] for line in fingerprint_of(checkout).splitlines()}
    assert named == {name.removeprefix("src/") for name in NEEDED}


@pytest.mark.parametrize("name", sorted(FILES))
def test_it_changes_with_what_the_script_needs_and_with_nothing_else(checkout, name):
    before = fingerprint_of(checkout)
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    assert (fingerprint_of(checkout) != before) is (name in NEEDED)


def test_it_is_the_same_on_windows_whose_checkouts_end_lines_otherwise(checkout):
    before = fingerprint_of(checkout)
    for name in FILES:
        (checkout / name).write_bytes(FILES[name].replace("\n", "\r\n").encode())
    assert fingerprint_of(checkout) == before


def test_an_edit_of_one_detector_concerns_the_stages_that_may_use_it_and_bench_is_none_of_them():
    package, detector = ROOT / "src/gonogo", ROOT / "src/gonogo/detectors/padim.py"
    stages = ["prepare", "fit", "evaluate", "export", "parity", "robustness", "bench", "report", "router", "retrieve"]
    stages += ["summary"]
    concerned = {stage for stage in stages if detector in closure(ROOT / f"stages/{stage}.py", package=package)}
    assert {"fit", "evaluate", "export", "parity"} <= concerned
    assert not concerned & {"prepare", "robustness", "bench", "report", "summary"}


def test_only_the_stages_that_draw_depend_on_a_template_or_a_colour():
    package = ROOT / "src/gonogo"
    templates = set((package / "reports/templates").iterdir())
    for stage in ("prepare", "fit", "evaluate", "export", "parity", "robustness", "bench", "router"):
        needed = closure(ROOT / f"stages/{stage}.py", package=package)
        assert not needed & templates
        assert package / "images/colours.py" not in needed
    for stage in ("report", "summary"):
        assert templates <= closure(ROOT / f"stages/{stage}.py", package=package)
