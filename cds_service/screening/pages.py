"""The summary and the worklist as pages: to be read on a screen, light or dark, or printed; without a script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import msgspec

from cds_service.rules.book import ServiceRules
from cds_service.screening.one import Finding
from cds_service.screening.totals import URGENT_FIRST, Totals

_STYLES = (Path("web", "static", "base.css"), Path("screening", "pages.css"))
_MARK = "Calcinosis CDS"
_WARNING = "These pages hold patients' data. Who may read the record may read them, and nobody else."


class Shown(msgspec.Struct, frozen=True):
    """What both pages say: about the run, what was counted, and what could not be used."""

    run: Mapping[str, Any]
    totals: Totals
    service: ServiceRules
    problems: Mapping[str, int]


def summary(shown: Shown) -> Iterator[bytes]:
    """Yield the page with what was counted."""
    totals = shown.totals
    cards = [f"{totals.of('card', name):,} {name}" for name in URGENT_FIRST]
    yield from _begin("Screening: summary", shown)
    yield _text(
        f'<p class="lead">{totals.patients:,} patients were looked at, {totals["deceased"]:,} of them deceased: '
        f"no rule is asked about them. {totals['with findings']:,} have findings. An EHR that opened every chart would "
        f'show {", ".join(cards)} cards. <a href="worklist.html">Worklist</a></p>'
    )
    numbers = (*map(str.capitalize, URGENT_FIRST), "Cards", "Held back", "Cannot tell")
    yield from _table("Findings by rule", ("Rule",), numbers, [_rule(row) for row in totals.rules(shown.service)])
    aside = [(_cell(row["kind"]), _cell(row["reason"]), _number(row["count"])) for row in totals.set_aside()]
    yield from _table("Set aside: in the records, and of no use to a rule", ("Kind", "Reason"), ("Resources",), aside)
    problems = [(_cell(name), _number(count)) for name, count in sorted(shown.problems.items())]
    yield from _table("Could not be read (problems.ndjson says where)", ("Reason",), ("How many",), problems)
    refused = {**totals.named("refused"), **totals.named("failed")}
    yield from _table(
        "Patients who could not be screened, and rules that failed",
        ("Reason",),
        ("How many",),
        [(_cell(name), _number(count)) for name, count in refused.items()],
    )
    decided = [
        (_cell(one["says"]), _cell(one["who"]), _cell(f"not followed: {one['ignored']}" if one["ignored"] else ""))
        for one in shown.run["decisions"]
    ]
    yield from _table("Decided by admins, and laid over the rule files", ("Decision", "By", ""), (), decided)
    files = [(_cell(one["file"]), _number(one["bytes"])) for one in shown.run["inputs"]]
    yield from _table("Files that were read", ("File",), ("Bytes",), files)
    yield from _end(shown)


def worklist(shown: Shown, patients: Iterable[Sequence[Finding]], most: int) -> Iterator[bytes]:
    """Yield the page with the patients who have findings: the most urgent first, then those with most findings."""
    having = shown.totals["with findings"]
    beyond = f" The first {most:,} are shown; all stand in findings.csv." if having > most else ""
    yield from _begin("Screening: worklist", shown)
    yield _text(f'<p class="lead">{having:,} patients with findings, the most urgent first.{beyond}</p>')
    yield _text('<table class="worklist"><thead><tr><th>Patient</th><th>Findings</th></tr></thead>\n<tbody>')
    for one in patients:
        yield from _patient(one)
    yield b"</tbody></table>\n"
    yield from _end(shown)


def _patient(found: Sequence[Finding]) -> Iterator[bytes]:
    fired = sorted((one for one in found if one.indicator), key=lambda one: URGENT_FIRST.index(one.indicator))
    unknown = [one.number for one in found if not one.indicator]
    yield _text(f'<tr><th scope="row">{escape(found[0].patient)}<small>as of {escape(found[0].as_of)}</small></th><td>')
    yield b"<ul>"
    for one in fired:
        yield _text(
            f'<li><span class="label {one.indicator}">{one.indicator}</span> {escape(one.summary)} '
            f"<small>{escape(one.number)}: {escape('; '.join(one.reasons))}</small></li>"
        )
    yield b"</ul>"
    if unknown:
        yield _text(f"<small>Could not be evaluated: {escape(', '.join(unknown))}</small>")
    yield b"</td></tr>\n"


def _rule(row: Mapping[str, str | int]) -> tuple[str, ...]:
    urgencies = [_number(row[name]) for name in URGENT_FIRST]
    rest = [_number(row[name]) for name in ("cards", "held_back", "not_evaluated")]
    return (_cell(f"{row['number']}: {row['title']}"), *urgencies, *rest)


def _table(title: str, heads: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[bytes]:
    if not rows:
        return
    yield _text(f'<section class="panel"><h2>{escape(title)}</h2><table><thead><tr>')
    yield _text("".join(f'<th scope="col">{escape(head)}</th>' for head in heads))
    yield _text("".join(f'<th scope="col" class="number">{escape(head)}</th>' for head in numbers))
    yield b"</tr></thead>\n<tbody>"
    for row in rows:
        yield _text(f"<tr>{''.join(row)}</tr>\n")
    yield b"</tbody></table></section>\n"


def _cell(text: object) -> str:
    return f"<td>{escape(str(text))}</td>"


def _number(number: object) -> str:
    return f'<td class="number">{number:,}</td>'


def _begin(title: str, shown: Shown) -> Iterator[bytes]:
    package = Path(__file__).resolve().parents[1]
    styles = "".join((package / one).read_text(encoding="utf-8") for one in _STYLES)
    yield _text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing is loaded from anywhere, whatever a record may hold.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)} - {_MARK}</title>\n<style>\n{styles}</style></head>\n<body>"
        f'<header class="bar"><p class="mark">{_MARK} <span>{escape(title)}</span></p>'
        f"<p>Looked at as of {escape(str(shown.run['as_of']))}, begun {escape(str(shown.run['begun']))}</p></header>\n"
        f'<main><h1>{escape(title)}</h1><p class="note">{_WARNING}</p>\n'
    )


def _end(shown: Shown) -> Iterator[bytes]:
    site = f", site {escape(str(shown.run['site']))}" if shown.run["site"] else ""
    yield _text(
        f"</main><footer><p>Rule book {escape(str(shown.run['rule_book']))}{site}, "
        f"program {escape(str(shown.run['program']))}. "
        "Decision support: clinical judgement prevails. A rule that found nothing, or could not be evaluated, "
        "does not say that the patient is well.</p></footer></body></html>\n"
    )


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace")
