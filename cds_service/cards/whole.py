"""What placeholders say of a finding as a whole: its first abnormal value, its disease, its medicines, its score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cds_service.cards import numbers
from cds_service.cards.plain import plain
from cds_service.facts.evidence import YES, Item, Judgement
from cds_service.facts.model import Answer, Diagnosis, Measurement, Medication, Procedure
from cds_service.rules.placeholders import WHOLE
from cds_service.terminology import Terminology

Called = Callable[[Item], str]
# A summary holds 140 characters: further medicines are counted.
MOST_DRUGS = 3
_INDEX = ("calcinosis-cutis", "idi-scn")

__all__ = ["WHOLE", "answered", "tell", "trend"]


def tell(name: str, items: Sequence[Item], judgement: Judgement, words: Terminology, called: Called) -> str | None:
    """Fill one of the placeholders of WHOLE; None where the finding rests on nothing of the kind."""
    if name in ("n", "points"):
        return _tally(name, judgement)
    if name == "drugs":
        return _listed(_distinct(called(one) for one in items if isinstance(one, Medication)))
    if name in ("finding", "abnormality"):
        return next((_valued(one, words) for one in items if isinstance(one, Measurement | Answer)), None)
    kinds = Diagnosis if name == "disease" else Medication | Procedure
    found = [one for one in items if isinstance(one, kinds) and not _is_lesion(one)]
    return called(found[0]) if found else None


def _is_lesion(one: Item) -> bool:
    """Say whether this is what is seen on the skin, and not the disease behind it."""
    return isinstance(one, Diagnosis) and (one.concept.startswith("les-") or one.concept in _INDEX)


def _valued(one: Measurement | Answer, words: Terminology) -> str:
    if isinstance(one, Answer):
        return f"{words.label(one.concept)} {answered(one)}"
    return f"{spoken(numbers.label(words, one.analyte))} {numbers.value(words, one)}"


def spoken(label: str) -> str:
    """Write the name of a test as it stands inside a sentence: phosphate, but PTH, eGFR and 25-OH vitamin D."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def answered(one: Answer) -> str:
    """Say a qualitative result: what it means, and the laboratory's own words where they say more."""
    said = plain(one.said, 60)
    return said if not one.meaning or said.casefold().startswith(one.meaning) else f"{one.meaning} ({said})"


def trend(answers: Sequence[Answer]) -> str:
    """Show the newest qualitative result with the two before it."""
    newest, *earlier = [f"{answered(one)}, {one.when.day}" for one in answers[:3]]
    name_only = " (test recognised by its name only)" if answers[0].how == "name" else ""
    return f"{newest}{name_only}" + (f" (before: {'; '.join(earlier)})" if earlier else "")


def _tally(name: str, judgement: Judgement) -> str | None:
    """Return how many parts of the first thing that was counted hold, or their points."""
    for node in judgement.walk():
        if node.tally is not None and node.verdict is YES:
            number, points = node.tally
            return str(number) if name == "n" else f"{points.normalize():f}"
    return None


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _listed(names: Sequence[str]) -> str | None:
    more = f" and {len(names) - MOST_DRUGS} more" if len(names) > MOST_DRUGS else ""
    return ", ".join(names[:MOST_DRUGS]) + more if names else None
