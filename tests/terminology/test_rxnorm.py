"""
From a RxNorm release to our table of products: route by dose form, ingredients counted, packs and brands opened.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from itertools import chain

import pytest

from cds_service.terminology import Terminology, rxnorm
from cds_service.terminology.products import Product
from tests.terminology import release


def read(*, backwards: bool = False) -> rxnorm.Release:
    told = release.relations(backwards=backwards)
    return rxnorm.read(rxnorm.rows(release.names().splitlines()), rxnorm.rows(told.splitlines()))


@pytest.fixture(scope="module")
def table(words: Terminology) -> dict[tuple[str, str], Product]:
    return {(one.concept, one.rxcui): one for one in rxnorm.products_of(words, read(), "RxNorm test")}


@pytest.mark.parametrize(
    ("concept", "rxcui", "tty", "route", "ingredients"),
    [
        ("vka", "900201", "SCD", "oral", 1),
        ("warfarin", "900201", "SCD", "oral", 1),
        ("vka", "900202", "SBD", "oral", 1),
        ("vka", "900301", "BN", "oral", 1),
        ("ca-binder", "900203", "SCD", "oral", 2),
        ("ca-supp", "900203", "SCD", "oral", 2),
        ("ca-iv", "900204", "SCD", "injection", 1),
        ("steroid", "900205", "SCD", "local", 1),
        ("steroid", "900302", "BN", "mixed", 1),
        ("steroid", "900401", "GPCK", "local", 1),
        ("vka", "900401", "GPCK", "oral", 1),
        ("vka", "900402", "BPCK", "oral", 1),
        ("calcimimetic", "900206", "SCD", "injection", 1),
    ],
)
def test_a_product_has_its_route_and_its_ingredients(
    table: dict[tuple[str, str], Product], concept: str, rxcui: str, tty: str, route: str, ingredients: int
) -> None:
    one = table[concept, rxcui]

    assert (tty, route, ingredients, "RxNorm test") == (one.tty, one.route, one.ingredients, one.source)


def test_nothing_else_is_taken(table: dict[tuple[str, str], Product]) -> None:
    """
    Not what is suppressed or of another source, not ingredients, forms and components, not another medicine.
    """
    assert {"900201", "900202", "900301", "900401", "900402"} == {rxcui for concept, rxcui in table if concept == "vka"}
    assert "900207" not in {rxcui for _, rxcui in table}


def test_a_relation_may_be_told_from_either_end(words: Terminology, table: dict[tuple[str, str], Product]) -> None:
    assert list(table.values()) == rxnorm.products_of(words, read(backwards=True), "RxNorm test")


def test_an_ingredient_without_a_verified_code_is_taken_by_its_exact_name_and_said_so(words: Terminology) -> None:
    found = rxnorm.ingredients_of(words, read())

    assert {"900009": "name etelcalcetide"} == found["calcimimetic"]
    assert {"11289": "code"} == found["vka"]


def test_what_changed_is_added_retired_or_given_differently() -> None:
    old = [Product("vka", "1", "SCD", "oral", 1, "a", "x"), Product("vka", "2", "SCD", "oral", 1, "b", "x")]
    new = [Product("vka", "2", "SCD", "local", 1, "b", "y"), Product("vka", "3", "SCD", "oral", 1, "c", "y")]

    said = rxnorm.changes(old, new)

    assert (["3"], ["1"]) == ([one.rxcui for one in said.added], [one.rxcui for one in said.retired])
    assert [("oral", "local")] == [(before.route, after.route) for before, after in said.changed]
    assert rxnorm.Changes((), (), ()) == rxnorm.changes(old, old)


def test_a_long_release_is_read_as_a_stream() -> None:
    """
    Rows that lead nowhere are dropped as they are read: a million of them cost time, but no memory.
    """

    def idle() -> Iterator[str]:
        return (f"{number}||CUI|RO|{number + 1}||CUI|isa|1||RXNORM|||||" for number in range(200_000))

    tracemalloc.start()
    started = time.process_time()
    found = rxnorm.read(
        rxnorm.rows(release.names().splitlines()), rxnorm.rows(chain(idle(), release.relations().splitlines()))
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert 2_000_000 > peak
    assert 20 > time.process_time() - started
    assert {"900101"} == found.of("consists_of", "900201")
