"""What all processes agree on: quiet time, switches, used tokens; within seconds, and after a restart."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import cycle

import msgspec
import pytest

from cds_service.adapters.ledger import Ledger, Switches
from cds_service.adapters.ledger import quiet as remembering
from cds_service.adapters.ledger import replays as used
from cds_service.recording import CardRow
from cds_service.rules.quiet import Seen, Sight, Viewer
from tests.build import NOW
from tests.ledger.conftest import OpenLedger, card, overridden, row
from tests.moments import quickest

AT = NOW.timestamp()
VIEWER = Viewer("patient", "user", "encounter", "patient-view")


def seen(rule: str = "a-rule", at: float = AT, mark: str = "mark") -> Seen:
    return Seen(VIEWER, Sight(rule, "warning", mark, {}, frozenset({"lesion:x"})), at)


def shown(ledger: Ledger, name: str, *what: Seen) -> None:
    """Show a card, as a hook call does, and let its row be written."""
    ledger.quiet.remember(name, what)
    kept = [msgspec.to_builtins(one) for one in ledger.quiet.seen(name)]
    ledger.write(row(cards=(CardRow(name, "warning", ["a-rule"], [], kept),)))


@pytest.fixture
def in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a call may wait longer than it has patience for, and then goes on without the store."""
    monkeypatch.setattr(used, "PATIENCE", 20.0)


@pytest.fixture
def two(url: str, opened: OpenLedger, in_no_hurry: None) -> tuple[Ledger, Ledger]:
    """Give the ledgers of two processes."""
    return opened(url), opened(url)


def eventually(check: Callable[[], bool], seconds: float = 5.0) -> float:
    """Wait until something is so, and return for how long that was."""
    started = time.monotonic()
    while not check():
        assert time.monotonic() - started < seconds
        time.sleep(0.02)
    return time.monotonic() - started


# --- quiet time -------------------------------------------------------------------------------------------------------


