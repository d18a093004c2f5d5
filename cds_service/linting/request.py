"""A hook call, or the prefetch of one, looked at from all sides."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from cds_service.decide import decide, respond
from cds_service.errors import CdsError
from cds_service.facts import take_in
from cds_service.facts.bundles import KIND_OF, open_value
from cds_service.facts.intake import Reader
from cds_service.facts.model import Facts
from cds_service.linting import codes, resources
from cds_service.linting.envelope import RECORD, Envelope, opened
from cds_service.linting.problems import ERROR, NOTE, SHOWN, WARNING, Key, Problem, Report, gathered, pointer
from cds_service.linting.resources import LENIENT, Alone, Placed
from cds_service.protocol import HookRequest
from cds_service.protocol.prefetch import State
from cds_service.protocol.renamed import renamed
from cds_service.rules.book import RuleBook, ServiceRules

Json = dict[str, Any]
MOST = 2_000
_BLIND = 8


def lint(raw: bytes, book: RuleBook, service: ServiceRules, now: float, most: int = MOST) -> Report:
    """
    Find everything that is wrong with a hook call, or with the prefetch of one (``now``: seconds since 1970, UTC).

    Of more resources than ``most`` the first are looked at one by one; that is said.
    """
    shown, hook = service.service, service.service.hook
    envelope = opened(raw, hook, {kind: key for kind, key in KIND_OF.items() if key in shown.prefetch})
    if envelope.document is None:
        return Report(shown.id, "The service refuses this call: it cannot be read.", (), gathered(envelope.problems))
    call = HookRequest.parse(json.dumps(envelope.document).encode(), hook)
    names = renamed(call.prefetch, shown.prefetch, call.patient_id)
    reader, everything = Reader(book.terminology), list(resources.placed(envelope.document))
    facts = take_in(call.renamed(names) if names else call, reader, now, LENIENT)
    problems = [
        *envelope.problems,
        *_about_keys(call, facts, service, names),
        *_about_resources(envelope.document, everything[:most], hook, reader, now),
        *_too_many(everything, most),
    ]
    told = [_placed_in_file(one, envelope) for one in problems]
    answer = _answer(call, facts, book, service, refused=any(one.severity == ERROR for one in told))
    return Report(shown.id, answer, tuple(_keys(call, facts, service, names)), gathered(told))


def _placed_in_file(one: Problem, envelope: Envelope) -> Problem:
    """Say where a problem stands in the file, which may hold less than a call."""
    also = tuple(each.removeprefix(envelope.prefix) for each in one.also)
    return msgspec.structs.replace(one, pointer=one.pointer.removeprefix(envelope.prefix), also=also)


# --- prefetch keys ---------------------------------------------------------------------------------------------------


def _keys(call: HookRequest, facts: Facts, service: ServiceRules, names: Mapping[str, str]) -> Iterator[Key]:
    ours = {new: old for old, new in names.items()}
    sent = call.sent()
    for key in service.service.prefetch:
        raw = sent.get(ours.get(key, key))
        value = open_value(raw) if raw is not None else None
        entries = len(value.found) + len(value.labs) if value else 0
        yield Key(key, facts.state(key).value, ours.get(key, ""), entries)


def _about_keys(call: HookRequest, facts: Facts, service: ServiceRules, names: Mapping[str, str]) -> Iterator[Problem]:
    templates = service.service.prefetch
    for old, new in sorted(names.items()):
        what = f'The key "{old}" is read as "{new}": its search is the one that we ask for.'
        yield Problem(NOTE, pointer("prefetch", old), what, slug="key-renamed")
    unknown = sorted(call.sent().keys() - templates.keys() - names.keys() - {RECORD})
    if unknown:
        places = [pointer("prefetch", key) for key in unknown]
        shown = ", ".join(unknown[:SHOWN]) + (" ..." if len(unknown) > SHOWN else "")
        what = f"Keys that no service of ours asks for, read by what they hold: {shown}."
        yield Problem(NOTE, places[0], what, slug="key-unknown", times=len(unknown), also=tuple(places[1:SHOWN]))
    yield from _about_states(facts, service, fetched=call.access is not None)


def _about_states(facts: Facts, service: ServiceRules, *, fetched: bool) -> Iterator[Problem]:
    """Yield what is known of the keys, those of one state in one sentence."""
    query = f"The queries to register: cds-service prefetch --hook {service.service.hook}"
    for state, severity, what, why, todo, slug in (
        (State.FAILED, ERROR, "could not be loaded by the EHR, or hold no FHIR", "Nothing in them can be used.", query,
         "key-failed"),
        (State.TRUNCATED, WARNING, "are not the whole: more pages exist, or a part cannot be read",
         "What is there counts; what was not found proves nothing.", "Raise _count, or give fhirServer.",
         "key-truncated"),
        (State.ABSENT, NOTE if fetched else WARNING, "were not sent", _FETCHED if fetched else _NOT_FETCHED, query,
         "key-missing"),
    ):  # fmt: skip
        keys = [key for key in service.service.prefetch if facts.state(key) is state]
        if keys:
            places = [pointer("prefetch", key) for key in keys]
            said = f"Keys that {what}: {', '.join(keys)}."
            yield Problem(severity, places[0], said, why, todo, slug, times=len(keys), also=tuple(places[1:5]))


_FETCHED = "The service can ask fhirServer for them, if CDS_FHIR_ALLOW names that server."
_NOT_FETCHED = "Rules that read them answer that they do not know; no fhirServer was given to ask."


# --- resources -------------------------------------------------------------------------------------------------------


def _about_resources(
    document: Json, everything: list[Placed], hook: str, reader: Reader, now: float
) -> Iterator[Problem]:
    alone = Alone(document, everything, hook, reader, now)
    seen: dict[codes.Seen, tuple[list[str], str]] = {}
    rightly: Counter[str] = Counter()
    for one in everything:
        facts = alone.facts(one) if one.key and one.kind in KIND_OF else None
        if facts is not None:
            yield from resources.aside(one, facts)
            rightly.update(resources.expected(facts))
            for key in facts.seen:
                seen.setdefault(key, ([], _wording(one.resource)))[0].append(one.pointer)
    if rightly:
        said = ", ".join(f"{reason} ({times})" for reason, times in rightly.most_common())
        yield Problem(NOTE, "", "Resources that rightly do not count.", f"{said}.", slug="rightly-aside")
    yield from codes.unmatched(reader.terminology, seen)
    for where, bundle in resources.containers(document):
        yield from resources.by_models(bundle, where)
    for one in everything:
        yield from resources.by_models(one.resource, one.pointer)


def _wording(resource: Json) -> str:
    """Return how a record words what a resource is about."""
    for member in ("code", "medicationCodeableConcept"):
        element = resource.get(member)
        if isinstance(element, dict):
            codings = element.get("coding")
            shown = (
                [one.get("display") for one in codings if isinstance(one, dict)] if isinstance(codings, list) else []
            )
            return next((one for one in (element.get("text"), *shown) if isinstance(one, str) and one), "")
    return ""


def _too_many(everything: list[Placed], most: int) -> Iterable[Problem]:
    if len(everything) <= most:
        return []
    what = f"The call holds {len(everything)} resources; the first {most} were looked at one by one."
    return [Problem(NOTE, "", what, slug="too-many")]


# --- the answer ------------------------------------------------------------------------------------------------------


def _answer(call: HookRequest, facts: Facts, book: RuleBook, service: ServiceRules, *, refused: bool) -> str:
    """Say what the service would answer, were everything mended that keeps it from reading the call."""
    start = "Were the errors mended, the service would answer: " if refused else "The service would answer: "
    try:
        decision = decide(facts, book, service)
        cards = respond(decision, book, service, call, lambda: "lint").cards
    except CdsError as problem:
        return f"{start}412, {problem.what[:1].lower()}{problem.what[1:]} {problem.why}"
    shown = ", ".join(f"{one.indicator}" for one in cards)
    said = f"{len(cards)} card{'' if len(cards) == 1 else 's'}" + (f" ({shown})" if shown else "")
    blind = sorted({missing for one in decision.not_evaluated for missing in one.judgement.missing})
    more = f" and {len(blind) - _BLIND} more" if len(blind) > _BLIND else ""
    if not decision.not_evaluated:
        return f"{start}{said}; every rule could be evaluated."
    return (
        f"{start}{said}; {len(decision.not_evaluated)} of {len(decision.outcomes)} rules could not be evaluated, "
        f"for want of: {', '.join(blind[:_BLIND])}{more}."
    )
