"""The evidence view over HTTP: from a card to its page, by an address that names nobody, cannot be made up, ends."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.adapters.ledger import Key, Ledger
from cds_service.errors import SettingsError, Unavailable
from cds_service.rules.book import RuleBook, load_book
from cds_service.web import Settings, create_app
from cds_service.web.evidence import LABEL, Kept, Memory
from cds_service.web.signing import Pointer, Signer
from tests.build import (
    ESKD,
    NOW,
    PATIENT,
    ROOT,
    SERVER,
    SERVICE,
    STRANGER,
    body,
    condition,
    observation,
    patient,
    prescription,
)
from tests.moments import quickest, spent
from tests.web.clinician import Page

PUBLIC = "https://cds.hospital.example"
NAME = "Marker-7f3a"
SICK = (
    patient(name=[{"family": NAME}]),
    condition(ESKD),
    observation("phosphate", 6.4, days=40),
    observation("phosphate", 7.1, days=10),
    observation("calcium-total", 9, days=10),
    observation("phosphate", 9, days=5, status="preliminary"),
    prescription(),
)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(book: RuleBook, clock: Clock) -> FlaskClient:
    settings = Settings(auth="none", public_url=PUBLIC, evidence_links=True)
    return create_app(settings, book=book, clock=clock).test_client()


def cards(client: FlaskClient, *resources: Any, **members: Any) -> list[dict[str, Any]]:
    answer = client.post(SERVICE, data=body(*(resources or SICK), **members), content_type="application/json")
    assert 200 == answer.status_code, answer.text
    return list(answer.get_json()["cards"])


def high(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the card about the phosphate."""
    return next(one for one in found if "phosphate" in one["summary"])


def link(card: dict[str, Any]) -> str:
    """Return the address of a card's evidence, without the host."""
    return str(next(one["url"] for one in card["links"] if one["label"] == LABEL)).removeprefix(PUBLIC)


# --- the link --------------------------------------------------------------------------------------------------------


def test_each_card_links_to_its_own_page(client: FlaskClient) -> None:
    found = cards(client)
    pages = [client.get(link(card)) for card in found]

    assert 2 == len(found)
    assert [200] * 2 == [page.status_code for page in pages]
    for card, page in zip(found, pages, strict=True):
        assert card["summary"] in Page(page.text).text
    assert all(
        one["type"] == "absolute" and one["url"].startswith(f"{PUBLIC}/evidence/")
        for one in (c["links"][0] for c in found)
    )


def test_an_address_holds_nothing_of_the_patient(client: FlaskClient) -> None:
    address = urlsplit(link(cards(client)[0]))

    assert re.fullmatch(r"/evidence/[0-9a-f-]{36}", address.path)
    assert {"card", "until", "signature"} == set(parse_qs(address.query))
    assert PATIENT not in address.query


def test_two_calls_for_one_patient_have_nothing_in_common(client: FlaskClient) -> None:
    one, two = (urlsplit(link(cards(client)[0])) for _ in range(2))

    assert one.path != two.path
    assert parse_qs(one.query)["signature"] != parse_qs(two.query)["signature"]


def test_no_card_no_memory(client: FlaskClient) -> None:
    assert [] == cards(client, patient(), observation("phosphate", 4))
    assert 0 == len(client.application.extensions["evidence"].memory._kept)


@pytest.mark.parametrize(
    ("settings", "there"),
    [
        ({"public_url": PUBLIC}, False),
        ({"public_url": PUBLIC, "evidence_links": True}, True),
        ({"sandbox": True}, True),
        ({"sandbox": True, "evidence_links": False}, False),
    ],
)
def test_links_are_on_in_the_sandbox_and_elsewhere_when_asked_for(
    make_app: Callable[..., Flask], settings: dict[str, Any], there: bool
) -> None:
    client = make_app(**settings).test_client()

    assert there == any(one["label"] == LABEL for one in cards(client)[0]["links"])
    assert (200 if there else 404) == client.get(
        link(cards(client)[0]).removeprefix("http://localhost") if there else "/evidence/x"
    ).status_code


