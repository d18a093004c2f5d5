"""The rule catalogue as one Markdown document, for the repository: docs/rules.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from cds_service.publishing import phrases
from cds_service.publishing.attributes import cited
from cds_service.publishing.catalogue import Catalogue, Entry, Limit, Offer
from cds_service.publishing.intended import INTENDED_USE
from cds_service.publishing.logic import HOW_TO_READ, Step

COMMAND = "cds-service rules --markdown docs/rules.md"
# What Markdown would take for markup in texts of ours: a limit "<5", a table's bar, a name with underscores.
_MARKUP = re.compile(r"([\\`*_<>|\[\]])")


def document(catalogue: Catalogue) -> str:
    """Return the whole document."""
    return "\n".join(_lines(catalogue)) + "\n"


def _lines(catalogue: Catalogue) -> Iterator[str]:
    yield "# The rules"
    yield ""
    yield f"Generated from `hooks/rules` by `{COMMAND}`: edit the rules, not this page."
    yield f"Thresholds as in force on {catalogue.day}, the day of the newest review."
    yield ""
    yield f"**Intended use.** {plain(INTENDED_USE)}"
    yield ""
    yield "## Reading the logic"
    yield ""
    yield from _list(map(plain, HOW_TO_READ))
    yield "## All rules"
    yield ""
    yield from _overview(catalogue)
    for name, entries in catalogue.chapters:
        yield f"## {plain(name)}"
        yield ""
        for entry in entries:
            yield from _rule(entry)


def _overview(catalogue: Catalogue) -> Iterator[str]:
    rows = [
        (one.number, f"[{plain(one.title)}](#{one.id})", f"`{one.id}`", one.status, str(one.version), _indicators(one))
        for one in sorted(catalogue.entries, key=lambda one: one.number)
    ]
    yield from _table(("number", "rule", "id", "status", "version", "card"), rows)


def _indicators(entry: Entry) -> str:
    return ", ".join(dict.fromkeys(one.indicator for one in entry.urgencies))


def _rule(entry: Entry) -> Iterator[str]:
    # An anchor of its own: the one that a reader makes of a heading changes with the title.
    yield f'<a id="{entry.id}"></a>'
    yield ""
    yield f"### {entry.number} {plain(entry.title)}"
    yield ""
    yield (
        f"`{entry.id}`, version {entry.version}, {entry.status}. Owner: {plain(entry.owner)}. "
        f"Reviewed: {entry.reviewed}. Hooks: {', '.join(entry.hooks)}."
    )
    yield ""
    yield plain(entry.why)
    yield ""
    yield f"*Unhelpful when:* {plain(entry.unhelpful_when)}"
    yield ""
    yield from _when(entry)
    yield from _card(entry)
    yield from _numbers(entry.thresholds)
    yield from _titled("Evidence", [plain(cited(one)) for one in entry.evidence])
    yield from _vignettes(entry)


def _when(entry: Entry) -> Iterator[str]:
    yield "**The rule fires when**"
    yield ""
    yield from _steps(entry.logic)
    yield ""
    yield from _list(f"*{plain(name)}*: {plain(meaning)}" for name, meaning in entry.terms)
    if entry.about_order:
        yield f"Where the hook is about orders, only for orders of: {plain(', '.join(entry.about_order))}."
        yield ""
    yield f"Cannot tell where one of these could decide and is not known: {plain(', '.join(entry.reads))}."
    yield ""


def _steps(step: Step, depth: int = 0) -> Iterator[str]:
    yield f"{'  ' * depth}- {plain(step.text)}"
    for one in step.steps:
        yield from _steps(one, depth + 1)


def _card(entry: Entry) -> Iterator[str]:
    yield "**The card**"
    yield ""
    for one in entry.urgencies:
        yield f"- {one.indicator}{', when' if one.when else ''}"
        if one.when:
            yield from _steps(one.when, 1)
        yield from (f"  - says: “{plain(wording)}”" for wording in one.summary)
    yield ""
    yield f"> {plain(entry.detail)}"
    yield ""
    yield from _list(f"*{title}:* {text}" for title, text in _offered(entry) if text)


def _offered(entry: Entry) -> Iterator[tuple[str, str]]:
    yield "Shows", plain("; ".join(entry.shows))
    yield "Workup", _offers(entry.workup)
    yield "Consults", _offers(entry.consults)
    yield "Medication advice", plain(entry.medication_advice)
    yield "Safer medication offered", plain(", ".join(entry.alternatives))
    yield "Draft order", "the card offers to take it away" if entry.removes_draft else ""
    yield "Override reasons", plain("; ".join(entry.override_reasons))
    yield "Quiet after an override", plain("; ".join(entry.quiet_for))
    yield "Speaks again early when", plain("; ".join(entry.quiet_unless))


def _offers(offers: Sequence[Offer]) -> str:
    return ", ".join(f"{plain(one.name)} ({one.system} {one.code})" for one in offers)


def _numbers(limits: Sequence[Limit]) -> Iterator[str]:
    if not limits:
        return
    yield "**Thresholds**"
    yield ""
    rows = [
        (f"`{one.name}`", plain(one.means), plain(one.value), one.allowed, _source(one), plain(_history(one)))
        for one in limits
    ]
    yield from _table(("name", "meaning", "value", "allowed", "source", "in force since"), rows)


def _source(one: Limit) -> str:
    return f"{plain(one.source)} (same as `{one.borrowed}`)" if one.borrowed else plain(one.source)


def _history(one: Limit) -> str:
    changes = [
        f"{change.since}: {change.value}{f' ({change.layer}, {change.who}: {change.why})' if change.who else ''}"
        for change in one.history
    ]
    return "; ".join(changes) if len(changes) > 1 or one.by_site else str(one.since)


def _vignettes(entry: Entry) -> Iterator[str]:
    file = f"../hooks/{entry.place.removesuffix('.yaml')}.test.yaml"
    counts = [f"{phrases.HEADINGS[heading]} {len(names)}" for heading, names in entry.vignettes.items()]
    yield f"**Tried on** [{entry.tried} vignettes]({file}): {', '.join(counts)}."
    yield ""


def _titled(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"**{title}**"
    yield ""
    yield from _list(lines)


def _list(lines: Iterable[str]) -> Iterator[str]:
    found = [f"- {line}" for line in lines]
    if found:
        yield from [*found, ""]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def plain(text: str) -> str:
    """Keep a text from being taken for Markdown or HTML."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
