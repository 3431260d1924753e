"""Images to be accepted as good, checked before anything is written: either all of them are accepted, or none is."""

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gonogo.data.prepare.accepted import Acceptance, AcceptedRole, copy_name
from gonogo.data.prepare.examine import content_of
from gonogo.data.prepare.prepare import group_in
from gonogo.errors import ConfigError, DataError, ImageError
from gonogo.files import sha256_of
from gonogo.images.dataset import RAW, Dataset, Record, located
from gonogo.images.reading import decode, file_bytes, read_image


@dataclass(frozen=True)
class Candidate:
    """An image file that can be read.

    Attributes:
        file: the image file.
        name: path of the copy that an acceptance makes, below the raw folder.
        sha256: of the file's bytes.
        content: of its pixels, as in `content_of`.
        size: (width, height) in pixels.
        group_id: of the part that it shows; None: no other image shows the part.
    """

    file: Path
    name: str
    sha256: str
    content: str
    size: tuple[int, int]
    group_id: str | None


def candidates_in(
    files: Sequence[Path],
    *,
    category: str,
    role: AcceptedRole,
    raw: Path,
    group: str | None,
    group_pattern: str | None,
    twins: bool,
) -> list[Candidate]:
    """Each file as a candidate for `role` in `category`.

    Args:
        group: the part that all of them show; None: `group_pattern` reads it from each path below `raw`, or from the
            file's name, as prepare does; where there is no pattern either, each image shows another part.
        twins: whether a file may show the very same pixels as one before it, and is left out then.

    Raises:
        DataError: files that cannot be read, have no group id or show the same pixels; all are in the message.
    """
    refused: list[str] = []
    found: dict[str, Candidate] = {}
    for file in files:
        below = file.resolve().is_relative_to(raw.resolve())
        searched = file.resolve().relative_to(raw.resolve()).as_posix() if below else file.name
        try:
            data = file_bytes(file)
            pixels, _ = decode(data, file)
            group_id = group or (group_in(searched, group_pattern) if group_pattern else None)
        except ImageError as error:
            refused.append(str(error))
            continue
        except ConfigError as error:
            refused.append(f"{error}, or say with --group which part the images show")
            continue
        content, sha256 = content_of(pixels), hashlib.sha256(data).hexdigest()
        if content in found and twins:
            continue
        if content in found:
            refused.append(f"{file} has the very same pixels as {found[content].file}; name one of them")
            continue
        name, size = copy_name(category, role, sha256, file), (pixels.shape[1], pixels.shape[0])
        found[content] = Candidate(file, name, sha256, content, size, group_id)
    _require_none(refused)
    return list(found.values())


def known_among(candidates: Sequence[Candidate], dataset: Dataset, waiting: Mapping[str, str]) -> dict[Path, str]:
    """Of the candidates that the category has already, in whatever role, where it has them, by their files.

    Args:
        waiting: as in `accepted_contents`; the dataset lacks what was accepted since prepare ran.
    """
    known = _contents(dataset, {candidate.size for candidate in candidates})
    found = {}
    for candidate in candidates:
        twin = known.get(candidate.content)
        if twin is not None:
            found[candidate.file] = f"has the very same pixels as {twin.path}, which has the role {twin.role}"
        elif candidate.content in waiting:
            found[candidate.file] = f"was accepted already, as {waiting[candidate.content]}"
    return found


def refuse(candidates: Sequence[Candidate], role: AcceptedRole, dataset: Dataset, known: Mapping[Path, str]) -> None:
    """Do nothing, or refuse images that the category already has, and those that cannot belong to it.

    Args:
        known: as in `known_among`.

    Raises:
        DataError: such images; all are in the message.
    """
    sizes = {(record.width, record.height) for record in dataset.records}
    roles = {record.group_id: record.role for record in dataset.records}
    refused = []
    for candidate in candidates:
        file, (width, height), group = candidate.file, candidate.size, candidate.group_id
        if file in known:
            refused.append(f"{file} {known[file]}")
        elif len(sizes) == 1 and candidate.size not in sizes:
            wanted = " x ".join(map(str, *sizes))
            refused.append(f"{file} is {width} x {height} pixels; all images of the category are {wanted}")
        elif group is not None and roles.get(group, role) != role:
            refused.append(
                f"{file} shows part {group!r}, which has the role {roles[group]}; all images of a part have one role"
            )
    _require_none(refused)


def copy_candidates(raw: Path, candidates: Sequence[Candidate]) -> list[Path]:
    """Copy the candidates below `raw` and return the files that were not there before.

    Raises:
        DataError: a file changed while it was copied.
    """
    made: list[Path] = []
    try:
        for candidate in candidates:
            copy = raw / candidate.name
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                made.append(copy)
                shutil.copyfile(candidate.file, copy)
            if sha256_of(copy) != candidate.sha256:
                raise DataError(f"{copy} is not what was checked as {candidate.file}; nothing was accepted")
    except BaseException:
        remove_copies(made)
        raise
    return made


def remove_copies(copies: Iterable[Path]) -> None:
    """Remove the copies that are there."""
    for copy in copies:
        copy.unlink(missing_ok=True)


def accepted_contents(acceptances: Iterable[Acceptance], raw: Path) -> dict[str, str]:
    """The acceptances' ids by the pixels of their images.

    Raises:
        ImageError: a copy is missing or damaged.
    """
    return {
        content_of(read_image(located(image.path, Path(), raw))): acceptance.id
        for acceptance in acceptances
        for image in acceptance.images
    }


def _contents(dataset: Dataset, sizes: set[tuple[int, int]]) -> dict[str, Record]:
    """The dataset's images of these sizes, by their pixels."""

    def content(record: Record) -> str:  # prepare hashed the pixels of what it wrote, and the bytes of raw files
        return content_of(dataset.pixels_of(record)) if record.path.startswith(RAW) else record.sha256

    records = [record for record in dataset.records if (record.width, record.height) in sizes]
    with ThreadPoolExecutor() as pool:
        return dict(zip(pool.map(content, records), records, strict=True))


def _require_none(refused: Sequence[str]) -> None:
    if refused:
        raise DataError("\n  ".join(["nothing was accepted:", *refused]))
