"""The roles that an image can have: fit, calibrate, validate and test."""

from typing import Literal

Role = Literal["fit", "calibrate", "validate", "test"]


ROLES: tuple[Role, ...] = ("fit", "calibrate", "validate", "test")


SPLIT_ROLES: tuple[Role, ...] = (
    "fit",
    "calibrate",
    "test",
)  # those that a good part may get by its place in the shuffle


TRAIN: tuple[Role, ...] = ("fit", "calibrate")  # good parts that the layout keeps out of its test set


TEST: tuple[Role, ...] = ("test",)
