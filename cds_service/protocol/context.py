"""
The context of a call: who, where, and the resources that the hook is about (CDS Hooks library; HOOKS.md).

What a hook requires has to be there; members that we do not know are ignored, as are optional ones that are missing.
"""

from __future__ import annotations

import re

import msgspec

from cds_service.protocol import fields
from cds_service.protocol.fields import NOTHING
from cds_service.protocol.wire import Body, Members, no_twins

_USER = re.compile(r"\w{1,64}/[A-Za-z0-9._-]{1,256}")
# A reference may be an absolute URL.
_LONGEST_REFERENCE = 1_024
_VERSION = re.compile(r"/_history/[^/]*$")


class About(msgspec.Struct, frozen=True):
    """
    The resources of the context: a Bundle, and which of its entries the clinician is choosing (None: all).

    ``member`` is how the context calls the Bundle. At order-dispatch there is none: ``selections`` are references to
    orders that stand elsewhere.
    """

    member: str = ""
    bundle: msgspec.Raw = NOTHING
    selections: tuple[str, ...] | None = None


class Context(msgspec.Struct, frozen=True):
    """What the context says. ``user_id`` and ``encounter_id`` are "" where the hook allows them to be missing."""

    patient_id: str
    user_id: str = ""
    encounter_id: str = ""
    about: About | None = None


class Shape(msgspec.Struct, frozen=True):
    """What the context of a hook has to have: a user ("no" where the hook has none), an encounter, a Bundle."""

    user: str = "required"
    encounter: bool = False
    bundle: str = ""
    selections: bool = False
    dispatched: bool = False


PATIENT_VIEW = Shape()
SHAPES = {
    "patient-view": PATIENT_VIEW,
    "encounter-start": Shape(encounter=True),
    "encounter-discharge": Shape(encounter=True),
    "order-select": Shape(bundle="draftOrders", selections=True),
    "order-sign": Shape(bundle="draftOrders"),
    "order-dispatch": Shape(user="no", dispatched=True),
    "appointment-book": Shape(bundle="appointments"),
    "medication-refill": Shape(user="optional", bundle="medications"),
    "problem-list-item-create": Shape(bundle="conditions"),
}


def read(body: Body, raw: msgspec.Raw, hook: str) -> Context:
    """Read the context of a call of a hook. Raises InvalidRequest, with a JSON Pointer, where it lacks something."""
    if not fields.sent(raw):
        raise fields.missing("/context")
    members = fields.members_of(body, raw, "/context")
    shape = SHAPES.get(hook, PATIENT_VIEW)
    return Context(
        _patient_id(members), _user_id(members, shape.user), _encounter_id(members, shape), _about(body, members, shape)
    )


def _patient_id(members: Members) -> str:
    where = "/context/patientId"
    return fields.identifier(fields.text(members.get("patientId", NOTHING), where).removeprefix("Patient/"), where)


def _encounter_id(members: Members, shape: Shape) -> str:
    where, raw = "/context/encounterId", members.get("encounterId", NOTHING)
    encounter = (fields.text if shape.encounter else fields.optional)(raw, where).removeprefix("Encounter/")
    return fields.identifier(encounter, where) if encounter or shape.encounter else ""


def _user_id(members: Members, wanted: str) -> str:
    where, raw = "/context/userId", members.get("userId", NOTHING)
    if wanted == "no" or (wanted == "optional" and not fields.sent(raw)):
        return ""
    user = fields.text(raw, where)
    if not _USER.fullmatch(user):
        raise fields.invalid(
            'The userId is not of the form "Practitioner/123".',
            where,
            "CDS Hooks gives the user as resource type, slash, id.",
        )
    return user


def _about(body: Body, members: Members, shape: Shape) -> About | None:
    if shape.dispatched:
        fields.text(members.get("performer", NOTHING), "/context/performer", _LONGEST_REFERENCE)
        return About("dispatchedOrders", NOTHING, _dispatched(members))
    if not shape.bundle:
        return None
    bundle = _bundle(body, members.get(shape.bundle, NOTHING), f"/context/{shape.bundle}")
    chosen = _references(members.get("selections", NOTHING), "/context/selections") if shape.selections else None
    return About(shape.bundle, bundle, chosen)


def _bundle(body: Body, raw: msgspec.Raw, where: str) -> msgspec.Raw:
    """Return a Bundle as bytes, checked for members that stand twice; real clients leave its type out."""
    if not fields.sent(raw):
        raise fields.missing(where)
    kind = fields.members_of(body, raw, where).get("resourceType", NOTHING)
    if fields.optional(kind, f"{where}/resourceType") != "Bundle":
        raise fields.invalid(f"{where} must be a FHIR Bundle.", where)
    if not body.checked:
        no_twins(bytes(raw))
    return raw


def _dispatched(members: Members) -> tuple[str, ...]:
    """Return the references of the orders: "dispatchedOrders", in older versions of the hook one "order"."""
    if "dispatchedOrders" not in members and fields.sent(members.get("order", NOTHING)):
        return (_reference(members["order"], "/context/order"),)
    return _references(members.get("dispatchedOrders", NOTHING), "/context/dispatchedOrders")


def _references(raw: msgspec.Raw, where: str) -> tuple[str, ...]:
    return tuple([_reference(one, f"{where}/{place}") for place, one in enumerate(fields.items_of(raw, where))])


def _reference(raw: msgspec.Raw, where: str) -> str:
    return short(fields.text(raw, where, _LONGEST_REFERENCE))


def short(reference: str) -> str:
    """Return a reference as "Type/id" where it is an absolute or versioned URL; else (a bare id, a URN) as it is."""
    plain = _VERSION.sub("", reference)
    return "/".join(plain.rsplit("/", 2)[-2:]) if plain.count("/") > 1 else plain
