"""
Rules while they are in use: swapped, failing, asked by many at once, at odd moments (RELIABILITY 3.27 to 3.29, 3.38 to
3.42, 3.50).
"""

from __future__ import annotations

import builtins
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
from flask import Flask

from cds_service.adapters.deadline import Deadline
from cds_service.facts.evidence import Judgement
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.shelf import Shelf
from cds_service.web import Settings, create_app
from cds_service.web.quarantine import IN_A_ROW, WHY
from tests.build import NOW, PATIENT, ROOT, SERVICE, body, condition, observation, patient
from tests.web.test_failures import KIDNEY, broken

JSON: dict[str, Any] = {"content_type": "application/json"}
RULE = "eskd-hyperphosphatemia"


def post(app: Flask, raw: bytes) -> dict[str, Any]:
    answer = app.test_client().post(SERVICE, data=raw, **JSON)
    assert 200 == answer.status_code, answer.text
    found: dict[str, Any] = answer.json or {}
    return found


# --- 28: swapped -----------------------------------------------------------------------------------------------------


def reworded(book: RuleBook) -> RuleBook:
    """Return the book with another version of every rule, which each card names."""
    rules = {one.id: msgspec.structs.replace(one, version="9.9.9") for one in book.rules.values()}
    services = {
        name: msgspec.structs.replace(one, rules=tuple(rules[rule.id] for rule in one.rules))
        for name, one in book.services.items()
    }
    return msgspec.structs.replace(book, rules=rules, services=services, fingerprint="other", memo={})


def versions(answer: dict[str, Any]) -> set[str]:
    return {rule["version"] for card in answer["cards"] for rule in card["extension"]["org.calcinosis-cds"]["rules"]}


def test_a_call_never_sees_two_books(book: RuleBook) -> None:
    """
    The book is swapped a hundred times a second, under calls that are answered by several rules each.
    """
    app = create_app(Settings(auth="none"), book=book, clock=NOW.timestamp)
    shelf, books = app.extensions["cds"].shelf, (book, reworded(book))
    over, raw = threading.Event(), body(*KIDNEY, observation("calcium-total", 11.5))
    assert 1 < len(versions(post(app, raw))) + len(post(app, raw)["cards"])

    def swap() -> None:
        number = 0
        while not over.wait(0.01):
            number += 1
            shelf.book = books[number % 2]

    thread = threading.Thread(target=swap)
    thread.start()
    with ThreadPoolExecutor(4) as clients:
        found = list(clients.map(lambda _: versions(post(app, raw)), range(400)))
    over.set()
    thread.join()

    old = versions(post_with(app, book, raw))
    assert all(one in (old, {"9.9.9"}) for one in found)
    assert {"9.9.9"} in found
    assert old in found


def post_with(app: Flask, book: RuleBook, raw: bytes) -> dict[str, Any]:
    app.extensions["cds"].shelf.book = book
    return post(app, raw)


# --- 29: failing -----------------------------------------------------------------------------------------------------


def fail(*_: Any) -> NoReturn:
    raise ZeroDivisionError


def skipped(answer: dict[str, Any], rule: str) -> list[str]:
    missing = answer["extension"]["org.calcinosis-cds"]["not_evaluated"]
    return next((one["missing"] for one in missing if one["rule"] == rule), [])


def test_a_rule_that_does_nothing_but_fail_is_not_asked_any_more(book: RuleBook) -> None:
    asked: list[int] = []

    def count(*_: Any) -> NoReturn:
        asked.append(1)
        raise ZeroDivisionError

    lame = broken(book, "vka-calciphylaxis-risk", count)
    app = create_app(Settings(auth="none"), book=lame, clock=NOW.timestamp)
    for _ in range(IN_A_ROW + 5):
        answer = post(app, body(*KIDNEY))
        assert RULE in str(answer["cards"]), "the others speak all the while"

    assert IN_A_ROW == len(asked)
    assert [WHY] == skipped(answer, "vka-calciphylaxis-risk")


def test_a_rule_that_fails_now_and_then_goes_on_being_asked(book: RuleBook) -> None:
    real = next(rule for rule in book.services["calcinosis-patient-view"].rules if rule.id == RULE).when
    asked: list[int] = []

    def now_and_then(*given: Any) -> Judgement:
        asked.append(1)
        return real(*given) if len(asked) % 10 == 0 else fail()

    app = create_app(Settings(auth="none"), book=broken(book, RULE, now_and_then), clock=NOW.timestamp)
    for _ in range(50):
        post(app, body(*KIDNEY, observation("calcium-total", 12)))

    assert 50 == len(asked)


def test_new_content_is_asked_anew(book: RuleBook) -> None:
    app = create_app(Settings(auth="none"), book=broken(book, RULE, fail), clock=NOW.timestamp)
    for _ in range(IN_A_ROW):
        post(app, body(*KIDNEY, observation("calcium-total", 12)))
    app.extensions["cds"].shelf.book = book

    assert RULE in str(post(app, body(*KIDNEY))["cards"])


