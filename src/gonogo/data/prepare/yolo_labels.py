"""A prepared dataset of boxes as YOLO's folders, so that another tool can train on the very same split."""

import shutil
from pathlib import Path

from gonogo.errors import DataError
from gonogo.files import write_text
from gonogo.images.dataset import Dataset
from gonogo.images.roles import Role

SPLITS: dict[Role, str] = {"fit": "train", "validate": "val", "test": "test"}


def write_yolo(dataset: Dataset, folder: Path) -> dict[str, int]:
    """Copy the images into `folder`/images, write labels beside them and dataset.yaml; how many images each split has.

    Images of the role calibrate are left out: no training may see them. A line of a label file is a class's number, and
    centre and size of a box as shares of the image. A good image has an empty label file.

    Raises:
        DataError: the folder exists already, or no image has a box.
    """
    if folder.exists():
        raise DataError(f"{folder} exists already; name another folder, or remove it")
    names = sorted({str(box["label"]) for record in dataset.records for box in record.boxes})
    if not names:
        raise DataError(f"{dataset.folder}: no image has a box; YOLO's labels are for prepare.task: boxes")
    counts = dict.fromkeys(SPLITS.values(), 0)
    for record in dataset.records:
        split = SPLITS.get(record.role)
        if split is None:
            continue
        source = dataset.path_of(record)
        name = f"{counts[split]:06d}_{source.stem}"  # files of two folders may be called alike
        lines = []
        for box in record.boxes:
            x, y, width, height = (box[key] for key in ("x", "y", "width", "height"))
            shares = (
                (x + width / 2) / record.width,
                (y + height / 2) / record.height,
                width / record.width,
                height / record.height,
            )
            lines.append(" ".join([str(names.index(str(box["label"]))), *(f"{share:.8f}" for share in shares)]) + "\n")
        image = folder / "images" / split / f"{name}{source.suffix}"
        image.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, image)
        write_text(folder / "labels" / split / f"{name}.txt", "".join(lines))
        counts[split] += 1
    splits = "".join(f"{split}: images/{split}\n" for split, count in counts.items() if count)
    listed = "".join(f"  {number}: {_quoted(name)}\n" for number, name in enumerate(names))
    write_text(folder / "dataset.yaml", f"{splits}names:\n{listed}")
    return counts


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
