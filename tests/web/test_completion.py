"""
What a call lacks is found: under the EHR's own keys, or at its FHIR server; nothing else is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from cds_service.adapters.ehr import LocalRecord
from cds_service.web import Settings, create_app
from tests.build import (
    LEFT_OUT,
    NOW,
    PATIENT,
    SERVICE,
    Resource,
    bundle,
    call,
    condition,
    entry,
    fired,
    observation,
    outcome,
    patient,
    prefetch,
    to_json,
)
from tests.faults.asking import SICK, Make, asking, post, reasons
from tests.faults.servers import Asked, Reply, Server, answering, fhir, not_found, running
from tests.fixtures import calls

Json = dict[str, Any]
QUERIES = calls.templates()
KEYS = tuple(QUERIES)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(answering(fhir(LocalRecord(PATIENT, SICK)))) as made:
        yield made


@pytest.fixture
def asked(server: Server) -> list[Asked]:
    """Return what the server is asked from now on."""
    server.asked.clear()
    return server.asked


@pytest.fixture(scope="module")
def app(make_app: Make, server: Server) -> Flask:
    return make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=5000)


def complete(**values: Any) -> Json:
    return prefetch(*SICK, **{"pastMedications": bundle(), **values})


def answer_of(app: Flask, raw: bytes) -> Json:
    response, _ = post(app, raw)
    assert 200 == response.status_code, response.text
    return dict(response.json or {})


def address(key: str) -> str:
    return "/fhir/" + QUERIES[key].replace("{{context.patientId}}", PATIENT)


# --- what is asked for -----------------------------------------------------------------------------------------------


def test_of_a_complete_call_nothing_is_asked(app: Flask, server: Server, asked: list[Asked]) -> None:
    answer_of(app, asking(server, complete()))

    assert [] == asked


def narrow(one: Asked) -> str:
    """Return the address that was asked, without the wish for the Medications that orders name."""
    return one.target.partition("&_include=")[0]


def test_without_prefetch_every_query_is_asked_once(app: Flask, server: Server, asked: list[Asked]) -> None:
    answer = answer_of(app, asking(server))

    assert sorted(map(address, KEYS)) == sorted(narrow(one) for one in asked)
    assert "eskd-hyperphosphatemia" in fired(answer)


@pytest.mark.parametrize("key", KEYS)
def test_only_the_missing_key_is_asked(app: Flask, server: Server, asked: list[Asked], key: str) -> None:
    answer = answer_of(app, asking(server, complete(**{key: LEFT_OUT})))

    assert [address(key)] == [narrow(one) for one in asked]
    assert "eskd-hyperphosphatemia" in fired(answer)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "value",
    [None, bundle(), bundle(total=LEFT_OUT), outcome(), bundle(entry(outcome("warning"), search={"mode": "outcome"}))],
    ids=["null", "empty", "empty without total", "failed", "Epic's empty"],
)
def test_what_the_client_has_looked_for_is_not_looked_for_again(
    app: Flask, server: Server, asked: list[Asked], key: str, value: Any
) -> None:
    post(app, asking(server, complete(**{key: value})))

    assert [] == asked


def test_without_a_server_nothing_is_asked(app: Flask, asked: list[Asked]) -> None:
    assert 412 == post(app, to_json(call({})))[0].status_code
    assert [] == asked


def test_what_was_fetched_is_said_nowhere_but_what_was_not_is(app: Flask, server: Server) -> None:
    whole = answer_of(app, asking(server, complete()))
    fetched = answer_of(app, asking(server))

    assert whole["extension"] == fetched["extension"] if "extension" in whole else "extension" not in fetched


# --- keys of the EHR's own -------------------------------------------------------------------------------------------


def found_at(query: str, *resources: Resource) -> Json:
    """Return a Bundle that says which search found it."""
    return bundle(*resources, link=[{"relation": "self", "url": f"https://ehr.example.org/fhir/{query}"}])


def filled(key: str) -> str:
    return QUERIES[key].replace("{{context.patientId}}", PATIENT)


@pytest.mark.parametrize("key", [key for key in KEYS if key != "patient"])
def test_a_renamed_key_is_known_by_what_it_holds_or_where_it_was_found(
    app: Flask, server: Server, asked: list[Asked], key: str
) -> None:
    sent = complete()
    sent[f"{key}-user"] = sent.pop(key) | {"link": [{"relation": "self", "url": f"{server.base}/fhir/{filled(key)}"}]}
    answer = answer_of(app, asking(server, sent))

    assert [] == asked
    assert "eskd-hyperphosphatemia" in fired(answer)


LABS = QUERIES["observations"].partition("code=")[2].partition("&")[0].split(",")
SPELLINGS = {
    "as we asked": filled("observations"),
    "in another order": f"Observation?_count=500&code={','.join(reversed(LABS))}&patient={PATIENT}",
    "escaped": f"Observation?patient=Patient%2F{PATIENT}&code={quote(','.join(LABS), safe='')}",
    "with systems": f"Observation?patient={PATIENT}&code={quote(','.join('http://loinc.org|' + one for one in LABS))}",
    "by subject": f"Observation?subject=Patient/{PATIENT}&code={','.join(LABS)}",
    "with further codes": f"Observation?patient={PATIENT}&code={','.join([*LABS, '1234-5'])}",
    "without codes": f"Observation?patient={PATIENT}",
    "posted": f"Observation/_search?patient={PATIENT}&code={','.join(LABS)}&_format=json",
}
NARROWER = {
    "fewer codes": f"Observation?patient={PATIENT}&code={','.join(LABS[1:])}",
    "a date": f"{filled('observations')}&date=ge2026-01-01",
    "a category": f"{filled('observations')}&category=laboratory",
    "another patient": f"Observation?patient=x&code={','.join(LABS)}",
    "another patient and ours": f"Observation?patient={PATIENT},x&code={','.join(LABS)}",
    "no patient": f"Observation?code={','.join(LABS)}",
    "the codes twice": f"Observation?patient={PATIENT}&code={LABS[0]}&code={','.join(LABS)}",
    "another kind": f"DiagnosticReport?patient={PATIENT}",
    "a read": f"Observation/{PATIENT}",
    "nothing": "",
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_an_empty_list_under_another_key_is_known_by_the_search_that_found_nothing(app: Flask, name: str) -> None:
    """
    Without it "no results" would be "not asked", and what is missing could not be said.
    """
    sent = complete(observations=LEFT_OUT) | {"labs-user": found_at(SPELLINGS[name])}
    answer = answer_of(app, to_json(call(sent)))

    assert "eskd-missing-labs" in fired(answer)


@pytest.mark.parametrize("name", NARROWER)
def test_an_empty_list_of_a_narrower_search_proves_nothing(app: Flask, name: str) -> None:
    sent = complete(observations=LEFT_OUT) | {"labs-user": found_at(NARROWER[name])}
    answer = answer_of(app, to_json(call(sent)))

    assert "eskd-missing-labs" not in fired(answer)
    assert "eskd-missing-labs" in {one["rule"] for one in answer["extension"]["org.calcinosis-cds"]["not_evaluated"]}


@pytest.mark.parametrize("value", [None, "x", 5, [], {}, {"link": 5}, {"link": [5]}, {"link": [{"relation": "self"}]}])
def test_a_strange_value_under_a_strange_key_is_left_alone(app: Flask, value: Any) -> None:
    assert 200 == post(app, to_json(call(complete() | {"strange": value})))[0].status_code
    assert post(app, to_json(call(complete(observations=LEFT_OUT) | {"strange": value})))[0].status_code in {200, 412}


# --- pages that the client did not send ------------------------------------------------------------------------------


def page_of(server: Server, *resources: Resource, next_: str = "") -> Json:
    link = next_ or f"{server.base}/fhir/Observation?page=2"
    return bundle(*resources, total=len(resources) + 1, link=[{"relation": "next", "url": link}])


def paged(second: Reply) -> Callable[[Asked], Reply]:
    return lambda asked: second if "page=2" in asked.target else not_found()


def test_the_pages_that_follow_a_prefetched_one_are_read(make_app: Make) -> None:
    """
    The first page has no phosphate; it stands on the second.
    """
    rest = Reply(bundle(observation(value=8.1), total=2))
    with running(answering(paged(rest))) as server:
        app = make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=5000)
        first = page_of(server, observation("potassium", 4.0, "mmol/L"))
        answer = answer_of(app, asking(server, complete(observations=first)))

        assert ["/fhir/Observation?page=2"] == server.paths
        assert "eskd-hyperphosphatemia" in fired(answer)
        assert "not_fetched" not in answer.get("extension", {}).get("org.calcinosis-cds", {})


@pytest.mark.parametrize("second", [Reply({}, 500), Reply({}, 404), Reply(b"{"), Reply({"resourceType": "Patient"})])
def test_where_they_cannot_be_read_the_first_page_counts_and_proves_nothing(make_app: Make, second: Reply) -> None:
    with running(answering(paged(second))) as server:
        app = make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=5000)
        first = page_of(server, observation("potassium", 4.0, "mmol/L"))
        answer = answer_of(app, asking(server, complete(observations=first)))

        assert "eskd-hyperphosphatemia" in {
            one["rule"] for one in answer["extension"]["org.calcinosis-cds"]["not_evaluated"]
        }


def test_a_page_elsewhere_is_not_read_and_the_answer_says_so(make_app: Make, server: Server) -> None:
    with running(answering(lambda _: Reply(bundle()))) as canary:
        app = make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=5000)
        first = page_of(server, observation(value=8.1), next_=f"{canary.base}/fhir/Observation?page=2")
        response, _ = post(app, asking(server, complete(observations=first)))

        assert (200, {"elsewhere"}, 0) == (response.status_code, reasons(response), canary.connections)


def test_without_access_a_page_that_follows_is_not_asked_for(app: Flask, server: Server, asked: list[Asked]) -> None:
    answer_of(app, to_json(call(complete(observations=page_of(server, observation(value=8.1))))))

    assert [] == asked


# --- the habits of servers -------------------------------------------------------------------------------------------


def plain(reply: Reply, _: Asked) -> Reply:
    return reply


def as_epic(reply: Reply, asked: Asked) -> Reply:
    """Epic: nothing found is a warning in the Bundle; references are absolute."""
    if "?" not in asked.target or reply.status != 200:
        return reply
    base = f"http://{asked.headers['host']}/fhir"
    body = json.loads(json.dumps(reply.body).replace('"reference": "Patient/', f'"reference": "{base}/Patient/'))
    if not body.get("entry"):
        nothing = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "processing"}]}
        body |= {"total": 0, "entry": [{"resource": nothing, "search": {"mode": "outcome"}}]}
    return Reply(body, kind="application/fhir+json; charset=utf-8")


def as_cerner(reply: Reply, _: Asked) -> Reply:
    """Cerner (Oracle Health): no total, an id and a self link of its own, the media type in capitals."""
    if isinstance(reply.body, dict) and reply.body.get("resourceType") == "Bundle":
        rest = {name: value for name, value in reply.body.items() if name != "total"}
        return Reply(rest | {"id": "00000000-0000-4000-8000-000000000000"}, kind="application/fhir+json;charset=UTF-8")
    return reply


def as_hapi(reply: Reply, asked: Asked) -> Reply:
    """HAPI: pages are fetched by a token at the base address, and what was included stands among the matches."""
    if not isinstance(reply.body, dict) or reply.body.get("resourceType") != "Bundle":
        return reply
    base = f"http://{asked.headers['host']}/fhir"
    links = [dict(link) for link in reply.body["link"]]
    for link in links:
        if link["relation"] == "next":
            link["url"] = f"{base}?_getpages={quote(link['url'].partition('/fhir/')[2], safe='')}&_bundletype=searchset"
    return Reply(reply.body | {"link": links, "meta": {"lastUpdated": "2026-03-01T00:00:00Z"}})


HABITS = {"plain": plain, "epic": as_epic, "cerner": as_cerner, "hapi": as_hapi}


def habitual(habit: str, *records: LocalRecord, page: int | None) -> Callable[[Asked], Reply]:
    """Answer with the habits of one kind of server."""
    usual = fhir(*records, page=page)

    def answer(asked: Asked) -> Reply:
        target = asked.target
        if "?_getpages=" in target:
            from urllib.parse import unquote

            target = "/fhir/" + unquote(target.partition("_getpages=")[2].partition("&")[0])
        meant = Asked(asked.method, target, asked.headers)
        return HABITS[habit](usual(meant), meant)

    return answer


REQUESTS = sorted(
    path
    for path in (calls.FIXTURES / "requests").glob("*/*.json")
    if "fhirAuthorization" not in json.loads(path.read_bytes())
)


def cards_without_prefetch(request: Json, habit: str, page: int | None) -> Json:
    """Return the answer that a hook call gets whose data stand on a FHIR server only."""
    member = request["context"]["patientId"]
    with running(answering(lambda asked: route(asked))) as server:  # noqa: PLW0108 - the record needs the address first
        record = calls.record(member)
        record.base = f"{server.base}/fhir"
        route = habitual(habit, record, page=page)
        numbers = count(1)
        app = create_app(
            Settings(
                auth="none",
                sandbox=True,
                fhir_allow=f"{server.base}/fhir",
                fhir_budget_ms=20_000,
                evidence_links=False,
            ),
            book=calls.book(),
            clock=lambda: calls.cast().noon,
            new_id=lambda: f"00000000-0000-4000-8000-{next(numbers):012d}",
        )
        bare = {name: value for name, value in request.items() if name not in ("prefetch", "fhirServer")}
        bare |= {"fhirServer": record.base, "fhirAuthorization": {"access_token": "x", "expires_in": 300}}
        response = app.test_client().post(f"/cds-services/calcinosis-{request['hook']}", json=bare)
    assert 200 == response.status_code, response.text
    return dict(response.get_json())


@pytest.mark.parametrize(("habit", "page"), [("plain", None), ("epic", None), ("cerner", 3), ("hapi", 4)])
@pytest.mark.parametrize("member", calls.cast().members, ids=lambda member: member.patient)
def test_the_cast_gets_the_same_cards_from_its_fhir_server(member: Any, habit: str, page: int | None) -> None:
    request = calls.call(member.patient)

    assert calls.answer(request) == cards_without_prefetch(request, habit, page)


@pytest.mark.parametrize(
    "path",
    [path for path in REQUESTS if path.parent.name != "patient-view"],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_every_hook_gets_the_same_cards_from_a_fhir_server(path: Any) -> None:
    request = json.loads(path.read_bytes())

    assert calls.answer(request)["cards"] == cards_without_prefetch(request, "plain", None)["cards"]


# --- two patients at once --------------------------------------------------------------------------------------------


def person(number: int) -> tuple[Resource, ...]:
    """Return a patient whose phosphate is hers alone."""
    name = f"pair-{number}"
    subject = {"reference": f"Patient/{name}"}
    value = round(7.0 + number / 10, 1)
    return (
        patient(id=name),
        condition(id=f"{name}-c", subject=subject),
        observation(id=f"{name}-o", value=value, subject=subject, days=1 + number),
    )


def interleaved(app: Flask, server: Server, number: int) -> list[str]:
    """Make one call for one of the patients, and return what is wrong with its answer."""
    who, fetched = number % 4, number // 4 % 2
    name = f"pair-{who}"
    context = {"userId": "Practitioner/1", "patientId": name}
    values = {} if fetched else prefetch(*person(who), pastMedications=bundle())
    response = app.test_client().post(
        SERVICE, data=asking(server, values, context=context), content_type="application/json"
    )
    text, answer = response.text, response.json or {}
    if response.status_code != 200:
        return [f"{name} {response.status_code} {text}"]
    wrong = [] if "eskd-hyperphosphatemia" in fired(answer) and f"{7.0 + who / 10:.1f}" in text else [f"{name} {text}"]
    return wrong + [f"{name} {other}" for other in range(4) if other != who and f"pair-{other}" in text] + [
        f"{name} {other}" for other in range(4) if other != who and f"phosphate {7.0 + other / 10:.1f}" in text.lower()
    ]  # fmt: skip


def mixed_up(app: Flask, server: Server, calls_: int, threads: int = 8) -> list[str]:
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda number: interleaved(app, server, number), range(calls_))
        return [one for several in found for one in several]


def pairs(make_app: Make, calls_: int) -> list[str]:
    with running(answering(fhir(*(LocalRecord(f"pair-{one}", person(one)) for one in range(4))))) as server:
        app = make_app(fhir_allow=f"{server.base}/fhir", fhir_budget_ms=30_000, fhir_calls=16)
        return mixed_up(app, server, calls_)


def test_patients_never_mix(make_app: Make) -> None:
    assert [] == pairs(make_app, 2_000)


if __name__ == "__main__":  # 10,000 calls: .venv/bin/python -m tests.web.test_completion
    import sys

    made = pairs(lambda **settings: create_app(Settings(auth="none", **settings), clock=NOW.timestamp), 10_000)
    sys.stdout.write(f"10000 calls, {len(made)} mixed up\n")
