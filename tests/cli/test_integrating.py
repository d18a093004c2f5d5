"""The commands for integrators: doctor, lint-request, prefetch --for, collection, fire --without-prefetch."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cds_service.cli.collection import HTTP, POSTMAN
from cds_service.linting import needs
from cds_service.publishing.registering import EHRS
from cds_service.rules import RuleBook
from tests.build import ROOT
from tests.cli.conftest import Run

REQUESTS = ROOT / "fixtures" / "requests" / "patient-view"
Json = dict[str, Any]


@contextmanager
def answering(pages: Mapping[str, Any], *, ahead: float = 0.0, pause: float = 0.0) -> Iterator[str]:
    """Serve JSON documents by path, with a clock that is so many seconds ahead, after a pause."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(pause)
            found = pages.get(self.path)
            raw = json.dumps(found).encode()
            self.send_response_only(200 if found is not None else 404)
            self.send_header("Date", formatdate(time.time() + ahead, usegmt=True))
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def statement(book: RuleBook) -> Json:
    """Give what a server says that can do all we ask."""
    wanted = needs(query for one in book.services.values() for query in one.service.prefetch.values())
    resources = [
        {
            "type": kind,
            "interaction": [{"code": code} for code in need.interactions],
            "searchParam": [{"name": name, "type": "token"} for name in need.parameters],
        }
        for kind, need in wanted.items()
    ]
    return {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "software": {"name": "Invented FHIR", "version": "7"},
        "rest": [{"mode": "server", "resource": resources}],
    }


@pytest.fixture
def doctor(run: Run, tmp_path: Path) -> Callable[..., Any]:
    """Run the doctor with settings, and give exit code and checks."""

    def look(**settings: str) -> tuple[int, list[Json]]:
        ready = {"CDS_PUBLIC_URL": "https://cds.example", "CDS_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db"}
        result = run("doctor", "--json", **{"CDS_AUTH": "none", **ready, **settings})
        return result.exit_code, json.loads(result.output)["checks"] if result.output.startswith("{") else []

    return look


def of(checks: list[Json], about: str) -> list[Json]:
    return [one for one in checks if one["about"].startswith(about)]


# --- doctor ----------------------------------------------------------------------------------------------------------


def test_a_service_that_has_everything_is_well(doctor: Callable[..., Any], statement: Json) -> None:
    with answering({"/fhir/metadata": statement}) as url:
        code, checks = doctor(CDS_FHIR_ALLOW=f"{url}/fhir")

    assert 0 == code
    assert {"ok", "note"} == {one["status"] for one in checks}
    assert "Invented FHIR 7" in of(checks, "FHIR")[0]["said"]
    assert "not made yet" in of(checks, "database")[0]["said"].lower()


def test_the_doctor_speaks_in_sentences(run: Run, tmp_path: Path) -> None:
    result = run("doctor", CDS_AUTH="jwt", CDS_DATABASE_URL=f"sqlite:///{tmp_path}/x.db")

    assert 0 == result.exit_code
    assert "CDS_ISSUERS names no file of issuers" in result.output
    assert "CDS_PUBLIC_URL is not set" in result.output
    assert "0 wrong" in result.output


def test_a_setting_that_is_wrong_ends_the_examination(doctor: Callable[..., Any]) -> None:
    code, checks = doctor(CDS_AUTH="basic")

    assert (1, ["settings"]) == (code, [one["about"] for one in checks])


def test_content_that_is_not_sound_is_told_and_the_rest_looked_at(doctor: Callable[..., Any], content: Path) -> None:
    rule = content / "rules" / "metastatic" / "eskd-hyperphosphatemia.yaml"
    rule.write_text(rule.read_text(encoding="utf-8").replace("latest:", "lastest:"), encoding="utf-8")

    code, checks = doctor(CDS_CONTENT=str(content))

    assert 1 == code
    assert "error" == of(checks, "content")[0]["status"]
    assert of(checks, "database")


