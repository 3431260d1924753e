"""Brings the cases of a store up to date with its reviews and with the bundle that computes the vectors."""

from collections.abc import Iterator

from gonogo.cases.learn import learn_inspection, require_cases, settled_defect
from gonogo.errors import ImageError
from gonogo.images.reading import read_image
from gonogo.inference.scorer import Scorer
from gonogo.store.store import Store


def update_cases(store: Store, scorer: Scorer) -> Iterator[tuple[str, str | None]]:
    """Make a case of each inspection that was reviewed as a defect and has none in the space of this bundle.

    Yields the id of each inspection, and why it cannot be a case; None where it is one now.

    Raises:
        DataError: the bundle gives no features, and finds no boxes.
    """
    require_cases(scorer)
    for identifier in store.cases.without_vectors(scorer.category, scorer.space):
        inspection = store.inspection(identifier)
        assert inspection is not None
        if settled_defect(inspection) is None:
            continue
        try:
            pixels = read_image(store.images.path_of(inspection["image_sha256"]))
            verdict = scorer.score_one(pixels, identifier, features=True)
        except ImageError as error:
            yield identifier, str(error)
            continue
        learn_inspection(store, scorer, inspection, pixels, verdict)
        yield identifier, None
