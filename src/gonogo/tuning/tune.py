"""The search of one category: its good parts, its journal, and what is said and written of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gonogo.calibration.regions import RegionParams
from gonogo.compute.progress import Progress
from gonogo.compute.versions import versions
from gonogo.detectors.options import PatchCoreOptions, side_multiple
from gonogo.errors import ConfigError
from gonogo.evaluation.speed.bench import BenchParams, cpu_name
from gonogo.export.graph import ExportParams
from gonogo.files import code_fingerprint, write_json
from gonogo.images.dataset import Dataset
from gonogo.model.fit_params import FitParams, fit_section
from gonogo.params import Params, Section
from gonogo.tuning.good_parts import GoodParts
from gonogo.tuning.journal import Journal
from gonogo.tuning.latency import verdict_ms
from gonogo.tuning.measurements import Latency, Measurements
from gonogo.tuning.planted import KINDS
from gonogo.tuning.search import FURTHER_MS, Budget, Found, Search, Tried
from gonogo.tuning.space import Shape, changed, sentence

N_SHOWN = 5  # candidates over the budget that are listed in the text; the file has all
RESULTS, JOURNAL = "{category}.tune.json", "{category}.tune.jsonl"  # in the folder of searches


@dataclass(frozen=True)
class Tuning:
    """The search of a category, ready to run.

    Attributes:
        category: its name.
        params: of the category.
        dataset: as prepare wrote it.
        seed: of folds, planted defects, fits and bootstrap.
    """

    category: str
    params: Params
    dataset: Dataset
    seed: int

    def options(self) -> tuple[PatchCoreOptions, FitParams]:
        """The options in force.

        Raises:
            ConfigError: they are those of a gauge whose options are not searched.
        """
        chosen = fit_section(self.params)
        where = f"{self.params.path}: fit of {self.category}"
        if chosen.name != "patchcore":
            raise ConfigError(
                f"{where}: the detector is {chosen.name}; options are searched for patchcore alone. Set fit.detector "
                "to patchcore for this category"
            )
        for name in ("tiling", "finetune", "preprocess"):
            if getattr(chosen.values, name) is not None:
                raise ConfigError(
                    f"{where}: fit.{name} is set; a search cannot judge gauges with it. Set it to null for the search"
                )
        assert isinstance(chosen.made, PatchCoreOptions)
        return chosen.made, chosen.values

    def run(
        self, folder: Path, budget: Budget, *, brief: bool, progress: Progress, latency: Latency | None = None
    ) -> dict[str, Any]:
        """Search, or go on with a search that was killed; what was found is written to `folder` and returned.

        Args:
            folder: of the searches.
            budget: of a verdict and of the search.
            brief: as in `Search`.
            progress: called after each measurement.
            latency: milliseconds of a verdict by options; None: those of the exported graph on this machine.

        Raises:
            ConfigError: the options in force are not those of a plain PatchCore, or no gauge keeps within the budget.
            DataError: too few good parts have the role fit.
            PipelineError: another process searches this category.
        """
        base, values = self.options()
        regions, export = self.params.values("regions", RegionParams), self.params.values("export", ExportParams)
        threads = self.params.values("bench", BenchParams).threads
        parts = GoodParts.of(self.dataset, regions, rotations=values.rotations, seed=self.seed)
        identity = {
            "data": self.dataset.fingerprint_of(parts.dataset.records),
            "params": {"seed": self.seed, "rotations": values.rotations, "regions": asdict(regions)},
            "machine": {"cpu": cpu_name(), "threads": threads, "opset": export.opset},
            "code": code_fingerprint(),
            "versions": versions("torch", "timm", "onnxruntime", "numpy"),
        }
        images = [self.dataset.path_of(record) for record in parts.judged(0)]

        def measured_ms(options: PatchCoreOptions) -> float:
            return verdict_ms(options, parts.views, images, regions, export, threads=threads)

        journal = Journal(folder / JOURNAL.format(category=self.category), identity)
        try:
            measured = Measurements(journal, parts, latency or measured_ms)
            shape = Shape(parts.aspect, side_multiple(base.backbone))
            search = Search(base, budget, measured, seed=self.seed, shape=shape, brief=brief, progress=progress)
            found = search.run()
        finally:
            journal.close()
        results = results_of(self, found, parts, cpu=cpu_name())
        write_json(folder / RESULTS.format(category=self.category), results)
        return results


def results_of(tuning: Tuning, found: Found, parts: GoodParts, *, cpu: str) -> dict[str, Any]:
    """What the report and the command show of a search, as JSON values."""
    further = found.further()
    return {
        "category": tuning.category,
        "criterion": "probability that a planted defect scores above another good part",
        "kinds": list(KINDS),
        "verdict_ms": found.allowed_ms,
        "seconds": round(found.seconds, 1),
        "complete": found.complete,
        "seed": tuning.seed,
        "cpu": cpu,
        "n_parts": len({record.group_id for record in parts.dataset.records}),
        "value": asdict(found.value),
        "current": _row(found.base, found),
        "chosen": _row(found.best, found) | {"changes": changed(found.chosen, found.options)},
        "smoothing": [list(pair) for pair in found.smoothing],
        "front": [_row(one, found) for one in found.front()],
        "further_ms": FURTHER_MS,
        "further": None if further is None else _row(further, found),
        "tried": [_row(one, found) for one in found.tried],
    }


def _row(one: Tried, found: Found) -> dict[str, Any]:
    """A candidate: what it changes, its latency and criterion, and what became of it."""
    gain = one.gain
    return {
        "changes": changed(one.options, found.options),
        "ms": one.ms,
        "folds": one.folds,
        "value": None if gain is None else found.value.value + gain.value,
        "gain": None if gain is None else gain.value,
        "error": None if gain is None else gain.error,
        "fate": one.fate,
    }


def summary(results: Section) -> list[str]:
    """What was tried, what was chosen, and what more time would buy, in sentences."""
    tried, chosen, current = results["tried"], results["chosen"], results["current"]
    judged = [row for row in tried if row["folds"]]
    over = [row for row in tried if row["ms"] is not None and row["ms"] > results["verdict_ms"]]
    n_refused = sum(row["ms"] is None for row in tried)
    lines = [
        f"{results['category']}: {len(tried)} candidates in {results['seconds']:.0f} s on {results['n_parts']} good "
        f"parts, {len(judged)} of them judged; {len(over)} take more than {results['verdict_ms']:g} ms"
        + (f", {n_refused} are impossible" if n_refused else "")
        + ("" if results["complete"] else "; the minutes were spent before the search was complete"),
        f"  in force: {_figures(current)}",
        f"  chosen:   {_figures(chosen)}: {sentence(chosen['changes'])}",
    ]
    quickest = sorted(over, key=lambda row: float(row["ms"]))
    lines += [f"  over:     {row['ms']:.1f} ms: {sentence(row['changes'])}" for row in quickest[:N_SHOWN]]
    if len(over) > N_SHOWN:
        lines.append(f"  over:     {len(over) - N_SHOWN} more, which take longer")
    further = results["further"]
    if further is None:
        lines.append(f"  {results['further_ms']:g} ms more would buy nothing that was tried")
    else:
        better = further["gain"] - chosen["gain"]
        lines.append(
            f"  {results['further_ms']:g} ms more would buy {better:+.3f}: {_figures(further)}: "
            f"{sentence(further['changes'])}"
        )
    return lines


def _figures(row: Section) -> str:
    return f"{row['value']:.3f} (difference {row['gain']:+.3f} ± {row['error']:.3f}), {row['ms']:.1f} ms"
