"""What goes in and out of the service, as JSON; OpenAPI and the client are made from it."""

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


def _dated(text: str) -> str:
    """Pydantic would take a number for seconds since 1970."""
    if not text[:1].isdigit() or "T" not in text.upper():
        raise ValueError("expected a date, a time and its offset, as 2026-11-22T06:00:00Z")
    return text


Moment = Annotated[AwareDatetime, BeforeValidator(_dated)]
Judgement = Literal["pass", "reject"]


class Region(BaseModel):
    """Where the part differs, in pixels of the upright image; peak and mean in the map's unit."""

    box: tuple[int, int, int, int] = Field(description="x, y, width, height")
    area: int
    centroid: tuple[float, float] = Field(description="x, y")
    peak: float
    mean: float


class Certificate(BaseModel):
    """What is known about the threshold."""

    sentence: str
    method: str
    certified: bool
    false_alarm_rate: float | None = Field(description="of good parts, at most; by the method tail there is none")
    confidence: float
    n_good_parts: int


class ImageFacts(BaseModel):
    """The image that was judged."""

    sha256: Sha256
    name: str | None = Field(description="the client's name for it")
    format: str
    width: int
    height: int
    n_bytes: int


# What pydantic cannot say of a review by its fields, for those who read the schema; `routes` holds to it.
TYPE_OF_A_DEFECT: list[JsonValue] = [
    {"properties": {"label": {"const": "good"}, "defect_type": {"type": "null"}}},
    {"properties": {"label": {"const": "defect"}, "defect_type": {"type": "string"}}, "required": ["defect_type"]},
]


class Review(BaseModel):
    """What a person says of the part. A defect has a type; a good part has none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": TYPE_OF_A_DEFECT,
            "example": {"label": "defect", "defect_type": "scratch", "reviewer": "Ana"},
        },
    )

    label: Literal["good", "defect"]
    defect_type: Text | None = None
    note: Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")] | None = None
    reviewer: Text


class KeptReview(Review):
    """A review, with when it was given and by whose key."""

    model_config = ConfigDict(extra="ignore")

    at: datetime
    key: str


class Inspection(BaseModel):
    """The verdict of one image. Score and threshold are in the gauge's unit; higher is more anomalous."""

    id: InspectionId
    at: datetime
    verdict: Judgement = Field(description="reject where score >= threshold")
    score: float
    threshold: float
    p_value: float = Field(description="of a good part, the probability to score so high")
    probability: float | None = Field(description="of being defective, where the gauge was calibrated on defects")
    uncertain: bool = Field(description="the score lies within the threshold's own confidence band")
    regions: list[Region]
    category: str
    bundle: Sha256 = Field(description="fingerprint of the bundle that judged it")
    certificate: Certificate
    image: ImageFacts
    timings_ms: dict[str, float] = Field(description="by stage, until the row was written")
    reviews: list[KeptReview] = []


class Judged(Inspection):
    """A new inspection, with pictures where they were request for."""

    map_png: str | None = Field(None, description="base64; 16 bits, 10,000 is the threshold")
    overlay_png: str | None = Field(None, description="base64; the image with its map and regions")


class Inspections(BaseModel):
    """The inspections of one request, in the order of its images."""

    inspections: list[Judged]


class Page(BaseModel):
    """Inspections, newest first."""

    inspections: list[Inspection]
    before: InspectionId | None = Field(description="ask for the next page with it; null on the last one")


class BundleFacts(BaseModel):
    """A bundle that may be activated, or why it may not."""

    name: str
    fingerprint: Sha256 | None
    category: str | None
    signer: str | None
    active: bool
    error: str | None


class Bundles(BaseModel):
    """What there is to activate."""

    bundles: list[BundleFacts]


class Activation(BaseModel):
    """Which bundle to use from now on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"fingerprint": "0" * 64}})

    fingerprint: Sha256


class Health(BaseModel):
    """Whether the service is well."""

    ok: bool
    reasons: list[str] = Field(description="why not; empty where it is")


class ProblemDocument(BaseModel):
    """A refusal, as RFC 9457 has it; `type` is urn:gonogo:problem: and its kind."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
