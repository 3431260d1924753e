"""gonogo tune: choose a category's options by its good parts alone, within the milliseconds of a verdict."""

import argparse
from pathlib import Path
from typing import Any

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import positive
from gonogo.cli.names import PARAMS, known_categories

VERDICT_MS, MINUTES = 20.0, 10.0
BRIEF_MINUTES = 4.0  # fewer of them: layers, banks and aggregation stay as they are


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Choose image size, layers, whitening, bank, aggregation and smoothing of PatchCore by how well gauges tell "
        "good parts from copies with planted defects. Only images with the role fit are looked at, so that the "
        "certificate from calibrate images and the figures of the test images stay valid. A search that was killed "
        "goes on when the command is called again. Nothing in params.yaml changes without --write."
    )
    parser.add_argument("category", metavar="CATEGORY", help="of params.yaml")
    parser.add_argument(
        "--verdict-ms",
        type=positive,
        default=VERDICT_MS,
        metavar="MS",
        help="the most that a verdict may take; 20",
    )
    parser.add_argument("--minutes", type=positive, default=MINUTES, metavar="MIN", help="of measuring in all; 10")
    parser.add_argument("--seed", type=int, metavar="N", help="of folds and planted defects; that of params.yaml")
    parser.add_argument("--write", action="store_true", help="write the choice into params.yaml, as an override")


def run(arguments: argparse.Namespace) -> Answer:
    """Search; the answer is what was tried, what was chosen, and what more milliseconds would buy."""
    known_categories([arguments.category], command="gonogo tune")
    results, made = tuned(
        Path(),
        arguments.category,
        verdict_ms=arguments.verdict_ms,
        minutes=arguments.minutes,
        seed=arguments.seed,
        write=arguments.write,
    )
    lines = list(results.pop("sentences"))
    lines += [f"  {'written' if arguments.write else 'to write'}: {change}" for change in made]
    if made and not arguments.write:
        lines.append("  --write writes them; then `dvc repro` fits, certifies and measures the gauge")
    report: dict[str, Any] = {"ok": True, "written": arguments.write, "changes": [one.to_dict() for one in made]}
    return Answer(report | {"search": results}, "\n".join(lines))


def tuned(
    project: Path, category: str, *, verdict_ms: float | None, minutes: float, seed: int | None = None, write: bool
) -> tuple[dict[str, Any], list[Any]]:
    """Prepare the category of the project in the folder `project`, search, and write the choice if `write` is True.

    With no `verdict_ms`, the options in force can always be chosen: see `Budget`.

    Returns:
        The results, with their `sentences`; and the changes of params.yaml.
    """
    from gonogo.compute.progress import ProgressLine
    from gonogo.images.dataset import read_dataset
    from gonogo.params import Params, project_path
    from gonogo.project.dvc import run_dvc
    from gonogo.project.recipes import Recipe, changes, write_changes
    from gonogo.tuning.search import Budget
    from gonogo.tuning.tune import Tuning, summary

    run_dvc("--cd", str(project), "repro", f"prepare@{category}")
    params = Params(project / PARAMS, category)
    dataset = read_dataset(project_path("prepared", category, root=project), project / params.raw)
    tuning = Tuning(category, params, dataset, params.seed if seed is None else seed)
    folder = project_path("searches", root=project)
    budget = Budget(verdict_ms, 60 * minutes)
    results = tuning.run(folder, budget, brief=minutes < BRIEF_MINUTES, progress=ProgressLine())
    recipe = Recipe("tune", "the choice of gonogo tune", {"fit": results["chosen"]["changes"]})
    made = changes(project / PARAMS, recipe, category)
    if write:
        write_changes(project / PARAMS, made)
    return results | {"sentences": summary(results)}, made
