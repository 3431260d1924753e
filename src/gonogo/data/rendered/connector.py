"""A moulded connector on a light plate: glass-filled housing with two rows of gold pins, a key slot, screw ears."""

from dataclasses import dataclass, replace

import numpy as np

from gonogo.data.rendered.marks import Damage, blob, groove
from gonogo.data.rendered.shading import (
    View,
    between,
    box,
    clouds,
    grain,
    inside,
    lay,
    lit,
    lookup,
    power,
    smoothstep,
    soft,
)

DEFECT_TYPES = ("bent_pin", "missing_pin", "flash", "chip", "scratch", "stain")

PLATE = (0.50, 0.50, 0.47)
PLASTIC = (0.055, 0.062, 0.075)
GOLD = (1.0, 0.74, 0.32)
GREASE = (0.62, 0.52, 0.34)

ROWS, COLUMNS, PITCH, ROW_PITCH = 2, 6, 0.19, 0.33
PIN = 0.046  # half width
WIDE, HIGH, CORNER = 0.70, 0.53, 0.08  # the housing, as halves
CAVITY_WIDE, CAVITY_HIGH, CAVITY_CORNER = 0.605, 0.405, 0.04
EAR_WIDE, EAR_HIGH, EAR_HOLE, EAR_AT = 0.93, 0.22, 0.066, 0.815
SLOT_WIDE, SLOT_AT = 0.1, 0.485  # the key's half width, and its place from the middle down
BEVEL = 0.028


@dataclass(frozen=True)
class Pins:
    """Where the pins stand, and how: each (rows, columns) float32.

    Attributes:
        tip_x: place of the tip beside the pin's place in the grid; `tip_y` likewise.
        tall: 1 for a pin of full height, 0 for none.
        turned: lightness of the tip's facets, from the tool that cut it.
    """

    tip_x: np.ndarray
    tip_y: np.ndarray
    tall: np.ndarray
    turned: np.ndarray


def render(view: View, rng: np.random.Generator, damage: Damage | None = None) -> np.ndarray:
    """(3, h, w) radiance of one connector; `rng` draws its texture, which damage leaves alone."""
    kind = damage.kind if damage else None
    x, y = view.x, view.y
    pins = _pins(rng, damage)
    fine, coarse, glow = grain(view.size, rng, 1), grain(view.size, rng, 3), clouds(view.size, rng, 4)
    canvas = _plate(view, rng)

    outline = np.minimum(box(x, y, WIDE, HIGH, CORNER), box(x, y, EAR_WIDE, EAR_HIGH, 0.06))
    cavity = np.minimum(
        box(x, y, CAVITY_WIDE, CAVITY_HIGH, CAVITY_CORNER),
        box(x, y - SLOT_AT, SLOT_WIDE, 0.2, 0.0),
    )
    cavity = np.where(y > SLOT_AT - 0.02, np.maximum(cavity, y - SLOT_AT), cavity)
    ear_x = np.abs(x) - EAR_AT
    ear = np.sqrt(ear_x * ear_x + y * y) - EAR_HOLE
    chipped: np.ndarray | None = None
    if damage and kind == "chip":
        outline, chipped = _chip(view, damage, outline)
    flash: np.ndarray | None = None
    if damage and kind == "flash":
        flash = _flash(view, damage, outline)

    _shadow(canvas, view, outline if flash is None else np.minimum(outline, flash))
    if flash is not None and damage:
        sheet = inside(flash, view.pixel) * inside(-outline, view.pixel) * (0.45 + 0.45 * damage.strength)
        lay(canvas, sheet, 2.2 + fine * 0.5 + soft(np.abs(flash), 0.02) * 4.0, PLASTIC)

    # The housing's top falls away at its edges: the outer one, the cavity's and the screw holes'.
    surface = np.maximum(np.maximum(outline, -cavity), -ear)
    bevel = soft(np.abs(surface + BEVEL / 2), BEVEL * 1.2) * -0.85
    toward_x, toward_y = _gradient(surface, view)
    slope_x = fine * 0.07 + coarse * 0.03 + toward_x * bevel
    slope_y = coarse * 0.07 - fine * 0.03 + toward_y * bevel
    if chipped is not None and damage:
        slope_x = slope_x * (1.0 - chipped) + chipped * (coarse * 0.9 + 0.3)
        slope_y = slope_y * (1.0 - chipped) + chipped * (glow * 0.6 + fine * 0.25 + 0.3)
    marred: np.ndarray | float = 0.0
    if damage and kind == "scratch":
        middle = _on_wall(damage.rng)
        cover, wall_x, wall_y = groove(view, damage.rng, middle, between(damage.rng, 0.12, 0.22))
        slope_x, slope_y = (
            slope + wall * (0.4 + 0.8 * damage.strength) for slope, wall in ((slope_x, wall_x), (slope_y, wall_y))
        )
        marred = cover * (0.3 + 1.5 * damage.strength)  # the plastic whitens where it is torn
    matt, mirror = lit(slope_x, slope_y, view)
    shade = 0.30 + matt * 0.75 + fine * 0.05 + glow * 0.03 + marred
    if chipped is not None:
        shade = shade + chipped * 0.9
    gloss = power(mirror, 4) * 0.10 + power(mirror, 5) * 0.16
    top = inside(outline, view.pixel) * inside(-ear, view.pixel)
    lay(canvas, top * inside(-cavity, view.pixel), shade, PLASTIC, gloss)
    lay(canvas, top * _triangle(view), 3.4, PLASTIC)  # the mark of pin 1

    # Inside: a deeper floor, dark towards the lamp, and the pins on it.
    room = top * inside(cavity, view.pixel)
    open_to = np.maximum(
        box(x + view.light[0] * 0.15, y + view.light[1] * 0.15, CAVITY_WIDE, CAVITY_HIGH, CAVITY_CORNER), cavity
    )
    floor = (0.16 + 0.55 * soft(open_to, 0.07)) * (1.0 + fine * 0.12)
    lay(canvas, room, floor, PLASTIC, 0.008)
    _stand(canvas, view, room, pins)

    if damage and kind == "stain":
        spot = blob(view, damage.rng, _anywhere(damage.rng), between(damage.rng, 0.09, 0.17))
        film = smoothstep(spot * 2.0) * top * (0.2 + 0.5 * damage.strength) * (0.85 + 0.15 * coarse)
        lay(canvas, film, 0.20 + 0.1 * glow, GREASE, power(mirror, 5) * 0.2)
    return canvas


