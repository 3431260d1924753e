"""Formats of images that are not read: known by their names and first bytes, so that nobody is left to guess."""

import re
import struct

from gonogo.images.tiff import SIGNATURES, first_directory

FOREIGN_SUFFIXES = frozenset(  # of photographs, in lower case
    {".gif", ".jp2", ".j2k", ".jpx", ".jpf", ".jxl", ".jxr", ".jls", ".heic", ".heif", ".hif", ".avif", ".tga", ".pcx"}
    | {".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".exr", ".pfm", ".pam", ".dcm"}
)
SAVE = "save it as PNG of 8 or 16 bits"
DEVELOP = "develop it, and save it as PNG"
PHOTOMETRIC, RAW_OF_CAMERA = 262, (32803, 34892)  # a tag of TIFF; its values for a colour filter array and linear raw
LOOKED_AT = 4096  # bytes
FIRST_BYTES = (
    (rb"GIF8[79]a", "a GIF", SAVE),
    (rb"....ftyp(?:hei|hev|mif1|msf1)", "a HEIC, as phones take them", SAVE),
    (rb"....ftypavi[fs]", "an AVIF", SAVE),
    (rb"....ftypcrx", "a camera's raw image", DEVELOP),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000", SAVE),
    (rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", "a JPEG XL", SAVE),
    (rb"II\xbc\x01", "a JPEG XR", SAVE),
    (rb"\x76\x2f\x31\x01", "an OpenEXR, whose values have no known range", SAVE),
    (rb"#\?(?:RADIANCE|RGBE)", "a Radiance HDR, whose values have no known range", SAVE),
    (
        rb"\x93NUMPY",
        "an array of NumPy",
        "name its format, by --pixels bgr8 or ?pixels=bgr8, or save it as PNG",
    ),
    (rb".{128}DICM", "a DICOM", SAVE),
    (rb"8BPS", "a Photoshop file", SAVE),
    (rb"P7\n", "a PAM", SAVE),
    (rb"%!PS", "an EPS", SAVE),
    (rb"%PDF", "a PDF", SAVE),
    (rb"\s*(?:<\?xml[^>]*>\s*)?<svg", "an SVG", SAVE),
    (rb"PK\x03\x04", "a ZIP archive", "unpack it"),
    (rb"version https://git-lfs", "a pointer of Git LFS and no image yet", "run git lfs pull"),
    (rb"\s*<(?:!doctype\s+html|html)", "a web page", "download the image again"),
)


def foreign(data: bytes) -> tuple[str, str] | None:
    """What a file is that is no image of a format that is read, and what to do; None where its first bytes say none."""
    if data.startswith(SIGNATURES):
        return ("a camera's raw image", DEVELOP) if _is_raw_of_camera(data) else None
    head = data[:LOOKED_AT]
    fitting = (
        (what, advice) for pattern, what, advice in FIRST_BYTES if re.match(pattern, head, re.DOTALL | re.IGNORECASE)
    )
    return next(fitting, None)


def _is_raw_of_camera(data: bytes) -> bool:
    try:
        return first_directory(data).value(PHOTOMETRIC) in RAW_OF_CAMERA
    except (struct.error, IndexError, ValueError):
        return False
