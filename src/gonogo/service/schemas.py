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
    solidity: float | None = Field(None, description="the share of its convex hull; null before this was recorded")
    elongation: float | None = Field(None, description="the ratio of its axes, 1 or more; null as above")


class Certificate(BaseModel):
    """What is known about the false alarms at the threshold."""

    sentence: str
    method: str
    certified: bool
    false_alarm_rate: float | None = Field(
        description="largest share of good parts that is rejected; null by tail and leave_one_out"
    )
    confidence: float
    n_good_parts: int
    state: Literal["holds", "in doubt", "withdrawn"] | None = Field(
        None, description="whether it held when this was said; null where it was not watched"
    )
    since: datetime | None = Field(None, description="when it was withdrawn")


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


class PredictedBox(BaseModel):
    """A defect that the gauge found, in pixels of the upright image; `score` is in the unit of the threshold."""

    label: str = Field(description="name of its class")
    x: float
    y: float
    width: float
    height: float
    score: float
    confidence: float = Field(ge=0, le=1)


class BoxModel(BaseModel):
    """The bundle that found the boxes beside the verdict of another one, the gauge. Its boxes decide no verdict."""

    category: str
    bundle: Sha256 = Field(description="its fingerprint")
    threshold: float = Field(description="of the scores of boxes, in a unit of its own")
    certificate: Certificate = Field(description="what is certified of the share of good parts that get any box")


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
    statistics: dict[str, float] | None = Field(
        None,
        description="of the image: brightness, contrast, sharpness, noise, red, blue and size; null for older ones",
    )
    boxes: list[PredictedBox] | None = Field(
        None, description="those at or above the threshold, best first; null where none are looked for"
    )
    box_model: BoxModel | None = Field(
        None, description="that found the boxes beside the gauge; null where the gauge itself did, or nothing does"
    )
    reviews: list[KeptReview] = Field([], description="all, oldest first, those taken back too")
    settlement: Settlement


Severity = Annotated[int, Field(ge=1, le=10)]
Told = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]


