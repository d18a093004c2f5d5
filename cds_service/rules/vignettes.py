"""
Vignettes: the patients beside each rule, for whom it fires, stays silent, or cannot tell.

A vignette becomes FHIR first and then travels the real road (request, intake, facts, rule), so it tests the readers
too. The wording of the card lies a floor higher: whoever wants it checked hands in ``render``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import msgspec

from cds_service import schemas
from cds_service.errors import CdsError, ContentError
from cds_service.facts.evidence import NO, UNKNOWN, YES, Verdict
from cds_service.facts.intake import Reader, take_in
from cds_service.facts.model import Facts
from cds_service.protocol.request import HookRequest
from cds_service.rules.book import RuleBook, shown_as
from cds_service.rules.calling import call_of
from cds_service.rules.chart import Chart
from cds_service.rules.evaluation import evaluate
from cds_service.rules.model import Outcome, Rule, Value
from cds_service.rules.scope import meant
from cds_service.schemas import strict_yaml
from cds_service.schemas.strict_yaml import Mapping, Sequence
from cds_service.terminology.units import spelled

SUFFIX = ".test.yaml"
HEADINGS = {"fires": YES, "stays_silent": NO, "cannot_tell": UNKNOWN}
Render = Callable[[Outcome, Facts], str]
_SAID = {YES: "fires", NO: "stays silent", UNKNOWN: "cannot tell"}


class Vignette(msgspec.Struct, frozen=True):
    """One patient, and what the rule should say of them."""

    rule: str
    heading: str
    name: str
    today: date
    file: str
    line: int
    scene: Mapping

    @property
    def expected(self) -> Verdict:
        """The verdict that the heading stands for."""
        return HEADINGS[self.heading]


class Result(msgspec.Struct, frozen=True):
    """
    How one vignette went: what was wrong (nothing, if it passed), and the evidence trail.

    ``outcome`` is what the rule said; None where the vignette could not be tried at all.
    """

    vignette: Vignette
    wrong: tuple[str, ...] = ()
    trail: tuple[str, ...] = ()
    outcome: Outcome | None = None

    @property
    def passed(self) -> bool:
        """Say whether the rule did what the vignette expects."""
        return not self.wrong

    def __str__(self) -> str:
        """Tell a clinician what was expected, what came, and why."""
        one = self.vignette
        head = f"{one.file}:{one.line}\n  {one.rule}: {one.name}"
        return "\n".join([head, *(f"  {line}" for line in self.wrong), *(f"    {line}" for line in self.trail)])


def vignette_paths(content: Path) -> dict[str, Path]:
    """Return the vignette files of a content folder by the id of the rule they are for."""
    return {path.name.removesuffix(SUFFIX): path for path in sorted((content / "rules").glob(f"*/*{SUFFIX}"))}


def run_file(path: Path, book: RuleBook, render: Render | None = None) -> list[Result]:
    """Try every vignette of one file. Raises ContentError where the file itself does not read."""
    reader = Reader(book.terminology)
    return [run(vignette, book, render, reader) for vignette in read_file(path)]


def read_file(path: Path) -> list[Vignette]:
    """Read a ``.test.yaml``. Raises ContentError, with file and line, where it does not have its shape."""
    file = shown_as(path)
    document = strict_yaml.read(path, shown_as=file)
    schemas.check("vignette", document, file)
    if f"{document['rule']}{SUFFIX}" != path.name:
        raise ContentError(
            f'The vignettes are for "{document["rule"]}", which is not what the file is called.',
            where=f"{file}:{document.lines['rule']}",
            slug="id-is-file-name",
            remedy=f"Call the file {document['rule']}{SUFFIX}.",
        )
    try:
        today = date.fromisoformat(document["today"])
    except ValueError:
        raise ContentError(
            "There is no such day.", where=f"{file}:{document.lines['today']}", slug="bad-date"
        ) from None
    return list(_vignettes(document, file, today))


def _vignettes(document: Mapping, file: str, today: date) -> Iterator[Vignette]:
    for heading in HEADINGS:
        entries = document.get(heading) or Sequence()
        for entry, line in zip(entries, getattr(entries, "lines", ()), strict=True):
            _check_expectation(entry, heading, file)
            _check_results(entry, file)
            yield Vignette(document["rule"], heading, entry["name"], today, file, line, entry)


def _check_expectation(entry: Mapping, heading: str, file: str) -> None:
    for key, where in (("card", "fires"), ("missing", "cannot_tell")):
        if key in entry and heading != where:
            raise ContentError(
                f'"{key}" is only for what {_SAID[HEADINGS[where]]}.',
                where=f"{file}:{entry.lines[key]}",
                slug="wrong-heading",
                remedy=f"Put the vignette under {where}:, or take {key} away.",
            )


def _check_results(entry: Mapping, file: str) -> None:
    """Check the laboratory results that are written as mappings; a shorthand like "7.1 mg/dL" needs no check."""
    for results in (entry.get("labs") or Mapping()).values():
        for result in results.values():
            for one in result if isinstance(result, Sequence) else [result]:
                if isinstance(one, Mapping):
                    schemas.check("vignette", one, file, part="result")


def run(vignette: Vignette, book: RuleBook, render: Render | None = None, reader: Reader | None = None) -> Result:
    """Try one vignette: build the chart, send it down the real road, compare."""
    try:
        rule = _rule(vignette, book)
        tried = _tried(vignette, rule)
        facts = take_in(_request(vignette, rule, book), reader or Reader(book.terminology), _noon(vignette.today))
        outcome = evaluate(rule, facts, book.values(rule, vignette.today, tried))
        wrong = tuple(_differences(vignette, outcome, facts, render))
    except CdsError as failure:
        return Result(vignette, tuple(str(failure).splitlines()))
    return Result(vignette, wrong, tuple(outcome.judgement.lines()), outcome)


def _rule(vignette: Vignette, book: RuleBook) -> Rule:
    if vignette.rule not in book.rules:
        raise ContentError(
            f'There is no rule "{vignette.rule}".{meant(vignette.rule, book.rules)}',
            where=vignette.file,
            slug="unknown-rule",
        )
    return book.rules[vignette.rule]


def _tried(vignette: Vignette, rule: Rule) -> dict[str, Value]:
    """Return the thresholds that a vignette sets for itself, inside their guard rails."""
    given = vignette.scene.get("thresholds") or Mapping()
    tried: dict[str, Value] = {}
    for name, number in given.items():
        where, threshold = f"{vignette.file}:{given.lines[name]}", rule.thresholds.get(name)
        if threshold is None:
            raise ContentError(
                f'The rule has no threshold "{name}".{meant(name, rule.thresholds)}',
                where=where,
                slug="unknown-threshold",
            )
        tried[name] = number if isinstance(number, bool) else Decimal(number)
        if not threshold.allows(tried[name]):
            raise ContentError(f'"{name}" may not be {number}.', where=where, slug="out-of-range")
    return tried


def _request(vignette: Vignette, rule: Rule, book: RuleBook) -> HookRequest:
    call = call_of(vignette.scene, rule, Chart(book.terminology, vignette.today, vignette.file))
    return HookRequest.parse(msgspec.json.encode(call), call["hook"])


def _noon(day: date) -> float:
    return datetime.combine(day, time(12), UTC).timestamp()


def _differences(vignette: Vignette, outcome: Outcome, facts: Facts, render: Render | None) -> Iterator[str]:
    if outcome.failed:
        yield f"the rule itself broke: {outcome.failed}"
    elif outcome.verdict is not vignette.expected:
        yield f"expected: {_SAID[vignette.expected]}; but it {_SAID[outcome.verdict]}"
    elif vignette.expected is UNKNOWN:
        yield from _not_missed(vignette.scene.get("missing"), outcome)
    elif "card" in vignette.scene:
        yield from _card_differences(vignette.scene["card"], outcome, facts, render)


def _not_missed(missing: str | list[str] | None, outcome: Outcome) -> Iterator[str]:
    found = outcome.judgement.missing
    for name in [missing] if isinstance(missing, str) else missing or ():
        if name not in found:
            yield f"expected that {name} is missing; it misses {', '.join(found) or 'nothing'}"


def _card_differences(card: str, outcome: Outcome, facts: Facts, render: Render | None) -> Iterator[str]:
    indicator, _, beginning = card.partition(" - ")
    if outcome.indicator != indicator:
        yield f"expected: {indicator}; the card is {outcome.indicator}"
    if render is not None and beginning:
        summary = render(outcome, facts)
        if not summary.startswith(spelled(beginning)):
            yield f'expected a summary that begins "{beginning}"; it is "{summary}"'
