"""The sandbox: off unless asked for, safe whatever stands in a record, and honest about what it shows."""

from __future__ import annotations

import re
import shlex

import pytest
from flask.testing import FlaskClient

from cds_service.web import Settings, create_app
from cds_service.web.cast import moved
from cds_service.web.chart import read_chart
from cds_service.web.sandbox import folded, visible
from cds_service.web.sandbox.marking import dated, followed
from tests.fixtures import calls
from tests.web.clinician import Clinician, Page

SLUGS = [member.patient for member in calls.cast().members]


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return calls.client()


def test_without_the_setting_there_is_no_sandbox() -> None:
    plain = create_app(Settings(auth="none"), book=calls.book()).test_client()

    assert [404] * 3 == [
        plain.get(path).status_code for path in ("/sandbox/", "/sandbox/healthy", "/sandbox/static/sandbox.css")
    ]


def test_the_list_names_the_cast_with_the_labels_of_its_cards(client: FlaskClient) -> None:
    html = client.get("/sandbox/").text

    assert [f"/sandbox/{slug}" for slug in SLUGS] == re.findall(r'<h3><a href="([^"]+)">', html)
    assert all(html.count(f'class="label {kind}"') for kind in ("critical", "warning", "info", "none"))
    assert "2026-03-01" in html
    assert "nothing here is real" in html


@pytest.mark.parametrize("slug", SLUGS)
def test_a_chart_shows_the_cards_that_the_service_answers_with(client: FlaskClient, slug: str) -> None:
    answer = calls.answer(calls.call(slug))
    page = Page(client.get(f"/sandbox/{slug}").text)

    for card in answer["cards"]:
        assert card["summary"] in page.text
        assert all(suggestion["label"] in page.text for suggestion in card.get("suggestions", ()))
        assert all(reason["display"] in page.text for reason in card.get("overrideReasons", ()))
    assert bool(answer["cards"]) != ("No card" in page.text)


@pytest.mark.parametrize("slug", ["", *SLUGS, "dialysis-high-phosphate/calls/1"])
def test_a_page_is_sound_html_without_script_or_style_of_its_own(client: FlaskClient, slug: str) -> None:
    page = Page(client.get(f"/sandbox/{slug}").text)
    scripts = [attrs for tag, attrs in page.elements if tag == "script"]

    assert ([], []) == (page.open, page.crossed)
    assert not page.tags() & {"style", "img", "iframe", "object"}
    assert [{"src": "/sandbox/static/sandbox.js", "defer": None}] == scripts
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on") or name == "style"]
    assert {"/sandbox"} == {"/" + (attrs["href"] or "").split("/")[1] for tag, attrs in page.elements if tag == "link"}
    assert all((attrs["action"] or "").startswith("/sandbox/") for tag, attrs in page.elements if tag == "form")


def test_hostile_text_of_a_record_stays_text() -> None:
    page = Clinician(key="messy-record").open()
    behind = page.client.get("/sandbox/messy-record/calls/1").text
    links = [attrs["href"] or "" for tag, attrs in Page(page.html + behind).elements if tag == "a"]

    # Cards link to where their rules come from, the page to all rules.
    assert all(link.startswith(("/sandbox/", "#", "/rules/", "http://localhost/rules/")) for link in links)
    assert not set("\u202e\u200b") & set(page.html + behind)
    assert r"\u202e" in behind


def test_every_page_forbids_frames_foreign_content_and_scripts_inside_pages(client: FlaskClient) -> None:
    for path in ("/sandbox/", "/sandbox/healthy", "/sandbox/nobody", "/sandbox/static/sandbox.css"):
        with client.get(path) as answer:
            headers = answer.headers

        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert ("'none'", "'none'", "'none'") == tuple(
            policy[name] for name in ("default-src", "frame-ancestors", "base-uri")
        )
        assert {"'self'"} == {policy[name] for name in policy if name.endswith("-src") and name != "default-src"}
        assert ("same-origin", "nosniff") == (headers["Referrer-Policy"], headers["X-Content-Type-Options"])
        assert "no-store" in headers["Cache-Control"] or "static" in path


def test_an_unknown_patient_gets_a_page_that_says_so(client: FlaskClient) -> None:
    for path in ("/sandbox/marker-7f3a", "/sandbox/marker-7f3a/calls/1", "/sandbox/marker-7f3a/request.json"):
        answer = client.get(path)

        assert (404, "text/html") == (answer.status_code, answer.mimetype)
        assert "No such patient" in answer.text
        assert "marker-7f3a" not in answer.text


