"""The report: one page that needs nothing beside it, and that hides neither a missing certificate nor a name."""

import base64
import dataclasses
import re
from html.parser import HTMLParser
from urllib.parse import quote

import numpy as np
import pytest

from gonogo.calibration.threshold import certify
from gonogo.files import read_rows, write_json, write_rows
from gonogo.images.reading import write_png
from gonogo.reports.front import front_chart
from gonogo.reports.histogram import HEIGHT, MARGIN, WIDTH, histogram
from gonogo.reports.report import CategoryReport, read_studies, read_tunings, retrieval_of, write_report

PAGES = ("data_card", "calibration", "operating_points")
METRICS = ["image_auroc", "image_ap", "recall", "false_alarm_rate", "precision", "f1", "f1_oracle"]
LOADING = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href", "ping", "formaction"}


def certificate(n_good: int):
    scores = np.linspace(1, 2, n_good)
    groups = [str(number) for number in range(n_good)]
    return certify(scores, groups, false_alarm_rate=0.1, confidence=0.95, margin=1e-3)


def robustness_rows():
    cells = [("none", 0)] + [(name, severity) for name in ("blur", "glare") for severity in range(1, 6)]
    return [
        {"corruption": name, "severity": str(severity), "false_alarm_rate": str(severity / 10), "recall": "0.5"}
        for name, severity in cells
    ]


@pytest.fixture
def category(tmp_path):
    """A certified category with maps."""
    write_png(tmp_path / "sheet.png", np.full((3, 5, 3), 200, dtype=np.uint8))
    write_png(tmp_path / "fit.png", np.full((3, 5, 3), 90, dtype=np.uint8))
    record = certificate(40)
    evaluate = {f"{name}{suffix}": 0.5 for name in [*METRICS, "aupro_30"] for suffix in ("", "_baseline", "_lift")}
    evaluate |= {"image_auroc": 0.8125, "image_auroc_low": 0.7011, "image_auroc_high": 0.9022}
    evaluate |= {"interval_confidence": 0.9, "threshold": record.threshold, "certified": record.certified}
    evaluate |= {"certified_false_alarm_rate": record.certified_false_alarm_rate, "detector": "patchcore"}
    evaluate |= {"calibrate_method": record.method}
    evaluate |= {"data_fingerprint": "0123456789abcdef" * 4, "false_alarm_rate_exact_high": 0.6}
    good = [{"label": "0", "score": str(score)} for score in np.linspace(1, 2, 30)]
    return CategoryReport(
        name="brick",
        prepare={"n_fit": 9, "n_calibrate": 40, "n_test_good": 7, "n_test_defective": 6, "n_masks": 6},
        evaluate=evaluate,
        parity={"score_max_diff_e6": 0.25},
        bench={
            "p50_ms": 12.5,
            "p95_ms": 14.5,
            "threads": 2,
            "cpu": "a CPU",
            "cold_start_ms": 900.0,
            "peak_memory_mb": 80.0,
            "roofline_ms": 8.25,
            "times_roofline": 1.515,
            "gflop_per_image": 1.28,
            "matmul_gflops": 171.0,
            "mb_per_image": 4.5,
            "copy_gb_per_s": 21.0,
            "best_images_per_second": 117.0,
            "best_batch_size": 8,
            "best_workers": 2,
            "best_worker_threads": 1,
        },
        rows=[*good, {"label": "1", "score": "2.5"}],
        robustness={
            "false_alarm_rate.none": 0.0,
            "recall.none": 1.0,
            "worst_false_alarm_rate": 0.25,
            "worst_false_alarm_rate_corruption": "glare",
            "worst_recall": 0.5,
            "worst_recall_corruption": "blur",
        },
        robustness_rows=robustness_rows(),
        sheet=tmp_path / "sheet.png",
        fit_rows=[{"image": f"{number}.png", "score": "3.0"} for number in range(9)],
        fit_sheet=tmp_path / "fit.png",
        record=record,
        strip={
            "warning": None,
            "n_good": 7,
            "n_false_alarms": 1,
            "n_defective": 6,
            "n_missed": 2,
            "parts": [
                part("a.png"),
                part("b.png", defect_type="hole", defective=True, rejected=True),
                part("c.png", defect_type="stain", defective=True, missed=True, overlay=None),
                part("d.png", rejected=True, false_alarm=True),
            ],
        },
    )


