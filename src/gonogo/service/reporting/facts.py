"""What a report may say: facts with ids, each as a phrase in the report's language and as the figures behind it."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gonogo.inference.attribution import Attribution
from gonogo.service.pages.formats import Formats
from gonogo.service.pages.texts import Texts
from gonogo.store.reviews import settle
from gonogo.store.schema import Row

MOST_NAME = 80  # characters of what people named, in a report
MOST_REGIONS = 3  # that a report describes, and so many boxes
PLACE = ("x", "y", "width", "height")
CASE_DIGITS = 12  # of the id of a past case, in a sentence
QUOTES = {"en": ("“", "”"), "de": ("„", "“")}


@dataclass(frozen=True)
class Figure:
    """A number behind a phrase; `percent`: a share that is printed in percent."""

    value: float
    percent: bool = False


@dataclass(frozen=True)
class Fact:
    """One fact.

    Attributes:
        id: of the fact in the report.
        text: the phrase.
        figures: all numbers in it.
        label: the word that names its one figure, where sentences compare it or state it beside others; otherwise "".
        names: what people named, in the phrase in quotes; data of strangers.
        literals: characters of ours that stand in the phrase as they are, such as a date or a fingerprint.
        marks: words of which a sentence has one where it states the fact.
        verbatim: whether a sentence has the phrase word for word, since every word of it matters.
        required: whether a report must state it.
    """

    id: str
    text: str
    figures: tuple[Figure, ...] = ()
    label: str = ""
    names: tuple[str, ...] = ()
    literals: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    verbatim: bool = False
    required: bool = False


Told = tuple[dict[str, Any], tuple[Figure, ...], tuple[str, ...]]  # values of a phrase, its figures and its names


@dataclass(frozen=True)
class Sentence:
    """A sentence with the ids of the facts and cases that it rests on."""

    text: str
    facts: tuple[str, ...]
    cases: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The sentence as JSON values."""
        return {"text": self.text, "facts": list(self.facts), "cases": list(self.cases)}


def template(row: Row, attribution: Attribution | None, t: Texts) -> tuple[list[Fact], list[Sentence]]:
    """The facts of an inspection, and the report that states each of them.

    Args:
        row: of the store, with its reviews.
        attribution: what the score is made of; None where that is not known.
        t: the texts of the report's language.
    """
    facts: list[Fact] = []
    sentences: list[Sentence] = []

    def say(key: str, *told: Fact, **values: Any) -> None:
        facts.extend(told)
        sentences.append(Sentence(t(key, **values), tuple(fact.id for fact in told)))

    def word_for_word(identifier: str, text: str, **more: Any) -> None:
        facts.append(Fact(identifier, text.rstrip("."), verbatim=True, **more))
        sentences.append(Sentence(text, (identifier,)))

    score = _figure("score", row["score"], t)
    threshold = _figure("threshold", row["threshold"], t)
    verdict = Fact("verdict", t(f"report.is.{row['verdict']}"), marks=verdict_words(t, row["verdict"]), required=True)
    above = "equal" if row["score"] == row["threshold"] else "apart"
    values = {"score": _number(row["score"], t), "threshold": _number(row["threshold"], t)}
    say(f"report.verdict.{row['verdict']}.{above}", verdict, score, threshold, **values)
    if row["uncertain"]:
        word_for_word("uncertain", t("report.uncertain"), required=True)
    say("report.p_value", _figure("p_value", row["p_value"], t), value=_number(row["p_value"], t))
    word_for_word("certificate", Formats(t).certificate(row["certificate"]), required=True)
    if row["boxes"] is None or row["box_model"] is not None:  # otherwise the boxes stand in place of the map
        _say_found("region", "regions", row["regions"], _region_told, say, word_for_word, t)
    if row["boxes"] is not None:
        _say_found("box", "boxes", row["boxes"], _box_told, say, word_for_word, t)
    if attribution is not None:
        _say_parts(attribution, say, t)
    _say_reviews(row["reviews"], word_for_word, t)
    _say_subject(row, say, t)
    return facts, sentences


def case_sentences(similar: Sequence[Mapping[str, Any]], t: Texts) -> tuple[list[Fact], list[Sentence]]:
    """Past cases as facts, whose ids are those of the cases, and a sentence about each: from the part to the remedy.

    Args:
        similar: the nearest first, each with `id`, `defect_type`, `cause`, `remedy` and `distance`.
        t: the texts of the report's language.
    """
    cases, sentences = [], []
    for case in similar:
        known = "_".join(name for name in ("cause", "remedy") if case[name]) or "alone"
        told = {name: quoted(case[name], t) for name in ("defect_type", "cause", "remedy") if case[name]}
        values = {name: shown for name, (_, shown) in told.items()} | {"case": case["id"][:CASE_DIGITS]}
        text = t(f"report.case.{known}", distance=_number(case["distance"], t), **values)
        names = tuple(plain for plain, _ in told.values())
        cases.append(
            Fact(case["id"], text.rstrip("."), (Figure(case["distance"]),), names=names, literals=(values["case"],))
        )
        sentences.append(Sentence(text, (), (case["id"],)))
    return cases, sentences


