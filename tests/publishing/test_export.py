"""
The FHIR export: every file is valid R4, nothing a rule reads is missing, everything that is referred to is there.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class

from cds_service.cli.publish import notes as read_notes
from cds_service.publishing import fhir
from cds_service.publishing.catalogue import newest_review
from cds_service.publishing.codes import BLOCK, Notes, codes_of, concepts_of
from cds_service.publishing.export import export
from cds_service.publishing.fhir import Edition
from cds_service.publishing.valuesets import NOT_ALONE
from cds_service.rules.book import RuleBook, rule_paths
from tests.publishing.conftest import HOOKS, SAMPLE

Json = dict[str, Any]


@pytest.fixture(scope="module")
def notes() -> Notes:
    return read_notes(HOOKS)


@pytest.fixture(scope="module")
def rule_files() -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in rule_paths(HOOKS).items()}


@pytest.fixture(scope="module")
def edition(book: RuleBook) -> Edition:
    return Edition("A developer", book.fingerprint, newest_review(book))


@pytest.fixture(scope="module")
def files(book: RuleBook, rule_files: dict[str, bytes], notes: Notes, edition: Edition) -> dict[str, bytes]:
    return export(book, rule_files, notes, edition)


@pytest.fixture(scope="module")
def resources(files: dict[str, bytes]) -> dict[str, Json]:
    return {name: json.loads(raw) for name, raw in files.items()}


def of_type(resources: dict[str, Json], kind: str) -> list[Json]:
    return [one for one in resources.values() if one["resourceType"] == kind]


def test_every_file_is_valid_r4(resources: dict[str, Json]) -> None:
    for name, one in resources.items():
        read = get_fhir_model_class(one["resourceType"]).model_validate(one)

        assert one["resourceType"] == read.get_resource_type(), name


def test_a_resource_that_is_not_valid_is_refused() -> None:
    with pytest.raises(ValueError, match="status"):
        fhir.check({"resourceType": "PlanDefinition", "id": "x", "action": []})


def test_files_are_named_by_type_and_id(resources: dict[str, Json]) -> None:
    assert all(name == f"{one['resourceType']}-{one['id']}.json" for name, one in resources.items())
    assert all(re.fullmatch(r"[A-Za-z0-9.-]{1,64}", one["id"]) for one in resources.values())


def test_every_rule_has_its_plan_and_its_library(book: RuleBook, resources: dict[str, Json]) -> None:
    for kind in ("PlanDefinition", "Library"):
        assert sorted(book.rules) == sorted(one["id"] for one in of_type(resources, kind))


def test_the_same_content_gives_the_same_bytes(
    book: RuleBook, rule_files: dict[str, bytes], notes: Notes, edition: Edition, files: dict[str, bytes]
) -> None:
    assert files == export(book, rule_files, notes, edition)


def test_names_are_names_that_programs_can_use(resources: dict[str, Json]) -> None:
    """
    FHIR, constraint pdf-0 and its like; the models do not check it.
    """
    assert all(re.fullmatch(r"[A-Z]\w{0,254}", one["name"]) for one in resources.values() if "name" in one)


# --- references -----------------------------------------------------------------------------------------------------


def canonicals(node: Any) -> Iterator[str]:
    """Yield every address of ours below a node but those of extensions and identifiers."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("resource", "reference", "library"):
                named = [value] if isinstance(value, str) else value
                yield from named if isinstance(named, list) else ()
            yield from canonicals(value)
    elif isinstance(node, list):
        for one in node:
            yield from canonicals(one)


def test_every_reference_leads_to_a_resource_of_the_export(resources: dict[str, Json]) -> None:
    known = {one["url"] for one in resources.values() if "url" in one}
    known |= {f"{one['url']}|{one['version']}" for one in of_type(resources, "Library")}
    referred = {one for resource in resources.values() for one in canonicals(resource)}

    assert referred
    assert set() == referred - known


def test_the_bundle_holds_every_other_resource_once(resources: dict[str, Json]) -> None:
    [bundle] = of_type(resources, "Bundle")
    others = [one for one in resources.values() if one is not bundle]

    assert [one["url"] for one in others] == [entry["fullUrl"] for entry in bundle["entry"]]
    assert others == [entry["resource"] for entry in bundle["entry"]]
    assert len({entry["fullUrl"] for entry in bundle["entry"]}) == len(others)


# --- plans ----------------------------------------------------------------------------------------------------------


def test_a_plan_is_triggered_by_the_hooks_of_its_rule(book: RuleBook, resources: dict[str, Json]) -> None:
    for one in of_type(resources, "PlanDefinition"):
        [action] = one["action"]

        assert [("named-event", hook) for hook in book.rules[one["id"]].hooks] == [
            (trigger["type"], trigger["name"]) for trigger in action["trigger"]
        ]


