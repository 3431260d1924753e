"""Do the stated false-alarm rates hold? Each way to set a threshold, on simulated draws and splits of real parts.

    python benchmarks/stated_rates.py --data FOLDER [--splits 40]

A split deals the good parts anew to fit, calibrate and test; the gauge is the detector pca, whose fit takes a moment.
What was stated is held against the share of good test parts that are rejected or, in a simulation, of all there could
be. Rows that are measured again replace the old ones in benchmarks/stated_rates.json; `make readme` then writes the
table of docs/calibration.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from gonogo.calibration.certificate import Method, ThresholdRecord
from gonogo.calibration.regions import RegionParams
from gonogo.calibration.threshold import CalibrateParams, threshold_of
from gonogo.detectors.options import PCAOptions
from gonogo.detectors.pca import PCAReconstruction
from gonogo.errors import DataError
from gonogo.images.dataset import Dataset, Record
from gonogo.model.cross_fit import cross_inspect, folds_of
from gonogo.model.fit_images import FitImages
from gonogo.model.inspection import inspect_records
from gonogo.model.inspector import Inspector
from gonogo.params import build, read_yaml
from parts import prepare_part
from results import ROOT, Row, add_row, origin

RESULTS = ROOT / "benchmarks" / "stated_rates.json"
METHODS: tuple[Method, ...] = ("holdout", "cross", "tail")
SHARES = {"fit": 0.3, "calibrate": 0.45}  # of the good parts; the rest is test
N_DRAWS, DIMS = 1000, 20
DISTRIBUTIONS = {"normal": stats.norm(), "exponential": stats.expon(), "Student's t, 3": stats.t(3)}
# Data sets: where they come from, and the options of the detector.
REAL: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "digit 0": ({"source": "digits", "normal_class": 0}, {"image_size": 8, "explained_variance": 0.9}),
    "brick": ({"source": "surfaces", "photograph": "brick"}, {}),
    "grass": ({"source": "surfaces", "photograph": "grass"}, {}),
    "hazelnut": ({"source": "mvtec_ad", "folder": "hazelnut_toy", "name": "hazelnut"}, {}),
    "cookie": ({"source": "folder", "folder": "cookie/cookie"}, {}),
}


@dataclass(frozen=True)
class Trial:
    """One threshold: the rate that was stated of it, and the one that came. `expected`: how often it would exceed that.

    By exchangeability alone, the number of rejected test parts has a beta-binomial distribution for the method holdout.
    """

    stated: float
    measured: float
    n_groups: int
    expected: float | None


def params_of(method: Method) -> CalibrateParams:
    """The project's calibrate section, with this method."""
    section = read_yaml(ROOT / "params.yaml")["calibrate"]
    return build(CalibrateParams, section | {"method": method}, where="params.yaml: calibrate")


def stated(record: ThresholdRecord) -> float:
    """The rate that the record speaks of; for a model, the one that was wanted."""
    rate = record.certified_false_alarm_rate
    return record.target_false_alarm_rate if rate is None else rate


def simulated(name: str, method: Method, n: int, *, n_draws: int) -> Iterator[Trial]:
    """Thresholds from `n` drawn good scores, held against the true rate of all there could be.

    holdout and tail see scores of a distribution; cross fits gauges: the distance to the mean of normal parts in 20
    dimensions, whose true rate follows from the noncentral chi-squared distribution.
    """
    rng = np.random.default_rng(17)
    params, groups = params_of(method), [str(number) for number in range(n)]
    for _ in range(n_draws):
        if method == "cross":
            parts = rng.normal(size=(n, DIMS))
            scores = np.empty(n)
            for fold in np.array_split(rng.permutation(n), params.folds):
                others = np.delete(parts, fold, axis=0)
                scores[fold] = np.linalg.norm(parts[fold] - others.mean(axis=0), axis=1)
            record = threshold_of(scores, groups, params, seed=17)
            centre = float((parts.mean(axis=0) ** 2).sum())
            true = float(stats.ncx2.sf(record.threshold**2, DIMS, centre))
        else:
            scores = DISTRIBUTIONS[name].rvs(size=n, random_state=rng)
            record = threshold_of(scores, groups, params, seed=17)
            true = float(DISTRIBUTIONS[name].sf(record.threshold))
        yield Trial(stated(record), true, n, None)


def good_manifest(name: str, data: Path, folder: Path) -> Dataset:
    """The good images of a data set, prepared in `folder`."""
    prepared = prepare_part(name, REAL[name][0], data, folder, progress=lambda *_: None)
    return replace(prepared.dataset, records=tuple(r for r in prepared.dataset.records if r.label == 0))


