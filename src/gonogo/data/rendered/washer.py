"""A turned steel washer on a conveyor: knurled rim, chamfers, concentric turning marks, four countersunk holes."""

from functools import lru_cache

import numpy as np

from gonogo.data.rendered.marks import Damage, blob, groove
from gonogo.data.rendered.shading import (
    View,
    between,
    circle,
    clouds,
    direction,
    grain,
    inside,
    lay,
    lit,
    lookup,
    power,
    smoothstep,
    soft,
    turns,
    wave,
)

DEFECT_TYPES = ("scratch", "nick", "burr", "missing_hole", "stain", "dent")

OUTER, KNURL, GROOVE, FACE, CHAMFER, BORE = 0.82, 0.71, 0.675, 0.645, 0.36, 0.30  # radii
HOLE, COUNTERSINK, HOLES_AT = 0.062, 0.098, 0.357  # two radii; x and y of the holes' centres
TEETH = 84
STEEL = (0.93, 0.95, 1.0)
BELT = (0.085, 0.115, 0.15)
RUST = (0.75, 0.47, 0.25)


def render(view: View, rng: np.random.Generator, damage: Damage | None = None) -> np.ndarray:
    """(3, h, w) radiance of one washer; `rng` draws its texture, which damage leaves alone."""
    kind = damage.kind if damage else None
    x, y = view.x, view.y
    radius = np.sqrt(x * x + y * y)
    east, south = x / np.maximum(radius, 1e-6), y / np.maximum(radius, 1e-6)
    angle = turns(x, y)
    marks = rng.random(96, dtype=np.float32) * 2.0 - 1.0  # turning marks from the axis outwards
    streaks = rng.random(360, dtype=np.float32) * 2.0 - 1.0  # what differs along them
    streaks[-1] = streaks[0]
    canvas = _belt(view, rng)
    mottle = clouds(view.size, rng, 7)

    # Distances and slopes of the sound part.
    teeth, lean = angle * float(TEETH), radius * 46.0
    first, second = wave(teeth + lean), wave(teeth - lean)
    rim = inside(KNURL - radius, view.pixel) * inside(radius - OUTER, view.pixel * 6)
    edge = radius - OUTER + np.maximum(first, second) * 0.006
    bore = BORE - radius
    hole_x, hole_y = np.abs(x) - HOLES_AT, np.abs(y) - HOLES_AT
    hole = np.sqrt(hole_x * hole_x + hole_y * hole_y)
    ring = lookup(marks, radius)
    radial = lookup(_profile(), radius) + ring * 0.05 + rim * (first - second) * 0.5
    tangential = rim * (first + second) * 0.55
    slope_x, slope_y = radial * east - tangential * south, radial * south + tangential * east
    sink = inside(hole - COUNTERSINK, view.pixel)
    sink_x, sink_y = hole_x / np.maximum(hole, 1e-6) * np.sign(x), hole_y / np.maximum(hole, 1e-6) * np.sign(y)
    drilled: np.ndarray | float = 1.0
    if damage and kind == "missing_hole":
        sign_x, sign_y = (float(sign) * 2 - 1 for sign in damage.rng.integers(0, 2, 2))
        drilled = 1.0 - (0.4 + 0.6 * damage.strength) * inside(np.maximum(-x * sign_x, -y * sign_y), view.pixel)
        sink = sink * np.minimum(drilled * 1.5, 1.0)
    slope_x, slope_y = (
        slope_x + sink * (sink_x * 0.85 - slope_x),
        slope_y + sink * (sink_y * 0.85 - slope_y),
    )
    open_hole = inside(hole - HOLE, view.pixel) * drilled
    face = inside(radius - FACE, view.pixel * 2) * inside(CHAMFER - radius, view.pixel * 2) * (1.0 - sink)

    if damage and kind == "nick":
        out_x, out_y = direction(damage.rng)
        at = OUTER - between(damage.rng, 0.0, 0.02)
        bite = blob(view, damage.rng, (out_x * at, out_y * at), 0.05 + 0.06 * damage.strength)
        edge = np.maximum(edge, (bite - 0.6) * 0.12)
        broken = smoothstep(bite * 4.0)
        rough = grain(view.size, damage.rng, 1)
        slope_x = slope_x + broken * (rough * 0.5 - out_x * 0.5 - slope_x)
        slope_y = slope_y + broken * (rough * -0.4 - out_y * 0.5 - slope_y)
    if damage and kind == "dent":
        x0, y0 = _on_face(damage.rng)
        wide = 0.06 + 0.05 * damage.strength
        dx, dy = (x - x0) / wide, (y - y0) / wide
        bowl = np.maximum(1.0 - (dx * dx + dy * dy), 0.0)
        slope_x, slope_y = (
            slope + bowl * d * (0.3 + 1.1 * damage.strength) for slope, d in ((slope_x, dx), (slope_y, dy))
        )
        face = face * (1.0 - smoothstep(bowl * 2.0) * 0.6 * damage.strength)
    scratched: np.ndarray | float = 0.0
    if damage and kind == "scratch":
        cover, wall_x, wall_y = groove(view, damage.rng, _on_face(damage.rng), between(damage.rng, 0.14, 0.26))
        depth = 0.35 + 0.85 * damage.strength
        slope_x, slope_y = slope_x + wall_x * depth, slope_y + wall_y * depth
        scratched = cover * damage.strength

    # Light on steel. Turning marks mirror the lamp along the radius that points to it.
    matt, mirror = lit(slope_x, slope_y, view)
    facing = east * view.light[0] + south * view.light[1]
    bow = power(facing * facing * 1.95, 2) * (0.8 + 0.3 * ring + 0.12 * lookup(streaks, angle))
    face = face * (1.0 - np.minimum(scratched, 1.0) * 0.8) if damage else face
    shade = 0.035 + power(matt, 1) * 0.42 + face * (ring * 0.025 + bow * 0.5 + mottle * 0.012 - 0.05)
    gloss = power(mirror, 5) * (0.5 + 0.1 * ring)
    if damage and kind == "stain":
        spot = blob(view, damage.rng, _on_face(damage.rng), 0.1 + 0.1 * float(damage.rng.random()))
        patch = smoothstep(spot * 2.2) * (0.8 + 0.2 * grain(view.size, damage.rng, 3)) * (0.25 + 0.6 * damage.strength)
    else:
        patch = None
    cover = inside(edge, view.pixel) * inside(bore, view.pixel) * (1.0 - open_hole)
    _shadow(canvas, view)
    if patch is None:
        lay(canvas, cover, shade, STEEL, gloss)
    else:
        dull = 1.0 - patch * 0.35
        lay(canvas, cover, shade * dull, STEEL, gloss * (1.0 - patch))
        for channel, rust in zip(canvas, RUST, strict=True):
            channel *= 1.0 - cover * patch * (1.0 - rust)
    if damage and kind == "burr":
        _burr(canvas, view, damage, radius, angle)
    return canvas


