"""Kidneys: failure, advanced disease, and a transplant that works (KNOWLEDGE 2.3, after KDIGO staging)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache

from cds_service.facts.dates import DAY, When
from cds_service.facts.evidence import (
    NO,
    UNKNOWN,
    YES,
    Item,
    Judgement,
    Verdict,
    above,
    below,
    every,
    some,
    turned,
    within_days,
)
from cds_service.facts.model import (
    CONDITIONS,
    LABS,
    PROCEDURES,
    Answer,
    Diagnosis,
    Draft,
    Facts,
    Measurement,
    Medication,
    Procedure,
)
from cds_service.facts.numbers import short
from cds_service.facts.series import recent
from cds_service.protocol.prefetch import State

DIALYSIS = ("hemodialysis", "peritoneal", "dialysis-any")
# KNOWLEDGE 2.3: maintenance dialysis within 45 days (chosen without a direct source: section 11, doubt 6).
DIALYSIS_DAYS = 45
# KDIGO: G5 is an eGFR below 15, G4 below 30 mL/min/1.73m2. An eGFR counts for 365 days (KNOWLEDGE 2).
GRAFT_WORKS_FROM, EGFR_DAYS = Decimal(15), 365
# What has to be known where dialysis may have come before the transplant or after it.
DAY_OF_TRANSPLANT, DAY_OF_DIALYSIS = "date of the transplant", "date of the dialysis"


def active(facts: Facts, *concepts: str) -> tuple[Diagnosis, ...]:
    """Return the active diagnoses of any of these concepts."""
    known = facts.diagnoses
    return tuple([item for concept in concepts if concept in known for item in known[concept] if item.active])


def procedures(facts: Facts, *concepts: str) -> tuple[Procedure, ...]:
    """Return the procedures of any of these concepts."""
    known = facts.procedures
    return tuple([item for concept in concepts if concept in known for item in known[concept]])


def presence(facts: Facts, label: str, found: Iterable[Item], *kinds: str, days: int | None = None) -> Judgement:
    """YES where something was found; else NO if the kinds of data were loaded completely, else UNKNOWN."""
    items = tuple(found)
    if items:
        return Judgement(YES, lambda: f"{label}: {describe(items[0])}", items=items[:3])
    gaps = tuple([kind for kind in kinds if not facts.covers(kind, days)])
    if not gaps:
        return absence(f"{label}: none on record")
    states = facts.states
    return Judgement(UNKNOWN, lambda: f"{label}: not known, {_why(states, gaps)}", missing=gaps)


@lru_cache(maxsize=4096)
def absence(label: str) -> Judgement:
    """Return the NO that rests on nothing: for one label it is always the same, and most clauses end with it."""
    return Judgement(NO, label)


def _why(states: Mapping[str, State], gaps: tuple[str, ...]) -> str:
    return "; ".join(f"{kind} {_STATES[states.get(kind, State.ABSENT)]}" for kind in gaps)


_STATES = {
    State.ABSENT: "were not sent",
    State.FAILED: "could not be loaded by the EHR",
    State.TRUNCATED: "were sent only in part",
    State.EMPTY: "are empty",
    State.COMPLETE: "are loaded",
}


def describe(item: Item) -> str:
    """Say what was found, with its code and its day; whoever asks says of which test a result is."""
    if isinstance(item, Diagnosis | Procedure | Medication):
        how = " by name only" if item.how == "name" else f" {item.system} {item.code}"
        return f"{item.display or item.concept} ({how.strip()}), {_day(item)}"
    if isinstance(item, Answer):
        how = " (test known by its name only)" if item.how == "name" else ""
        return f"{item.said}{how}, {item.when.day}"
    return f"{reported(item)}, {item.when.day}"


def _day(item: Diagnosis | Procedure | Medication) -> str:
    if isinstance(item, Draft):
        return "ordered now"
    since = "since " if isinstance(item, Diagnosis) else ""
    return f"{since}{item.when.day}" if item.when else "no date"


def reported(result: Measurement) -> str:
    """Say a result as the laboratory reported it, and of a computed one two decimals (comparisons never use them)."""
    number = short(result.reported) if result.parts else f"{result.reported:f}"
    return f"{result.comparator}{number} {result.unit}".strip()


def failure(facts: Facts) -> Judgement:
    """
    Judge whether the patient has kidney failure (ESKD): by diagnosis or by dialysis, less a working transplant.

    Dialysis for acute kidney injury, and continuous or emergency dialysis, is no evidence of ESKD.
    """
    return facts.once("eskd", lambda: _failure(facts))


def _failure(facts: Facts) -> Judgement:
    coded = presence(
        facts, "end-stage kidney disease or dialysis status", active(facts, "met-eskd", "dialysis-status"), CONDITIONS
    )
    dialysed = every(
        "maintenance dialysis without acute kidney injury",
        (
            presence(
                facts, f"dialysis within {DIALYSIS_DAYS} days", _recent_dialysis(facts), PROCEDURES, days=DIALYSIS_DAYS
            ),
            _negated(presence(facts, "acute kidney injury", active(facts, "aki"), CONDITIONS)),
        ),
    )
    either = some("kidney failure on record", (coded, dialysed))
    if either.verdict is NO:
        return Judgement(NO, "kidney failure (ESKD)", (either,))
    works = transplant_works(facts)
    if works.verdict is YES:
        return Judgement(NO, "kidney failure (ESKD): recorded, but a transplanted kidney works", (either, works))
    return Judgement(
        _less(either.verdict, works.verdict),
        "kidney failure (ESKD)",
        (either, works),
        missing=tuple(dict.fromkeys((*either.missing, *works.missing))),
    )


def _negated(judgement: Judgement) -> Judgement:
    return Judgement(
        turned(judgement.verdict), lambda: f"no {judgement.label}", items=judgement.items, missing=judgement.missing
    )


def _less(either: Verdict, works: Verdict) -> Verdict:
    return UNKNOWN if works is UNKNOWN and either is YES else either


def _recent_dialysis(facts: Facts) -> list[Procedure]:
    return [item for item in procedures(facts, *DIALYSIS) if within_days(item.when, facts.today, DIALYSIS_DAYS) is YES]


def transplant_works(facts: Facts) -> Judgement:
    """
    Judge whether a transplanted kidney works, so that an old ESKD code no longer counts.

    Without any sign of a transplant in what was loaded the answer is NO: an EHR that sends no procedures must not
    silence every rule about dialysis patients. With a sign of one, doubt stays doubt.
    """
    grafts: tuple[Diagnosis | Procedure, ...] = (*active(facts, "ktx"), *procedures(facts, "ktx-proc", "ktx"))
    if not grafts:
        return absence("working kidney transplant: no transplant on record")
    found = Judgement(YES, lambda: f"kidney transplant: {describe(grafts[0])}", items=grafts[:2])
    failed = active(facts, "ktx-fail")
    if failed:
        return Judgement(NO, f"working kidney transplant: it failed, {describe(failed[0])}", (found,), items=failed[:1])
    came = _day_of_transplant(grafts)
    after = _after(procedures(facts, *DIALYSIS), came or _recorded(grafts))
    if after:
        return Judgement(
            NO, f"working kidney transplant: dialysis after it, {describe(after[0])}", (found,), items=tuple(after[:1])
        )
    return every("working kidney transplant", (found, _no_dialysis_since(facts, came), _graft_function(facts, came)))


def _day_of_transplant(grafts: tuple[Diagnosis | Procedure, ...]) -> When | None:
    """Return when the newest kidney came: by its operation, else by onset; None where neither is dated."""
    operated = [graft.when for graft in grafts if isinstance(graft, Procedure) and graft.when]
    began = [graft.began for graft in grafts if isinstance(graft, Diagnosis) and graft.began]
    return max(operated or began, key=lambda when: when.end, default=None)


def _recorded(grafts: tuple[Diagnosis | Procedure, ...]) -> When | None:
    """Return when a transplant was last recorded: it came on that day or any time before."""
    return max([graft.when for graft in grafts if graft.when], key=lambda when: when.end, default=None)


def _after(sessions: Iterable[Procedure], day: When | None) -> list[Procedure]:
    return [item for item in sessions if day and item.when and item.when.start > day.end + DAY]


def _no_dialysis_since(facts: Facts, came: When | None) -> Judgement:
    """
    Judge that no current dialysis may have followed the transplant; sessions that surely did were found before.

    A transplant that is undated, dated by its recording only, or dated so vaguely that a session may lie before or
    after it leaves this open (RELIABILITY 4: unknown if the interval spans the limit).
    """
    unclear = [item for item in _recent_dialysis(facts) if not _before(item.when, came)]
    if not unclear:
        return Judgement(YES, "no dialysis after the transplant")
    what = DAY_OF_TRANSPLANT if came is None or came.last > came.first else DAY_OF_DIALYSIS
    label = f"no dialysis after the transplant: not known without the {what}, {describe(unclear[0])}"
    return Judgement(UNKNOWN, label, items=tuple(unclear[:1]), missing=(what,))


def _before(session: When | None, came: When | None) -> bool:
    return session is not None and came is not None and session.last <= came.first + 1


def _graft_function(facts: Facts, came: When | None) -> Judgement:
    """Judge whether the graft works by its eGFR; one that was measured before the transplant is of the old kidneys."""
    results = recent(facts.measurements.get("egfr", ()), facts.today, EGFR_DAYS)
    if results and came and results[0].when.last < came.first:
        results = []
    if results:
        verdict = above(results[0], GRAFT_WORKS_FROM, or_equal=True)
        return Judgement(
            verdict,
            f"graft function: eGFR {describe(results[0])}",
            items=(results[0],),
            missing=("egfr",) if verdict is UNKNOWN else (),
        )
    depends = active(facts, "dialysis-status")
    if depends:
        return Judgement(NO, f"graft function: no eGFR, and {describe(depends[0])}", items=depends[:1])
    known = facts.covers(LABS, EGFR_DAYS)
    return Judgement(
        YES if known else UNKNOWN,
        "graft function: no eGFR and no dependence on dialysis on record",
        missing=() if known else (LABS,),
    )


def transplant_failed(facts: Facts) -> Judgement:
    """Judge whether a kidney transplant has failed (rejection alone is not failure)."""
    return presence(facts, "failed kidney transplant", active(facts, "ktx-fail"), CONDITIONS)


def advanced_disease(facts: Facts, *, egfr_below: Decimal) -> Judgement:
    """Judge whether the patient has advanced CKD: kidney failure, stage 4 or 5, or a newest eGFR below the limit."""
    return facts.once(("advanced-ckd", egfr_below), lambda: _advanced(facts, egfr_below))


def _advanced(facts: Facts, egfr_below: Decimal) -> Judgement:
    return some(
        "advanced chronic kidney disease",
        (
            failure(facts),
            presence(facts, "CKD stage 4 or 5", active(facts, "advanced-ckd-codes"), CONDITIONS),
            _low_egfr(facts, egfr_below),
        ),
    )


def _low_egfr(facts: Facts, limit: Decimal) -> Judgement:
    results = recent(facts.measurements.get("egfr", ()), facts.today, EGFR_DAYS)
    if results:
        verdict = below(results[0], limit)
        return Judgement(
            verdict,
            lambda: f"newest eGFR below {limit}: {describe(results[0])}",
            items=(results[0],),
            missing=("egfr",) if verdict is UNKNOWN else (),
        )
    known = facts.covers(LABS, EGFR_DAYS)
    return Judgement(
        NO if known else UNKNOWN, f"newest eGFR: none within {EGFR_DAYS} days", missing=() if known else ("egfr",)
    )
