"""
Skin lesions and what they can mean in kidney failure (KNOWLEDGE 5.1, CC-05).

Class S (necrosis, gangrene, livedo, ischemic ulcer) and an ulcer without an explanation are suspicious by
themselves; nodules and purpura are so when the skin hurts; an explained ulcer, or pain alone, asks for a look.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache, wraps
from typing import Protocol

from cds_service.facts import observed
from cds_service.facts.dates import When
from cds_service.facts.evidence import NO, UNKNOWN, YES, Judgement, Verdict, every, some, within_days
from cds_service.facts.kidney import absence, active, describe
from cds_service.facts.model import CONDITIONS, Diagnosis, Facts, Person
from cds_service.protocol.prefetch import State

# KNOWLEDGE 2.3: a diagnosis of one encounter that is older than this is no lesion of today.
ENCOUNTER_DAYS = 90
CONCEPTS = observed.LESIONS
# ICD-10-CM gives an ulcer that another disease causes two codes, that of the disease and that of the site ("use
# additional code to identify site of ulcer" at E11.621, L97.4 and L97.5; April 2026). The second is no second ulcer.
CAUSE_AND_SITE = (
    ("les-explained-foot", "les-ulcer-foot"),
    ("les-explained-site", "les-ulcer-site"),
    ("les-explained-leg", "les-ulcer-leg"),
)
_NO_LESIONS = Facts(now=0, person=Person(), states={CONDITIONS: State.EMPTY})


# When something was recorded, with its code.
Recorded = tuple[When | None, str]


class Judge(Protocol):
    """A judgement about lesions of the last so many days."""

    def __call__(self, facts: Facts, *, within: int) -> Judgement:
        """Judge."""


def _none_for_most(judge: Judge) -> Judge:
    """Judge patients without any lesion, which are most, once for all of them: their whole trail is the same."""
    nothing = lru_cache(maxsize=64)(lambda within: judge(_NO_LESIONS, within=within))

    @wraps(judge)
    def judged(facts: Facts, *, within: int) -> Judgement:
        nowhere = facts.observed is None and facts.diagnoses.keys().isdisjoint(CONCEPTS)
        if nowhere and facts.covers(CONDITIONS, None):
            return nothing(within)
        return judge(facts, within=within)

    return judged


def of_class(
    facts: Facts, label: str, concept: str, within: int, besides: Collection[Recorded] = frozenset()
) -> Judgement:
    """Judge whether an active lesion of one class began or was recorded within so many days; not ``besides``."""
    lesions = (*active(facts, concept), *observed.lesions(facts, concept))
    counting = [one for one in lesions if (one.when, one.code) not in besides]
    recent = [(lesion, _recent(lesion, facts, within)) for lesion in counting]
    sure = tuple(lesion for lesion, verdict in recent if verdict is YES)
    if sure:
        return Judgement(YES, lambda: f"{label}: {describe(sure[0])}", items=sure[:3])
    if any(verdict is UNKNOWN for _, verdict in recent):
        return Judgement(
            UNKNOWN,
            f"{label}: recorded without a date that tells whether it is recent",
            missing=("date of the lesion",),
        )
    if not facts.state(CONDITIONS).conclusive:
        return Judgement(UNKNOWN, f"{label}: conditions are not known", missing=(CONDITIONS,))
    return absence(f"{label}: none recorded within {within} days")


def unexplained_ulcer(facts: Facts, within: int) -> Judgement:
    """Judge whether there is an ulcer that no other disease explains."""
    judged = of_class(facts, "skin ulcer", "les-ulcer", within, _sites_of_explained(facts))
    if judged.verdict is NO and of_class(facts, "skin ulcer", "les-ulcer", within).verdict is YES:
        return absence("skin ulcer: only the site of an ulcer with another explanation")
    return judged


def _sites_of_explained(facts: Facts) -> set[Recorded]:
    """Return the ulcers that were recorded on the day of an explained one, and only tell its site."""
    found: set[Recorded] = set()
    for cause, site in CAUSE_AND_SITE:
        days = {one.when.first for one in active(facts, cause) if one.when}
        found |= {(one.when, one.code) for one in active(facts, site) if one.when and one.when.first in days}
    return found


def _recent(lesion: Diagnosis, facts: Facts, within: int) -> Verdict:
    return within_days(lesion.when, facts.today, min(within, ENCOUNTER_DAYS) if lesion.encounter else within)


@_none_for_most
def ischemic(facts: Facts, *, within: int) -> Judgement:
    """Judge whether there is a lesion of class S: necrosis, gangrene, livedo or an ischemic ulcer."""
    return of_class(facts, "ischemic lesion or necrosis", "les-strong", within)


@_none_for_most
def suspicious(facts: Facts, *, within: int) -> Judgement:
    """Judge whether there is a lesion that suggests calciphylaxis in kidney failure."""
    return some(
        "lesion that suggests calciphylaxis",
        (
            ischemic(facts, within=within),
            unexplained_ulcer(facts, within),
            every(
                "painful nodules or purpura",
                (
                    some(
                        "nodules or purpura",
                        (
                            of_class(facts, "nodules", "les-nodule", within),
                            of_class(facts, "purpura", "les-purpura", within),
                        ),
                    ),
                    of_class(facts, "pain of the skin", "les-pain", within),
                ),
            ),
        ),
    )


@_none_for_most
def ischemic_or_ulcer(facts: Facts, *, within: int) -> Judgement:
    """Judge whether there is a lesion of class S or an ulcer without another explanation."""
    return some("ischemic lesion or ulcer", (ischemic(facts, within=within), unexplained_ulcer(facts, within)))


@_none_for_most
def explained_ulcer(facts: Facts, *, within: int) -> Judgement:
    """Judge whether there is an ulcer with another explanation: pressure, diabetic foot, venous stasis."""
    return of_class(facts, "ulcer with another explanation", "les-explained", within)


@_none_for_most
def to_review(facts: Facts, *, within: int) -> Judgement:
    """Judge whether there is any lesion that deserves a look in kidney failure."""
    return some(
        "skin lesion",
        (
            suspicious(facts, within=within),
            explained_ulcer(facts, within=within),
            of_class(facts, "pain of the skin", "les-pain", within),
        ),
    )
