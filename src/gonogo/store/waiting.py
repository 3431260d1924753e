"""What waits for a person, kept as it changes, so that the queue reads what waits and not all that was ever reviewed.

Why an inspection waits, in the order in which a person gets them:

- disputed: as many reviewers say good as say defect;
- corrected: somebody said what is wrong with it, and no other person has reviewed it since;
- questioned: one person reviewed it, and another one answered otherwise in the arena;
- uncertain, rejected: the gauge's verdict, which nobody has reviewed;
- audit: it passed, and was drawn at random.

An inspection whose image was removed waits no more, as there is nothing to look at.
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from gonogo.store.prepared import Prepared
from gonogo.store.reviews import IN_FORCE, Settlement, reviews_of, settle
from gonogo.store.schema import Row, arena_rounds, audits, corrections, images, inspections, reviews, waiting

INSERT_WAITING = Prepared(dict.fromkeys(("sqlite", "postgresql"), sa.insert(waiting)))
REASONS = ("disputed", "corrected", "questioned", "uncertain", "rejected", "audit")


def reason_of(
    inspection: Row, settlement: Settlement, *, audited: bool, answers: Sequence[Row], corrected: bool = False
) -> str | None:
    """Why an inspection whose image is kept waits for a person; None: it does not.

    Args:
        inspection: with its `verdict`, and whether that is `uncertain`.
        settlement: what its reviews come to.
        audited: whether it was drawn at random.
        answers: of the arena, each with `key` and `answer`.
        corrected: whether it has a correction that no other person has looked at.
    """
    if settlement.state == "disputed":
        return "disputed"
    if corrected:
        return "corrected"
    if settlement.state == "settled":
        alone = settlement.keys[0] if len(settlement.keys) == 1 else None
        others = [each["answer"] for each in answers if each["key"] != alone and each["answer"] is not None]
        return "questioned" if alone is not None and any(one != settlement.label for one in others) else None
    if inspection["uncertain"]:
        return "uncertain"
    if inspection["verdict"] == "reject":
        return "rejected"
    return "audit" if audited else None


def add_to_waiting(connection: sa.Connection, added: Sequence[Row], audited: Collection[str]) -> None:
    """Let those wait that this transaction adds and that a person should look at; `audited`: ids that were drawn."""
    nothing = settle([])
    reasons = {row["id"]: reason_of(row, nothing, audited=row["id"] in audited, answers=()) for row in added}
    rows = [{"inspection": identifier, "reason": reason} for identifier, reason in reasons.items() if reason]
    INSERT_WAITING.execute(connection, rows)


def update_waiting(connection: sa.Connection, identifier: str) -> None:
    """Find out anew whether an inspection waits, in the transaction that has changed what that depends on."""
    query = sa.select(inspections.c.verdict, inspections.c.uncertain, images.c.kept).join(images)
    # Whoever changes the same inspection at this moment waits here, and then sees what this transaction did. The lock
    # is one that a new row may refer to: both have referred to the inspection already, and neither must wait for that.
    locked = query.where(inspections.c.id == identifier).with_for_update(of=inspections, key_share=True)
    found = connection.execute(locked).one()
    settlement = settle(reviews_of(connection, [identifier])[identifier])
    rows, reason = arena_rounds.c, None
    if found.kept:
        of_arena = connection.execute(sa.select(rows.key, rows.answer).where(rows.inspection == identifier))
        answers = [dict(row._mapping) for row in of_arena]
        audit = connection.execute(sa.select(audits.c.inspection).where(audits.c.inspection == identifier)).first()
        open_one = connection.execute(_open_corrections(identifier)).first()
        reason = reason_of(
            dict(found._mapping),
            settlement,
            audited=audit is not None,
            answers=answers,
            corrected=open_one is not None,
        )
    connection.execute(sa.delete(waiting).where(waiting.c.inspection == identifier))
    if reason is not None:
        connection.execute(sa.insert(waiting).values(inspection=identifier, reason=reason))


def _open_corrections(identifier: str) -> sa.Select[Any]:
    """The corrections of an inspection since which no other person has reviewed it."""
    looked_at = sa.exists().where(
        reviews.c.inspection == corrections.c.inspection,
        reviews.c.key != corrections.c.key,
        reviews.c.at > corrections.c.at,
        IN_FORCE,
    )
    return sa.select(corrections.c.id).where(corrections.c.inspection == identifier, ~looked_at)


def remove_waiting_of(connection: sa.Connection, sha256s: Sequence[str]) -> None:
    """Let no inspection of these images wait any more."""
    of_images = sa.select(inspections.c.id).where(inspections.c.image.in_(sha256s))
    connection.execute(sa.delete(waiting).where(waiting.c.inspection.in_(of_images)))