PICTURE, OVERLAY = "data:image/jpeg;base64,AAAA", "data:image/jpeg;base64,BBBB"


def part(image, **facts):
    plain = {"defective": False, "defect_type": "good", "rejected": False, "missed": False, "false_alarm": False}
    drawn = {"times_threshold": 0.5, "width": 116, "height": 58, "picture": PICTURE, "overlay": OVERLAY}
    return {"image": image, **plain, **drawn, **facts}


def uncertified(category):
    record = certificate(20)
    rate = record.certified_false_alarm_rate
    evaluate = category.evaluate | {"certified": record.certified, "certified_false_alarm_rate": rate}
    return dataclasses.replace(category, name="grass", evaluate=evaluate, record=record)


class Page(HTMLParser):
    """The page's elements as (tag, attributes), and its text by element."""

    VOID = ("meta", "link", "br", "img", "line", "rect", "path", "circle")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts.setdefault(tag, []).append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def text(self, tag="body"):
        return " ".join("".join(self.texts.get(tag, [])).split())


def page_of(tmp_path, *categories, studies=()):
    values = {c.name: c.evaluate["image_auroc"] for c in categories if "image_auroc" in c.evaluate}
    summary = {"n_categories": len(categories)}
    if values:
        worst = min(values, key=values.get)
        summary |= {
            "image_auroc.worst": values[worst],
            "image_auroc.worst_category": worst,
            "image_auroc.mean": sum(values.values()) / len(values),
        }
    write_report(tmp_path / "index.html", summary, categories, studies)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    return html, page


def test_the_page_loads_nothing_from_anywhere(category, tmp_path):
    html, page = page_of(tmp_path, category, uncertified(category))
    targets = [value for _, attributes in page.elements for name, value in attributes.items() if name in LOADING]
    assert len(targets) >= 5
    beside = {f"{c}/{page}.html" for c in ("brick", "grass") for page in PAGES}
    assert {target for target in targets if not target.startswith(("data:", "#"))} == beside
    assert "script" not in {tag for tag, _ in page.elements}
    assert not re.search(
        r"https?:|//[a-z]|@import|url\(", html.replace(category.sheet_uri, "").replace(category.fit_sheet_uri, "")
    )


def test_the_picture_sheet_is_in_the_page_byte_for_byte(category, tmp_path):
    _, page = page_of(tmp_path, category)
    sources = [attributes["src"] for tag, attributes in page.elements if tag == "img" and attributes.get("class")]
    pictures = [base64.b64decode(source.removeprefix("data:image/png;base64,"), validate=True) for source in sources]
    assert pictures == [category.sheet.read_bytes(), category.fit_sheet.read_bytes()]


def test_calibrate_parts_that_lie_apart_are_warned_of_on_the_first_screen(category, tmp_path):
    _, page = page_of(tmp_path, category)
    assert "lets others pass" not in page.text()
    warned = dict(category.strip) | {"warning": "a.png scores far above; a defect here lets others pass"}
    _, page = page_of(tmp_path, dataclasses.replace(category, strip=warned))
    assert "a defect here lets others pass." in page.text()


def test_fit_images_to_look_at_are_shown_with_how_many_were_looked_at(category, tmp_path):
    _, page = page_of(tmp_path, category)
    assert page.texts["summary"][-1] == "Fit images to look at"
    assert "Each of the 9 fit images was also scored without itself." in page.text()
    _, page = page_of(tmp_path, dataclasses.replace(category, fit_rows=[]))
    assert "Fit images to look at" not in page.text()
    assert len([tag for tag, attributes in page.elements if tag == "img" and attributes.get("class")]) == 1


