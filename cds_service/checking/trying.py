"""The two books that a change is tried with: as it is on the day it begins, and with the change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Tuning, in_force, kind_of, tuned

# Records of a cohort lie in the past: what is tried holds for them, whatever day they are looked at.
LONG_AGO = date(1900, 1, 1)


def before_and_after(
    base: RuleBook, decided: Sequence[Tuning], tuning: Tuning, today: date
) -> tuple[RuleBook, RuleBook]:
    """
    Return the book of the day on which a change begins, without it and with it.

    Numbers hold in both books as if they had always been so.
    """
    day = max(today, tuning.since)
    others = [_always(one) for one in in_force(decided, day).values()]
    return tuned(base, others, day), tuned(base, [*others, _always(tuning)], day)


def as_if_always(base: RuleBook, decided: Sequence[Tuning], today: date) -> RuleBook:
    """
    Return the book of today, in which numbers that admins decided hold as if they had always been so.

    Examples play on a day of the past: with the book in force they would say what held then, not what holds now.
    """
    return tuned(base, [_always(one) for one in in_force(decided, today).values()], today)


def _always(tuning: Tuning) -> Tuning:
    if kind_of(tuning.name) != "threshold":
        return tuning
    return msgspec.structs.replace(tuning, since=LONG_AGO, until=None)
