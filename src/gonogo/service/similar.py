"""Past cases, as `/v1` and the pages call them: those like an image, and what a review makes a case of."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import numpy as np

from gonogo.cases.embedder import Embedder
from gonogo.cases.index import CaseIndex
from gonogo.cases.language import Language
from gonogo.cases.learn import finds_boxes, learn_inspection, settled_defect
from gonogo.cases.meaning import Found
from gonogo.cases.meaning import search as search_by_words
from gonogo.cases.neighbours import Wanted
from gonogo.cases.pictured import PictureIndex
from gonogo.cases.words import Filters, Synonyms, WordIndex
from gonogo.errors import DataError, ImageError
from gonogo.inference.scorer import Scorer
from gonogo.service import schemas
from gonogo.service.gauge import Gauge
from gonogo.service.inspecting import InspectionRunner, Judgement
from gonogo.service.problems import Problem
from gonogo.service.security import Key
from gonogo.service.stored_image import stored_image
from gonogo.store.schema import Row
from gonogo.store.store import Store
from gonogo.text import printable

MOST = 50  # cases in one answer
log = logging.getLogger("gonogo.service")


class PastCases:
    """The cases of a service."""

    def __init__(
        self,
        store: Store,
        gauge: Gauge,
        runner: InspectionRunner,
        *,
        synonyms: Path | None = None,
        language: Language | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        """`synonyms`: of the search by words, as in `Settings`.

        Args:
            language: ranks what the search by words finds by meaning.
            embedder: finds pictures of cases by words.

        Raises:
            DataError: the file of synonyms cannot be read.
        """
        self._store, self._gauge, self._runner, self._synonyms = store, gauge, runner, synonyms
        self._index = CaseIndex(store.cases)
        self._language = language
        self._comparing = asyncio.Lock()  # of the networks beside the bundle: others wait without a thread
        self._pictures = None if embedder is None else PictureIndex(store.cases, embedder)
        self._words = WordIndex(store.cases, Synonyms.read(synonyms) if synonyms else Synonyms(()))

    def like(self, judgement: Judgement, image: str, *, k: int, wanted: Wanted = Wanted()) -> schemas.Similar:  # noqa: B008 - frozen
        """The k cases that are most like an image that was just judged with features; `image` is its SHA-256."""
        vectors = judgement.verdict.vectors
        found = {} if vectors is None else vectors._asdict()
        return self._similar(judgement.scorer, found, wanted._replace(image=image), k)

    async def like_inspection(
        self, row: Row, key: Key, *, k: int, defect_type: str | None = None, min_severity: int | None = None
    ) -> schemas.Similar:
        """The k cases that are most like a stored inspection.

        Its vectors are those of its own case, if it is one; otherwise the bundle in use computes them.

        Raises:
            Problem: the image is kept no more, or the bundle in use is of another category.
        """
        scorer, store = self._gauge.scorer, self._store
        if scorer.category != row["category"]:
            raise Problem(
                "other-category",
                f"the bundle in use is of {scorer.category}; it cannot compare parts of {row['category']}",
            )
        own = await asyncio.to_thread(store.cases.of_inspection, row["id"])
        wanted = Wanted(row["image_sha256"], own["part"] if own else None, defect_type, min_severity)
        if own is not None and scorer.space is not None:
            kept = await asyncio.to_thread(store.cases.vectors_of, own["id"], scorer.space)
            if kept:
                vectors = {kind: np.frombuffer(vector, dtype="<f4") for kind, vector in kept.items()}
                return await asyncio.to_thread(self._similar, scorer, vectors, wanted, k)
        if scorer.space is None:
            return self._similar(scorer, {}, wanted, k)
        with self._runner.reserve_slot(key):
            return await self._runner.with_features(
                await stored_image(self._store, row),
                key,
                lambda _, judgement: self.like(judgement, row["image_sha256"], k=k, wanted=wanted),
            )

    async def search(self, text: str, filters: Filters, *, limit: int) -> Found:
        """Up to `limit` cases that have all words of a text or synonyms of them or, re-ranked, are near in meaning."""
        if self._language is None:
            return await asyncio.to_thread(self._search, text, filters, limit)
        async with self._comparing:
            return await asyncio.to_thread(self._search, text, filters, limit)

    def _search(self, text: str, filters: Filters, limit: int) -> Found:
        if self._synonyms is not None:
            try:
                self._words.synonyms = Synonyms.read(self._synonyms)
            except DataError as error:  # somebody edits it; the last ones that could be read stay
                log.warning("%s", printable(str(error)))
        return search_by_words(self._words, text, filters, limit=limit, language=self._language)

    @property
    def finds_pictures(self) -> bool:
        """Whether words find pictures."""
        return self._pictures is not None

    async def search_pictures(self, text: str, filters: Filters, *, limit: int) -> Found:
        """Up to `limit` cases whose pictures are near to a text.

        Raises:
            Problem: the service has no networks for that, or they fail on the text.
        """
        if self._pictures is None:
            raise Problem("invalid-request", "this service finds no pictures by words; `gonogo serve --embedder` does")
        try:
            async with self._comparing:
                return await asyncio.to_thread(self._pictures.search, text, filters, limit=limit)
        except ImageError as error:
            raise Problem("network-failed", f"pictures cannot be compared with these words: {error}") from error

    async def reviewed(self, identifier: str, key: Key) -> None:
        """Make a case of an inspection whose reviews come to a defect, and take it back where they do not any more.

        A review is never lost because of that: where the vectors cannot be computed now, the log says why, and
        `gonogo cases update` computes them.
        """
        store, scorer = self._store, self._gauge.scorer
        row = await asyncio.to_thread(store.inspection, identifier)
        assert row is not None
        defect_type = settled_defect(row)
        if await asyncio.to_thread(store.cases.of_inspection, identifier) is not None:
            await asyncio.to_thread(store.cases.settle, identifier, defect_type)
            return
        if defect_type is None or scorer.category != row["category"]:
            return
        if scorer.space is None and not finds_boxes(scorer):
            return

        def learn(pixels: np.ndarray, judgement: Judgement) -> None:
            learn_inspection(store, judgement.scorer, row, pixels, judgement.verdict)

        try:
            with self._runner.reserve_slot(key):
                await self._runner.with_features(await stored_image(self._store, row), key, learn)
        except Problem as problem:
            log.warning("the inspection %s is no case yet: %s", identifier, printable(problem.detail))

    def _similar(self, scorer: Scorer, vectors: dict[str, Any], wanted: Wanted, k: int) -> schemas.Similar:
        try:
            space = scorer.require_space()
        except DataError as error:
            return schemas.Similar(compared=None, nothing_like_it=True, good_distance=None, reason=str(error), cases=[])
        found = self._index.similar(
            vectors,
            category=scorer.category,
            space=space,
            k=k,
            wanted=wanted,
            good_distances=scorer.good_distances,
        )
        return schemas.Similar(
            compared=found.compared,
            nothing_like_it=found.nothing_like_it,
            good_distance=found.good_distance,
            reason=None,
            cases=[schemas.SimilarCase(**case_fields(row), distance=row["distance"]) for row in found.cases],
        )


def cases_of(found: Found) -> schemas.Cases:
    """What a search found, as `/v1` tells it."""
    meaning = None
    if found.model is not None:
        meaning = schemas.Meaning(
            model=found.model, least=found.least, nearest=found.nearest, useful=found.useful, waiting=found.waiting
        )
    why = ("all_words", "similarity")
    cases = [schemas.FoundCase(**case_fields(row), **{name: row[name] for name in why}) for row in found.cases]
    return schemas.Cases(cases=cases, before=None, meaning=meaning)


def case_fields(row: Row) -> dict[str, Any]:
    """The fields of `Case` from a row of the store."""
    return {name: row[name] for name in schemas.Case.model_fields}