def test_a_name_with_markup_in_it_is_shown_and_not_obeyed(category, tmp_path):
    name = "<script>\"&amp;'</script>"
    _, page = page_of(tmp_path, dataclasses.replace(category, name=name))
    assert page.text("h2") == f"{name}All categories{name}"
    assert f"{quote(name)}/calibration.html" in [a["href"] for tag, a in page.elements if tag == "a"]
    assert page.rows[1][0] == name
    assert "script" not in {tag for tag, _ in page.elements}


def test_a_category_without_a_defective_test_image_shows_what_was_measured_and_says_what_was_not(category, tmp_path):
    gone = ("image_", "recall", "precision", "f1", "aupro", "seg_f1", "pixel_auroc", "pixel_ap")
    kept = {name: value for name, value in category.evaluate.items() if not name.startswith(gone)}
    good = dataclasses.replace(category, evaluate=kept | {"n_defective": 0})
    _, page = page_of(tmp_path, good)
    assert "no defective part in test" in page.rows[1]
    assert {row[0] for row in page.rows[2:]} >= {"false-alarm rate"}
    assert "recall" not in {row[0] for row in page.rows[2:]}


def test_the_spread_over_seeds_stands_beside_the_interval_where_it_was_measured(category, tmp_path):
    _, page = page_of(tmp_path, category)
    assert "seeds" not in page.text()
    spread = {"n_seeds": 5, "image_auroc_seeds_low": 0.8041, "image_auroc_seeds_high": 0.8253}
    _, page = page_of(tmp_path, dataclasses.replace(category, evaluate=category.evaluate | spread))
    (row,) = [row for row in page.rows if row and row[0] == "image AUROC" and len(row) == 5]
    assert row[1].split() == ["0.812", "[0.701,", "0.902]5", "seeds:", "0.804", "to", "0.825"]
    assert page.text().count("seeds:") == 1


def test_every_link_leads_to_a_category_below_or_to_one_of_its_pages(category, tmp_path):
    _, page = page_of(tmp_path, category, uncertified(category))
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    anchors = [f"#{attributes['id']}" for tag, attributes in page.elements if tag == "h2" and "id" in attributes]
    assert anchors == ["#category-1", "#category-2"]
    assert {link for link in links if link.startswith("#")} == set(anchors)
    for name in ("brick", "grass"):
        assert [link for link in links if link.startswith(f"{name}/")] == [f"{name}/{page}.html" for page in PAGES]


# The first screen


def test_parts_verdicts_and_the_certificate_come_before_any_table(category, tmp_path):
    html, _ = page_of(tmp_path, category, uncertified(category))
    first_screen = html[html.index("<body") : html.index("<table")]
    for c in (category, uncertified(category)):
        assert c.certificate in first_screen
    assert first_screen.count("<figure") == 2 * 4
    assert first_screen.count(PICTURE) == 2 * 4
    assert first_screen.count(OVERLAY) == 2 * 3  # one part has no map
    assert "data:image/png" not in first_screen  # the sheets, which are large


def figures(page_html):
    return re.findall(r"<figure class=\"(part[^\"]*)\">(.*?)</figure>", page_html, re.DOTALL)


def test_a_verdict_is_a_word_a_shape_and_a_colour(category, tmp_path):
    html, _ = page_of(tmp_path, category)
    drawn = [
        (re.search(r'class="verdict (\w+)"', figure)[1], re.search(r"</svg>(\w+)<", figure)[1], "<circle" in figure)
        for _, figure in figures(html)
    ]
    passed, rejected = ("pass", "PASS", True), ("reject", "REJECT", False)
    assert drawn == [passed, rejected, passed, rejected]


