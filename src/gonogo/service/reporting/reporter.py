"""Writes reports in the background, each once: the template at once, a language model's words where there is one."""

import asyncio
import logging
import time
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from gonogo.inference.attribution import Attribution
from gonogo.service.inspecting import InspectionRunner
from gonogo.service.pages.texts import Texts, texts_of
from gonogo.service.problems import Problem
from gonogo.service.reporting.facts import case_sentences, quoted, template
from gonogo.service.reporting.rephrase import LanguageModel
from gonogo.service.security import Key
from gonogo.service.settings import Settings
from gonogo.service.similar import PastCases
from gonogo.store.schema import Row
from gonogo.store.store import Store
from gonogo.text import printable

AT_ONCE = 2  # requests to the language model
MOST_NOTES, MOST_CASES = 20, 3
log = logging.getLogger("gonogo.service")


class Reporter:
    """Writes the reports of one service."""

    def __init__(self, settings: Settings, store: Store, runner: InspectionRunner, cases: PastCases) -> None:
        self._settings, self._store, self._runner, self._cases = settings, store, runner, cases
        self._model: LanguageModel | None = None
        if settings.report_url is not None:
            self._model = LanguageModel(settings.report_url, settings.report_model, settings.report_seconds)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def lost_after(self) -> float:
        """Seconds after which a report that is still pending will not be written any more."""
        return 10 * (self._settings.report_seconds + self._settings.deadline)

    async def begin(self, row: Row, language: str, key: Key) -> Row:
        """Begin a report on an inspection, or return the one in this language that is pending; its row."""
        latest = await self.latest(row["id"], language)
        if latest is None or latest["state"] != "pending":
            added = await asyncio.to_thread(self._store.reports.begin, row["id"], language=language, key=key.id)
            task = asyncio.create_task(self._write(added, row, texts_of(language), key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            latest = await self.latest(row["id"], language)
        assert latest is not None
        return latest

    async def latest(self, inspection: str, language: str | None = None) -> Row | None:
        """The last report on an inspection; None: there is none."""
        return await asyncio.to_thread(
            self._store.reports.latest, inspection, lost_after=self.lost_after, language=language
        )

    async def close(self) -> None:
        """Wait for the reports that are being written."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _write(self, report: int, row: Row, t: Texts, key: Key) -> None:
        content, error = None, None
        try:
            content = await self._content(row, t, key)
        except Exception:  # whatever it is: nobody else learns of it, and the report must not stay pending
            log.exception("the report on %s failed", row["id"])
            error = "the service failed; its log says why"
        try:
            await asyncio.to_thread(self._store.reports.end, report, content, error)
        except (OSError, SQLAlchemyError) as failure:
            log.error("the report on %s could not be stored: %s", row["id"], printable(str(failure)))

    async def _content(self, row: Row, t: Texts, key: Key) -> dict[str, Any]:
        attribution, similar = await asyncio.gather(self._attribution(row, key), self._similar(row, key))
        facts, sentences = template(row, attribution, t)
        cases, of_cases = case_sentences(similar, t)
        sentences += of_cases
        content: dict[str, Any] = {
            "made_by": "template",
            "sentences": [sentence.to_dict() for sentence in sentences],
            "facts": [{"id": fact.id, "text": fact.text} for fact in facts],
            "cases": [{"id": case.id, "text": case.text} for case in cases],
            "notes": [
                {"by": quoted(review["reviewer"], t)[0], "at": review["at"], "text": review["note"]}
                for review in row["reviews"]
                if review["note"] and review["undone"] is None
            ][:MOST_NOTES],
            "model": None,
        }
        if self._model is None:
            return content
        async with self._turns:
            began = time.perf_counter()
            rephrased = await self._model.rephrase(facts, cases, t)
            seconds = time.perf_counter() - began
        content["model"] = {
            "name": self._model.name,
            "prompt_sha256": rephrased.prompt_sha256,
            "seconds": round(seconds, 3),
            "fell_back": rephrased.reason,
            "dropped": rephrased.dropped,
        }
        if rephrased.sentences is not None:
            content |= {"made_by": "model", "sentences": [one.to_dict() for one in rephrased.sentences]}
        return content

    async def _attribution(self, row: Row, key: Key) -> Attribution | None:
        """What the score is made of; None where the image or its bundle is gone, or the service is too busy."""
        try:
            data = await asyncio.to_thread(self._store.images.path_of(row["image_sha256"]).read_bytes)
            with self._runner.reserve_slot(key):
                work = self._runner.explain(
                    data, key, bundle=row["bundle"], top=1, render=lambda _, found: found.attribution
                )
                return await asyncio.wait_for(work, self._settings.deadline)
        except (FileNotFoundError, Problem, TimeoutError):
            return None

    async def _similar(self, row: Row, key: Key) -> list[dict[str, Any]]:
        """The past cases that are most like the part of a rejected inspection; none where nothing is like it."""
        if row["verdict"] != "reject":
            return []
        try:
            found = await asyncio.wait_for(self._cases.like_inspection(row, key, k=MOST_CASES), self._settings.deadline)
        except (Problem, TimeoutError):
            return []
        return [] if found.nothing_like_it else [case.model_dump() for case in found.cases]