def test_an_override_told_to_one_process_counts_in_the_other(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    shown(one, "card-1", seen())
    assert one.flush(60)
    other.feedback([overridden("card-1", AT + 60)], "a-service")
    one.look()
    other.look()

    for ledger in two:
        known = ledger.quiet.override(VIEWER, "a-rule", "")
        assert known is not None
        assert (AT + 60, seen().sight) == (known.at, known.sight)


def test_in_the_process_that_is_told_it_counts_at_once(two: tuple[Ledger, Ledger]) -> None:
    shown(two[0], "card-1", seen())
    two[0].feedback([overridden("card-1", AT + 60)], "a-service")

    assert two[0].quiet.override(VIEWER, "a-rule", "") is not None


def test_it_counts_at_once_also_where_another_process_showed_the_card(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    shown(one, "card-1", seen())
    assert one.flush(60)
    other.feedback([overridden("card-1", AT + 60)], "a-service")

    assert other.quiet.override(VIEWER, "a-rule", "") is not None


def test_a_card_in_the_ledger_is_remembered_by_nobody_and_can_be_answered(two: tuple[Ledger, Ledger]) -> None:
    one = two[0]
    shown(one, "card-1", seen())
    assert one.flush(60)
    assert (seen(),) == one.quiet.seen("card-1")
    one.look()
    assert () == one.quiet.seen("card-1")
    assert seen() == one.quiet.shown(VIEWER, "a-rule")

    one.feedback([overridden("card-1", AT + 60), overridden("card-1", AT + 30), overridden("unheard of")], "a-service")

    known = one.quiet.override(VIEWER, "a-rule", "")
    assert known is not None
    assert (AT + 60, seen().sight) == (known.at, known.sight)


def test_a_card_whose_row_is_damaged_stops_no_feedback(sqlite_url: str, opened: OpenLedger) -> None:
    ledger = opened(sqlite_url)
    shown(ledger, "card-1", seen())
    assert ledger.flush(60)
    with ledger.database.writing() as connection:
        connection.exec_driver_sql("UPDATE cards SET seen = '['")

    assert 1 == ledger.feedback([overridden("card-1")], "a-service")


def test_an_override_may_come_before_the_row_of_its_card(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    other.feedback([overridden("card-1", AT + 60)], "a-service")
    other.look()
    assert other.quiet.override(VIEWER, "a-rule", "") is None

    shown(one, "card-1", seen())
    assert one.flush(60)
    other.look()

    assert other.quiet.override(VIEWER, "a-rule", "") is not None


def test_what_was_shown_by_one_process_is_known_to_the_other(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    shown(one, "card-1", seen())
    assert one.flush(60)
    other.look()

    assert seen() == other.quiet.shown(VIEWER, "a-rule")


def test_a_process_that_is_far_behind_knows_the_newest_with_one_look(
    two: tuple[Ledger, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, late = two
    monkeypatch.setattr(remembering, "_AT_ONCE", 2)
    monkeypatch.setattr(remembering, "MOST", 5)
    late.feedback([overridden("card-0", AT + 60)], "a-service")
    late.look()
    for number in range(9):
        shown(one, f"card-{number}", seen(f"rule-{number}"))
    assert one.flush(60)
    one.feedback([overridden(f"card-{number}", AT + 60) for number in range(1, 9)], "a-service")
    late.look()

    assert [f"rule-{number}" for number in range(4, 9)] == [
        name for number in range(9) if late.quiet.shown(VIEWER, name := f"rule-{number}")
    ]
    assert all(late.quiet.override(VIEWER, f"rule-{number}", "") for number in range(9))


def test_late_news_replaces_nothing_newer(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    shown(one, "card-1", seen(at=AT))
    assert one.flush(60)
    other.quiet.remember("card-2", [seen(at=AT + 60, mark="newer")])
    other.look()

    known = other.quiet.shown(VIEWER, "a-rule")
    assert known is not None
    assert "newer" == known.sight.mark


def test_after_a_restart_the_same_is_quiet(url: str, opened: OpenLedger) -> None:
    before = opened(url)
    shown(before, "card-1", seen())
    assert before.flush(60)
    before.feedback([overridden("card-1", AT + 60)], "a-service")
    after = opened(url, now=lambda: AT + 3_600)

    assert after.quiet.override(VIEWER, "a-rule", "") is not None
    assert after.quiet.shown(VIEWER, "a-rule") is not None


def test_what_is_long_past_is_not_learned_again(url: str, opened: OpenLedger) -> None:
    before = opened(url)
    shown(before, "card-1", seen())
    assert before.flush(60)
    before.feedback([overridden("card-1", AT + 60)], "a-service")
    after = opened(url, now=lambda: AT + 401 * 86_400)

    assert (None, None) == (after.quiet.override(VIEWER, "a-rule", ""), after.quiet.shown(VIEWER, "a-rule"))


def test_what_an_older_version_wrote_keeps_nothing_quiet(two: tuple[Ledger, Ledger]) -> None:
    two[0].write(row(cards=(CardRow("card-1", "warning", ["a-rule"], [], [{"unheard": "of"}]),)))
    assert two[0].flush(60)
    two[1].feedback([overridden("card-1")], "a-service")
    two[1].look()

    assert two[1].quiet.override(VIEWER, "a-rule", "") is None
    assert "" == two[1].state().trouble


def test_the_pseudonyms_of_two_processes_are_the_same(two: tuple[Ledger, Ledger]) -> None:
    assert two[0].quiet.pseudonym("patient", "x") == two[1].quiet.pseudonym("patient", "x")


# --- switches ---------------------------------------------------------------------------------------------------------


def test_a_switch_counts_everywhere_within_five_seconds_and_after_a_restart(url: str, opened: OpenLedger) -> None:
    running = opened(url, start=True)
    operator = opened(url)
    turns = cycle((True, False))

    def attempt() -> float:
        off = next(turns)
        operator.switch("rule", "a-rule", off, "dr-1", "wrong in infants")
        return eventually(lambda: running.switches() == Switches(rules=frozenset({"a-rule"} if off else ())), 60)

    assert max(quickest(attempt, 5.0), quickest(attempt, 5.0)) < 5.0  # off, and on again
    operator.switch("rule", "a-rule", True, "dr-1", "wrong in infants")
    assert Switches(rules=frozenset({"a-rule"})) == opened(url).switches()

    operator.switch("rule", "a-rule", False, "dr-1", "corrected")
    eventually(lambda: running.switches() == Switches())


def test_switches_of_all_kinds_add_up(ledger: Ledger) -> None:
    ledger.switch("service", "one", True, "who", "why")
    ledger.switch("service", "two", True, "who", "why")
    ledger.switch("service", "two", False, "who", "why")
    ledger.switch("rule", "a", True, "who", "why")

    off = ledger.switches()
    assert (True, False) == (off.stops("one"), off.stops("two"))
    assert Switches(services=frozenset({"one"}), rules=frozenset({"a"})) == off
    ledger.switch("all", "", True, "who", "why")
    assert ledger.switches().stops("two")
    assert 5 == len(ledger.switched())


def test_who_switched_and_why_is_kept(ledger: Ledger) -> None:
    ledger.switch("rule", "a", True, "dr-1", "wrong")

    [one] = ledger.switched()
    assert ("rule", "a", True, AT, "dr-1", "wrong") == msgspec.structs.astuple(one)


def test_while_the_database_is_away_what_was_known_stays(sqlite_url: str, opened: OpenLedger) -> None:
    ledger = opened(sqlite_url)
    ledger.switch("rule", "a", True, "who", "why")
    path = ledger.database.path
    assert path is not None
    ledger.database.close()
    path.rename(path.with_suffix(".away"))
    ledger.look()
    assert (frozenset({"a"}), "ledger-gone") == (ledger.switches().rules, ledger.state().trouble)
    path.with_suffix(".away").rename(path)

    ledger.look()
    ledger.probe()

    assert "" == ledger.state().trouble


# --- used tokens ------------------------------------------------------------------------------------------------------


def test_a_token_is_used_once_in_all_processes(two: tuple[Ledger, Ledger]) -> None:
    one, other = two

    assert [False, True, True, False] == [
        one.replays.seen("iss", "jti", AT + 300, AT),
        other.replays.seen("iss", "jti", AT + 300, AT),
        one.replays.seen("iss", "jti", AT + 300, AT),
        other.replays.seen("other iss", "jti", AT + 300, AT),
    ]


def test_of_many_at_once_one_is_the_first(two: tuple[Ledger, Ledger]) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: two[n % 2].replays.seen("iss", "jti", AT + 300, AT), range(64)))

    assert 1 == answers.count(False)


def test_who_comes_second_does_not_take_the_place_of_the_first(
    two: tuple[Ledger, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's answer to the first is heard late: after that to the second, and all that the second does with it."""
    replays, ask = two[0].replays, two[0].replays._store.seen
    asked, second = threading.Event(), threading.Event()

    def late(name: str, until: float, now: float) -> bool:
        used = ask(name, until, now)
        asked.set()
        if not used:
            assert second.wait(20)
        return used

    monkeypatch.setattr(replays._store, "seen", late)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(replays.seen, "iss", "jti", AT + 300, AT)
        assert asked.wait(20)
        refused = replays.seen("iss", "jti", AT + 300, AT)
        second.set()

        assert (False, True) == (first.result(20), refused)


@pytest.mark.parametrize("place", [0, 1], ids=["let in here", "turned away here"])
def test_what_was_used_before_is_known_while_the_store_is_away(
    two: tuple[Ledger, Ledger], place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (two[place], two[1 - place]):
        each.replays.seen("iss", "jti", AT + 300, AT)

    def away(*_: object) -> bool:
        raise OSError

    monkeypatch.setattr(two[0].replays._store, "seen", away)

    assert [True, False, True] == [two[0].replays.seen("iss", jti, AT + 300, AT) for jti in ("jti", "new", "new")]


def test_an_id_may_come_again_when_its_token_has_expired(two: tuple[Ledger, Ledger]) -> None:
    two[0].replays.seen("iss", "jti", AT + 300, AT)

    assert not two[1].replays.seen("iss", "jti", AT + 900, AT + 301)
    assert two[1].replays.seen("iss", "jti", AT + 900, AT + 302)


def test_what_has_expired_is_purged(two: tuple[Ledger, Ledger]) -> None:
    for number in range(50):
        two[0].replays.seen("iss", str(number), AT + 300, AT)
    two[0].replays.purge(AT + 300 + used.APART + 1)
    two[1].replays.purge(AT + 300 + used.APART + 1)

    # Were the row still there, its later end would say that the token was used.
    assert not two[1].replays.seen("iss", "1", AT + 900, AT + 200)


def test_a_clock_that_is_ahead_purges_nothing_that_another_machine_would_let_in(two: tuple[Ledger, Ledger]) -> None:
    two[0].replays.seen("iss", "jti", AT + 300, AT)
    two[1].replays.purge(AT + 300 + used.APART - 1)

    assert two[1].replays.seen("iss", "jti", AT + 300, AT)


def test_a_token_survives_a_restart(url: str, opened: OpenLedger, in_no_hurry: None) -> None:
    opened(url).replays.seen("iss", "jti", AT + 300, AT)

    assert opened(url).replays.seen("iss", "jti", AT + 300, AT)


def test_without_the_store_calls_go_on_and_an_alarm_is_counted(
    sqlite_url: str, opened: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = opened(sqlite_url)
    ledger.replays.seen("iss", "before", AT + 300, AT)
    path = ledger.database.path
    assert path is not None
    with closing(sqlite3.connect(path.with_name("ledger.db.tokens"), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        asked, ask = list[str](), ledger.replays._store.seen

        def listened(name: str, until: float, now: float) -> bool:
            asked.append(name)
            return ask(name, until, now)

        monkeypatch.setattr(ledger.replays._store, "seen", listened)
        answers = [ledger.replays.seen("iss", "jti", AT + 300, AT) for _ in range(20)]

    assert [False] + [True] * 19 == answers  # this process at least remembers for itself
    assert 1 == len(asked), "the first waits, and then nobody for a while"
    assert (False, 20) == (ledger.replays.healthy, ledger.counted["replay store down"])
    monkeypatch.setattr(ledger.replays, "_rests_until", 1.0)
    ledger.replays.seen("iss", "afterwards", AT + 300, AT)
    assert ledger.replays.healthy


@pytest.fixture
def brief_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(used, "REST", 0.1)


def test_a_token_file_that_is_damaged_stops_nobody(sqlite_url: str, opened: OpenLedger, brief_rest: None) -> None:
    ledger = opened(sqlite_url)
    path = ledger.database.path
    assert path is not None
    path.with_name("ledger.db.tokens").write_bytes(b"nonsense" * 1000)

    assert not ledger.replays.seen("iss", "jti", AT + 300, AT)
    assert ledger.replays.seen("iss", "jti", AT + 300, AT)
    assert not ledger.replays.healthy


def test_a_card_of_nobody_is_not_taken_for_quiet(ledger: Ledger) -> None:
    ledger.write(row(cards=(card("card-9"),)))
    assert ledger.flush(60)
    ledger.feedback([overridden("card-9")], "a-service")
    ledger.look()

    assert ledger.quiet.override(VIEWER, "a-rule", "") is None
    assert "" == ledger.state().trouble
