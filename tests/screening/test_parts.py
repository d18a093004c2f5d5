"""What every engine is given and gives back: packages of a part, and what was found in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cds_service.adapters.population import Chunk, Journal, Plan, chunks_of, inputs_of
from cds_service.adapters.population.journal import by_patient
from cds_service.errors import SettingsError
from cds_service.facts import Policy
from cds_service.rules.book import RuleBook
from cds_service.screening.engines import Task, answered, deal, keep, medications_in
from cds_service.screening.order import Order
from cds_service.screening.progress import Progress, duration
from tests.build import ROOT, medication
from tests.screening.people import AS_OF, POPULATION, write_lines, write_population

PARTS = 5


def order_of(source: Path, rules: str) -> Order:
    plan = Plan("1", rules, "", AS_OF, {}, inputs_of(source))
    return Order(plan, str(ROOT / "hooks"), Policy(), 0.0)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    one = Journal(tmp_path / "journal.db")
    yield one
    one.close()


def screened(order: Order, journal: Journal, done: set[int]) -> int:
    """Screen as an engine does, without one; return how many patients were screened."""
    task, packages = Task.of(order, PARTS, done), dict[int, list[bytes]]()
    for chunk in chunks_of(order.plan.inputs, 100_000):
        for part, package in deal(task, chunk):
            packages.setdefault(part, []).append(package)
    found = [one for part, several in packages.items() for one in answered(task, part, several, {})]
    return sum(keep(journal, part, body) for part, body in found)


def test_every_patient_is_screened_in_one_part(book: RuleBook, journal: Journal) -> None:
    assert 200 == screened(order_of(POPULATION, book.fingerprint), journal, set())
    assert 56 == sum(sheet.fired > 0 for sheet in journal.sheets())


def test_parts_that_are_done_are_not_screened_again(book: RuleBook, journal: Journal) -> None:
    order = order_of(POPULATION, book.fingerprint)
    screened(order, journal, {1, 2, 3, 4})
    assert {0} == journal.done()

    screened(order, journal, journal.done())

    assert set(range(PARTS)) == journal.done()
    assert 200 == sum(counts["patients"] for counts in journal.counts())


def test_lines_that_cannot_be_used_are_passed_on(book: RuleBook, journal: Journal, tmp_path: Path) -> None:
    source = write_population(tmp_path / "in")
    write_lines(source / "a.ndjson", "{", '{"resourceType":"Patient"}')

    screened(order_of(source, book.fingerprint), journal, set())

    number = [one.name for one in inputs_of(source)].index("a.ndjson")
    assert [(number, 0, "not-json"), (number, 2, "names-no-patient")] == list(journal.flaws())


def test_medications_are_known_by_their_id(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.ndjson", medication(id="m-1"), "{", medication(id="m-2"))

    assert ["m-1", "m-2"] == [name for name, _ in medications_in(Chunk(str(tmp_path / "a.ndjson"), 0))]


def test_a_machine_with_other_rules_refuses_to_screen(book: RuleBook) -> None:
    with pytest.raises(SettingsError, match="not those that the run was begun with"):
        order_of(POPULATION, "other").screener()

    assert order_of(POPULATION, book.fingerprint).screener()


def test_a_part_that_is_written_twice_is_refused(journal: Journal) -> None:
    """Or it would be counted twice."""
    journal.keep(3, [], {"patients": 1})

    with pytest.raises(Exception, match="UNIQUE"):
        journal.keep(3, [], {"patients": 1})
    assert [{"patients": 1}] == list(journal.counts())


def test_resources_are_in_the_order_of_the_files() -> None:
    rows = [("b", 2, b"3"), ("a", 9, b"2"), ("b", 1, b"1"), ("a", 3, b"0")]

    assert [("a", [b"0", b"2"]), ("b", [b"1", b"3"])] == list(by_patient(rows))


# --- how far it has come ---------------------------------------------------------------------------------------------


def test_a_run_says_how_fast_it_is_and_how_long_it_takes() -> None:
    seconds = iter([0.0, 10.0, 10.0, 10.0])
    progress = Progress(None, lambda: next(seconds))
    seconds = iter([0.0, 10.0, 10.0])
    progress.begin("Screening", 100, "patients", done=20)
    progress.step(20, 5_000)

    assert "Screening  [#########---------------]  40%  5,000 patients, 500/s, 30 s left" == progress.line()


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0 s"), (59.9, "59 s"), (185, "3:05 min"), (7_800, "2:10 h")])
def test_a_time_is_shown_as_people_say_it(seconds: float, shown: str) -> None:
    assert shown == duration(seconds)
