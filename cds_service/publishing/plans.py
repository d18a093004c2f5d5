"""
Each rule as a PlanDefinition, and its file as a Library.

The condition is written in our own language, which no FHIR engine runs: it is given in words, and as a reference to the
Library that holds the file. A PlanDefinition without any condition would say that the action always applies.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from cds_service.publishing import fhir, intended
from cds_service.publishing.attributes import cautions
from cds_service.publishing.catalogue import Entry, Limit
from cds_service.publishing.fhir import Edition, Json
from cds_service.publishing.logic import Step
from cds_service.rules.model import Citation, Rule
from cds_service.terminology import Order, Terminology

YAML = "text/yaml"
# How HAPI and others read an indicator off a priority.
PRIORITY = {"info": "routine", "warning": "urgent", "critical": "stat"}
_TYPES = "http://terminology.hl7.org/CodeSystem"


def plan(rule: Rule, entry: Entry, valuesets: Sequence[str], words: Terminology, edition: Edition) -> Json:
    """Return the PlanDefinition of a rule."""
    library = fhir.canonical("Library", rule.id, str(rule.version))
    return fhir.known(
        resourceType="PlanDefinition",
        **_identity("PlanDefinition", rule, edition),
        type=_coded("plan-definition-type", "eca-rule", "ECA Rule"),
        purpose=entry.why,
        usage=f"{intended.INTENDED_USE} {' '.join(cautions(rule, edition.day))}",
        topic=[{"text": entry.chapter}],
        relatedArtifact=[*map(_citation, rule.evidence), *map(_depends, valuesets)],
        library=[library],
        action=[_action(rule, entry, library, words)],
    )


def library(rule: Rule, raw: bytes, entry: Entry, valuesets: Sequence[str], edition: Edition) -> Json:
    """Return the Library that holds a rule's file as it stands; a site's changes are in its parameters."""
    return fhir.known(
        resourceType="Library",
        **_identity("Library", rule, edition),
        type=_coded("library-type", "logic-library", "Logic Library"),
        relatedArtifact=list(map(_depends, valuesets)),
        parameter=list(map(_parameter, entry.thresholds)),
        content=[{"contentType": YAML, "data": b64encode(raw).decode("ascii"), "title": f"hooks/{rule.place}"}],
    )


def _identity(kind: str, rule: Rule, edition: Edition) -> Json:
    return {
        "id": rule.id,
        "url": fhir.canonical(kind, rule.id),
        "identifier": [{"system": f"{fhir.BASE}/rule-number", "value": rule.number}],
        "version": str(rule.version),
        "name": fhir.machine_name(rule.id),
        "title": rule.title,
        "status": fhir.STATUS[rule.status],
        "experimental": rule.status != "active",
        "date": edition.day.isoformat(),
        "publisher": edition.publisher,
        "description": f"{rule.number} {rule.title}. {' '.join(rule.why.split())}",
        # No approvalDate: who approves, and when, is each site's own.
        "lastReviewDate": rule.reviewed.isoformat(),
    }


def _coded(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": f"{_TYPES}/{system}", "code": code, "display": display}]}


def _citation(one: Citation) -> Json:
    marks = [*fhir.extension(fhir.VERIFICATION, one.status), *fhir.extension(fhir.STRENGTH, one.strength)]
    return {"extension": marks, "type": "citation", "citation": one.cite}


def _depends(identifier: str) -> Json:
    return {"type": "depends-on", "resource": fhir.canonical("ValueSet", identifier)}


def _parameter(one: Limit) -> Json:
    said = f"{one.means}: {one.value}, since {one.since} ({one.layer}); allowed {one.allowed}; source: {one.source}"
    kind = "boolean" if one.allowed == "on or off" else "Quantity"
    return {"name": one.name, "use": "in", "min": 0, "max": "1", "documentation": said, "type": kind}


def _action(rule: Rule, entry: Entry, library: str, words: Terminology) -> Json:
    card = rule.card
    offered = [words.orders[name] for name in dict.fromkeys((*card.alternatives, *card.workup, *card.consults))]
    return fhir.known(
        title=rule.title,
        description=entry.urgencies[0].summary[-1] if entry.urgencies[0].summary else "",
        textEquivalent="\n".join(_text(entry)),
        priority=PRIORITY[card.indicator],
        trigger=[{"type": "named-event", "name": hook} for hook in rule.hooks],
        condition=[{"kind": "applicability", "expression": _expression(entry.logic, library)}],
        selectionBehavior="any" if offered else "",
        dynamicValue=[
            {"path": "priority", "expression": _expression(one.when, library, f"{PRIORITY[one.indicator]} when ")}
            for one in entry.urgencies
            if one.when
        ],
        action=[*([_REMOVE] if card.remove_draft else []), *(_offer(one, words) for one in offered)],
    )


def _expression(step: Step, library: str, before: str = "") -> Json:
    return {"description": before + "\n".join(lines(step)), "language": YAML, "reference": library}


def _text(entry: Entry) -> list[str]:
    """Say in words when the rule fires and what its card says."""
    advice = [f"Medication advice: {entry.medication_advice}"] if entry.medication_advice else []
    return ["The rule fires when", *lines(entry.logic), entry.detail, *advice]


_REMOVE: Json = {
    "title": "Take away the draft order that the finding rests on",
    "type": _coded("action-type", "remove", "Remove"),
}


def _offer(order: Order, words: Terminology) -> Json:
    coding = {"system": words.systems.uri(order.system), "code": order.code, "display": order.display}
    return {
        "extension": fhir.extension(fhir.VERIFICATION, order.verified),
        "title": order.say,
        "code": [{"coding": [coding], "text": order.name}],
        "type": _coded("action-type", "create", "Create"),
    }


def lines(step: Step, depth: int = 0) -> list[str]:
    """Write the logic as indented lines."""
    return [f"{'  ' * depth}- {step.text}", *(line for one in step.steps for line in lines(one, depth + 1))]