def test_a_wrong_verdict_is_labelled_as_one_and_counted(category, tmp_path):
    html, page = page_of(tmp_path, category)
    wrong = [("wrong" in name, "missed defect:" in figure, "false alarm:" in figure) for name, figure in figures(html)]
    assert wrong == [(False, False, False)] * 2 + [(True, True, False), (True, False, True)]
    assert "Good test parts: 6 of 7 pass, 1 false alarm." in page.text()
    assert "Defective: 4 of 6 rejected, 2 missed." in page.text()
    faultless = category.strip | {"n_false_alarms": 0, "n_missed": 0, "parts": category.strip["parts"][:2]}
    _, page = page_of(tmp_path, dataclasses.replace(category, strip=faultless))
    assert "Good test parts: 7 of 7 pass." in page.text()
    assert "Defective: 6 of 6 rejected." in page.text()
    assert "missed" not in page.text()


def test_long_pictures_are_folded_and_nothing_is_lost_by_it(category, tmp_path):
    html, _ = page_of(tmp_path, category)
    folded = re.findall(r"<details>(.*?)</details>", html, re.DOTALL)
    assert [re.search(r"<summary>([\w ,]+)", text)[1].strip() for text in folded] == [
        "Picture sheet",
        "When light, lens or handling change",
        "Fit images to look at",
    ]
    assert category.sheet_uri in folded[0]
    assert category.fit_sheet_uri in folded[2]


def test_the_same_report_is_the_same_bytes(category, tmp_path):
    assert page_of(tmp_path, category)[0] == page_of(tmp_path, category)[0]


# Certificates and figures


def certificates(page):
    return [attributes["class"] for _, attributes in page.elements if "certificate" in attributes.get("class", "")]


def test_the_certificate_stands_in_words(category, tmp_path):
    _, page = page_of(tmp_path, category)
    assert category.certificate in page.text()
    assert "Certified: at most 7.22% of good parts are rejected, with 95% confidence" in page.text()
    assert "not certified" not in page.text().lower()
    assert certificates(page) == ["note certificate"]


def test_a_missing_certificate_stands_in_words_and_is_marked(category, tmp_path):
    _, page = page_of(tmp_path, category, uncertified(category))
    assert "NOT certified at the target of 10.00%" in page.text("p")
    assert "not certified at the target" in page.text("td")
    assert certificates(page) == ["note certificate", "note certificate no"]
    assert [attributes.get("class") for tag, attributes in page.elements if tag == "td"].count("warn") == 1


def test_the_metrics_stand_with_their_interval_baseline_and_lift(category, tmp_path):
    _, page = page_of(tmp_path, category)
    (row,) = [row for row in page.rows if row[0] == "image AUROC" and len(row) == 5]
    assert [" ".join(cell.split()) for cell in row] == ["image AUROC", "0.812 [0.701, 0.902]", "0.500", "+0.500", ""]
    _, page = page_of(
        tmp_path, dataclasses.replace(category, evaluate=category.evaluate | {"image_auroc_random": 0.25})
    )
    (row,) = [row for row in page.rows if row[0] == "image AUROC" and len(row) == 5]
    assert row[-1] == "0.250"
    assert "Brackets hold 90 % intervals" in page.text()
    assert "95 %" not in page.text()


def test_a_category_without_pixel_metrics_shows_no_number_for_them(category, tmp_path):
    kept = {name: value for name, value in category.evaluate.items() if not name.startswith("aupro")}
    _, page = page_of(tmp_path, dataclasses.replace(category, evaluate=kept))
    assert page.rows[1][4] == "no map"
    assert not [row for row in page.rows if row[0].startswith(("pixel", "AUPRO"))]


def test_segmentation_stands_beside_its_threshold_with_a_small_rate_legible(category, tmp_path):
    _, page = page_of(tmp_path, category)
    assert "enclose regions" not in page.text()
    values = {"seg_f1": 0.4381, "seg_f1_baseline": 0.016, "seg_f1_lift": 0.4221, "pixel_threshold": 29.2098}
    rates = {"": 0.00012, "_baseline": 0.00098, "_lift": 0.00086}
    evaluate = category.evaluate | values | {f"pixel_false_positive_rate{k}": v for k, v in rates.items()}
    _, page = page_of(tmp_path, dataclasses.replace(category, evaluate=evaluate))
    rows = {row[0]: [" ".join(cell.split()) for cell in row[1:]] for row in page.rows}
    assert rows["F1 of marked pixels"] == ["0.438", "0.016", "+0.422", ""]
    assert rows["pixel false-positive rate"] == ["0.00012", "0.00098", "+0.00086", ""]
    assert "pixels at or above 29.21, a threshold from good calibrate maps" in page.text()


