"""gonogo explain: the verdict on one image, its regions and boxes, the highest cells of its map, and good patches."""

import argparse
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import GAUGES, add_trust, count
from gonogo.errors import DataError, MissingExtraError
from gonogo.text import printable

if TYPE_CHECKING:
    import numpy as np

    from gonogo.inference.attribution import Attribution
    from gonogo.inference.good_patches import Box, GoodPatch
    from gonogo.inference.scorer import Scorer, Verdict
    from gonogo.line.explain import Explanation
    from gonogo.line.picture import Pair


METHODS = ("hirescam", "gradcam", "gradcam++")  # as in `gonogo.model.attribution.cams`, which imports torch
NOT_APART = {
    "boxes": "it is that of the best box, which is listed where it reaches the threshold",
    "image": "the detector judges the image as a whole",
    "bundle": "the bundle was written by an older gonogo and lacks the patch scores; export it again",
    "score": "it does not follow from the patch scores alone",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Explain the verdict on one image: its regions and boxes, the highest cells of its map, the good patches "
        "nearest to them, how rare its score is among good parts, and what is certified of the threshold."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help=GAUGES)
    parser.add_argument("image", type=Path, metavar="IMAGE")
    add_trust(parser)
    parser.add_argument(
        "--cells", type=count, default=16, metavar="N", help="number of cells along the longer side of the map; 16"
    )
    parser.add_argument("--top", type=count, default=5, metavar="N", help="number of cells to list; 5")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="the fitted model, in a project models/CATEGORY: tell which features the score is made of, and where it "
        "reacts; needs the pipeline's packages",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default=METHODS[0],
        help="how to find where the score reacts, with --model; the default finds masked defects best, see "
        "docs/attribution.md",
    )
    parser.add_argument("--reaction", type=Path, metavar="FILE", help="write a PNG of that, with --model")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="write a PNG of the image, its map, and its highest places beside their nearest good patches",
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Explain the verdict on one image.

    Raises:
        ImageError: it cannot be read.
        DataError: a picture is to be drawn, and the image belongs to no category of the set of bundles.
        IntegrityError: the bundle cannot be trusted.
    """
    from gonogo.images.reading import read_image
    from gonogo.inference.gauges import open_gauges
    from gonogo.line.explain import explain
    from gonogo.line.picture import write_picture

    gauges = open_gauges(arguments.bundle, trust=arguments.trust)
    pixels = read_image(arguments.image)
    selection = gauges.select(pixels)
    scorer = selection.scorer
    if scorer is None:
        return _unknown(arguments, selection.row)
    explanation = explain(scorer, pixels, n_cells=arguments.cells, top=arguments.top)
    if arguments.picture is not None:
        write_picture(arguments.picture, arguments.image.name, pixels, explanation.verdict, explanation.places)
    lines = [] if gauges.is_one else [f"{scorer.category}: at {selection.row['relative_distance']:.3g} times its limit"]
    lines += _lines(arguments.image, scorer, explanation)
    report = _report(arguments.image, scorer, selection.row, explanation)
    if arguments.model is not None:
        of_model, more = _of_model(arguments, scorer, pixels)
        report, lines = report | of_model, lines + more
    return Answer(report, "\n".join(lines))


def _of_model(
    arguments: argparse.Namespace, scorer: "Scorer", pixels: "np.ndarray"
) -> tuple[dict[str, Any], list[str]]:
    """What the fitted model of a bundle tells beyond it: the features of the score, and where it reacts.

    Raises:
        DataError: the model is another one than the bundle's.
        ConfigError: the detector has no network of convolutions to look into.
        IntegrityError: the model is damaged.
        MissingExtraError: the packages that fit a model are not installed.
    """
    import numpy as np

    from gonogo.images.colours import map_colours
    from gonogo.images.reading import write_png

    try:
        from gonogo.model.attribution.cams import cam
        from gonogo.model.attribution.features import attribute_features
        from gonogo.model.saved import load_model
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"--model needs what fitted it ({error}); pip install 'gonogo[pipeline]'") from error

    model = load_model(arguments.model)
    for key in ("category", "data_fingerprint", "detector"):
        if model.manifest[key] != scorer.manifest[key]:
            raise DataError(f"{arguments.model} is another model than that of the bundle: {key} differs")
    found = attribute_features(model.inspector, pixels)
    report: dict[str, Any] = {"features": None}
    lines = []
    if found is not None:
        groups = found.groups()
        report["features"] = {
            "kind": found.kind,
            "base": found.base,
            "remainder": found.remainder,
            "error": found.error,
            "groups": [vars(group) for group in groups],
        }
        lines.append(f"by {found.kind}: base {found.base:.6g}, not of any {found.kind} {found.remainder:.6g}")
        for group in sorted(groups, key=lambda group: -group.value)[: arguments.top]:
            lines.append(f"  {group.value:+.6g} {group.layer}, {group.first} to {group.last}")
    else:
        lines.append("the score is a trained network's own, and no sum of features")
    if model.inspector.detector.backbones():
        reaction = cam(model.inspector, pixels, arguments.method)
        y, x = (int(at) for at in np.unravel_index(reaction.argmax(), reaction.shape))
        report["reaction"] = {"method": arguments.method, "at": [x, y]}
        lines.append(f"{arguments.method}: the score reacts most at ({x}, {y})")
        if arguments.reaction is not None:
            half = max(0.5 * float(reaction.max()), 1e-30)  # the middle of the colours
            write_png(arguments.reaction, pixels // 2 + map_colours(reaction, half) // 2)
    return report, lines


def _unknown(arguments: argparse.Namespace, row: Mapping[str, Any]) -> Answer:
    """The answer for an image that belongs to no category of a set of bundles."""
    from gonogo.inference.scorer import UNKNOWN

    if arguments.picture is not None:
        raise DataError(f"{arguments.image} belongs to no category of the set; without a verdict there is no picture")
    return Answer(
        {"ok": True, "file": str(arguments.image), "verdict": UNKNOWN, **row},
        f"{printable(str(arguments.image))}: {UNKNOWN}, it belongs to no category of the set; the nearest is "
        f"{row['nearest_category']}, at {row['relative_distance']:.3g} times its limit",
    )


def _report(image: Path, scorer: "Scorer", row: Mapping[str, Any], explanation: "Explanation") -> dict[str, Any]:
    return {
        "ok": True,
        "file": str(image),
        **row,
        "detector": scorer.manifest["detector"]["name"],
        **explanation.verdict.row(),
        "cells": [
            {"box": cell.box, "peak": cell.peak, "nearest": None if pair is None else _patch_report(pair.good)}
            for cell, pair in zip_longest(explanation.cells, explanation.pairs)
        ],
        "places": [
            {"box": place.box, "peak": place.peak, "nearest": _patch_report(place.good)} for place in explanation.places
        ],
        "attribution": None if explanation.attribution is None else explanation.attribution.to_dict(),
        "threshold_record": scorer.record.sentence,
        **({} if scorer.box_model is None else {"box_threshold_record": scorer.box_model.record.sentence}),
    }


def _patch_report(good: "GoodPatch") -> dict[str, Any]:
    return {"entry": good.entry, "image": good.image, "box": good.box, "turned": good.turned}


def _lines(image: Path, scorer: "Scorer", explanation: "Explanation") -> list[str]:
    verdict = explanation.verdict
    pairs: Sequence[Pair] = explanation.pairs or explanation.places
    sign = ">=" if verdict.anomalous else "<"
    lines = [
        f"{printable(str(image))}: {verdict.label}, score {verdict.score:.6g} {sign} threshold {verdict.threshold:.6g}",
        f"p-value {verdict.p_value:.3g}: the share of good parts that score at least as high",
    ]
    if verdict.uncertain:
        lines.append("uncertain: calibrated on other good parts, the gauge could have given the other verdict")
    if verdict.probability is not None:
        lines.append(f"defective with {verdict.probability:.1%}, at the line's rate of defects")
    if not verdict.boxes_decide:
        lines += _region_lines(verdict)
    lines += _found_lines(verdict)
    for number, cell in enumerate(explanation.cells):
        lines.append(f"cell {_box_text(cell.box)}: {cell.peak:.6g}{_nearest_text(pairs[number]) if pairs else ''}")
    if pairs and not explanation.cells:
        lines.append(f"the image as a whole: {pairs[0].peak:.6g}{_nearest_text(pairs[0])}")
    lines += _attribution_lines(scorer, explanation.attribution)
    if not pairs:
        lines.append("no good patches to compare with: the detector has no memory bank, or the bundle is an old one")
    lines.append(f"threshold: {scorer.record.sentence}")
    if scorer.box_model is not None:
        lines.append(f"threshold of the boxes: {scorer.box_model.record.sentence}")
    return lines


def _region_lines(verdict: "Verdict") -> list[str]:
    return [
        f"region {number}: {region.box[2]} x {region.box[3]} at ({region.box[0]}, {region.box[1]}), "
        f"{region.area} pixels, peak {region.peak:.6g}, mean {region.mean:.6g}"
        for number, region in enumerate(verdict.regions, start=1)
    ] or ["no region"]


def _found_lines(verdict: "Verdict") -> list[str]:
    """The boxes that were found, the best first, and whose they are where they stand beside the gauge."""
    from gonogo.line.outputs import box_text

    if verdict.boxes is None:
        return []
    lines = [f"box {number}: {box_text(box)}, score {box.score:.6g}" for number, box in enumerate(verdict.boxes, 1)]
    if (model := verdict.box_model) is None:
        return lines or ["no box"]
    whose = f"of {model.category} at or above its threshold {model.threshold:.6g}"
    return [f"boxes {whose}, which change no verdict:", *lines] if lines else [f"no box {whose}"]


def _attribution_lines(scorer: "Scorer", attribution: "Attribution | None") -> list[str]:
    """What the score is made of: each contribution, the highest first; those of 0 are left out."""
    from gonogo.line.explain import why_whole

    if attribution is None:
        return [f"the score is not taken apart: {NOT_APART[why_whole(scorer)]}"]
    base = f"{attribution.base:.6g}, a usual good part" if attribution.base else "0"
    lines = [f"the score {attribution.score:.6g} is made of {base}, and of"]
    for each in sorted(attribution.contributions, key=lambda each: -each.value):
        if each.value > 0:
            lines.append(
                f"  {each.value:+.6g} {_place_text(each.region, each.square)}, whose highest is {each.highest:.6g}"
            )
    return lines


def _place_text(region: int | None, square: "tuple[int, int] | None") -> str:
    """The name of a player of an attribution."""
    if region is not None:
        return f"region {region + 1}"
    return "elsewhere" if square is None else f"row {square[0] + 1}, column {square[1] + 1} of the nine squares"


def _box_text(box: "Box") -> str:
    x, y, width, height = box
    return f"{width} x {height} at ({x}, {y})"


def _nearest_text(pair: "Pair") -> str:
    turned = f", turned by {pair.good.turned:g} degrees" if pair.good.turned else ""
    return f"; nearest good patch: {_box_text(pair.good.box)} of {printable(pair.good.image)}{turned}"