def test_a_server_that_lacks_a_parameter_is_told_with_what_it_costs(
    doctor: Callable[..., Any], statement: Json
) -> None:
    for one in statement["rest"][0]["resource"]:
        one["searchParam"] = [each for each in one["searchParam"] if each["name"] != "clinical-status"]
    with answering({"/fhir/metadata": statement}) as url:
        code, checks = doctor(CDS_FHIR_ALLOW=f"{url}/fhir")

    assert 1 == code
    [wrong] = [one for one in checks if one["status"] == "error"]
    assert "Condition cannot be searched by clinical-status." == wrong["said"]
    assert wrong["why"]
    assert wrong["todo"]


def test_a_clock_that_differs_is_told(doctor: Callable[..., Any], statement: Json) -> None:
    with answering({"/fhir/metadata": statement}, ahead=-300) as url:
        code, checks = doctor(CDS_FHIR_ALLOW=f"{url}/fhir")

    assert 1 == code
    assert any("behind ours" in one["said"] and "NTP" in one["todo"] for one in checks)


def test_a_server_that_is_slower_than_the_budget_is_told(doctor: Callable[..., Any], statement: Json) -> None:
    with answering({"/fhir/metadata": statement}, pause=0.2) as url:
        code, checks = doctor(CDS_FHIR_ALLOW=f"{url}/fhir", CDS_FHIR_BUDGET_MS="50")

    assert 0 == code
    assert any("slower than the budget" in one["said"] for one in checks if one["status"] == "warning")


@pytest.mark.parametrize("base", ["http://127.0.0.1:1/fhir", "http://127.0.0.1:1"])
def test_a_server_that_is_not_there_is_told(doctor: Callable[..., Any], base: str) -> None:
    code, checks = doctor(CDS_FHIR_ALLOW=base)

    assert 1 == code
    assert "nobody answers there" in of(checks, "FHIR")[0]["said"]


def test_an_address_that_is_no_fhir_base_is_told(doctor: Callable[..., Any]) -> None:
    with answering({"/metadata": {"resourceType": "Nothing"}}) as url:
        code, checks = doctor(CDS_FHIR_ALLOW=url)

    assert 1 == code
    assert "no CapabilityStatement" in of(checks, "FHIR")[0]["said"]


# A public key of nobody: RFC 7517, appendix A.1.
JWKS = {
    "keys": [
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            "use": "sig",
            "kid": "1",
        }
    ]
}


@pytest.mark.parametrize(
    ("page", "code", "said"),
    [
        ({"/jwks.json": JWKS}, 0, "1 usable"),
        ({"/jwks.json": {"keys": []}}, 1, "No key in it can be used"),
        ({}, 1, "status 404"),
    ],
    ids=["keys", "no-keys", "nothing"],
)
def test_the_keys_of_issuers_are_looked_at(
    doctor: Callable[..., Any], tmp_path: Path, page: Json, code: int, said: str
) -> None:
    with answering(page) as url:
        issuers = tmp_path / "issuers.yaml"
        issuers.write_text(f"issuers:\n  - iss: https://ehr.example\n    jku: {url}/jwks.json\n", encoding="utf-8")
        ended, checks = doctor(CDS_AUTH="jwt", CDS_ISSUERS=str(issuers))

    assert code == ended
    assert said in of(checks, "keys of")[0]["said"]


def test_a_file_of_issuers_that_is_wrong_is_told(doctor: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "issuers.yaml").write_text("issuers: []\n", encoding="utf-8")

    code, checks = doctor(CDS_AUTH="jwt", CDS_ISSUERS=str(tmp_path / "issuers.yaml"))

    assert (1, "error") == (code, of(checks, "issuers")[0]["status"])


def test_a_database_that_cannot_be_used_is_told_without_its_password(doctor: Callable[..., Any]) -> None:
    code, checks = doctor(CDS_DATABASE_URL="postgresql://cds:very-secret@127.0.0.1:1/cds", CDS_PSEUDONYM_KEY="x" * 40)

    assert 1 == code
    assert "error" == of(checks, "database")[0]["status"]
    assert "very-secret" not in json.dumps(checks)


