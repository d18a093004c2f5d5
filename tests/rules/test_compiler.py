"""
What the compiler refuses: each with its slug, the line it stands on, and the word that was probably meant.
"""

from __future__ import annotations

import pytest

from cds_service.errors import ContentError
from tests.rules.bedside import clause, judge

# The clause stands below "when:", so that its first line is line 2.
REFUSED = [
    # clause, slug, line, what the message says
    ("just words", "not-a-clause", 1, "must be a word"),
    ("lastest: phosphate\nabove: limit", "unknown-word", 2, 'Did you mean "latest"?'),
    ("latest: phosphate\nabvoe: limit", "unknown-word", 3, 'Did you mean "above"?'),
    ("within: days", "one-word", 2, "this one has 0"),
    ("has: calcinosis\ntaking: vka", "one-word", 2, "this one has 2"),
    ("all: [{has: calcinosis}]\nhas: calcinosis", "one-word", 2, "this one has 2"),
    ("all: [{has: calcinosis}]\nwithin: days", "one-word", 2, "stands alone"),
    ("all: calcinosis", "not-a-list", 2, "list of clauses"),
    ("any: []", "not-a-list", 2, "list of clauses"),
    ("not:", "not-a-clause", 2, "must be a word"),
    ("at_least: {n: two}", "missing-qualifier", 2, "n and of"),
    ("at_least: {n: tow, of: [{has: calcinosis}]}", "unknown-threshold", 2, 'Did you mean "two"?'),
    ("at_least: {n: days, of: [{has: calcinosis}]}", "wrong-unit", 2, "is in days, but here n is needed"),
    ("points: [{has: calcinosis}]", "missing-qualifier", 2, "at_least and of"),
    ("points: {at_least: threshold}", "missing-qualifier", 2, "at_least and of"),
    ("points: {at_least: two, of: []}", "wrong-unit", 2, "here points is needed"),
    ("points: {at_least: threshold, of: []}", "not-a-list", 2, "weights and clauses"),
    ("points: {at_least: threshold, of: [{has: calcinosis}]}", "missing-qualifier", 2, "a weight and a when"),
    ("points: {at_least: threshold, of: [{weight: one_point}]}", "missing-qualifier", 2, "a weight and a when"),
    ("points: {at_least: threshold, of: [{weight: limit, when: {has: calcinosis}}]}", "wrong-unit", 2, "points"),
    ("points: {at_least: threshold, of: [{weight: malus, when: {has: calcinosis}}]}", "wrong-value", 2, "below zero"),
    ("latest: nxp2", "qualitative", 2, "Write positive: nxp2"),
    ("rise: ana\nwithin: days\nby_factor: twice", "qualitative", 2, "Write positive: ana"),
    ("positive: phosphate", "not-qualitative", 2, "measured in numbers"),
    ("positive: vka", "wrong-kind", 2, "needs a measurement"),
    ("done: capillary\ntimes: days", "wrong-unit", 3, "here n is needed"),
    ("latest: pth-ratio\nabove: nine", "missing-qualifier", 2, "needs upper_limit"),
    ("latest: pth-ratio\npaired_within: hours\nupper_limit: uln", "wrong-qualifier", 3, "which needs upper_limit"),
    ("latest: phosphate\nabove: 5.5", "number-in-clause", 3, "must name a threshold"),
    ("latest: phosphate\nabove: limt", "unknown-threshold", 3, 'Did you mean "limit"?'),
    ("latest: phosphate\nabove: days", "wrong-unit", 3, "is in days, but here mg/dL is needed"),
    ("latest: phosphate\nwithin: hours", "wrong-unit", 3, "is in h, but here days is needed"),
    ("latest: phosphat\nabove: limit", "unknown-concept", 2, 'Did you mean "phosphate"?'),
    ("latest: 5\nabove: limit", "not-a-concept", 2, "must name one concept"),
    ("latest: vka\nabove: limit", "wrong-kind", 2, 'is a medication; "latest" needs a measurement'),
    ("latest: calcium\nabove: limit", "group-not-allowed", 2, "calcium-total, calcium-corrected"),
    ("latest: ca-p-product\nabove: product", "missing-qualifier", 2, "needs paired_within"),
    ("latest: phosphate\npaired_within: hours", "wrong-qualifier", 3, "measured by itself"),
    ("has: phosphate", "wrong-kind", 2, "needs a diagnosis"),
    ("taking: met-eskd", "wrong-kind", 2, "needs a medication"),
    ("done: vka", "wrong-kind", 2, "needs a procedure"),
    ("taking: vka\nwithin: days", "wrong-qualifier", 3, 'With "taking" go: no qualifiers'),
    ("has: calcinosis\nabove: limit", "wrong-qualifier", 3, 'With "has" go: within'),
    ("is: esdk", "unknown-fact", 2, 'Did you mean "eskd"?'),
    ("is: eskd\nwithin: days", "wrong-qualifier", 3, 'does not go with "is: eskd"'),
    ("is: advanced-ckd", "missing-qualifier", 2, "needs egfr_below"),
    ("is: advanced-ckd\negfr_below: limit", "wrong-unit", 3, "mL/min/{1.73_m2} is needed"),
    ("age: years", "missing-qualifier", 2, "needs at_least or below"),
    ("age: months\nat_least: adult", "wrong-value", 2, "counted in years or in days"),
    ("age: days\nbelow: adult", "wrong-unit", 3, "here days is needed"),
    ("sex: woman", "wrong-value", 2, "female or male"),
    ("enabled: limit", "wrong-unit", 2, "no unit is needed"),
    ("rise: phosphate\nwithin: days", "missing-qualifier", 2, "either by_at_least or by_factor"),
    ("rise: phosphate\nby_factor: twice", "missing-qualifier", 2, "needs within"),
    ("fall: phosphate\nwithin: days\nby_factor: twice\nby_at_least: by", "missing-qualifier", 2, "either"),
    ("not_done: phosphate", "missing-qualifier", 2, 'needs "within"'),
]


@pytest.mark.parametrize(("text", "slug", "line", "says"), REFUSED, ids=[text for text, *_ in REFUSED])
def test_what_does_not_read_is_refused(text: str, slug: str, line: int, says: str) -> None:
    with pytest.raises(ContentError) as refusal:
        clause(text)

    assert slug == refusal.value.slug
    assert f"rules/test/of-a-test.yaml:{line}" == refusal.value.where
    assert says in str(refusal.value)


def test_a_clause_inside_a_list_is_refused_on_its_own_line() -> None:
    with pytest.raises(ContentError) as refusal:
        clause("all:\n  - has: calcinosis\n  - any:\n      - has: met-esdk")

    assert "rules/test/of-a-test.yaml:5" == refusal.value.where
    assert 'Did you mean "met-eskd"?' in str(refusal.value)


def test_at_least_joins_clauses_or_narrows_a_measurement() -> None:
    """
    ``at_least`` with n and of counts clauses; with the name of a threshold it is a limit.
    """
    joined = judge("at_least: {n: two, of: [{has: calcinosis}, {has: met-eskd}]}", "diagnoses: [met-eskd]")
    narrowed = judge("latest: phosphate\nat_least: limit", "labs: {phosphate: {1 day ago: 5.5 mg/dL}}")

    assert "no" == joined.verdict.value
    assert "yes" == narrowed.verdict.value
