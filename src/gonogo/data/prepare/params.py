"""The keys of the section `prepare` that stand beside any source's options; checked without importing what prepares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Raw files to leave alone, and why.

    Attributes:
        pattern: of their names; `*` matches any text.
        reason: for whoever reads the card later; None: nobody said it.
    """

    pattern: str
    reason: Annotated[str, Field(min_length=1)] | None = None


@dataclass(frozen=True, kw_only=True)
class PrepareParams:
    """The `prepare` section, beside the source and its options.

    Attributes:
        calibrate_share: share of the good parts outside test that calibrate gets; fit gets the rest.
        test_share: share of the good parts that test gets where the layout has no test set.
        split: layout keeps the layout's test set; shuffle deals every image anew.
        group_pattern: regular expression whose first group, searched for in a raw file's name, is its group id.
        exclude: raw files to leave alone: patterns of their names, or patterns with a reason.
        contaminate: share of the defective test images that is moved into fit.
        validate_share: share of the defective test images that is moved into validate: labelled images for a
            probability or a search, which neither the threshold nor the test sees.
        max_rejects: so many unreadable images are accepted.
        task: gauge learns from good parts alone; boxes learns from labelled defects what kinds there are and where.
        class_map: boxes: the label that each of these labels is merged into, or None to leave its objects out; names
            are compared without case and separators.
    """

    calibrate_share: Share
    test_share: Share
    split: Literal["layout", "shuffle"]
    group_pattern: str | None
    exclude: list[str | Exclusion]
    contaminate: Annotated[float, Field(ge=0, le=1)]
    validate_share: Share
    max_rejects: Annotated[int, Field(ge=0)]
    task: Literal["gauge", "boxes"] = "gauge"
    class_map: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def exclusions(self) -> list[Exclusion]:
        """`exclude`, with or without a reason each."""
        return [Exclusion(pattern=one) if isinstance(one, str) else one for one in self.exclude]
