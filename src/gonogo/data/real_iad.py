"""Real-IAD: five views of each part, with the split, labels and masks of a category in one JSON file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gonogo.data.sample import Places, Sample, Shares
from gonogo.data.tree import FIT, existing_folder, good_sample, listed, name_in, no_category
from gonogo.errors import ConfigError, DataError
from gonogo.images.roles import TEST, TRAIN, Role

FIVE_VIEWS = "realiad_jsons"
KEYS = {"category", "anomaly_class", "image_path", "mask_path"}


@dataclass(frozen=True, kw_only=True)
class RealIAD:
    """Thirty objects in up to eight defect types.

    Attributes:
        folder: of the data set, below the raw folder; it holds the folders `images` and `jsons`.
        name: the category's name in the data set; None: the gauge's own.
        images: folder of the resolution: realiad_1024, realiad_512, realiad_256 or realiad_raw.
        jsons: folder of the split: realiad_jsons (five views), realiad_jsons_sv (the first) or realiad_jsons_fuiad_0.0
            to _0.4 (that share of train is of defective parts). Some archives nest it: realiad_jsons/realiad_jsons_sv.

    Source: Wang et al. 2024, "Real-IAD: A Real-World Multi-View Dataset for Benchmarking Versatile Industrial Anomaly
    Detection" (CVPR); https://github.com/Tencent/AnomalyDetection_Real-IAD.
    """

    folder: str = "."
    name: str | None = None
    images: str = "realiad_1024"
    jsons: str = FIVE_VIEWS

    def samples(self, category: str, raw: Path, shares: Shares) -> Iterator[Sample]:
        """Train is dealt to fit and calibrate, test is as published; the views of one part are a group.

        The JSON's anomaly_class is the label: a defective part's view that does not show the defect is good. The
        defective parts that FUIAD puts into train, unknown to the detector, are open to fit alone in all their views:
        no threshold is calibrated on them. A file that the JSON names and that is not there is yielded, so that
        prepare reports it.

        Raises:
            ConfigError: a folder or the category's JSON is missing.
            DataError: the JSON has another form.
        """
        images, path = self._found(category, raw)
        return _samples(raw, images, path)

    def places(self, category: str, raw: Path) -> Places:
        """The folder all of whose images should be of use: none by another split than five views, which leaves some."""
        if self.jsons != FIVE_VIEWS:
            return Places()
        images, path = self._found(category, raw)
        return Places([images / _content(path)["meta"]["prefix"]])

    def _found(self, category: str, raw: Path) -> tuple[Path, Path]:
        """The folder of all images, and the category's JSON."""
        name = self.name or category
        jsons = existing_folder(raw, str(Path(self.folder, self.jsons)))
        path = jsons / f"{name}.json"
        if not path.is_file():
            there = sorted(file.stem for file in jsons.glob("*.json"))
            nested = sorted(folder.name for folder in jsons.iterdir() if folder.is_dir())
            if nested and not there:
                raise ConfigError(
                    f"{jsons} holds folders of JSONs: set prepare.jsons to {self.jsons}/ and {listed(nested)}"
                )
            raise no_category(jsons, name, there)
        return existing_folder(raw, str(Path(self.folder, self.images))), path


def _samples(raw: Path, images: Path, path: Path) -> Iterator[Sample]:
    content = _content(path)
    place, normal = images / content["meta"]["prefix"], content["meta"]["normal_class"]
    train, test = content["train"], content["test"]
    for number, entry in enumerate(train + test):
        if set(entry) != KEYS or (entry["mask_path"] is None and entry["anomaly_class"] != normal):
            raise DataError(f"{path}: entry {number}: expected {sorted(KEYS)}, with a mask if anomalous, got {entry}")
        if not _part(entry):
            raise DataError(
                f"{path}: entry {number}: expected the views of a part in a folder, got {entry['image_path']}"
            )
    defective = {_part(entry) for entry in train if entry["anomaly_class"] != normal}
    if defective and all(entry["anomaly_class"] == normal for entry in test):
        raise DataError(f"{path}: train has {len(defective)} defective parts and test none; are they swapped?")
    for entry in train:
        yield _sample(raw, place, entry, normal, FIT if _part(entry) in defective else TRAIN)
    for entry in test:
        yield _sample(raw, place, entry, normal, TEST)


def _content(path: Path) -> dict[str, Any]:
    """What a category's JSON holds: `meta`, and the lists `train` and `test`.

    Raises:
        DataError: it has another form.
    """
    try:
        content = json.loads(path.read_bytes())
        meta = {key: str(content["meta"][key]) for key in ("prefix", "normal_class")}
        return {"meta": meta, "train": list(content["train"]), "test": list(content["test"])}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected meta (prefix, normal_class), train and test, got {error!r}") from error


def _part(entry: Mapping[str, Any]) -> str:
    """The folder of a part's views, as OK/S0001 or NG/AK/S0001; good and defective parts are numbered apart."""
    folder = PurePosixPath(entry["image_path"]).parent
    return folder.as_posix() if folder.name else ""


def _sample(raw: Path, place: Path, entry: Mapping[str, Any], normal: str, roles: tuple[Role, ...]) -> Sample:
    image = place / entry["image_path"]
    if entry["anomaly_class"] == normal:
        return good_sample(raw, image, roles, _part(entry))
    return Sample(
        name=name_in(raw, image),
        image=image,
        label=1,
        defect_type=entry["anomaly_class"],
        roles=roles,
        group_id=_part(entry),
        mask=place / entry["mask_path"],
    )
