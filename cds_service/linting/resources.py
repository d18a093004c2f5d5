"""Every resource of a call with its place: what our readers make of it alone, and what the models of FHIR R4 say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from fhir.resources.R4B import get_fhir_model_class

from cds_service.errors import CdsError
from cds_service.facts import Policy, take_in
from cds_service.facts.identity import STRANGER
from cds_service.facts.intake import Reader
from cds_service.facts.model import Facts
from cds_service.linting.problems import ERROR, MODELS, WARNING, Problem, pointer
from cds_service.linting.reasons import explained, is_expected
from cds_service.protocol import HookRequest

Json = dict[str, Any]
LENIENT = Policy(drop_strangers=True)
_CONTAINERS = ("Bundle",)
# What only comes along is looked at to know whose a resource is, and is not judged itself.
_INCLUDED: Json = {"search": {"mode": "include"}}


class Placed(msgspec.Struct, frozen=True):
    """A resource, where it stands, the prefetch key it stands under ("" in the context), and its entry's fullUrl."""

    resource: Json
    pointer: str
    key: str
    full_url: str = ""

    @property
    def kind(self) -> str:
        """The type of the resource."""
        return str(self.resource.get("resourceType") or "")


def placed(document: Json) -> Iterator[Placed]:
    """Yield every resource of a call: of the prefetch, and of the Bundles in its context."""
    for root, holder in (("prefetch", document.get("prefetch")), ("context", document.get("context"))):
        for key, value in holder.items() if isinstance(holder, dict) else ():
            if isinstance(value, dict) and (root == "prefetch" or value.get("resourceType")):
                yield from _inside(value, (root, key), key if root == "prefetch" else "")


def _inside(value: Json, place: tuple[str, ...], key: str) -> Iterator[Placed]:
    if value.get("resourceType") not in _CONTAINERS:
        yield Placed(value, pointer(*place), key)
        return
    entries = value.get("entry")
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            full_url = entry.get("fullUrl")
            where = pointer(*place, "entry", number, "resource")
            yield Placed(resource, where, key, full_url if isinstance(full_url, str) else "")


def containers(document: Json) -> Iterator[tuple[str, Json]]:
    """Yield every Bundle of a call without its resources, and where it stands."""
    for root in ("prefetch", "context"):
        holder = document.get(root)
        for key, value in holder.items() if isinstance(holder, dict) else ():
            if isinstance(value, dict) and value.get("resourceType") in _CONTAINERS:
                yield pointer(root, key), {name: part for name, part in value.items() if name != "entry"}


class Alone:
    """Reads one resource of a call by itself, as the service would, so that what comes of it is known to be of it."""

    def __init__(self, document: Json, everything: list[Placed], hook: str, reader: Reader, now: float) -> None:
        context: Json = document["context"]
        self._rest: Json = {"context": {name: _emptied(value) for name, value in context.items()}}
        self._rest |= {name: document[name] for name in ("hook", "hookInstance", "fhirServer") if name in document}
        self._medications = [one for one in everything if one.kind == "Medication"]
        self._patients = [one for one in everything if one.kind == "Patient" and _names(one, context)][:_MOST_PATIENTS]
        self._hook, self._reader, self._now = hook, reader, now

    def facts(self, one: Placed) -> Facts | None:
        """Return the facts of one resource; None where it cannot be read at all."""
        beside = [other for other in (*self._referred(one), *self._patients) if other is not one]
        entries = [_entry(one), *(_entry(other) | _INCLUDED for other in beside)]
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        try:
            raw = json.dumps({**self._rest, "prefetch": {one.key: bundle}}).encode()
            return take_in(HookRequest.parse(raw, self._hook), self._reader, self._now, LENIENT)
        except (CdsError, UnicodeError, RecursionError):
            return None

    def _referred(self, one: Placed) -> list[Placed]:
        """Return the Medication that an order refers to, however it does."""
        element = one.resource.get("medicationReference")
        wanted = str(element.get("reference") or "") if isinstance(element, dict) else ""
        last = wanted.rpartition("/")[2]
        return [other for other in self._medications if wanted and _is(other, wanted, last)][:1]


# Patients that stand under a name of their own (urn:uuid:...) may be meant by it; nobody sends more of them than this.
_MOST_PATIENTS = 10


def _names(one: Placed, context: Json) -> bool:
    return one.full_url.startswith("urn:") or one.resource.get("id") == context.get("patientId")


def _is(other: Placed, wanted: str, last: str) -> bool:
    return other.full_url == wanted or str(other.resource.get("id")) == last


def _emptied(value: Any) -> Any:
    """Return a value of the context; of a Bundle only the shell, since one resource is looked at at a time."""
    return {"resourceType": "Bundle"} if isinstance(value, dict) and value.get("resourceType") == "Bundle" else value


def _entry(one: Placed) -> Json:
    return {"resource": one.resource} | ({"fullUrl": one.full_url} if one.full_url else {})


def aside(one: Placed, facts: Facts) -> Iterator[Problem]:
    """Yield why our readers do not use a resource, or a part of it."""
    for each in facts.set_aside:
        why, todo = explained(each.reason)
        if each.reason == STRANGER:
            what = "This is another patient's: the call is refused (412)."
            yield Problem(ERROR, one.pointer, what, "No card may be built from it.", todo, each.reason)
        elif not is_expected(each.reason):
            about = f" ({each.concept})" if each.concept else ""
            yield Problem(WARNING, one.pointer, f"{one.kind}{about} is set aside.", why, todo, each.reason)


def expected(facts: Facts) -> list[str]:
    """Return the reasons for which a resource rightly does not count."""
    return [each.reason for each in facts.set_aside if is_expected(each.reason)]


def by_models(resource: Json, where: str) -> Iterator[Problem]:
    """Yield what the models of FHIR R4 (fhir.resources, R4B) have against a resource."""
    kind = resource.get("resourceType")
    if not isinstance(kind, str) or not kind:
        what = "There is no resourceType, so nobody can tell what this is."
        yield Problem(WARNING, where, what, todo="Send resourceType.", slug="no-type", found_by=MODELS)
        return
    try:
        get_fhir_model_class(kind).model_validate(resource)
    except (KeyError, LookupError):
        yield Problem(WARNING, where, "This is no resource of FHIR R4.", slug="no-such-type", found_by=MODELS)
    except (ValueError, TypeError, RecursionError) as failure:
        details: list[Any] = getattr(failure, "errors", list)()
        for one in details:
            steps = [step for step in one["loc"] if step not in ("function-before", kind)]
            place = ".".join(str(step) for step in steps if not isinstance(step, int))
            what = f"{kind}.{place}: {one['msg']}" if place else f"{kind}: {one['msg']}"
            yield Problem(WARNING, where + pointer(*steps), what, slug=str(one["type"]), found_by=MODELS)
        if not details:
            yield Problem(WARNING, where, f"{kind}: {type(failure).__name__}", slug="model", found_by=MODELS)
