"""
The files of hooks/clients: what they may say, what is refused with file and line, and what ours say (EHRS.md).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.errors import ContentError
from cds_service.protocol.cards import Coding
from cds_service.protocol.profile import STANDARD, Profile
from cds_service.rules import clients
from cds_service.rules.book import RuleBook
from tests.build import LOINC, RXNORM

HEAD = "client: {name}\nsays: A client of a test, and of nothing else.\nsource: this test only\n"
OID = "urn:oid:2.16.840.1.113883.6.88"


def written(folder: Path, **texts: str) -> Path:
    """Write clients into a content folder."""
    (folder / "clients").mkdir()
    for name, text in texts.items():
        (folder / "clients" / f"{name}.yaml").write_text(HEAD.format(name=name) + text, encoding="utf-8")
    return folder


def loaded(folder: Path, book: RuleBook, **texts: str) -> dict[str, Profile]:
    return clients.load(written(folder, **texts), book.terminology)


def test_a_content_folder_without_clients_knows_the_standard(tmp_path: Path, book: RuleBook) -> None:
    assert {"standard": STANDARD} == clients.load(tmp_path, book.terminology)


def test_a_client_is_like_another_but_for_what_it_says(tmp_path: Path, book: RuleBook) -> None:
    found = loaded(
        tmp_path,
        book,
        vendor=f'selection: [any]\nspelling: {{RxNorm: "{OID}"}}\ncode_systems: {{"urn:oid:1.2": LOINC}}\n',
        hospital='like: vendor\nline_length: 60\ncode_systems: {"urn:oid:1.3": SNOMED CT}\n',
    )

    assert (("any",), 60, {RXNORM: OID}) == (
        found["hospital"].selection,
        found["hospital"].line_length,
        found["hospital"].spelling,
    )
    assert {"urn:oid:1.2": "LOINC", "urn:oid:1.3": "SNOMED CT"} == found["hospital"].code_systems


def test_own_codes_are_found_by_what_we_would_have_sent(tmp_path: Path, book: RuleBook) -> None:
    text = (
        'order_codes: {phosphate: {code: "4711", system: "urn:oid:1.2", display: PHOS}}\n'
        'override_reasons: {known-stable: {code: "7", system: "urn:oid:1.3", display: Stable}}\n'
        "omits: [overrideReasons]\n"
    )

    found = loaded(tmp_path, book, vendor=text)["vendor"]

    assert {(LOINC, "2777-1"): Coding("4711", "urn:oid:1.2", "PHOS")} == found.own_codes
    assert {"known-stable": Coding("7", "urn:oid:1.3", "Stable")} == found.override_reasons
    assert ("override_reasons",) == found.omits


@pytest.mark.parametrize(
    ("text", "slug", "line", "says"),
    [
        ("selection: [some]\n", "wrong-shape", 4, "some"),
        ("selektion: [any]\n", "wrong-shape", 4, 'Did you mean "selection"?'),
        ("line_length: 5\n", "wrong-shape", 4, "5"),
        ("detail_type: text/html\n", "wrong-shape", 4, "text/html"),
        ("code_systems:\n  urn:oid:1.2: LONIC\n", "unknown-name", 5, 'Did you mean "LOINC"?'),
        ("spelling:\n  RXNORM: urn:oid:1.2\n", "unknown-name", 5, "RXNORM"),
        ("spelling: {RxNorm: rxnorm}\n", "wrong-shape", 4, "rxnorm"),
        ("order_codes: {phosfate: {code: a, system: urn:b, display: c}}\n", "unknown-name", 4, "phosphate"),
        ("override_reasons: {stable: {code: a, system: urn:b, display: c}}\n", "unknown-name", 4, "stable"),
        ("order_codes: {phosphate: {code: a, system: urn:b}}\n", "wrong-shape", 4, "display"),
        ("like: epik\n", "unknown-client", 4, "epik"),
        ("like: vendor\n", "unknown-client", 4, "like itself"),
        ("one_action: true\none_action: false\n", "duplicate-key", 5, "stands twice"),
    ],
)
def test_a_file_that_does_not_read_is_refused(
    tmp_path: Path, book: RuleBook, text: str, slug: str, line: int, says: str
) -> None:
    with pytest.raises(ContentError) as refusal:
        loaded(tmp_path, book, vendor=text)

    assert (slug, f"clients/vendor.yaml:{line}") == (refusal.value.slug, refusal.value.where)
    assert says in str(refusal.value)


def test_a_file_is_called_as_its_client(tmp_path: Path, book: RuleBook) -> None:
    folder = written(tmp_path, vendor="")
    (folder / "clients" / "vendor.yaml").rename(folder / "clients" / "vender.yaml")

    with pytest.raises(ContentError) as refusal:
        clients.load(folder, book.terminology)

    assert ("id-is-file-name", "clients/vender.yaml:1") == (refusal.value.slug, refusal.value.where)


# What EHRS.md says of each, in a table: selectionBehavior, links, appContext, content type, lines, what is left out.
OURS = {
    "standard": (("any", "at-most-one"), ("absolute", "smart"), True, "", 0, ()),
    "sandbox": (("any", "at-most-one"), ("absolute", "smart"), True, "", 0, ()),
    "hapi": (("any", "at-most-one"), ("absolute", "smart"), True, "", 0, ()),
    "athena": (("any", "at-most-one"), ("absolute", "smart"), True, "", 72, ()),
    "epic": (("any",), ("absolute", "smart"), True, "com.epic.cdshooks.card.detail.content-type", 0, ()),
    "oracle-health": (("at-most-one",), ("absolute",), False, "", 48, ("override_reasons",)),
}


def test_what_our_clients_are_said_to_support(book: RuleBook) -> None:
    found = {
        name: (one.selection, one.links, one.app_context, one.detail_extension, one.line_length, one.omits)
        for name, one in book.clients.items()
    }

    assert OURS == found
    assert book.clients["standard"] is STANDARD
    assert ("/rules/",) == book.clients["oracle-health"].listed_links
    assert OID == book.clients["epic"].spelling[RXNORM]


def test_the_topic_of_every_rule_suits_epic(book: RuleBook) -> None:
    """
    Epic remembers overrides by source.topic.code: alphanumeric, at most 100 characters, static.
    """
    topics = [rule.topic for rule in book.rules.values()]

    assert all(topic.isalnum() and topic.isascii() and len(topic) <= 100 for topic in topics)
    assert len(set(topics)) == len(topics)