def _belt(view: View, rng: np.random.Generator) -> np.ndarray:
    """(3, h, w) a woven conveyor belt; its weave stands elsewhere in each image."""
    step = np.arange(view.size, dtype=np.float32) / view.size
    across, down = wave(step * 52.0 + float(rng.random())), wave(step * 52.0 + float(rng.random()))
    shade = 1.0 + across * down[:, None] * 0.14 + grain(view.size, rng, 1) * 0.1 + clouds(view.size, rng, 3) * 0.05
    return np.asarray(shade * np.array(BELT, dtype=np.float32)[:, None, None])


def _shadow(canvas: np.ndarray, view: View) -> None:
    """Darken the belt behind the washer, and in its bore and holes."""
    x, y = view.x + view.light[0] * 0.11, view.y + view.light[1] * 0.11
    radius = np.sqrt(x * x + y * y)
    dark = soft(radius - OUTER, 0.09) * soft(BORE - radius, 0.07)
    near = soft(circle(view.x, view.y, OUTER + 0.02), 0.12) * 0.35
    canvas *= (1.0 - dark * 0.68) * (1.0 - near * soft(BORE - radius, 0.2))


def _burr(canvas: np.ndarray, view: View, damage: Damage, radius: np.ndarray, angle: np.ndarray) -> None:
    """A jagged sliver of metal that stands into the bore."""
    start = float(damage.rng.random())
    length = between(damage.rng, 0.06, 0.12)
    t = angle - start
    t = (t - np.floor(t)) / length  # 0 to 1 along the burr
    jags = damage.rng.random(24, dtype=np.float32)
    height = np.maximum(t * (1.0 - t), 0.0) * 4.0 * (0.4 + 0.6 * lookup(jags, t)) * (0.03 + 0.055 * damage.strength)
    depth = (BORE - radius) / np.maximum(height, 1e-6)  # 0 at the bore's edge, 1 at the burr's
    cover = inside(BORE - radius - height, view.pixel) * inside(radius - BORE - 0.012, view.pixel) * (t < 1)
    cover = cover * (0.5 + 0.5 * damage.strength)
    lay(
        canvas,
        cover,
        0.15 + 0.5 * power(1.0 - np.clip(np.abs(depth - 0.55), 0, 1), 1),
        STEEL,
        0.12 * lookup(jags, 1.0 - t),
    )


def _on_face(rng: np.random.Generator) -> tuple[float, float]:
    east, south = direction(rng)
    at = between(rng, 0.45, 0.58)
    return east * at, south * at


@lru_cache(maxsize=1)
def _profile() -> np.ndarray:
    """(1024,) float32 rise of the height per length from the axis outwards, smooth where one slope meets the next."""
    radius = np.arange(1024, dtype=np.float32) / 1023.0
    slope = np.zeros(1024, dtype=np.float32)
    for start, end, rise in (
        (BORE, CHAMFER, 0.9),
        (FACE, GROOVE, -1.0),
        (GROOVE, KNURL, 0.55),
        (KNURL, OUTER + 0.05, -0.55),
    ):
        slope += smoothstep((radius - start) / 0.01 + 0.5) * smoothstep((end - radius) / 0.01 + 0.5) * rise
    return slope
