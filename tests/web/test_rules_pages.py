"""The rule catalogue and the source attributes over HTTP: pages for people, JSON for programs, nothing of patients."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from markupsafe import escape

from cds_service.publishing.intended import INTENDED_USE
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from tests.build import SERVICE, body, condition, observation
from tests.web.clinician import Page

SAMPLE = "eskd-hyperphosphatemia"
ATTRIBUTES = f"/rules/{SAMPLE}/source-attributes"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PUBLIC = "https://cds.hospital.example/cds"
NOON = 1_772_366_400.0


@pytest.fixture(scope="module")
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app().test_client()


def paths(book: RuleBook) -> list[str]:
    pages = [f"/rules/{name}{more}" for name in book.rules for more in ("", "/source-attributes.html")]
    return ["/rules/", *pages]


# --- which form -----------------------------------------------------------------------------------------------------


@dataclass
class Form:
    """How the attributes are asked for, and the form they come in."""

    path: str
    accept: str
    html: bool


FORMS = [
    Form(ATTRIBUTES, "", html=False),
    Form(ATTRIBUTES, "*/*", html=False),
    Form(ATTRIBUTES, "application/json", html=False),
    Form(ATTRIBUTES, "text/html;q=0.1, application/json", html=False),
    Form(ATTRIBUTES, "application/json, text/html", html=False),
    Form(ATTRIBUTES, BROWSER, html=True),
    Form(ATTRIBUTES, "text/html", html=True),
    Form(f"{ATTRIBUTES}.html", "application/json", html=True),
    Form(f"{ATTRIBUTES}.json", BROWSER, html=False),
    Form(f"{ATTRIBUTES}?format=html", "", html=True),
    Form(f"{ATTRIBUTES}?format=json", BROWSER, html=False),
    Form("/rules/", "", html=True),
    Form("/rules", BROWSER, html=True),
    Form("/rules/", "application/json", html=False),
    Form(f"/rules/{SAMPLE}", "*/*", html=True),
    Form(f"/rules/{SAMPLE}", "application/json", html=False),
    Form(f"/rules/{SAMPLE}.json", BROWSER, html=False),
    Form(f"/rules/{SAMPLE}.html", "application/json", html=True),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.path} {form.accept}")
def test_a_browser_gets_a_page_and_a_program_gets_json(client: FlaskClient, form: Form) -> None:
    answer = client.get(form.path, headers={"Accept": form.accept} if form.accept else {})

    assert 200 == answer.status_code
    assert ("text/html" if form.html else "application/json") == answer.mimetype
    assert "Accept" in answer.headers["Vary"]


@pytest.mark.parametrize("path", ["/rules/none", "/rules/none/source-attributes", "/rules/none/source-attributes.html"])
def test_an_unknown_rule_is_404_with_an_operation_outcome(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Accept": BROWSER})
    outcome = answer.get_json()

    assert (404, "OperationOutcome") == (answer.status_code, outcome["resourceType"])
    assert "unknown-rule" == outcome["issue"][0]["details"]["coding"][0]["code"]
    assert "none" not in outcome["issue"][0]["details"]["text"].split()


@pytest.mark.parametrize(
    "path", [f"{ATTRIBUTES}.xml", f"{ATTRIBUTES}?format=xml", f"{ATTRIBUTES}/", f"/rules/{SAMPLE}.x"]
)
def test_an_unknown_form_is_404(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert (404, "OperationOutcome") == (answer.status_code, answer.get_json()["resourceType"])


def test_pages_are_read_only(client: FlaskClient) -> None:
    for path in ("/rules/", f"/rules/{SAMPLE}", ATTRIBUTES):
        assert 405 == client.post(path).status_code


# --- what stands in it ----------------------------------------------------------------------------------------------


def test_the_json_holds_the_thirteen_attributes_with_numbers_as_numbers(client: FlaskClient) -> None:
    shown = client.get(ATTRIBUTES).get_json()

    assert list(range(1, 14)) == [one["number"] for one in shown["source_attributes"]]
    assert INTENDED_USE == shown["intended_use"]
    assert {"title", "version", "cautions", "evidence", "thresholds", "intervention", "regulatory_remarks"} <= set(
        shown
    )


def test_the_list_links_to_every_rule(client: FlaskClient, book: RuleBook) -> None:
    html = client.get("/rules/").text

    assert set(book.rules) == set(re.findall(r'<th scope="row"><a href="/rules/([a-z0-9-]+)">', html))


def test_a_rule_page_says_why_when_and_in_which_words(client: FlaskClient, book: RuleBook) -> None:
    for rule in book.rules.values():
        text = " ".join(Page(client.get(f"/rules/{rule.id}").text).text.split())

        for said in (rule.why, rule.unhelpful_when, rule.card.summary[-1], *(one.cite for one in rule.evidence)):
            assert " ".join(said.split()) in text
        assert all(threshold.means in text for threshold in rule.thresholds.values())


def test_the_attributes_page_says_what_the_json_says(client: FlaskClient, book: RuleBook) -> None:
    for rule in book.rules:
        shown = client.get(f"/rules/{rule}/source-attributes").get_json()
        text = " ".join(Page(client.get(f"/rules/{rule}/source-attributes.html").text).text.split())

        for attribute in shown["source_attributes"]:
            assert attribute["name"] in text
            assert all(" ".join(line.split()) in text for line in attribute["value"])
        assert all(" ".join(line.split()) in text for line in [*shown["cautions"], *shown["regulatory_remarks"]])


def test_every_page_says_the_intended_use(client: FlaskClient, book: RuleBook) -> None:
    for path in paths(book):
        assert str(escape(INTENDED_USE)) in client.get(path).text


def test_developer_and_funding_come_from_the_settings(make_app: Callable[..., Flask]) -> None:
    app = make_app(developer="Example Hospital", funding="a grant")
    _, developer, funding, *_ = app.test_client().get(ATTRIBUTES).get_json()["source_attributes"]

    assert [["Example Hospital"], ["a grant"]] == [developer["value"], funding["value"]]


# --- safe and accessible --------------------------------------------------------------------------------------------


def test_a_page_is_sound_html_without_script_or_style_of_its_own(client: FlaskClient, book: RuleBook) -> None:
    for path in paths(book):
        page = Page(client.get(path).text)
        links = [attrs.get("href") or "" for tag, attrs in page.elements if tag in ("a", "link")]

        assert ([], []) == (page.open, page.crossed), path
        assert not page.tags() & {"script", "style", "img", "iframe", "object", "form", "button", "input"}
        assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on") or name == "style"]
        assert all(link.startswith(("/rules/", "#")) for link in links), path


def test_a_page_can_be_found_ones_way_in(client: FlaskClient, book: RuleBook) -> None:
    for path in paths(book):
        page = Page(client.get(path).text)
        tags = [tag for tag, _ in page.elements]
        ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]

        assert [1, 1, 1] == [tags.count("h1"), tags.count("main"), tags.count("footer")]
        assert ("a", {"class": "skip", "href": "#main"}) in page.elements
        assert all(attrs.get("scope") in ("row", "col") for tag, attrs in page.elements if tag == "th")
        assert len(set(ids)) == len(ids)


def test_every_page_forbids_scripts_frames_and_foreign_content(client: FlaskClient) -> None:
    for path in ("/rules/", f"/rules/{SAMPLE}", ATTRIBUTES, "/rules/none", "/rules/static/rules.css"):
        with client.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]

        assert policy.startswith("default-src 'none'; style-src 'self'")
        assert "script-src" not in policy


def test_text_of_a_rule_is_never_markup(book: RuleBook) -> None:
    rule = book.rules[SAMPLE]
    hostile = msgspec.structs.replace(rule, title="<script>x</script>", why="<b onclick=x>y</b> & more than that")
    spoiled = msgspec.structs.replace(book, rules={**book.rules, SAMPLE: hostile}, memo={})
    client = create_app(Settings(auth="none"), book=spoiled, clock=lambda: NOON).test_client()

    for path in ("/rules/", f"/rules/{SAMPLE}", f"{ATTRIBUTES}.html"):
        assert not Page(client.get(path).text).tags() & {"script", "b"}
        assert "&lt;script&gt;" in client.get(path).text


# --- links on cards -------------------------------------------------------------------------------------------------


def card(client: FlaskClient, **headers: str) -> dict[str, Any]:
    """Return the first card for a patient with kidney failure and a high phosphate."""
    raw = body(condition(), observation(value=8.1))
    answer = client.post(SERVICE, data=raw, content_type="application/json", headers=headers)
    found: dict[str, Any] = answer.get_json()["cards"][0]
    return found


def test_a_card_links_to_the_sources_of_each_of_its_rules(make_app: Callable[..., Flask]) -> None:
    client = make_app(public_url=PUBLIC).test_client()
    shown = card(client)
    rules = [rule["id"] for rule in shown["extension"]["org.calcinosis-cds"]["rules"]]

    assert [f"{PUBLIC}/rules/{rule}/source-attributes" for rule in rules] == [link["url"] for link in shown["links"]]
    for link in shown["links"]:
        assert link["label"].startswith("Source and evidence: ")
        assert "absolute" == link["type"]
        assert 200 == client.get(link["url"].removeprefix(PUBLIC)).status_code


def test_no_address_names_a_patient(make_app: Callable[..., Flask]) -> None:
    shown = card(make_app(public_url=PUBLIC).test_client())

    assert all(re.fullmatch(rf"{PUBLIC}/rules/[a-z0-9-]+/source-attributes", link["url"]) for link in shown["links"])


def test_without_a_public_address_a_card_has_no_link(client: FlaskClient) -> None:
    """
    A Host header is not believed: it could send clinicians anywhere.
    """
    assert "links" not in card(client, Host="evil.example")


def test_the_sandbox_links_to_the_address_that_was_called(make_app: Callable[..., Flask]) -> None:
    [_, link, *_] = card(make_app(sandbox=True).test_client(), Host="localhost:8321")["links"]  # evidence comes first

    assert link["url"].startswith("http://localhost:8321/rules/")


def test_a_public_address_that_was_set_holds_in_the_sandbox_too(make_app: Callable[..., Flask]) -> None:
    [_, link, *_] = card(make_app(sandbox=True, public_url=PUBLIC).test_client())["links"]

    assert link["url"].startswith(f"{PUBLIC}/rules/")


def test_a_page_does_not_count_as_a_hook_call(client: FlaskClient) -> None:
    before = json.dumps(dict(client.application.extensions["cds"].counted))
    client.get("/rules/")

    assert before == json.dumps(dict(client.application.extensions["cds"].counted))
