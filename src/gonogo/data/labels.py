"""Images with a label file each, of LabelMe, Pascal VOC or YOLO: one without an object is good, others show defects."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from gonogo.data.annotation import Annotation
from gonogo.data.label_files import FORMATS, annotated_images
from gonogo.data.label_pairs import Format, Pairs, paired_with_labels
from gonogo.data.labelme import read_labelme
from gonogo.data.names import BAD, GOOD, says
from gonogo.data.regions import Region, RegionMask, all_of, annotated_sample, counts_as_defect, require_classes
from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import existing_folder, good_sample, listed, name_in
from gonogo.data.voc import read_voc
from gonogo.data.yolo import class_names, read_yolo
from gonogo.errors import DataError, ImageError
from gonogo.images.roles import ROLES

Unlabelled = Literal["good", "leave_out"]

READERS: dict[str, Callable[[Path, Path], Annotation]] = {
    "labelme": read_labelme,
    "voc": read_voc,
    "yolo": read_yolo,
}
UNREADABLE = Annotation(without_area=("anomaly",))  # of an image that cannot be read, which prepare reports


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
        pairs = paired_with_labels(raw, root, self.format)
        found = self._read(root, pairs.labelled)
        require_classes(self.classes, {label for one in found.values() for label in one.labels})
        if pairs.unlabelled and self.unlabelled is None:
            raise self._unlabelled(pairs)
        samples = [self._sample(raw, image, pairs.labelled[image], said) for image, said in found.items()]
        if self.unlabelled == "good":
            samples += [good_sample(raw, path, ROLES) for path in pairs.unlabelled]
        if all(sample.label == 1 for sample in samples):
            raise DataError(
                f"{root}: each of {len(samples)} images has an object that counts as a defect, so that none is good; "
                "name the classes that are defects in prepare.classes, or add good parts"
            )
        return iter(sorted(samples, key=lambda sample: sample.name))

    def places(self, category: str, raw: Path) -> Places:
        """The folders all of whose images should be of use."""
        return Places([raw / self.folder])

    def _read(self, root: Path, labelled: Mapping[Path, Path]) -> dict[Path, Annotation]:
        """What the label file of each image says."""
        read = READERS[self.format]
        if self.format == "yolo":
            read = partial(read_yolo, names=class_names(root))
        found: dict[Path, Annotation] = {}
        problems: list[DataError] = []
        for image, path in sorted(labelled.items()):
            try:
                found[image] = read(path, image)
            except ImageError:
                found[image] = UNREADABLE
            except DataError as problem:
                problems.append(problem)
        if problems:
            raise all_of(problems)
        return found

    def _unlabelled(self, pairs: Pairs) -> DataError:
        n_images = len(pairs.labelled) + len(pairs.unlabelled)
        return DataError(
            f"{len(pairs.unlabelled)} of {n_images} images have no label file of {FORMATS[self.format].title}: "
            f"{listed(list(map(str, pairs.unlabelled)), 3)}. They may be good, or nobody has looked at them: say which "
            "with prepare.unlabelled: good or leave_out (gonogo init --unlabelled good), or give each good image a "
            "label file without an object"
        )

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


def regions_beside(image: Path, root: Path) -> tuple[Region, ...]:
    """The defects that a label file of one image marks; none where it has no such file.

    Args:
        image: one of the images.
        root: the folder of all of them, below which YOLO's names of the classes stand.

    Raises:
        DataError: the label file, or the list of names, is wrong.
        ImageError: the image cannot be read.
    """
    for format_, paths in annotated_images([image]).items():
        if format_ in READERS:
            read = partial(read_yolo, names=class_names(root)) if format_ == "yolo" else READERS[format_]
            return tuple(one for one in read(paths[image], image).regions if counts_as_defect(one.label, None))
    return ()


def masks_by_labels(images: Iterable[Path]) -> dict[Path, RegionMask]:
    """What label files beside defective images mark, whatever they call it; not of images with a point or a line.

    Raises:
        DataError: a label file is wrong.
    """
    found: dict[Path, RegionMask] = {}
    for format_, paths in annotated_images(images).items():
        for image, path in paths.items() if format_ in READERS else ():
            try:
                said = READERS[format_](path, image)
            except ImageError:
                continue  # which prepare reports of the image
            regions = tuple(region for region in said.regions if counts_as_defect(region.label, None))
            if regions and not said.without_area:
                found[image] = RegionMask(where=str(path), size=said.size, regions=regions)
    return found