def test_a_condition_says_that_it_is_in_a_language_of_our_own(resources: dict[str, Json]) -> None:
    """
    Without a condition the action would always apply; with one in FHIRPath or CQL somebody might run it.
    """
    for one in of_type(resources, "PlanDefinition"):
        [condition] = one["action"][0]["condition"]

        assert "text/yaml" == condition["expression"]["language"]
        assert one["library"] == [condition["expression"]["reference"]]
        assert condition["expression"]["description"] in one["action"][0]["textEquivalent"]


def test_nobody_is_said_to_have_approved_a_rule(resources: dict[str, Json]) -> None:
    assert not [one for one in of_type(resources, "PlanDefinition") if "approvalDate" in one]


def test_every_citation_is_there_with_how_it_was_verified(book: RuleBook, resources: dict[str, Json]) -> None:
    for one in of_type(resources, "PlanDefinition"):
        cited = [artifact for artifact in one["relatedArtifact"] if artifact["type"] == "citation"]

        assert [(known.cite, known.status) for known in book.rules[one["id"]].evidence] == [
            (artifact["citation"], artifact["extension"][0]["valueString"]) for artifact in cited
        ]


def test_a_rule_that_is_not_active_is_exported_as_a_draft(book: RuleBook, resources: dict[str, Json]) -> None:
    for one in of_type(resources, "PlanDefinition"):
        status = book.rules[one["id"]].status

        assert {"active": "active", "retired": "retired"}.get(status, "draft") == one["status"]
        assert (status != "active") == one["experimental"]


def test_a_library_holds_the_file_of_its_rule(resources: dict[str, Json]) -> None:
    library = resources[f"Library-{SAMPLE}.json"]
    [content] = library["content"]

    assert "text/yaml" == content["contentType"]
    assert rule_paths(HOOKS)[SAMPLE].read_bytes() == b64decode(content["data"])


# --- codes ----------------------------------------------------------------------------------------------------------


def held(valueset: Json) -> set[tuple[str, str]]:
    """Return the codes of a ValueSet, blocks among them, by the address of their system."""
    found = set()
    for include in valueset["compose"]["include"]:
        found |= {(include["system"], one["code"]) for one in include.get("concept", ())}
        found |= {(include["system"], one["value"]) for one in include.get("filter", ())}
    return found


def test_every_code_that_a_rule_reads_is_in_its_valuesets(book: RuleBook, resources: dict[str, Json]) -> None:
    words = book.terminology
    by_url = {one["url"]: held(one) for one in of_type(resources, "ValueSet")}
    for rule in book.rules.values():
        plan = resources[f"PlanDefinition-{rule.id}.json"]
        inside = {code for one in plan["relatedArtifact"] for code in by_url.get(one.get("resource"), ())}
        read = {
            (words.systems.uri(system), code)
            for name in rule.reads | rule.helps
            for system, code in words.codes.get(name, ())
        }

        assert set() == read - inside, rule.id


def test_a_code_that_never_suffices_alone_is_in_no_set_that_suffices(
    book: RuleBook, notes: Notes, resources: dict[str, Json]
) -> None:
    words = book.terminology
    named = {name for rule in book.rules.values() for name in concepts_of(rule, words)}
    for name, codes in codes_of(words, named, notes).items():
        sufficing = resources.get(f"ValueSet-{name}.json")
        apart = resources.get(f"ValueSet-{name}{NOT_ALONE}.json")

        for one in codes:
            key = (words.systems.uri(one.system), one.code)
            assert (key in held(sufficing) if sufficing else False) == one.alone, (name, key)
            assert (key in held(apart) if apart else False) != one.alone, (name, key)


def test_every_code_of_the_content_says_where_it_was_read(book: RuleBook, notes: Notes) -> None:
    words = book.terminology
    named = {name for rule in book.rules.values() for name in concepts_of(rule, words)}
    bare = [one for codes in codes_of(words, named, notes).values() for one in codes if not one.note.verified]

    assert [] == bare


def test_ointments_and_mixtures_are_no_part_of_a_medication(book: RuleBook, resources: dict[str, Json]) -> None:
    """
    KNOWLEDGE 3.1: the route and the number of ingredients decide, and a ValueSet cannot say them.
    """
    products = book.terminology.indexes["medication"].exact
    for one in of_type(resources, "ValueSet"):
        concept = book.terminology.concepts.get(one["id"])
        if concept is None or concept.kind != "medication":
            continue
        codes = {code for _, code in held(one)}
        rows = [row for rows in products.values() for row in rows if row.match.concept == one["id"]]

        assert not [row for row in rows if row.match.route in ("topical", "ophthalmic") and row.match.code in codes]
        assert not [row for row in rows if row.match.ingredients > concept.max_ingredients and row.match.code in codes]


def test_blocks_are_filters_of_their_own_and_say_that_we_match_by_prefix(resources: dict[str, Json]) -> None:
    includes = [
        include
        for one in of_type(resources, "ValueSet")
        for include in one["compose"]["include"]
        if "filter" in include
    ]

    assert includes
    for include in includes:
        [condition] = include["filter"]
        assert ("concept", "is-a") == (condition["property"], condition["op"])
        assert {"url": fhir.PREFIX, "valueString": condition["value"]} in include["extension"]
    assert BLOCK
