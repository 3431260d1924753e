"""Simulated drift: the same for the same seed, in one direction, on as many parts as asked for."""

import numpy as np
import pytest

from gonogo.cli.commands.drift import KINDS as OFFERED
from gonogo.errors import ConfigError
from gonogo.images.statistics import STATISTICS, image_statistics
from gonogo.monitoring.simulation import KINDS, Simulation

PART = np.random.default_rng(1).integers(60, 190, (120, 150, 3)).astype(np.uint8)


def told(pixels, name):
    return image_statistics(pixels)[STATISTICS.index(name)]


def test_the_command_offers_every_kind():
    assert set(OFFERED) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_images_and_another_severity_others(kind):
    one, again, other = (Simulation(kind, severity) for severity in (3, 3, 5))
    assert (one.image(PART, 7) == again.image(PART, 7)).all()
    assert (one.image(PART, 7) != other.image(PART, 7)).any()
    assert (one.image(PART, 7) != PART).any()


@pytest.mark.parametrize(("kind", "name"), [("brightness", "brightness"), ("colour", "red")])
def test_all_parts_change_in_one_direction_which_the_seed_decides(kind, name):
    ways = []
    for seed in range(12):
        simulation = Simulation(kind, 3, seed=seed)
        signs = {np.sign(told(simulation.image(PART, number), name) - told(PART, name)) for number in range(8)}
        assert len(signs) == 1
        ways += signs
    assert set(ways) == {-1.0, 1.0}


def test_the_noise_of_each_part_is_its_own():
    simulation = Simulation("noise", 3)
    assert (simulation.image(PART, 0) != simulation.image(PART, 1)).any()


def test_so_many_parts_change_after_the_change_and_none_before():
    simulation = Simulation("blur", share=0.3, begin=0.25)
    changed = [simulation.changes(number, 4000) for number in range(4000)]
    assert not any(changed[:1000])
    assert abs(sum(changed) - 900) < 100
    assert all(Simulation("blur").changes(number, 10) for number in range(5, 10))


def test_each_image_comes_once():
    order = Simulation("blur", seed=3).order(50)
    assert sorted(order) == list(range(50))
    assert list(order) != list(range(50))


@pytest.mark.parametrize(
    "wrong", [{"kind": "fog"}, {"severity": 6}, {"severity": 0}, {"share": 0.0}, {"share": 1.1}, {"begin": 1.0}]
)
def test_what_cannot_be_simulated_is_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"simulation: {name} is"):
        Simulation(**{"kind": "blur"} | wrong)
