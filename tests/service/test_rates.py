"""Rates, charts and estimates against counts by hand, and the CSV as a spreadsheet reads it."""

import csv
import io
import os
import time

import numpy as np
import pytest

from serving import files, running, start  # noqa: F401  skips where the extra is missing

# isort: split
from scipy import stats

from gonogo.service import auditing, rates
from gonogo.service.schemas import Analytics
from gonogo.store.analytics import Selection, SlotCount
from gonogo.store.audit import AuditedPart
from gonogo.store.reviews import Settlement
from gonogo.store.schema import images, inspections
from gonogo.store.tallies import P_VALUE_BINS, add_to_tallies

# ruff: noqa: F811  fixtures are imported, and then named

BEGIN = 1.8e9  # when a quarter of an hour begins, in seconds since 1970


def part(verdict, label):
    state = "open" if label is None else "settled"
    return AuditedPart(verdict, Settlement(state, label, None, (), ()))


def test_with_all_parts_reviewed_the_estimate_is_that_of_clopper_and_pearson():
    parts = [part("reject", "good")] * 3 + [part("pass", "good")] * 97 + [part("pass", "defect")] * 2
    for found, k, n in ((auditing.false_alarms(parts), 3, 100), (auditing.misses(parts), 2, 99)):
        exact = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        assert (found.events, found.parts, found.waiting) == (k, n, 0)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_the_interval_covers_the_exact_one_however_the_parts_that_wait_turn_out():
    rng = np.random.default_rng(7)
    for _ in range(60):
        verdicts = rng.choice(["pass", "reject"], 30, p=[0.8, 0.2])
        labels = rng.choice(["good", "defect"], 30, p=[0.8, 0.2])
        known = rng.random(30) < 0.6
        partly = [part(v, label if seen else None) for v, label, seen in zip(verdicts, labels, known, strict=True)]
        wholly = [part(v, label) for v, label in zip(verdicts, labels, strict=True)]
        for estimate in (auditing.false_alarms, auditing.misses):
            before, after = estimate(partly), estimate(wholly)
            if before.rate is not None and after.rate is not None:
                assert before.low <= after.low + 1e-12
                assert after.high <= before.high + 1e-12


def test_without_a_reviewed_part_there_is_no_estimate():
    assert auditing.false_alarms([part("pass", None)]).rate is None
    assert auditing.misses([]).model_dump() == {
        **{"events": 0, "parts": 0, "waiting": 0, "rate": None, "low": None, "high": None}
    }


@pytest.mark.parametrize(
    ("clock", "shift"),
    [("05:45", "night"), ("06:00", "early"), ("13:45", "early"), ("14:00", "late"), ("23:59", "night")],
)
def test_a_shift_runs_until_the_next_one_begins_also_over_midnight(clock, shift):
    hour, minute = map(int, clock.split(":"))
    at = time.mktime((2026, 3, 17, hour, minute, 0, 0, 0, -1))
    assert rates.shift_of(at, (("early", 360), ("late", 840), ("night", 1320))) == shift


def test_the_limits_of_the_p_chart_are_three_deviations_from_the_mean_of_all_parts():
    begin = int(time.mktime((2026, 3, 17, 8, 0, 0, 0, 0, -1)))
    hours = [(400, 8), (100, 2), (400, 40), (900, 20)]
    slots = [SlotCount(begin + 3600 * n, "c", "k", count, bad, 0) for n, (count, bad) in enumerate(hours)]
    points = rates.p_chart(slots, hourly=True)
    mean = 70 / 1800
    for point, (count, bad) in zip(points, hours, strict=True):
        reach = 3 * np.sqrt(mean * (1 - mean) / count)
        assert point.upper_limit == pytest.approx(mean + reach)
        assert point.lower_limit == pytest.approx(max(0, mean - reach))
        assert point.out_of_control == (abs(bad / count - mean) > reach)
    assert [point.out_of_control for point in points] == [False, False, True, False]
    assert len(rates.p_chart(slots, hourly=False)) == 1


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request, tmp_path_factory):
    """A store with 3,000 random inspections, and their rows."""
    import sqlalchemy as sa

    from gonogo.store.store import Store

    url = os.environ.get("GONOGO_TEST_POSTGRES") if request.param == "postgresql" else None
    if request.param == "postgresql" and not url:
        pytest.skip("GONOGO_TEST_POSTGRES names no database of PostgreSQL")
    store, rng = Store(tmp_path_factory.mktemp("filled"), url), np.random.default_rng(3)
    rows = [
        {
            **{"id": f"{n:032x}", "at": BEGIN + 37 * n, "image": "0" * 64, "name": None, "threshold": 2.0},
            **{"verdict": "reject" if score >= 2 else "pass", "score": score, "p_value": p, "probability": None},
            **{"uncertain": n % 11 == 0, "regions": "[]", "category": "ab"[n % 2], "bundle": "cd"[n % 3 == 0] * 64},
            **{"certificate": "{}", "timings_ms": "{}", "key": "k" * 16, "latency_ms": 300 * p},
        }
        for n, (score, p) in enumerate(zip(rng.gamma(4, 0.3, 3000).tolist(), rng.random(3000).tolist(), strict=True))
    ]
    image = {**{"sha256": "0" * 64, "format": "PNG", "n_bytes": 1, "width": 1, "height": 1}}
    with store._engine.begin() as connection:
        connection.execute(sa.insert(images).values(image | {"last_seen": 0.0, "kept": False, "newest": ""}))
        connection.execute(sa.insert(inspections), rows)
        add_to_tallies(connection, rows)
    yield store, rows
    store.close()


