"""
Prefetch values: absent, null, empty, failed and truncated mean different things (CHECKLIST.md D9 to D12).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cds_service.facts import Facts
from cds_service.protocol import State
from tests.build import (
    LEFT_OUT,
    Resource,
    bundle,
    condition,
    entry,
    measured,
    observation,
    outcome,
    patient,
    prescription,
    procedure,
    statement,
    to_json,
)
from tests.conftest import TakeIn

Sent = Callable[..., Facts]
WARNING = entry(outcome("warning"), search={"mode": "outcome"})
FAILURE = entry(outcome("error"), search={"mode": "outcome"})
NEXT = [{"relation": "self", "url": "http://x"}, {"relation": "next", "url": "http://x?page=2"}]
BUILD: dict[str, Callable[..., Resource]] = {
    "observations": observation,
    "conditions": condition,
    "medications": prescription,
    "statements": statement,
    "procedures": procedure,
}


def found_in(facts: Facts) -> int:
    """Count everything that rules could use."""
    several = (facts.diagnoses, facts.medications, facts.procedures)
    return len(measured(facts)) + sum(len(kind) for kind in several)


# --- states ----------------------------------------------------------------------------------------------------------

NOTHING: list[tuple[str, Any, State]] = [
    ("null", None, State.EMPTY),
    ("empty Bundle", bundle(), State.EMPTY),
    ("Bundle without total", bundle(total=LEFT_OUT), State.EMPTY),
    ("Bundle with an empty list", bundle(entry=[]), State.EMPTY),
    ("Bundle with total null", bundle(total=None), State.EMPTY),
    ("Epic's empty search: a warning", bundle(WARNING, total=0), State.EMPTY),
    ("OperationOutcome", outcome("error"), State.FAILED),
    ("OperationOutcome of warning", outcome("warning"), State.FAILED),
    ("OperationOutcome without an issue", outcome(issue=[]), State.FAILED),
    ("Bundle of an error", bundle(FAILURE, total=0), State.FAILED),
    ("Bundle of an outcome without issues", bundle(entry(outcome(issue=[])), total=0), State.FAILED),
    ("an HTML page", "<html>502 Bad Gateway</html>", State.FAILED),
    ("a number", 5, State.FAILED),
    ("a list", [], State.FAILED),
    ("an empty object", {}, State.FAILED),
    ("an object without a type", {"entry": []}, State.FAILED),
    ("a type that is a number", {"resourceType": 5}, State.FAILED),
    ("pre-1.0", {"response": {"status": "200"}, "resource": bundle()}, State.FAILED),
    ("Bundle whose entries are an object", bundle(entry={}), State.FAILED),
    ("Bundle whose entries are null", bundle(entry=None), State.FAILED),
    ("Bundle that says there are more", bundle(total=3), State.TRUNCATED),
    ("Bundle with a next link", bundle(link=NEXT), State.TRUNCATED),
    ("Bundle of nulls", bundle(entry=[None, None], total=0), State.EMPTY),
    ("Bundle of entries without a resource", bundle(entry=[{}, {"resource": None}], total=0), State.EMPTY),
]


@pytest.mark.parametrize("key", list(BUILD))
@pytest.mark.parametrize(("value", "state"), [row[1:] for row in NOTHING], ids=[row[0] for row in NOTHING])
def test_what_holds_nothing_says_why(sent: Sent, key: str, value: Any, state: State) -> None:
    found = sent(patient=patient(), **{key: value})

    assert (state, 0) == (found.state(key), found_in(found))


@pytest.mark.parametrize("key", list(BUILD))
def test_a_key_that_was_not_sent_is_absent_and_leaves_the_others_alone(sent: Sent, key: str) -> None:
    others = {other: bundle() for other in BUILD if other != key}
    found = sent(**others)

    assert State.ABSENT is found.state(key)
    assert {State.EMPTY} == {found.state(other) for other in others}


SOMETHING: list[tuple[str, Resource, State]] = [
    ("complete", {}, State.COMPLETE),
    ("total absent", {"total": LEFT_OUT}, State.COMPLETE),
    ("total too small", {"total": 0}, State.COMPLETE),
    ("total larger", {"total": 2}, State.TRUNCATED),
    ("total unreadable", {"total": "many"}, State.TRUNCATED),
    ("next link", {"link": NEXT}, State.TRUNCATED),
    ("other links", {"link": NEXT[:1]}, State.COMPLETE),
    ("no links", {"link": []}, State.COMPLETE),
    ("links null", {"link": None}, State.COMPLETE),
    ("links unreadable", {"link": "http://x?page=2"}, State.TRUNCATED),
    ("a link that is null", {"link": [None]}, State.TRUNCATED),
    ("a link that is text, and next", {"link": ["http://x", NEXT[1]]}, State.TRUNCATED),
    ("collection", {"type": "collection"}, State.COMPLETE),
    ("no type", {"type": LEFT_OUT}, State.COMPLETE),
    ("more members than FHIR knows", {"type": 5, "signature": 5, "x": [1]}, State.COMPLETE),
]


@pytest.mark.parametrize("key", list(BUILD))
@pytest.mark.parametrize(("members", "state"), [row[1:] for row in SOMETHING], ids=[row[0] for row in SOMETHING])
def test_what_holds_something_says_whether_it_is_all(sent: Sent, key: str, members: Resource, state: State) -> None:
    found = sent(**{key: bundle(BUILD[key](), **members)})

    assert state is found.state(key)
    assert found_in(found)


@pytest.mark.parametrize(
    ("extra", "state"),
    [(WARNING, State.COMPLETE), (FAILURE, State.TRUNCATED)],
    ids=["a warning", "an error"],
)
def test_an_outcome_beside_results_says_whether_they_are_all(sent: Sent, extra: Resource, state: State) -> None:
    found = sent(observations=bundle(entry(observation()), extra, total=1))

    assert (state, 1) == (found.state("observations"), found_in(found))


def test_included_resources_are_not_counted_as_matches(sent: Sent) -> None:
    found = sent(observations=bundle(entry(observation()), entry(patient(), search={"mode": "include"}), total=2))

    assert State.TRUNCATED is found.state("observations")


# --- entry by entry --------------------------------------------------------------------------------------------------

BROKEN: list[tuple[str, Any, bool]] = [
    ("null", None, True),
    ("an empty entry", {}, True),
    ("a null resource", {"resource": None}, True),
    ("a number", 5, False),
    ("a resource that is text", {"resource": "x"}, False),
    ("a resource that is a list", {"resource": []}, False),
    ("a result of another shape", entry(observation(status=5)), False),
    ("a result with an id that is a number", entry(observation(id=5)), False),
    ("a condition of another shape", entry(condition(onsetDateTime=5)), False),
    ("a search mode that is a number", entry(observation("0000-0"), search={"mode": 5}), True),
    ("a URL that is a number", entry(observation("0000-0"), fullUrl=5), True),
    ("an unrelated kind", entry({"resourceType": "Immunization", "id": "i", "status": "completed"}), True),
    ("an unrelated kind of another shape", entry({"resourceType": "Account", "id": "a", "subject": [{}]}), True),
    ("a resource without a type", entry({"id": "x"}), False),
    ("a resource without a type, of the patient", entry({"id": "x", "subject": {"reference": "Patient/pat-1"}}), False),
    ("a Bundle", entry(bundle(observation(value=9.9))), False),
]


@pytest.mark.parametrize(("broken", "harmless"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_one_entry_that_cannot_be_read_hides_no_other(sent: Sent, broken: Any, harmless: bool, first: bool) -> None:
    """
    What was found counts. What could not be read may have been anything: what is not found proves nothing then.
    """
    good = entry(observation())
    entries = [broken, good] if first else [good, broken]
    found = sent(observations=bundle(entry=entries, total=1))

    assert [7.1] == [float(result.value) for result in found.measurements["phosphate"]]
    assert (State.COMPLETE if harmless else State.TRUNCATED) is found.state("observations")


def test_what_could_not_be_read_is_counted_under_its_kind(sent: Sent) -> None:
    found = sent(conditions=bundle(condition(), condition(recordedDate=5)))

    assert [("conditions", "misfit")] == [(aside.kind, aside.reason) for aside in found.set_aside]


@pytest.mark.parametrize("kind", ["OperationOutcome", "Observation", "Immunization", "Nonsense"])
def test_very_many_entries_are_read_in_a_moment(sent: Sent, kind: str) -> None:
    """
    The time grows with the number of entries, not with its square.
    """
    issue = [{"severity": "warning"}]
    many = [{"resource": {"resourceType": kind, "id": f"i{place}", "issue": issue}} for place in range(20_000)]

    assert 0 == found_in(sent(observations=bundle(entry=many)))


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", list(BUILD))
def test_a_renamed_key_is_known_by_what_it_holds(sent: Sent, key: str) -> None:
    """
    Epic's analysts copy templates into their own records, under keys of their own (EHRS.md).
    """
    found = sent(**{f"our-{key}": bundle(BUILD[key](), link=NEXT)})

    assert (State.TRUNCATED, 1) == (found.state(key), min(found_in(found), 1))


def test_an_empty_value_under_an_unknown_key_says_nothing(sent: Sent) -> None:
    assert State.ABSENT is sent(whatever=bundle()).state("conditions")


@pytest.mark.parametrize("first", ["a", "z"])
def test_two_values_of_one_kind_are_as_complete_as_the_worse(sent: Sent, first: str) -> None:
    found = sent(**{f"{first}1": bundle(observation()), "m2": bundle(observation("pth", 300), link=NEXT)})

    assert State.TRUNCATED is found.state("observations")


def test_values_under_each_others_keys_are_known_by_what_they_hold(sent: Sent) -> None:
    found = sent(conditions=bundle(observation(), link=NEXT), observations=bundle(condition()))

    assert (State.TRUNCATED, State.COMPLETE) == (found.state("observations"), found.state("conditions"))


def test_a_value_of_another_kind_does_not_say_that_there_is_nothing(sent: Sent) -> None:
    """
    Results under the key of the conditions leave the conditions unknown, not empty.
    """
    found = sent(conditions=bundle(observation()), observations=bundle(observation()))

    assert not found.state("conditions").conclusive


@pytest.mark.parametrize("key", list(BUILD))
def test_one_resource_in_place_of_a_search_result_counts_but_is_not_all(sent: Sent, key: str) -> None:
    found = sent(**{key: BUILD[key]()})

    assert (State.TRUNCATED, True) == (found.state(key), found_in(found) > 0)


@pytest.mark.parametrize("value", [patient(), bundle(patient())], ids=["read", "search"])
def test_the_patient_may_come_as_a_read_or_as_a_search(sent: Sent, value: Resource) -> None:
    found = sent(patient=value)

    assert (State.COMPLETE, "female") == (found.state("patient"), found.person.sex)


def test_prefetch_that_is_absent_null_or_empty_leaves_everything_absent(facts: TakeIn) -> None:
    from cds_service.protocol import HookRequest
    from tests.build import call

    values: list[Any] = [LEFT_OUT, None, {}]
    for value in values:
        request = HookRequest.parse(to_json(call(value)), "patient-view")

        assert {} == dict(request.prefetch)
