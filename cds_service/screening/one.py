"""
One patient screened: the lines of their record in, one line for each finding out.

The same function runs on one machine, on Dask and on Spark. The record is sent down the road of a hook call, whole:
no page is cut off, as prefetch may be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from cds_service import decoding
from cds_service.adapters.ehr import LocalRecord, hook_request
from cds_service.adapters.ehr.cases import INSTANCE, USER, moment_of
from cds_service.adapters.population import MEDICATION
from cds_service.adapters.population.journal import Sheet
from cds_service.cards import triage
from cds_service.cards.wording import Voice
from cds_service.decide import Decision, decide
from cds_service.errors import CdsError
from cds_service.facts import Policy, model, take_in
from cds_service.facts.bundles import KIND_OF, MAX_RESOURCES
from cds_service.facts.evidence import YES, Item
from cds_service.facts.intake import Reader
from cds_service.facts.model import Answer, Facts, Measurement
from cds_service.facts.records import Prefetch
from cds_service.protocol import HookRequest
from cds_service.replay import NEWEST
from cds_service.rules.book import RuleBook, ServiceRules
from cds_service.rules.model import INDICATORS, Outcome

Find = Callable[[str], bytes | None]
# Parts of the name of a count.
BETWEEN = "\t"
_PAST = frozenset({"completed", "stopped"})
_ORDERS = frozenset({"MedicationRequest", "MedicationStatement"})
_encode = msgspec.json.Encoder().encode
_resource = decoding.decoder(dict[str, object])


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fact that a finding rests on: a result with its unit, or a coded diagnosis, medication or procedure."""

    what: str
    value: str = ""
    unit: str = ""
    system: str = ""
    code: str = ""
    date: str = ""


class Finding(msgspec.Struct, frozen=True):
    """One line: a rule that fired for a patient ("yes"), or could not be evaluated ("unknown") and what was missing."""

    patient: str
    rule: str
    number: str
    version: int
    verdict: str
    indicator: str
    summary: str
    values: list[Value]
    reasons: list[str]
    missing: list[str]
    as_of: str


class _Reference(msgspec.Struct, gc=False):
    reference: str | None = None


class _Peek(msgspec.Struct, gc=False):
    """As much of a resource as says under which prefetch key it belongs."""

    resourceType: str = ""
    id: str = ""
    status: str | None = None
    medicationReference: _Reference | None = None


_peek = decoding.decoder(_Peek).decode


def kinds_of(service: ServiceRules) -> frozenset[str]:
    """Return the kinds of resources that the rules of a service read, as its prefetch asks for them."""
    asked = (template.partition("?")[0].partition("/")[0] for template in service.service.prefetch.values())
    return frozenset({kind for kind in asked if kind in KIND_OF} | {MEDICATION, "Patient"})


