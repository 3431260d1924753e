"""The tests of the scoring install: the line's, where there is nothing but numpy, onnxruntime, Pillow and pytest.

    python tests/scoring_install.py make FOLDER            with the pipeline installed: write a gauge and its images
    python tests/scoring_install.py test FOLDER [OPTION …]  after `pip install gonogo pytest`: run the tests on them

The folder may come from another machine and system. Tests of the list below that need more than the scoring install
skip themselves and say so. conftest.py, which fits gauges, is left out, and this file is pytest's plugin in its place.
"""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TESTS = (
    "cli/test_main.py",
    "export/test_bundle.py",
    "images/test_reading.py",
    "inference/test_signature.py",
    "line/test_score.py",
    "line/test_verify.py",
    "line/test_watch.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--gauge FOLDER`: what `make` wrote."""
    parser.addoption("--gauge", type=Path, required=True)


@pytest.fixture(scope="session")
def digits(pytestconfig: pytest.Config):
    """As in conftest.py: the digit 0 as good parts, every other digit as a defect."""
    from gonogo.images.dataset import read_dataset

    return read_dataset(pytestconfig.getoption("gauge") / "digits", Path("no raw folder"))


@pytest.fixture(scope="session")
def bundle(pytestconfig: pytest.Config) -> Path:
    """As in conftest.py: the bundle of the digits' PCA gauge."""
    return pytestconfig.getoption("gauge") / "bundle"


def make(folder: Path) -> None:
    """Prepare the digits, fit and prove their gauge, and write both."""
    from conftest import bundled, fitted, manifest_of, modelled, shares
    from gonogo.data.digits import Digits

    folder.mkdir(parents=True)
    digits = manifest_of(Digits(normal_class=0).samples("digit_0", Path(), shares(17)), folder / "digits")
    bundled(modelled(fitted("pca", digits), digits, folder / "model"), digits, folder)


def test(folder: Path, options: list[str]) -> int:
    """pytest's exit status. What is tested is the installed gonogo, and not the source beside the tests."""
    words = ["--noconftest", "-p", "scoring_install", f"--gauge={folder.resolve()}", f"--rootdir={HERE.parent}"]
    words += ["-o", f"pythonpath={HERE}", *options]
    return pytest.main([*words, *(str(HERE / name) for name in TESTS)])


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("make", "test"):
        sys.exit(__doc__)
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        sys.exit(test(Path(sys.argv[2]), sys.argv[3:]))
