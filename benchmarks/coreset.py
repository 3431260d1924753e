"""How long the coreset of many patches takes, in how much memory, and how well it covers them all.

    python benchmarks/coreset.py                                    1,000,000 patches of 128 dimensions, 10,000 picks
    python benchmarks/coreset.py --patches 20000 --picks 200        a few seconds

The exact choice holds all patches. The composable one takes them in parts within --room-mb: each leaves a few, and the
last choice is among those. Each runs in a process of its own, whose largest resident size is `peak_mb`, in megabytes of
1e6 bytes, Python and torch included. The covering radius of both is measured afterwards, over all patches, in float64.
The patches are synthetic, made by seed: clusters of very different sizes, in directions of falling variance.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from covering import covering_radius
from gonogo.compute.memory import peak_bytes, resident_bytes
from gonogo.compute.progress import ProgressLine
from gonogo.compute.versions import versions
from gonogo.detectors.memory_bank.coreset import greedy_coreset
from gonogo.detectors.memory_bank.patch_stream import PatchStream, Reduction, plan_patches
from results import add_row, origin

RESULTS = Path(__file__).with_suffix(".json")
KEY = ("method", "n_patches", "dims", "n_picks")
SEED = 17
CHUNK = 1 << 12  # patches that are made at a time
N_CLUSTERS = 200


def patches(n: int, d: int) -> Iterator[Tensor]:
    """n patches (CHUNK, d) float32 at a time, the same ones each time."""
    generator = torch.Generator().manual_seed(SEED)
    spread = torch.arange(1, d + 1).pow(-0.5)
    centres = 3 * torch.randn(N_CLUSTERS, d, generator=generator) * spread
    shares = torch.rand(N_CLUSTERS, generator=generator).pow(4)
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        cluster = torch.multinomial(shares, size, replacement=True, generator=generator)
        yield centres[cluster] + torch.randn(size, d, generator=generator) * spread


def exact(n: int, d: int, n_picks: int) -> tuple[Tensor, dict[str, float]]:
    """The bank (n_picks, d) of one choice among all patches, and what it took."""
    line = ProgressLine()
    features = torch.empty(n, d)
    for number, some in enumerate(patches(n, d)):
        features[number * CHUNK : number * CHUNK + len(some)] = some
    start = time.perf_counter()
    coreset = greedy_coreset(
        features, n_picks, on_step=lambda done, total, radius: line("coreset", done, total, {"covering_radius": radius})
    )
    seconds = time.perf_counter() - start
    return features[coreset.indices], {"seconds": seconds, "covering_radius_reported": coreset.covering_radius}


def composable(n: int, d: int, n_picks: int, room: int) -> tuple[Tensor, dict[str, float]]:
    """The bank of a choice among what the parts of the patches left, within `room` bytes, and what it took.

    The time counts the making of the patches too: they pass by once and are not kept.
    """
    line = ProgressLine()
    plan = plan_patches(n, d, n_picks, room, d_in_parts=d)
    if plan is None or plan.part is None:
        raise SystemExit(f"{room / 1e6:,.0f} MB are room for {'nothing' if plan is None else 'all patches at once'}")
    start = time.perf_counter()
    stream: PatchStream | None = None
    for some in patches(n, d):
        if stream is None:
            stream = PatchStream(
                plan, some[None], Reduction("none", None, SEED), lambda done, total, _: line("parts", done, total, {})
            )
        stream.add(some[None])
    assert stream is not None
    taken = stream.finish()
    assert taken.radius is not None
    coreset = greedy_coreset(
        taken.patches,
        plan.n_select,
        on_step=lambda done, total, radius: line("coreset", done, total, {"covering_radius": radius}),
    )
    seconds = time.perf_counter() - start
    figures = {
        "seconds": seconds,
        "covering_radius_at_most": taken.radius + coreset.covering_radius,
        "n_parts": plan.n_parts,
        "n_left": len(taken.patches),
        "planned_mb": plan.memory / 1e6,
    }
    return taken.patches[coreset.indices] + taken.mean, figures


def measured(method: str, n: int, d: int, n_picks: int, room_mb: float) -> dict[str, Any]:
    """One method in this process."""
    next(patches(1, d))  # what torch needs to start with
    before = resident_bytes()
    bank, figures = exact(n, d, n_picks) if method == "exact" else composable(n, d, n_picks, int(room_mb * 1e6))
    asked: dict[str, Any] = {"method": method, "n_patches": n, "dims": d, "n_picks": len(bank)}
    if method == "composable":
        asked["room_mb"] = room_mb
    peak = {"before_mb": before / 1e6, "peak_mb": peak_bytes() / 1e6}
    return asked | figures | peak | {"covering_radius": covering_radius(patches(n, d), bank)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both methods in turn, write the results, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--picks", type=int, default=10_000)
    parser.add_argument("--room-mb", type=float, default=200, help="megabytes for the composable choice")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--method", choices=("exact", "composable"), help="measure it in this process, and print it")
    asked = parser.parse_args(argv)
    if asked.method is not None:
        torch.set_num_threads(asked.threads)
        print(json.dumps(measured(asked.method, asked.patches, asked.dims, asked.picks, asked.room_mb)))
        return 0
    given = sys.argv[1:] if argv is None else argv
    for method in ("exact", "composable"):
        command = [sys.executable, __file__, *given, "--method", method]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        add_row(asked.out, row | origin(asked.threads, versions("torch", "numpy")), key=KEY)
        print(
            f"{method}: {row['seconds']:.1f} s, {row['peak_mb']:,.0f} MB at the peak, covering radius "
            f"{row['covering_radius']:.4f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
