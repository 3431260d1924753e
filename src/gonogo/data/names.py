"""What the names of folders and files say, in the words that people use; case and separators do not matter."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

Words = frozenset[str]


def _words(text: str) -> Words:
    return frozenset(text.split())


GOOD = _words(
    """good goods ok okay normal normals nominal pass passed io gut gutteile nondefective defectfree nodefect nodefects
    flawless intact healthy conform bon buono bueno bom 正常 良品 合格 无缺陷 양품 정상"""
)
BAD = _words(
    """bad ng nok notok notgood ko nio defect defects defective anomaly anomalies anomalous abnormal reject rejects
    rejected fail failed faulty schlecht ausschuss 异常 缺陷 不良 불량"""
)
MASK = _words(
    """mask masks gt gts groundtruth groundtruths label labels segmentation segmentations segmentationclass
    segmentationobject segmask segmasks binarymask binarymasks maskdir maske masken annotation annotations"""
)
LABEL_FOLDERS = _words("label labels labelme annotation annotations ann anns json jsons xml xmls txt yolo voc")
IMAGE_FOLDERS = _words("image images img imgs jpegimages pngimages jpg jpgs jpeg jpegs png pngs bmp bmps objtraindata")
TRAIN, TEST, VALIDATION = _words("train training"), _words("test testing"), _words("val valid validation dev")

# Of folders whose name says neither good nor what the defect is.
UNCLEAR = _words(
    """train training test testing val valid validation dev images image imgs img pictures photos all raw data dataset
    unlabelled unlabeled unsorted new old backup tmp temp trash thumbs thumbnails preview previews misc archive export
    exports results output outputs predictions heatmap heatmaps overlay overlays anomalymap anomalymaps visualization
    visualizations vis viz unsure unclear unknown doubtful borderline maybe review todo"""
)
# Of folders that hold other recordings of parts than their photographs: a camera of depth takes both at once.
RECORDINGS = _words(
    """depth depths depthmap depthmaps depthimage depthimages xyz disparity pointcloud pointclouds heightmap
    ir nir infrared thermal normalmap normalmaps surfacenormals tiefe tiefenbild tiefenbilder"""
)
# Words in the names of folders that each hold some of the images of one product.
LOTS = _words(
    """lot lots los lose lote batch batches charge chargen day days tag date week woche month monat shift shifts schicht
    monday tuesday wednesday thursday friday saturday sunday early late night camera cameras cam cams kamera session
    sessions run runs part parts set sets subset folder dir sequence seq job jobs task tasks fold folds split splits
    chunk shard upload uploads line lines linie station machine site"""
)
# Words in a longer name, as in "good_test" and "dent masks".
IN_GOOD_NAMES = _words("good goods ok okay normal normals nominal gut defectfree")
IN_BAD_NAMES = BAD | _words("not no non un anomaly abnormal defect bad")
IN_MASK_NAMES = _words("mask masks gt groundtruth segmask segmasks")

# What a mask's name has more than that of its image.
MASK_ENDINGS = (
    *("_mask", "_gt", "_label", "_labels", "_seg", "_segmentation", "_groundtruth", "_ground_truth"),
    *("-mask", "-gt", "-label", ".mask"),
)
MASK_BEGINNINGS = ("mask_", "masks_", "gt_", "label_", "seg_", "groundtruth_", "ground_truth_", "mask-", "gt-")
# What the name of a picture that a program drew of an image has more than that of the image.
DRAWN_ENDINGS = tuple(
    f"{separator}{word}"
    for separator in "_-."
    for word in _words(
        "overlay heatmap anomalymap anomaly_map vis viz pred prediction annotated preview thumb thumbnail"
    )
)

ACCEPTED = "accepted"  # below the raw folder: copies of images that a person accepted as good


def words_of(name: str) -> str:
    """The name in lower case without separators, as it is compared."""
    return re.sub(r"[\s_.\-]+", "", unicodedata.normalize("NFC", name).casefold())


def says(name: str, words: Words) -> bool:
    """Whether the name is one of `words`, whatever its case and separators."""
    return words_of(name) in words


def suggests(name: str, inside: Words) -> bool:
    """Whether one of the words that the name is made of is `inside`, as `good` is in "good_test 2"."""
    return not inside.isdisjoint(re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", name).casefold()))


def suggests_good(name: str) -> bool:
    """Whether a longer name is that of good parts: it has such a word, and none that denies it."""
    return says(name, GOOD) or (suggests(name, IN_GOOD_NAMES) and not suggests(name, IN_BAD_NAMES))


def base_of_mask(path: Path) -> str | None:
    """The stem of the image that a file so named is the mask of; None where it is not named like a mask."""
    stem = path.stem
    if base := _without_ending(stem, MASK_ENDINGS):
        return base
    fitting = (beginning for beginning in MASK_BEGINNINGS if stem.casefold().startswith(beginning))
    return next((stem[len(beginning) :] for beginning in fitting if len(stem) > len(beginning)), None)


def base_of_drawn(path: Path) -> str | None:
    """The stem of the image that a picture so named was drawn of; None where its name does not say so."""
    return _without_ending(path.stem, DRAWN_ENDINGS)


def _without_ending(stem: str, endings: Sequence[str]) -> str | None:
    fitting = (ending for ending in endings if stem.casefold().endswith(ending))
    return next((stem[: -len(ending)] for ending in fitting if len(stem) > len(ending)), None)