def test_the_least_time_stands_beside_the_time_with_what_it_is_made_of(category, tmp_path):
    said = " ".join(" ".join(page_of(tmp_path, category)[1].texts["p"]).split())
    assert (
        "least time that this machine allows is 8.2 ms: 1.28 GFLOP at the 171 per second of a plain matrix product, "
        "4.5 MB at the 21 GB" in said
    )
    assert "a verdict takes 1.51 times that. At most 117 images per second: workers 2, threads of each 1, batch" in said


def test_robustness_is_a_sentence_and_a_small_plot_of_each_corruption(category, tmp_path):
    _, page = page_of(tmp_path, category)
    assert "At severity 3 glare is worst for good parts: 25.0 % rejected." in page.text("p")
    assert "Of defective ones, blur leaves the fewest found: 50.0 %." in page.text("p")
    assert [text for text in page.texts["figcaption"] if text in ("blur", "glare")] == ["blur", "glare"]
    lines = [attributes["points"] for tag, attributes in page.elements if tag == "polyline"]
    assert len(lines) == 4
    assert lines[1].split() == ["6,60.0", "27,54.5", "48,49.0", "69,43.5", "90,38.0", "111,32.5"]


def test_where_no_change_makes_it_worse_none_is_named(category, tmp_path):
    rates = category.robustness | {"false_alarm_rate.none": 0.25, "recall.none": 0.5}
    text = page_of(tmp_path, dataclasses.replace(category, robustness=rates))[1].text("p")
    assert "At severity 3 no change has more good parts rejected than there are without it, 25.0 %." in text
    assert "Of defective ones, no change leaves fewer found than there are without it, 50.0 %." in text


def test_without_robustness_nothing_is_said_of_it(category, tmp_path):
    rows = [{"corruption": "none", "severity": "0", "false_alarm_rate": "", "recall": ""}]
    _, page = page_of(tmp_path, dataclasses.replace(category, robustness={}, robustness_rows=rows))
    assert "severity" not in page.text()


def test_random_weights_are_admitted(category, tmp_path):
    evaluate = category.evaluate | {"weights": "random"}
    _, page = page_of(tmp_path, dataclasses.replace(category, evaluate=evaluate))
    assert "weights are random" in page.text("p")
    _, page = page_of(tmp_path, dataclasses.replace(category, evaluate=evaluate | {"weights": "pretrained"}))
    assert "weights are random" not in page.text("p")


def trial(number, state, value=None, **more):
    return {"number": number, "state": state, "value": value, "params": {"fit.layers": [1, number]}} | more


def test_a_search_is_shown_with_its_picture_and_its_best_trials_in_their_order(category, tmp_path):
    trials = [trial(n, "done", value, experiment=f"nuts-{n}") for n, value in enumerate((0.25, 0.75, 0.5))]
    trials += [trial(3, "done", 0.75, same_as=1), trial(4, "failed", reason="too near"), trial(5, "stopped")]
    results = {"name": "nuts <1>", "criterion": "synthetic_auroc", "direction": "maximize", "categories": ["brick"]}
    results |= {"space": {"fit.layers": {}}, "trials": trials, "importance": {"fit.layers": 1.0}}
    write_json(tmp_path / "searches" / "nuts" / "trials.json", results)
    (tmp_path / "searches" / "nuts" / "study.svg").write_text("<svg/>")
    html, page = page_of(tmp_path, category, studies=read_studies(tmp_path / "searches"))
    assert "Search: nuts <1>" in page.text("h2")
    assert "4 trials done, 1 failed, by synthetic_auroc of brick" in page.text("p")
    assert [row for row in page.rows if row[0].startswith("nuts-")] == [
        ["nuts-1", "0.7500", "[1, 1]"],
        ["nuts-2", "0.5000", "[1, 2]"],
        ["nuts-0", "0.2500", "[1, 0]"],
    ]
    assert "data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode() in html


