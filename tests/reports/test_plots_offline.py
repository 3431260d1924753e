"""The plots page needs no network, and each plot of dvc.yaml has a template that DVC can fill."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT
from gonogo.evaluation.metric_table import BASELINE, CHANCE, GAUGE
from gonogo.params import read_yaml

PAGE = ROOT / ".dvc" / "plots" / "offline.html"
SCRIPTS = {"vega": "5.20.2", "vega-lite": "5.2.0", "vega-embed": "6.18.2"}
DVC = [sys.executable, "-m", "dvc"]

RECORDS = """image,role,label,defect_type,group_id,score,threshold,verdict
a.png,test,0,good,a,1.5,{threshold},pass
b.png,test,1,hole,b,3.5,{threshold},reject
"""
ROC = "of,fpr,tpr\ngauge,0.0,0.0\ngauge,0.0,1.0\ngauge,1.0,1.0\nmean image,0.0,0.0\nmean image,1.0,1.0\n"


def script_tags(html: str) -> list[str]:
    return re.findall(r"<script\b[^>]*>", html)


def scripts(html: str) -> list[str]:
    """The texts of the libraries: the scripts that begin with a comment."""
    return re.findall(r"<script>(/\* .*?)</script>", html, re.DOTALL)


def specs(html: str) -> list[dict]:
    """The Vega-Lite specification of each plot on a page that DVC wrote."""
    return [json.JSONDecoder().raw_decode(html, found.end())[0] for found in re.finditer(r"var spec = ", html)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another directory with this repository's DVC settings, one commit, and another threshold in the workspace."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc")
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    (folder / "records.csv").write_text(RECORDS.format(threshold=2.0))
    (folder / "roc.csv").write_text(ROC)
    plots = {
        "records.csv": {"template": "score_histogram", "x": "score", "y": "label", "title": "Scores, brick"},
        "roc.csv": {"template": "curve", "x": "fpr", "y": "tpr", "title": "ROC, brick"},
    }
    (folder / "dvc.yaml").write_text(json.dumps({"plots": [{path: options} for path, options in plots.items()]}))
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "one"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    (folder / "records.csv").write_text(RECORDS.format(threshold=3.0))
    return folder


@pytest.fixture(scope="module")
def page(clone: Path) -> str:
    """The page of `dvc plots diff HEAD`, as text."""
    subprocess.run([*DVC, "plots", "diff", "HEAD", "--quiet"], cwd=clone, check=True)
    return (clone / "dvc_plots" / "index.html").read_text(encoding="utf-8")


def test_the_page_has_each_placeholder_of_dvc_once_and_not_the_one_for_remote_scripts():
    html = PAGE.read_text(encoding="utf-8")
    assert [html.count(name) for name in ("{plot_divs}", "{refresh_tag}", "{scripts}")] == [1, 1, 0]


def test_the_page_holds_the_three_scripts_in_the_versions_that_dvc_would_load():
    from dvc_render.vega import VegaRenderer

    assert dict(re.findall(r"npm/([\w-]+)@([\d.]+)", VegaRenderer.SCRIPTS)) == SCRIPTS
    texts = scripts(PAGE.read_text(encoding="utf-8"))
    heads = [text.splitlines()[0] for text in texts]
    assert heads == [f"/* {name} {version}, BSD-3-Clause */" for name, version in SCRIPTS.items()]
    for version, text in zip(SCRIPTS.values(), texts, strict=True):
        assert f'"{version}"' in text
        assert len(text) > 50_000


def test_the_page_that_dvc_writes_in_another_directory_loads_nothing_from_elsewhere(page):
    assert len(script_tags(page)) == len(SCRIPTS) + 2
    assert not [tag for tag in script_tags(page) if "src" in tag]
    for text in scripts(page):
        page = page.replace(text, "")
    assert not re.findall(r"<link\b|@import|url\(|(?:src|href)\s*=\s*.https?:", page)


def test_the_braces_of_the_scripts_survive_when_dvc_fills_the_page(page):
    assert scripts(page) == scripts(PAGE.read_text(encoding="utf-8"))


def test_dvc_fills_every_anchor_of_our_templates(page):
    histogram, curve = sorted(specs(page), key=lambda spec: "facet" not in spec)
    assert (histogram["title"]["text"], curve["title"]["text"]) == ("Scores, brick", "ROC, brick")
    assert "<DVC_METRIC" not in json.dumps([histogram, curve])


def test_a_curve_shows_the_gauge_thicker_than_what_it_is_held_against(page):
    (width,) = (spec["encoding"]["strokeWidth"] for spec in specs(page) if "facet" not in spec)
    of_each = dict(zip(width["scale"]["domain"], width["scale"]["range"], strict=True))
    assert of_each[GAUGE] > of_each[BASELINE] > of_each[CHANCE]
    assert {row[width["field"]] for spec in specs(page) if "facet" not in spec for row in spec["data"]["values"]} == {
        GAUGE,
        BASELINE,
    }


def test_the_histogram_keeps_the_threshold_of_each_revision(page):
    histogram = next(spec for spec in specs(page) if "facet" in spec)
    assert histogram["facet"]["row"]["field"] == "rev"
    assert histogram["resolve"]["scale"]["x"] == "independent"
    values = {row["rev"]: float(row["threshold"]) for row in histogram["data"]["values"]}
    assert values == {"HEAD": 2.0, "workspace": 3.0}


def test_every_template_that_the_pipeline_names_exists():
    from dvc_render.vega_templates import TEMPLATES

    named = {
        options["template"]
        for stage in read_yaml(ROOT / "dvc.yaml")["stages"].values()
        for plot in stage.get("plots", [])
        for options in plot.values()
        if "template" in options
    }
    ours = {path.stem for path in PAGE.parent.glob("*.json")}
    assert ours <= named
    assert named <= ours | {template.DEFAULT_NAME for template in TEMPLATES}