class Screener:
    """
    Screens patients with one rule book.

    ``moment`` is when the run was begun (seconds since 1970), for ``as_of`` "today", and for records without dates.
    """

    def __init__(self, book: RuleBook, service: ServiceRules, policy: Policy, as_of: str, moment: float) -> None:
        self._book, self._service, self._policy = book, service, policy
        self._as_of, self._moment = as_of, moment
        self._reader = Reader(book.terminology)

    def screen(self, patient: str, lines: Sequence[bytes], find: Find) -> Sheet:
        """
        Screen one patient. Whatever is wrong with the record is said on the sheet, and stops nobody.

        ``find`` returns the Medication that an order refers to.
        """
        counts: Counter[str] = Counter(patients=1)
        try:
            now = self._when(patient, lines)
            request = HookRequest.parse(self.call(patient, lines, find), self._service.service.hook, Prefetch)
            facts = take_in(request, self._reader, now, self._policy)
            decision = decide(facts, self._book, self._service)
            return self._sheet(patient, decision, counts, _day(now))
        except CdsError as problem:
            counts[f"refused{BETWEEN}{problem.slug}"] += 1
            return Sheet(patient, counts=counts, trouble=problem.slug)
        except Exception as failure:  # noqa: BLE001 - it is counted and named; the other patients go on
            counts[f"failed{BETWEEN}{type(failure).__name__}"] += 1
            return Sheet(patient, counts=counts, trouble=f"failed: {type(failure).__name__}")

    def _when(self, patient: str, lines: Sequence[bytes]) -> float:
        found = [_resource.decode(line) for line in lines] if self._as_of == NEWEST else []
        return moment_of(LocalRecord(patient, found), self._as_of, lambda: self._moment)

    def call(self, patient: str, lines: Sequence[bytes], find: Find) -> bytes:
        """Return the hook call that brings the whole record; of a very long one what an EHR would send."""
        values = _sorted_in(lines, find)
        if any(len(entries) > MAX_RESOURCES for entries in values.values()):
            return self._as_an_ehr(patient, lines, find)
        context = _encode({"userId": USER, "patientId": patient})
        prefetch = b",".join(b'"%b":%b' % (key.encode(), _searchset(entries)) for key, entries in values.items())
        hook = self._service.service.hook.encode()
        return b'{"hook":"%b","hookInstance":"%b","context":%b,"prefetch":{%b}}' % (
            hook,
            INSTANCE.encode(),
            context,
            prefetch,
        )

    def _as_an_ehr(self, patient: str, lines: Sequence[bytes], find: Find) -> bytes:
        references = dict.fromkeys(name for line in lines if (name := _medication_of(_peek(line))))
        found = [medication for name in references if (medication := find(name)) is not None]
        record = LocalRecord(patient, [_resource.decode(line) for line in (*lines, *found)], lenient_status=True)
        announced = self._service.service
        call = hook_request(announced.hook, record, announced.prefetch, user_id=USER, hook_instance=INSTANCE)
        return _encode(call)

    def _sheet(self, patient: str, decision: Decision, counts: Counter[str], day: str) -> Sheet:
        facts, fired = decision.facts, decision.fired
        counts.update(f"set aside{BETWEEN}{one.kind}{BETWEEN}{one.reason}" for one in facts.set_aside)
        if facts.person.deceased:
            counts["deceased"] += 1
            return Sheet(patient, counts=counts)
        counts.update(f"unknown{BETWEEN}{one.rule.id}" for one in decision.not_evaluated)
        counts.update(f"finding{BETWEEN}{one.rule.id}{BETWEEN}{one.indicator}" for one in fired)
        counts.update(f"failed{BETWEEN}{one.rule.id}: {one.failed}" for one in decision.outcomes if one.failed)
        counts["with findings"] += bool(fired)
        counts.update(self._cards(fired))
        said = [_finding(patient, one, facts, self._book, day) for one in (*fired, *decision.not_evaluated)]
        urgency = max((INDICATORS.index(one.indicator) + 1 for one in fired), default=0)
        return Sheet(patient, urgency, len(fired), b"".join(_encode(one) + b"\n" for one in said), counts)

    def _cards(self, fired: Sequence[Outcome]) -> Iterator[str]:
        """Count cards as an EHR would see them: merged, and no more than the service shows."""
        if not fired:
            return
        shown, held = triage.cap(triage.merge(fired, self._book.merging), self._service.card_limit)
        for card in shown:
            yield f"card{BETWEEN}{card[0].indicator}"
            yield from (f"on card{BETWEEN}{one.rule.id}" for one in card)
        yield from (f"held back{BETWEEN}{one.rule.id}" for one in held)


def _sorted_in(lines: Iterable[bytes], find: Find) -> dict[str, list[bytes]]:
    """Sort resources under the keys of prefetch, with the Medications that orders refer to; names stay as written."""
    values: dict[str, list[bytes]] = {kind: [] for kind in (*model.KINDS, model.PAST_MEDICATIONS)}
    known: set[str] = set()
    for line in lines:
        one = _peek(line)
        ended = one.resourceType == "MedicationRequest" and one.status in _PAST
        key = model.PAST_MEDICATIONS if ended else KIND_OF[one.resourceType]
        url = f"urn:uuid:{one.id}" if one.resourceType == "Patient" else ""
        values[key].append(_entry(line, url))
        name = _medication_of(one)
        if name and name not in known:
            known.add(name)
            medication = find(name)
            if medication is not None:
                values[key].append(_entry(medication, name, included=True))
    return values


def _medication_of(one: _Peek) -> str:
    reference = one.medicationReference if one.resourceType in _ORDERS else None
    return (reference.reference or "") if reference is not None else ""


def _entry(line: bytes, url: str, *, included: bool = False) -> bytes:
    named = b'"fullUrl":%b,' % _encode(url) if url else b""
    return b'{%b"resource":%b%b}' % (named, line, b',"search":{"mode":"include"}' if included else b"")


def _searchset(entries: list[bytes]) -> bytes:
    """Return a search result that is complete. FHIR JSON knows no empty array."""
    listed = b',"entry":[%b]' % b",".join(entries) if entries else b""
    return b'{"resourceType":"Bundle","type":"searchset"%b}' % listed


def _finding(patient: str, outcome: Outcome, facts: Facts, book: RuleBook, day: str) -> Finding:
    rule, fired = outcome.rule, outcome.verdict is YES
    voice = Voice(outcome, facts, book.terminology) if fired else None
    missing = ("this rule failed and was skipped",) if outcome.failed else outcome.judgement.missing
    return Finding(
        patient,
        rule.id,
        rule.number,
        rule.version,
        outcome.verdict.value,
        outcome.indicator,
        voice.summary() if voice else "",
        [_value(item) for item in dict.fromkeys(voice.resting())] if voice else [],
        voice.reasons() if voice else [],
        list(missing),
        day,
    )


def _value(item: Item) -> Value:
    """Say what a finding rests on: results as reported, everything else by its code."""
    day = item.when.day if item.when else ""
    if isinstance(item, Measurement):
        return Value(item.analyte, f"{item.comparator}{item.reported}", item.unit, date=day)
    if isinstance(item, Answer):
        return Value(item.concept, item.meaning, date=day)
    return Value(item.concept, system=item.system, code=item.code, date=day)


def _day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
