"""One patient's record in memory, answering prefetch templates as a FHIR server would."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote
from uuid import uuid4

from cds_service.adapters.ehr.context import context_of, drafts_among
from cds_service.adapters.ehr.search import Query, Resource, matches, read_query, reference_in
from cds_service.facts.bundles import KIND_OF
from cds_service.facts.dates import DAY, When, parse

FHIR_BASE = "https://ehr.example.org/fhir"
Context = Mapping[str, Any]

_DATED = (
    "effectiveDateTime",
    "effectiveInstant",
    "performedDateTime",
    "authoredOn",
    "recordedDate",
    "onsetDateTime",
)
_TOKEN = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_USER_TOKEN = re.compile(r"user(\w+)Id")


class Record(Protocol):
    """A patient's record, wherever it is kept, that can fill a service's prefetch."""

    @property
    def patient_id(self) -> str:
        """The patient's FHIR id."""

    def prefetch(self, templates: Mapping[str, str], context: Context) -> dict[str, Any]:
        """Fill prefetch templates; a key that cannot be filled is left out."""

    def unsigned(self) -> list[Resource]:
        """Return the orders of the record that are not signed, and the Medications they may refer to."""


class LocalRecord:
    """
    One patient's FHIR resources in memory, searched as a FHIR server would search them.

    ``lenient_status`` lets Conditions without a clinicalStatus be found by ``clinical-status=``, which real
    servers do not do (MIMIC has none at all).
    """

    def __init__(
        self, patient_id: str, resources: Sequence[Resource], base: str = FHIR_BASE, *, lenient_status: bool = False
    ) -> None:
        self.patient_id, self.base, self.lenient_status = patient_id, base.rstrip("/"), lenient_status
        self.resources = list(resources)
        self._by_name = {f"{one.get('resourceType')}/{one.get('id')}": one for one in self.resources}

    def answer(self, template: str, context: Context) -> Resource | None:
        """
        Answer one prefetch template: the resource that is read (None if there is none), or a searchset Bundle.

        Raises LookupError where the context lacks a token, ValueError where the search is not supported.
        """
        url = fill(template, context)
        query = read_query(url)
        if query.id:
            return self._by_name.get(f"{query.type}/{query.id}")
        found = matches(query, self.resources, self.base, lenient_status=self.lenient_status)
        return self._searchset(url, query, found)

    def prefetch(self, templates: Mapping[str, str], context: Context) -> dict[str, Any]:
        """Fill prefetch templates; a template whose token the context lacks is not honoured: its key is left out."""
        filled: dict[str, Any] = {}
        for key, template in templates.items():
            try:
                filled[key] = self.answer(template, context)
            except LookupError:
                continue
        return filled

    def unsigned(self) -> list[Resource]:
        """Return the orders of the record that are not signed, and the Medications they may refer to."""
        return drafts_among(self.resources)

    def everything(self) -> dict[str, Any]:
        """Return the whole record as prefetch, one key per kind, whatever its codes and statuses."""
        kinds: dict[str, list[Resource]] = {kind: [] for kind in KIND_OF.values() if kind != "patient"}
        for one in self.resources:
            kind = KIND_OF.get(one.get("resourceType", ""))
            if kind in kinds:
                kinds[kind].append(one)
        bundles = {kind: self._bundle([*found, *self._medications(found)], len(found)) for kind, found in kinds.items()}
        return {"patient": self._by_name.get(f"Patient/{self.patient_id}"), **bundles}

    def wordings(self) -> Iterator[tuple[str, str, str]]:
        """Yield (system, code, display) of every coding that says what a resource is about."""
        for one in self.resources:
            for concept in (one.get("code"), one.get("medicationCodeableConcept")):
                codings = concept.get("coding") if isinstance(concept, dict) else None
                for coding in codings if isinstance(codings, list) else ():
                    if isinstance(coding, dict) and coding.get("display"):
                        yield str(coding.get("system") or ""), str(coding.get("code") or ""), str(coding["display"])

    def newest(self) -> float | None:
        """
        Return the end of the day of the newest dated resource that rules read, in seconds since 1970.

        A patient who died is looked at just before: a rule has nothing to say about the dead.
        """
        days = [
            when.first for one in self.resources if KIND_OF.get(one.get("resourceType", "")) for when in _dates(one)
        ]
        moment = (max(days) + 1) * DAY - 1.0 if days else None
        died = _when((self._by_name.get(f"Patient/{self.patient_id}") or {}).get("deceasedDateTime"))
        return died.start - 1 if died and (moment is None or moment >= died.start) else moment

    def _searchset(self, url: str, query: Query, found: list[Resource]) -> Resource:
        page = found if query.count is None else found[: query.count]
        bundle = self._bundle([*page, *self._medications(page)], len(page))
        bundle |= {"total": len(found), "link": [{"relation": "self", "url": f"{self.base}/{url}"}]}
        if len(page) < len(found):
            bundle["link"].append({"relation": "next", "url": f"{self.base}/{url}&_offset={len(page)}"})
        return bundle

    def _bundle(self, resources: list[Resource], matched: int) -> Resource:
        """Return a searchset; what comes after the matches is included with them. FHIR JSON knows no empty array."""
        bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": matched}
        entries = [self._entry(one, "match" if place < matched else "include") for place, one in enumerate(resources)]
        return bundle | ({"entry": entries} if entries else {})

    def _entry(self, resource: Resource, mode: str) -> Resource:
        name = f"{resource.get('resourceType')}/{resource.get('id')}"
        return {"fullUrl": f"{self.base}/{name}", "resource": resource, "search": {"mode": mode}}

    def _medications(self, found: list[Resource]) -> Iterator[Resource]:
        """Yield the Medication resources that orders refer to, each once: Epic sends them along."""
        references = dict.fromkeys(reference_in(one.get("medicationReference")) for one in found)
        for reference in references:
            resource = self._by_name.get(reference.removeprefix(f"{self.base}/"))
            if resource is not None:
                yield resource


