"""gonogo init: write a project for a folder of images, in which `dvc repro` makes the gauges."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import positive
from gonogo.errors import GonogoError

if TYPE_CHECKING:
    from gonogo.calibration.threshold import CalibrateParams
    from gonogo.data.prepare.layouts import Category
    from gonogo.images.size import ImageSize

TUNE_MINUTES = 2.0  # for all categories together
LISTED = 5  # images of a category that cannot be read, by name
MOST_TUNED = 4  # categories; among more, none would have the time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Look at a folder of images, say what is in it, and write a project that `dvc repro` runs. The images stay "
        "where they are. Then the gauges' options are chosen as by `gonogo tune`, in at most two minutes in all: "
        "within the milliseconds of --verdict-ms or, without it, within 20 or 10 more than the common options take."
    )
    parser.add_argument("images", type=Path, metavar="IMAGES", help="a folder in one of the layouts of docs/data.md")
    parser.add_argument(
        "--into", type=Path, default=Path(), metavar="DIR", help="folder of the project; default: the current one"
    )
    parser.add_argument(
        "--unlabelled",
        choices=("good", "leave_out"),
        help="what images without a label file are, where others have one of LabelMe, Pascal VOC or YOLO",
    )
    parser.add_argument("--verdict-ms", type=positive, metavar="MS", help="the most that a verdict may take")
    parser.add_argument("--no-tune", action="store_true", help="keep the options that every project starts with")


def run(arguments: argparse.Namespace) -> Answer:
    """Write the project; the answer is what was found and what to do next."""
    from gonogo.calibration.threshold import CalibrateParams
    from gonogo.data.prepare.layouts import categories_in, outside
    from gonogo.data.prepare.prepare import prepare_params, shares_of
    from gonogo.data.unused import sentences
    from gonogo.params import build, read_yaml
    from gonogo.project.new_project import shape_of, starting_files, write_project

    params = read_yaml(starting_files() / "params.yaml")
    prepare = prepare_params(params["prepare"])
    calibrate = build(CalibrateParams, params["calibrate"], where="calibrate")
    found = categories_in(arguments.images, shares_of(prepare, params["seed"]), arguments.unlabelled)
    written = write_project(arguments.into, arguments.images, found)
    lines = [one.sentence for one in found]
    lines += [f"{one.name}: {said}" for one in found for said in sentences(one.unused)]
    lines += sentences(outside(arguments.images, found))
    lines += [_unreadable(one) for one in found if one.unreadable]
    for one in found:
        lines += _shape(one, shape_of(one, params["fit"]))
        lines += [hint] if (hint := _hint(one, calibrate)) else []
        lines += [_boxed(one)] if one.boxed else []
        lines += [f"{one.name}: {one.shots.sentence(one.n_calibrate, calibrate.confidence)}"] if one.shots else []
    lines.append(f"{len(written)} files written to {arguments.into}")
    if not arguments.no_tune and len(found) > MOST_TUNED:
        lines.append(f"{len(found)} categories keep the common options; gonogo tune CATEGORY chooses better ones")
    searchable = [one.name for one in found] if not arguments.no_tune and len(found) <= MOST_TUNED else []
    searches = _tuned(arguments.into, searchable, arguments.verdict_ms)
    lines += [line for search in searches.values() for line in search["sentences"]]
    lines.append("next:")
    lines += [f"  cd {arguments.into}"] if str(arguments.into) != "." else []
    lines += ["  dvc repro", "  git add --all && git commit"]
    report: dict[str, Any] = {
        "ok": True,
        "project": str(arguments.into),
        "categories": [asdict(one) | {"image_size": shape_of(one, params["fit"]).written} for one in found],
        "written": [str(name) for name in written],
        "searches": searches,
    }
    return Answer(report, "\n".join(lines))


def _tuned(project: Path, categories: list[str], verdict_ms: float | None) -> dict[str, dict[str, Any]]:
    """What the short search found for each category, which params.yaml then has; or why it has the common options."""
    from gonogo.cli.commands.tune import tuned

    found: dict[str, dict[str, Any]] = {}
    for name in categories:
        try:
            found[name], _ = tuned(
                project, name, verdict_ms=verdict_ms, minutes=TUNE_MINUTES / len(categories), write=True
            )
        except GonogoError as error:  # the project is whole without it
            found[name] = {"sentences": [f"{name} keeps the common options, since no search was possible: {error}"]}
    return found


def _unreadable(one: "Category") -> str:
    """Which images cannot be read, and what to do before `dvc repro`."""
    from gonogo.text import listed

    n = len(one.unreadable)
    return (
        f"{one.name}: repair or remove {n} image{'s' if n > 1 else ''}, or do without by prepare.max_rejects: {n}; "
        f"{listed(one.unreadable, LISTED)}"
    )


def _shape(one: "Category", size: "ImageSize") -> list[str]:
    """What images are resized to, where that is not a square or they have several sizes."""
    if size.is_square and len(one.sizes) < 2:
        return []
    shape = f"the median shape of images of {len(one.sizes)} sizes" if len(one.sizes) > 1 else "the shape of its images"
    return [f"{one.name}: every image is resized to {size.height} x {size.width} pixels (height x width), {shape}"]


def _boxed(one: "Category") -> str:
    """How to learn from the labelled boxes, which a gauge of good parts does not use."""
    from gonogo.text import listed

    kinds = "1 class" if len(one.boxed) == 1 else f"{len(one.boxed)} classes"
    return (
        f"{one.name}: boxes of {kinds} are labelled ({listed(one.boxed, LISTED)}); prepare.task: boxes with "
        "fit.detector: centre_boxes finds each defect by its class, docs/boxes.md"
    )


def _hint(one: "Category", calibrate: "CalibrateParams") -> str:
    """What the good parts that calibrate can certify, if it is less than params.yaml asks for; empty otherwise."""
    from gonogo.calibration.threshold import certified_rate, groups_needed

    n = one.n_calibrate
    needed = groups_needed(calibrate.false_alarm_rate, calibrate.confidence)
    if n >= needed:
        return ""
    bound = f"at most {certified_rate(n, 1, calibrate.confidence):.1%} false alarms" if n else "nothing"
    return (
        f"{one.name}: about {n} good parts will calibrate, which certifies {bound}; {calibrate.false_alarm_rate:.0%} "
        f"needs {needed}. More good images help most; calibrate.method: cross gives an estimate from all of them"
    )