def test_links_that_could_lead_nowhere_are_refused_at_start(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingsError, match="needs CDS_PUBLIC_URL"):
        make_app(evidence_links=True)


def test_a_link_costs_the_call_next_to_nothing(client: FlaskClient) -> None:
    """A reference is kept and a signature made (some 15 microseconds for a card); drawing waits for a reader."""
    here = client.application.extensions["evidence"]
    number, card = "0" * 32, _kept_cards(client)[0]

    def link_it() -> None:
        here.of_cards(PUBLIC, number, (None, None, [card]), "", 1_000)

    a_link = quickest(lambda: spent(link_it), tries=100)
    a_call = quickest(lambda: spent(lambda: cards(client)), tries=20)

    assert a_link < a_call / 20


def _kept_cards(client: FlaskClient) -> Any:
    cards(client)
    return next(iter(client.application.extensions["evidence"].memory._kept.values())).cards


# --- who may see it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("card=1", "card=2"),
        lambda url: re.sub(r"until=(\d+)", lambda found: f"until={int(found[1]) + 1}", url),
        lambda url: url[:-1] + ("A" if url[-1] != "A" else "B"),
        lambda url: url.partition("&signature")[0],
        lambda url: url.partition("?")[0],
        lambda url: url.replace("/evidence/", "/evidence/0"),
        lambda url: url.replace("card=1", "card=1e0"),
        lambda url: url.replace("card=1", "card=-1"),
        lambda url: url.replace("until=", "until=9999999999999"),
        lambda url: url.replace("signature=", "signature=\u2603"),
        lambda url: url.replace("signature=", "x="),
    ],
    ids=["card", "time", "signature", "none", "query", "id", "float", "negative", "huge", "snowman", "renamed"],
)
def test_an_address_that_was_changed_is_none_of_ours(client: FlaskClient, change: Callable[[str], str]) -> None:
    answer = client.get(change(link(cards(client)[0])))

    assert (404, "text/html") == (answer.status_code, answer.mimetype)
    assert "no address of ours" in answer.text
    assert "Open the patient's chart in the EHR again" in answer.text
    assert "7.1" not in answer.text


def test_an_address_of_another_service_is_none_of_ours(client: FlaskClient, book: RuleBook, clock: Clock) -> None:
    """Without a ledger each process group signs with a key of its own."""
    other = create_app(
        Settings(auth="none", public_url=PUBLIC, evidence_links=True), book=book, clock=clock
    ).test_client()

    assert 404 == other.get(link(cards(client)[0])).status_code


def test_a_link_ends(client: FlaskClient, clock: Clock) -> None:
    address = link(cards(client)[0])
    clock.now += 8 * 3600 - 1
    assert 200 == client.get(address).status_code
    clock.now += 2
    answer = client.get(address)

    assert 410 == answer.status_code
    assert "This link has ended" in answer.text
    assert "7.1" not in answer.text


def test_what_has_ended_is_forgotten(client: FlaskClient, clock: Clock) -> None:
    address = link(cards(client)[0])
    clock.now += 8 * 3600 + 1
    memory = client.application.extensions["evidence"].memory
    memory.find("x", clock.now)

    assert (0, 0) == (len(memory._kept), memory.taken)
    assert 410 == client.get(address).status_code


def test_memory_is_bounded() -> None:
    memory = Memory(most=3, room=100)
    for number in range(5):
        memory.keep(str(number), Kept(None, None, (), 10, 9e9))  # type: ignore[arg-type]
    assert ["2", "3", "4"] == list(memory._kept)
    memory.keep("large", Kept(None, None, (), 95, 9e9))  # type: ignore[arg-type]

    assert (["large"], 95) == (list(memory._kept), memory.taken)


