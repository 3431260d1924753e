"""The arena: a person judges a case whose truth is known, and then sees what the gauge says of it.

Nothing that the browser gets before the answer depends on the truth but the picture itself: every picture is drawn
anew on a square of one size, in a file of one length, under a random id. A case of either kind comes with the same
chance. An answer never becomes a review.
"""

import asyncio
import io
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from PIL import Image, ImageOps

from gonogo.data.labels import regions_beside
from gonogo.data.names import GOOD, says
from gonogo.errors import DataError, ImageError
from gonogo.images.colours import LABELLED_BOX
from gonogo.images.draw_boxes import DrawnBox, enlarged, whole_steps, with_boxes
from gonogo.images.reading import SUFFIXES
from gonogo.images.tiff import TIFF_SUFFIXES
from gonogo.service.inspecting import Judgement, png_of
from gonogo.service.problems import Problem
from gonogo.service.security import Key
from gonogo.service.service import Service
from gonogo.service.settings import Settings
from gonogo.service.stored_image import stored_image
from gonogo.store.arena import POOL, Case
from gonogo.store.schema import Row
from gonogo.text import printable

LABELS = ("good", "defect")
SIDE, LENGTH = 960, 256 * 1024  # of every picture: pixels of its sides, and bytes of its file
QUALITIES = (92, 85, 75, 60, 40, 20)  # of JPEG, the first with which it fits; noise alone fits with the last
PAPER = (127, 127, 127)  # around a part that is not square
log = logging.getLogger("gonogo.service")


@dataclass(frozen=True)
class Confusion:
    """How often each label was given to parts of each truth."""

    good_as_good: int
    good_as_defect: int
    defect_as_good: int
    defect_as_defect: int

    @property
    def right(self) -> int:
        """How many labels were right."""
        return self.good_as_good + self.defect_as_defect

    @property
    def n(self) -> int:
        """How many parts there were."""
        return self.right + self.good_as_defect + self.defect_as_good


@dataclass(frozen=True)
class Standing:
    """A person's results: their own and the gauge's on the same cases, and how many were right in a row."""

    person: Confusion
    gauge: Confusion
    streak: int
    best_streak: int


def standing(results: Sequence[Row]) -> Standing:
    """The results of answered rounds, the last answer first, each with `truth`, `answer` and `gauge`."""
    right = [row["answer"] == row["truth"] for row in results]
    wrong_at = [-1, *(number for number, each in enumerate(right) if not each), len(right)]
    streaks = [after - before - 1 for before, after in pairwise(wrong_at)]
    return Standing(_confusion(results, "answer"), _confusion(results, "gauge"), streaks[0], max(streaks))


