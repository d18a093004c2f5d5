"""Cohorts: patients of folders, and recorded calls as the ledger holds them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

from cds_service import backtest
from cds_service.adapters import cohorts
from cds_service.adapters.ledger import Ledger
from cds_service.backtest import Backtest
from cds_service.rules.book import RuleBook
from cds_service.rules.tuning import Tuning, exception_text, read_assignment
from cds_service.web import Settings, create_app
from tests.build import NOW, ROOT, SERVICE, body, condition, observation
from tests.ledger.conftest import SECRET

TODAY = NOW.date()
RULE = "eskd-hyperphosphatemia"
ISSUER = "https://ehr.example"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(f"sqlite:///{tmp_path}/ledger.db", SECRET, NOW.timestamp)


@pytest.fixture
def recorded(book: RuleBook, ledger: Ledger) -> Ledger:
    """Give a ledger with twelve calls, of phosphate 5.0, 5.2 ... 7.2 mg/dL."""
    app = create_app(Settings(auth="none"), book=book, clock=NOW.timestamp, ledger=ledger)
    for number in range(12):
        ask(app, 5.0 + number / 5, number)
    assert ledger.flush()
    return ledger


def ask(app: Flask, level: float, number: int) -> None:
    context = {"userId": "Practitioner/dr-1", "patientId": "pat-1", "encounterId": f"enc-{number}"}
    raw = body(condition(), observation(value=level), context=context)
    assert 200 == app.test_client().post(SERVICE, data=raw, content_type="application/json").status_code


def tried(book: RuleBook, ledger: Ledger, *tunings: Tuning, most: int = 100) -> Backtest:
    disguise = cohorts.disguise_of(ledger)
    cohort = cohorts.of_ledger(ledger.database, book, most=most, hook="patient-view", disguise=disguise)
    return backtest.run(book, backtest.tried(book, tunings, TODAY), cohort, "patient-view", day=TODAY)


def test_recorded_calls_say_again_what_was_recorded(book: RuleBook, recorded: Ledger) -> None:
    """
    The findings of the back-test are those that the ledger wrote down when the calls were answered.
    """
    found = tried(book, recorded, read_assignment(f"{RULE}.phosphate_high=6.5", book, TODAY))
    with recorded.database.reading() as connection:
        ids = connection.exec_driver_sql("SELECT id FROM decisions ORDER BY number DESC").scalars().all()
    rows = {one: row for one in ids if (row := recorded.decision(one)) is not None}
    spoke = {one for one, row in rows.items() if RULE in [told["rule"] for told in row.content.get("fired", [])]}

    assert (12, 1, 9) == (found.calls, found.patients, len(spoke))
    assert len(spoke) == found.before.fired[RULE]
    assert 4 == found.after.fired[RULE]
    assert {one.decision for one in found.losing} < spoke
    assert 5 == len(found.losing)


def test_the_newest_calls_come_first_and_no_more_than_asked(book: RuleBook, recorded: Ledger) -> None:
    cohort = cohorts.of_ledger(recorded.database, book, most=5)
    with recorded.database.reading() as connection:
        newest = connection.exec_driver_sql("SELECT id FROM decisions ORDER BY number DESC LIMIT 5").scalars().all()

    assert 5 == len(cohort)
    assert newest == [one.decision for one in cohort.raws()]


def test_of_another_hook_nothing_was_recorded(book: RuleBook, recorded: Ledger) -> None:
    assert 0 == len(cohorts.of_ledger(recorded.database, book, most=100, hook="order-sign"))


def test_recorded_calls_know_who_called_and_in_which_encounter(book: RuleBook, recorded: Ledger) -> None:
    patient = next(cohorts.of_ledger(recorded.database, book, most=1).raws()).patient
    for kind, of in (("user", "Practitioner"), ("patients", patient)):
        change = Tuning(RULE, "exception.x", exception_text(kind, [of]), TODAY, until=TODAY.replace(day=28))
        assert {f"{RULE}: exception x": 9} == tried(book, recorded, change).after.held
    half = tried(book, recorded, Tuning(RULE, "rollout", 50, TODAY))

    assert 9 == half.after.fired.get(RULE, 0) + half.after.held[f"{RULE}: rollout"]


def test_an_exception_for_a_client_finds_it_by_its_pseudonym(book: RuleBook, ledger: Ledger) -> None:
    disguise = cohorts.disguise_of(ledger)
    opener = cohorts.Opener(book, disguise=disguise)
    raw = cohorts.Raw("p", "patient-view", facts=_facts(book, ledger), client=disguise(ISSUER))
    subject = opener.subject(raw)

    assert subject is not None
    assert subject.occasion is not None
    assert subject.occasion.client == subject.occasion.disguise(ISSUER) != ISSUER


def _facts(book: RuleBook, ledger: Ledger) -> bytes:
    ask(create_app(Settings(auth="none"), book=book, clock=NOW.timestamp, ledger=ledger), 6.0, 1)
    assert ledger.flush()
    return next(cohorts.of_ledger(ledger.database, book, most=1).raws()).facts


def test_what_was_kept_without_facts_is_counted_as_refused(book: RuleBook) -> None:
    assert cohorts.Opener(book).subject(cohorts.Raw("p", "patient-view")) is None


_BOTH = """
from cds_service import backtest
from cds_service.adapters import cohorts, comparing
from cds_service.rules.book import load_book
from cds_service.rules.tuning import read_assignment
from datetime import date
from pathlib import Path
import sys
root, day = Path(sys.argv[1]), date(2026, 3, 1)
book = load_book(root / "hooks")
after = backtest.tried(book, [read_assignment("eskd-hyperphosphatemia.phosphate_high=6.5", book, day)], day)
opened = cohorts.of_folder(root / "fixtures" / "population", book, hook="patient-view", as_of="newest", clock=float)
told = []
with opened as cohort:
    one = backtest.run(book, after, cohort, "patient-view", day=day)
    many = comparing.run(book, after, cohort, "patient-view", day=day, processes=2,
                         progress=lambda done, total: told.append((done, total)))
assert one == many, (one, many)
assert told[-1] == (200, 200) and one.differing
print("the same")
"""


def test_several_processes_find_what_one_finds() -> None:
    """
    In a process of its own: one with threads, as that of the tests, must not fork.
    """
    done = subprocess.run(
        [sys.executable, "-c", _BOTH, str(ROOT)], capture_output=True, text=True, check=False, timeout=120
    )

    assert "the same\n" == done.stdout, done.stderr
