"""Raw files that the pipeline can name and watch; `gonogo init` and prepare refuse the others alike."""

from collections.abc import Iterable
from pathlib import Path

from gonogo.data.sample import Sample
from gonogo.data.tree import listed
from gonogo.errors import DataError


def require_watched(samples: Iterable[Sample], raw: Path) -> None:
    """Do nothing, or refuse files whose changes would go unseen, or whose names no record can hold.

    Raises:
        DataError: a file lies in a folder that is a link to outside of `raw`, through which DVC does not look; or its
            name is not UTF-8.
    """
    files = [path for sample in samples for path in (sample.image, sample.mask) if isinstance(path, Path)]
    unnamed = sorted(repr(path.relative_to(raw).as_posix()) for path in files if not _is_unicode(str(path)))
    if unnamed:
        raise DataError(
            f"{len(unnamed)} files have names that are not UTF-8, which no record can hold: {listed(unnamed, 3)}; "
            "rename them (convmv -f latin1 -t utf8 does it for a whole folder)"
        )
    inside = raw.resolve()
    for folder in sorted({path.parent for path in files}):
        if folder.is_dir() and not folder.resolve().is_relative_to(inside):
            link = next(place for place in (*reversed(folder.parents), folder) if _leads_out(place, raw, inside))
            raise DataError(
                f"{link} is a link to {link.resolve()}, outside of the raw folder {raw}. DVC does not look through it, "
                "so that new, changed and removed images would go unseen. Let `raw` in params.yaml be a folder in "
                "which the images themselves lie (gonogo init FOLDER), or mount or copy them below it"
            )


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _leads_out(place: Path, raw: Path, inside: Path) -> bool:
    return place.is_relative_to(raw) and place != raw and not place.resolve().is_relative_to(inside)
