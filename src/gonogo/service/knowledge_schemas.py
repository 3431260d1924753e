"""The JSON of what people know of failures, beside what was measured."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gonogo.service.schemas import InspectionId

ONE = r"[a-z0-9][a-z0-9_-]{0,63}"
ItemId = Annotated[str, StringConstraints(pattern=rf"^{ONE}(>{ONE})?$")]
Kind = Literal["mode", "effect", "cause", "control", "action"]
LongText = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]


class KnowledgeItem(BaseModel):
    """A failure mode, an effect, a cause, a control or an action."""

    id: str
    kind: Kind
    name: str
    values: dict[str, str | int] = Field(description="what else is known, by the columns of docs/knowledge.md")
    version: int = Field(description="for `based_on` of a change")


class KnowledgeLink(BaseModel):
    """That one item leads to another, and where it was seen."""

    source: str
    target: str
    relation: Literal["causes", "leads_to", "controls", "remedies", "improves"]
    evidence: list[InspectionId] = Field(description="ids of inspections or cases")
    by: str
    at: str
    version: int


class MeasuredShare(BaseModel):
    """`k` of `n`, and the exact limits of the rate behind them."""

    k: int
    n: int
    rate: float
    low: float
    high: float


class FmeaRow(BaseModel):
    """A failure mode with one of its causes, rated by people and measured; null where nothing is known."""

    mode: str
    cause: str | None
    effects: list[str]
    controls: list[str] = Field(description="of the mode and of the cause")
    actions: list[str]
    severity: int | None = Field(description="S: the highest of the effects")
    occurrence: int | None = Field(description="O: of the cause")
    detection: int | None = Field(description="D: the lowest of the controls that detect")
    priority: Literal["high", "medium", "low"] | None
    measured_occurrence: MeasuredShare | None = Field(
        description="inspections that reviewers settled as this defect, of all of the category; what nobody reviewed "
        "counts as another thing, so that the rate is at least this"
    )
    measured_detection: MeasuredShare | None = Field(
        description="test images of this defect that the bundle in use rejected at its evaluation"
    )


class ParetoBar(BaseModel):
    """How often something comes, its share of all, and that of it and all before it."""

    name: str
    n: int
    share: float
    cumulative: float


class CoOccurrence(BaseModel):
    """Two that come together in `n` of `of`, and how many times as often as by chance."""

    first: str
    second: str
    n: int
    n_first: int
    n_second: int
    of: int
    lift: float


class Production(BaseModel):
    """What of a category was inspected."""

    category: str
    inspected: int
    rejected: int
    unreviewed: int = Field(description="rejected ones that nobody has settled")


class Knowledge(BaseModel):
    """What people know of failures, and what was measured between two moments."""

    since: datetime
    until: datetime
    confidence: float = Field(description="of all intervals")
    priorities: Literal["own", "simple"] = Field(
        description="the table that was loaded, or a simple rule of gonogo's own, which is not that of the AIAG and VDA"
    )
    items: list[KnowledgeItem]
    links: list[KnowledgeLink]
    rows: list[FmeaRow]
    production: list[Production]
    types: list[ParetoBar] = Field(description="of the defects that reviewers settled")
    causes: list[ParetoBar] = Field(description="that people named of past cases")
    types_together: list[CoOccurrence] = Field(description="types of defects that come in the same hour")
    types_and_causes: list[CoOccurrence] = Field(description="types of defects and the causes that cases have")


class KnowledgeVersion(BaseModel):
    """A version of an item or a link; `content` is null where it was removed."""

    version: int
    kind: str
    content: dict[str, str | int | list[str]] | None
    at: datetime
    by: str
    key: str | None


class KnowledgeHistory(BaseModel):
    """The versions of an item or a link, oldest first."""

    id: str
    versions: list[KnowledgeVersion]


class KnowledgeChange(BaseModel):
    """The new content of an item or a link, in the name of the key; without `values` it is removed."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"kind": "effect", "values": {"name": "The seal leaks", "severity": 8}}},
    )

    kind: Literal["mode", "effect", "cause", "control", "action", "link"]
    values: dict[str, LongText | int] | None = Field(
        description="`name` and the columns of its kind; of a link `evidence`, ids with spaces between them"
    )
    based_on: int | None = Field(
        None, ge=0, le=2**63 - 1, description="the version that was seen, 0 for a new one; null: whatever there is"
    )
