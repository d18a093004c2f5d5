"""
Twelve weeks in the life of a service, made up: calls at two hooks, answers to cards, decisions of admins.

Two workers answer; on the last days a third one, with a rule that breaks whenever it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NoReturn

import msgspec
from flask.testing import FlaskClient

from cds_service.adapters.ehr import LocalRecord, hook_request
from cds_service.adapters.ehr.files import open_patients
from cds_service.adapters.ledger import Key, Ledger
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.model import Rule
from cds_service.rules.tuning import Tuning
from cds_service.web import Settings, create_app
from tests.build import ROOT

SECRET = Key(b"a key for tests, of which nobody need be afraid")
POPULATION = ROOT / "fixtures" / "population"
LAST = date(2026, 5, 24)
WEEKS, BUSY, HOOKS = 12, 9, ("patient-view", "encounter-start")
CHANGED = date(2026, 4, 12)
PILOT = "hypercalcemia-workup"
# It breaks on the last days; another worker answers every third day.
BROKEN, BREAKS = "eskd-missing-labs", LAST - timedelta(15)
OTHERS_DAY = 3
LEFT_OFF, SWITCHED_BACK = "nadroparin-calcium", "tls-parenteral-calcium"
REASONS = ("already-addressed", "specialist-managing", "not-applicable")
COMMENTS = (
    "",
    "",
    "",
    "",
    "this is wrong, patient is already on binders",
    "thanks",
    "Why again?",
    "=cmd|' /C calc'!A0",
)
# A laboratory's own code and a unit that mean nothing here.
STRANGE = {"system": "http://lab.example/codes", "code": "PHOS-7"}

Json = dict[str, Any]


class Life:
    """The service with its ledger, and a clock that is moved on by hand."""

    def __init__(self, folder: Path, *, seed: int = 7) -> None:
        self.random, self.numbers = Random(seed), count(1)
        self.now = datetime.combine(LAST - timedelta(weeks=WEEKS), datetime.min.time(), UTC).timestamp()
        self.url = f"sqlite:///{folder}/ledger.db"
        self.path = folder / "ledger.db"
        self.ledgers = [Ledger.open(self.url, SECRET, self.clock) for _ in range(3)]
        self.ledger = self.ledgers[0]
        self.book = load_book(ROOT / "hooks")
        books = (self.book, self.book, with_broken(self.book, BROKEN))
        self.workers = [self._client(*one) for one in zip(self.ledgers, books, strict=True)]
        self._decide(PILOT, "status", "pilot", "looked at silently first")
        self.shown: list[tuple[str, float]] = []

    def clock(self) -> float:
        return self.now

    def _client(self, ledger: Ledger, book: RuleBook) -> FlaskClient:
        app = create_app(
            Settings(auth="none"),
            book=book,
            clock=self.clock,
            new_id=lambda: f"00000000-0000-4000-8000-{next(self.numbers):012d}",
            ledger=ledger,
        )
        return app.test_client()

    @property
    def worker(self) -> FlaskClient:
        """The worker that answers today."""
        return self.workers[2 if self.today >= BREAKS else self.today.toordinal() % OTHERS_DAY == 0]

    @property
    def today(self) -> date:
        return datetime.fromtimestamp(self.now, UTC).date()

    @property
    def decision(self) -> str:
        """Return the id of the newest decision that showed a card."""
        with self.ledger.database.reading() as connection:
            return str(connection.exec_driver_sql("SELECT decision FROM cards ORDER BY number DESC LIMIT 1").scalar())

    def _decide(self, rule: str, name: str, value: Decimal | str, why: str) -> None:
        """Let an admin decide something from today on."""
        tuning = Tuning(rule, name, value, self.today, "eddie", why)
        self.ledger.governance.propose(tuning, base=0, role="editor", origin="127.0.0.1")
        self.ledger.look()

    def call(self, record: LocalRecord, hook: str, encounter: str, user: str) -> list[str]:
        """Fire a hook for a patient, as an EHR does; return the uuids of the cards."""
        service = self.book.services[f"calcinosis-{hook}"].service
        told: Json = {"user_id": user, "encounter_id": encounter, "hook_instance": f"i-{next(self.numbers)}"}
        body = hook_request(hook, record, service.prefetch, **told)
        if self.random.random() < 0.2:
            _add_strange(body, record.patient_id)
        if self.random.random() < 0.05:
            body["prefetch"] = {key: value for key, value in body["prefetch"].items() if "obs" not in key}
        answer = self.worker.post(f"/cds-services/{service.id}", data=json.dumps(body), content_type="application/json")
        assert answer.status_code in (200, 412), answer.data
        return [card["uuid"] for card in (answer.json or {}).get("cards", ())]

    def answer(self, hook: str, card: str, outcome: str, at: float) -> None:
        item: Json = {"card": card, "outcome": outcome, "outcomeTimestamp": _moment(at)}
        if outcome == "accepted":
            item["acceptedSuggestions"] = [{"id": f"s-{self.random.randrange(3)}"}]
        else:
            reason = {"code": self.random.choice(REASONS), "system": "https://calcinosis-cds.example/reasons"}
            item["overrideReason"] = {"reason": reason, "userComment": self.random.choice(COMMENTS)}
        sent = self.workers[0].post(
            f"/cds-services/calcinosis-{hook}/feedback",
            data=json.dumps({"feedback": [item]}),
            content_type="application/json",
        )
        assert 200 == sent.status_code, sent.data

    def live(self, patients: list[LocalRecord]) -> None:
        """Live through all days."""
        for day in range(WEEKS * 7 + 1):
            start = self.now
            if self.today == CHANGED:
                self._decide(
                    "eskd-hyperphosphatemia", "phosphate_high", Decimal("6.5"), "fewer cards that nobody needs"
                )
            for ledger in self.ledgers:
                ledger.look()
            weekend = datetime.fromtimestamp(start, UTC).weekday() >= 5
            for visit in range(BUSY // 3 if weekend else BUSY):
                self.now = start + 8 * 3600 + visit * 2400 + self.random.randrange(60)
                self._visit(self.random.choice(patients), day, visit)
            for ledger in self.ledgers:
                ledger.flush()
            self.now = start + 86_400
        self.answer("patient-view", "00000000-0000-4000-8000-999999999999", "accepted", self.now)
        self.now = datetime.combine(LAST, datetime.min.time(), UTC).timestamp() + 43_200
        self._leave_open()

    def _leave_open(self) -> None:
        """Leave decisions in every state behind: waiting, planned, turned down, superseded; and something off."""
        kept, where = self.ledger.governance, dict[str, Any](role="editor", origin="127.0.0.1")
        rule, name = "eskd-hyperphosphatemia", "phosphate_severe"
        for value in (Decimal("7.5"), Decimal(8)):
            waits = Tuning(rule, name, value, self.today, "eddie", "what the unit asked for")
            made = kept.propose(waits, base=kept.newest(rule, name), asks="an example", **where)
            if value < 8:
                kept.rule_on(made.number, "rejected", "anna", "not before the audit", "approver", "127.0.0.1")
        later = Tuning(rule, "quiet_hours", 24, self.today + timedelta(30), "eddie", "from the summer on")
        kept.propose(later, base=0, **where)
        for off in (LEFT_OFF, SWITCHED_BACK):
            kept.switch("rule", off, True, "otto", "found wrong on the ward", "operator", "127.0.0.1")
        kept.switch("rule", SWITCHED_BACK, False, "otto", "the ward was mistaken", "operator", "127.0.0.1")
        self.ledger.look()

    def _visit(self, record: LocalRecord, day: int, visit: int) -> None:
        hook, user = self.random.choice(HOOKS), f"Practitioner/p-{self.random.randrange(5)}"
        encounter = f"e-{day}-{visit // 2}" if hook == "encounter-start" or self.random.random() < 0.7 else ""
        for card in self.call(record, hook, encounter, user):
            self.shown.append((card, self.now))
            liking = 0.5 if self.today < CHANGED else 0.2
            for _ in range(self.random.choice((0, 1, 1, 2))):
                outcome = "accepted" if self.random.random() < liking else "overridden"
                self.answer(hook, card, outcome, self.now + self.random.randrange(-5, 600))


def with_broken(book: RuleBook, name: str) -> RuleBook:
    """Return a book in which a rule breaks whenever it is asked."""

    def breaks(_facts: object, _values: object) -> NoReturn:
        raise RuntimeError(name)

    def broken(rule: Rule) -> Rule:
        return msgspec.structs.replace(rule, when=breaks) if rule.id == name else rule

    services = {
        key: msgspec.structs.replace(one, rules=tuple(map(broken, one.rules))) for key, one in book.services.items()
    }
    rules = {key: broken(rule) for key, rule in book.rules.items()}
    return msgspec.structs.replace(book, rules=rules, services=services, memo={})


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _add_strange(body: Json, patient: str) -> None:
    """Put results into a call that mean nothing here: a code of the laboratory's own, a unit that nobody has."""
    for value in body["prefetch"].values():
        if isinstance(value, dict) and value.get("resourceType") == "Bundle":
            kinds = {entry["resource"]["resourceType"] for entry in value.get("entry") or ()}
            if kinds == {"Observation"}:
                value["entry"] = [*value["entry"], *(_strange(patient, one) for one in range(2))]
                return


def _strange(patient: str, which: int) -> Json:
    coding = STRANGE if which else {"system": "http://loinc.org", "code": "2777-1"}
    unit = {"value": 5, "unit": "mg/dL" if which else "spoons"}
    return {
        "resource": {
            "resourceType": "Observation",
            "id": f"strange-{which}",
            "status": "final",
            "code": {"coding": [coding]},
            "subject": {"reference": f"Patient/{patient}"},
            "effectiveDateTime": "2026-02-27T08:00:00Z",
            "valueQuantity": unit,
        }
    }


def population() -> Iterator[LocalRecord]:
    """Yield the invented population."""
    with open_patients([*POPULATION.glob("*.ndjson")]) as found:
        yield from found