@pytest.mark.parametrize(
    ("since", "until"), [(500, 18_000), (0, 1e6), (10_000.5, 100_000.25), (21_600, 64_800), (30_000, 30_100), (0, 1)]
)
def test_the_store_counts_as_a_loop_over_the_rows_does(filled, since, until):
    store, rows = filled
    selection = Selection(BEGIN + since, BEGIN + until, category="a")
    chosen = [row for row in rows if row["category"] == "a" and selection.since <= row["at"] < selection.until]
    slots = store.analytics.slots(selection)
    assert sum(slot.n for slot in slots) == len(chosen)
    assert sum(slot.n_rejected for slot in slots) == sum(row["verdict"] == "reject" for row in chosen)
    assert sum(slot.n_uncertain for slot in slots) == sum(row["uncertain"] for row in chosen)
    assert {slot.begin for slot in slots} == {int(row["at"] // 900) * 900 for row in chosen}

    found = rates.analytics_of(store, selection, ())
    for bundle in found.bundles:
        own = [row for row in chosen if row["bundle"] == bundle.bundle]
        for bins, values in (
            (bundle.p_values, [row["p_value"] for row in own]),
            (bundle.relative_scores, [row["score"] / row["threshold"] for row in own]),
            (bundle.latency_ms, [row["latency_ms"] for row in own]),
        ):
            edges = [bar.low for bar in bins] + [bins[-1].high or np.inf]
            assert [bar.n for bar in bins] == np.histogram(values, edges)[0].tolist()
    assert len(found.bundles) == len({row["bundle"] for row in chosen}) > 0
    assert len(found.bundles[0].p_values) == P_VALUE_BINS
    assert found.total.inspected == len(chosen)


def test_counting_reads_the_index_alone(filled):
    store, _ = filled
    if store._engine.dialect.name != "sqlite":
        pytest.skip("the plan of SQLite")
    plans = []
    import sqlalchemy as sa

    def explain(connection, _cursor, statement, parameters, *_):
        plans.append(connection.connection.execute("EXPLAIN QUERY PLAN " + statement, parameters).fetchall()[0][3])

    sa.event.listen(store._engine, "after_cursor_execute", explain)
    selection = Selection(BEGIN + 1, BEGIN + 1e5)
    for counted in (store.analytics.slots, store.analytics.p_values, store.analytics.relative_scores):
        counted(selection)
    store.analytics.latencies(selection)
    sa.event.remove(store._engine, "after_cursor_execute", explain)
    counted_now = [plan for plan in plans if "inspections" in plan]
    assert (len(plans), len(counted_now)) == (12, 8)
    assert all("USING COVERING INDEX ix_inspections_analytics (at>? AND at<?)" in plan for plan in counted_now), plans
    assert all("SEARCH tall" in plan and "USING PRIMARY KEY" in plan for plan in {*plans} - {*counted_now}), plans


def test_a_name_of_others_is_no_formula_in_the_csv():
    rate = {"inspected": 4, "rejected": 1, "uncertain": 0, "rate": 0.25, "low": 0.1, "high": 0.5}
    empty = {name: [] for name in ("by_hour", "by_shift", "by_category", "p_chart", "bundles")}
    counts = Analytics(
        **{"since": 0, "until": 1, "confidence": 0.95, "total": None},
        **empty,
        by_key=[{"group": '=HYPERLINK("http://x")', **rate}, {"group": "a\nb,c", **rate}],
    )
    header, first, second = csv.reader(io.StringIO(rates.as_csv(counts, "by_key")))
    assert header == ["group", *rate]
    assert first[0].startswith("'=")
    assert second[0] == "'a\\nb,c"
    assert rates.as_csv(counts, "p_values") == "bundle,low,high,n\r\n"


def test_an_empty_store_and_a_time_that_ends_before_it_begins(start):
    with start() as running:
        found = running.ask("GET", "/v1/analytics").json()
        assert (found["total"], found["p_chart"], found["bundles"]) == (None, [], [])
        wrong = {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
        assert running.ask("GET", "/v1/analytics", params=wrong).status_code == 422
        assert running.ask("GET", "/v1/analytics.csv", params={"table": "by_key"}).text.startswith("group,inspected")
        assert running.ask("GET", "/v1/analytics.csv", params={"table": "keys"}).status_code == 422
