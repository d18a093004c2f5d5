"""
The book is loaded whole or not at all, and a broken one never replaces a good one.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from cds_service.errors import ContentError
from cds_service.facts.model import KINDS, PAST_MEDICATIONS
from cds_service.rules import RuleBook, Shelf, load_book, needs
from tests.rules.bedside import CONTENT, RULE, SERVICE, changed, small_content


@pytest.fixture(scope="module")
def book() -> RuleBook:
    return load_book(CONTENT)


def test_a_broken_book_leaves_the_good_one_in_force(tmp_path: Path) -> None:
    shelf = Shelf(load_book(small_content(tmp_path)))
    good = shelf.book
    small_content(tmp_path, RULE.replace("above: limit", "abvoe: limit"))

    assert not shelf.reload(tmp_path)
    assert good is shelf.book
    assert shelf.stale is not None
    assert "unknown-word" == shelf.stale.slug


def test_a_mended_book_takes_its_place(tmp_path: Path) -> None:
    shelf = Shelf(load_book(small_content(tmp_path)))
    shelf.reload(tmp_path / "nowhere")
    small_content(tmp_path, RULE.replace("version: 1", "version: 2"))

    assert shelf.reload(tmp_path)
    assert 2 == shelf.book.rules["of-a-test"].version
    assert shelf.stale is None


def test_content_of_an_unforeseen_shape_does_no_harm_either(tmp_path: Path) -> None:
    """
    Whatever goes wrong while loading, the book in force stays.
    """
    shelf = Shelf(load_book(small_content(tmp_path)))
    good = shelf.book
    (tmp_path / "concepts").unlink()
    (tmp_path / "concepts").mkdir()
    (tmp_path / "concepts" / "labs.yaml").write_text("kind: measurement\n", encoding="utf-8")

    assert not shelf.reload(tmp_path)
    assert good is shelf.book
    assert shelf.stale is not None


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    before = load_book(small_content(tmp_path)).fingerprint
    same = load_book(small_content(tmp_path)).fingerprint
    after = load_book(small_content(tmp_path, RULE.replace("version: 1", "version: 2"))).fingerprint

    assert before == same
    assert before != after


@pytest.mark.parametrize(
    ("old", "new", "slug", "line"),
    [
        ("first: [of-a-test]", "first: [of-a-tst]", "unknown-rule", 6),
        ("id: calcinosis-patient-view", "id: my service", "wrong-shape", 1),
        ("card_limit: 3", "card_limit: 99", "wrong-shape", 7),
    ],
)
def test_a_broken_service_is_refused(tmp_path: Path, old: str, new: str, slug: str, line: int) -> None:
    text, _ = changed(SERVICE, old, new)

    with pytest.raises(ContentError) as refusal:
        load_book(small_content(tmp_path, service=text))

    assert slug == refusal.value.slug
    assert f"patient-view/service.yaml:{line}" == refusal.value.where


def test_one_id_belongs_to_one_rule_and_one_service(tmp_path: Path) -> None:
    small_content(tmp_path)
    (tmp_path / "rules" / "metastatic").mkdir()
    twin = tmp_path / "rules" / "metastatic" / "of-a-test.yaml"
    twin.write_text(RULE.replace("chapter: monitoring", "chapter: metastatic"), encoding="utf-8")
    with pytest.raises(ContentError, match="stands twice"):
        load_book(tmp_path)

    twin.unlink()
    (tmp_path / "order-sign").mkdir()
    (tmp_path / "order-sign" / "service.yaml").write_text(SERVICE, encoding="utf-8")
    with pytest.raises(ContentError, match="stands twice"):
        load_book(tmp_path)


def test_every_prefetch_query_is_short_enough(book: RuleBook) -> None:
    for service in book.services.values():
        assert all(len(template) < 2_000 for template in service.service.prefetch.values())
        assert set(service.service.prefetch) <= {*KINDS, PAST_MEDICATIONS}


def test_a_rule_that_reads_every_test_could_still_be_asked(book: RuleBook) -> None:
    """
    The longest query there can be: every analyte, every lesion, every note and image, in one service.
    """
    words = book.terminology
    everything = frozenset([*words.analytes, *words.concepts])
    rule = msgspec.structs.replace(next(iter(book.rules.values())), reads=everything)

    assert all(len(template) < needs.MAX_URL for template in needs.templates([rule], words).values())


def test_a_query_that_grew_too_long_is_refused(book: RuleBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "MAX_URL", 200)

    with pytest.raises(ContentError, match="characters"):
        needs.templates(book.rules.values(), book.terminology)


def test_every_code_that_a_rule_reads_is_asked_for(book: RuleBook) -> None:
    """
    A test that is read and not asked for would be missing for ever.
    """
    for service in book.services.values():
        found = re.search(r"&code=([^&]*)", service.service.prefetch["observations"])
        asked = set(found[1].split(",")) if found else set()
        for rule in service.rules:
            for name in rule.reads | rule.helps:
                wanted = {code for system, code in book.terminology.codes.get(name, ()) if system == "LOINC"}
                if name in book.terminology.analytes:
                    assert wanted <= asked, f"{rule.id} reads {name}"


def test_nothing_is_asked_for_that_no_rule_reads(tmp_path: Path) -> None:
    prefetch = load_book(small_content(tmp_path)).services["calcinosis-patient-view"].service.prefetch

    assert {"patient", "observations", "medications", "statements"} == set(prefetch)
    assert re.search(r"code=14879-1,2777-1&", prefetch["observations"])


def test_every_rule_of_the_project_is_asked_at_every_hook_it_names(book: RuleBook) -> None:
    asked = {(rule.id, entry.service.hook) for entry in book.services.values() for rule in entry.rules}

    assert asked == {
        (rule.id, hook) for rule in book.rules.values() for hook in rule.hooks if rule.status in ("active", "pilot")
    }


def test_a_service_is_called_after_its_hook(book: RuleBook) -> None:
    assert all(f"calcinosis-{entry.service.hook}" == name for name, entry in book.services.items())


def test_related_rules_of_the_project_share_a_card(book: RuleBook) -> None:
    groups = book.merging.groups

    assert any("ca-p-product-target" in group and "eskd-hyperphosphatemia" in group for group in groups)
