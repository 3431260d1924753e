"""A printed label on a painted panel: a logo, text, a bar code and a matrix code, on paper that shines a little."""

import numpy as np

from gonogo.data.rendered.artwork import HIGH, WIDE, ink_at, printed_places
from gonogo.data.rendered.marks import Damage, blob, groove
from gonogo.data.rendered.shading import (
    View,
    between,
    box,
    circle,
    clouds,
    grain,
    inside,
    lay,
    lit,
    power,
    smoothstep,
    soft,
)

DEFECT_TYPES = ("missing_print", "smear", "scratch", "stain", "tear", "bubble")

PANEL = (0.07, 0.17, 0.19)
PAPER = (0.80, 0.80, 0.77)
INK = (0.022, 0.022, 0.026)
ORANGE = (0.78, 0.24, 0.03)
GLUE = (0.42, 0.40, 0.33)
COFFEE = (0.60, 0.40, 0.22)
CORNER = 0.05
LOGO = (-0.59, -0.415, 0.125)  # x, y, radius


def render(view: View, rng: np.random.Generator, damage: Damage | None = None) -> np.ndarray:
    """(3, h, w) radiance of one label; `rng` draws its texture, which damage leaves alone."""
    kind = damage.kind if damage else None
    x, y = view.x, view.y
    fibres, coarse, glow = grain(view.size, rng, 1), grain(view.size, rng, 4), clouds(view.size, rng, 3)
    canvas = _panel(view, rng)
    outline = box(x, y, WIDE, HIGH, CORNER)
    ink = ink_at(x, y, view.size)
    slope_x, slope_y = coarse * 0.012 + glow * 0.02, coarse * -0.012 + glow * 0.02
    worn: np.ndarray | float = 0.0  # where the paper shows through, scratched
    dulled: np.ndarray | float = 0.0  # where it was rubbed
    if damage and kind == "missing_print":
        rubbed = smoothstep(_over_print(view, damage, 0.10 + 0.05 * damage.strength) * 4.0)
        ink = ink * (1.0 - rubbed * (0.35 + 0.65 * damage.strength))
        dulled = rubbed * 0.07
    if damage and kind == "smear":
        ink = _smeared(view, damage, ink)
    if damage and kind == "scratch":
        middle = between(damage.rng, -0.6, 0.6), between(damage.rng, -0.4, 0.4)
        cover, wall_x, wall_y = groove(view, damage.rng, middle, between(damage.rng, 0.15, 0.3))
        worn = cover * (0.35 + 0.65 * damage.strength)
        slope_x, slope_y = (
            slope_x + wall_x * (0.3 + 0.6 * damage.strength),
            slope_y + wall_y * (0.3 + 0.6 * damage.strength),
        )
        ink = ink * (1.0 - worn)
    if damage and kind == "bubble":
        slope_x, slope_y = _raised(view, damage, slope_x, slope_y)
    bite: np.ndarray | None = None
    if damage and kind == "tear":
        bite = _torn(view, damage)

    lay(
        canvas,
        soft(box(x + view.light[0] * 0.03, y + view.light[1] * 0.03, WIDE, HIGH, CORNER), 0.05) * 0.5,
        0.0,
        PANEL,
    )
    whole = outline
    torn: np.ndarray | float = 0.0  # where the paper's core shows along the edge of a tear
    if bite is not None:
        lay(
            canvas,
            inside(outline, view.pixel) * smoothstep(bite * 8.0) * (0.6 + 0.2 * coarse),
            0.75 + fibres * 0.2,
            GLUE,
        )
        whole, torn = np.maximum(outline, (bite - 0.35) * 0.15), smoothstep(bite * 5.0 - 0.3)
    matt, mirror = lit(slope_x, slope_y, view)
    flat = view.light[2]
    shade = 0.93 + (matt - flat) * 1.5 + fibres * 0.016 + glow * 0.012 - worn * 0.16 - dulled
    gloss = power(mirror, 6) * 0.10
    cover = inside(whole, view.pixel)
    lay(canvas, cover, shade + torn * 0.14, PAPER, gloss)
    printed = cover * (1.0 - worn) * (1.0 - torn * 0.9)
    _logo(canvas, view, printed, shade)
    lay(canvas, printed * ink * (0.97 + 0.05 * fibres), shade, INK, gloss)
    if damage and kind == "stain":
        spot = blob(
            view,
            damage.rng,
            (between(damage.rng, -0.6, 0.6), between(damage.rng, -0.4, 0.4)),
            between(damage.rng, 0.09, 0.17),
        )
        rim = smoothstep(spot * 6.0) * (1.0 - smoothstep((spot - 0.12) * 3.0) * 0.45)
        film = rim * cover * (0.2 + 0.7 * damage.strength)
        for channel, tint in zip(canvas, COFFEE, strict=True):
            channel *= 1.0 - film * (1.0 - tint)
    return canvas


