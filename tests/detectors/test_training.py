"""A training that is killed and taken up again is the training that was never interrupted, bit for bit."""

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

import gonogo.detectors.training.checkpoints
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.detectors.training.training import HELD_OUT, Schedule, Training, hold_out, shuffled_passes
from gonogo.errors import DataError, IntegrityError, TrainingError
from gonogo.files import code_fingerprint
from processes import command_killed, needs_kill, steps_of

SCHEDULE = Schedule(epochs=12, patience=0, checkpoint_every=3)
ORIGIN = {"data": "abc", "options": {"layers": [2, 3], "rate": 1e-4}, "seed": 17}


class Killed(Exception):
    """What a kill looks like to the code that it ends."""


def toy(tmp_path: Path | None = None, schedule: Schedule = SCHEDULE, *, die_at: int = -1, origin=ORIGIN):
    """A small noisy regression with batch statistics; `die_at` steps into the training it is killed."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    rows = torch.randn(40, 5)
    target = rows[:, :1] - rows[:, 1:2].square()
    training = Training(net, torch.optim.AdamW(net.parameters(), lr=0.02), torch.Generator().manual_seed(5))
    curve, steps = [], [0]

    def epoch(_):
        net.train()
        total = 0.0
        for chosen in torch.randperm(32, generator=training.generator).split(8):
            noisy = rows[chosen] + 0.1 * torch.randn(8, 5, generator=training.generator)
            loss = (net(noisy) - target[chosen]).square().mean()
            training.optimizer.zero_grad()
            loss.backward()
            training.optimizer.step()
            total += loss.item() / 4
            steps[0] += 1
            if steps[0] == die_at:
                raise Killed
        return {"loss": total}

    @torch.inference_mode()
    def held_out_loss():
        net.eval()
        return (net(rows[32:]) - target[32:]).square().mean().item()

    training.run(
        epoch,
        held_out_loss,
        schedule,
        checkpoints=None if tmp_path is None else Checkpoints(tmp_path, origin),
        progress=lambda *report: curve.append(report),
    )
    return training, curve


def assert_same(one, other):
    (ours, our_curve), (theirs, their_curve) = one, other
    assert our_curve == their_curve
    assert ours.best_epoch == theirs.best_epoch
    for name, tensor in theirs.trained.state_dict().items():
        assert torch.equal(ours.trained.state_dict()[name], tensor), name
    assert torch.equal(ours.generator.get_state(), theirs.generator.get_state())


@pytest.mark.parametrize("die_at", [1, 11, 12, 13, 25, 47, 48])
def test_a_training_killed_within_any_step_and_taken_up_again_equals_an_uninterrupted_one(tmp_path, die_at):
    with pytest.raises(Killed):
        toy(tmp_path, die_at=die_at)
    assert_same(toy(tmp_path), toy())


def test_killed_again_and_again_it_still_equals_an_uninterrupted_one(tmp_path):
    rng = random.Random(0)
    schedule = Schedule(epochs=12, patience=0, checkpoint_every=1)
    for _ in range(5):
        with pytest.raises(Killed):
            toy(tmp_path, schedule, die_at=rng.randint(4, 8))
    assert_same(toy(tmp_path, schedule), toy())


def test_a_finished_training_is_taken_up_at_its_end(tmp_path):
    finished = toy(tmp_path)
    assert_same(toy(tmp_path, die_at=1), finished)


def test_how_often_a_checkpoint_is_written_changes_nothing(tmp_path):
    assert_same(toy(tmp_path / "often", Schedule(12, 0, 1)), toy(tmp_path / "seldom", Schedule(12, 0, 100)))


@pytest.mark.parametrize(
    "other",
    [
        ORIGIN | {"data": "abd"},
        ORIGIN | {"options": {"layers": [2, 3], "rate": 2e-4}},
        ORIGIN | {"seed": 18},
    ],
)
def test_a_checkpoint_of_another_origin_is_not_resumed(tmp_path, other):
    with pytest.raises(Killed):
        toy(tmp_path, die_at=30)
    assert Checkpoints(tmp_path, ORIGIN).load() is not None
    assert Checkpoints(tmp_path, other).load() is None
    with pytest.raises(Killed):  # 48 steps from the start, not 20 from epoch 7
        toy(tmp_path, die_at=48, origin=other)
    assert Checkpoints(tmp_path, ORIGIN).load() is None


def test_a_checkpoint_knows_the_code_that_made_it(tmp_path, monkeypatch):
    before = code_fingerprint()
    package = tmp_path / "gonogo"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(gonogo.files.gonogo, "__file__", str(package / "__init__.py"))
    one = code_fingerprint()
    (package / "training.py").write_text("rate = 0.5\n")
    assert len({before, one, code_fingerprint()}) == 3


@pytest.mark.parametrize("what", ["save_file", "seal"])
def test_killed_while_a_checkpoint_is_written_the_one_before_it_is_whole(tmp_path, monkeypatch, what):
    checkpoints = Checkpoints(tmp_path, ORIGIN)
    checkpoints.save({"a": torch.arange(3)}, {"epoch": 1})
    real = getattr(gonogo.detectors.training.checkpoints, what)

    def die(*args):
        if what == "save_file":
            args[1].write_bytes(b"half of it")
        raise Killed

    monkeypatch.setattr(gonogo.detectors.training.checkpoints, what, die)
    with pytest.raises(Killed):
        checkpoints.save({"a": torch.arange(4)}, {"epoch": 2})
    tensors, facts = checkpoints.load()
    assert (tensors["a"].tolist(), facts) == ([0, 1, 2], {"epoch": 1})
    monkeypatch.setattr(gonogo.detectors.training.checkpoints, what, real)
    checkpoints.save({"a": torch.arange(5)}, {"epoch": 3})
    assert checkpoints.load()[1] == {"epoch": 3}
    assert len(list(tmp_path.iterdir())) == 2  # one file of tensors and its manifest


def test_a_damaged_checkpoint_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(Killed):
        toy(tmp_path, die_at=30)
    (tensors,) = tmp_path.glob("*.safetensors")
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    with pytest.raises(IntegrityError, match="remove the folder to train from the start"):
        toy(tmp_path)


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path):
    toy(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    assert json.loads((tmp_path / "manifest.json").read_text())["facts"]["best_epoch"] > 0


def test_the_loss_falls_and_every_epoch_is_reported():
    training, curve = toy()
    assert [(what, done, total) for what, done, total, _ in curve] == [("epochs", i + 1, 12) for i in range(12)]
    assert curve[-1][3]["loss"] < 0.7 * curve[0][3]["loss"]
    assert training.history == [values for *_, values in curve]


def scripted(losses, patience, *, keep_last=False):
    """A training whose held-out loss follows a script and whose only weight counts its epochs."""
    net = nn.Linear(1, 1, bias=False).requires_grad_(False)
    net.weight.zero_()
    training = Training(net, torch.optim.SGD([net.weight], lr=0), torch.Generator())
    curve, held_out = [], iter(losses)

    def epoch(_):
        net.weight += 1
        return {}

    training.run(
        epoch,
        lambda: next(held_out),
        Schedule(len(losses), patience, 1, keep_last),
        checkpoints=None,
        progress=lambda *report: curve.append(report),
    )
    return int(net.weight), curve


def test_it_stops_when_patience_runs_out_and_keeps_the_best_epoch():
    weight, curve = scripted([5.0, 3.0, 4.0, 3.0, 3.5, 1.0, 0.5], patience=3)
    assert weight == 2
    assert curve[-1] == ("epochs", 5, 5, {HELD_OUT: 3.5})
    assert curve[-2][1:3] == (4, 7)


def test_without_patience_every_epoch_is_trained_and_the_best_kept():
    assert scripted([5.0, 3.0, 4.0, 6.0, 3.5, 1.0, 1.5], patience=0)[0] == 6


def test_a_method_that_keeps_its_last_epoch_gets_it_whatever_the_held_out_loss():
    assert scripted([5.0, 3.0, 4.0, 6.0], patience=0, keep_last=True)[0] == 4


def test_draws_go_through_all_items_before_any_comes_again():
    drawn = shuffled_passes(5, 13, torch.Generator().manual_seed(0)).tolist()
    assert len(drawn) == 13
    assert sorted(drawn[:5]) == sorted(drawn[5:10]) == [0, 1, 2, 3, 4]
    assert drawn[:5] != drawn[5:10]
    assert len(set(drawn[10:])) == 3


def test_a_loss_that_is_not_finite_is_refused_and_leaves_no_checkpoint_of_itself():
    with pytest.raises(TrainingError, match="epoch 3"):
        scripted([5.0, 3.0, float("nan"), 1.0], patience=0)


def test_images_held_out_are_never_trained_on_and_none_is_lost():
    chosen, held_out = hold_out(37, 0.1, seed=4)
    assert (len(chosen), len(held_out)) == (33, 4)
    assert sorted([*chosen.tolist(), *held_out.tolist()]) == list(range(37))
    assert torch.equal(hold_out(37, 0.1, seed=4)[1], held_out)
    assert not torch.equal(hold_out(37, 0.1, seed=5)[1], held_out)
    assert [len(part) for part in hold_out(2, 0.1, seed=0)] == [1, 1]
    with pytest.raises(DataError, match="at least 2 fit images"):
        hold_out(1, 0.1, seed=0)


VICTIM = """
from pathlib import Path
from test_training import LONG, toy
toy(Path(sys.argv[1]), LONG)
"""
LONG = Schedule(epochs=60, patience=0, checkpoint_every=1)


@needs_kill
@pytest.mark.slow
def test_a_process_killed_at_random_moments_ends_with_the_numbers_of_one_that_was_not(tmp_path):
    tests = Path(__file__).parents[1]
    environment = os.environ | {
        "PYTHONPATH": f"{tests.parent / 'src'}{os.pathsep}{tests}{os.pathsep}{tests / 'detectors'}"
    }
    uninterrupted, n_steps = steps_of(lambda: toy(tmp_path / "uninterrupted", LONG)[0], first="Checkpoints.save")
    manifest = tmp_path / "killed" / "manifest.json"
    rng, reached = random.Random(7), [0]
    for _ in range(3):
        at = rng.randint(n_steps // 8, n_steps // 4)
        killed = command_killed(VICTIM, str(tmp_path / "killed"), first="Checkpoints.save", at=at)
        assert subprocess.run(killed, env=environment).returncode == -signal.SIGKILL
        reached.append(epochs_in(manifest))
    assert 0 < reached[1] < reached[2] < reached[3] < LONG.epochs
    taken_up, _ = toy(tmp_path / "killed", LONG)
    assert taken_up.best_epoch == uninterrupted.best_epoch
    for name, expected in uninterrupted.trained.state_dict().items():
        assert torch.equal(taken_up.trained.state_dict()[name], expected), name


def epochs_in(manifest):
    return len(json.loads(manifest.read_text())["facts"]["history"]) if manifest.is_file() else 0
