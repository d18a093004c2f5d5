"""The sandbox: off unless asked for, safe whatever stands in a record, and honest about what it shows."""

from __future__ import annotations

import re
import shlex
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient

from cds_service.web import Settings, create_app
from cds_service.web.cast import moved
from cds_service.web.chart import read_chart
from cds_service.web.sandbox import folded, visible
from tests.fixtures import calls

SLUGS = [member.patient for member in calls.cast().members]
VOID = {"meta", "link", "br"}


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return calls.client()


class Page(HTMLParser):
    """What a browser would see: the elements with their attributes, and whether they are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}


def test_without_the_setting_there_is_no_sandbox() -> None:
    plain = create_app(Settings(auth="none"), book=calls.book()).test_client()

    assert [404] * 3 == [
        plain.get(path).status_code for path in ("/sandbox/", "/sandbox/healthy", "/sandbox/static/sandbox.css")
    ]


def test_the_list_names_the_cast_with_the_labels_of_its_cards(client: FlaskClient) -> None:
    html = client.get("/sandbox/").text

    assert [f"/sandbox/{slug}" for slug in SLUGS] == re.findall(r'<h2><a href="([^"]+)">', html)
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


@pytest.mark.parametrize("slug", SLUGS)
def test_a_page_is_sound_html_without_script_or_style_of_its_own(client: FlaskClient, slug: str) -> None:
    page = Page(client.get(f"/sandbox/{slug}").text)

    assert ([], []) == (page.open, page.crossed)
    assert not page.tags() & {"script", "style", "img", "iframe", "object", "form", "button", "input"}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on") or name == "style"]
    assert {"/sandbox"} == {"/" + (attrs["href"] or "").split("/")[1] for tag, attrs in page.elements if tag == "link"}


def test_hostile_text_of_a_record_stays_text(client: FlaskClient) -> None:
    html = client.get("/sandbox/messy-record").text
    links = [attrs["href"] or "" for tag, attrs in Page(html).elements if tag == "a"]

    # Cards link to where their rules come from, the page to all rules.
    assert all(link.startswith(("/sandbox/", "#", "/rules/", "http://localhost/rules/")) for link in links)
    assert not set("\u202e\u200b") & set(html)
    assert r"\u202e" in html


def test_every_page_forbids_scripts_frames_and_foreign_content(client: FlaskClient) -> None:
    for path in ("/sandbox/", "/sandbox/healthy", "/sandbox/nobody", "/sandbox/static/sandbox.css"):
        with client.get(path) as answer:
            headers = answer.headers

        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'; img-src 'self'")
        assert "script-src" not in headers["Content-Security-Policy"]
        assert ("no-referrer", "nosniff") == (headers["Referrer-Policy"], headers["X-Content-Type-Options"])


def test_an_unknown_patient_gets_a_page_that_says_so(client: FlaskClient) -> None:
    answer = client.get("/sandbox/marker-7f3a")

    assert (404, "text/html") == (answer.status_code, answer.mimetype)
    assert "No such patient" in answer.text
    assert "marker-7f3a" not in answer.text


def test_the_trail_tells_of_every_rule_whether_it_fired_and_why(client: FlaskClient) -> None:
    text = Page(client.get("/sandbox/dialysis-high-phosphate").text).text

    for rule in calls.book().services["calcinosis-patient-view"].rules:
        assert f"{rule.number} {rule.title}" in text
    assert "did not fire" in text
    assert "\u2713 kidney failure (ESKD)" in text


def test_what_was_set_aside_is_told(client: FlaskClient) -> None:
    assert "calcium-total: unit missing" in Page(client.get("/sandbox/messy-record").text).text


def test_silence_says_how_many_rules_were_asked(client: FlaskClient) -> None:
    text = Page(client.get("/sandbox/healthy").text).text

    assert "rules were asked, and none fired" in text
    assert "Nothing: every rule could be evaluated." in text


@pytest.mark.parametrize("slug", SLUGS)
def test_the_curl_command_gets_from_the_running_service_what_the_chart_shows(slug: str) -> None:
    """
    The service lives in another year; the call it is sent has its dates moved there.
    """
    later = calls.cast().noon + 400 * 86_400
    app = create_app(Settings(auth="none", sandbox=True), book=calls.book(), clock=lambda: later)
    text = Page(app.test_client().get(f"/sandbox/{slug}").text).text
    command = shlex.split(text[text.index("curl -s") :])
    fetched = app.test_client().get(command[2].removeprefix("http://localhost"))

    answer = app.test_client().post(calls.SERVICE, data=fetched.data, content_type="application/json")

    assert command[3:6] == ["|", "curl", "-s"]
    assert f"http://localhost{calls.SERVICE}" == command[6]
    assert list(calls.cast().member(slug).cards) == [  # type: ignore[union-attr]
        " ".join([card["indicator"], *(rule["id"] for rule in card["extension"]["org.calcinosis-cds"]["rules"])])
        for card in answer.get_json()["cards"]
    ]


def test_where_the_service_asks_for_a_token_the_command_says_so() -> None:
    assert "Bearer $TOKEN" in Page(calls.client(auth="jwt").get("/sandbox/healthy").text).text


def test_the_page_does_not_count_as_a_hook_call(client: FlaskClient) -> None:
    before = dict(client.application.extensions["cds"].counted)
    client.get("/sandbox/dialysis-high-phosphate")

    assert before == dict(client.application.extensions["cds"].counted)


def test_dates_move_and_nothing_else_does() -> None:
    text = '{"born":"1962","day":"2026-02-28","when":"2026-02-28T08:00:00Z","id":"x-2026-02-28","text":"on 2026-02-28"}'

    assert text.replace('"2026-02-28', '"2026-03-02') == moved(text, 2)


def test_a_detail_folds_after_its_first_titled_section() -> None:
    first, rest = folded("**Why**\n- this\n\nSo.\n\n**Values**\n- 7.1\n\nEnd.")

    assert "<strong>Why</strong>" in first
    assert "So." in first
    assert "<li>7.1</li>" in rest


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>x</script>",
        "[a](javascript:x)",
        "![a](https://e.example/p.png)",
        "<b onclick=x>b</b>",
        "https://e.example",
    ],
)
def test_a_detail_is_rendered_without_links_images_or_html(hostile: str) -> None:
    tags = Page("".join(folded(f"**Why**\n- {hostile}\n\n**Values**\n{hostile}"))).tags()

    assert not tags & {"script", "a", "img", "b"}


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
