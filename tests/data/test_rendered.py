"""Rendered parts: a seed fixes every byte, a mask is what the defect changed, and there are enough to certify 1 %."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from gonogo.calibration.threshold import groups_needed
from gonogo.data import source_class
from gonogo.data.defects import FAINTEST, PLAIN, PLAIN_PIXELS
from gonogo.data.prepare.split import split
from gonogo.data.rendered import PARTS, Rendered, defective, photograph
from gonogo.data.rendered.marks import Damage
from gonogo.data.rendered.shading import turns, view_of
from gonogo.data.sample import Sample, Shares
from gonogo.errors import ConfigError
from gonogo.images.roles import ROLES
from gonogo.params import build

SHARES = Shares(seed=17, test=0.125, calibrate=0.715)
KINDS = [(part, kind) for part in PARTS for kind in PARTS[part].defect_types]


def samples(source: Rendered, seed: int = 17) -> list[Sample]:
    return list(source.samples("any", Path(), replace(SHARES, seed=seed)))


def few(part: str, **options: int) -> Rendered:
    return Rendered(part=part, n_good=4, defects_per_type=2, size=128, **options)


@pytest.mark.parametrize(
    ("part", "digest"),
    [("washer", "68fa03515d0872b5"), ("connector", "15a72c538ee8720d"), ("label", "3a77a81fca076173")],
)
def test_every_machine_draws_the_same_bytes(part, digest):
    """A new digest means other images: every published result is then to be measured again."""
    found = hashlib.sha256(photograph(part, 256, 7).tobytes())
    for kind in PARTS[part].defect_types:
        for drawn in defective(part, 128, 8, kind, 0.6):
            found.update(drawn.tobytes())
    assert found.hexdigest()[:16] == digest


@pytest.mark.parametrize("part", PARTS)
def test_the_same_seed_draws_the_same_samples_and_another_seed_others(part):
    first, again, other = ([s.image.tobytes() for s in samples(few(part), seed)] for seed in (17, 17, 18))
    assert first == again
    assert not set(first) & set(other)
    assert len(set(first)) == len(first) == 4 + 2 * 6


@pytest.mark.parametrize("part", PARTS)
def test_more_parts_leave_those_that_were_there_as_they_were(part):
    before = {s.name: s.image.tobytes() for s in samples(few(part))}
    after = {s.name: s.image.tobytes() for s in samples(replace(few(part), n_good=6, defects_per_type=3))}
    assert {name: after[name] for name in before} == before
    assert len(after) == 6 + 3 * 6


@pytest.mark.parametrize(("part", "kind"), KINDS)
@pytest.mark.parametrize("strength", [0.05, 0.4, 1.0])
def test_a_mask_is_one_region_and_exactly_what_the_defect_changed_on_the_same_part(part, kind, strength):
    for seed in (1, 2):
        sound, (pixels, mask) = photograph(part, 256, seed), defective(part, 256, seed, kind, strength)
        change = np.abs(pixels.astype(int) - sound).max(axis=2)
        assert np.array_equal(mask, change > 0)
        assert change[mask].min() >= FAINTEST
        assert (change >= PLAIN).sum() >= PLAIN_PIXELS
        assert ndimage.label(mask, structure=np.ones((3, 3)))[1] == 1
        assert mask.mean() < 0.1


@pytest.mark.parametrize(("part", "kind"), KINDS)
def test_stronger_defects_change_more(part, kind):
    def mean_change(strength: float) -> float:
        pairs = [(photograph(part, 256, seed), defective(part, 256, seed, kind, strength)[0]) for seed in range(4)]
        return float(np.mean([np.abs(pixels - sound.astype(int)).sum() for sound, pixels in pairs]))

    assert mean_change(0.1) < mean_change(1.0)


@pytest.mark.parametrize("part", PARTS)
def test_good_parts_differ_as_on_a_line_and_the_part_is_always_whole_in_the_image(part):
    images = np.array([photograph(part, 128, seed) for seed in range(12)]).astype(float)
    assert images.mean(axis=(1, 2, 3)).std() > 1  # light
    assert np.abs(images - images[0]).mean(axis=(1, 2, 3))[1:].min() > 2  # pose and texture
    assert not (images == 255).mean() > 0.01
    border = np.concatenate([images[:, :2].reshape(-1), images[:, -2:].reshape(-1)])
    assert border.std() < 20  # the background alone, with its texture and its vignette


@pytest.mark.parametrize("part", PARTS)
def test_the_defaults_certify_one_percent_with_the_shares_that_the_docstring_names(part):
    source = Rendered(part=part)
    parts = [
        Sample(name=f"{number}", image=Path(), label=0, defect_type="good", roles=ROLES)
        for number in range(source.n_good)
    ]
    counts = Counter(split(parts, [part.name for part in parts], SHARES).roles)
    assert counts == {"fit": 120, "calibrate": 300, "test": 60}
    assert counts["calibrate"] >= groups_needed(0.01, 0.95) == 299


@pytest.mark.parametrize("part", PARTS)
def test_good_parts_may_have_any_role_and_defective_ones_are_test_parts_of_their_own(part):
    found = samples(few(part))
    assert Counter(s.defect_type for s in found) == {"good": 4, **dict.fromkeys(PARTS[part].defect_types, 2)}
    assert {s.roles for s in found if s.label == 0} == {ROLES}
    assert {s.roles for s in found if s.label == 1} == {("test",)}
    assert all((s.mask is None) == (s.label == 0) for s in found)
    assert len({s.group_id for s in found}) == len(found)


@pytest.mark.parametrize("part", PARTS)
def test_each_name_says_that_the_image_is_rendered_and_of_what(part):
    for sample in samples(few(part)):
        assert sample.name.startswith(f"rendered_{part}_")
        assert sample.name.endswith(f"_{sample.defect_type}")


def test_chosen_defect_types_are_the_only_ones():
    found = samples(replace(few("connector"), defect_types=("bent_pin", "chip")))
    assert {s.defect_type for s in found} == {"good", "bent_pin", "chip"}


@pytest.mark.parametrize("size", [128, 200, 512])
def test_any_size_shows_the_same_part(size):
    """Averaged over blocks, an image of another size is nearly the same one."""
    for part in PARTS:
        drawn, usual = (
            np.array([[block.mean() for block in np.array_split(row, 8, axis=1)] for row in np.array_split(image, 8)])
            for image in (photograph(part, size, 3).astype(float), photograph(part, 256, 3).astype(float))
        )
        assert np.abs(drawn - usual).max() < 9


@pytest.mark.parametrize(("part", "kind"), KINDS)
def test_radiance_stays_in_single_precision_so_that_all_versions_of_numpy_draw_alike(part, kind):
    view = view_of(64, np.random.default_rng(0))
    damage = Damage(kind, 0.5, np.random.default_rng(1))
    drawn = PARTS[part].render(view, np.random.default_rng(2), damage)
    assert (drawn.shape, drawn.dtype) == ((3, 64, 64), np.float32)
    assert np.isfinite(drawn).all()


def test_an_angle_is_the_one_that_arctan2_gives():
    x, y = np.random.default_rng(0).normal(size=(2, 10000)).astype(np.float32)
    difference = turns(x, y) - np.arctan2(y, x) / (2 * np.pi)
    assert np.abs(difference - np.rint(difference)).max() < 3e-6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"part": "bolt"}, "part is 'bolt'; choose one of washer, connector, label"),
        ({"part": "washer", "defect_types": ["bent_pin"]}, "a washer .* choose, once each, from scratch, nick, burr"),
        ({"defect_types": ["scratch", "scratch"]}, "once each"),
        ({"strength_min": 0.9, "strength_max": 0.5}, "strength_min 0.9 is above strength_max 0.5"),
        ({"size": 100}, "size"),
        ({"size": 132}, "size"),
        ({"n_good": 1}, "n_good"),
    ],
)
def test_a_wrong_choice_in_params_yaml_names_the_right_ones(wrong, message):
    with pytest.raises(ConfigError, match=message):
        build(source_class("rendered"), wrong, where="params.yaml: prepare")


def test_a_defect_that_no_attempt_shows_is_an_error_that_says_what_to_raise(monkeypatch):
    monkeypatch.setattr("gonogo.data.rendered.PLAIN_PIXELS", 128 * 128 + 1)
    with pytest.raises(ConfigError, match=r"20 attempts at a dent .* on a washer of 128 pixels; raise size"):
        defective("washer", 128, 1, "dent", 0.5)
