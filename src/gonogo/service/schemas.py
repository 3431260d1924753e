"""The JSON of requests and responses, from which the OpenAPI document and the client are made."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
InspectionId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Text = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*[^\s\x00-\x1f][^\x00-\x1f]*$"
    ),
]


def _require_date(text: str) -> str:
    """Refuse plain numbers, which pydantic would read as seconds since 1970."""
    if not text[:1].isdigit() or "T" not in text.upper():
        raise ValueError("expected a date, a time and its offset, as 2026-11-22T06:00:00Z")
    return text


Moment = Annotated[AwareDatetime, BeforeValidator(_require_date)]
VerdictLabel = Literal["pass", "reject"]


class Region(BaseModel):
    """A region where the part differs, in pixels of the upright image; `peak` and `mean` are in the map's unit."""

    box: tuple[int, int, int, int] = Field(description="x, y, width, height")
    area: int
    centroid: tuple[float, float] = Field(description="x, y")
    peak: float
    mean: float


class Certificate(BaseModel):
    """What is known about the false alarms at the threshold."""

    sentence: str
    method: str
    certified: bool
    false_alarm_rate: float | None = Field(
        description="largest share of good parts that is rejected; null by the method tail"
    )
    confidence: float
    n_good_parts: int


class ImageFacts(BaseModel):
    """The image that was inspected."""

    sha256: Sha256
    name: str | None = Field(description="the client's name for it")
    format: str
    width: int
    height: int
    n_bytes: int


# A rule between two fields of `Review`, which pydantic cannot express; the route checks it.
DEFECT_TYPE_RULE: list[JsonValue] = [
    {"properties": {"label": {"const": "good"}, "defect_type": {"type": "null"}}},
    {"properties": {"label": {"const": "defect"}, "defect_type": {"type": "string"}}, "required": ["defect_type"]},
]


class Review(BaseModel):
    """A person's decision about the part. A defect has a type; a good part has none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": DEFECT_TYPE_RULE,
            "example": {"label": "defect", "defect_type": "scratch", "reviewer": "Ana"},
        },
    )

    label: Literal["good", "defect"]
    defect_type: Text | None = None
    note: Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")] | None = None
    reviewer: Text


class KeptReview(Review):
    """A stored review, with its time and the id of the key that it was sent with."""

    model_config = ConfigDict(extra="ignore")

    at: datetime
    key: str


class Inspection(BaseModel):
    """The verdict of one image. Score and threshold are in the gauge's unit; higher is more anomalous."""

    id: InspectionId
    at: datetime
    verdict: VerdictLabel = Field(description="reject where score >= threshold")
    score: float
    threshold: float
    p_value: float = Field(description="probability that a good part scores at least so high")
    probability: float | None = Field(
        description="that the part is defective; null unless the gauge was calibrated on defects"
    )
    uncertain: bool = Field(description="whether the score lies within the confidence band of the threshold")
    regions: list[Region]
    category: str
    bundle: Sha256 = Field(description="fingerprint of the bundle that scored it")
    certificate: Certificate
    image: ImageFacts
    timings_ms: dict[str, float] = Field(description="milliseconds of each stage")
    reviews: list[KeptReview] = []


class InspectionWithPictures(Inspection):
    """A new inspection, with the pictures that were requested."""

    map_png: str | None = Field(None, description="base64; 16 bits, 10,000 is the threshold")
    overlay_png: str | None = Field(None, description="base64; the image with its map and regions")


class Inspections(BaseModel):
    """The inspections of one request, in the order of its images."""

    inspections: list[InspectionWithPictures]


class Page(BaseModel):
    """One page of inspections, newest first."""

    inspections: list[Inspection]
    before: InspectionId | None = Field(description="`before` for the next page; null on the last page")


class BundleFacts(BaseModel):
    """A bundle that may be activated, or one that is refused, with the reason in `error`."""

    name: str
    fingerprint: Sha256 | None
    category: str | None
    signer: str | None
    active: bool
    error: str | None


class Bundles(BaseModel):
    """The bundles that the service knows."""

    bundles: list[BundleFacts]


class Activation(BaseModel):
    """The bundle to activate."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"fingerprint": "0" * 64}})

    fingerprint: Sha256
    category: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")] | None = Field(
        None, description="of the bundle; required where it is another one than that in use"
    )


class Health(BaseModel):
    """The state of the service."""

    ok: bool
    reasons: list[str] = Field(description="why `ok` is false; otherwise empty")


class Readiness(Health):
    """Whether the service can accept images, and by which bundle it judges them."""

    category: str = Field(description="of the bundle in use")
    bundle: Sha256 = Field(description="its fingerprint")
    warnings: list[str] = Field(description="what a person should look at, although images are accepted")


class ProblemDocument(BaseModel):
    """A refusal, by RFC 9457; `type` is `urn:gonogo:problem:` followed by the kind of problem."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