def test_what_was_forgotten_is_said_to_be_gone(client: FlaskClient) -> None:
    address = link(cards(client)[0])
    client.application.extensions["evidence"].memory._kept.clear()
    answer = client.get(address)

    assert 404 == answer.status_code
    assert "another process was asked" in answer.text


def test_pages_never_take_all_threads(client: FlaskClient) -> None:
    address = link(cards(client)[0])
    client.application.extensions["evidence"].guard.limit(0)

    assert 503 == client.get(address).status_code


def test_a_signer_knows_its_own_addresses_and_no_others() -> None:
    signer = Signer(b"k" * 32)
    pointer = Pointer("0123456789abcdef", 2, 1_772_366_400)
    query = {name: value[0] for name, value in parse_qs(urlsplit(signer.address("", pointer)).query).items()}

    assert pointer == signer.read("0123456789abcdef", query)
    assert None is Signer(b"l" * 32).read("0123456789abcdef", query)
    assert 32 == len(query["signature"])
    assert signer.mac("one", "x") != signer.mac("other", "x")


# --- what it says ----------------------------------------------------------------------------------------------------


def test_the_page_says_why_with_what_and_by_whom(client: FlaskClient) -> None:
    page = Page(client.get(link(high(cards(client)))).text)

    assert ([], []) == (page.open, page.crossed)
    for said in (
        *("Why you see this", "YES", "NO", "Set aside, and why", "it is preliminary", "The values of the picture"),
        *("7.1 mg/dL", "phosphate_high", "5.5 mg/dL", "KDOQI 2003", "Clinical judgement prevails", "female, 58 years"),
        *("The patient is not named here", "What there was to look at", "laboratory results", "loaded"),
    ):
        assert said in page.text, said


def test_a_threshold_that_a_site_changed_names_who_did_it(book: RuleBook, tmp_path: Path, clock: Clock) -> None:
    content = Path(shutil.copytree(ROOT / "hooks", tmp_path / "hooks"))
    (content / "sites").mkdir(exist_ok=True)
    (content / "sites" / "here.yaml").write_text(
        "site: here\nthresholds:\n  eskd-hyperphosphatemia.phosphate_high:\n"
        '    - {since: 2026-01-01, value: 6, who: "Dr. Adams", why: "local agreement"}\n',
        encoding="utf-8",
    )
    settings = Settings(auth="none", public_url=PUBLIC, evidence_links=True)
    client = create_app(settings, book=load_book(content, "here"), clock=clock).test_client()
    page = client.get(link(high(cards(client)))).text

    assert "Dr. Adams" in page
    assert "local agreement" in page
    assert "&gt; 6 mg/dL" in page


def test_links_on_the_page_lead_to_sources_and_nowhere_else(client: FlaskClient) -> None:
    page = Page(client.get(link(cards(client)[0])).text)
    targets = {attrs["href"] or "" for tag, attrs in page.elements if tag == "a"}

    assert all(target.startswith(("/rules/", "#main")) for target in targets)
    assert all(client.get(target).status_code == 200 for target in targets if target.startswith("/rules/"))
    assert not page.tags() & {"script", "style", "img", "iframe", "object", "form", "button", "input"}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on") or name == "style"]


def test_every_answer_is_private(client: FlaskClient) -> None:
    for address in (link(cards(client)[0]), "/evidence/nothing"):
        headers = client.get(address).headers

        assert "no-store" == headers["Cache-Control"]
        assert "no-referrer" == headers["Referrer-Policy"]
        assert "noindex" in headers["X-Robots-Tag"]
        assert "nosniff" == headers["X-Content-Type-Options"]
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
        assert "script-src" not in headers["Content-Security-Policy"]


def test_pages_that_may_frame_it_are_listed(make_app: Callable[..., Flask]) -> None:
    app = make_app(public_url=PUBLIC, evidence_links=True, evidence_frames=("https://ehr.example",))
    policy = app.test_client().get("/evidence/nothing").headers["Content-Security-Policy"]

    assert policy.endswith("frame-ancestors https://ehr.example")