def test_the_trail_tells_of_every_rule_whether_it_fired_and_why() -> None:
    page = Clinician().open()
    text = Page(page.client.get("/sandbox/dialysis-high-phosphate/calls/1").text).text

    for rule in calls.book().services["calcinosis-patient-view"].rules:
        assert f"{rule.number} {rule.title}" in text
    assert "did not fire" in text
    assert "\u2713 kidney failure (ESKD)" in text
    assert re.search(r"answered 200 in\s+[\d.]+\s+ms", text)


def test_what_was_set_aside_is_told() -> None:
    page = Clinician(key="messy-record").open()

    assert "calcium-total: unit missing" in Page(page.client.get("/sandbox/messy-record/calls/1").text).text


def test_silence_says_that_the_rules_were_asked(client: FlaskClient) -> None:
    assert "none had something to say" in Page(client.get("/sandbox/healthy").text).text


@pytest.mark.parametrize("slug", SLUGS)
def test_the_call_as_a_command_gets_what_the_chart_shows(slug: str) -> None:
    """
    The service lives in another year; the chart lives there too, by its dates.
    """
    later = calls.cast().noon + 400 * 86_400
    app = create_app(Settings(auth="none", sandbox=True), book=calls.book(), clock=lambda: later)
    page = Clinician(app, slug).open()
    text = Page(page.client.get(f"/sandbox/{slug}/calls/1").text).text
    command, _, body = text[text.index("curl -s") :].split("\nCALL")[0].partition("<<'CALL'\n")
    words = shlex.split(command.replace("\\\n", " "))
    answer = app.test_client().post(words[2].removeprefix("http://localhost"), data=body, content_type=words[4][14:])

    assert ["curl", "-s"] == words[:2]
    assert [(card.card["summary"], card.indicator) for card in page.cards()] == [
        (card["summary"], card["indicator"]) for card in answer.get_json()["cards"]
    ]


@pytest.mark.parametrize("hours", [-12, -1, 0, 1, 11, 12])
def test_at_any_hour_no_result_lies_in_the_future_and_the_cards_are_the_same(hours: int) -> None:
    now = calls.cast().noon + 30 * 86_400 + hours * 3_600
    app = create_app(Settings(auth="none", sandbox=True), book=calls.book(), clock=lambda: now)

    assert "dated in the future" not in Clinician(app).open().text
    assert ["warning"] == [card.indicator for card in Clinician(app).open().cards()]


def test_where_the_service_asks_for_a_token_the_sandbox_is_let_in_and_the_command_says_so() -> None:
    client = calls.client(auth="jwt")

    assert "Kidney failure with phosphate" in client.get("/sandbox/dialysis-high-phosphate").text
    assert "Bearer $TOKEN" in Page(client.get("/sandbox/dialysis-high-phosphate/calls/1").text).text
    assert 401 == client.post(calls.SERVICE, json=calls.call("healthy")).status_code


def test_opening_a_chart_is_one_hook_call_like_any_other() -> None:
    page = Clinician()
    page.client.get("/sandbox/")
    counted = page.app.extensions["cds"].counted

    assert not counted

    page.open().open()

    assert 1 == counted["yes eskd-hyperphosphatemia"]


def test_the_request_of_a_patient_can_be_had_without_a_session(client: FlaskClient) -> None:
    request = client.get("/sandbox/dialysis-high-phosphate/request.json").get_json()

    assert calls.call("dialysis-high-phosphate")["prefetch"] == request["prefetch"]


def test_dates_move_and_nothing_else_does() -> None:
    text = '{"born":"1962","day":"2026-02-28","when":"2026-02-28T08:00:00Z","id":"x-2026-02-28","text":"on 2026-02-28"}'

    assert text.replace('"2026-02-28', '"2026-03-02') == moved(text, 2)


def test_a_detail_folds_after_its_first_titled_section() -> None:
    first, rest = folded("**Why**\n- this\n\nSo.\n\n**Values**\n- 7.1, 2026-02-19\n\nEnd.")

    assert "<strong>Why</strong>" in first
    assert "So." in first
    assert "<li>7.1, <time>2026-02-19</time></li>" in rest


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>x</script>",
        "[a](javascript:x)",
        "![a](https://e.example/p.png)",
        "<b onclick=x>b</b>",
        "https://e.example",
        "<time>2026-01-01</time>",
    ],
)
def test_a_detail_is_rendered_without_links_images_or_html(hostile: str) -> None:
    tags = Page("".join(folded(f"**Why**\n- {hostile}\n\n**Values**\n{hostile}"))).tags()

    assert not tags & {"script", "a", "img", "b"}


