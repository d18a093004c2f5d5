"""
Three values: what is not known never counts as NO, and one sure answer is enough where one is enough.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest

from cds_service.facts.dates import parse
from cds_service.facts.evidence import (
    NO,
    UNKNOWN,
    YES,
    Judgement,
    above,
    below,
    count,
    every,
    opposite,
    some,
    within_days,
)
from cds_service.facts.model import Measurement
from tests.rules.bedside import judge

VERDICTS = {"Y": YES, "N": NO, "?": UNKNOWN}


def made(letters: str) -> tuple[Judgement, ...]:
    return tuple(Judgement(VERDICTS[one], one, missing=("x",) if one == "?" else ()) for one in letters)


@pytest.mark.parametrize(
    ("both", "all_of", "any_of"),
    [
        ("YY", "Y", "Y"),
        ("YN", "N", "Y"),
        ("Y?", "?", "Y"),
        ("NY", "N", "Y"),
        ("NN", "N", "N"),
        ("N?", "N", "?"),
        ("?Y", "?", "Y"),
        ("?N", "N", "?"),
        ("??", "?", "?"),
    ],
)
def test_all_and_any(both: str, all_of: str, any_of: str) -> None:
    assert VERDICTS[all_of] is every("all of", made(both)).verdict
    assert VERDICTS[any_of] is some("any of", made(both)).verdict


@pytest.mark.parametrize(("inner", "outer"), [("Y", "N"), ("N", "Y"), ("?", "?")])
def test_not(inner: str, outer: str) -> None:
    assert VERDICTS[outer] is opposite(made(inner)[0]).verdict


@pytest.mark.parametrize(
    ("three", "two_of_them"),
    [("YYN", "Y"), ("YY?", "Y"), ("YN?", "?"), ("Y??", "?"), ("YNN", "N"), ("NN?", "N"), ("N??", "?"), ("???", "?")],
)
def test_at_least_two_of_three(three: str, two_of_them: str) -> None:
    assert VERDICTS[two_of_them] is count("at least 2 of", made(three), 2).verdict


@pytest.mark.parametrize("letters", ["".join(letters) for letters in product("YN?", repeat=3)])
def test_order_makes_no_difference(letters: str) -> None:
    forwards, backwards = made(letters), made(letters[::-1])

    assert every("", forwards).verdict is every("", backwards).verdict
    assert some("", forwards).verdict is some("", backwards).verdict
    assert count("", forwards, 2).verdict is count("", backwards, 2).verdict


def test_only_an_unknown_verdict_names_what_is_missing() -> None:
    assert ("x",) == every("", made("Y?")).missing
    assert () == every("", made("N?")).missing
    assert () == some("", made("Y?")).missing


def test_only_true_branches_support_a_finding() -> None:
    told = judge(
        "any:\n  - has: calcinosis\n  - not:\n      has: met-eskd\n  - has: vte",
        "diagnoses: [vte, met-eskd]",
    )

    assert ["vte"] == [item.concept for item in told.supporting() if not isinstance(item, Measurement)]


def result(text: str) -> Measurement:
    comparator = text.rstrip("0123456789.")
    value = Decimal(text.removeprefix(comparator))
    when = parse("2026-02-28")
    assert when is not None
    return Measurement("phosphate", value, value, "mg/dL", when, comparator)


# Is the result above, at least, below, at most 5.5? (KNOWLEDGE 2.2: a bound proves only what it proves.)
COMPARED = [
    ("5.5", "NYNY"),
    ("5.6", "YYNN"),
    ("5.4", "NNYY"),
    (">5.5", "YYNN"),
    (">=5.5", "?YN?"),
    (">5.4", "????"),
    (">=5.4", "????"),
    (">6", "YYNN"),
    ("<5.5", "NNYY"),
    ("<=5.5", "N??Y"),
    ("<6", "????"),
    ("<=6", "????"),
    ("<5", "NNYY"),
    ("?5.5", "????"),
]


@pytest.mark.parametrize(("text", "expected"), COMPARED, ids=[text for text, _ in COMPARED])
def test_comparators(text: str, expected: str) -> None:
    one, limit = result(text), Decimal("5.5")
    verdicts = (
        above(one, limit),
        above(one, limit, or_equal=True),
        below(one, limit),
        below(one, limit, or_equal=True),
    )

    assert tuple(VERDICTS[letter] for letter in expected) == verdicts


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-01", "Y"),
        ("2025-12-01", "Y"),
        ("2025-11-30", "N"),
        ("2025-12-01T00:00:00Z", "Y"),
        ("2025-11-30T23:59:59Z", "N"),
        ("2025-12", "Y"),
        ("2025-11", "N"),
        ("2025", "?"),
        ("2024", "N"),
        ("2026", "Y"),
    ],
)
def test_within_ninety_days_of_the_first_of_march(written: str, expected: str) -> None:
    """
    The ninetieth day counts, the ninety-first does not; a date that may lie on both sides leaves it open.
    """
    today, when = parse("2026-03-01"), parse(written)
    assert today is not None

    assert VERDICTS[expected] is within_days(when, today.first, 90)


def test_what_has_no_date_may_be_recent_or_not() -> None:
    assert UNKNOWN is within_days(None, 20_000, 90)
