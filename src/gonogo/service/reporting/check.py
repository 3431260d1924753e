"""Whether a sentence says no more than the facts that it cites: ids, numbers, names, words, verdict and comparisons.

Nothing here judges meaning. A sentence passes only where every number, name and word of it can be accounted for, so
that a true sentence in unusual words is dropped too, and none that states another figure, name or verdict is kept. What
stands in the facts' names is data of strangers: it is compared character for character, within quotes, and is never
taken for a word of the sentence.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from gonogo.service.pages.texts import DECIMAL, THOUSANDS, Texts
from gonogo.service.reporting.facts import Fact, Figure, Sentence, verdict_words

MOST_CHARACTERS = 500  # of a sentence
LEAST_DIGITS = 0.05  # by which a rounded number may differ from its value, relative to it
MASK = "\u2e31"  # stands for what is accounted for; no sentence may have it
MARKUP = re.compile(r"://|www\.|[<>{}\[\]|\\`*#@~^_=]|\]\(|\n|\r|\t")
QUOTED = re.compile(r'[“„"]([^“”„"]*)[”“"]')
WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
COUNTING = {
    "en": "one two three four five six seven eight nine ten eleven twelve",
    "de": "eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
}


def faults(sentence: Sentence, facts: Mapping[str, Fact], cases: Mapping[str, Fact], t: Texts) -> list[str]:
    """What is wrong with a sentence; nothing where it holds.

    Args:
        sentence: in the language of `t`.
        facts, cases: those of the report by their ids; a case is a fact about another inspection.
        t: the texts of the report's language.
    """
    found = _unknown(sentence, facts, cases)
    if found:
        return found
    text = sentence.text.replace("\u00a0", " ").replace("\u202f", " ").strip()
    if MASK in text or not 0 < len(text) <= MOST_CHARACTERS:
        return [f"expected 1 to {MOST_CHARACTERS} ordinary characters"]
    cited = [facts[name] for name in sentence.facts] + [cases[name] for name in sentence.cases]
    text, found = _without_quoted(text, cited)
    if _is_markup(text.replace(MASK, " ")):
        return [*found, "markup, an address, or unusual characters"]
    free = [fact for fact in cited if not fact.verbatim]
    found += _of_verdict(text, free, facts, t) + _of_comparison(text, free, t)
    found += _of_labels(text, free, t) + _of_numbers(text, free, t) + _of_words(text, free, t)
    return found


def _unknown(sentence: Sentence, facts: Mapping[str, Fact], cases: Mapping[str, Fact]) -> list[str]:
    cited = [*sentence.facts, *sentence.cases]
    found = [f"there is no fact {name!r}" for name in sentence.facts if name not in facts]
    found += [f"there is no case {name!r}" for name in sentence.cases if name not in cases]
    if not sentence.facts and not sentence.cases:
        found.append("it rests on nothing")
    if len(set(cited)) < len(cited):
        found.append("it cites something twice")
    return found


def _is_markup(text: str) -> bool:
    """Whether a text has markup or an address, or characters that look like others or like nothing."""
    unusual = any(
        unicodedata.category(c)[0] == "C" or (unicodedata.category(c)[0] == "N" and not c.isascii()) for c in text
    )
    return unusual or unicodedata.normalize("NFKC", text) != text or MARKUP.search(text) is not None


def _without_quoted(text: str, cited: Sequence[Fact]) -> tuple[str, list[str]]:
    """The text with a mask for each phrase that it has word for word, each name in quotes, and each literal."""
    found: list[str] = []
    for fact in cited:
        phrase = fact.text.replace("\u00a0", " ")
        if fact.verbatim:
            if text.count(phrase) != 1:
                found.append(f"it does not state {fact.id!r} word for word")
            text = text.replace(phrase, MASK)
    names = Counter(name for fact in cited if not fact.verbatim for name in fact.names)
    told = Counter(QUOTED.findall(text))
    if told != names:
        found.append("its names in quotes are not those of what it cites")
    text = QUOTED.sub(MASK, text)
    if re.search(r'[“”„"«»]', text):
        found.append("a quote is not closed")
    for literal in (literal for fact in cited if not fact.verbatim for literal in fact.literals):
        places = re.findall(rf"(?<!\w){re.escape(literal)}(?!\w)", text)
        if len(places) != 1:
            found.append(f"it does not have {literal!r} once")
        text = re.sub(rf"(?<!\w){re.escape(literal)}(?!\w)", MASK, text)
    return text, found


def _of_numbers(text: str, cited: Sequence[Fact], t: Texts) -> list[str]:
    """Every number is a figure of a cited fact at the precision in which it is printed, and every figure is told."""
    figures = [figure for fact in cited for figure in fact.figures]
    found = []
    printed = [match.groups() for match in _number_pattern(t.language).finditer(text)]
    for number, percent in sorted(printed, key=lambda each: -len(each[0])):
        match = next((each for each in figures if _prints(each, number, bool(percent), t.language)), None)
        if match is None:
            found.append(f"the number {number} is no figure of what it cites")
        else:
            figures.remove(match)
    for count, word in enumerate(COUNTING[t.language].split(), start=1):
        for _ in re.findall(rf"(?<![\w-]){word}(?![\w-])", text, re.IGNORECASE):
            match = next((each for each in figures if each == Figure(count)), None)
            if match is None:
                found.append(f"the number {word} is no figure of what it cites")
            else:
                figures.remove(match)
    if figures:
        found.append("it leaves out a figure of what it cites")
    return found + _of_order(text, cited, t)


def _of_order(text: str, cited: Sequence[Fact], t: Texts) -> list[str]:
    """Several figures of one fact come in its order, so that a place is not told as a size."""
    printed = [match.groups() for match in _number_pattern(t.language).finditer(text)]
    found = []
    for fact in (fact for fact in cited if len(fact.figures) > 1):
        rest = iter(printed)
        if not all(
            any(_prints(figure, number, bool(percent), t.language) for number, percent in rest)
            for figure in fact.figures
        ):
            found.append(f"the figures of {fact.id!r} do not come in its order")
    return found


def _number_pattern(language: str) -> re.Pattern[str]:
    """A number in a language's notation, and the sign of percent where it has one."""
    group, point = re.escape(THOUSANDS[language]), re.escape(DECIMAL[language])
    whole = rf"\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+"
    return re.compile(rf"((?<![\d.,])[-−]?(?:{whole})(?:{point}\d+)?(?:e[-+]?\d+)?|\d)(\s?%)?")