def test_no_log_line_names_a_patient_or_an_address(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "cds_service")
    address = link(cards(client)[0])
    client.get(address)
    client.get(f"{address}x")
    said = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    signature = parse_qs(urlsplit(address).query)["signature"][0]

    told = [getattr(record, "fields", {}) for record in caplog.records]

    assert ["shown", "unknown"] == [one["result"] for one in told if one.get("event") == "evidence"]
    for secret in (PATIENT, NAME, signature, urlsplit(address).path.rpartition("/")[2], "7.1"):
        assert secret not in said


def test_the_page_itself_names_nobody(client: FlaskClient) -> None:
    page = client.get(link(cards(client)[0])).text

    assert not any(secret in page for secret in (PATIENT, NAME, "1967", SERVER, STRANGER))


# --- with a ledger ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    found = Ledger.open(
        f"sqlite:///{tmp_path}/ledger.db", Key(b"a key for tests, of which nobody need be afraid"), clock
    )
    found.start()
    yield found
    found.close(1.0)


def recorded(book: RuleBook, clock: Clock, ledger: Ledger) -> FlaskClient:
    settings = Settings(auth="none", public_url=PUBLIC, evidence_links=True)
    return create_app(settings, book=book, clock=clock, ledger=ledger).test_client()


def test_every_process_shows_what_one_of_them_recorded(book: RuleBook, clock: Clock, ledger: Ledger) -> None:
    client, other = recorded(book, clock, ledger), recorded(book, clock, ledger)
    found = cards(client)
    assert ledger.flush()
    page = other.get(link(high(found)))

    assert 200 == page.status_code
    for said in (
        "Kidney failure with high phosphate",
        "7.1 mg/dL",
        "Why you see this",
        "Made from the recorded decision",
    ):
        assert said in page.text
    assert 0 == len(client.application.extensions["evidence"].memory._kept)
    assert not any(secret in page.text for secret in (PATIENT, NAME, "1967"))
    # Without the words of the chart things have the catalogue's names, and never our ids.
    assert "End-stage kidney disease (SNOMED CT 46177005)" in page.text
    assert "met-eskd" not in page.text


def test_both_roads_tell_the_same_trail(book: RuleBook, clock: Clock, ledger: Ledger, client: FlaskClient) -> None:
    """The trail of a recorded decision ends in the same verdicts, line by line."""
    with_ledger = recorded(book, clock, ledger)
    found, direct = cards(with_ledger), cards(client)
    assert ledger.flush()

    def verdicts(text: str) -> list[str]:
        return re.findall(r'class="verdict (\w+)"', text)

    assert verdicts(client.get(link(direct[0])).text) == verdicts(with_ledger.get(link(found[0])).text)


def test_a_decision_that_is_not_written_yet_is_asked_for_again(book: RuleBook, clock: Clock, ledger: Ledger) -> None:
    client = recorded(book, clock, ledger)
    here = client.application.extensions["evidence"]
    address = here.signer.address("", Pointer("00000000-0000-4000-8000-000000000000", 1, int(clock.now) + 60))
    answer = client.get(address)

    assert 404 == answer.status_code
    assert "load the page once more" in answer.text


def test_when_the_rules_have_changed_the_page_says_so(book: RuleBook, clock: Clock, ledger: Ledger) -> None:
    client = recorded(book, clock, ledger)
    address = link(cards(client)[0])
    assert ledger.flush()
    client.application.extensions["cds"].shelf.book = msgspec.structs.replace(book, fingerprint="another", memo={})

    assert "THE RULES HAVE CHANGED" in client.get(address).text


def test_without_its_database_the_page_can_wait(
    book: RuleBook, clock: Clock, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = recorded(book, clock, ledger)
    address = link(cards(client)[0])

    def down(_number: str) -> None:
        raise Unavailable("down")

    monkeypatch.setattr(ledger, "decision", down)

    assert 503 == client.get(address).status_code
