"""What a similarity in meaning tells of two short texts about defects, and from which one on.

    python benchmarks/meaning.py        needs gonogo[text]; writes benchmarks/meaning.json

PAIRS were written before the network saw them: in each, two texts that mean the same defect or cause and share no
word. For each of THRESHOLDS it counts the pairs that reach it (`found`), and the combinations of texts of different
pairs that reach it too (`wrong`).
"""

from pathlib import Path

import numpy as np

from gonogo.cases.language import MODEL, Language
from gonogo.cases.meaning import USEFUL
from gonogo.files import write_json

PAIRS = (
    ("lubricant leak", "oil stain"),
    ("the part is broken", "crack"),
    ("water on the part", "wet"),
    ("hairline fracture", "crack"),
    ("rust", "corrosion on the surface"),
    ("colour differs", "discoloration"),
    ("metal splinters left over", "burr at the edge"),
    ("hit during transport", "dent"),
    ("dirty surface", "contamination"),
    ("missing material", "hole"),
    ("part too hot in the oven", "burn mark"),
    ("air pocket in the casting", "pore"),
    ("wrong screw mounted", "assembly error"),
    ("worn tool", "blunt punch"),
    ("label is skewed", "sticker applied at an angle"),
    ("fibres on the lens", "lint"),
    ("deformed", "bent"),
    ("paint comes off", "coating peels"),
    ("scraped by the gripper", "scratch from handling"),
    ("solder missing", "open joint"),
    ("thread damaged", "stripped screw"),
    ("glass chipped at the rim", "broken edge"),
    ("mouth of the bottle smashed", "broken large"),
    ("mold on the nut", "fungus"),
    ("bubbles in glue", "voids in adhesive"),
    ("cable cut", "severed wire"),
    ("transistor in wrong place", "misplaced component"),
    ("printing smeared", "blurred imprint"),
    ("seal leaks", "gasket not tight"),
    ("dropped on the floor", "parts fall onto the belt"),
)
THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5)


def reached(language: Language, threshold: float) -> tuple[float, float]:
    """The share of PAIRS whose texts reach a similarity, and of combinations of different pairs that reach it."""
    others = [other for _, other in PAIRS]
    similar = np.stack([language.similarities(one, others) for one, _ in PAIRS])
    same = np.array([[other == own for other in others] for _, own in PAIRS])  # `crack` is in two pairs
    return float((np.diag(similar) > threshold).mean()), float((similar[~same] > threshold).mean())


def main() -> None:
    """Measure, and write the shares by threshold."""
    language = Language(threads=1)
    rows = []
    for threshold in sorted({*THRESHOLDS, USEFUL}):
        found, wrong = reached(language, threshold)
        rows.append({"threshold": threshold, "n_pairs": len(PAIRS), "found": round(found, 4), "wrong": round(wrong, 4)})
    write_json(Path(__file__).with_suffix(".json"), {"model": MODEL, "rows": rows})


if __name__ == "__main__":
    main()
