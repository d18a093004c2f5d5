"""The figures as Markdown tables, and as a picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.sections import Section

if TYPE_CHECKING:
    from bench.bench import Row

BEGIN, END = "<!-- written by python -m bench.bench --write -->", "<!-- end of what was written -->"
COMMAND = "make peers && python -m bench.bench --operating --write docs/benchmarks.md"
_COLOURS = ("#8a8f98", "#1f6feb", "#6fa8ff", "#2da44e", "#9a6700", "#cf222e")
_LEFT, _WIDTH, _BAR, _LEAST, _MOST = 210, 640, 15, 0.1, 200.0


def machine() -> str:
    """Say on what machine it runs, as far as a reader needs it to compare."""
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def line(row: Row) -> str:
    """Say one row while others are still being measured."""
    return (
        f"{row.size:5} {row.host:32} CPU {row.middle:7.3f} ms (min {min(row.cpu):.3f})  ratio {row.ratio:5.2f}"
        f"  {row.alone[0]:6.0f} and {row.together[0]:6.0f} calls/s  {row.memory:4.0f} MB"
    )


def page(rows: Sequence[Row], profile: Sequence[Section], operating: Sequence[tuple[str, str]], conditions: str) -> str:
    """Return all tables."""
    parts = [
        f"Measured {datetime.now(UTC):%Y-%m-%d} with `{COMMAND}`. {conditions}.",
        *(_table(rows, size) for size in dict.fromkeys(row.size for row in rows)),
        _profile(rows, profile),
        *([_operating(operating)] if operating else []),
    ]
    return "\n\n".join(parts)


def _table(rows: Sequence[Row], size: int) -> str:
    shown = [row for row in rows if row.size == size]
    head = (
        f"### {size:,} Observations ({shown[0].sent / 1000:,.0f} kB in, {shown[1].answered / 1000:,.1f} kB out)\n\n"
        "| | CPU ms per call, median (least) | times bare Flask (least to most) | calls/s, p50, p99 ms: 1 connection |"
        " 8 connections | RSS MB |\n|---|---|---|---|---|---|"
    )
    return "\n".join([head, *map(_row, shown)])


def _row(row: Row) -> str:
    cells = (
        row.host,
        f"{row.middle:.3f} ({min(row.cpu):.3f})",
        f"**{row.ratio:.2f}** ({row.ratios[0]:.2f} to {row.ratios[1]:.2f})",
        *(f"{rate:,.0f}, {middle:.1f}, {late:.1f}" for rate, middle, late in (row.alone, row.together)),
        f"{row.memory:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _profile(rows: Sequence[Row], profile: Sequence[Section]) -> str:
    lines = [f"| {one.name} | {one.microseconds:.0f} |" for one in profile]
    inside = sum(one.microseconds for one in profile if not one.name.startswith("("))
    ours = next((row.middle for row in rows if row.size == 100 and row.host == "this service"), 0.0)
    if ours:
        rest = f"{ours * 1000 - inside:.0f}"
        lines.append(f"| the rest: HTTP, threads, log, metrics, colder caches than in this loop | {rest} |")
    head = "### Where the time goes (100 Observations, microseconds, in one process)\n\n| part | us |\n|---|---|"
    return "\n".join([head, *lines])


def _operating(told: Sequence[tuple[str, str]]) -> str:
    head = "### As it is run (100 Observations, one worker)\n\n| what | result |\n|---|---|"
    return "\n".join([head, *(f"| {what} | {result} |" for what, result in told)])


def write(path: Path, tables: str, rows: Sequence[Row]) -> None:
    """Put the tables into a page, in the place of the last ones, and the picture beside it."""
    picture = path.with_suffix(".svg")
    picture.write_text(svg(rows), encoding="utf-8")
    text = path.read_text(encoding="utf-8") if path.exists() else "# Benchmarks\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    shown = f"![CPU time per call, by server and size of the body]({picture.name})"
    head = "## What a call costs" if "## What a call costs" not in before else ""
    new = f"{before.rstrip()}\n\n{head}\n\n{BEGIN}\n\n{shown}\n\n{tables}\n\n{END}{after or chr(10)}"
    path.write_text(new.replace("\n\n\n\n", "\n\n"), encoding="utf-8")


def svg(rows: Sequence[Row]) -> str:
    """Draw the CPU time per call as bars on a logarithmic scale."""
    names = list(dict.fromkeys(row.host for row in rows))
    parts, y = list[str](), 30
    for size in dict.fromkeys(row.size for row in rows):
        parts.append(f'<text x="8" y="{y + 12}" font-weight="bold">{size:,} Observations</text>')
        y += 20
        for row in (row for row in rows if row.size == size):
            parts += _bar(row, _COLOURS[names.index(row.host) % len(_COLOURS)], y)
            y += _BAR + 3
        y += 12
    title = "CPU milliseconds per call (logarithmic scale)"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 90} {y}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{title}">'
        f'<rect width="100%" height="100%" fill="#ffffff"/><text x="8" y="18">{title}</text>{"".join(parts)}</svg>\n'
    )


def _bar(row: Row, colour: str, y: int) -> list[str]:
    share = (log10(max(row.middle, _LEAST)) - log10(_LEAST)) / (log10(_MOST) - log10(_LEAST))
    width = max(2.0, min(1.0, share) * _WIDTH)
    return [
        f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(row.host)}</text>',
        f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>',
        f'<text x="{_LEFT + width + 6:.1f}" y="{y + 12}">{row.middle:.2f}</text>',
    ]
