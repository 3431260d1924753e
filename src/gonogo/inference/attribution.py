"""What a score is made of, place by place: contributions of regions that sum to the score less a base, exactly.

The detector's grid of patch scores decides its score by a rule that the bundle states. Regions are players of a game
whose coalition is worth the score of an image that shows these regions alone. Needs numpy alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, Self

import numpy as np

from gonogo.calibration.regions import Runs

Player = tuple[int | None, tuple[int, int] | None]  # a region's number, or a square; neither for the rest
Aggregate = Literal["max", "mean_of_highest", "root_mean_square"]
MOST_ENUMERATED = 10  # players of a game whose coalitions are all computed
MOST_REGIONS = MOST_ENUMERATED - 1  # beside the rest of the image; the lower ones belong to the rest
SQUARES = 3  # along each side of an image without regions
ROUNDING = 1e-4  # by which the score that a rule gives may differ from the network's, relative to it


@dataclass(frozen=True)
class PatchRule:
    """How a score follows from the patch scores (t, gh, gw) of the t tiles of an image, and where the tiles lie.

    The score of an image is that of its most anomalous tile; without tiling there is one tile.

    Attributes:
        aggregate: of a tile's patches: the largest, the mean of the largest, or the root mean square.
        highest_share: the share of a tile's patches that the mean of the largest takes, at least one.
        margin: cells along each border of a grid that do not count.
        canvas, tile: (height, width) in pixels.
        rows, columns: first pixels of the tiles on the canvas; tiles are counted row by row.
    """

    aggregate: Aggregate
    highest_share: float
    margin: int
    canvas: tuple[int, int]
    tile: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """The rule as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The rule that `to_dict` wrote.

        Raises:
            KeyError, TypeError: a key is missing, unknown or of another kind.
        """
        values = dict(content)
        for name in ("canvas", "tile", "rows", "columns"):
            values[name] = tuple(content[name])
        return cls(**values)

    def score(self, patches: np.ndarray) -> float:
        """The score of patch scores (t, gh, gw), whose margin is left away already."""
        flat = patches.reshape(len(patches), -1).astype(np.float64)
        if self.aggregate == "max":
            of_tiles = flat.max(axis=1)
        elif self.aggregate == "mean_of_highest":
            of_tiles = np.sort(flat, axis=1)[:, -self.n_highest(flat.shape[1]) :].mean(axis=1)
        else:
            of_tiles = np.sqrt(np.square(flat).mean(axis=1))
        return float(of_tiles.max())

    def n_highest(self, n_patches: int) -> int:
        """How many of a tile's patches the mean of the largest takes."""
        return max(1, int(self.highest_share * n_patches))

    def inner(self, patches: np.ndarray) -> np.ndarray:
        """Patch scores (t, gh, gw) without their margin."""
        m = self.margin
        return patches[:, m:-m, m:-m] if m else patches

    def highest_in_cells(self, values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
        """(t, gh - 2 m, gw - 2 m): the highest of the image's values (h, w) in each cell of the tiles' grids, but m."""
        tiles = []
        for row in self.rows:
            down = _edges(row, self.tile[0], self.canvas[0], grid[0], values.shape[0])
            band = np.maximum.reduceat(values[: down[-1]], down[:-1], axis=0)
            for column in self.columns:
                across = _edges(column, self.tile[1], self.canvas[1], grid[1], values.shape[1])
                tiles.append(np.maximum.reduceat(band[:, : across[-1]], across[:-1], axis=1))
        return self.inner(np.stack(tiles))


def _edges(start: int, size: int, canvas: int, n_cells: int, length: int) -> np.ndarray:
    """(n_cells + 1,): where each cell of a tile begins among `length` pixels of the image, and where the last ends."""
    places = (start + np.arange(n_cells + 1) * size / n_cells) * length / canvas
    edges = np.minimum(np.floor(places).astype(np.int64), length - 1)
    edges[-1] = min(length, max(math.ceil(places[-1]), int(edges[-2]) + 1))
    return edges


@dataclass(frozen=True)
class Contribution:
    """What one player adds to the score.

    region: its number among the verdict's regions, from 0; None for the rest of the image, or for a square of it.
    square: (row, column) among SQUARES x SQUARES, of an image without regions; None otherwise.
    value: in the score's unit; may be 0, and is never negative.
    highest: the highest patch score inside; 0 where no patch lies inside.
    """

    region: int | None
    square: tuple[int, int] | None
    value: float
    highest: float


@dataclass(frozen=True)
class Attribution:
    """Contributions that sum to `score - base`, but for `error`, which is rounding.

    method: "airport": Shapley values in closed form, of the largest patch score; "sum": shares of a sum; "coalitions":
        Shapley values from all coalitions.
    base: what an image without any of the players is worth: for the largest patch score that of a usual good part, or 0
        where the score is below it; otherwise 0.
    """

    method: Literal["airport", "sum", "coalitions"]
    aggregate: Aggregate
    score: float
    base: float
    contributions: tuple[Contribution, ...]
    error: float

    def to_dict(self) -> dict[str, Any]:
        """The attribution as JSON values."""
        return vars(self) | {"contributions": [vars(each) for each in self.contributions]}


def attribute(
    patches: np.ndarray, score: float, anomaly_map: np.ndarray, mask: np.ndarray, rule: PatchRule, *, usual: float
) -> Attribution | None:
    """What a score is made of; None where it does not follow from the patch scores by the rule.

    Players are the regions, the highest MOST_REGIONS of them, and the rest of the image; where there is no region,
    SQUARES x SQUARES equal squares of the image. A patch belongs to the highest region that reaches into its cell.

    Args:
        patches: (t, gh, gw) patch scores of the image's tiles.
        score: the image's.
        anomaly_map: (h, w), that of the verdict.
        mask: (h, w) bool, the pixels of its regions.
        rule: the bundle's.
        usual: the score of a usual good part.
    """
    inner = rule.inner(patches).astype(np.float64)
    if not math.isclose(rule.score(inner), score, rel_tol=ROUNDING, abs_tol=1e-12):
        return None
    labels, names = _players(anomaly_map, mask)
    owner = len(names) - 1 - rule.highest_in_cells(labels, (patches.shape[1], patches.shape[2]))  # of each patch
    highest = [float(inner[owner == player].max(initial=0.0)) for player in range(len(names))]
    base = 0.0
    method: Literal["airport", "sum", "coalitions"]
    if rule.aggregate == "max":
        base = usual if 0 < usual < score else 0.0
        method, values = "airport", airport(highest, base)
    elif len(inner) == 1:
        method, values = "sum", _shares(inner[0], owner[0], len(names), rule)
    else:
        method = "coalitions"
        values = shapley(len(names), lambda of: rule.score(np.where(np.isin(owner, of), inner, 0.0)))
    contributions = tuple(
        Contribution(region, square, value, top)
        for (region, square), value, top in zip(names, values, highest, strict=True)
    )
    return Attribution(method, rule.aggregate, score, base, contributions, score - base - math.fsum(values))


def _players(anomaly_map: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, list[Player]]:
    """For each pixel (h, w) the number of players after its own, and the region or square of each player."""
    runs = Runs.of(mask)
    peaks = runs.per_region(np.maximum, runs.per_run(np.maximum, anomaly_map))
    if not len(peaks):
        row, column = (np.arange(length) * SQUARES // length for length in mask.shape)
        squares = [(i, j) for i in range(SQUARES) for j in range(SQUARES)]
        return len(squares) - 1 - (row[:, None] * SQUARES + column), [(None, square) for square in squares]
    rank = np.empty(len(peaks), dtype=np.int64)
    rank[np.argsort(-peaks, kind="stable")] = np.arange(len(peaks))  # the number of each region in the verdict
    n_regions = min(len(peaks), MOST_REGIONS)
    names: list[Player] = [*((number, None) for number in range(n_regions)), (None, None)]
    return runs.painted(np.maximum(n_regions - rank, 0)), names


def airport(costs: Sequence[float], base: float) -> list[float]:
    """Shapley values of the game in which a coalition is worth the largest of `base` and its members' costs.

    They sum to that of all players less `base`. Members share each step from one cost to the next among all whose cost
    is at least so high.

    Source: Littlechild and Owen 1973, "A Simple Expression for the Shapley Value in a Special Case" (Management
    Science 20); checked against all coalitions in tests/inference/test_attribution.py.
    """
    above = np.maximum(np.asarray(costs, dtype=np.float64) - base, 0.0)
    order = np.argsort(above, kind="stable")
    steps = np.diff(above[order], prepend=0.0) / np.arange(len(above), 0, -1)
    values = np.empty(len(above))
    values[order] = np.cumsum(steps)
    return [float(value) for value in values]


def shapley(n_players: int, worth: Callable[[Sequence[int]], float]) -> list[float]:
    """Shapley values from the worth of every coalition; that of nobody is the base.

    Source: Shapley 1953, "A Value for n-Person Games".

    Raises:
        ValueError: there are more than MOST_ENUMERATED players.
    """
    if n_players > MOST_ENUMERATED:
        raise ValueError(f"{n_players} players have {2**n_players} coalitions; at most {MOST_ENUMERATED} are taken")
    players = range(n_players)
    worths = {of: worth(of) for size in range(n_players + 1) for of in combinations(players, size)}
    values = [0.0] * n_players
    for of, without in worths.items():
        weight = 1 / (n_players * math.comb(n_players - 1, len(of))) if len(of) < n_players else 0.0
        for player in set(players) - set(of):
            values[player] += weight * (worths[tuple(sorted((*of, player)))] - without)
    return values


def _shares(patches: np.ndarray, owner: np.ndarray, n_players: int, rule: PatchRule) -> list[float]:
    """Each player's terms of the sum that the score of one tile's patches (gh, gw) is."""
    flat = patches.ravel()
    if rule.aggregate == "mean_of_highest":
        terms = np.zeros(flat.size)
        chosen = np.argsort(flat, kind="stable")[-rule.n_highest(flat.size) :]
        terms[chosen] = flat[chosen] / len(chosen)
    else:
        squares = np.square(flat)
        score = math.sqrt(squares.mean())
        terms = squares / (flat.size * score) if score > 0 else squares
    return [float(total) for total in np.bincount(owner.ravel(), weights=terms, minlength=n_players)]
