"""The keys of the section `prepare` that stand beside any source's options; checked without importing what prepares."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class PrepareParams:
    """The `prepare` section, beside the source and its options.

    Attributes:
        calibrate_share: share of the good parts outside test that calibrate gets; fit gets the rest.
        test_share: share of the good parts that test gets where the layout has no test set.
        split: layout keeps the layout's test set; shuffle deals every image anew.
        group_pattern: regular expression whose first group, searched for in a raw file's name, is its group id.
        exclude: raw files to leave alone, as patterns of their names (`*` matches any text).
        contaminate: share of the defective test images that is moved into fit.
        validate_share: share of the defective test images that is moved into validate: labelled images for a
            probability or a search, which neither the threshold nor the test sees.
        max_rejects: so many unreadable images are accepted.
    """

    calibrate_share: Share
    test_share: Share
    split: Literal["layout", "shuffle"]
    group_pattern: str | None
    exclude: list[str]
    contaminate: Annotated[float, Field(ge=0, le=1)]
    validate_share: Share
    max_rejects: Annotated[int, Field(ge=0)]