def _panel(view: View, rng: np.random.Generator) -> np.ndarray:
    """(3, h, w) paint with the dimples of an orange's peel."""
    peel, fine = grain(view.size, rng, 3), grain(view.size, rng, 0)
    slope_x = np.roll(peel, 1, 1) - peel
    slope_y = np.roll(peel, 1, 0) - peel
    shade = 0.9 + (slope_x + slope_y) * 0.17 + fine * 0.02 + clouds(view.size, rng, 2) * 0.05
    return np.asarray(shade * np.array(PANEL, dtype=np.float32)[:, None, None])


def _logo(canvas: np.ndarray, view: View, printed: np.ndarray, shade: np.ndarray) -> None:
    """An orange disc with a tick cut out of it, and the line below the name."""
    middle_x, middle_y, radius = LOGO
    x, y = view.x - middle_x, view.y - middle_y
    tick = (
        np.minimum(_bar(x, y, (-0.062, 0.005), (-0.018, 0.052)), _bar(x, y, (-0.018, 0.052), (0.068, -0.052))) - 0.017
    )
    disc = np.maximum(circle(x, y, radius), -tick)
    line = box(view.x, view.y + 0.235, WIDE - 0.07, 0.011, 0.0)
    lay(canvas, printed * inside(np.minimum(disc, line), view.pixel), shade, ORANGE)


def _bar(x: np.ndarray, y: np.ndarray, start: tuple[float, float], end: tuple[float, float]) -> np.ndarray:
    """(h, w) distance from the line between two points."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    dx, dy = x - start[0], y - start[1]
    t = np.clip((dx * along_x + dy * along_y) / (along_x * along_x + along_y * along_y), 0.0, 1.0)
    return np.asarray(np.sqrt((dx - along_x * t) * (dx - along_x * t) + (dy - along_y * t) * (dy - along_y * t)))


def _over_print(view: View, damage: Damage, radius: float) -> np.ndarray:
    """(h, w) spot over some print."""
    places = printed_places()
    return blob(view, damage.rng, places[int(damage.rng.integers(0, len(places)))], radius)


def _smeared(view: View, damage: Damage, ink: np.ndarray) -> np.ndarray:
    """Ink that was wiped to one side before it was dry."""
    spot = smoothstep(_over_print(view, damage, 0.15) * 3.0)
    way = 1.0 if damage.rng.random() < 0.5 else -1.0
    reach = way * (0.02 + 0.04 * damage.strength)
    trail = ink * 0.0
    for step in range(1, 6):
        trail = trail + ink_at(view.x - reach * step / 3, view.y - reach * step / 12, view.size) * (0.34 - 0.04 * step)
    film = 0.05 + np.minimum(trail, 1.0) * (0.35 + 0.6 * damage.strength)
    return np.asarray(ink + (np.maximum(ink * (1.0 - 0.35 * damage.strength), film) - ink) * spot)


def _raised(view: View, damage: Damage, slope_x: np.ndarray, slope_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes with air under the paper."""
    middle = between(damage.rng, -0.6, 0.6), between(damage.rng, -0.4, 0.4)
    wide = between(damage.rng, 0.09, 0.16)
    dx, dy = (view.x - middle[0]) / wide, (view.y - middle[1]) / wide
    dome = np.maximum(1.0 - (dx * dx + dy * dy), 0.0) * (0.35 + 0.85 * damage.strength)
    return slope_x - dx * dome, slope_y - dy * dome


def _torn(view: View, damage: Damage) -> np.ndarray:
    """(h, w) spot at an edge or a corner of the label, off which a piece was torn."""
    right, low = (1.0 if flip else -1.0 for flip in damage.rng.integers(0, 2, 2).tolist())
    x, y = right * (WIDE - 0.02), low * (HIGH - 0.02)
    if damage.rng.random() < 0.4:
        y = low * between(damage.rng, 0.0, HIGH)
    return blob(view, damage.rng, (x, y), 0.08 + 0.10 * damage.strength)
