"""A clause of the rule language, a patient in the words of a vignette, and the verdict."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import msgspec

from cds_service import terminology
from cds_service.facts.evidence import Judgement
from cds_service.facts.intake import Reader, take_in
from cds_service.facts.model import Facts
from cds_service.protocol.request import HookRequest
from cds_service.rules.calling import context_of
from cds_service.rules.chart import PATIENT_ID, Chart
from cds_service.rules.compiler import compile_clause
from cds_service.rules.model import Clause, Dated, Threshold, Value
from cds_service.rules.scope import Scope
from cds_service.schemas import strict_yaml
from cds_service.terminology import Terminology

CONTENT = Path(__file__).resolve().parents[2] / "hooks"
TODAY = date(2026, 3, 1)
# The thresholds that clauses in these tests may name: name, unit, value.
NUMBERS: dict[str, tuple[str, str]] = {
    "limit": ("mg/dL", "5.5"),
    "top": ("mg/dL", "7"),
    "days": ("days", "90"),
    "hours": ("h", "72"),
    "product": ("mg2/dL2", "70"),
    "adult": ("years", "18"),
    "old": ("years", "65"),
    "by": ("mg/dL", "1"),
    "twice": ("x", "2"),
    "two": ("n", "2"),
    "egfr_limit": ("mL/min/{1.73_m2}", "30"),
    "ca_high": ("mg/dL", "10.5"),
    "ica_high": ("mmol/L", "1.33"),
    "ca_low": ("mg/dL", "7.0"),
    "uln": ("pg/mL", "65"),
    "nine": ("x ULN", "9"),
    "newborn": ("days", "365"),
    "threshold": ("points", "3"),
    "malus": ("points", "0"),
    "one_point": ("points", "1"),
    "two_points": ("points", "2"),
    "phosphate_adult": ("mg/dL", "4.5"),
    "phosphate_child": ("mg/dL", "6.5"),
    "phosphate_low": ("mg/dL", "2.5"),
    "product_limit": ("mg2/dL2", "55"),
    "urate_high": ("mg/dL", "8"),
    "potassium_high": ("mmol/L", "6"),
    "bicarbonate_high": ("mmol/L", "28"),
    "creatinine_high": ("mg/dL", "1.3"),
    "egfr_sixty": ("mL/min/{1.73_m2}", "60"),
    "alp_high": ("U/L", "120"),
    "month": ("days", "30"),
    "low_dose": ("mg/d", "2"),
}
SWITCHES = {"on": True, "off": False}


@cache
def words() -> Terminology:
    """Return the terminology of the project."""
    return terminology.load(CONTENT / "concepts")


@cache
def _reader() -> Reader:
    return Reader(words())


def threshold(name: str, unit: str, value: Value) -> Threshold:
    """Return a threshold with one value and a wide band."""
    switch = isinstance(value, bool)
    band: tuple[Value, Value] = (False, True) if switch else (Decimal(0), Decimal(100_000))
    if name == "malus":
        band = (Decimal(-1), Decimal(1))
    return Threshold(name, "a number of a test", unit, *band, (Dated(date(2000, 1, 1), value),), "a test")


def scope() -> Scope:
    """Return the scope of a rule that declares NUMBERS and SWITCHES."""
    numbers = {name: threshold(name, unit, Decimal(value)) for name, (unit, value) in NUMBERS.items()}
    switches = {name: threshold(name, "", value) for name, value in SWITCHES.items()}
    return Scope("rules/test/of-a-test.yaml", words(), numbers | switches, set())


def clause(text: str) -> Clause:
    """Compile one clause that is written as YAML."""
    document = strict_yaml.parse(f"when:\n{_indented(text)}\n".encode(), "test")
    return compile_clause(document["when"], scope(), document.lines["when"])


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip("\n").split("\n"))


def facts(scene: str = "", now: str = "12:00") -> Facts:
    """Return the facts of a patient described in the words of a vignette, read on the real road."""
    document = strict_yaml.parse(("patient: 58-year-old woman\n" * ("patient:" not in scene) + scene).encode(), "test")
    hook, chart = "order-select" if "orders" in document else "patient-view", Chart(words(), TODAY, "test")
    body = {
        "hook": hook,
        "hookInstance": "test",
        "context": {"userId": "Practitioner/1", "patientId": PATIENT_ID, **context_of(document, hook, chart)},
        "prefetch": chart.prefetch(document),
    }
    moment = datetime.fromisoformat(f"{TODAY}T{now}:00").replace(tzinfo=UTC).timestamp()
    return take_in(HookRequest.parse(msgspec.json.encode(body), hook), _reader(), moment)


def judge(when: str, scene: str = "") -> Judgement:
    """Judge a clause on a patient."""
    asked = scope()
    values = {name: held.values[0].value for name, held in asked.thresholds.items()}
    return clause(when)(facts(scene), values)


# A small rule that loads; tests change one thing in it at a time.
RULE = """\
id: of-a-test
number: CC-99
title: A rule of a test
chapter: monitoring
status: active
version: 1
owner: A test
reviewed: 2026-11-21
why: There must be a reason, and it must be long enough.
evidence:
  - {cite: "A paper", status: verified}
