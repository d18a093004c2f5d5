"""Metrics: what they say, from all processes; who may see them; what they cost; and that their table is true."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from cds_service.errors import SettingsError, Unavailable
from cds_service.web import Settings, create_app
from cds_service.web.metrics import METRICS, Board, Snapshot, Tally, Told, key
from cds_service.web.operations import PING, _series
from tests.build import NOW, ROOT, SERVICE, body, condition, observation
from tests.moments import quickest, spent

JSON: dict[str, Any] = {"content_type": "application/json"}
NAME = "calcinosis-patient-view"
HERE = {"REMOTE_ADDR": "127.0.0.1"}
TEXT = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")


def read(app: Flask, **labels: str) -> dict[str, float]:
    """Return the series that have these labels, by the name of their sample."""
    text = app.test_client().get("/metrics", environ_base=HERE).get_data(as_text=True)
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if labels.items() <= sample.labels.items():
                found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def call(app: Flask, raw: bytes, path: str = SERVICE, **options: Any) -> int:
    return app.test_client().post(path, data=raw, **(JSON | options)).status_code


# --- what they say ---------------------------------------------------------------------------------------------------


def test_a_call_is_counted_with_its_cards_and_verdicts(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    assert 200 == call(app, body(condition(), observation(value=8.1)))
    every = read(app)

    assert 1 == read(app, service=NAME, status="200")["cds_calls_total"]
    assert 1 <= read(app, service=NAME)["cds_cards_total"]
    assert 1 == every["cds_call_seconds_count"]
    assert 0 < every["cds_call_seconds_sum"] < 10
    assert 1 == read(app, le="+Inf")["cds_call_seconds_bucket"]
    assert 1 == read(app, rule="eskd-hyperphosphatemia", verdict="yes")["cds_verdicts_total"]
    assert 0 == every["cds_rules_stale"]


def test_both_roads_are_counted_alike(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    for headers in ({}, {"Origin": "https://sandbox.example"}):
        call(app, body(condition(), observation(value=8.1)), headers=headers)

    assert 2 == read(app, service=NAME, status="200")["cds_calls_total"]


@pytest.mark.parametrize(
    ("raw", "path", "status", "reason"),
    [
        (b"{", SERVICE, 400, "not-json"),
        (body(), f"{SERVICE}-MARKED", 404, "unknown-service"),
        (body(observation(subject={"reference": "Patient/MARKED"})), SERVICE, 412, "wrong-patient"),
    ],
)
def test_a_refusal_is_counted_by_its_reason(
    make_app: Callable[..., Flask], raw: bytes, path: str, status: int, reason: str
) -> None:
    app = make_app()
    assert status == call(app, raw, path)

    assert 1 == read(app, reason=reason)["cds_refusals_total"]
    assert 1 == read(app, status=str(status))["cds_calls_total"]


def test_no_label_comes_from_what_a_client_sends(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    raw = body(condition(code="MARKED"), hookInstance="MARKED", hook="MARKED")
    for path in (SERVICE, "/cds-services/MARKED", "/MARKED", f"{SERVICE}?MARKED"):
        for headers in ({"X-Request-Id": "MARKED"}, {"Authorization": "Bearer MARKED", "Content-Encoding": "MARKED"}):
            call(app, raw, path, headers=headers)
    text = app.test_client().get("/metrics", environ_base=HERE).get_data(as_text=True)

    assert "unknown" in text
    assert "MARKED" not in text


def test_what_the_engine_counts_has_its_series() -> None:
    assert key("cds_verdicts", "r", "no") == _series("no r")
    assert key("cds_pilot_verdicts", "r", "yes") == _series("silent yes r")
    assert key("cds_rule_failures", "r", "KeyError") == _series("failed r KeyError")
    assert key("cds_events", "dropped stranger") == _series("dropped stranger")


# --- from all processes ----------------------------------------------------------------------------------------------


def told(tally: Tally, *seconds: float) -> None:
    for one in seconds:
        tally.told.append(Told("s", 200, "", one))


def calls(tally: Tally) -> float:
    text = tally.text().decode()
    found = re.findall(r'^cds_calls_total\{service="s",status="200"\} (\S+)$', text, re.MULTILINE)
    return float(found[0]) if found else 0.0


def test_each_process_shows_what_all_have_counted() -> None:
    board = Board(3)
    first, second = Tally(board), Tally(board)
    first.begin(0)
    second.begin(1)
    told(first, 0.1, 0.2)
    told(second, 0.3)
    second.flush()

    assert 3 == calls(first)
    assert 3 == calls(second)


def test_who_replaces_a_process_goes_on_counting_where_it_left_off() -> None:
    board = Board(2)
    first = Tally(board)
    first.begin(1)
    told(first, 0.1, 0.2)
    first.flush()
    after = Tally(board)
    after.begin(1)
    told(after, 0.1)

    assert 3 == calls(after)


def test_a_process_without_a_place_disturbs_nobody() -> None:
    board = Board(1)
    first, surplus = Tally(board), Tally(board)
    first.begin(0)
    surplus.begin(None)
    told(surplus, 0.1)
    told(first, 0.1)
    surplus.flush()

    assert 1 == calls(first)


def test_gauges_of_a_process_that_is_gone_do_not_count() -> None:
    now = [100.0]
    board = Board(2)
    gone = Tally(board, gauges=lambda: {"cds_workers": 1}, clock=lambda: now[0])
    alive = Tally(board, gauges=lambda: {"cds_workers": 1}, clock=lambda: now[0])
    gone.begin(0)
    alive.begin(1)
    gone.flush()
    assert b"\ncds_workers 2.0\n" in alive.text()
    now[0] += 6

    assert b"\ncds_workers 1.0\n" in alive.text()


def test_the_highest_counts_where_a_sum_says_nothing() -> None:
    board = Board(2)
    both = [Tally(board, gauges=lambda: {"cds_rules_stale": 1}) for _ in range(2)]
    for place, one in enumerate(both):
        one.begin(place)
        one.flush()

    assert b"\ncds_rules_stale 1.0\n" in both[0].text()


def test_what_does_not_fit_its_place_is_left_as_it_was() -> None:
    board = Board(1)
    assert board.write(0, Snapshot(1.0, {"a": 1}))
    assert not board.write(0, Snapshot(2.0, {"x" * 200_000: 1}))

    assert {"a": 1} == board.read(0).counts


def test_a_reader_never_sees_half_of_what_is_written() -> None:
    import threading

    board, over, seen = Board(1), threading.Event(), set[float]()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            board.write(0, Snapshot(number, dict.fromkeys(map(str, range(50 + number % 50)), number)))

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(2_000):
        values = set(board.read(0).counts.values())
        assert len(values) <= 1
        seen |= values
    over.set()
    thread.join()
    assert len(seen) > 1


# --- who may see them ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("10.0.0.7", {}, 404),
        ("", {}, 404),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.7"}, 404),
        ("127.0.0.1", {"Forwarded": "for=10.0.0.7"}, 404),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}, 404),
    ],
)
def test_without_a_token_only_this_machine_sees_them(
    app: Flask, address: str, headers: dict[str, str], status: int
) -> None:
    answer = app.test_client().get("/metrics", headers=headers, environ_base={"REMOTE_ADDR": address})

    assert status == answer.status_code


def test_with_a_token_whoever_has_it_and_nobody_else(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret-s3cret-s3cret\n")
    client = make_app(metrics_token_file=str(tmp_path / "token")).test_client()

    def ask(header: str, address: str = "10.0.0.7") -> int:
        headers = {"Authorization": header} if header else {}
        return client.get("/metrics", headers=headers, environ_base={"REMOTE_ADDR": address}).status_code

    assert 200 == ask("Bearer s3cret-s3cret-s3cret")
    assert [404] * 4 == [ask(""), ask("Bearer s3cret"), ask("Basic s3cret-s3cret-s3cret"), ask("Bearer é")]
    assert 404 == ask("", "127.0.0.1")


@pytest.mark.parametrize("token", ["", "short", "two words that are long enough"])
def test_a_weak_token_is_refused_at_the_start(make_app: Callable[..., Flask], tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)

    with pytest.raises(SettingsError, match="metrics"):
        make_app(metrics_token_file=str(tmp_path / "token"))


# --- what they cost --------------------------------------------------------------------------------------------------


def test_a_call_costs_less_than_ten_microseconds() -> None:
    """
    What a call waits for is one append; adding up happens beside it, and is counted here too.
    """
    tally = Tally(Board())
    many = 5_000

    def once() -> float:
        since = time.process_time()
        for _ in range(many):
            tally.told.append(Told(NAME, 200, "", 0.003, ("warning", "info"), ()))
        tally.flush()
        return (time.process_time() - since) / many

    assert 10e-6 > min(once() for _ in range(5))


# --- the probes ------------------------------------------------------------------------------------------------------


def test_a_service_that_is_well_says_so(app: Flask) -> None:
    answer = app.test_client().get("/readyz")

    assert (200, {"status": "ready", "answers": True, "reasons": []}) == (answer.status_code, answer.json)


class Sick:
    """A ledger that cannot be used."""

    def __init__(self, problem: Exception | None = None, seconds: float = 0.0) -> None:
        self.problem, self.seconds = problem, seconds

    def switches(self) -> Any:
        from cds_service.adapters.ledger import Switches

        return Switches(everything=isinstance(self.problem, KeyError))

    def ping(self) -> None:
        time.sleep(self.seconds)
        if self.problem is not None:
            raise self.problem


@pytest.mark.parametrize(
    ("ledger", "reasons", "answers"),
    [
        (Sick(Unavailable("x", slug="ledger-full")), ["ledger-full"], True),
        (Sick(Unavailable("x", slug="locked")), ["ledger-locked"], True),
        (Sick(RuntimeError("MARKED")), ["ledger-broken"], True),
        (Sick(seconds=PING + 1), ["ledger-slow"], True),
        (Sick(KeyError()), ["all-switched-off", "ledger-broken"], False),
    ],
)
def test_trouble_with_the_ledger_is_said_within_a_second(
    make_app: Callable[..., Flask], ledger: Any, reasons: list[str], answers: bool
) -> None:
    app = make_app()
    app.extensions["cds"].ledger = ledger

    def ask() -> None:
        full, only_calls = app.test_client().get("/readyz"), app.test_client().get("/readyz?calls")

        assert (503, reasons) == (full.status_code, (full.json or {})["reasons"])
        assert (200 if answers else 503, answers) == (only_calls.status_code, (only_calls.json or {})["answers"])

    assert PING * 2 + 1 > quickest(lambda: spent(ask), PING * 2 + 1)


def test_keys_that_were_never_had_are_said(book: Any) -> None:
    app = create_app(Settings(auth="none"), book=book, clock=NOW.timestamp)

    class Verifier:
        ready = False

    app.extensions["cds"].door.verifier = Verifier()
    answer = app.test_client().get("/readyz?calls")

    assert (503, ["keys-missing"]) == (answer.status_code, (answer.json or {})["reasons"])


# --- the documents ---------------------------------------------------------------------------------------------------


def test_every_metric_has_its_row_and_every_row_its_metric() -> None:
    rows = re.findall(r"^\| `(cds_[a-z_]+)` \|([^|]*)\|([^|]*)\|([^|]*)\|$", TEXT, re.MULTILINE)

    assert [(one.name, one.kind, ", ".join(one.labels), one.means) for one in METRICS] == [
        tuple(part.strip() for part in row) for row in rows
    ]


def test_every_reason_of_the_probe_has_its_row() -> None:
    source = (ROOT / "cds_service" / "web" / "operations.py").read_text(encoding="utf-8")
    said = set(re.findall(r'found\.append\("([a-z-]+)"\)', source)) | {"ledger-slow", "ledger-not-shared"}
    part = TEXT.partition("## Is it well")[2].partition("## Metrics")[0]

    assert said == set(
        re.findall(r"`([a-z]+(?:-[a-z]+)*)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", part, re.MULTILINE)))
    )


def test_every_field_of_the_log_has_its_row() -> None:
    from cds_service.web.logs import ALLOWED

    part = TEXT.partition("## Logs")[2].partition("## Limits")[0]
    shown = set(re.findall(r"`([a-z_]+)`", "\n".join(re.findall(r"^\| ([^|]*) \|", part, re.MULTILINE))))

    assert {*ALLOWED, "time", "level"} == shown