def verdict_words(t: Texts, verdict: str) -> tuple[str, ...]:
    """The words that tell a verdict, in lower case."""
    return tuple(t(f"report.words.{verdict}").split())


def labels(t: Texts) -> dict[str, str]:
    """The word that names the figure of a fact, by the fact's id."""
    return {identifier: t(f"report.label.{identifier}") for identifier in ("score", "threshold", "p_value")}


def quoted(name: str, t: Texts) -> tuple[str, str]:
    """What people named as a report shows it, and the same in quotes: one line, without quotes of its own."""
    kept = "".join(
        " " if unicodedata.category(c)[0] in "CZ" else "'" if c in '"“”„‟«»' else c
        for c in unicodedata.normalize("NFKC", name)
    )
    plain = " ".join(kept.split())[:MOST_NAME].strip() or "–"
    left, right = QUOTES[t.language]
    return plain, f"{left}{plain}{right}"


def _number(value: float, t: Texts) -> str:
    return t.significant(value)


def _figure(identifier: str, value: float, t: Texts) -> Fact:
    label = labels(t)[identifier]
    return Fact(identifier, f"{label} {_number(value, t)}", (Figure(value),), label, required=identifier != "p_value")


def _say_found(
    one: str, several: str, found: Sequence[Mapping[str, Any]], told: Any, say: Any, word_for_word: Any, t: Texts
) -> None:
    """How many regions or boxes there are, and what each is; `told` is `_region_told` or `_box_told`."""
    if not found:
        word_for_word(several, t(f"report.no_{one}"))
        return
    n = len(found)
    say(f"report.{several}", Fact(several, t(f"report.fact.{several}", n=n), (Figure(n),)), n=n)
    for number, each in enumerate(found[:MOST_REGIONS], start=1):
        values, figures, names = told(each, t)
        values = {"number": number, **values}
        text = t(f"report.fact.{one}", **values)
        say(f"report.{one}", Fact(f"{one}.{number}", text, (Figure(number), *figures), names=names), **values)


def _region_told(region: Mapping[str, Any], t: Texts) -> Told:
    place = dict(zip(PLACE, region["box"], strict=True))
    return place | {"peak": _number(region["peak"], t)}, (*map(Figure, place.values()), Figure(region["peak"])), ()


def _box_told(box: Mapping[str, Any], t: Texts) -> Told:
    place = {name: round(box[name]) for name in PLACE}
    label, label_quoted = quoted(box["label"], t)
    figures = (Figure(box["confidence"], percent=True), *map(Figure, place.values()))
    return place | {"label": label_quoted, "confidence": t.percent(box["confidence"])}, figures, (label,)


def _say_parts(attribution: Attribution, say: Any, t: Texts) -> None:
    if attribution.base:
        value = _number(attribution.base, t)
        fact = Fact("made_of.base", t("report.fact.base", value=value), (Figure(attribution.base),))
        say("report.base", fact, value=value)
    for each in attribution.contributions:
        if each.square is not None or each.value <= 0 or (each.region or 0) >= MOST_REGIONS:
            continue
        value = _number(each.value, t)
        if each.region is None:
            fact = Fact("made_of.rest", t("report.fact.rest", value=value), (Figure(each.value),))
            say("report.rest", fact, value=value)
        else:
            number = each.region + 1
            figures = (Figure(number), Figure(each.value))
            fact = Fact(f"made_of.{number}", t("report.fact.adds", number=number, value=value), figures)
            say("report.adds", fact, number=number, value=value)


def _say_reviews(reviews: Sequence[Mapping[str, Any]], word_for_word: Any, t: Texts) -> None:
    settled = settle(reviews)
    if settled.state == "open":
        text = t("report.reviews.open")
    elif settled.state == "disputed":
        text = t("report.reviews.disputed", good=len(settled.good), defect=len(settled.defect))
    elif settled.label == "good":
        text = t("report.reviews.good", n=len(settled.good))
    else:
        text = t("report.reviews.defect", n=len(settled.defect), type=quoted(settled.defect_type or "", t)[1])
    word_for_word("reviews", text)


def _say_subject(row: Row, say: Any, t: Texts) -> None:
    category, category_quoted = quoted(row["category"], t)
    moment = Formats(t).moment(row["at"])
    of = Fact("category", t("report.fact.category", category=category_quoted), names=(category,))
    at = Fact("moment", moment, literals=(moment,))
    bundle = row["bundle"][:16]
    by = Fact("bundle", t("report.fact.bundle", bundle=bundle), literals=(bundle,))
    if row["name"]:
        name, name_quoted = quoted(row["name"], t)
        told = Fact("name", t("report.fact.name", name=name_quoted), names=(name,))
        say("report.subject", told, of, at, name=name_quoted, category=category_quoted, moment=moment)
    else:
        say("report.subject_no_name", of, at, category=category_quoted, moment=moment)
    say("report.bundle", by, bundle=bundle)
