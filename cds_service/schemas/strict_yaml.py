"""
Strict YAML: every value is what a clinician meant, and every value knows the line it stands on.

PyYAML's defaults read ``no`` as False, ``010`` as 8, ``12:30`` as 750, dates as objects, and let a key that
stands twice win silently. Here a plain scalar is text unless it is exactly ``true``, ``false``, ``null`` or a
number as people write numbers; keys that stand twice, anchors, aliases and tags are errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from cds_service.errors import ContentError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
# Where an anchor, an alias or a tag can begin; an ampersand inside words ("gas & acid") is neither.
_REFERENCE = re.compile(rb"(?<![^\s\[{,:])(?:[&*]\S|!)")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


class _Untagged(yaml.CSafeLoader):
    """Composes nodes without guessing what their text may be: ``_scalar`` decides that, and half the time is saved."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:  # noqa: ARG002 - PyYAML's signature
        return ""

    def descend_resolver(self, node: Any, index: Any) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass


class Mapping(dict[str, Any]):
    """A YAML mapping that remembers its line and the line of each key."""

    line: int = 0
    lines: dict[str, int]


class Sequence(list[Any]):
    """A YAML sequence that remembers its line and the line of each item."""

    line: int = 0
    lines: list[int]


def read(path: Path, *, shown_as: str = "") -> Mapping:
    """
    Read one YAML document whose top is a mapping.

    Raises ContentError with ``file:line`` for anything ambiguous. Numbers come as int or Decimal, never float.
    """
    name = shown_as or path.name
    try:
        raw = path.read_bytes()
    except OSError as failure:
        raise ContentError(
            "The file cannot be read.", where=name, why=failure.strerror or "", slug="unreadable"
        ) from None
    return parse(raw, name)


def parse(raw: bytes, name: str) -> Mapping:
    """Read YAML from bytes; ``name`` is how the file is called in errors."""
    if len(raw) > MAX_BYTES:
        raise ContentError("The file is larger than 1 MB.", where=name, slug="too-large")
    try:
        _refuse_references(raw, name)
        node = yaml.compose(raw, Loader=_Untagged)
    except yaml.YAMLError as failure:
        raise _syntax_error(failure, name) from None
    if not isinstance(node, yaml.MappingNode):
        raise ContentError("The file must be a mapping of keys to values.", where=f"{name}:1", slug="not-a-mapping")
    return _mapping(node, name, 1)


def _refuse_references(raw: bytes, name: str) -> None:
    """Anchors and aliases make a small file expand without bound, and hide what is meant."""
    for token in _reference_tokens(raw):
        line = token.start_mark.line + 1
        raise ContentError("Anchors, aliases and tags are not allowed.", where=f"{name}:{line}", slug="yaml-reference")


def _reference_tokens(raw: bytes) -> Iterator[Any]:
    if not _REFERENCE.search(raw):
        return
    kinds = (yaml.AnchorToken, yaml.AliasToken, yaml.TagToken)
    yield from (token for token in yaml.scan(raw, Loader=yaml.CSafeLoader) if isinstance(token, kinds))


def _syntax_error(failure: yaml.YAMLError, name: str) -> ContentError:
    mark = getattr(failure, "problem_mark", None)
    where = f"{name}:{mark.line + 1}" if mark else name
    problem = getattr(failure, "problem", None) or "it is not valid YAML"
    return ContentError(f"The file cannot be read as YAML: {problem}.", where=where, slug="yaml-syntax")


def _build(node: yaml.Node, name: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ContentError(
            "The file is nested too deeply.", where=f"{name}:{node.start_mark.line + 1}", slug="too-deep"
        )
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, name, depth)
    if isinstance(node, yaml.SequenceNode):
        return _sequence(node, name, depth)
    return _scalar(node)


def _mapping(node: yaml.MappingNode, name: str, depth: int) -> Mapping:
    built = Mapping()
    built.line, built.lines = node.start_mark.line + 1, {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in built:
            raise ContentError(
                f'The key "{key}" stands twice.',
                where=f"{name}:{line}",
                slug="duplicate-key",
                remedy=f"Keep one of them; the first stands on line {built.lines[key]}.",
            )
        built[key], built.lines[key] = _build(value_node, name, depth + 1), line
    return built


def _sequence(node: yaml.SequenceNode, name: str, depth: int) -> Sequence:
    built = Sequence(_build(item, name, depth + 1) for item in node.value)
    built.line = node.start_mark.line + 1
    built.lines = [item.start_mark.line + 1 for item in node.value]
    return built


def _scalar(node: Any) -> Any:
    text = str(node.value)
    if node.style:  # quoted, or a block: text whatever it looks like
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.fullmatch(text):
        return Decimal(text) if "." in text else int(text)
    return text