def test_without_a_search_nothing_is_said_of_one(category, tmp_path):
    _, page = page_of(tmp_path, category, studies=read_studies(tmp_path / "nowhere"))
    assert "Search" not in page.text()


def tuned(**changes):
    """What gonogo tune wrote of three candidates, one of them over the budget."""
    rows = [
        {"changes": {}, "ms": 16.0, "value": 0.8, "gain": 0.0, "error": 0.0, "fate": ""},
        {"changes": {"whitening": 0.5}, "ms": 16.5, "value": 0.85, "gain": 0.05, "error": 0.01, "fate": "chosen"},
        {"changes": {"image_size": [320, 640]}, "ms": 27.0, "value": 0.9, "gain": 0.1, "error": 0.02, "fate": "over"},
        {"changes": {"image_size": 30}, "ms": None, "value": None, "gain": None, "error": None, "fate": "refused"},
    ]
    results = {"category": "nut <2>", "criterion": "chance", "n_parts": 31, "verdict_ms": 20.0, "complete": True}
    results |= {"tried": rows, "current": rows[0], "chosen": rows[1], "further": rows[2], "further_ms": 10.0}
    return results | {"front": rows[:3]} | changes


def test_what_a_search_by_good_parts_chose_is_in_the_page(category, tmp_path):
    write_json(tmp_path / "searches" / "nut.tune.json", tuned())
    write_json(tmp_path / "searches" / "other.tune.json", tuned(complete=False, further=None))
    summary = {"n_categories": 1}
    write_report(tmp_path / "index.html", summary, [category], tunings=read_tunings(tmp_path / "searches"))
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert page.text("h2").count("Options chosen for nut <2>") == 2
    assert page.text("p").count("The minutes were spent before") == 1
    chosen = [row for row in page.rows if row and row[0] == "chosen"]
    assert [row[1:4] for row in chosen] == [["16.5\u2009ms", "0.850", "+0.050 ± 0.010"]] * 2
    assert len([row for row in page.rows if row and row[0] == "with 10 ms more"]) == 1


def test_how_often_similar_cases_are_of_the_same_type_is_in_the_page(category, tmp_path):
    names = ("p_at_1", "p_at_5", "mrr", "flat_p_at_1", "flat_p_at_5", "flat_mrr")
    measured = {
        f"{name}{end}.nut <2>": number / 10 for number, name in enumerate(names) for end in ("", "_low", "_high")
    }
    metrics = measured | {"n_queries.nut <2>": 31, "not_measured.bolt": "all are of one type"}
    found = retrieval_of(metrics, ["nut <2>", "bolt"])
    write_report(tmp_path / "index.html", {"n_categories": 2}, [category], retrieval=found)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert page.open == []
    (nut,) = [row for row in page.rows if row[:2] == ["nut <2>", "31"]]
    assert nut[2:] == [f"{number / 10:.3f} [{number / 10:.3f}, {number / 10:.3f}]" for number in range(6)]
    assert ["bolt", "cannot be measured: all are of one type"] in page.rows
    write_report(tmp_path / "index.html", {"n_categories": 2}, [category])
    assert "Similar past defects" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_front_of_a_search_is_drawn_to_scale():
    chart = front_chart(tuned())
    (x0, y0), (x1, y1), (x2, y2) = chart["points"]
    assert (x2 - x0) / (x1 - x0) == pytest.approx((27 - 16) / (16.5 - 16))
    assert (y0 - y2) / (y0 - y1) == pytest.approx(2)
    assert (chart["current"], chart["chosen"]) == ((x0, y0), (x1, y1))
    assert x1 < chart["budget"] < x2
    assert chart["line"] == " ".join(f"{x:.1f},{y:.1f}" for x, y in chart["points"])
    everything = [*chart["points"], *((x, y0) for x, _ in chart["columns"]), *((x0, y) for y, _ in chart["rows"])]
    assert all(0 < x < chart["width"] and 0 < y < chart["height"] for x, y in everything)