def test_a_summary_is_escaped_before_its_days_are_marked() -> None:
    assert "&lt;b&gt; <time>2026-01-01</time> \\u202e" == dated("<b> 2026-01-01 \u202e")


@pytest.mark.parametrize("url", ["javascript:x", "//e.example", "data:text/html,x", "", None, 7, "http://[", "/rules/"])
def test_only_addresses_of_the_web_are_links(url: object) -> None:
    assert not followed(url)


def test_hidden_characters_are_shown_as_escapes() -> None:
    assert "a\\u202eb\\u001bc\nd" == visible("a\u202eb\x1bc\nd")


def test_a_chart_shows_what_is_wrong_with_a_line_in_words() -> None:
    record = calls.record("messy-record")
    chart = read_chart(record.resources, calls.cast().day, calls.book().terminology)
    notes = {line.note for series in chart.labs for line in series.results} | {line.note for line in chart.medications}

    assert {
        "preliminary",
        "entered in error",
        "dated in the future",
        "do not give",
        "stopped",
        "draft, proposal",
    } < notes
    assert "63 or 64 years" == chart.age
    assert "9.4 (no unit)" == chart.labs[0].results[0].text
    assert ">1200 pg/mL" == chart.labs[3].results[0].text


def test_the_laboratory_results_come_in_the_order_of_the_catalogue() -> None:
    record = calls.record("dialysis-high-phosphate")
    chart = read_chart(record.resources, calls.cast().day, calls.book().terminology)

    assert ["Calcium", "Phosphate", "Albumin", "PTH, intact", "ALP", "Potassium"] == [one.name for one in chart.labs]
    assert ["7.1 mg/dL", "6.6 mg/dL", "6.2 mg/dL"] == [line.text for line in chart.labs[1].results]
    assert "High" == chart.labs[1].results[0].flag


def test_the_trend_of_results_is_drawn_and_told() -> None:
    record = calls.record("dialysis-high-phosphate")
    chart = read_chart(record.resources, calls.cast().day, calls.book().terminology)
    phosphate = chart.labs[1].trend

    assert phosphate is not None
    assert "rose from 6.2 to 7.1 mg/dL, 3 results in 66 days" == phosphate.words
    assert 3 == len(phosphate.points.split())
    assert phosphate.last[1] < float(phosphate.points.split()[0].split(",")[1])
    assert chart.labs[4].trend is None


@pytest.mark.parametrize(
    "misbuilt",
    [
        {"resourceType": "Observation", "id": "x"},
        {"resourceType": "Observation", "code": {"coding": "none"}, "valueQuantity": 7},
        {"resourceType": "Condition", "code": ["x"]},
        {"resourceType": "MedicationRequest", "dosageInstruction": {"text": "x"}},
        {"resourceType": "Procedure", "code": {"coding": [7]}},
        {"resourceType": "FamilyMemberHistory", "condition": 7},
    ],
)
def test_what_is_not_built_as_fhir_says_is_counted_and_the_rest_is_shown(misbuilt: dict[str, object]) -> None:
    resources = [*calls.record("dialysis-high-phosphate").resources, misbuilt]
    chart = read_chart(resources, calls.cast().day, calls.book().terminology)

    assert 1 == chart.unreadable
    assert "Paula Invented" == chart.name
    assert 6 == len(chart.labs)


def test_what_can_be_chosen_has_a_code_that_the_rules_know() -> None:
    """
    No code is invented: each stands in the concepts, with where it was read.
    """
    words = calls.book().terminology
    text = "".join((calls.ROOT / "hooks" / "concepts" / name).read_text(encoding="utf-8") for name in
                   ("medication-products.csv", "diagnoses.yaml", "procedures.yaml", "orders.yaml"))  # fmt: skip
    choices = Clinician().app.extensions["sandbox"].choices

    for one in [*(one for group in choices.orders.values() for one in group), *choices.problems, *choices.appointments]:
        assert one.system in {words.systems.uri(name) for name in ("RxNorm", "SNOMED CT", "LOINC")}
        assert re.search(rf'[",]{one.code}[",]', text), one.code
        assert one.display.replace('"', "") in text, one.display


def test_every_choice_has_a_name_of_its_own() -> None:
    choices = Clinician().app.extensions["sandbox"].choices
    ids = [one.id for group in choices.orders.values() for one in group]

    assert len(set(ids)) == len(ids)
    assert "Medications" in choices.orders
