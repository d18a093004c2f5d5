"""
From codes and words in a record to the concepts that rules name.
"""

from __future__ import annotations

import pytest

from cds_service.terminology import CodeSystems, Coding, Match, Terminology
from cds_service.terminology.concepts import affirmed, word_pattern
from cds_service.terminology.meaning import (
    AMBIGUOUS,
    NO_SYSTEM,
    NOT_OURS,
    Index,
    Meaning,
    Remembered,
    Row,
    read_meaning,
)
from tests.moments import quickest, spent

SYSTEMS = CodeSystems({"A": "http://a", "ICD-10-CM": "http://icd"}, {})


def index(*, names_suffice: bool = False, names_one_thing: bool = False) -> Index:
    """Return an index of a few codes: 1 and 2 are different things, 12 is both, G is shared with other diseases."""
    made = Index({}, {}, {}, unless={}, names_suffice=names_suffice, names_one_thing=names_one_thing)
    for code, concept in (("1", "one"), ("2", "two"), ("12", "one"), ("12", "two")):
        made.add("A", code, Row(Match(concept, "code", "A", code)))
    made.add("A", "G", Row(Match("one", "code", "A", "G"), generic=True))
    made.add_block("ICD-10-CM", "L97", Row(Match("two", "block", "ICD-10-CM", "L97")))
    pattern = word_pattern(("uno", "one thing"))
    assert pattern is not None
    made.text["one"] = pattern

    return made


def meant(found: Meaning) -> dict[str, str]:
    """Return the concepts with how each was recognised."""
    return {match.concept: match.how for match in found.matches}


def read(*codings: tuple[str | None, str | None], text: str | None = None, **options: bool) -> Meaning:
    """Read a code element with these codings."""
    return read_meaning(index(**options), SYSTEMS, [Coding(system, code) for system, code in codings], text)


@pytest.mark.parametrize(
    ("codings", "concepts"),
    [
        ([("http://a", "1")], {"one": "code"}),
        ([("http://a", "12")], {"one": "code", "two": "code"}),
        ([("http://icd", "L97.122")], {"two": "block"}),
        ([("http://icd", "l97122")], {"two": "block"}),
        ([("http://icd", "L9")], {}),
        ([("http://b", "1"), ("http://a", "1")], {"one": "code"}),
        ([("http://a", "9")], {}),
        ([("http://a", None), (None, "1")], {}),
        ([], {}),
    ],
    ids=str,
)
def test_codes_mean_concepts(codings: list[tuple[str | None, str | None]], concepts: dict[str, str]) -> None:
    assert concepts == meant(read(*codings))


@pytest.mark.parametrize(
    ("codings", "reason"),
    [([("http://a", "9")], NOT_OURS), ([(None, "1")], NO_SYSTEM), ([("", "1")], NO_SYSTEM), ([], NOT_OURS)],
    ids=str,
)
def test_what_means_nothing_says_why(codings: list[tuple[str | None, str | None]], reason: str) -> None:
    assert reason == read(*codings).reason


def test_every_coding_that_was_met_is_remembered_for_the_drift_list() -> None:
    assert (("A", "9"), ("http://b", "x"), ("", "1")) == read(("http://a", "9"), ("http://b", "x"), (None, "1")).seen


def test_two_codes_of_one_system_contradict_each_other_only_where_one_thing_is_named() -> None:
    codings = [("http://a", "1"), ("http://a", "2")]

    assert {"one", "two"} == set(meant(read(*codings)))
    assert ({}, AMBIGUOUS) == (meant(found := read(*codings, names_one_thing=True)), found.reason)


def test_codes_that_share_a_concept_do_not_contradict_each_other() -> None:
    assert {"one", "two"} == set(meant(read(("http://a", "1"), ("http://a", "12"), names_one_thing=True)))


@pytest.mark.parametrize(("text", "how"), [(None, None), ("something", None), ("One Thing", "text"), ("no uno", None)])
def test_a_shared_code_needs_words(text: str | None, how: str | None) -> None:
    assert how == meant(read(("http://a", "G"), text=text)).get("one")


@pytest.mark.parametrize(("suffice", "how"), [(False, None), (True, "name")])
def test_a_name_alone_counts_only_where_names_suffice(suffice: bool, how: str | None) -> None:
    assert how == meant(read(text="uno", names_suffice=suffice)).get("one")


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("uno", True),
        ("UNO, acute", True),
        ("pre-uno", False),
        ("unos", False),
        ("no uno", False),
        ("not known: uno", False),
        ("denies uno", False),
        ("no fever; uno", True),
        ("no fever, uno", True),
        ("no fever. Uno", True),
        ("uno unlikely", False),
        ("uno, unlikely", True),
        ("uno ?", False),
        ("history of uno", False),
        ("x" * 500 + " uno", False),
        ("", False),
    ],
)
def test_a_text_affirms_what_it_names_unless_it_denies_it(text: str, yes: bool) -> None:
    pattern = word_pattern(("uno",))
    assert pattern is not None

    assert yes == affirmed(pattern, text)


@pytest.mark.parametrize("text", ["no " * 40_000, "uno " * 30_000, "uno" + "," * 100_000, "? " * 60_000], ids=len)
def test_a_long_text_is_read_in_a_moment(words: Terminology, text: str) -> None:
    def read() -> None:
        for pattern in words.indexes["medication"].text.values():
            affirmed(pattern, text)

    assert quickest(lambda: spent(read), 1.0) < 1.0


def test_a_memory_has_a_bound() -> None:
    reads: list[bytes] = []

    def once(raw: bytes) -> Meaning:
        reads.append(raw)
        return Meaning()

    remembered = Remembered(once, {}, limit=3)
    for raw in (b"1", b"1", b"2", b"3", b"4", b"1", b"x" * 5_000, b"x" * 5_000):
        remembered(raw)

    assert len(remembered.kept) <= 3
    assert [b"1", b"2", b"3", b"4", b"1"] == reads[:5]
    assert 2 == reads.count(b"x" * 5_000)


def test_no_concept_is_recognised_by_nothing(words: Terminology) -> None:
    for kind in words.indexes.values():
        assert all(not pattern.search("") for pattern in kind.text.values())
