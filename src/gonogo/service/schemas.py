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
            "example": {"label": "defect", "defect_type": "scratch"},
        },
    )

    label: Literal["good", "defect"]
    defect_type: Text | None = None
    note: Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")] | None = None
    reviewer: Text | None = Field(
        None, description="the name of the key, which is what it is without this; a review of another one is refused"
    )


class KeptReview(BaseModel):
    """A stored review, with its time and the id of the key that it was sent with."""

    id: int
    label: Literal["good", "defect"]
    defect_type: str | None
    note: str | None
    reviewer: str
    at: datetime
    key: str
    undone: datetime | None = Field(description="when it was taken back; such a review counts no more")


class Settlement(BaseModel):
    """What the reviews come to; each key has one voice, that of its last review not taken back."""

    state: Literal["open", "disputed", "settled"] = Field(
        description="disputed where as many reviewers say good as say defect; a further one settles it"
    )
    label: Literal["good", "defect"] | None = Field(description="of a settled one")
    defect_type: str | None
    good: list[str] = Field(description="the reviewers who say so")
    defect: list[str]


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
    reviews: list[KeptReview] = Field([], description="all, oldest first, those taken back too")
    settlement: Settlement


class InspectionWithPictures(Inspection):
    """A new inspection, with the pictures that were requested."""

    map_png: str | None = Field(None, description="base64; 16 bits, 10,000 is the threshold")
    overlay_png: str | None = Field(None, description="base64; the image with its map and regions")


class Inspections(BaseModel):
    """The inspections of one request, in the order of its images."""

    inspections: list[InspectionWithPictures]


class PredictedBox(BaseModel):
    """A defect that the gauge found, in pixels of the upright image; `score` is in the unit of the threshold."""

    label: str = Field(description="name of its class")
    x: float
    y: float
    width: float
    height: float
    score: float
    confidence: float = Field(ge=0, le=1)


class Prediction(BaseModel):
    """The defects of one image. It is rejected where there is one."""

    verdict: VerdictLabel
    score: float = Field(description="of the best box, also where it is below the threshold")
    threshold: float
    confidences: dict[str, float] = Field(description="for each class the confidence that the threshold stands for")
    boxes: list[PredictedBox] = Field(description="at or above the threshold, best first")
    category: str
    bundle: Sha256 = Field(description="fingerprint of the bundle that scored it")
    certificate: Certificate


class Predictions(BaseModel):
    """The defects of the images of one request, in their order."""

    predictions: list[Prediction]


class Page(BaseModel):
    """One page of inspections, newest first."""

    inspections: list[Inspection]
    before: InspectionId | None = Field(description="`before` for the next page; null on the last page")


class Undo(BaseModel):
    """The review to take back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"review": 17}})

    review: Annotated[int, Field(ge=1, le=2**63 - 1)]


class Task(BaseModel):
    """The inspection that a person should review next, and why."""

    reason: Literal["disputed", "questioned", "uncertain", "rejected", "audit"] | None = Field(
        description="why it waits; null where nothing does"
    )
    inspection: Inspection | None
    waiting: dict[str, int] = Field(description="how many wait for each reason, 1,000 at most")


class DefectTypes(BaseModel):
    """The types of defects that reviewers named, in the order in which they came up."""

    category: str
    defect_types: list[str]


class Estimate(BaseModel):
    """A rate that the audit sample tells, with an exact interval; nulls where the sample has no part to count."""

    events: int
    parts: int = Field(description="that are settled")
    waiting: int = Field(description="parts of the sample that are not settled; the interval allows for either outcome")
    rate: float | None
    low: float | None
    high: float | None


class Audit(BaseModel):
    """What the random sample says of the bundle in use, beside what its certificate claims."""

    bundle: Sha256
    certificate: Certificate
    confidence: float
    share: float = Field(description="of inspections that are drawn now")
    drawn: int
    false_alarms: Estimate = Field(description="among good parts, those that were rejected")
    misses: Estimate = Field(description="among parts that passed, those that are defective")


class Rate(BaseModel):
    """Inspections of an hour, a shift, a key or a category, with the share that was rejected and its interval."""

    group: str
    inspected: int
    rejected: int
    uncertain: int
    rate: float
    low: float
    high: float


class ControlPoint(BaseModel):
    """A point of the p-chart: the share rejected in an hour or on a day, with its control limits."""

    begin: datetime
    inspected: int
    rejected: int
    rate: float
    lower_limit: float
    upper_limit: float
    out_of_control: bool


class Bin(BaseModel):
    """A bar of a histogram; `high` is null where it is open."""

    low: float
    high: float | None
    n: int


class BundleHistograms(BaseModel):
    """The distributions of one bundle."""

    bundle: Sha256
    p_values: list[Bin]
    relative_scores: list[Bin] = Field(description="score over threshold; 1 and more is rejected")
    latency_ms: list[Bin] = Field(description="from decoding to the verdict")


class Analytics(BaseModel):
    """Counts and rates of the inspections between two moments."""

    since: datetime
    until: datetime
    confidence: float
    total: Rate | None
    by_hour: list[Rate]
    by_shift: list[Rate]
    by_key: list[Rate]
    by_category: list[Rate]
    p_chart: list[ControlPoint]
    bundles: list[BundleHistograms]


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