class CaseFacts(BaseModel):
    """What is known about a case; nulls where nobody said it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"severity": 7, "cause": "worn gripper", "remedy": "exchange the gripper's pads"}
        },
    )

    severity: Severity | None = None
    cause: Told | None = None
    remedy: Told | None = None
    note: Told | None = None


class CaseRegion(Region):
    """The place of a case: a region of the map, or the pixels of a box, whose peak and mean are then its score."""

    label: str | None = Field(None, description="the class of the box; null for a region of the map")
    confidence: float | None = Field(None, ge=0, le=1, description="of the box")


class Case(BaseModel):
    """A defect of the past."""

    id: InspectionId
    inspection: InspectionId | None = Field(description="that was reviewed as a defect; null for one of an archive")
    source: str | None = Field(description="the name of its image")
    part: str | None
    category: str
    defect_type: str
    severity: int | None = Field(description="1 to 10, the worst")
    cause: str | None
    remedy: str | None
    note: str | None
    region: CaseRegion | None = Field(
        description="the best box, or the region with the highest peak; null where the image has none"
    )
    at: datetime


class SimilarCase(Case):
    """A case, and the distance of its vector from that of an image."""

    distance: float


class Similar(BaseModel):
    """The cases that are most like an image, the nearest first; the image itself and its part are left out."""

    compared: Literal["region", "image"] | None = Field(
        description="what of the images was compared; null where nothing could be"
    )
    nothing_like_it: bool = Field(
        description="whether the nearest case is farther away than good parts are from each other, or there is none"
    )
    good_distance: float | None = Field(description="which 95 % of pairs of good parts do not exceed")
    reason: str | None = Field(description="why no cases can be compared; null where they can")
    cases: list[SimilarCase]


class FoundCase(Case):
    """A case, and why a search by words found it."""

    all_words: bool | None = Field(None, description="whether it has all words of the search; null without one")
    similarity: float | None = Field(None, description="in meaning, of its nearest text; null where not compared")


class Meaning(BaseModel):
    """What a model that compares meanings says of a search."""

    model: str
    least: float = Field(description="a similarity that is not above it says nothing: no case is found for it")
    nearest: float | None = Field(description="the highest similarity; null where nothing could be compared")
    useful: bool = Field(description="whether the nearest is near enough")
    waiting: int = Field(description="cases that are not compared yet; a later search goes on with them")


class Cases(BaseModel):
    """One page of cases: in the order of their ids from the last one, or the best first in a search by words."""

    cases: list[FoundCase]
    before: InspectionId | None = Field(description="`before` for the next page; null on the last page")
    meaning: Meaning | None = Field(None, description="null where no model compared meanings")


class InspectionWithPictures(Inspection):
    """A new inspection, with the pictures that were requested."""

    map_png: str | None = Field(None, description="base64; 16 bits, 10,000 is the threshold")
    overlay_png: str | None = Field(None, description="base64; the image with its map and regions")
    crop_png: str | None = Field(None, description="base64; the part of the image where it differs most")
    similar: Similar | None = Field(None, description="past cases, where they were requested")


class Inspections(BaseModel):
    """The inspections of one request, in the order of its images."""

    inspections: list[InspectionWithPictures]


class Contribution(BaseModel):
    """What a region, the rest of the image or, without regions, one of nine squares adds to the score."""

    region: int | None = Field(description="number in the inspection's `regions`; null for the rest, or a square")
    square: tuple[int, int] | None = Field(description="row and column among 3 x 3, where there is no region")
    value: float
    highest: float = Field(description="the highest patch score inside")


class Attribution(BaseModel):
    """What a score is made of: the values of `contributions` and `base` sum to `score`, but for `error`, rounding."""

    score: float
    base: float = Field(0.0, description="the score of a usual good part where the largest patch score decides, or 0")
    method: Literal["airport", "sum", "coalitions"] | None = Field(
        None,
        description="airport: Shapley values of the largest patch score; sum: shares of a sum; coalitions: Shapley "
        "values from all coalitions; null where the score is not taken apart",
    )
    aggregate: Literal["max", "mean_of_highest", "root_mean_square"] | None = Field(
        None, description="how the patch scores make the score"
    )
    contributions: list[Contribution] = []
    error: float = 0.0
    whole: Literal["boxes", "image", "bundle", "score"] | None = Field(
        description="why the score is not taken apart: it is that of the best box, the detector judges the image as a "
        "whole, the bundle lacks the patch scores, or the score does not follow from them"
    )


class TracedPlace(BaseModel):
    """A place where the part differs, in pixels of the upright image, and the good patch nearest to it."""

    box: tuple[int, int, int, int]
    distance: float = Field(description="the highest value of the anomaly map there, in the unit of the score")
    good_image: str
    good_box: tuple[int, int, int, int]


class TracedCause(BaseModel):
    """A cause that similar cases have, and what was done; `distance` is that of the nearest of them."""

    cause: str
    remedy: str | None
    distance: float
    cases: list[str]


class TracedItem(BaseModel):
    """A cause that people linked with a failure mode, and the names of the actions against it."""

    id: str
    name: str
    actions: list[str]


class TracedMode(BaseModel):
    """The failure mode of similar cases, of which the nearest has this distance."""

    mode: str
    name: str
    distance: float
    actions: list[str]
    causes: list[TracedItem]


class DepthStatistics(BaseModel):
    """Of relative nearness, within 0 and 1: 0 is what 2 % of the image are farther than, 1 what 2 % are nearer than."""

    median: float
    spread: float = Field(description="between the farthest and the nearest quarter")
    plane: float = Field(description="share of the variance that a tilted plane explains")
    roughness: float = Field(description="root mean square of what the plane leaves")
    step: float = Field(description="the largest difference between two places beside each other")


class Depth(BaseModel):
    """What a network of the user's says of depth in one image. No number of it has a unit."""

    inspection: InspectionId
    label: Literal["monocular, relative, not metrology"]
    network: Sha256 = Field(description="identifies the network and how it is given an image")
    statistics: DepthStatistics


class Trace(BaseModel):
    """How an inspection leads to causes and remedies, step by step, the nearest first in each."""

    inspection: InspectionId
    verdict: VerdictLabel
    score: float
    threshold: float
    places: list[TracedPlace] = Field(description="none where the bundle has no good patches")
    similar: Similar
    causes: list[TracedCause] = Field(description="that the similar cases have")
    known: list[TracedMode] = Field(description="of the knowledge, by the types of the similar cases")


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


Language = Literal["en", "de"]


class ReportRequest(BaseModel):
    """What a report is to be written in."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"language": "en"}})

    language: Language | None = Field(None, description="default: that of the header Accept-Language, or English")


class ReportSentence(BaseModel):
    """A sentence of a report, with the facts and cases that it rests on."""

    text: str
    facts: list[str]
    cases: list[str]


class ReportFact(BaseModel):
    """A fact of a report."""

    id: str
    text: str


class ReportNote(BaseModel):
    """What a person wrote in a review. It is quoted beside the report, and no sentence rests on it."""

    by: str
    at: datetime
    text: str


class DroppedSentence(ReportSentence):
    """A sentence of a language model that did not hold, with what is wrong with it."""

    faults: list[str]


FellBack = Literal["refused", "time-out", "unreachable", "status", "broken", "dropped", "incomplete"]


class ReportModel(BaseModel):
    """The language model that was asked, and what came of it."""

    name: str
    prompt_sha256: Sha256
    seconds: float
    fell_back: Literal["refused", "time-out", "unreachable", "status", "broken", "dropped", "incomplete"] | None = (
        Field(description="why the template's words stay; null where the model's are used")
    )
    dropped: list[DroppedSentence]


class Report(BaseModel):
    """A report on an inspection. While it is pending there is no content, and where it failed `error` says why."""

    id: int
    inspection: InspectionId
    at: datetime
    language: Language
    state: Literal["pending", "ready", "failed"]
    ended: datetime | None
    error: str | None
    made_by: Literal["template", "model"] | None = None
    sentences: list[ReportSentence] = []
    facts: list[ReportFact] = []
    cases: list[ReportFact] = Field(
        [], description="the past cases that are most like the part; ids are those of cases"
    )
    notes: list[ReportNote] = []
    model: ReportModel | None = None


CorrectionReason = Literal["false_alarm", "miss", "wrong_category", "note"]
Note = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]


class Correction(BaseModel):
    """What is wrong with an inspection, in the name of the key."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"reason": "miss", "defect_type": "scratch"}}
    )

    reason: CorrectionReason = Field(
        description="false_alarm: a good part was rejected; miss: a defect passed; wrong_category: it is another part"
    )
    defect_type: Text | None = Field(None, description="of a miss")
    category: Text | None = Field(None, description="to which the part belongs, where that is the reason")
    note: Note | None = Field(None, description="the reason `note` needs one")