def dealt(records: Sequence[Record], seed: int) -> dict[str, list[Record]]:
    """The records of fit, calibrate and test, by whole parts, in another order for each seed."""
    parts = sorted({record.group_id for record in records})
    order = np.random.default_rng(seed).permutation(len(parts))
    first, second = round(SHARES["fit"] * len(parts)), round(sum(SHARES.values()) * len(parts))
    role_of = {
        parts[part]: "fit" if place < first else "calibrate" if place < second else "test"
        for place, part in enumerate(order)
    }
    return {role: [r for r in records if role_of[r.group_id] == role] for role in ("fit", "calibrate", "test")}


def split(dataset: Dataset, options: Mapping[str, Any], method: Method, seed: int) -> Trial:
    """One split: fit, calibrate by the method, and count the rejected test images."""
    regions = build(RegionParams, read_yaml(ROOT / "params.yaml")["regions"], where="params.yaml: regions")
    roles, params = dealt(dataset.records, seed), params_of(method)

    def fitted(records: Sequence[Record], _number: int = 0) -> Inspector:
        inspector = Inspector(PCAReconstruction(PCAOptions(**options)), regions.inside)
        inspector.detector.fit(FitImages(inspector, dataset, records), seed=17)
        return inspector

    if method == "cross":
        records = roles["fit"] + roles["calibrate"]
        folds = folds_of(records, params.folds, seed=seed)
        gauge = fitted(records)
        good, _ = cross_inspect(fitted, dataset, folds, regions, localises=True)
    else:
        gauge = fitted(roles["fit"])
        good = inspect_records(gauge, dataset, roles["calibrate"])
    record = threshold_of(good.scores, good.groups, params, seed=17)
    scores = inspect_records(gauge, dataset, roles["test"]).scores.astype(np.float64)
    n_test, expected = len(scores), None
    if method == "holdout":
        draw = stats.betabinom(n_test, record.rank, record.n_groups - record.rank + 1)
        expected = float(draw.sf(np.floor(stated(record) * n_test + 1e-9)))
    return Trial(stated(record), float((scores >= record.threshold).mean()), record.n_groups, expected)


def splits(dataset: Dataset, options: Mapping[str, Any], method: Method, *, n: int) -> Iterator[Trial]:
    """So many splits, one after another."""
    for seed in range(n):
        yield split(dataset, options, method, seed)


def row(trials: Callable[[], Iterator[Trial]]) -> Row:
    """Means over the trials, and the share of them that exceeded what was stated; or why there is none."""
    try:
        found = list(trials())
    except DataError as error:
        return {"refused": str(error)}
    exceeded = [trial.measured > trial.stated + 1e-9 for trial in found]
    expected = [trial.expected for trial in found if trial.expected is not None]
    figures = {
        "n_trials": len(found),
        "n_groups": round(float(np.mean([trial.n_groups for trial in found]))),
        "stated": float(np.mean([trial.stated for trial in found])),
        "measured": float(np.mean([trial.measured for trial in found])),
        "exceeded": float(np.mean(exceeded)),
    }
    return figures | ({"expected": float(np.mean(expected))} if expected else {})


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every row, print each when it is there, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where the parts' folders are")
    parser.add_argument("--splits", type=int, default=40, metavar="N", help="of each data set")
    parser.add_argument("--draws", type=int, default=N_DRAWS, metavar="N", help="of each simulation")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    about = origin(1, {name: version(name) for name in ("numpy", "scipy", "scikit-learn")})

    def add(data: str, method: Method, n: int | None, trials: Callable[[], Iterator[Trial]]) -> None:
        found = {"data": data, "method": method, "n": n, **row(trials), **about}
        add_row(arguments.out, found, key=("data", "method", "n"))
        print(data, method, {key: value for key, value in found.items() if key not in about}, flush=True)

    draws = {"holdout": arguments.draws, "tail": max(1, arguments.draws // 20)}  # a tail's bootstrap takes a second
    sizes: dict[Method, tuple[int, ...]] = {"holdout": (29, 100, 400), "tail": (400,)}
    for method, several in sizes.items():
        for name in DISTRIBUTIONS:
            for n in several:
                add(name, method, n, partial(simulated, name, method, n, n_draws=draws[method]))
    for n in (29, 100):
        add("distance to a mean", "cross", n, partial(simulated, "", "cross", n, n_draws=arguments.draws))
    for name, (_, options) in REAL.items():
        with tempfile.TemporaryDirectory() as folder:
            dataset = good_manifest(name, arguments.data, Path(folder))
            for method in METHODS:
                add(name, method, None, partial(splits, dataset, options, method, n=arguments.splits))
    return 0


if __name__ == "__main__":
    sys.exit(main())