def _pins(rng: np.random.Generator, damage: Damage | None) -> Pins:
    """Pins as they are set, within tolerance, and as they are after damage."""
    jitter = rng.random((3, ROWS, COLUMNS), dtype=np.float32) * 2.0 - 1.0
    tip_x, tip_y, tall, turned = (
        jitter[0] * 0.004,
        jitter[1] * 0.004,
        np.ones((ROWS, COLUMNS), dtype=np.float32),
        jitter[2],
    )
    if damage and damage.kind in ("bent_pin", "missing_pin"):
        row, column = int(damage.rng.integers(0, ROWS)), int(damage.rng.integers(0, COLUMNS))
        if damage.kind == "missing_pin":
            tall[row, column] = 0.4 * (1.0 - damage.strength)
        else:
            sideways, along = between(damage.rng, -0.6, 0.6), float(damage.rng.integers(0, 2)) * 2 - 1
            reach = 0.02 + 0.05 * damage.strength
            tip_x[row, column] += along * reach
            tip_y[row, column] += sideways * reach
    return Pins(tip_x, tip_y, tall, turned)


def _stand(canvas: np.ndarray, view: View, room: np.ndarray, pins: Pins) -> None:
    """Put the pins and their shadows into the cavity's `room`; each is drawn in its cell of the grid."""
    rows = np.flatnonzero(np.abs(view.y).min(axis=1) < ROWS * ROW_PITCH / 2)
    columns = np.flatnonzero(np.abs(view.x).min(axis=0) < COLUMNS * PITCH / 2)
    near = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    view = replace(view, x=view.x[near], y=view.y[near])
    canvas, room = canvas[:, near[0], near[1]], room[near]
    column = np.floor(view.x / PITCH + COLUMNS / 2)
    row = np.floor(view.y / ROW_PITCH + ROWS / 2)
    on_grid = (column >= 0) & (column < COLUMNS) & (row >= 0) & (row < ROWS)
    i = np.clip(row, 0, ROWS - 1).astype(np.intp)
    j = np.clip(column, 0, COLUMNS - 1).astype(np.intp)
    x = view.x - (column - (COLUMNS / 2 - 0.5)) * PITCH
    y = view.y - (row - (ROWS / 2 - 0.5)) * ROW_PITCH
    tall = pins.tall[i, j]
    tip_x, tip_y = pins.tip_x[i, j], pins.tip_y[i, j]
    # Seen from above a pin is its square tip; a bent one also shows a side between foot and tip.
    dx, dy = x - tip_x, y - tip_y
    tip = box(dx, dy, PIN, PIN, 0.008)
    length = np.maximum(tip_x * tip_x + tip_y * tip_y, 1e-9)
    t = np.clip((x * tip_x + y * tip_y) / length, 0.0, 1.0)
    side = box(x - tip_x * t, y - tip_y * t, PIN * 0.92, PIN * 0.92, 0.008)
    there = on_grid * np.minimum(tall * 4.0, 1.0)
    body = np.maximum(inside(tip, view.pixel), inside(side, view.pixel)) * there
    # The shadow falls away from the lamp, as far as the pin is tall.
    far_x, far_y = view.light[0] * -0.14, view.light[1] * -0.14
    s = np.clip((dx * far_x + dy * far_y) / (far_x * far_x + far_y * far_y), 0.0, 1.0) * tall
    shadow = soft(box(dx - far_x * s, dy - far_y * s, PIN, PIN, 0.01), 0.03) * there
    # A flat with four facets around it.
    wide, high = np.abs(dx), np.abs(dy)
    facet = smoothstep((np.maximum(wide, high) - PIN * 0.42) / 0.012)
    level = 0.3 + 0.7 * tall
    slope_x = np.where(wide > high, np.sign(dx) * -0.8, 0.0).astype(np.float32) * facet
    slope_y = np.where(wide > high, 0.0, np.sign(dy) * -0.8).astype(np.float32) * facet
    matt, mirror = lit(slope_x, slope_y, view)
    on_top = inside(tip, view.pixel)
    shade = (0.10 + 0.10 * on_top + (0.62 + 0.06 * pins.turned[i, j]) * matt * on_top) * level
    lay(canvas, room * shadow * 0.7, 0.0, PLASTIC)
    lay(canvas, room * body, shade, GOLD, power(mirror, 5) * 0.45 * on_top * level)