class KeptCorrection(BaseModel):
    """A stored correction; `review` is the id of the review that it is too."""

    id: int
    reason: CorrectionReason
    defect_type: str | None
    category: str | None
    note: str | None
    reviewer: str
    at: datetime
    key: str
    review: int | None


class Corrections(BaseModel):
    """The corrections of an inspection, oldest first."""

    corrections: list[KeptCorrection]


class Undo(BaseModel):
    """The review to take back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"review": 17}})

    review: Annotated[int, Field(ge=1, le=2**63 - 1)]


class Task(BaseModel):
    """The inspection that a person should review next, and why."""

    reason: Literal["disputed", "corrected", "questioned", "uncertain", "rejected", "audit"] | None = Field(
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


class Claim(BaseModel):
    """The evidence against one claim; evidence is the wealth of a bettor who began with 1."""

    observations: int
    log_evidence: float = Field(description="natural logarithm")
    since: int = Field(description="observations after which the evidence has grown")
    since_key: str | None = Field(description="id of the last inspection before it grew; null: it grew from the start")
    recent_change: bool = Field(description="whether it has grown fast of late, as it would once in `run_length` parts")
    statistics: dict[str, "Claim"] | None = Field(None, description="of images: the evidence of each statistic")


class Sample(BaseModel):
    """The audit sample as the claim `audits` counts it, up to the newest part that is reviewed."""

    rejected: int = Field(description="good parts that were rejected")
    passed: int = Field(description="parts that passed and are good, or wait for a review")
    waiting: int
    reviewed: int


class PastWatch(BaseModel):
    """A time over which a certificate was watched: it began at an activation, or when a person re-instated it."""

    begun: datetime
    bundle: Sha256
    by: str
    key: str | None
    reason: str | None = Field(description="why it was re-instated; null after an activation")
    withdrawn: datetime | None
    inspection: InspectionId | None = Field(description="by which it was withdrawn")


class CertificateStatus(BaseModel):
    """Whether the certificate of the bundle in use still holds, and what speaks against it."""

    category: str
    bundle: Sha256
    state: Literal["holds", "in doubt", "withdrawn"]
    since: datetime | None = Field(description="when it was withdrawn")
    inspection: InspectionId | None = Field(description="by which it was withdrawn")
    parts: int = Field(description="inspected since it is watched")
    log_evidence: float = Field(description="natural logarithm of the mean evidence against all claims")
    needed: float = Field(description="at which it is withdrawn")
    claims: dict[str, Claim]
    sample: Sample
    params: dict[str, float | None]
    certificate: Certificate
    history: list[PastWatch] = Field(description="newest first")


class Moved(BaseModel):
    """One number of each part, before and after; each side as mean, standard deviation and quantiles 5, 50 and 95 %."""

    name: str
    n_before: int
    n_after: int
    before: list[float]
    after: list[float]
    shift: float | None = Field(description="of the mean, in standard deviations before")
    spread: float | None = Field(description="standard deviation after over that before")


class Drift(BaseModel):
    """What moved since the evidence against the certificate began to grow."""

    claim: str = Field(description="the claim or the statistic with the most evidence against it")
    since: datetime | None = Field(description="the last part before; null: it grew from the start of the watch")
    moved: list[Moved]
    typical_before: InspectionId | None = Field(description="the part most like all before, whose image is kept")
    typical_after: InspectionId | None


class Reinstatement(BaseModel):
    """Why the certificate of a bundle holds again."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"bundle": "0" * 64, "reason": "The lamp was replaced; 60 parts checked."}},
    )

    bundle: Sha256 = Field(description="the one in use, so that no other one is re-instated")
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class ProblemDocument(BaseModel):
    """A refusal, by RFC 9457; `type` is `urn:gonogo:problem:` followed by the kind of problem."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
