"""The shapes of our content and of the wire, as JSON Schemas, and the strict reader that checks content by them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from cds_service.errors import ContentError
from cds_service.schemas.strict_yaml import Mapping, Sequence

__all__ = ["check", "schema", "validator"]


@cache
def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of one kind of document: "rule", "service", "vignette", "request", "response" ..."""
    text = files("cds_service.schemas").joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def validator(name: str, part: str = "") -> Draft202012Validator:
    """Return the compiled validator of one kind of document, or of a part of it that has a name ("$defs")."""
    whole = schema(name)
    return Draft202012Validator({"$defs": whole["$defs"], "$ref": f"#/$defs/{part}"} if part else whole)


def check(name: str, document: Mapping, file: str, part: str = "") -> None:
    """Raise ContentError, with file and line, where a document (or a part of one) does not have its shape."""
    errors = list(validator(name, part).iter_errors(_plain(document)))
    # A key that was mistyped is also a key that is missing: the mistyped one is the one to speak of.
    error = next((one for one in errors if one.validator == "additionalProperties"), None) or best_match(errors)
    if error is not None:
        where = f"{file}:{_line(document, list(error.absolute_path), error)}"
        raise ContentError(_wording(error), where=where, slug="wrong-shape", remedy=_expected(error))


def _plain(value: Any) -> Any:
    """Turn Decimals into floats: the schema asks for the kind of a value, never for its size."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return float(value) if type(value).__name__ == "Decimal" else value


def _line(document: Any, path: list[Any], error: ValidationError) -> int:
    line = getattr(document, "line", 1)
    for step in path:
        if isinstance(document, Mapping | Sequence):
            line = document.lines[step] if isinstance(document, Sequence) else document.lines.get(str(step), line)
        document = document[step]
    extra = next(_extra_keys(error), None)
    return document.lines.get(extra, line) if extra and isinstance(document, Mapping) else line


def _extra_keys(error: ValidationError) -> Iterator[str]:
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        yield from (key for key in error.instance if key not in _properties(error))


def _properties(error: ValidationError) -> list[str]:
    return list(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []


def _wording(error: ValidationError) -> str:
    path = ".".join(str(step) for step in error.absolute_path) or "the file"
    extra = next(_extra_keys(error), None)
    if extra:
        close = get_close_matches(extra, _properties(error), n=1)
        hint = f' Did you mean "{close[0]}"?' if close else ""
        return f'"{extra}" is not a key that {path} may have.{hint}'
    if error.validator == "required":
        return f"{path} lacks {error.message.split(' ')[0]}."
    return f"{path}: {error.message}."


def _expected(error: ValidationError) -> str:
    if error.validator == "additionalProperties":
        return f"Keys it may have: {', '.join(_properties(error))}."
    described: str = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    return described
