"""What the names of folders and files say, in the words that people use; case and separators do not matter."""

import re
import unicodedata
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
TRAIN, TEST, VALIDATION = _words("train training"), _words("test testing"), _words("val valid validation dev")

# What a mask's name has more than that of its image.
MASK_ENDINGS = (
    *("_mask", "_gt", "_label", "_labels", "_seg", "_segmentation", "_groundtruth", "_ground_truth"),
    *("-mask", "-gt", "-label", ".mask"),
)

# Of files that may hold images, and that gonogo does not read.
UNREAD_SUFFIXES = _words(
    """.gif .jp2 .j2k .jpx .jxl .heic .heif .avif .dng .cr2 .cr3 .nef .arw .orf .rw2 .raw .exr .hdr .pfm .tga .pcx .psd
    .xcf .svg .eps .ico .npy .npz .mat .dcm .nii .czi .lif .mp4 .avi .mov .mkv .wmv .zip .rar .7z .tar .tgz .pdf"""
)

# Folders that systems put among images.
SYSTEM_FOLDERS = frozenset({"@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})


def words_of(name: str) -> str:
    """The name in lower case without separators, as it is compared."""
    return re.sub(r"[\s_.\-]+", "", unicodedata.normalize("NFC", name).casefold())


def says(name: str, words: Words) -> bool:
    """Whether the name is one of `words`, whatever its case and separators."""
    return words_of(name) in words


def base_of_mask(path: Path) -> str | None:
    """The stem of the image that a file so named is the mask of; None where it is not named like a mask."""
    stem = path.stem
    fitting = (ending for ending in MASK_ENDINGS if stem.casefold().endswith(ending))
    return next((stem[: -len(ending)] for ending in fitting if len(stem) > len(ending)), None)