def _prints(figure: Figure, number: str, percent: bool, language: str) -> bool:
    """Whether a printed number is a figure, rounded to as many digits as are printed."""
    if percent != figure.percent:
        return False
    value = 100 * figure.value if figure.percent else figure.value
    plain = number.replace("−", "-").replace(THOUSANDS[language], "").replace(DECIMAL[language], ".")
    mantissa, _, exponent = plain.partition("e")
    digits = len(mantissa.partition(".")[2])
    if exponent:
        return float(format(value, f".{digits}e")) == float(plain)
    return format(value, f".{digits}f") == plain and abs(float(plain) - value) <= LEAST_DIGITS * abs(value)


def _of_labels(text: str, cited: Sequence[Fact], t: Texts) -> list[str]:
    """A figure with a name has it once, and is the first number behind it, so that none is named another."""
    found = []
    for fact in (fact for fact in cited if fact.label):
        places = [match.end() for match in _label_pattern(fact.label).finditer(text)]
        behind = _number_pattern(t.language).search(text, places[0]) if len(places) == 1 else None
        if behind is None or not _prints(fact.figures[0], behind.group(1), False, t.language):
            found.append(f"{fact.label!r} does not stand once, before its figure")
    return found


def _label_pattern(label: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(label)}(?!\w)", re.IGNORECASE)


def _of_verdict(text: str, cited: Sequence[Fact], facts: Mapping[str, Fact], t: Texts) -> list[str]:
    """A word of a verdict is one of the true verdict, and cited; a fact with such words is stated by one of them."""
    found = []
    for fact in cited:
        if fact.marks and not _words(text) & set(fact.marks):
            found.append(f"it does not say what {fact.id!r} says")
    true = set(facts["verdict"].marks)
    told = _words(text) & {word for verdict in ("pass", "reject") for word in verdict_words(t, verdict)}
    if told - true:
        found.append(f"another verdict: {', '.join(sorted(told - true))}")
    if told and not any(fact.id == "verdict" for fact in cited):
        found.append("a verdict that it does not cite")
    return found


def _of_comparison(text: str, cited: Sequence[Fact], t: Texts) -> list[str]:
    """A comparison stands between the names of two cited figures, and is computed again."""
    told = [
        (match, sign)
        for sign in ("above", "below", "reaches")
        for word in t(f"report.words.{sign}").split()
        for match in re.finditer(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text, re.IGNORECASE)
    ]
    if not told:
        return []
    named = {match.start(): fact for fact in cited if fact.label for match in _label_pattern(fact.label).finditer(text)}
    match, sign = told[0]
    before = [fact for place, fact in sorted(named.items()) if place < match.start()]
    after = [fact for place, fact in sorted(named.items()) if place > match.start()]
    if len(told) > 1 or not before or not after:
        return ["a comparison that does not stand between two figures"]
    left, right = before[-1].figures[0].value, after[0].figures[0].value
    holds = {"above": left > right, "below": left < right, "reaches": left >= right}[sign]
    return [] if holds else [f"{match.group()!r} is wrong: {left:.6g} and {right:.6g}"]


def _of_words(text: str, cited: Sequence[Fact], t: Texts) -> list[str]:
    """Every word is one of the few that any sentence may have, or one that a cited fact has outside its names."""
    own = " ".join(QUOTED.sub(" ", fact.text) for fact in cited)
    known = _words(t("report.words.any")) | _words(own) | {word for fact in cited for word in fact.marks}
    known |= _words(" ".join(t(f"report.words.{sign}") for sign in ("above", "below", "reaches")))
    known |= _words(COUNTING[t.language])
    unknown = sorted(_words(text) - known)
    return [f"words that nothing accounts for: {', '.join(unknown)}"] if unknown else []


def _words(text: str) -> set[str]:
    return {word.lower() for word in WORD.findall(text)}
