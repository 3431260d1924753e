"""The settings of the service, which include all its limits with their units."""

from dataclasses import dataclass, field
from pathlib import Path

from gonogo.errors import ConfigError
from gonogo.images.header import FORMATS
from gonogo.line.http_url import require_http
from gonogo.monitoring.certificate_watch import WatchParams
from gonogo.service.promoted import RegistrySource

MEBIBYTE = 1 << 20
MINUTES_PER_DAY, SLOT_MINUTES = 24 * 60, 15
SHARES = ("audit_share",)
WITHOUT_TIFF = tuple(name for name in FORMATS if name != "TIFF")  # `uploads` says why it is not accepted by default


@dataclass(frozen=True)
class Settings:
    """The service's settings.

    Attributes:
        bundle: the bundle that it starts with, a folder or a `.gonogo` file; with `registry`, what this has in use is
            taken in its place.
        box_model: a bundle that finds boxes in the parts of `bundle`'s category: inspections then have its boxes beside
            the verdict; None: there is none.
        data: folder of the images and, unless `database` is given, of the SQLite file.
        bundles: folder of the bundles that may be activated; None: `bundle` alone.
        registry: the project whose promoted gauge the service uses, and no other; None: an admin activates bundles.
        registry_seconds: between two looks at the registry.
        trust: file of the public key that bundles must be signed with; None: any bundle is accepted.
        database: URL as SQLAlchemy reads it; None: a SQLite file in `data`.
        threads: number of threads of onnxruntime for each worker; None: onnxruntime decides.
        workers: number of batches that are scored at the same time.
        formats: of images that are accepted, in Pillow's names.
        max_body: largest body of a request, in bytes; `max_stream_body` for inspect:stream.
        max_images: most images in one request; `max_stream_images` for inspect:stream.
        max_image: largest encoded image, in bytes; `max_pixels` is for the decoded image.
        memory: most bytes that the process may take; None: three quarters of the machine's or its control group's.
        waiting: most images that may be accepted and not yet answered; one more is refused with 503.
        batch: most images that go through the network together.
        deadline: most seconds from a request to its response; then 504.
        body_seconds: most seconds that a client may take to send a body, or in a stream one image of it; then 408.
        idle_seconds: most seconds that a client may be silent while a request or its body is not complete, or while
            it does not read a response.
        connections: most connections at a time; `address_connections` is for those of one address, None: half of them.
        streams: most streams of one key at a time; then 429.
        session_seconds: most seconds that a person stays signed in to the pages; `session_idle_seconds` is for a person
            who does nothing there.
        rate: mean number of images and other requests per second and key; `burst` is the most at once.
        keep_days: age in days at which images are removed; None: no limit. Rows are never removed.
        keep_bytes: total size above which the oldest images are removed; None: no limit.
        expire_reviewed: whether images are removed too that a person reviewed or that wait for a review.
        cache: verdicts that are remembered by the image's content and the bundle, so that a repeated image is not
            scored again; None: none.
        audit_share: share of the inspections, whatever their verdict, that are drawn at random for a person to review.
        report_url: of a server with OpenAI's interface whose model may rephrase reports; None: none does.
        report_model: the model's name there.
        report_seconds: most seconds that it may take; then the template's words stay.
        shifts: names of the shifts, each with the minute of the day, local time, at which it begins; none: no shifts.
        arena: folder of labelled images for the arena, a folder for each label; None: reviewed inspections alone.
        synonyms: file of words that mean the same in a search of cases, read again for each search; None: none.
        rerank: whether a network of language orders what a search of cases by words finds, and adds what is near in
            meaning; it needs the extra `text`.
        embedder: file that describes two networks of the user's, by which words find pictures of cases; None: none.
        depth: file that describes a network of the user's that tells depth in an image; None: none.
        fall_back: whether the service starts with the bundle that was activated before, where the last one is damaged
            or gone.
        watch: how it is told whether the certificate of a bundle that is taken into use still holds.
        webhook: where it is posted that a certificate is in doubt, withdrawn or holds again; None: nowhere.
        webhook_secret: file of the key of its signature; it goes with `webhook`.
        webhook_proxy: URL of a proxy for it; None: there is none.
        tls: whether clients connect by TLS; responses then have Strict-Transport-Security.
    """

    bundle: Path
    data: Path
    box_model: Path | None = None
    bundles: Path | None = None
    registry: RegistrySource | None = None
    registry_seconds: float = 5.0
    trust: Path | None = None
    database: str | None = None
    threads: int | None = None
    workers: int = 1
    formats: tuple[str, ...] = WITHOUT_TIFF
    max_body: int = 64 * MEBIBYTE
    max_stream_body: int = 4096 * MEBIBYTE
    max_images: int = 64
    max_stream_images: int = 10_000
    max_image: int = 32 * MEBIBYTE
    max_pixels: int = 25_000_000
    memory: int | None = None
    waiting: int = 128
    batch: int = 8
    cache: int | None = None
    deadline: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 10.0
    connections: int = 1024
    address_connections: int | None = None
    streams: int = 8
    session_seconds: float = 16 * 3600.0
    session_idle_seconds: float = 8 * 3600.0
    rate: float = 200.0
    burst: int = 1000
    keep_days: float | None = None
    keep_bytes: int | None = None
    expire_reviewed: bool = False
    audit_share: float = 0.01
    report_url: str | None = None
    report_model: str = "default"
    report_seconds: float = 30.0
    shifts: tuple[tuple[str, int], ...] = ()
    arena: Path | None = None
    synonyms: Path | None = None
    rerank: bool = False
    embedder: Path | None = None
    depth: Path | None = None
    fall_back: bool = False
    watch: WatchParams = field(default_factory=WatchParams)
    webhook: str | None = None
    webhook_secret: Path | None = None
    webhook_proxy: str | None = None
    tls: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a limit is not above 0, a share not within 0 and 1, a shift no time of the day, a
                format is not one of FORMATS, `waiting` is below `max_images`, or a webhook is not complete.
        """
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not isinstance(value, bool) and name not in SHARES and not value > 0:
                raise ConfigError(f"{name} is {value}; it must be above 0")
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be within 0 and 1")
        if self.report_url is not None:
            require_http(self.report_url, "report_url")
        begins = [begin for _, begin in self.shifts]
        if any(not 0 <= begin < MINUTES_PER_DAY or begin % SLOT_MINUTES for begin in begins):
            raise ConfigError(f"a shift begins at a quarter of an hour of the day, as 06:00; got {self.shifts}")
        if len(set(begins)) < len(begins):
            raise ConfigError(f"two shifts begin at the same time: {self.shifts}")
        unknown = set(self.formats) - set(FORMATS)
        if unknown or not self.formats:
            raise ConfigError(f"formats has {', '.join(sorted(unknown)) or 'none'}; choose of {', '.join(FORMATS)}")
        if self.waiting < self.max_images:
            raise ConfigError(f"waiting is {self.waiting}, below max_images, {self.max_images}")
        if (self.webhook is None) != (self.webhook_secret is None) or (self.webhook_proxy and not self.webhook):
            raise ConfigError("--webhook and --webhook-secret-file need each other, and --webhook-proxy needs both")
