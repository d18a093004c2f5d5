"""
To which type of calcinosis a record points (KNOWLEDGE 1.14). For display only: no rule asks for it.

Every reading that fits is given; none is forced. What was not loaded or not measured never makes a reading.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from cds_service.facts import exposures, minerals
from cds_service.facts.age import years
from cds_service.facts.evidence import NO, YES, Judgement, within_days
from cds_service.facts.kidney import active, describe, procedures
from cds_service.facts.model import CONDITIONS, Diagnosis, Facts
from cds_service.terminology import Terminology

MIXED, METASTATIC, DYSTROPHIC, IATROGENIC, IDIOPATHIC = "mixed", "metastatic", "dystrophic", "iatrogenic", "idiopathic"
OPEN = "cannot be classified"
# KNOWLEDGE 1.14: Ca x P above 55 mg2/dL2, corrected calcium above 10.5 mg/dL, phosphate above the limit of the age
# (2.1; adults 4.5 mg/dL); 2.3: the two factors of the product within 72 h; 2: labs count for 180 d in calcinosis.
CALCIUM_ABOVE, PHOSPHATE_ABOVE, PRODUCT_ABOVE = Decimal("10.5"), Decimal("4.5"), Decimal(55)
PAIRED_HOURS, LAB_DAYS = 72, 180
# KNOWLEDGE 1.14 and CC-32: calcinosis at most 60 d after an exposure; heel sticks are three in the first year of life.
EXPOSURE_DAYS, HEEL_STICKS, INFANT_BELOW = 60, 3, 1
CALCINOSIS, CALCIPHYLAXIS = "calcinosis", "calciphylaxis"
# KNOWLEDGE 1.3 to 1.8: what damages tissue so that it calcifies although calcium and phosphate are normal.
CAUSES = ("ctd", "local-cause", "inherited", "pan-scfn", "pan-pancreatic")
EXTRAVASATION, HEEL_STICK, ELECTRODES = "iat-parenteral", "capillary", "electrodes"
READS = (
    CALCINOSIS, CALCIPHYLAXIS, *CAUSES, EXTRAVASATION, HEEL_STICK, ELECTRODES, "tpn", "ca-iv", "phosphate-salts",
    "calcium-total", "calcium-corrected", "calcium-ionized", "albumin", "phosphate", "cap-product",
)  # fmt: skip


class Reading(msgspec.Struct, frozen=True):
    """A type of calcinosis that the record fits, and why."""

    type: str
    why: str

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"{self.type} ({self.why})"


def read(facts: Facts, words: Terminology) -> tuple[Reading, ...]:
    """Return every type that fits; nothing where neither calcinosis nor calciphylaxis is on record."""
    return facts.once("subtype", lambda: tuple(_readings(facts, words)))


def _readings(facts: Facts, words: Terminology) -> list[Reading]:
    found: list[Reading] = []
    calciphylaxis = active(facts, CALCIPHYLAXIS)
    if calciphylaxis:
        found.append(Reading(MIXED, describe(calciphylaxis[0])))
    calcinosis = active(facts, *words.members(CALCINOSIS))
    return found + _of_calcinosis(facts, words, calcinosis) if calcinosis else found


def _of_calcinosis(facts: Facts, words: Terminology, calcinosis: tuple[Diagnosis, ...]) -> list[Reading]:
    causes = [item for name in CAUSES for item in active(facts, *words.members(name))]
    exposure = _exposure(facts, calcinosis)
    normal = minerals.normal(facts, within=LAB_DAYS, calcium_above=CALCIUM_ABOVE, phosphate_above=PHOSPHATE_ABOVE)
    found = _by_minerals(_abnormal(facts), normal, causes)
    if exposure:
        found.append(Reading(IATROGENIC, exposure))
    alone = not causes and not exposure and facts.state(CONDITIONS).conclusive
    if normal.verdict is YES and alone and _abnormal(facts).verdict is NO:
        found.append(Reading(IDIOPATHIC, "calcium and phosphate not high, no cause on record"))
    return found


def _by_minerals(abnormal: Judgement, normal: Judgement, causes: list[Diagnosis]) -> list[Reading]:
    if abnormal.verdict is YES:
        return [Reading(METASTATIC, _why(abnormal))]
    if normal.verdict is YES and abnormal.verdict is NO:
        return [Reading(DYSTROPHIC, describe(causes[0]))] if causes else []
    return [Reading(OPEN, "calcium and phosphate are not both known: order labs")]


def _abnormal(facts: Facts) -> Judgement:
    return facts.once(
        "subtype-abnormal",
        lambda: minerals.abnormal(
            facts,
            within=LAB_DAYS,
            calcium_above=CALCIUM_ABOVE,
            phosphate_above=PHOSPHATE_ABOVE,
            product_above=PRODUCT_ABOVE,
            paired_within=PAIRED_HOURS,
        ),
    )


def _why(judgement: Judgement) -> str:
    """Return the first line below a judgement that is true and rests on something."""
    found = (node.label for node in judgement.walk() if node.verdict is YES and node.items and not node.children)
    return next(found, judgement.label)


def _exposure(facts: Facts, calcinosis: tuple[Diagnosis, ...]) -> str:
    """Return what the patient was exposed to shortly before the calcinosis began; "" for nothing known."""
    if all(within_days(item.when, facts.today, EXPOSURE_DAYS) is not YES for item in calcinosis):
        return ""
    given = exposures.parenteral(facts, within=EXPOSURE_DAYS)
    if given.verdict is YES:
        return _why(given)
    leaked = [item for item in active(facts, EXTRAVASATION) if _recent(item, facts)]
    if leaked:
        return describe(leaked[0])
    electrodes = [item for item in procedures(facts, ELECTRODES) if _recent(item, facts)]
    return describe(electrodes[0]) if electrodes else _heel_sticks(facts)


def _heel_sticks(facts: Facts) -> str:
    born = facts.person.born
    if born is None or years(born, facts.today)[1] >= INFANT_BELOW:
        return ""
    sticks = len(procedures(facts, HEEL_STICK))
    return f"{sticks} capillary blood samples" if sticks >= HEEL_STICKS else ""


def _recent(item: object, facts: Facts) -> bool:
    return within_days(getattr(item, "when", None), facts.today, EXPOSURE_DAYS) is YES
