"""The page of operating points: every kind and position, and a slider that stands under the line it moves."""

import json
import re

import numpy as np
import pytest

from conftest import CALIBRATE
from gonogo.calibration.threshold import threshold_of
from gonogo.evaluation.accuracy.operating_points import ScoresByKind
from gonogo.reports.operating_page import STEPS, measured_record, write_operating_page

SCORES = ScoresByKind(good=[1.0, 2.0, 9.0], by_type={"hole": [5.0, 12.0], "stain": [3.0]})


def calibrated(scores):
    return threshold_of(scores, [str(number) for number in range(len(scores))], CALIBRATE, seed=1)


@pytest.fixture(scope="module")
def record():
    return calibrated(np.arange(1.0, 31.0))


@pytest.fixture(scope="module")
def page(record, tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "page.html"
    write_operating_page(path, SCORES, record, category="tile <b>")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def data(page):
    return json.loads(re.search(r"const data = (\{.*\});", page)[1])


def test_the_page_shows_a_name_as_text_and_loads_nothing(page):
    assert "tile &lt;b&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_the_page_has_every_kind_and_what_is_known_at_each_position(data):
    assert [row["name"] for row in data["rows"]] == ["good, to calibrate", "good, test", "hole", "stain"]
    steps = {step["at"]: step for step in data["steps"]}
    assert data["own"] in steps
    assert steps[5.0]["rates"]["hole"][:2] == [2, 2]
    assert max(steps) > 30.0  # above every score: nothing is rejected
    assert steps[max(steps)]["rates"]["all defects"][:2] == [0, 3]


def test_slider_line_and_scores_share_one_column_and_one_scale(page, data, record):
    """The script puts line and slider at the fraction `place` of the column; the dots stand at the same fraction."""
    columns = {
        name: re.search(rf"\.{name} {{[^}}]*grid-column: (\d)", page)[1]
        for name in ("scores", "field", "slider", "ticks")
    }
    assert set(columns.values()) == {"2"}
    thumb = int(re.search(r"slider-thumb {[^}]*width: (\d+)px", page)[1])
    assert f"margin: 0 -{thumb // 2}px" in page  # the slider is wider by half a thumb on each side
    places = [float(place) for place in re.findall(r'<i(?: class="bad")? style="left:([\d.]+)%"', page)]
    scores = [score for row in data["rows"] for score in row["scores"]]
    fractions = [100 * (score - data["low"]) / (data["high"] - data["low"]) for score in scores]
    assert places == pytest.approx(fractions, abs=1e-3)
    own = 100 * (record.threshold - data["low"]) / (data["high"] - data["low"])
    assert float(re.search(r'class="line" style="left:([\d.]+)%"', page)[1]) == pytest.approx(own, abs=1e-3)


def test_every_position_is_inside_the_scale(data):
    assert all(data["low"] < step["at"] < data["high"] for step in data["steps"])


def test_there_are_at_most_so_many_positions_and_the_gauges_own_is_one(tmp_path):
    rng = np.random.default_rng(0)
    record = calibrated(rng.normal(5, 1, 300))
    scores = ScoresByKind(rng.normal(5, 1, 900).tolist(), {"hole": rng.normal(8, 1, 900).tolist()})
    write_operating_page(tmp_path / "page.html", scores, record, category="tile")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    steps = json.loads(re.search(r"const data = (\{.*\});", text)[1])["steps"]
    assert len(steps) <= STEPS + 2
    assert record.threshold in {step["at"] for step in steps}


def rows_of(scores, threshold):
    return [
        {"role": "calibrate", "score": repr(score), "group_id": str(number), "threshold": repr(threshold)}
        for number, score in enumerate(scores)
    ]


def test_the_bundles_record_is_that_of_the_records_unless_it_computes_in_eight_bits(record):
    rows = rows_of(record.good_scores, record.threshold)
    assert measured_record(record, rows) is record
    in_eight_bits = calibrated(np.arange(1.0, 31.0) * 1.07)
    again = measured_record(in_eight_bits, rows)
    assert again.threshold == record.threshold
    assert again.good_scores == record.good_scores
    assert again.certified_false_alarm_rate == record.certified_false_alarm_rate