def test_one_candidate_alone_has_a_chart():
    one = tuned()["tried"][:1]
    chart = front_chart(tuned(tried=one, front=one, chosen=one[0]))
    assert len(chart["points"]) == 1


def test_the_headline_names_the_worst_category(category, tmp_path):
    worse = dataclasses.replace(uncertified(category), evaluate=category.evaluate | {"image_auroc": 0.6})
    _, page = page_of(tmp_path, category, worse)
    assert "worst image AUROC 0.600 (grass), mean 0.706" in page.text("p")


# The histogram


def test_each_image_is_one_unit_of_the_height_of_its_bar_and_no_bar_leaves_the_axes():
    rng = np.random.default_rng(0)
    good, defective = rng.normal(5, 1, 120).tolist(), rng.normal(6, 2, 70).tolist()
    drawn = histogram(good, defective, 7.0)
    unit = (HEIGHT - 2 * MARGIN) / drawn["tallest"]
    for kind, count in (("good", 120), ("defective", 70)):
        assert sum(height for *_, height, name in drawn["bars"] if name == kind) / unit == pytest.approx(count)
    for x, y, width, height, _ in drawn["bars"]:
        assert MARGIN - 1e-9 <= x < x + width <= WIDTH - MARGIN
        assert y >= MARGIN - 1e-9
        assert y + height <= HEIGHT - MARGIN + 1e-9
    tops, kinds = {}, {}
    for x, y, _, height, kind in drawn["bars"]:  # each bar stands on the axis or on the one before
        assert y + height == pytest.approx(tops.get(x, HEIGHT - MARGIN))
        tops[x] = y
        kinds.setdefault(x, []).append(kind)
    assert {tuple(stack) for stack in kinds.values()} == {("good",), ("defective",), ("good", "defective")}
    assert min(tops.values()) == pytest.approx(MARGIN)


def test_a_bar_lies_right_of_the_threshold_where_its_scores_are_above_it():
    drawn = histogram([0.0, 1.0], [10.0], 5.0)
    left = [x + width for x, _, width, _, kind in drawn["bars"] if kind == "good"]
    right = [x for x, *_, kind in drawn["bars"] if kind == "defective"]
    assert max(left) < drawn["threshold"] < min(right)
    (low, left_tick), *_, (high, right_tick) = drawn["ticks"]
    value = float(left_tick) + (drawn["threshold"] - low) / (high - low) * (float(right_tick) - float(left_tick))
    assert value == pytest.approx(5.0, abs=0.05)  # ticks are rounded


def test_no_bar_mixes_scores_below_the_threshold_with_those_at_it():
    threshold = 5.03
    drawn = histogram([np.nextafter(threshold, 0), 1.0], [threshold, 9.0], threshold)
    below = [x + width for x, _, width, _, kind in drawn["bars"] if kind == "good"]
    at = [x for x, *_, kind in drawn["bars"] if kind == "defective"]
    assert max(below) < drawn["threshold"] + 1e-9
    assert min(at) == pytest.approx(drawn["threshold"])


def test_a_threshold_beyond_every_score_is_still_on_the_axis():
    for threshold in (-3.0, 9.0):
        assert MARGIN <= histogram([1.0, 2.0], [2.5], threshold)["threshold"] <= WIDTH - MARGIN


def test_the_histogram_shows_calibrate_and_test_images_by_their_label(tmp_path, category):
    rows = [{"label": 0, "score": 1.5}, {"label": 1, "score": 2.5}, {"label": 1, "score": 2.6}]
    write_rows(tmp_path / "records.csv", rows)
    drawn = dataclasses.replace(category, rows=read_rows(tmp_path / "records.csv")).histogram
    assert drawn == histogram([1.5], [2.5, 2.6], category.evaluate["threshold"])
