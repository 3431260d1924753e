"""The names that clients give to their images. A name is data: it is stored and shown, and never used as a path.

Any text is taken. Only control characters and bytes that are not UTF-8 are changed, to the escapes that Python writes.
"""

import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from urllib.parse import unquote_to_bytes

from python_multipart.multipart import parse_options_header

from gonogo.service.problems import Problem

MAX_NAME = 255  # characters, which no name of a file exceeds
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
EXTENDED = re.compile(r";\s*filename\*\s*=\s*([\w-]*)'[^']*'([^;\s]*)", re.IGNORECASE)  # RFC 5987
ESCAPED_IN_FORMS = re.compile(r"%(22|0D|0A)", re.IGNORECASE)  # all that browsers and HTTP libraries escape in a name


def stored_name(name: str | None) -> str | None:
    """A name as it is stored: with its control characters escaped; None where there is none.

    Raises:
        Problem: it has more than MAX_NAME characters.
    """
    if not name:
        return None
    if len(name) > MAX_NAME:
        raise Problem("invalid-request", f"an image's name has {len(name)} characters; at most {MAX_NAME} are stored")
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], name)


def name_in(content_disposition: bytes) -> str | None:
    """The file name in a header Content-Disposition, in whichever of the usual ways the client encoded it.

    Those are UTF-8 as it is, which HTML prescribes, `filename*` of RFC 5987, and encoded words of RFC 2047.
    """
    extended = EXTENDED.search(content_disposition.decode("latin-1"))
    if extended is not None:
        charset, escaped = extended.groups()
        try:
            return unquote_to_bytes(escaped).decode(charset or "utf-8", "backslashreplace")
        except LookupError:  # of the charset
            pass
    name = parse_options_header(content_disposition)[1].get(b"filename")
    if name is None:
        return None
    text = name.decode("utf-8", "backslashreplace")
    if text.startswith("=?") and text.endswith("?="):
        try:
            return str(make_header(decode_header(text)))
        except (HeaderParseError, LookupError, ValueError):
            return text
    return ESCAPED_IN_FORMS.sub(lambda found: chr(int(found[1], 16)), text)
