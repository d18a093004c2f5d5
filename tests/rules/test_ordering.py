"""
What is being ordered: the word, and the rules that speak only of certain orders.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cds_service.errors import ContentError
from cds_service.facts.evidence import NO, UNKNOWN, YES, Verdict
from cds_service.facts.model import Draft
from cds_service.rules import Rule, load_book, ordering
from cds_service.rules.ordering import ORDER_HOOKS, UNREAD
from tests.rules.bedside import RULE, SERVICE, changed, clause, facts, judge, small_content, words

ABOUT = RULE.replace("status: active\n", "status: active\nhooks: [patient-view, order-select]\nabout_order: [vka]\n")
HIGH = "labs: {phosphate: {3 days ago: 7.0 mg/dL}}\nmedications: [vka]"


def rule_of(folder: Path, text: str) -> Rule:
    """Return the rule that a content folder with this rule file loads."""
    return load_book(small_content(folder, text)).rules["of-a-test"]


def refused(folder: Path, text: str) -> ContentError:
    """Return why a rule file was refused."""
    with pytest.raises(ContentError) as refusal:
        load_book(small_content(folder, text))

    return refusal.value


# --- the word --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "orders", "verdict"),
    [
        ("ordering: vka", "[{product: '855332'}]", YES),
        ("ordering: vka", "[{text: Jantoven 5 mg}]", YES),
        ("ordering: vka", "[{concept: vka, status: cancelled}]", NO),
        ("ordering: vka", "[nephrology, vka]", YES),
        ("ordering: vitamin-d", "[vitd-nutr]", YES),
        ("ordering: vitamin-d", "[vka]", NO),
        ("ordering: nephrology", "[nephrology]", YES),
        ("ordering: nephrology", "[vka]", NO),
        ("ordering: phosphate", "[phosphate]", YES),
        ("ordering: hemodialysis", "[hemodialysis]", YES),
        ("ordering: vka", "[{unreadable: true}]", UNKNOWN),
        ("ordering: vka", "[{unreadable: true}, vka]", YES),
        ("ordering: vka", "[{unreadable: true, selected: false}]", NO),
        ("ordering: nephrology", "[{unreadable: true}]", NO),  # a medication, whichever it is, is no referral
    ],
)
def test_an_order_is_this_or_not_or_nobody_can_tell(when: str, orders: str, verdict: Verdict) -> None:
    assert judge(when, f"orders: {orders}").verdict is verdict


@pytest.mark.parametrize(
    ("reference", "wanted", "verdict"),
    [
        ("MedicationRequest/1", {"vka"}, UNKNOWN),
        ("MedicationRequest/1", {"nephrology"}, NO),
        ("MedicationRequest/1", {"vka", "nephrology"}, UNKNOWN),
        ("MedicationOrder/1", {"nephrology"}, NO),
        ("ServiceRequest/1", {"vka"}, NO),
        ("ServiceRequest/1", {"nephrology"}, UNKNOWN),
        ("ServiceRequest/1", {"vka", "nephrology"}, UNKNOWN),
        ("Appointment/1", {"vka"}, NO),
        ("Appointment/1", {"nephrology"}, UNKNOWN),
        ("NutritionOrder/1", {"vka"}, UNKNOWN),
        ("", {"vka"}, UNKNOWN),
    ],
)
def test_an_order_that_cannot_be_read_may_be_what_its_type_allows(
    reference: str, wanted: set[str], verdict: Verdict
) -> None:
    draft = Draft("", "", "", "its code means nothing here", "", reference=reference)
    asked = msgspec.structs.replace(facts("orders: []"), orders=(draft,))

    told = ordering.judge(asked, "ordering", frozenset(wanted), ordering.kinds_of(wanted, words()))

    assert verdict is told.verdict


def test_the_order_is_what_the_finding_rests_on() -> None:
    told = judge("ordering: vka", "orders: [nephrology, vka]")

    assert ["MedicationRequest/order-1"] == [getattr(item, "reference", "") for item in told.supporting()]
    assert "(RxNorm" in told.label


def test_what_is_missing_is_said() -> None:
    assert (UNREAD,) == judge("ordering: vka", "orders: [{unreadable: true}]").missing


@pytest.mark.parametrize(
    ("when", "slug"),
    [
        ("ordering: vkaa", "unknown-order"),
        ("ordering: met-eskd", "unknown-order"),
        ("ordering: sevelamer", "unknown-order"),
        ("ordering: [vka]", "not-a-concept"),
        ("ordering: vka\nwithin: days", "wrong-qualifier"),
    ],
)
def test_a_clause_that_does_not_read_is_refused(when: str, slug: str) -> None:
    with pytest.raises(ContentError) as refusal:
        clause(when)

    assert slug == refusal.value.slug


# --- rules about orders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scene", "verdict"),
    [
        (HIGH, YES),  # patient-view: the rule is asked as ever
        (f"{HIGH}\norders: [vka]", YES),
        (f"{HIGH}\norders: [nephrology]", NO),
        (f"{HIGH}\norders: []", NO),
        (f"{HIGH}\norders: [{{concept: vka, selected: false}}]", NO),
        (f"{HIGH}\norders: [{{unreadable: true}}]", UNKNOWN),
        ("orders: [vka]", NO),  # nothing is wrong with the patient
    ],
)
def test_where_the_hook_is_about_orders_a_rule_speaks_of_its_own_only(
    tmp_path: Path, scene: str, verdict: Verdict
) -> None:
    rule = rule_of(tmp_path, ABOUT)
    values = {name: threshold.values[0].value for name, threshold in rule.thresholds.items()}

    assert rule.when(facts(scene), values).verdict is verdict


def test_a_rule_knows_what_it_is_asked_about(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, ABOUT.replace("about_order: [vka]", "about_order: [vitamin-d, nephrology]"))

    assert ("patient-view", "order-select") == rule.hooks
    assert "vitd-nutr" in rule.about_order
    assert "nephrology" in rule.about_order


def test_what_is_ordered_is_not_asked_of_the_record(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, ABOUT.replace("taking: vka", "ordering: vka"))

    assert "vka" in rule.orders
    assert "vka" not in rule.reads


def test_a_rule_without_hooks_is_asked_when_a_chart_is_opened(tmp_path: Path) -> None:
    assert ("patient-view",) == rule_of(tmp_path, RULE).hooks


@pytest.mark.parametrize("hook", ORDER_HOOKS)
def test_a_rule_at_a_hook_about_orders_says_about_which(tmp_path: Path, hook: str) -> None:
    problem = refused(tmp_path, RULE.replace("status: active\n", f"status: active\nhooks: [{hook}]\n"))

    assert "missing-about-order" == problem.slug
    assert "rules/monitoring/of-a-test.yaml:6" == problem.where


@pytest.mark.parametrize(
    ("old", "new", "slug"),
    [
        ("hooks: [patient-view, order-select]", "hooks: [patient-view]", "idle-about-order"),
        ("about_order: [vka]", "about_order: [vkaa]", "unknown-order"),
        ("about_order: [vka]", "about_order: []", "wrong-shape"),
        ("order-select]", "order-selekt]", "wrong-shape"),
        ("order-select]", "patient-view]", "wrong-shape"),
        ("  workup: [phosphate]", "  alternatives: [phosphate]", "unknown-medication-to-order"),
        ("  workup: [phosphate]", "  alternatives: [sevelamr]", "unknown-medication-to-order"),
        ("  workup: [phosphate]", "  remove_draft: yes", "wrong-shape"),
    ],
)
def test_a_rule_about_orders_that_does_not_read_is_refused(tmp_path: Path, old: str, new: str, slug: str) -> None:
    text, _ = changed(ABOUT, old, new)

    assert slug == refused(tmp_path, text).slug


# --- services --------------------------------------------------------------------------------------------------------


def test_a_service_asks_every_rule_that_names_its_hook(tmp_path: Path) -> None:
    content = small_content(tmp_path, ABOUT)
    (content / "order-select").mkdir()
    text = SERVICE.replace("patient-view", "order-select").replace("first: [of-a-test]\n", "")
    (content / "order-select" / "service.yaml").write_text(text, encoding="utf-8")
    twin = ABOUT.replace("of-a-test", "of-another").replace("CC-99", "CC-98")
    (content / "rules" / "monitoring" / "of-another.yaml").write_text(twin, encoding="utf-8")

    asked = {name: [rule.id for rule in one.rules] for name, one in load_book(content).services.items()}

    assert {
        "calcinosis-order-select": ["of-another", "of-a-test"],
        "calcinosis-patient-view": ["of-a-test", "of-another"],  # its service puts it first
    } == asked


@pytest.mark.parametrize("status", ["draft", "retired"])
def test_a_service_without_rules_that_run_is_not_announced(tmp_path: Path, status: str) -> None:
    text = RULE.replace("status: active", f"status: {status}")

    assert {} == load_book(small_content(tmp_path, text)).services


def test_a_service_puts_first_only_what_it_asks(tmp_path: Path) -> None:
    service = SERVICE.replace("patient-view", "encounter-start")

    with pytest.raises(ContentError) as refusal:
        load_book(small_content(tmp_path, service=service))

    assert "not-asked-here" == refusal.value.slug
    assert "patient-view/service.yaml:6" == refusal.value.where
