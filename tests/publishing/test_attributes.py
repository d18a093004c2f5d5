"""
Source attributes: all thirteen, and what they say of a person's data is true of what the rule does.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from cds_service import __version__, decoding
from cds_service.facts.intake import take_in
from cds_service.facts.model import Facts
from cds_service.publishing import intended
from cds_service.publishing.attributes import (
    NAMES,
    NOT_USED,
    USED,
    Publisher,
    SourceAttributes,
    attributes,
    cautions,
    uses,
)
from cds_service.publishing.catalogue import Vignettes
from cds_service.rules import vignettes as running
from cds_service.rules.book import RuleBook
from cds_service.rules.words import WORDS
from tests.publishing.conftest import DAY, SAMPLE

SEX, BORN = 10, 11
PUBLISHER = Publisher("A developer", "A foundation", __version__)


def of(book: RuleBook, rule: str = SAMPLE) -> SourceAttributes:
    return attributes(book.rules[rule], book, DAY, PUBLISHER)


def test_every_rule_states_all_thirteen(book: RuleBook) -> None:
    for rule in book.rules:
        stated = of(book, rule).source_attributes

        assert list(enumerate(NAMES, 1)) == [(one.number, one.name) for one in stated]
        assert all(line for one in stated for line in one.value)


def test_developer_and_funding_are_those_of_the_publisher(book: RuleBook) -> None:
    _, developer, funding, *_ = of(book).source_attributes
    nobody = attributes(book.rules[SAMPLE], book, DAY, Publisher()).source_attributes[2]

    assert ("A developer",) == developer.value
    assert ("A foundation",) == funding.value
    assert ("not stated", ("not stated",)) == (nobody.use, nobody.value)


def test_every_citation_comes_with_how_it_was_read(book: RuleBook) -> None:
    for rule in book.rules.values():
        shown = of(book, rule.id)

        assert rule.evidence == shown.evidence
        assert all(
            one.cite in line and one.status in line
            for one, line in zip(rule.evidence, shown.source_attributes[0].value, strict=True)
        )


def test_a_release_that_is_not_recorded_is_said_to_be_so(book: RuleBook) -> None:
    dates = of(book).source_attributes[3].value

    assert "Release: not stated in the rule" in dates
    assert any(str(book.rules[SAMPLE].reviewed) in line for line in dates)


def test_no_word_of_the_rule_language_reads_what_is_said_not_to_be_used() -> None:
    """
    Race, ethnicity, language, orientation, gender identity, social determinants: there is no word for them.
    """
    assert not set(WORDS) & {"race", "ethnicity", "language", "orientation", "gender", "gender_identity", "social"}


# --- what is said of sex and date of birth, tried out ---------------------------------------------------------------


def ageless(facts: Facts) -> Facts:
    return person(facts, born=None)


def other_sex(facts: Facts) -> Facts:
    return person(facts, sex="male" if facts.person.sex == "female" else "female")


def person(facts: Facts, **changes: object) -> Facts:
    """Change the person; what was already derived of them is forgotten."""
    return msgspec.structs.replace(facts, person=msgspec.structs.replace(facts.person, **changes), memo={})


@pytest.mark.parametrize(("number", "change"), [(BORN, ageless), (SEX, other_sex)], ids=["date of birth", "sex"])
def test_a_rule_that_does_not_use_it_says_the_same_without_it(
    monkeypatch: pytest.MonkeyPatch,
    book: RuleBook,
    vignettes: Vignettes,
    number: int,
    change: Callable[[Facts], Facts],
) -> None:
    judged = [one for name, rule in book.rules.items() if number not in uses(rule) for one in vignettes.get(name, ())]
    usual = [running.run(one, book).wrong for one in judged]
    monkeypatch.setattr(running, "take_in", lambda *asked: change(take_in(*asked)))
    told = [running.run(one, book).wrong for one in judged]

    assert [] == [
        (vignette.file, vignette.name, after)
        for vignette, before, after in zip(judged, usual, told, strict=True)
        if before != after
    ]


def test_a_release_that_is_recorded_is_stated(changed: Callable[..., RuleBook]) -> None:
    released = changed(("reviewed: 2026-11-21", "reviewed: 2026-11-21\nreleased: 2026-12-01"))

    assert "Release: 2026-12-01" in of(released).source_attributes[3].value


def test_limits_of_age_use_the_date_of_birth(changed: Callable[..., RuleBook]) -> None:
    aged = changed(
        ("  all:\n    - is: eskd", "  all:\n    - age: years\n      at_least: adult\n    - is: eskd"),
        (
            "thresholds:\n",
            (
                "thresholds:\n  adult: {means: age of adults, unit: years, allowed: 1 to 18, values: {2026-11-21: 18}, "
                "source: a test}\n"
            ),
        ),
    )

    assert {BORN} == set(uses(aged.rules[SAMPLE]))


def test_a_word_about_sex_uses_sex(changed: Callable[..., RuleBook]) -> None:
    gendered = changed(("  all:\n    - is: eskd", "  all:\n    - sex: female\n    - is: eskd"))
    shown = {one.number: one.use for one in of(gendered).source_attributes}

    assert USED == shown[SEX]
    assert NOT_USED == shown[BORN]


def test_race_based_results_are_declared_where_egfr_is_read(book: RuleBook) -> None:
    for rule in book.rules.values():
        read = {code for name in rule.reads | rule.helps for _, code in book.terminology.codes.get(name, ())}
        race = of(book, rule.id).source_attributes[4]

        assert NOT_USED == race.use
        assert ("48642-3" in read) == any("race coefficient" in line for line in race.value)


# --- what goes with them --------------------------------------------------------------------------------------------


def test_intended_use_and_remarks_stand_on_every_rule(book: RuleBook) -> None:
    shown = of(book)

    assert intended.INTENDED_USE == shown.intended_use
    assert any("HTI-5" in remark for remark in shown.regulatory_remarks)


def test_what_a_site_changed_is_shown_with_who_and_why(changed: Callable[..., RuleBook]) -> None:
    site = (
        "site: general\nthresholds:\n"
        f"  {SAMPLE}.phosphate_high:\n    - {{since: 2026-06-01, value: 6, who: A. Nephrologist, why: local policy}}\n"
    )
    shown = next(one for one in of(changed(site=site)).thresholds if one.name == "phosphate_high")

    assert ("6 mg/dL", "site") == (shown.value, shown.layer)
    assert [("A. Nephrologist", "local policy")] == [(one.who, one.why) for one in shown.by_site]


def test_the_number_in_force_is_that_of_the_day(book: RuleBook) -> None:
    for rule in book.rules.values():
        shown = {one.name: one.since for one in of(book, rule.id).thresholds}

        assert {name: threshold.on(DAY).since for name, threshold in rule.thresholds.items()} == shown


def test_points_that_were_never_validated_are_cautioned_against(book: RuleBook) -> None:
    rule = book.rules[SAMPLE]
    counting = msgspec.structs.replace(rule, document={**rule.document, "when": {"points": {"of": []}}})

    assert intended.UNVALIDATED_POINTS in list(cautions(counting, DAY))
    assert intended.UNVALIDATED_POINTS not in list(cautions(rule, DAY))


def test_a_rule_that_is_not_active_says_that_its_card_is_not_shown(book: RuleBook) -> None:
    pilot = msgspec.structs.replace(book.rules[SAMPLE], status="pilot")

    assert any("not shown" in one for one in cautions(pilot, DAY))
    assert not any("not shown" in one for one in cautions(book.rules[SAMPLE], DAY))


def test_what_is_published_travels_as_json(book: RuleBook) -> None:
    for rule in book.rules:
        assert rule == decoding.decode(msgspec.json.encode(of(book, rule)))["id"]


def test_a_rule_that_waits_for_a_setting_says_that_it_is_off(changed: Callable[..., RuleBook]) -> None:
    switched = changed(
        ("  all:\n    - is: eskd", "  all:\n    - enabled: wanted\n    - is: eskd"),
        (
            "thresholds:\n",
            (
                "thresholds:\n  wanted: {means: whether it is wanted, unit: '', allowed: on or off, "
                "values: {2026-01-01: false}, source: a test}\n"
            ),
        ),
    )

    assert "The card is not shown: a setting is off (whether it is wanted)." in of(switched).cautions
