"""Concepts: the things rules name ("phosphate", "met-eskd", "vka"), each with the codes that mean it."""

from __future__ import annotations

import re

import msgspec

# Words before a match that turn it into its opposite, within the same clause of a text.
_NEGATED = re.compile(
    r"\b(no|not|non|without|denies|denied|negative for|rule[sd]? out|r/o|family history of|fh of|history of|h/o|never|"
    r"stop|stopped|hold|discontinued|avoid|allergic to|allergy to|intolerant of|free of|absence of|possible|suspected|"
    r"\?)\b[^.;,]{0,40}$",
    re.IGNORECASE,
)
# Words after a match that turn it into its opposite ("calciphylaxis ruled out", "warfarin - stopped").
_WITHDRAWN = re.compile(
    r"^(\s*\?|[^.;,]{0,15}\b(ruled out|excluded|unlikely|doubtful|not confirmed|not taken|not taking|discontinued|"
    r"not done|refused|declined|cancell?ed|stopped|on hold|held|allergy|allergic|intolerance)\b)",
    re.IGNORECASE,
)


class Match(msgspec.Struct, frozen=True, gc=False):
    """
    A code or a text that means a concept.

    ``how`` is "code", "block" (an ICD-10-CM block), "product" (a RxNorm product), "text" (a generic code confirmed
    by its wording) or "name" (only a name was recognised: weaker, and said on the card).
    """

    concept: str
    how: str
    system: str = ""
    code: str = ""
    route: str = ""
    ingredients: int = 1


class Concept(msgspec.Struct, frozen=True):
    """
    A diagnosis, procedure or medication that rules can name.

    ``whole`` is the medication that this one is a part of: what is warfarin is a vitamin K antagonist too.
    """

    id: str
    kind: str
    name: str
    text: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    max_ingredients: int = 3
    codes: int = 0
    whole: str = ""


class Order(msgspec.Struct, frozen=True):
    """
    Something a card may suggest: a test, an image, a procedure or a referral, with its code.

    ``step`` is its place in a workup, ``plan`` what the plan says of it instead of its name, ``caution`` what it adds
    where calciphylaxis is possible. It is not suggested while the patient takes one of ``not_while``; a panel that
    ``stands_for`` tests is known when they are, a consult that is ``seen_as`` a note or procedure took place. A safer
    medication is offered ``instead_of`` these only.
    """

    id: str
    name: str
    category: str
    say: str
    system: str
    code: str
    display: str
    verified: str
    step: str = ""
    plan: str = ""
    caution: str = ""
    not_while: tuple[str, ...] = ()
    stands_for: tuple[str, ...] = ()
    seen_as: tuple[str, ...] = ()
    instead_of: tuple[str, ...] = ()


class OverrideReason(msgspec.Struct, frozen=True):
    """A reason a clinician may give for not following a card."""

    system: str
    code: str
    display: str


def word_pattern(words: tuple[str, ...]) -> re.Pattern[str] | None:
    """Compile names into one whole-word pattern; None where there are no names."""
    if not words:
        return None
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(r"(?<![\w-])(" + "|".join(map(re.escape, longest_first)) + r")(?![\w-])", re.IGNORECASE)


def affirmed(pattern: re.Pattern[str], text: str) -> bool:
    """Say whether a text names the thing without denying it ("no calciphylaxis", "rule out ...")."""
    shortened = text[:400]
    return any(
        not _NEGATED.search(shortened[: found.start()]) and not _WITHDRAWN.search(shortened[found.end() :])
        for found in pattern.finditer(shortened)
    )