def folder_cases(settings: Settings) -> list[Case]:
    """The images of the settings' folder, which has a folder for each label: one that is named as good parts are.

    TIFF is among them where the service accepts it.
    """
    folder, suffixes = settings.arena, SUFFIXES if "TIFF" in settings.formats else SUFFIXES - TIFF_SUFFIXES
    if folder is None:
        return []
    return [
        Case("good" if says(label.name, GOOD) else "defect", file=path.relative_to(folder).as_posix())
        for label in sorted(folder.iterdir())
        if label.is_dir()
        for path in sorted(label.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]


async def open_round(service: Service, key: Key, *, expert: bool) -> Row | None:
    """The round that a person has before them, or a new one; None: there are no cases of both kinds left.

    Args:
        service: whose cases they are.
        key: of the person.
        expert: whether a new one is drawn from the cases that are nearest to the threshold.
    """
    arena = service.store.arena
    row = await asyncio.to_thread(arena.open_round, key.id)
    if row is None:
        pools = [await asyncio.to_thread(_cases, service, key, truth, expert=expert) for truth in LABELS]
        if not all(pools):
            return None
        case = secrets.choice(secrets.choice(pools))
        row = {"id": secrets.token_hex(16), "at": time.time(), "key": key.id, "player": key.name, "expert": expert}
        row |= vars(case) | {"answer": None}
        await asyncio.to_thread(arena.add, row)
    return row


async def round_of(service: Service, identifier: str, key: Key) -> Row:
    """A round of a person.

    Raises:
        Problem: there is none.
    """
    row = await asyncio.to_thread(service.store.arena.round, identifier, key=key.id)
    if row is None:
        raise Problem("not-found", "you have no such round in the arena")
    return row


async def answer_round(service: Service, row: Row, key: Key, answer: str) -> None:
    """Store a person's answer to a round, with what the gauge in use says of the case; a second answer changes nothing.

    Raises:
        Problem: the image is there no more, or the gauge cannot score it now.
    """
    if row["answer"] is not None:
        return
    data = await case_file(service, row)
    with service.runner.reserve_slot(key):
        judgement: Judgement = await service.runner.judge(data, key)
    verdict = judgement.verdict
    values = {
        "answer": answer,
        "answered": time.time(),
        "gauge": "defect" if verdict.label == "reject" else "good",
        "score": verdict.score,
        "threshold": verdict.threshold,
        "bundle": judgement.scorer.fingerprint,
    }
    await asyncio.to_thread(service.store.arena.answer, row["id"], values)


async def case_file(service: Service, row: Row) -> bytes:
    """The bytes of a round's image. An open round whose image is gone is removed, so that the next one is another.

    Raises:
        Problem: the image is there no more.
    """
    try:
        return await _case_file(service, row)
    except Problem:
        await asyncio.to_thread(service.store.arena.remove_open, row["key"])
        raise


async def _case_file(service: Service, row: Row) -> bytes:
    if row["file"] is None:
        inspection = await asyncio.to_thread(service.store.inspection, row["inspection"])
        if inspection is None:
            raise Problem("image-expired", "the part of this case is kept no more; go on with another one")
        return await stored_image(service.store, inspection)
    assert service.settings.arena is not None
    try:
        return await asyncio.to_thread((service.settings.arena / row["file"]).read_bytes)
    except FileNotFoundError as error:
        raise Problem("image-expired", "the image of this case is there no more; go on with another one") from error


async def answered_picture(service: Service, row: Row, key: Key) -> bytes:
    """A PNG of the part of an answered round, with what is labelled and what the gauge found.

    The map and the boxes of the gauge are drawn as long as the bundle that judged the part is in use.

    Raises:
        Problem: the image is there no more, or there is no memory for it now.
    """
    data = await case_file(service, row)
    labelled = await asyncio.to_thread(true_boxes, service, row)
    if row["bundle"] != service.gauge.scorer.fingerprint:
        return await service.runner.pictured(data, key, partial(_labelled_picture, labelled=labelled))
    with service.runner.reserve_slot(key):
        return await service.runner.draw(data, key, "overlay", bundle=row["bundle"], labelled=labelled, side=SIDE)


def _labelled_picture(pixels: np.ndarray, labelled: Sequence[DrawnBox]) -> bytes:
    factor = whole_steps(pixels, SIDE)
    return png_of(with_boxes(enlarged(pixels, factor), labelled, scale=factor))


def true_boxes(service: Service, row: Row) -> list[DrawnBox]:
    """The labelled boxes of a round's case, in green and with their class below, for after the answer.

    Those of an image of the folder stand in a label file beside it. That of a reviewed part is the box that its case
    has, by the type that the reviewers named. What cannot be read is none; the log says why.
    """
    if row["truth"] != "defect":
        return []
    if row["file"] is None:
        case = service.store.cases.of_inspection(row["inspection"])
        if case is None or case["removed"] is not None or (case["region"] or {}).get("label") is None:
            return []
        x, y, width, height = case["region"]["box"]
        return [DrawnBox((x, y, x + width, y + height), printable(case["defect_type"]), LABELLED_BOX, below=True)]
    assert service.settings.arena is not None
    try:
        regions = regions_beside(service.settings.arena / row["file"], service.settings.arena)
    except (DataError, ImageError, OSError) as error:
        log.warning("the labels of %s are not shown: %s", printable(row["file"]), printable(str(error)))
        return []
    return [DrawnBox(one.box, printable(one.label), LABELLED_BOX, below=True) for one in regions]


def hidden_picture(pixels: np.ndarray) -> bytes:
    """Pixels (h, w, 3) uint8 as a JPEG file of SIDE x SIDE pixels and LENGTH bytes, whatever they show."""
    picture = ImageOps.pad(Image.fromarray(pixels), (SIDE, SIDE), color=PAPER)
    for quality in QUALITIES:
        file = io.BytesIO()
        picture.save(file, format="JPEG", quality=quality)
        if file.tell() <= LENGTH:
            break
    return file.getvalue().ljust(LENGTH, b"\0")  # decoders stop at the mark of the end


def _cases(service: Service, key: Key, truth: str, *, expert: bool) -> list[Case]:
    """Cases of this truth for a round; with `expert`, those nearest to the threshold."""
    arena, category = service.store.arena, service.gauge.scorer.category
    found = arena.cases(category, key=key.id, truth=truth, expert=expert)
    seen = arena.seen_files(key.id)
    files = [case for case in folder_cases(service.settings) if case.truth == truth and case.file not in seen]
    if expert and files:  # how near they are is known of those that somebody was shown
        distances = arena.distances([case.file for case in files if case.file is not None])
        files.sort(key=lambda case: distances.get(case.file or "", np.inf))
        files = files[:POOL]
    return found + files


def _confusion(results: Sequence[Row], who: str) -> Confusion:
    counts = [sum((row["truth"], row[who]) == (truth, said) for row in results) for truth in LABELS for said in LABELS]
    return Confusion(*counts)