def _plate(view: View, rng: np.random.Generator) -> np.ndarray:
    """(3, h, w) a brushed, painted plate."""
    brushed = lookup(rng.random(view.size, dtype=np.float32), np.arange(view.size, dtype=np.float32) / view.size)
    shade = 0.97 + (brushed[:, None] - 0.5) * 0.03 + grain(view.size, rng, 2) * 0.035 + clouds(view.size, rng, 2) * 0.04
    return shade * np.array(PLATE, dtype=np.float32)[:, None, None]


def _shadow(canvas: np.ndarray, view: View, outline: np.ndarray) -> None:
    x, y = view.x + view.light[0] * 0.13, view.y + view.light[1] * 0.13
    dark = soft(np.minimum(box(x, y, WIDE, HIGH, CORNER), box(x, y, EAR_WIDE, EAR_HIGH, 0.06)), 0.10)
    canvas *= (1.0 - dark * 0.6) * (1.0 - soft(outline - 0.015, 0.07) * 0.35)


def _chip(view: View, damage: Damage, outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outline after a piece broke off the wall's corner or edge, and where its fracture shows."""
    x, y = between(damage.rng, -0.62, 0.62), HIGH * (1 if damage.rng.random() < 0.5 else -1)
    if damage.rng.random() < 0.4:
        x = 0.66 if x > 0 else -0.66
    bite = blob(view, damage.rng, (x, y), 0.06 + 0.07 * damage.strength)
    return np.maximum(outline, (bite - 0.55) * 0.12), smoothstep(bite * 5.0)


def _flash(view: View, damage: Damage, outline: np.ndarray) -> np.ndarray:
    """(h, w) signed distance from a thin sheet of plastic that ran out of the mould along a piece of the edge."""
    start, length = between(damage.rng, -0.55, 0.25), between(damage.rng, 0.16, 0.32)
    t = (view.x - start) / length
    jags = damage.rng.random(9, dtype=np.float32)
    bulge = np.maximum(t * (1.0 - t), 0.0) * 4.0 * (0.45 + 0.55 * lookup(jags, t)) * (0.04 + 0.07 * damage.strength)
    on_side = view.y > 0 if damage.rng.random() < 0.5 else view.y < 0
    return np.where(on_side & (bulge > 0), outline - bulge, np.float32(1.0))


def _triangle(view: View) -> np.ndarray:
    """(h, w) cover of the mark of pin 1: a raised triangle at the upper left of the wall."""
    x, y = view.x + 0.49, view.y + 0.468
    edge = np.maximum(-y - 0.022, np.abs(x) * 0.88 + y * 0.47 - 0.012)
    return inside(edge, view.pixel)


def _gradient(distance: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Unit slopes of a signed distance, to the right and down in the image."""
    across, down = np.zeros_like(distance), np.zeros_like(distance)  # the part never reaches the image's border
    across[:, 1:-1] = (distance[:, 2:] - distance[:, :-2]) * (0.5 / view.pixel)
    down[1:-1] = (distance[2:] - distance[:-2]) * (0.5 / view.pixel)
    return across, down


def _on_wall(rng: np.random.Generator) -> tuple[float, float]:
    side = 1 if rng.random() < 0.5 else -1
    if rng.random() < 0.35:
        return side * 0.8, between(rng, -0.14, 0.14)
    return between(rng, -0.5, 0.5), side * 0.47


def _anywhere(rng: np.random.Generator) -> tuple[float, float]:
    return between(rng, -0.6, 0.6), between(rng, -0.45, 0.45)
