"""The whole export: a PlanDefinition and a Library per rule, the ValueSets of what they read, and a Bundle of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from cds_service.publishing import catalogue, fhir, plans, valuesets
from cds_service.publishing.codes import Notes, codes_of, concepts_of
from cds_service.publishing.fhir import Edition, Json
from cds_service.rules.book import RuleBook

BUNDLE = "calcinosis-cds"


def export(book: RuleBook, files: Mapping[str, bytes], notes: Notes, edition: Edition) -> dict[str, bytes]:
    """
    Return every file of the export by its name, each valid R4; the same content gives the same bytes.

    ``files`` are the rule files by the rules' ids. Raises ValueError where a resource would not be valid.
    """
    resources = list(_resources(book, files, notes, edition))
    everything = [*resources, _bundle(resources)]
    for resource in everything:
        fhir.check(resource)
    return {f"{one['resourceType']}-{one['id']}.json": _written(one) for one in everything}


def _resources(book: RuleBook, files: Mapping[str, bytes], notes: Notes, edition: Edition) -> Iterator[Json]:
    words, rules = book.terminology, [book.rules[name] for name in sorted(book.rules)]
    named = sorted({name for rule in rules for name in concepts_of(rule, words)})
    codes = codes_of(words, named, notes)
    for rule in rules:
        entry = catalogue.entry(rule, book, edition.day)
        sets = [one for name in concepts_of(rule, words) for one in valuesets.identifiers(name, codes[name])]
        yield plans.plan(rule, entry, sets, words, edition)
        yield plans.library(rule, files[rule.id], entry, sets, edition)
    for name in named:
        yield from valuesets.valuesets(name, codes[name], words, edition)


def _bundle(resources: list[Json]) -> Json:
    entries = [{"fullUrl": one["url"], "resource": one} for one in resources]
    return {"resourceType": "Bundle", "id": BUNDLE, "type": "collection", "entry": entries}


def _written(resource: Json) -> bytes:
    return msgspec.json.format(msgspec.json.encode(resource), indent=2) + b"\n"
