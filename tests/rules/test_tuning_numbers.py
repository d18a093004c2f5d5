"""No number that anybody may type gets past the allowed range (ADMIN.md, "Edit threshold")."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.errors import ContentError
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Tuning, check, read_assignment, tuned

TODAY = date(2026, 3, 1)
PLACE = "eskd-hyperphosphatemia.phosphate_high"
RULE, NAME = PLACE.split(".")
LOW, HIGH = Decimal("4.5"), Decimal("7.0")


def accepted(book: RuleBook, text: str) -> object:
    """Return the number that is in force once a text was typed; None where it was refused."""
    try:
        one = read_assignment(f"{PLACE}={text}", book, TODAY)
    except ContentError:
        return None
    return tuned(book, [one], TODAY).rules[RULE].thresholds[NAME].on(TODAY).value


@pytest.mark.parametrize(
    "text",
    ["5,5", " 5 ", " 5", "5 ", "NaN", "1e400", "1e1", "5e0", "inf", "-5", "+5", "5.", ".5", "", "5.5.5", "0x5", "5_0",
     "\u0665", "\uff15", "5.5\n", "5\u00a0", "1/2", "5.0 mg/dL", "true", "'5'", "5;6", "5" * 400, "4.4999", "7.0001",
     "6." + "0" * 30],
)  # fmt: skip
def test_what_is_ambiguous_or_outside_is_refused(book: RuleBook, text: str) -> None:
    assert accepted(book, text) is None


@pytest.mark.parametrize("text", ["4.5", "7.0", "7", "5.50", "6.999"])
def test_what_is_plain_and_inside_is_taken_as_it_stands(book: RuleBook, text: str) -> None:
    assert Decimal(text) == accepted(book, text)


def _like_numbers() -> st.SearchStrategy[str]:
    return st.one_of(
        st.decimals(allow_nan=True, allow_infinity=True).map(str),
        st.floats().map(repr),
        st.decimals(min_value=0, max_value=20, places=3).map(str),
        st.text(alphabet="0123456789.,eE+-_ \t\u0660\u00b2\uff15", max_size=12),
    )


@given(text=_like_numbers())
def test_no_accepted_number_lies_outside_the_hard_bounds(book: RuleBook, text: str) -> None:
    found = accepted(book, text)

    if found is not None:
        assert isinstance(found, Decimal)
        assert LOW <= found <= HIGH
        assert Decimal(text) == found


@given(number=st.decimals(allow_nan=True, allow_infinity=True))
def test_no_number_from_elsewhere_gets_past_the_check(book: RuleBook, number: Decimal) -> None:
    """
    A ledger, a form or a file may hold any decimal.
    """
    try:
        check(Tuning(RULE, NAME, number, TODAY), book)
    except ContentError:
        return
    except InvalidOperation:  # pragma: no cover - the failure that this test is about
        pytest.fail("a decimal that cannot be compared was compared")

    assert LOW <= number <= HIGH
