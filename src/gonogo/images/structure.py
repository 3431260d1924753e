"""How an encoded image is built: a look over its parts, before Pillow parses them and without decoding any.

It refuses what would cost far more than its size says, as thousands of scans over one JPEG do; what is cut or still
being written; and what has other content after its end, which another program may take for another file. The end of a
TIFF cannot be told, since its parts may lie anywhere in the file.
"""

import re
import struct
import zlib
from pathlib import Path

from gonogo.images.limits import require_size
from gonogo.images.portable import MAGIC, read_portable
from gonogo.images.tiff import SIGNATURES, first_directory, look_at_tiff, require_few_tags

PADDING = b"\0\t\n\r "  # may follow the end of an image
MAX_SCANS = 32  # of a JPEG; encoders write ten or fewer in a progressive one, optimisers up to twenty
MAX_PARTS = 4_096  # markers of a JPEG, chunks of a WebP, and small chunks of a PNG
SMALL = 256  # bytes; encoders of PNG write their data in chunks of thousands
MAX_RUNS = 4_000_000  # bytes and pixels of a BMP of runs, which Pillow decodes one by one, in Python
RUNS = (1, 2)  # values of a BMP's compression
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of a JPEG that begin a frame, with its size
SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
ZIP_END = b"PK\x05\x06"


def require_structure(data: bytes, where: Path | str) -> None:
    """Do nothing, or refuse an image by its size and its parts. Data of no known format are left to Pillow.

    Raises:
        ValueError: there are too many parts, one is damaged, the end is missing, or other content follows it.
        ImageError: `require_size` does not allow its size.
    """
    name = name_of(data)
    if name is None:
        return
    try:
        width, height, end = _looked_at(data, name)
        require_size(width, height, where)
        if end > len(data):
            raise IndexError
    except (IndexError, struct.error) as error:
        raise ValueError(f"the {name} ends too early; it is damaged, or still being written") from error
    if (name != "TIFF" and data[end:].strip(PADDING)) or _is_zip(data):
        raise ValueError(f"the {name} has other content after its end; save it again as an image")


def _looked_at(data: bytes, name: str) -> tuple[int, int, int]:
    """Width, height and the position of the end.

    Raises:
        IndexError, struct.error: the image has no end.
        ValueError: as `require_structure`.
    """
    if name == "PNG":
        return _look_at_png(data)
    if name == "JPEG":
        return _look_at_jpeg(data)
    if name == "WEBP":
        return _look_at_webp(data)
    if name == "BMP":
        return _look_at_bmp(data)
    if name == "TIFF":
        return look_at_tiff(data, MAX_SCANS)
    header = read_portable(data)
    return header.width, header.height, header.end or len(data)