unhelpful_when: Nobody needs it.

thresholds:
  limit:
    means: what is too high
    unit: mg/dL
    allowed: 4.5 to 7.0
    values: {2003-10-01: 5.5}
    source: A paper
  days:
    means: how old it may be
    unit: days
    allowed: 14 to 180
    values: {2003-10-01: 90}
    source: A paper

when:
  all:
    - taking: vka
    - latest: phosphate
      within: days
      above: limit
if_unknown: stay silent

card:
  indicator: warning
  summary:
    - "Phosphate {phosphate} ({phosphate.date}) above {limit}"
    - "Phosphate is high"
  detail: |
    The limit is {limit}.
  workup: [phosphate]
  consults: [nephrology]
  override_reasons: [not-applicable]
  quiet_for: 30 days
"""
SERVICE = """\
id: calcinosis-patient-view
hook: patient-view
title: A service of a test
description: Asks one rule about one patient.
usage_requirements: Needs nothing but prefetch.
first: [of-a-test]
card_limit: 3
"""
VIGNETTES = """\
rule: of-a-test
today: 2026-03-01
fires:
  - name: phosphate is 7
    patient: 58-year-old woman
    medications: [vka]
    labs: {phosphate: {3 days ago: 7.0 mg/dL}}
    card: warning - Phosphate
stays_silent:
  - name: phosphate is 5
    patient: 58-year-old woman
    medications: [vka]
    labs: {phosphate: {3 days ago: 5.0 mg/dL}}
cannot_tell:
  - name: nothing was sent
    patient: 58-year-old woman
    medications: [vka]
    not_loaded: [observations]
    missing: phosphate
"""


def small_content(folder: Path, rule: str = RULE, vignettes: str = VIGNETTES, service: str = SERVICE) -> Path:
    """Write a content folder with the project's concepts and one rule."""
    (folder / "rules" / "monitoring").mkdir(parents=True, exist_ok=True)
    (folder / "patient-view").mkdir(exist_ok=True)
    if not (folder / "concepts").exists():
        (folder / "concepts").symlink_to(CONTENT / "concepts")
    (folder / "rules" / "monitoring" / "of-a-test.yaml").write_text(rule, encoding="utf-8")
    (folder / "rules" / "monitoring" / "of-a-test.test.yaml").write_text(vignettes, encoding="utf-8")
    (folder / "patient-view" / "service.yaml").write_text(service, encoding="utf-8")
    return folder


def changed(text: str, old: str, new: str) -> tuple[str, int]:
    """Return a text with one thing changed, and the line on which it was changed."""
    assert text.count(old) == 1, f"{old!r} must stand in it exactly once"
    return text.replace(old, new), text[: text.index(old)].count("\n") + 1
