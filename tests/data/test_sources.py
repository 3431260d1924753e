"""Sources: a seed fixes every byte, roles share no piece of the world, masks tell the truth."""

import hashlib
import re
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

from conftest import shares
from gonogo.calibration.threshold import groups_needed
from gonogo.data import surfaces
from gonogo.data.defects import DEFECTS, visible_defect
from gonogo.data.digits import Digits
from gonogo.data.prepare.split import split
from gonogo.data.sample import Shares
from gonogo.data.surfaces import PHOTOGRAPHS, Surfaces
from gonogo.errors import ConfigError, MissingExtraError
from gonogo.params import build

ROLES = ("fit", "calibrate", "test")
DRAWN = {"surfaces": Surfaces, "digits": Digits}
SIDE = 512


def by_name(source: Surfaces | Digits, seed: int = 0) -> dict[str, SimpleNamespace]:
    """The samples with the role that prepare deals them."""
    samples = list(source.samples("any", Path(), shares(seed)))
    dealt = split(samples, [str(number) for number in range(len(samples))], shares(seed))
    assert not dealt.conflicts
    assert not dealt.left_out
    named = {
        sample.name: SimpleNamespace(**vars(sample), role=role, pixels=sample.image)
        for sample, role in zip(samples, dealt.roles, strict=True)
    }
    assert len(named) == len(samples) > 0
    return named


def content(samples: dict[str, SimpleNamespace]) -> dict[str, tuple[object, ...]]:
    return {
        name: (
            s.role,
            s.label,
            s.defect_type,
            s.group_id,
            s.pixels.tobytes(),
            None if s.mask is None else s.mask.tolist(),
        )
        for name, s in samples.items()
    }


def good_ones(samples: dict[str, SimpleNamespace], role: str) -> list[SimpleNamespace]:
    chosen = [sample for sample in samples.values() if sample.role == role and sample.label == 0]
    assert chosen
    return chosen


def defective_ones(samples: dict[str, SimpleNamespace]) -> list[SimpleNamespace]:
    chosen = [sample for sample in samples.values() if sample.label == 1]
    assert chosen
    return chosen


@pytest.fixture
def _coordinates(monkeypatch):
    """Put a picture in the photograph's place in which every pixel's colour is its own position."""
    index = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    picture = np.stack([index >> 16, index >> 8 & 255, index & 255], axis=2).astype(np.uint8)
    monkeypatch.setattr(surfaces, "read_photograph", lambda _: picture)


def positions(sample: SimpleNamespace) -> np.ndarray:
    red, green, blue = np.moveaxis(sample.pixels.astype(int), 2, 0)
    return (red << 16 | green << 8 | blue).ravel()


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_seed_gives_the_same_bytes(name):
    assert content(by_name(DRAWN[name](), 3)) == content(by_name(DRAWN[name](), 3))