def _dates(resource: Resource) -> Iterator[When]:
    periods = (resource.get(name) for name in ("effectivePeriod", "performedPeriod", "onsetPeriod"))
    starts = (period.get("start") for period in periods if isinstance(period, dict))
    for text in (*(resource.get(name) for name in _DATED), *starts):
        when = _when(text)
        if when:
            yield when


def _when(text: Any) -> When | None:
    return parse(text) if isinstance(text, str) else None


def hook_request(
    hook: str,
    record: Record,
    templates: Mapping[str, str],
    *,
    user_id: str,
    encounter_id: str = "",
    hook_instance: str | None = None,
    fhir_server: str | None = None,
    about: Sequence[Resource] | None = None,
) -> dict[str, Any]:
    """
    Build the hook call that an EHR sends for a patient: context, and prefetch by the service's templates.

    ``about`` are the orders, appointments or problems that the hook is about; left out, the record's unsigned orders.
    """
    resources = record.unsigned() if about is None else about
    context = context_of(hook, record.patient_id, resources, user_id=user_id, encounter_id=encounter_id)
    request: dict[str, Any] = {"hook": hook, "hookInstance": hook_instance or str(uuid4()), "context": context}
    if fhir_server:
        request["fhirServer"] = fhir_server
    prefetch = record.prefetch(templates, context)
    return request | ({"prefetch": prefetch} if prefetch else {})


def fill(template: str, context: Context) -> str:
    """Fill the tokens of a prefetch template. Raises LookupError, naming it, for one that the context lacks."""

    def value(token: re.Match[str]) -> str:
        return quote(_value(token.group(1), context), safe="/")

    return _TOKEN.sub(value, template)


def _value(token: str, context: Context) -> str:
    user = _USER_TOKEN.fullmatch(token)
    if user:
        kind, _, identifier = str(context.get("userId") or "").partition("/")
        if kind == user.group(1) and identifier:
            return identifier
    elif token.startswith("context."):
        found = context.get(token.removeprefix("context."))
        if isinstance(found, str | int) and found:
            return str(found)
    raise LookupError(f"the context has no value for {token}")