# --- 38: odd moments -------------------------------------------------------------------------------------------------

MOMENTS = {
    "the hour that summer time skips": datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC),
    "the hour that winter time repeats": datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC),
    "after a leap second": datetime(2017, 1, 1, tzinfo=UTC),
    "a leap day": datetime(2028, 2, 29, 12, tzinfo=UTC),
    "the end of 32 bits": datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    "the end of the century": datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC),
    "no leap day": datetime(2100, 3, 1, tzinfo=UTC),
}


def dated(moment: datetime) -> bytes:
    """Return a call whose result is ten minutes old at a moment."""
    stamp = datetime.fromtimestamp(moment.timestamp() - 600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    known = condition(recordedDate="2015-01-01", onsetDateTime="2015-01-01")
    return body(patient(birthDate="1980-01-01"), known, observation(value=8.1, effectiveDateTime=stamp))


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_the_same_cards_at_odd_moments(book: RuleBook, moment: datetime) -> None:
    app = create_app(Settings(auth="none"), book=book, clock=moment.timestamp)

    assert RULE in str(post(app, dated(moment))["cards"])


def test_a_clock_that_jumps_changes_no_answer_it_does_not_concern(book: RuleBook) -> None:
    """
    Ten minutes forwards, ten minutes back, an hour back: the result is recent all the while.
    """
    times = iter([0.0, 600.0, -600.0, -3_600.0, 0.0])
    app = create_app(Settings(auth="none"), book=book, clock=lambda: NOW.timestamp() + next(times))

    assert all(RULE in str(post(app, dated(NOW))["cards"]) for _ in range(5))


def test_time_limits_follow_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Deadline(10.0)
    monkeypatch.setattr(time, "time", lambda: 1e12)

    assert 9 < limit.remaining() <= 10


# --- 39, 42: many at once --------------------------------------------------------------------------------------------


def test_the_same_call_twice_at_once_gets_the_same_answer(make_app: Callable[..., Flask]) -> None:
    """
    The uuids differ, for each answer is one of its own; what is said does not.
    """
    app, raw = make_app(), body(*KIDNEY, hookInstance="0b1e5e6a-9f0c-4f0c-8f0c-0b1e5e6a9f0c")
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: post(app, raw), range(32)))
    said = {tuple(card["summary"] for card in one["cards"]) for one in answers}

    assert 1 == len(said)
    assert 32 == app.extensions["cds"].counted[f"yes {RULE}"]


# --- 50: the n-th call fails -----------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Give content with two rules, which loads quickly."""
    content = Path(shutil.copytree(ROOT / "hooks", tmp_path / "hooks"))
    kept = {RULE, "ca-p-product-precipitation"}
    for path in (content / "rules").glob("*/*.yaml"):
        if path.name.partition(".")[0] not in kept:
            path.unlink()
    for path in content.glob("*/service.yaml"):
        if path.parent.name != "patient-view":
            shutil.rmtree(path.parent)
        else:
            text = path.read_text().splitlines()
            path.write_text("\n".join(line for line in text if not line.startswith(("first:", "  - "))) + "\n")
    return content


class Nth:
    """Makes the n-th opening of a file fail."""

    def __init__(self, which: int, error: type[Exception]) -> None:
        self.left, self.error, self.fired = which, error, False

    def __call__(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(*given: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                self.fired = True
                raise self.error(5, "made up")
            return real(*given, **named)

        return opened


def numbers() -> Iterator[int]:
    """Yield 1 to 20 one by one, then further and further apart."""
    yield from range(1, 21)
    number = 21
    while True:
        yield number
        number += number // 6


def test_whichever_file_cannot_be_opened_the_book_in_force_stays(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    RELIABILITY 3.50: the n-th opening fails, for n from 1 until none is left to fail.
    """
    first = load_book(small)
    for number in numbers():
        shelf, nth = Shelf(first), Nth(number, OSError)
        with monkeypatch.context() as patched:
            patched.setattr("io.open", nth(builtins.open))
            sound = shelf.reload(small)
        if not nth.fired:
            break
        assert (False, first) == (sound, shelf.book), number
        assert shelf.stale is not None
    assert sound
    assert 10 < number
    assert first.fingerprint == shelf.book.fingerprint


def test_the_patient_of_a_call_stands_in_its_answer_only(make_app: Callable[..., Flask]) -> None:
    """
    A thousand interleaved calls of forty patients (ten thousand against a running service: test_patients.py).
    """
    app = make_app()
    raws = {number: body(condition(), observation(value=7 + number / 10)) for number in range(40)}

    def ask(number: int) -> None:
        cards = str(post(app, raws[number % 40])["cards"])
        values = {one for one in range(40) if f"phosphate {7 + one / 10:.1f} mg/dL" in cards}
        assert {number % 40} == values

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(ask, range(1_000)))
    assert PATIENT
