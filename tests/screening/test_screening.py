"""One case at a time, whatever happens to it; and a tally that says what a reader must know."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cds_service.adapters.ehr import LocalRecord
from cds_service.protocol import HookRequest
from cds_service.replay import Replayed, Replayer
from cds_service.rules.book import RuleBook, load_book
from cds_service.screening import Case, Screened, Screening, Tally, open_cases
from cds_service.screening.wording import Likeness
from tests.build import ROOT, bundle, call, condition, observation, patient, prefetch

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def book() -> RuleBook:
    return load_book(ROOT / "hooks")


@pytest.fixture
def cases(tmp_path: Path, book: RuleBook) -> Callable[..., list[Case]]:
    """Write a document, and read the cases in it."""

    def read(document: Any) -> list[Case]:
        (tmp_path / "one.json").write_text(json.dumps(document), encoding="utf-8")
        with open_cases(tmp_path, book, hook="patient-view", lenient_status=True) as found:
            return list(found)

    return read


def screening(book: RuleBook, as_of: str = "2026-03-01", replayer: Any = None) -> Screening:
    """Return a run whose clock stands at noon."""
    return Screening(replayer or Replayer(book, lambda: "an-id"), as_of, lambda: NOON, lambda: 0.0)


def test_a_patient_is_asked_about_as_an_ehr_asks(cases: Callable[..., list[Case]]) -> None:
    (case,) = cases(bundle(patient(), observation(), observation("2951-2")))

    sent = HookRequest.parse(case.call, "patient-view").prefetch

    assert case.service.service.prefetch.keys() == sent.keys()
    assert 1 == json.loads(bytes(sent["observations"]))["total"]


def test_the_whole_record_is_kept_beside_what_is_asked_for(cases: Callable[..., list[Case]]) -> None:
    (case,) = cases(bundle(patient(), observation(), observation("2951-2")))

    assert case.whole is not None
    assert 2 == json.loads(case.whole)["prefetch"]["observations"]["total"]


def test_a_complete_call_is_asked_as_it_stands(cases: Callable[..., list[Case]]) -> None:
    document = call(prefetch(observation()), extension={"a": 1})

    (case,) = cases(document)

    assert (document, None) == (json.loads(case.call), case.whole)


def test_a_case_that_fails_is_counted_and_stops_nobody(book: RuleBook, cases: Callable[..., list[Case]]) -> None:
    class Broken:
        def replay(self, *_: object) -> Replayed:
            raise ZeroDivisionError

    (case,) = cases(bundle(patient()))
    tally = Tally(book)
    tally.add(screening(book, replayer=Broken()).screen(case))

    assert (1, {"ZeroDivisionError": 1}, False) == (tally.patients, dict(tally.failed), tally.sound)


@pytest.mark.parametrize(
    ("as_of", "moment"),
    [("today", "2026-03-01T12:00:00"), ("2025-06-30", "2025-06-30T23:59:59"), ("newest", "2026-02-19T23:59:59")],
)
def test_a_case_is_looked_at_as_of_a_moment(
    book: RuleBook, cases: Callable[..., list[Case]], as_of: str, moment: str
) -> None:
    (case,) = cases(bundle(patient(), observation(effectiveDateTime="2026-02-19")))

    assert datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() == screening(book, as_of).screen(case).now


def test_a_record_without_dates_is_looked_at_today(book: RuleBook, cases: Callable[..., list[Case]]) -> None:
    (case,) = cases(bundle(patient()))
    tally = Tally(book)
    screened = screening(book, "newest").screen(case)
    tally.add(screened)

    assert (NOON, 1) == (screened.now, tally.undated)


def test_an_answer_that_the_whole_record_would_change_is_counted(
    book: RuleBook, cases: Callable[..., list[Case]]
) -> None:
    """
    A second page was not sent, so the rule could not tell.
    """
    crowd = [observation("creatinine", 1.0, days=day / 10) for day in range(1200)]
    (case,) = cases(bundle(patient(), condition(), *crowd))
    tally = Tally(book)
    tally.add(screening(book).screen(case))

    assert ("eskd-missing-labs", "unknown", "yes") in tally.differing


def test_the_tally_holds_nobody(book: RuleBook, cases: Callable[..., list[Case]]) -> None:
    (case,) = cases(bundle(patient(), condition(), observation(), observation("2951-2")))
    tally = Tally(book)
    tally.add(screening(book).screen(case))

    assert "pat-1" not in json.dumps(tally.as_json())


def test_nothing_to_count_is_no_error(book: RuleBook) -> None:
    tally = Tally(book)
    tally.add(Screened(Case("p", next(iter(book.services.values())), b"", LocalRecord("p", [])), NOON))

    assert tally.sound


@pytest.mark.parametrize(
    ("kind", "wording", "like"),
    [
        ("observations", "Calcium [Mass/volume] in Blood", "calcium-total"),
        ("observations", "Creatinine", "creatinine"),
        ("conditions", "Calcium deposit", ""),
        ("medications", "phenprocoumon 3 MG Oral Tablet", "vka"),
        ("observations", "Pth", "pth"),
        ("observations", "Depth of wound", ""),
        ("observations", "", ""),
    ],
)
def test_a_wording_resembles_what_the_rules_read(book: RuleBook, kind: str, wording: str, like: str) -> None:
    assert like == Likeness(book).of(kind, wording)
