"""
docs/openapi.yaml says what the service answers: it is sound, complete, and true (SECURITY.md 9, Schemathesis).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import validate
from openapi_spec_validator.readers import read_from_filename
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cds_service.adapters.ledger import Key, Ledger
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app
from tests.build import NOW, ROOT

PATH = ROOT / "docs" / "openapi.yaml"
# Pages for people that have documents of their own, files, and the sandbox, which no EHR calls.
NOT_OURS = re.compile(r"/(sandbox|integrate|evidence|smart|launch)\b|/static/")
EXAMPLES = 25


def addresses(app: Flask) -> set[tuple[str, str]]:
    """Return method and path of every address, with the names of its parts left out."""
    return {
        (method.lower(), re.sub(r"<[^>]*>", "{}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not NOT_OURS.search(rule.rule)
    }


@pytest.fixture(scope="module")
def document() -> Any:
    spec, base = read_from_filename(str(PATH))
    validate(spec, base_uri=base)
    return spec


def test_every_address_is_in_the_document_and_no_other(app: Flask, document: Any) -> None:
    said = {(method, re.sub(r"\{[^}]*\}", "{}", path)) for path, item in document["paths"].items() for method in item}

    assert addresses(app) == said


def test_every_address_answers_in_the_same_shape_when_it_is_refused(app: Flask, document: Any) -> None:
    for path in document["paths"]:
        answer = app.test_client().delete(re.sub(r"\{[^}]*\}", "x", path))
        assert 405 == answer.status_code, path
        assert "OperationOutcome" == (answer.json or {})["resourceType"]


def operations() -> Iterator[Any]:
    schema = schemathesis.openapi.from_path(PATH)
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr] # the document was found sound
        yield pytest.param(operation, id=f"{operation.method.upper()} {operation.path}")


def check(app: Flask, case: Any) -> None:
    """Send one made-up request; the answer is one that the document knows, and never a 500."""
    case.call_and_validate(
        app=app, checks=[status_code_conformance, content_type_conformance, response_schema_conformance]
    )


@pytest.fixture(scope="module")
def complete(book: RuleBook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Give an application with a ledger, so that feedback can be stored."""
    folder = tmp_path_factory.mktemp("openapi")
    ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", Key(b"a key for tests, of which nobody need be afraid"))
    ledger.start()
    yield create_app(Settings(auth="none"), book=book, clock=NOW.timestamp, ledger=ledger)
    ledger.close()


@pytest.mark.parametrize("operation", list(operations()))
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.filterwarnings("ignore")
def test_the_answers_are_those_that_the_document_says(complete: Flask, operation: Any, mode: GenerationMode) -> None:
    """
    Requests that fit the document, and requests that do not.
    """
    bounded = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def send(case: Any) -> None:
        check(complete, case)

    # An address without parameters cannot be asked wrongly.
    with suppress(Unsatisfiable):
        asked: Any = given(operation.as_strategy(generation_mode=mode))(send)  # type: ignore[no-untyped-call]
        bounded(asked)()