@pytest.mark.parametrize(
    ("source", "digest"), [(Surfaces(photograph="grass"), "a38eafd5700c14f1"), (Digits(), "34268dbfab0f1e31")]
)
def test_every_machine_makes_the_same_bytes(source, digest):
    """A new digest means other data: every published result is then to be measured again."""
    assert hashlib.sha256(repr(sorted(content(by_name(source)).items())).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", DRAWN)
def test_another_seed_puts_other_parts_into_every_role(name, role):
    first, second = ({s.group_id for s in good_ones(by_name(DRAWN[name](), seed), role)} for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize("name", DRAWN)
def test_names_are_safe_file_stems_and_defects_are_only_in_test(name):
    for sample in by_name(DRAWN[name]()).values():
        assert re.fullmatch(r"[a-z0-9_]+", sample.name)
        assert sample.name.endswith(sample.defect_type)
        assert (sample.defect_type == "good") == (sample.label == 0)
        assert sample.role == "test" or sample.label == 0


@pytest.mark.parametrize("name", DRAWN)
def test_no_group_has_two_roles(name):
    roles: dict[str, set[str]] = {}
    for sample in by_name(DRAWN[name]()).values():
        roles.setdefault(sample.group_id, set()).add(sample.role)
    assert {len(found) for found in roles.values()} == {1}


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_the_photograph_is_the_one_that_scikit_image_shows(photograph):
    import skimage.data

    assert np.array_equal(surfaces.read_photograph(photograph)[..., 1], getattr(skimage.data, photograph)())


@pytest.mark.usefixtures("_coordinates")
@pytest.mark.parametrize("window", [42, 50])
def test_fit_calibrate_and_test_show_disjoint_areas_of_the_photograph(window):
    samples = by_name(Surfaces(window=window, defects_per_type=1, defect_types=["scratch"]))
    shown = {role: np.concatenate([positions(s) for s in good_ones(samples, role)]) for role in ROLES}
    assert not np.intersect1d(shown["fit"], shown["calibrate"]).size
    assert not np.intersect1d(shown["fit"], shown["test"]).size
    held_out = np.concatenate([shown["calibrate"], shown["test"]])
    assert len(np.unique(held_out)) == len(held_out)  # no calibrate or test window overlaps another either


@pytest.mark.usefixtures("_coordinates")
def test_every_window_is_an_upright_square_of_the_photograph_in_its_cells_group():
    samples = by_name(Surfaces(defects_per_type=1, defect_types=["scratch"]))
    offsets = np.arange(42)[:, None] * SIDE + np.arange(42)
    for sample in [found for role in ROLES for found in good_ones(samples, role)]:
        corner = positions(sample)[0]
        assert np.array_equal(positions(sample), (corner + offsets).ravel())
        assert sample.group_id == f"r{corner // SIDE // 42:02d}_c{corner % SIDE // 42:02d}"


@pytest.mark.usefixtures("_coordinates")
def test_fit_gets_every_window_on_its_stride_that_no_other_role_touches():
    samples = by_name(Surfaces(fit_stride=13, defects_per_type=1, defect_types=["scratch"]))
    held_out = np.zeros(SIDE * SIDE, dtype=bool)
    for role in ("calibrate", "test"):
        for sample in good_ones(samples, role):
            held_out[positions(sample)] = True
    held_out = held_out.reshape(SIDE, SIDE)
    starts = range(0, 12 * 42 - 42 + 1, 13)
    expected = {y * SIDE + x for y in starts for x in starts if not held_out[y : y + 42, x : x + 42].any()}
    assert {positions(sample)[0] for sample in good_ones(samples, "fit")} == expected


@pytest.mark.usefixtures("_coordinates")
def test_every_place_of_the_photograph_gets_every_role_by_chance():
    counts = {role: Counter() for role in ROLES}
    seeds = 150
    for seed in range(seeds):
        fit_groups = set()
        samples = by_name(Surfaces(fit_stride=42, defects_per_type=1, defect_types=["scratch"]), seed)
        for sample in (found for role in ROLES for found in good_ones(samples, role)):
            counts[sample.role][sample.group_id] += 1
            fit_groups.add(sample.group_id)
        assert len(fit_groups) == 144
    for role, share in {"fit": 86 / 144, "calibrate": 29 / 144, "test": 29 / 144}.items():
        spread = np.sqrt(seeds * share * (1 - share))
        assert len(counts[role]) == 144
        assert max(abs(count - seeds * share) for count in counts[role].values()) < 4.5 * spread


def test_calibrate_has_just_the_parts_that_certify_ten_percent():
    samples = by_name(Surfaces())
    assert len({sample.group_id for sample in good_ones(samples, "calibrate")}) == groups_needed(0.1, 0.95) == 29
    assert len(good_ones(samples, "test")) == 29


def test_windows_of_64_pixels_suffice_to_certify_ten_percent_at_their_own_resolution():
    dealt = Shares(seed=17, test=0.2, calibrate=0.57)
    counts = Counter(
        sample.roles for sample in Surfaces(window=64, fit_stride=8).samples("any", Path(), dealt) if not sample.label
    )
    assert counts[("calibrate",)] == groups_needed(0.1, 0.95) == 29
    assert counts[("test",)] == 13
    assert counts[("fit",)] > 100


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_a_mask_is_exactly_what_the_defect_changed_on_the_good_test_window(photograph):
    samples = by_name(Surfaces(photograph=photograph))
    windows = {sample.group_id: sample.pixels for sample in good_ones(samples, "test")}
    for sample in defective_ones(samples):
        change = np.abs(sample.pixels.astype(int) - windows[sample.group_id]).max(axis=2)
        assert np.array_equal(sample.mask, change > 0)
        assert (change >= 8).sum() >= 12


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_a_defect_is_one_region_so_that_aupro_counts_it_once(photograph):
    for sample in defective_ones(by_name(Surfaces(photograph=photograph))):
        assert ndimage.label(sample.mask, structure=np.ones((3, 3)))[1] == 1


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_every_defect_type_is_present_on_as_many_different_windows_as_asked(photograph):
    defective = defective_ones(by_name(Surfaces(photograph=photograph, defects_per_type=7)))
    windows = {(sample.defect_type, sample.group_id) for sample in defective}
    assert Counter(kind for kind, _ in windows) == dict.fromkeys(DEFECTS, 7)
    assert len(defective) == len(windows)


def test_no_two_defects_have_the_same_place_and_shape():
    defective = defective_ones(by_name(Surfaces(photograph="gravel")))
    assert len({sample.mask.tobytes() for sample in defective}) == len(defective) == 50


def test_one_more_defect_type_leaves_all_other_samples_as_they_were():
    few = content(by_name(Surfaces(defect_types=["scratch", "blur"])))
    more = content(by_name(Surfaces(defect_types=["hole", "scratch", "stain", "blur"])))
    assert {name: more[name] for name in few} == few
    assert len(more) == len(few) + 20


def test_more_defects_leave_all_other_samples_as_they_were():
    few, more = (content(by_name(Surfaces(photograph="grass", defects_per_type=n))) for n in (4, 9))
    assert {name: more[name] for name in few} == few


def test_a_lower_strength_makes_fainter_defects():
    def mean_change(strength: float) -> float:
        samples = by_name(Surfaces(photograph="grass", strength_min=strength, strength_max=strength))
        windows = {sample.group_id: sample.pixels for sample in good_ones(samples, "test")}
        return float(
            np.mean([np.abs(s.pixels - windows[s.group_id].astype(int)).sum() for s in defective_ones(samples)])
        )

    assert mean_change(0.3) < mean_change(0.6) < mean_change(1.0)


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_stronger_defect_of_the_same_draw_changes_the_window_more(kind):
    window = surfaces.read_photograph("gravel")[:42, :42]
    faint, plain = (DEFECTS[kind](window, np.random.default_rng(5), strength)[0] for strength in (0.3, 1.0))
    assert 0 < np.abs(faint - window.astype(int)).sum() < np.abs(plain - window.astype(int)).sum()


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_defect_leaves_the_good_window_as_it_was(kind):
    window = surfaces.read_photograph("brick")[100:142, 200:242].copy()
    before = window.copy()
    DEFECTS[kind](window, np.random.default_rng(0), 1.0)
    assert np.array_equal(window, before)


def test_a_surface_that_hides_a_defect_gets_none():
    plain = np.full((42, 42, 3), 120, dtype=np.uint8)
    rng = np.random.default_rng(0)
    assert visible_defect("blur", plain, rng, 1.0) is None
    assert visible_defect("cut_paste", plain, rng, 1.0) is None
    assert visible_defect("scratch", plain, rng, 1.0) is not None


@pytest.mark.parametrize("level", [0, 255])
def test_a_scratch_shows_on_a_saturated_surface_without_wrapping_around(level):
    saturated = np.full((42, 42, 3), level, dtype=np.uint8)
    damaged, mask = visible_defect("scratch", saturated, np.random.default_rng(1), 1.0)
    assert np.abs(damaged[mask].astype(int) - level).max() < 60


def test_more_defects_than_test_windows_is_an_error_that_says_how_many_there_are():
    with pytest.raises(ConfigError, match="only 29 of 29 test windows of gravel can show a scratch"):
        by_name(Surfaces(photograph="gravel", defects_per_type=30))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"photograph": "sand"}, "'sand'; choose one of brick, grass, gravel"),
        ({"defect_types": ["scratch", "rust"]}, "choose, once each, from scratch, stain, hole, cut_paste, blur"),
        ({"defect_types": ["scratch", "scratch"]}, "once each"),
        ({"defect_types": []}, "once each"),
        ({"strength_min": 0.9, "strength_max": 0.5}, "strength_min 0.9 is above strength_max 0.5"),
    ],
)
def test_a_wrong_choice_for_surfaces_names_the_right_ones(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Surfaces(**wrong)


def test_a_digit_that_is_none_names_the_ten_that_are():
    with pytest.raises(ConfigError, match="normal_class is 10; choose one of 0 to 9"):
        Digits(normal_class=10)


@pytest.mark.parametrize("wrong", [{"window": 8}, {"fit_stride": 0}, {"strength_max": 1.5}, {"defect_types": "blur"}])
def test_params_yaml_refuses_values_out_of_range(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        build(Surfaces, wrong, where="params.yaml: prepare")


def test_params_yaml_makes_the_source_that_python_makes():
    from_yaml = build(Surfaces, {"photograph": "grass", "defect_types": ["hole"]}, where="params.yaml: prepare")
    assert content(by_name(from_yaml)) == content(by_name(Surfaces(photograph="grass", defect_types=("hole",))))


@pytest.mark.parametrize(("source", "package"), [(Surfaces(), "skimage"), (Digits(), "sklearn.datasets")])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(source, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"install gonogo\[pipeline\]"):
        by_name(source)


@pytest.mark.parametrize("normal_class", range(10))
def test_the_normal_digit_alone_is_good_and_every_other_is_a_defect_in_test(normal_class):
    data = load_digits()
    defects = Counter()
    for sample in by_name(Digits(normal_class=normal_class)).values():
        index = int(sample.group_id)
        assert np.array_equal(sample.pixels[..., 2], data.images[index] * 15)
        assert sample.mask is None
        if sample.label == 0:
            assert data.target[index] == normal_class
        else:
            assert sample.defect_type == f"digit_{data.target[index]}" != f"digit_{normal_class}"
            defects[sample.defect_type] += 1
    assert sorted(defects.values()) == [20] * 9


@pytest.mark.parametrize("normal_class", range(10))
def test_digits_suffice_to_certify_ten_percent_and_no_image_occurs_twice(normal_class):
    samples = by_name(Digits(normal_class=normal_class))
    assert len(good_ones(samples, "calibrate")) >= 29
    assert len(good_ones(samples, "test")) >= 25
    assert len(good_ones(samples, "fit")) >= 100
    assert len({sample.pixels.tobytes() for sample in samples.values()}) == len(samples)
