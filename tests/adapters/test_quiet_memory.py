"""
The memory behind quiet times: keyed, bounded, safe for threads.
"""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from cds_service.adapters.quiet_memory import QuietMemory
from cds_service.rules.quiet import QuietState, Seen, Sight, Viewer

VIEWER = Viewer("patient", "user", "encounter", "patient-view")


def seen(rule: str = "rule", at: float = 0, viewer: Viewer = VIEWER, drafts: str = "") -> Seen:
    """Return a finding that was shown."""
    return Seen(viewer, Sight(rule, "warning", "mark", drafts=drafts), at)


@pytest.fixture
def memory() -> QuietMemory:
    return QuietMemory(b"key")


def test_it_keeps_the_contract(memory: QuietMemory) -> None:
    state: QuietState = memory

    assert state is memory


def test_what_was_shown_is_found_by_patient_encounter_user_and_rule(memory: QuietMemory) -> None:
    memory.remember("card", [seen()])

    assert seen() == memory.shown(VIEWER, "rule")
    assert memory.shown(VIEWER, "another") is None
    for other in (Viewer("p", "user", "encounter", ""), Viewer("patient", "u", "encounter", "")):
        assert memory.shown(other, "rule") is None


def test_a_finding_is_found_whole() -> None:
    memory = QuietMemory(b"key")
    values, known = {"phosphate": Decimal("7.10")}, frozenset({"lesion:one", "lesion:two"})
    whole = Seen(Viewer("p", "u", "e", "h", "nurse"), Sight("r", "warning", "mark", values, known, "drafts"), 1.5e9)
    memory.remember("card", [whole])
    memory.overridden("card", whole.at)

    assert (whole,) == memory.seen("card")
    assert whole == memory.shown(whole.viewer, "r")
    assert whole == memory.override(whole.viewer, "r", "drafts")


def test_what_was_shown_outside_of_an_encounter_is_not_kept(memory: QuietMemory) -> None:
    viewer = Viewer("patient", "user", "", "patient-view")
    memory.remember("card", [seen(viewer=viewer)])

    assert memory.shown(viewer, "rule") is None
    assert memory.overridden("card", 1.0)


def test_a_card_can_be_forgotten_and_what_it_showed_stays_shown(memory: QuietMemory) -> None:
    memory.remember("card", [seen()])
    memory.forget("card")
    memory.forget("never heard of")

    assert () == memory.seen("card")
    assert seen() == memory.shown(VIEWER, "rule")


def test_a_finding_takes_half_a_kilobyte_at_most(memory: QuietMemory) -> None:
    def showing(number: int) -> Seen:
        patient, user, encounter, mark = (memory.pseudonym(what, str(number)) for what in ("p", "u", "e", "m"))
        sight = Sight("eskd-hyperphosphatemia", "warning", mark, {"phosphate": Decimal("7.1")})
        return Seen(Viewer(patient, user, encounter, "patient-view"), sight, float(number))

    tracemalloc.start()
    for number in range(4_000):
        memory.remember("the same card", [showing(number)])
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert taken / 4_000 < 512


def test_an_override_counts_for_every_finding_of_the_card_and_every_user(memory: QuietMemory) -> None:
    memory.remember("card", [seen("one"), seen("two", drafts="draft")])
    colleague = Viewer("patient", "colleague", "", "encounter-start")

    assert memory.overridden("card", 7.0)
    assert (found := memory.override(colleague, "one", ""))
    assert 7.0 == found.at
    assert memory.override(colleague, "two", "draft")
    assert memory.override(colleague, "two", "") is None
    assert memory.override(Viewer("another", "user", "", ""), "one", "") is None


def test_an_override_counts_for_the_role_that_gave_it(memory: QuietMemory) -> None:
    nurse = Viewer("patient", "user", "", "patient-view", role="nurse")
    memory.remember("card", [seen(viewer=nurse)])
    memory.overridden("card", 1.0)

    assert memory.override(nurse, "rule", "")
    assert memory.override(VIEWER, "rule", "") is None


def test_a_card_that_is_not_known_is_no_override(memory: QuietMemory) -> None:
    assert not memory.overridden("unknown", 1.0)


def test_pseudonyms_are_keyed_and_do_not_hold_what_they_stand_for(memory: QuietMemory) -> None:
    one = memory.pseudonym("patient", "https://ehr.example", "pat-1")

    assert one == memory.pseudonym("patient", "https://ehr.example", "pat-1")
    assert one != QuietMemory(b"other").pseudonym("patient", "https://ehr.example", "pat-1")
    assert memory.pseudonym("a", "bc") != memory.pseudonym("ab", "c")
    assert "pat-1" not in one


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    memory = QuietMemory(b"key", most=2)
    memory.remember("a", [seen("a")])
    memory.remember("b", [seen("b")])
    memory.shown(VIEWER, "a")
    memory.remember("c", [seen("c")])

    assert memory.shown(VIEWER, "a")
    assert memory.shown(VIEWER, "b") is None
    assert not memory.overridden("a", 1.0)


def test_many_threads_leave_it_whole() -> None:
    memory = QuietMemory(b"key", most=50)

    def work(number: int) -> None:
        memory.remember(str(number), [seen(str(number % 70))])
        memory.shown(VIEWER, str(number % 70))
        memory.overridden(str(number), float(number))
        memory.override(VIEWER, str(number % 70), "")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(2_000)))

    assert sum(memory.shown(VIEWER, str(number)) is not None for number in range(70)) <= 50
