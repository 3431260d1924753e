"""gonogo reviews: write what people reviewed in the service as an archive, for gonogo accept and as a manifest."""

import argparse
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import add_json, add_store

LEFT_OUT = {
    "disputed": "on which the reviewers disagree",
    "contradictory": "of images that are settled once as good and once as a defect",
    "without image": "whose image was removed",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the actions."""
    parser.description = "Read the reviews in the store of gonogo serve, whether a service runs or not."
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    export = actions.add_parser(
        "export",
        help="write the settled reviews of a category, with their images, as a zip archive",
        description="Write the settled reviews of a category, with their images, as a zip archive for "
        "`gonogo accept --reviewed`. Unpacked, it is a data set with a manifest.",
    )
    export.add_argument("archive", type=Path, metavar="FILE.zip", help="the file to write")
    export.add_argument("--category", metavar="NAME", required=True, help="of the inspections")
    add_store(export)
    add_json(export, of_action=True)


def run(arguments: argparse.Namespace) -> Answer:
    """Write the archive.

    Raises:
        DataError: the folder or the database cannot be used.
    """
    from gonogo.store.reviewed import reviewed_images, write_archive
    from gonogo.store.store import Store

    store = Store(arguments.data, arguments.database)
    try:
        found = reviewed_images(store, arguments.category)
        write_archive(arguments.archive, store, found)
    finally:
        store.close()
    n_good = sum(image.label == "good" for image in found.images)
    lines = [f"{arguments.archive}: {n_good} good parts and {len(found.images) - n_good} defects"]
    lines += [f"left out: {count} inspections {LEFT_OUT[why]}" for why, count in found.left_out.items() if count]
    lines.append(f"to accept the good ones: gonogo accept --reviewed {arguments.archive} --category … --role calibrate")
    report = {"ok": True, "archive": str(arguments.archive), "good": n_good, "left_out": found.left_out}
    return Answer(report | {"defect": len(found.images) - n_good}, "\n".join(lines))
