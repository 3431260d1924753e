"""Images with a label file each, of LabelMe, Pascal VOC or YOLO: one without an object is good, others show defects."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from gonogo.data.annotation import Annotation
from gonogo.data.label_files import FORMATS, annotated_images, annotates
from gonogo.data.labelme import read_labelme
from gonogo.data.names import ACCEPTED, BAD, GOOD, IMAGE_FOLDERS, LABEL_FOLDERS, says
from gonogo.data.pairing import masks_among
from gonogo.data.regions import RegionMask, annotated_sample, counts_as_defect, require_classes
from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import existing_folder, folders_in, good_sample, images_below, listed, name_in
from gonogo.data.voc import read_voc
from gonogo.data.yolo import class_names, is_name_list, read_yolo
from gonogo.errors import DataError, ImageError
from gonogo.images.roles import ROLES

Format = Literal["labelme", "voc", "yolo"]
Unlabelled = Literal["good", "leave_out"]
Key = tuple[str, ...]

READERS: dict[str, Callable[[Path, Path], Annotation]] = {
    "labelme": read_labelme,
    "voc": read_voc,
    "yolo": read_yolo,
}
UNREADABLE = Annotation(without_area=("anomaly",))  # of an image that prepare reports: nobody takes it for a good one


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Images and label files of one name, beside each other or in folders such as `images` and `labels`.

    A file without an object says that its image is good. An image without a file may be good, or nobody has looked at
    it: a person must say which. The published splits are dropped, and every role is open to every image.

    Attributes:
        format: labelme, voc or yolo.
        folder: below the raw folder.
        classes: labels that count as defects; others are as if absent. None: all but those whose names say good.
        unlabelled: what images without a label file are: good, or left out; None: refused.
    """

    format: Format
    folder: str = "."
    classes: list[str] | None = None
    unlabelled: Unlabelled | None = None

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """The images by their paths. The label whose boxes have the largest area names the defect type.

        Raises:
            DataError: a label file is wrong or of no image, an image has none, or none is good.
        """
        root = existing_folder(raw, self.folder)
        images, labels = _images(raw, root, self.format), label_files(root, self.format)
        _require_pairs(images, labels, self.format)
        found = self._read(root, images, labels)
        require_classes(self.classes, {label for one in found.values() for label in one.labels})
        without = [path for key, paths in images.items() if key not in labels for path in paths]
        if without and self.unlabelled is None:
            raise _unlabelled(without, len(images), self.format)
        goods = without if self.unlabelled == "good" else []
        samples = [self._sample(raw, images[key][0], labels[key], one) for key, one in found.items()]
        samples += [good_sample(raw, path, ROLES) for path in goods]
        if all(sample.label == 1 for sample in samples):
            raise DataError(
                f"{root}: each of {len(samples)} images has an object that counts as a defect, so that none is good; "
                "name the classes that are defects in prepare.classes, or add good parts"
            )
        return iter(sorted(samples, key=lambda sample: sample.name))

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use."""
        return Places([raw / self.folder])

    def _read(
        self, root: Path, images: Mapping[Key, Sequence[Path]], labels: Mapping[Key, Path]
    ) -> dict[Key, Annotation]:
        """What the label file of each image says, where it has one."""
        read = READERS[self.format]
        if self.format == "yolo":
            read = partial(read_yolo, names=class_names(root))
        found = {}
        for key, path in labels.items():
            if key in images:
                try:
                    found[key] = read(path, images[key][0])
                except ImageError:
                    found[key] = UNREADABLE
        return found

    def _sample(self, raw: Path, image: Path, path: Path, said: Annotation) -> Sample:
        other = image.with_name(said.image_name or image.name)
        if other != image and other.is_file():
            raise DataError(f"{path} is called like {image.name}, and says that it is of {other.name}; rename it")
        regions = [region for region in said.regions if counts_as_defect(region.label, self.classes)]
        points = [label for label in said.without_area if counts_as_defect(label, self.classes)]
        flags = self._defects_flagged(said, path)
        if (regions or points) and (good := [flag for flag in said.flags if says(flag, GOOD)]):
            raise DataError(f"{path}: the image is flagged {good[0]!r}, and has a defect; correct one of them")
        by_flag = flags if not regions else []
        return annotated_sample(
            name_in(raw, image), image, regions, said.size, str(path), without_area=[*points, *by_flag]
        )

    def _defects_flagged(self, said: Annotation, path: Path) -> list[str]:
        """The flags of the image that say that it has a defect.

        Raises:
            DataError: it has no object, and it is not clear what a flag says.
        """
        if self.classes is not None:
            return [flag for flag in said.flags if flag in self.classes]
        unclear = [flag for flag in said.flags if not says(flag, GOOD | BAD)]
        if unclear and not said.regions and not said.without_area:
            raise DataError(
                f"{path}: the image has no shape, and is flagged {unclear[0]!r}, which may be a defect or not; name "
                "the labels and flags that are defects in prepare.classes"
            )
        return [flag for flag in said.flags if says(flag, BAD)]


def masks_by_labels(images: Iterable[Path]) -> dict[Path, RegionMask]:
    """What label files beside defective images mark, whatever they call it; not of images with a point or a line.

    Raises:
        DataError: a label file is wrong.
    """
    found: dict[Path, RegionMask] = {}
    for format_, paths in annotated_images(images).items():
        for image, path in paths.items() if format_ in get_args(Format) else ():
            try:
                said = READERS[format_](path, image)
            except ImageError:
                continue  # which prepare reports of the image
            regions = tuple(region for region in said.regions if counts_as_defect(region.label, None))
            if regions and not said.without_area:
                found[image] = RegionMask(where=str(path), size=said.size, regions=regions)
    return found


def formats_below(root: Path) -> dict[Format, Path]:
    """The formats of the label files below `root` that have an object, each with the first of its files."""
    found: dict[Format, Path] = {}
    for format_ in get_args(Format):
        files = label_files(root, format_)
        if first := next((path for path in files.values() if annotates(path, format_)), None):
            found[format_] = first
    return found


def label_files(root: Path, format_: Format) -> dict[Key, Path]:
    """The files below `root` that are named like label files, by what they share with their images.

    Raises:
        DataError: two are for one image.
    """
    found: dict[Key, Path] = {}
    for path in _files_below(root, FORMATS[format_].suffix):
        if is_name_list(path):
            continue
        key = _key(root, path)
        if key in found:
            raise DataError(f"{found[key]} and {path} are label files of one image by their names; keep one")
        found[key] = path
    return found


def _images(raw: Path, root: Path, format_: Format) -> dict[Key, list[Path]]:
    """The images below `root`, without what is named like a mask of another and has no label file."""
    all_images = [path for path in images_below(root) if not path.is_relative_to(raw / ACCEPTED)]
    labels = {_key(root, path) for path in _files_below(root, FORMATS[format_].suffix)}
    masks = set(masks_among(all_images, root)[1])
    images: dict[Key, list[Path]] = defaultdict(list)
    for path in all_images:
        key = _key(root, path)
        if path not in masks or key in labels:
            images[key].append(path)
    return dict(images)


def _files_below(folder: Path, suffix: str) -> Iterator[Path]:
    yield from sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix and path.is_file())
    for name in folders_in(folder):
        yield from _files_below(folder / name, suffix)


def _key(root: Path, path: Path) -> Key:
    """What image and label file share: the stem, and the folders apart from those that say what lies in them."""
    parts = path.relative_to(root).parts[:-1]
    kept = [part for part in parts if not says(part, LABEL_FOLDERS | IMAGE_FOLDERS)]
    return tuple(unicodedata.normalize("NFC", part) for part in (*kept, path.stem))


def _require_pairs(images: Mapping[Key, Sequence[Path]], labels: Mapping[Key, Path], format_: Format) -> None:
    """Do nothing, or refuse label files without an image or with two."""
    for key, path in labels.items():
        if len(images.get(key, ())) > 1:
            raise DataError(
                f"{path} is the label file of {listed([str(one) for one in images[key]])}; rename one image"
            )
    orphans = [path for key, path in labels.items() if key not in images and annotates(path, format_)]
    if orphans:
        raise DataError(
            f"{len(orphans)} label files match no image: {listed(_names(orphans), 3)}; a label file is called like its "
            "image, and lies beside it or in a folder `labels` or `Annotations` beside that of the images. Add the "
            "images, or remove the files"
        )


def _unlabelled(images: Sequence[Path], n_images: int, format_: Format) -> DataError:
    name = FORMATS[format_].title
    return DataError(
        f"{len(images)} of {n_images} images have no label file of {name}: {listed(_names(images), 3)}. They may be "
        "good, or nobody has looked at them: say which with prepare.unlabelled: good or leave_out (gonogo init "
        f"--unlabelled good), or give each good image a label file without an object"
    )


def _names(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths]