def name_of(data: bytes) -> str | None:
    """The name of the format that the first bytes tell, one of `header.FORMATS`; None of another one."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith(SIGNATURES):
        return "TIFF"
    return "PPM" if MAGIC.match(data) else None


def _look_at_png(data: bytes) -> tuple[int, int, int]:
    """Its end is that of the last chunk; all are complete, with the right checksum."""
    width, height = struct.unpack_from(">II", data, 16)
    position, kind, n_small = 8, b"", 0
    while kind != b"IEND":
        (length,) = struct.unpack_from(">I", data, position)
        kind, end = data[position + 4 : position + 8], position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(memoryview(data)[position + 4 : end]) != checksum:
            raise ValueError(f"the PNG is damaged: the checksum of {kind!r} is wrong")
        n_small += length < SMALL
        if n_small > MAX_PARTS:
            raise ValueError(f"a PNG with more than {MAX_PARTS} chunks of less than {SMALL} bytes; save it again")
        position = end + 4
    return width, height, position


def _look_at_jpeg(data: bytes) -> tuple[int, int, int]:
    """Its end is that of its last image, where it has an index of further ones; otherwise its end marker.

    Markers are followed one by one, since a thumbnail inside has an end marker too.
    """
    position, n_parts, n_scans, index, size = 2, 0, 0, None, (1, 1)
    exif: list[bytes] = []
    while True:
        if data[position] != 0xFF:
            raise IndexError
        marker = data[position + 1]
        n_parts += 1
        if n_parts > MAX_PARTS:
            raise ValueError(f"a JPEG with more than {MAX_PARTS} markers; save it again")
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            position += 2
            continue
        after = position + 2 + struct.unpack_from(">H", data, position + 2)[0]
        content = data[position + 4 : after]
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", content, 1)
            size = (width, height)
        elif marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif.append(content[6:])
        elif marker == 0xE2 and content.startswith(b"MPF\0"):
            index = position + 8
        elif marker == 0xDA:  # a scan, which ends at the next marker that is no stuffed byte and no restart
            n_scans += 1
            if n_scans > MAX_SCANS:
                raise ValueError(f"a JPEG with more than {MAX_SCANS} scans; save it again")
            marker_after = SCAN_END.search(data, after)
            if marker_after is None:
                raise IndexError
            after = marker_after.start()
        position = after
    require_few_tags(b"".join(exif))  # Pillow reads them when it opens the image
    return *size, position + 2 if index is None else _end_of_others(data, index, position + 2)


def _end_of_others(data: bytes, index: int, end: int) -> int:
    """The end of the last of the images that a phone's JPEG lists beside itself, as previews.

    Source: CIPA DC-007, Multi-Picture Format, section 5.2.3.
    """
    try:
        listed = first_directory(memoryview(data)[index:])
        _, count, position = listed.entries[0xB002]
        order = "<" if data[index : index + 1] == b"I" else ">"
    except (KeyError, ValueError, struct.error):
        return end
    for place in range(index + position, index + position + min(count, 16 * MAX_PARTS), 16):
        _, size, offset = struct.unpack_from(order + "LLL", data, place)
        whole = index + offset + size <= len(data)  # programs that cut the previews off may keep the index
        if offset and whole and data[index + offset : index + offset + 2] == b"\xff\xd8":
            end = max(end, index + offset + size)
    return end


def _look_at_webp(data: bytes) -> tuple[int, int, int]:
    """Its end is the one that its header tells."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        (sides,) = struct.unpack_from("<I", data, 21)
        width, height = (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    end, position, n_parts = 8 + int.from_bytes(data[4:8], "little"), 12, 0
    while position < min(end, len(data)):
        position += 8 + -(-struct.unpack_from("<I", data, position + 4)[0] // 2) * 2
        n_parts += 1
        if n_parts > MAX_PARTS:
            raise ValueError(f"a WebP with more than {MAX_PARTS} chunks; save it again")
    return width, height, end


def _look_at_bmp(data: bytes) -> tuple[int, int, int]:
    """Its end is the one that its header tells, or that of the pixels where that is later or the header is wrong."""
    told, _, start, size = struct.unpack_from("<IIII", data, 2)
    width, height, _, bits, *more = struct.unpack_from("<HHHH" if size == 12 else "<iiHHI", data, 18)
    if more and more[0] in RUNS:
        if max(len(data), width * abs(height)) > MAX_RUNS:
            raise ValueError(f"a BMP of runs with more than {MAX_RUNS} bytes or pixels; save it as PNG")
        return width, abs(height), told or len(data)
    end = start + abs(height) * ((width * bits + 31) // 32 * 4)
    return width, abs(height), max(end, told) if told <= len(data) else end


def _is_zip(data: bytes) -> bool:
    """Whether the data end with the last record of a zip archive and its comment, so that programs open them as one."""
    position = data.find(ZIP_END, max(0, len(data) - 22 - 0xFFFF))
    while position >= 0:
        if data[position + 20 : position + 22] == struct.pack("<H", (len(data) - position - 22) & 0xFFFF):
            return True
        position = data.find(ZIP_END, position + 1)
    return False
