"""A chart that is open: the record, what was done in it since, the calls that were made, and the cards beside it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cds_service.adapters.ehr import LocalRecord
from cds_service.adapters.ehr.context import ORDERS, drafts_among
from cds_service.web.sandbox.advice import Advice, Shown, read_advice
from cds_service.web.sandbox.calling import Call
from cds_service.web.sandbox.choices import signed

Resource = dict[str, Any]
# Fills prefetch templates (key to query) with a context: how an EHR asks its FHIR server.
Ask = Callable[[Mapping[str, str], Mapping[str, Any]], Resource]
MOST_CALLS, MOST_DRAFTS = 16, 40
# Their cards speak about orders that are not signed yet: without such orders they are past.
ABOUT_DRAFTS = ("order-select", "order-sign", "medication-refill")


class OpenChart:
    """
    One chart in one session. It is the EHR's side: a Record that fills prefetch, with what was done in it.

    ``base`` is its FHIR server as hook calls name it; ``ask`` reads from it, where there is one (the cast's is in
    memory). ``story`` is what a patient of the cast is about, ``gaps`` what of a record could not be read.
    """

    def __init__(
        self, key: str, resources: Iterable[Resource], base: str, *, ask: Ask | None = None, token: str = ""
    ) -> None:
        self.key, self.base, self.ask, self.token = key, base, ask, token
        self.resources, self.added = list(resources), list[Resource]()
        self.patient_id = str(next(one["id"] for one in self.resources if one["resourceType"] == "Patient"))
        self.drafts = [one for one in drafts_among(self.resources) if one["resourceType"] in ORDERS]
        self.story, self.gaps = "", tuple[str, ...]()
        self.encounter, self.leaving, self.signing, self.sends_prefetch = "", False, False, True
        self.calls: deque[Call] = deque(maxlen=MOST_CALLS)
        self.advice: OrderedDict[str, Advice] = OrderedDict()
        # What is new on the page, and where on it the eyes should be: told once.
        self.news, self.look, self._numbers = "", "", 0

    def prefetch(self, templates: Mapping[str, str], context: Mapping[str, Any]) -> Resource:
        """Fill prefetch templates: from the FHIR server if there is one, with what was done here since."""
        if not self.sends_prefetch:
            return {}
        if self.ask is None:
            return LocalRecord(self.patient_id, [*self.resources, *self.added], self.base).prefetch(templates, context)
        filled = self.ask(templates, context)
        own = LocalRecord(self.patient_id, self.added, self.base)
        for key, value in filled.items() if self.added else ():
            if isinstance(value, dict) and value.get("resourceType") == "Bundle":
                more = (own.answer(templates[key], context) or {}).get("entry") or []
                filled[key] = value | ({"entry": [*more, *(value.get("entry") or [])]} if more else {})
        return filled

    def unsigned(self) -> list[Resource]:
        """Return the orders that are not signed, and the Medications they may refer to."""
        return [*self.drafts, *(one for one in self.resources if one["resourceType"] == "Medication")]

    def shown(self) -> list[Resource]:
        """Return what the chart shows: the record without its unsigned orders, and what was done since."""
        drafts = {id(one) for one in self.drafts}
        return [*(one for one in self.resources if id(one) not in drafts), *self.added]

    def next_number(self) -> int:
        """Return a number that nothing in this chart has yet."""
        self._numbers += 1
        return self._numbers

    def take(self, call: Call) -> Advice:
        """Keep a hook call, and show its advice in the place of what the same service said before."""
        self.calls.appendleft(call)
        advice = read_advice(call)
        self.advice[call.service] = advice
        self.advice.move_to_end(call.service, last=False)
        return advice

    def unfolded(self) -> set[int]:
        """Return the numbers of the answers that stand open: the newest, the newest with cards, the one worked with."""
        newest = list(self.advice.values())
        with_cards = [one for one in newest if one.cards]
        touched = [one for one in newest if any(f"card-{card.uuid}" == self.look for card in one.cards)]
        return {one.number for one in (*newest[:1], *with_cards[:1], *touched)}

    def card(self, service: str, uuid: str) -> Shown | None:
        """Return a card that is shown."""
        advice = self.advice.get(service)
        return advice.card(uuid) if advice else None

    def add_draft(self, order: Resource) -> Resource:
        """Add an unsigned order; one without an id gets one."""
        order = {"id": f"draft-{self.next_number()}", **order}
        if len(self.drafts) < MOST_DRAFTS:
            self.drafts.append(order)
        self.signing = False
        return order

    def draft(self, reference: str) -> Resource | None:
        """Return the unsigned order that a reference or a bare id names."""
        name = reference.rpartition("/")[2]
        return next((one for one in self.drafts if one.get("id") == name), None)

    def drop(self, reference: str) -> Resource | None:
        """Take an unsigned order away, and the advice that only unsigned orders were about."""
        found = self.draft(reference)
        if found is not None:
            self.drafts = [one for one in self.drafts if one is not found]
            self.resources = [one for one in self.resources if one is not found]
            self.signing = False
            if not self.drafts:
                self.forget(ABOUT_DRAFTS, settled=True)
        return found

    def sign(self, now: float) -> list[Resource]:
        """Sign every unsigned order: it stands in the record from now on."""
        done = [signed(one, now) for one in self.drafts]
        gone = {id(one) for one in self.drafts}
        self.resources = [one for one in self.resources if id(one) not in gone]
        self.added += done
        self.drafts, self.signing = [], False
        self.forget(ABOUT_DRAFTS, settled=False)
        return done

    def forget(self, hooks: Iterable[str], *, settled: bool) -> None:
        """Take the advice of some hooks away; ``settled`` leaves what was answered, so that the answer can be seen."""
        for service, advice in list(self.advice.items()):
            answered = settled and any(one.taken or one.overridden for one in advice.cards)
            if advice.hook in hooks and not answered:
                del self.advice[service]

    def medication(self, reference: str) -> Resource | None:
        """Return a medication order of the record."""
        return self._of("MedicationRequest", reference)

    def order(self, reference: str) -> Resource | None:
        """Return an order that was signed here."""
        return next((one for one in self.added if f"{one['resourceType']}/{one['id']}" == reference), None)

    def _of(self, kind: str, reference: str) -> Resource | None:
        every = (one for one in self.shown() if one["resourceType"] == kind)
        return next((one for one in every if str(one.get("id")) == reference), None)
