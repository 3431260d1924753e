"""What the service is told when it starts. Every limit that it holds stands here, with its unit."""

from dataclasses import dataclass
from pathlib import Path

from gonogo.errors import ConfigError

MEBIBYTE = 1 << 20
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # that may be allowed; a TIFF's end is not known, see `uploads`


@dataclass(frozen=True)
class Settings:
    """The service's settings.

    Attributes:
        bundle: the gauge that it starts with, a folder or a `.gonogo` file.
        data: folder of the images and, unless `database` says otherwise, of the rows.
        bundles: folder of the bundles that may be activated; None: `bundle` alone.
        trust: file of a public key with which bundles must be signed; None: whoever made them.
        database: URL as SQLAlchemy reads it; None: a SQLite file in `data`.
        threads: of onnxruntime, for each of `workers` that judge at once; None leaves the choice to it.
        formats: of images that are taken, Pillow's names.
        max_body: bytes of a request's body; `max_stream_body` of one to inspect:stream.
        max_images: of one request; `max_stream_images` of one to inspect:stream.
        max_image: bytes of an encoded image; `max_pixels` of a decoded one.
        waiting: images that may be accepted and unanswered; one more is answered with 503.
        batch: images that go through the network together at most.
        deadline: seconds from a request to its answer; 504 after it.
        body_seconds: that a client may take to send a body; 408 after it.
        rate: images per second and key, as a mean; `burst` at once. What reads costs as much as an image.
        keep_days: age of images that are kept, `keep_bytes` their size altogether; None: no limit. Rows are kept.
        tls: whether clients come by TLS, which they are then told to insist on.
    """

    bundle: Path
    data: Path
    bundles: Path | None = None
    trust: Path | None = None
    database: str | None = None
    threads: int | None = None
    workers: int = 1
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP")
    max_body: int = 64 * MEBIBYTE
    max_stream_body: int = 4096 * MEBIBYTE
    max_images: int = 64
    max_stream_images: int = 10_000
    max_image: int = 32 * MEBIBYTE
    max_pixels: int = 25_000_000
    waiting: int = 128
    batch: int = 8
    deadline: float = 10.0
    body_seconds: float = 30.0
    rate: float = 200.0
    burst: int = 1000
    keep_days: float | None = None
    keep_bytes: int | None = None
    tls: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            ConfigError: a limit is not above 0, or a format is none of FORMATS.
        """
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not isinstance(value, bool) and not value > 0:
                raise ConfigError(f"{name} is {value}; it must be above 0")
        unknown = set(self.formats) - set(FORMATS)
        if unknown or not self.formats:
            raise ConfigError(f"formats has {', '.join(sorted(unknown)) or 'none'}; choose of {', '.join(FORMATS)}")
        if self.waiting < self.max_images:
            raise ConfigError(f"waiting is {self.waiting}, below max_images, {self.max_images}")
