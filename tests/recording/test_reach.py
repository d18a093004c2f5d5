"""Of long records only what a rule could read is kept, and every rule says the same of it, with any threshold."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest

from cds_service import decoding
from cds_service.facts import Facts
from cds_service.facts.evidence import Judgement
from cds_service.facts.model import Measurement
from cds_service.recording.reach import ANCHORS, BESIDE, DAYS, FEW, LONGEST, reach_of
from cds_service.recording.restoring import restored
from cds_service.recording.snapshot import Snapshot, snapshot
from cds_service.recording.writing import units_of
from cds_service.rules.book import RuleBook
from cds_service.rules.compiler import compile_clause
from cds_service.rules.model import Clause, Rule, Values
from cds_service.rules.scope import Scope
from cds_service.schemas.strict_yaml import Mapping, Sequence
from tests.build import NOW, Resource, observation
from tests.conftest import TakeIn
from tests.properties.charts import CONDITIONS

MEASURED = ("latest", "lowest", "highest", "rise", "fall", "not_done")
# LOINC code, unit, and values on both sides of what rules ask for.
TESTS: dict[str, tuple[str, tuple[float, ...]]] = {
    "phosphate": ("mg/dL", (1.9, 4.4, 5.8, 6.7, 8.4)),
    "calcium-total": ("mg/dL", (7.2, 9.4, 10.6, 11.3, 13.0)),
    "albumin": ("g/dL", (2.0, 3.1, 4.5)),
    "calcium-ionized": ("mmol/L", (1.0, 1.25, 1.45)),
    "pth": ("pg/mL", (8.0, 310.0, 1200.0)),
    "egfr": ("mL/min/{1.73_m2}", (8.0, 40.0, 95.0)),
    "alp": ("U/L", (90.0, 400.0)),
    "creatinine": ("mg/dL", (0.9, 1.6, 6.4)),
    "potassium": ("mmol/L", (4.0, 6.8)),
    "1963-8": ("mmol/L", (22.0, 34.0)),  # bicarbonate
    "3084-1": ("mg/dL", (5.0, 9.5)),  # uric acid
    "1989-3": ("ng/mL", (20.0, 90.0, 180.0)),  # 25-hydroxyvitamin D
    "29463-7": ("kg", (60.0, 66.0, 75.0)),  # weight
}


def long_record(random: Random) -> list[Resource]:
    """Return three years of a patient: some tests every few days, others twice a year, some long ago or never."""
    made, often = [make() for make in random.sample(CONDITIONS, random.randint(0, 3))], random.random() < 0.7
    for test in random.sample(sorted(TESTS), random.randint(6, len(TESTS))):
        unit, values = TESTS[test]
        days, apart = random.choice((0.3, 2.0, 25.0, 95.0, 170.0, 300.0)), random.choice((4.0, 12.0, 33.0, 90.0, 200.0))
        if often and test in ANCHORS:
            days, apart = 0.3, 12.0
        # For a while all results are the same: what differs, and may matter, comes before.
        usual, until = random.choice(values), days + random.choice((0.0, 60.0, 150.0))
        newest = True
        while days < 1_100:
            day = NOW.fromtimestamp(NOW.timestamp() - days * 86_400, NOW.tzinfo)
            vague = {"effectiveDateTime": f"{day:%Y-%m}"} if random.random() < 0.03 else {}
            value = usual if days < until and not newest else random.choice(values)
            made.append(observation(test, value, unit, days=days, **vague))
            days, newest = days + apart * random.uniform(0.3, 1.7), False
    return made


def kept(facts: Facts, book: RuleBook) -> Snapshot:
    return snapshot(facts, units_of(book), reach_of(book))


def clauses(node: Any, rule: Rule, book: RuleBook) -> Iterator[tuple[Mapping, Clause]]:
    """Yield every clause of a rule on its own: inside the rule another one may hide what it says."""
    if isinstance(node, Mapping) and {"is", *MEASURED} & {*node}:
        scope = Scope(rule.place, book.terminology, rule.thresholds, set(), {}, set())
        yield node, compile_clause(node, scope, node.line)
    elif isinstance(node, Mapping | Sequence):
        for part in node.values() if isinstance(node, Mapping) else node:
            yield from clauses(part, rule, book)


def thresholds(node: Mapping, rule: Rule, book: RuleBook) -> Iterator[Values]:
    """Yield the thresholds of the day, and each that a clause names at both ends, within a day or as long as may be."""
    day, named = NOW.date(), {name for name in node.values() if name in rule.thresholds}
    times = {name for name in named if rule.thresholds[name].unit in ("days", "h")}
    for wide in ({}, {name: rule.thresholds[name].high for name in times}):
        yield book.values(rule, day, wide)
        for name in named - {*wide}:
            for end in (rule.thresholds[name].low, rule.thresholds[name].high):
                yield book.values(rule, day, {**wide, name: end})


def said(judgement: Judgement) -> tuple[object, ...]:
    return judgement.verdict, judgement.missing, [one.when for one in judgement.items if isinstance(one, Measurement)]


@pytest.mark.parametrize("seed", range(24))
def test_every_clause_says_the_same_of_what_is_kept(seed: int, facts: TakeIn, book: RuleBook) -> None:
    record = long_record(Random(seed))
    whole, handed = facts(*record), facts(*record)
    again = restored(decoding.decode(msgspec.json.encode(kept(handed, book)), Snapshot))
    for rule in book.rules.values():
        for node, judge in clauses(rule.document["when"], rule, book):
            for values in thresholds(node, rule, book):
                expected = said(judge(whole, values))

                assert expected == said(judge(again, values)), (rule.id, dict(node), dict(values))


def test_a_long_record_is_kept_as_far_back_as_matters(facts: TakeIn, book: RuleBook) -> None:
    every_three_weeks = [
        observation(test, TESTS[test][1][0], TESTS[test][0], days=1 + 21 * place)
        for test in ("phosphate", "calcium-total", "albumin", "pth", "potassium")
        for place in range(80)
    ]
    found = kept(facts(*every_three_weeks), book).measurements
    many = {name: len(series.results) for name, series in found.items()}

    assert {"phosphate": 18, "calcium-total": 5, "albumin": 5, "pth": 5, "potassium": 5} == many
    assert all(series.cut for series in found.values())


def test_of_what_is_rarely_measured_the_newest_few_are_kept(facts: TakeIn, book: RuleBook) -> None:
    found = kept(facts(*(observation("pth", 310.0, "pg/mL", days=200 * place) for place in range(1, 8))), book)

    assert FEW == len(found.measurements["pth"].results)


def test_what_lies_beside_an_old_calcium_is_kept(facts: TakeIn, book: RuleBook) -> None:
    weekly = [observation("albumin", 3.1, "g/dL", days=1 + 7 * place) for place in range(80)]
    found = kept(facts(observation("calcium-total", 11.3, days=300), *weekly), book).measurements["albumin"]

    assert 300 + BESIDE - 7 < (NOW.timestamp() - _oldest(found.results[-1].when)) / 86_400 < 300 + BESIDE + 1


def _oldest(moment: str) -> float:
    return NOW.fromisoformat(moment).timestamp()


def test_no_threshold_lets_a_rule_look_further_back_than_is_kept(book: RuleBook) -> None:
    days = [
        one.high
        for rule in book.rules.values()
        for name, one in rule.thresholds.items()
        if one.unit == "days" and "age" not in name
    ]
    apart = [one.high for rule in book.rules.values() for one in rule.thresholds.values() if one.unit == "h"]

    assert max(days) < LONGEST
    assert max(apart) / 24 + 7 < BESIDE  # a product, and the albumin of its calcium
    assert max(book.rules["primary-hpt-pattern"].thresholds["pattern_days"].high, 30) < BESIDE
    assert {"phosphate", "weight"} == set(reach_of(book))
    assert DAYS < reach_of(book)["weight"]
