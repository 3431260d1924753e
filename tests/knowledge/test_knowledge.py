"""Knowledge of failures: wrong as a whole it is refused with the row, and right it comes back as it was."""

import io
import json
import math

import pytest

from storing import inspect, store, url  # noqa: F401  skips where the extra is missing

# isort: split
import networkx

from gonogo.cli.main import main
from gonogo.errors import DataError
from gonogo.knowledge.exchange import SUFFIX, as_graphml, as_json_ld, given_in
from gonogo.knowledge.graph import knowledge_of
from gonogo.knowledge.measured import associated, pareto, share_of, together
from gonogo.knowledge.priority import SIMPLE, priorities_of
from gonogo.knowledge.stored import edit, kept_knowledge, load_knowledge
from gonogo.knowledge.tables import read_knowledge
from gonogo.store.store import Store

# ruff: noqa: F811  fixtures are imported, and then named

SEEN = "0" * 31 + "7"
TABLES = {
    "modes.csv": "id,name,category,defect_type\nscratch,Scratch on the face,washer,scratch\nburr,Burr,washer,burr\n",
    "effects.csv": "id,name,severity,note\nleak,The seal leaks,8,\n",
    "causes.csv": "id,name,occurrence,group\nworn-jaw,Worn jaw,4,machine\nno-plan,No plan of service,3,method\n",
    "controls.csv": "id,name,type,detection\ngauge,gonogo,detection,2\nplan,Service each month,prevention,\n",
    "actions.csv": "id,name,step,responsible,due,status\nnew-jaw,Fit new jaws,corrective,Ana,2026-12-01,open\n",
    "links.csv": "source,target,evidence,by,at\n"
    + "".join(
        f"{source},{target},{SEEN},Bo,2026-11-29\n"
        for source, target in (
            ("no-plan", "worn-jaw"), ("worn-jaw", "scratch"), ("scratch", "leak"),
            ("gauge", "scratch"), ("plan", "worn-jaw"), ("new-jaw", "worn-jaw"),
        )
    ),
    "priorities.csv": "severity,occurrence,detection,priority\n9-10,1-10,1-10,high\n1-8,1-10,1-10,low\n",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "tables"
    made.mkdir()
    for name, text in TABLES.items():
        (made / name).write_text(text)
    return made


def given(folder):
    return read_knowledge(folder).given


# What is changed in a table, and what the message must say of it, beginning with the row.
FAULTS = [
    ("causes.csv", "worn-jaw,Worn jaw,4", "worn-jaw,Worn jaw,11", "causes.csv, line 2: occurrence is '11'"),
    ("causes.csv", "machine", "maschine", "causes.csv, line 2: group is 'maschine'"),
    ("effects.csv", "leak,The seal leaks,8,", "leak,The seal leaks,,", "effects.csv, line 2: there is no severity"),
    ("modes.csv", "burr,Burr", "scratch,Burr", "modes.csv, line 3: there is another item with the id scratch"),
    ("modes.csv", "burr,Burr", "worn-jaw,Burr", "causes.csv, line 2: there is another item with the id worn-jaw"),
    ("modes.csv", "burr,Burr", "Grat,Burr", "modes.csv, line 3: the id is 'Grat'"),
    ("modes.csv", "defect_type", "defect", "modes.csv, line 2: a mode has no 'defect'"),
    (
        "controls.csv",
        "plan,Service each month,prevention,",
        "plan,Service,prevention,3",
        "controls.csv, line 3: a contr",
    ),
    ("actions.csv", "2026-12-01", "1.12.2026", "actions.csv, line 2: due is '1.12.2026'"),
    (
        "links.csv",
        "worn-jaw,scratch",
        "worn-jaws,scratch",
        "links.csv, line 3: there is no item with the id 'worn-jaws",
    ),
    ("links.csv", "scratch,leak", "leak,scratch", "links.csv, line 4: no link leads from a effect to a mode"),
    ("links.csv", f"scratch,leak,{SEEN}", "scratch,leak,", "links.csv, line 4: the link has no evidence"),
    ("links.csv", f"scratch,leak,{SEEN}", "scratch,leak,8D 17", "links.csv, line 4: the evidence '8D' is no id"),
    ("links.csv", "scratch,leak", "scratch,no-plan", "the link closes a circle"),
    ("links.csv", "scratch,leak", "worn-jaw,scratch", "links.csv, line 4: there is a link from worn-jaw to scratch in"),
    ("priorities.csv", "1-8,1-10", "2-8,1-10", "says nothing of severity 1, occurrence 1, detection 1"),
    ("priorities.csv", "1-8,1-10", "1-9,1-10", "priorities.csv, line 3: severity 9, occurrence 1, detection 1 is low"),
    ("priorities.csv", ",low", ",L", "priorities.csv, line 3: priority is 'l'"),
]


@pytest.mark.parametrize(("table", "right", "wrong", "said"), FAULTS)
def test_what_is_wrong_is_refused_with_its_row(folder, table, right, wrong, said):
    assert right in TABLES[table]
    (folder / table).write_text(TABLES[table].replace(right, wrong, 1))
    with pytest.raises(DataError) as refused:
        knowledge_of(given(folder))
    assert said in str(refused.value)


def test_a_table_that_is_none_of_ours_is_refused(folder):
    (folder / "mode.csv").write_text("id\n")
    with pytest.raises(DataError, match=r"mode\.csv; expected some of"):
        read_knowledge(folder)


def test_what_is_loaded_is_exported_and_loaded_as_it_was(folder, store):
    with pytest.raises(DataError, match=r"links\.csv, line 2: the evidence 0+7 is neither an inspection nor a case"):
        load_knowledge(store, read_knowledge(folder), by="Ana")
    assert store.knowledge.current() == []
    seen = inspect(store)
    (folder / "links.csv").write_text(TABLES["links.csv"].replace(SEEN, seen))
    assert load_knowledge(store, read_knowledge(folder), by="Ana") == 15
    assert load_knowledge(store, read_knowledge(folder), by="Bo") == 0  # nothing changed, so no version
    kept = kept_knowledge(store)
    assert kept.priorities.of(9, 1, 1) == "high"
    assert kept.priorities.is_own
    document = json.loads(json.dumps(as_json_ld(kept.knowledge)))
    assert knowledge_of(given_in(document, "x")) == kept.knowledge
    graph = networkx.read_graphml(io.BytesIO(as_graphml(kept.knowledge)))
    assert dict(graph.nodes["worn-jaw"]) == {
        "kind": "cause", "name": "Worn jaw", "occurrence": 4, "group": "machine",
    }  # fmt: skip
    assert {(source, target): data["relation"] for source, target, data in graph.edges(data=True)} == {
        (link.source, link.target): kept.knowledge.relation(link) for link in kept.knowledge.links
    }
    assert set(graph.edges["scratch", "leak"]["evidence"].split()) == {seen}
    (folder / "links.csv").unlink()
    (folder / "actions.csv").unlink()
    assert load_knowledge(store, read_knowledge(folder), by="Ana") == 0  # what files do not have stays
    assert load_knowledge(store, read_knowledge(folder), by="Ana", replace=True) == 7
    assert kept_knowledge(store).knowledge.links == ()
    assert kept_knowledge(store).priorities.is_own


def test_an_edit_keeps_what_was_before_and_never_makes_the_whole_wrong(folder, store):
    seen = inspect(store)
    (folder / "links.csv").write_text(TABLES["links.csv"].replace(SEEN, seen))
    load_knowledge(store, read_knowledge(folder), by="Ana")
    who = {"by": "Bo", "key": "b" * 16, "conflict": lambda newest: RuntimeError(str(newest))}
    version = store.knowledge.history("leak")[-1]["id"]
    edit(store, "effect", {"name": "The seal leaks", "severity": 9}, "leak", based_on=version, **who)
    first, second = store.knowledge.history("leak")
    assert (first["content"]["severity"], first["by"]) == (8, "Ana")
    assert (second["content"]["severity"], second["by"]) == (9, "Bo")
    with pytest.raises(RuntimeError, match=str(second["id"])):  # somebody else has changed it since
        edit(store, "effect", {"name": "x", "severity": 1}, "leak", based_on=version, **who)
    link = {"source": "scratch", "target": "no-plan", "evidence": [seen], "by": "Bo", "at": "2026-11-29"}
    with pytest.raises(DataError, match="circle"):
        edit(store, "link", link, "scratch>no-plan", based_on=0, **who)
    with pytest.raises(DataError, match="neither an inspection nor a case"):
        edit(
            store,
            "link",
            link | {"source": "burr", "target": "leak", "evidence": [SEEN]},
            "burr>leak",
            based_on=0,
            **who,
        )
    with pytest.raises(DataError, match="leak is a effect"):
        edit(store, "mode", {"name": "x", "category": "y"}, "leak", based_on=None, **who)
    edit(store, "effect", None, "leak", based_on=second["id"], **who)  # and the link to it
    assert store.knowledge.history("scratch>leak")[-1]["content"] is None
    assert "leak" not in kept_knowledge(store).knowledge.items
    assert len(kept_knowledge(store).knowledge.links) == 5


def test_both_databases_keep_the_same_versions(url, tmp_path):
    store = Store(tmp_path / "kept", url)
    who = {"by": "Bo", "key": "", "conflict": RuntimeError}
    for severity in (3, 4):
        edit(store, "effect", {"name": "noise", "severity": severity}, "noise", based_on=None, **who)
    assert [row["content"]["severity"] for row in store.knowledge.history("noise")] == [3, 4]
    assert [row["content"]["severity"] for row in store.knowledge.current()] == [4]
    assert store.knowledge.newest() == store.knowledge.history("noise")[-1]["id"]
    store.close()


def test_the_command_loads_checks_and_exports(folder, tmp_path, capsys):
    data = tmp_path / "data"
    opened = Store(data)
    seen = inspect(opened)
    opened.close()
    (folder / "links.csv").write_text(TABLES["links.csv"].replace(SEEN, seen))
    assert main(["knowledge", "check", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "items": 8, "links": 6}
    assert main(["knowledge", "load", str(folder), "--data", str(data)]) == 0
    for ending in (SUFFIX, ".graphml"):
        assert main(["knowledge", "export", str(tmp_path / f"k{ending}"), "--data", str(data)]) == 0
    assert main(["knowledge", "load", str(tmp_path / f"k{SUFFIX}"), "--data", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["changed"] == 0
    (folder / "links.csv").write_text(TABLES["links.csv"].replace(SEEN, "x"))
    assert main(["knowledge", "check", str(folder)]) != 0


def test_a_priority_is_that_of_the_users_table_or_of_the_simple_rule():
    assert (SIMPLE.of(9, 2, 1), SIMPLE.of(9, 1, 1), SIMPLE.of(5, 5, 8), SIMPLE.of(4, 4, 5)) == (
        "high", "low", "high", "medium",
    )  # fmt: skip
    assert SIMPLE.of(9, None, 1) is None
    row = {"severity": "1-10", "occurrence": "1 – 10", "detection": "1-10", "priority": "Medium"}
    assert priorities_of([("row 1", row)]).of(10, 10, 10) == "medium"


def test_pareto_lift_and_rates_are_those_of_their_definitions():
    rows = pareto({"dent": 1, "scratch": 6, "burr": 3})
    assert [(row.name, row.n, round(row.cumulative, 9)) for row in rows] == [
        ("scratch", 6, 0.6), ("burr", 3, 0.9), ("dent", 1, 1.0),
    ]  # fmt: skip
    sets = [{"a", "b"}, {"a", "b"}, {"a"}, {"c"}, set(), set(), set(), set()]
    (pair,) = together(sets, least=2)
    assert (pair.first, pair.second, pair.n, pair.n_first, pair.n_second, pair.of) == ("a", "b", 2, 3, 2, 8)
    assert math.isclose(pair.lift, (2 / 8) / ((3 / 8) * (2 / 8)))
    assert together(sets, least=3) == []
    first, *_ = associated([("dent", "jaw"), ("dent", "jaw"), ("dent", "belt"), ("burr", "belt")], least=1)
    assert (first.first, first.second, first.n, first.lift) == ("burr", "belt", 1, 4 * 1 / (1 * 2))
    none = share_of(0, 100)
    assert (none.k, none.low) == (0, 0.0)
    assert math.isclose((1 - none.high) ** 100, 0.025)  # Clopper and Pearson, where nothing was seen
    assert share_of(0, 0) is None
