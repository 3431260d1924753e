"""The runs of a case that are computed together: each ends where the watch of a certificate would."""

import json
from dataclasses import replace

import numpy as np
import pytest

import benchmark_tables
import drift
import drift_images
import real_scores
from gonogo.images.statistics import STATISTICS
from gonogo.monitoring.certificate_watch import CertificateWatch, WatchParams
from gonogo.monitoring.evidence import uniform_of

SEEDS = (*range(5), 46)  # in the case of missed defects, more calibrate scores of the last one are below the gap
TIES = drift.Source(np.round(np.random.default_rng(0).normal(size=40), 1), np.array([3.0, 2.0, 0.5]))


@pytest.mark.parametrize(
    ("case", "source"),
    [
        (drift.Case(29, defects=0.1), drift.Source()),
        (drift.Case(100, before=300, shift=1.0), drift.Source()),
        (drift.Case(100, before=300, shift=1.0, missed_share=0.01), drift.Source()),
        (drift.Case(29, defects=0.03, before=100, spread=1.5, scores="real"), TIES),
    ],
    ids=["defects", "shift", "missed defects", "ties"],
)
def test_runs_together_are_withdrawn_where_each_watch_withdraws(case, source):
    runs = []
    for seed in SEEDS:
        run = drift.drawn(case, source, 500, seed)
        keys = [f"{seed}.{number}" for number in range(len(run.scores))]
        runs.append(replace(run, uniforms=np.array([uniform_of(key) for key in keys])))
    found = drift.withdrawn(runs, case.params)
    for seed, run, together in zip(SEEDS, runs, found, strict=True):
        watch = CertificateWatch(run.record, case.params)
        for number, score in enumerate(run.scores.tolist()):
            watch.add(f"{seed}.{number}", score)
        at = None if watch.withdrawn_at is None else int(watch.withdrawn_at.split(".")[1]) + 1
        assert together == at
    assert case.defects or any(at is not None for at in found)


def test_each_part_is_scored_once_by_a_gauge_that_was_not_fitted_on_it(digits, monkeypatch):
    monkeypatch.setattr(real_scores, "MOST_FIT", 10)
    damaged = [replace(one, label=1, path=f"damaged/{one.path}") for one in digits.records if one.label == 0]
    dataset = replace(digits, records=(*digits.records, *damaged))
    dealt = real_scores.dealt_in_two(dataset)
    assert sorted(one.path for half in dealt for one in half.with_role("test")) == sorted(
        one.path for one in dataset.records
    )
    for half in dealt:
        fitted, tested = half.with_role("fit"), half.with_role("test")
        assert len({one.group_id for one in fitted}) == 10
        assert not any(one.label for one in fitted)
        assert not {one.group_id for one in fitted} & {one.group_id for one in tested}


def test_a_change_is_found_the_later_the_fewer_parts_it_is_in_and_not_at_all_in_none():
    rng = np.random.default_rng(0)
    clean = [tuple(row) for row in rng.normal(size=(150, 1 + len(STATISTICS))).tolist()]
    darker = {number: (clean[number][0], clean[number][1] - 8, *clean[number][2:]) for number in range(50)}
    found = [drift_images.delay(clean, darker, (50, 50), share, 1, WatchParams()) for share in (1.0, 0.6, 0.0)]
    assert not any(in_vain for in_vain, _ in found)
    (_, soon), (_, later), (_, never) = found
    assert soon is not None
    assert later is not None
    assert soon < later
    assert never is None


def test_the_table_of_changed_images_has_a_line_for_each_share_and_says_what_is_missed():
    row = {"category": "washer", "kind": "blur", "severity": 1, "share": 1.0, "score_shift": 1.5, "runs": 100}
    row |= {"withdrawn_in_vain": 2, "found": 1.0, "delay": 12.5, "commit": "a" * 40, "versions": {}}
    row |= {"machine": {"cpu": "x", "cores": 2, "memory_mb": 1000, "threads": 1}}
    rare = row | {"share": 0.1, "found": 0.25, "delay": 80}
    missed = rare | {"severity": 2, "found": 0.0, "delay": None}
    strict = rare | {"defect_rate": 0.02, "found": 1.0}
    text = benchmark_tables.drift_images_table(lambda _: json.dumps({"rows": [rare, row, missed, strict]}))
    assert "| washer | blur | 100% | 100% in 12 |  |" in text
    assert "| washer | blur | 10% | 25% in 80 | 0% |" in text
    assert "| washer | blur | 10%, 2% defects expected | 100% in 80 |  |" in text
    assert "| washer | blur | score moves by, sd | +1.5 | +1.5 |" in text
    assert "2 of 100 runs were withdrawn in vain. Of the 4 cases, 2 were missed" in text
