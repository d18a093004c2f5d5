"""Cards of patients who are told in the words of vignettes: from the chart to what a clinician reads."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import cache
from itertools import count

import msgspec

from cds_service.decide import decide, respond
from cds_service.errors import NoData
from cds_service.facts.intake import Reader, take_in
from cds_service.protocol.cards import Card
from cds_service.protocol.request import HookRequest
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.calling import call_of
from cds_service.rules.chart import Chart
from cds_service.rules.vignettes import read_file, vignette_paths
from cds_service.schemas import strict_yaml
from cds_service.schemas.strict_yaml import Mapping
from tests.build import ROOT

TODAY = date(2026, 3, 1)
HOOKS = ROOT / "hooks"


@cache
def book() -> RuleBook:
    return load_book(HOOKS)


@cache
def _reader() -> Reader:
    return Reader(book().terminology)


def cards(rule: str, scene: str) -> list[Card]:
    """Return the cards for a patient, at the hook at which the vignettes of a rule are asked."""
    document = strict_yaml.parse(("patient: 58-year-old woman\n" * ("patient:" not in scene) + scene).encode(), "test")
    return _cards(rule, document, TODAY, "test")


def _cards(name: str, scene: Mapping, today: date, file: str) -> list[Card]:
    words = book().terminology
    call = call_of(scene, book().rules[name], Chart(words, today, file))
    request = HookRequest.parse(msgspec.json.encode(call), call["hook"])
    service = next(one for one in book().services.values() if one.service.hook == request.hook)
    facts = take_in(request, _reader(), datetime.combine(today, time(12), UTC).timestamp())
    numbers = count(1)
    try:
        return respond(decide(facts, book(), service), book(), service, request, lambda: f"{next(numbers)}").cards
    except NoData:
        return []


@cache
def of_every_vignette() -> tuple[tuple[str, Card], ...]:
    """Return every card of every vignette of hooks/rules, with where the vignette stands."""
    return tuple(
        (f"{one.file}:{one.line}", card)
        for path in vignette_paths(HOOKS).values()
        for one in read_file(path)
        for card in _cards(one.rule, one.scene, one.today, one.file)
    )