def test_the_doctor_makes_nothing(doctor: Callable[..., Any], tmp_path: Path) -> None:
    doctor()

    assert [] == list(tmp_path.iterdir())


# --- lint-request ----------------------------------------------------------------------------------------------------


def test_a_messy_call_is_explained_and_a_sound_one_is_not(run: Run) -> None:
    messy = run("lint-request", REQUESTS / "messy-record.json", "--as-of", "2026-03-01")
    sound = run("lint-request", REQUESTS / "healthy.json", "--as-of", "2026-03-01")

    assert (1, 0) == (messy.exit_code, sound.exit_code)
    assert "/prefetch/observations/entry/3/resource" in messy.output
    assert "It has no unit." in messy.output
    assert "5 warnings" in messy.output
    assert "0 errors, 0 warnings" in sound.output


def test_the_report_can_be_had_as_json(run: Run) -> None:
    result = run("lint-request", REQUESTS / "epic-open-chart.json", "--as-of", "2026-03-01", "--json")

    report = json.loads(result.output)
    assert "calcinosis-patient-view" == report["service"]
    assert "fhir.resources R4B" in {one.get("found_by") for one in report["problems"]}


def test_the_service_is_chosen_by_the_hook_or_by_name(run: Run) -> None:
    order = ROOT / "fixtures" / "requests" / "order-sign" / "warfarin-contained.json"

    by_hook = run("lint-request", order, "--as-of", "2026-03-01")
    by_name = run("lint-request", order, "--service", "calcinosis-order-select", "--as-of", "2026-03-01")
    unknown = run("lint-request", order, "--service", "nobody")

    assert "Service calcinosis-order-sign" in by_hook.output
    assert "/hook" in by_name.output
    assert 2 == unknown.exit_code


def test_what_is_no_json_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "call.json").write_bytes(b"\x1b[31m nonsense")

    result = run("lint-request", tmp_path / "call.json")

    assert 1 == result.exit_code
    assert "not valid JSON" in result.output or "UTF-8" in result.output
    assert "\x1b" not in result.output


# --- prefetch --------------------------------------------------------------------------------------------------------


def queries(output: str) -> dict[str, str]:
    return dict(line.split("\t") for line in output.splitlines() if "\t" in line)


@pytest.mark.parametrize("ehr", EHRS)
def test_templates_are_printed_as_an_ehr_wants_them(run: Run, ehr: str) -> None:
    plain, result = queries(run("prefetch").output), run("prefetch", "--for", ehr)

    assert 0 == result.exit_code
    found = queries(result.output)
    assert {"patient", "observations", "conditions", "medications"} <= set(found)
    assert found.keys() <= plain.keys()
    assert (ehr == "standard") == ("#" not in result.output)


def test_oracle_health_is_asked_for_what_its_documentation_has(run: Run) -> None:
    output = run("prefetch", "--for", "oracle-health").output

    found = queries(output)
    assert not any("_sort" in query for query in found.values())
    assert found["observations"].endswith("&_count=200")
    assert "Procedure?patient={{context.patientId}}" == found["procedures"]
    assert "statements" not in found
    assert "left out: statements" in output


def test_a_hook_that_an_ehr_does_not_fire_is_said(run: Run) -> None:
    output = run("prefetch", "--for", "oracle-health", "--hook", "order-sign").output

    assert "does not fire order-sign" in output


# --- collection and fire ---------------------------------------------------------------------------------------------


def test_the_collections_are_written(run: Run, tmp_path: Path) -> None:
    result = run("collection", tmp_path)

    assert 0 == result.exit_code
    assert {HTTP, POSTMAN} == {path.name for path in tmp_path.iterdir()}


def test_fire_without_prefetch_needs_a_server(run: Run) -> None:
    result = run("fire", "http://127.0.0.1:1", "--patient", REQUESTS.parents[1] / "patients" / "healthy.json",
                 "--without-prefetch")  # fmt: skip

    assert 0 != result.exit_code
