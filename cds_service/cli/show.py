"""Cards and tables as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

EXTENSION = "org.calcinosis-cds"
WIDTH = 100
# What may move the cursor or rewrite the terminal; a card's text may come from any service.
_CONTROL = {code: "�" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Lay rows out in columns; numbers to the right."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in [list(heads), *cells]) for place in range(len(heads))]
    right = [bool(cells) and all(_is_number(row[place]) for row in cells) for place in range(len(heads))]
    for row in [list(heads), ["-" * width for width in widths], *cells]:
        line = [
            cell.rjust(width) if to else cell.ljust(width) for cell, width, to in zip(row, widths, right, strict=True)
        ]
        yield "  ".join(line).rstrip()


def _cell(value: Any) -> str:
    return "" if value == 0 else plain(str(value))


def _is_number(text: str) -> bool:
    return not text or text.replace(".", "", 1).isdigit()


def plain(text: str) -> str:
    """Take control characters out of a text."""
    return text.translate(_CONTROL)


def answer(status: int, body: Mapping[str, Any] | None) -> Iterator[str]:
    """Show what a CDS service answered: cards, or why there are none."""
    if status == 200 and body is not None and isinstance(body.get("cards"), list):
        yield from cards(body)
        return
    yield f"The service refused the call with status {status}."
    if body is not None and body.get("resourceType") == "OperationOutcome":
        yield from outcome(body)


def cards(response: Mapping[str, Any]) -> Iterator[str]:
    """Show the answer to a hook call: every card, then what was not evaluated. Any service may have written it."""
    found = _objects(response.get("cards"))
    for number, card in enumerate(found, 1):
        yield from _card(card, f"Card {number} of {len(found)}")
    if not found:
        yield "No cards: nothing to say about this patient."
    said = _object(_object(response.get("extension")).get(EXTENSION))
    for gap in _objects(said.get("not_evaluated")):
        missing = gap.get("missing")
        words = ", ".join(map(str, missing)) if isinstance(missing, list) else ""
        yield plain(f"Not evaluated: {gap.get('rule')} - missing: {words}")
    for held in _objects(said.get("held_back")):
        yield plain(
            f"Held back: {held.get('rule')} ({held.get('indicator')}), {held.get('reason') or 'no reason given'}"
        )


def _card(card: Mapping[str, Any], heading: str) -> Iterator[str]:
    yield f"{heading}  [{plain(_words(card, 'indicator')).upper()}]"
    yield f"  {plain(_words(card, 'summary'))}"
    for line in plain(str(card.get("detail") or "")).replace("**", "").splitlines():
        yield from textwrap.wrap(line, WIDTH, initial_indent="    ", subsequent_indent="      ") or [""]
    for offer in _objects(card.get("suggestions")):
        yield plain(f"  [ ] {_words(offer, 'label')}")
    for link in _objects(card.get("links")):
        yield plain(f"  Link: {_words(link, 'label')} <{_words(link, 'url')}>")
    reasons = [_words(reason, "display", "code") for reason in _objects(card.get("overrideReasons"))]
    if reasons:
        shown = plain(f"Override reasons: {'; '.join(reasons)}")
        yield from textwrap.wrap(shown, WIDTH, initial_indent="  ", subsequent_indent="    ")
    yield plain(f"  Source: {_words(_object(card.get('source')), 'label')}")
    yield ""


def outcome(body: Mapping[str, Any]) -> Iterator[str]:
    """Show an OperationOutcome."""
    for issue in _objects(body.get("issue")):
        text = _words(_object(issue.get("details")), "text")
        places = issue.get("expression")
        where = f" (at {', '.join(map(str, places))})" if isinstance(places, list) and places else ""
        yield plain(f"{_words(issue, 'severity')}: {text}{where}")
        shown = plain(str(issue.get("diagnostics") or ""))
        yield from textwrap.wrap(shown, WIDTH, initial_indent="  ", subsequent_indent="  ")


def indented(rows: Iterable[str]) -> Iterator[str]:
    """Indent lines."""
    return (f"  {row}" for row in rows)


def _words(node: Mapping[str, Any], *names: str) -> str:
    return next((str(node[name]) for name in names if node.get(name)), "?")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
