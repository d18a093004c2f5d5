"""What an admin decided, as an EHR sees it: in force at once, named where a card is held back, and undone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cds_service.adapters.ledger import Ledger
from cds_service.rules.book import RuleBook
from cds_service.rules.shelf import Shelf
from cds_service.rules.tuning import Chosen, Tuning, exception_text
from cds_service.web import Settings, create_app
from tests.build import NOW, PATIENT, SERVER, SERVICE, body, fired, observation
from tests.ledger.conftest import SECRET
from tests.web.test_quiet import DAY, HOUR, KIDNEY, PHOSPHATE, Ward, held

TODAY = NOW.date()
TOMORROW, NEXT_WEEK = TODAY + timedelta(1), TODAY + timedelta(7)


def decided(
    name: str, value: Chosen, rule: str = PHOSPHATE, *, since: date = TODAY, until: date | None = None
) -> Tuning:
    return Tuning(rule, name, value, since, "ab", "a reason that is long enough", until)


class TunedWard(Ward):
    """A ward whose admin decides things."""

    @property
    def engine(self) -> Any:
        """What answers."""
        return self.client.application.extensions["cds"]

    def decide(self, *tunings: Tuning) -> None:
        """Let these decisions, and no others, be in force."""
        shelf: Shelf = self.engine.shelf
        shelf.apply(tunings, datetime.fromtimestamp(self.now, UTC).date())


@pytest.fixture
def ward(book: RuleBook) -> TunedWard:
    return TunedWard(book)


def test_a_number_is_in_force_with_the_next_call_and_can_be_put_back(ward: TunedWard) -> None:
    assert PHOSPHATE in fired(ward.ask())

    ward.decide(decided("phosphate_high", Decimal("6.5")))
    assert PHOSPHATE not in fired(ward.ask())

    ward.decide(decided("phosphate_high", Decimal("6.5")), decided("phosphate_high", Decimal("5.5")))
    assert PHOSPHATE in fired(ward.ask())


def test_a_number_begins_at_midnight_utc_without_anybody_doing_anything(ward: TunedWard) -> None:
    ward.decide(decided("phosphate_high", Decimal("6.5"), since=TOMORROW))
    midnight = NOW.replace(hour=0).timestamp() + DAY
    ward.now = midnight - 1
    assert PHOSPHATE in fired(ward.ask())

    ward.now = midnight
    assert PHOSPHATE not in fired(ward.ask())


def test_a_rule_in_pilot_shows_no_card_and_is_counted(ward: TunedWard) -> None:
    ward.decide(decided("status", "pilot"))
    answer = ward.ask()

    assert PHOSPHATE not in fired(answer)
    assert PHOSPHATE not in str(answer)
    assert 1 == ward.engine.counted[f"silent yes {PHOSPHATE}"]
    assert 0 == ward.engine.counted[f"yes {PHOSPHATE}"]


@pytest.mark.parametrize("status", ["draft", "retired"])
def test_a_rule_that_does_not_run_is_not_asked(ward: TunedWard, status: str) -> None:
    ward.decide(decided("status", status))

    assert PHOSPHATE not in str(ward.ask())
    assert [] == [event for event in ward.engine.counted if event.endswith(PHOSPHATE)]


def test_the_usual_urgency_changes_and_what_raises_it_still_does(ward: TunedWard) -> None:
    severe, mild = [observation("calcium-total", 14.5)], [observation("calcium-total", 10.8)]
    usual = [fired(ward.ask(*found)).get("hypercalcemia-workup") for found in (mild, severe)]
    ward.decide(decided("indicator", "info"), decided("indicator", "warning", "hypercalcemia-workup"))
    changed = [fired(ward.ask(*found)).get("hypercalcemia-workup") for found in (mild, severe)]

    assert ["info", "critical"] == usual
    assert ["warning", "critical"] == changed
    assert "info" == fired(ward.ask())[PHOSPHATE]


def test_the_quiet_time_is_as_long_as_was_decided(ward: TunedWard) -> None:
    ward.decide(decided("quiet_hours", 5))
    ward.override(ward.ask())
    ward.now += 5 * HOUR - 1
    assert PHOSPHATE in held(ward.ask())

    ward.now += 1
    assert PHOSPHATE in fired(ward.ask())


def test_an_override_reason_has_the_wording_that_was_decided_and_its_code_stays(ward: TunedWard) -> None:
    def reasons() -> dict[str, str]:
        [card] = ward.ask()["cards"]
        return {one["code"]: one["display"] for one in card["overrideReasons"]}

    usual = reasons()
    ward.decide(decided("reason.not-applicable", "Not in this hospital"))

    assert {**usual, "not-applicable": "Not in this hospital"} == reasons()


# --- held back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "of"),
    [
        ("user", "Practitioner"),
        ("diagnosis", "met-eskd"),
        ("patients", "the patient"),
    ],
)
def test_an_exception_holds_a_card_back_says_so_and_ends_on_its_day(ward: TunedWard, kind: str, of: str) -> None:
    who = ward.memory.pseudonym("patient", SERVER, PATIENT) if kind == "patients" else of
    one = decided("exception.dialysis", exception_text(kind, [who]), until=NEXT_WEEK)
    ward.decide(one)
    answer = ward.ask(fhirServer=SERVER)

    assert {PHOSPHATE: "exception dialysis"} == held(answer)
    assert PHOSPHATE not in fired(answer)
    assert 1 == ward.engine.counted[f"yes {PHOSPHATE}"]
    ward.now += 7 * DAY
    assert PHOSPHATE in fired(ward.ask(fhirServer=SERVER))


def test_an_exception_for_others_holds_nothing_back(ward: TunedWard) -> None:
    ward.decide(
        decided("exception.a", exception_text("user", ["Patient"]), until=NEXT_WEEK),
        decided("exception.b", exception_text("patients", ["somebody else"]), until=NEXT_WEEK),
        decided("exception.c", exception_text("client", ["https://ehr.example"]), until=NEXT_WEEK),
        decided("exception.d", exception_text("diagnosis", ["calciphylaxis"]), until=NEXT_WEEK),
    )

    assert PHOSPHATE in fired(ward.ask())


def test_a_rollout_reaches_some_encounters_always_the_same_and_names_what_it_holds_back(ward: TunedWard) -> None:
    def shown() -> set[int]:
        return {number for number in range(60) if PHOSPHATE in fired(ward.ask(encounter=f"enc-{number}"))}

    ward.decide(decided("rollout", 40))
    some = shown()

    assert 10 < len(some) < 40
    assert some == shown()
    other = next(number for number in range(60) if number not in some)
    assert {PHOSPHATE: "rollout"} == held(ward.ask(encounter=f"enc-{other}"))
    ward.decide(decided("rollout", 100))
    assert set(range(60)) == shown()


def test_what_an_exception_holds_back_leaves_room_for_the_next_card(ward: TunedWard) -> None:
    """
    A card that is not shown takes no place among those that are.
    """
    ward.decide(decided("exception.x", exception_text("user", ["Practitioner"]), until=NEXT_WEEK))
    answer = ward.ask(*KIDNEY, observation("calcium-total", 14.5))

    assert {"ca-p-product-precipitation": "warning"} == fired(answer)
    assert "exception x" == held(answer)[PHOSPHATE]


def test_held_back_findings_are_counted_by_reason(ward: TunedWard) -> None:
    ward.decide(decided("rollout", 0))
    ward.ask()
    text = ward.client.get("/metrics").text

    assert 'cds_held_back_total{reason="rollout"} 1.0' in text


# --- the book --------------------------------------------------------------------------------------------------------


def test_what_newer_files_refuse_is_not_in_force_and_somebody_is_told(ward: TunedWard) -> None:
    ward.decide(decided("gone", Decimal(1)), decided("phosphate_high", Decimal("6.5")))
    ready = ward.client.get("/readyz")

    assert (503, ["tuning-unfit"], True) == (
        ready.status_code,
        (ready.json or {})["reasons"],
        (ready.json or {})["answers"],
    )
    assert 200 == ward.client.get("/readyz?calls").status_code
    assert "cds_tunings_unfit 1.0" in ward.client.get("/metrics").text
    assert PHOSPHATE not in fired(ward.ask())


def test_discovery_stays_as_it_was(ward: TunedWard) -> None:
    before = ward.client.get("/cds-services").data
    ward.decide(decided("phosphate_high", Decimal("6.5")), decided("status", "retired", "eskd-missing-labs"))

    assert before == ward.client.get("/cds-services").data


# --- in the ledger ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", SECRET, NOW.timestamp)
    yield found
    found.close()


def test_the_ledger_holds_what_was_silent_what_was_held_back_and_under_which_book(
    book: RuleBook, ledger: Ledger
) -> None:
    app = create_app(Settings(auth="none"), book=book, clock=NOW.timestamp, ledger=ledger)
    shelf = app.extensions["cds"].shelf
    shelf.apply([decided("status", "pilot"), decided("rollout", 0, "eskd-missing-labs")], TODAY)
    app.test_client().post(SERVICE, data=body(*KIDNEY[:2]), content_type="application/json")
    assert ledger.flush()
    with ledger.database.reading() as connection:
        number = connection.exec_driver_sql("SELECT id FROM decisions").scalar()
    row = ledger.decision(str(number))

    assert row is not None
    assert [PHOSPHATE] == [one["rule"] for one in row.content["pilot"]["fired"]]
    assert ["eskd-missing-labs: rollout"] == [f"{one['rule']}: {one['reason']}" for one in row.content["held"]]
    assert shelf.book.fingerprint == row.content["book"]
    assert book.fingerprint != row.content["book"]
