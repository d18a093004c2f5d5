"""What admins decided beside the rule files, and what became of it in one run: followed, or why not."""

from __future__ import annotations

from typing import Any

from cds_service.rules.tuning import Tuning, describe, in_force, kind_of, unfit
from cds_service.screening.order import Order, rules_of

# What is said of a decision besides the decision itself: in words, and why it was not followed ("" where it was).
SAID = ("says", "ignored")
_NOT_TODAY = "not of the day on which the run was begun, or replaced by a later one"


def told(order: Order) -> list[dict[str, Any]]:
    """Return every decision that a run knew, as JSON can hold it, with what it says and why it was not followed."""
    book = rules_of(order.content, order.plan.site)
    decided = [Tuning.of_plain(one) for one in order.plan.decided]
    refused = {id(one): why for one, why in unfit(book, decided)}
    holding = {id(one) for one in in_force((one for one in decided if id(one) not in refused), order.day).values()}

    def ignored(one: Tuning) -> str:
        # Thresholds keep their dates: which of them counts depends on the day that a record is looked at.
        followed = id(one) in holding or kind_of(one.name) == "threshold"
        return refused.get(id(one), "" if followed else _NOT_TODAY)

    return [
        {**one.plain(), "says": one.place if id(one) in refused else describe(one, book), "ignored": ignored(one)}
        for one in decided
    ]
