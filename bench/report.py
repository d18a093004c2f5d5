"""The figures as Markdown tables, and as a picture."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sysconfig
from collections.abc import Sequence
from datetime import UTC, datetime
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.hosts import ALL, FLOOR
from bench.operating import SLOW, Operated, slow
from bench.scaling import CONNECTIONS, Scaled
from bench.sections import Section
from bench.speed import Speed

if TYPE_CHECKING:
    from bench.bench import Row
    from bench.generator import Load
    from bench.goals import Goal

BEGIN, END = "<!-- written by python -m bench.bench --write -->", "<!-- end of what was written -->"
_COLOURS = ("#8a8f98", "#54aeff", "#1f6feb", "#6fa8ff", "#2da44e", "#9a6700", "#cf222e")
_LEFT, _WIDTH, _BAR, _LEAST, _MOST = 270, 640, 15, 0.1, 200.0


def machine() -> str:
    """Say on what machine it runs, as far as a reader needs it to compare."""
    built = sysconfig.get_config_var("CONFIG_ARGS") or ""
    tuned = "with" if "--enable-optimizations" in built else "WITHOUT"
    return (
        f"{platform.python_implementation()} {platform.python_version()} (built {tuned} --enable-optimizations), "
        f"{platform.system()} {platform.machine()}, {_processor()}{os.cpu_count()} cores"
    )


def _processor() -> str:
    """Return what the processor calls itself, where the system says so, with a comma."""
    told = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", told.read_text() if told.exists() else "", re.MULTILINE)
    return f"{found[1].strip()}, " if found else ""


def load() -> str:
    """Say how many processes wanted to run, on average over 1, 5 and 15 minutes."""
    return ", ".join(f"{one:.1f}" for one in os.getloadavg())


def command(words: Sequence[str]) -> str:
    """Say when and how it was measured."""
    said = shlex.join(["python", "-m", "bench.bench", *words])
    return f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC with `{said}`."


def line(row: Row) -> str:
    """Say one row while others are still being measured."""
    return (
        f"{row.size:5} {row.host:40} CPU {row.middle:7.3f} ms (min {min(row.cpu):.3f})  ratio {row.ratio[0]:5.2f}"
        f"  {row.alone.rate:6.0f} and {row.together.rate:6.0f} calls/s  {row.memory[0]:4.0f} MB"
    )


def page(
    rows: Sequence[Row], profile: Sequence[Section], operated: Operated | None, scaled: Sequence[Scaled],
    goals: Sequence[Goal], conditions: str,
) -> str:  # fmt: skip
    """Return all tables."""
    parts = [
        f"{conditions}.",
        *([_goals(goals)] if goals else []),
        *(_table(rows, size) for size in dict.fromkeys(row.size for row in rows)),
        _profile(rows, profile),
        *([_operating(operated)] if operated else []),
        *([_scaling(scaled)] if scaled else []),
    ]
    return "\n\n".join(parts)


def _goals(goals: Sequence[Goal]) -> str:
    head = "### What was asked for\n\n| what | at most | measured | |\n|---|---|---|---|"
    lines = (
        f"| {one.what} | {one.most:g} {one.unit} | {one.measured:.3g} {one.unit} | "
        f"{'kept' if one.is_kept else '**not kept**'} |"
        for one in goals
    )
    return "\n".join([head, *lines])


def _table(rows: Sequence[Row], size: int) -> str:
    shown = [row for row in rows if row.size == size]
    answered = next((row.answered for row in shown if row.host == ALL), 0)
    head = (
        f"### {size:,} Observations ({shown[0].sent / 1000:,.0f} kB in, {answered / 1000:,.1f} kB out)\n\n"
        f"| | CPU ms per call, median (least) | times {FLOOR} (least to most) | calls/s, p50, p99 ms: 1 connection |"
        " 8 connections | RSS, PSS MB |\n|---|---|---|---|---|---|"
    )
    odd = [f"{row.host} {row.alone.odd + row.together.odd}" for row in shown if row.alone.odd + row.together.odd]
    said = f"\n\nCalls of the last two columns that were not answered 200: {', '.join(odd)}." if odd else ""
    return "\n".join([head, *map(_row, shown)]) + said


def _row(row: Row) -> str:
    cells = (
        row.host,
        f"{row.middle:.3f} ({min(row.cpu):.3f})",
        f"**{row.ratio[0]:.2f}** ({row.ratio[1]:.2f} to {row.ratio[2]:.2f})",
        *(f"{one.rate:,.0f}, {_ms(one)}" for one in (row.alone, row.together)),
        f"{row.memory[0]:.0f}, {row.memory[1]:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _ms(one: Speed) -> str:
    return f"{one.p50:.1f}, {one.p99:.1f}"


def _profile(rows: Sequence[Row], profile: Sequence[Section]) -> str:
    lines = [f"| {one.name} | {one.microseconds:.0f} |" for one in profile]
    inside = sum(one.microseconds for one in profile if not one.name.startswith("("))
    ours = next((row.middle for row in rows if row.size == 100 and row.host == ALL), 0.0)
    if ours:
        rest = f"{ours * 1000 - inside:.0f}"
        lines.append(f"| the rest: HTTP, threads, log, metrics, colder caches than in this loop | {rest} |")
    head = "### Where the time goes (100 Observations, microseconds, in one process)\n\n| part | us |\n|---|---|"
    return "\n".join([head, *lines])


def _operating(told: Operated) -> str:
    starts = ", ".join(f"{one:.2f}" for one in sorted(told.starts))
    lines = [
        ("`cds-service serve`, two workers, ledger: command to first card", f"{starts} s"),
        ("calls a second, 8 connections, one worker with ledger on one processor", f"{told.most:,.0f}"),
        ("half of that for some seconds: p50, p99, longest", _times(told.half)),
        ("RSS, PSS of the worker then", f"{told.memory[0]:.0f}, {told.memory[1]:.0f} MB"),
        ("half load while HUP loads the rules anew", _times(told.reloaded)),
        (f"calls above {SLOW * 1000:.0f} ms without, with HUP", f"{slow(told.half)}, {slow(told.reloaded)}"),
        ("calls not answered 200 without, with HUP", f"{len(told.half.odd)}, {len(told.reloaded.odd)}"),
    ]
    said = (
        "Half load comes from our own generator, which keeps to a rate; times count from when a call was due. "
        f"A call is slow above {SLOW * 1000:.0f} ms, a fifth of the 500 ms that CDS Hooks asks for."
    )
    head = "### As it is run (100 Observations)\n\n| what | result |\n|---|---|"
    return "\n".join([head, *(f"| {what} | {result} |" for what, result in lines)]) + f"\n\n{said}"


def _times(found: Load) -> str:
    return f"{found.at(0.5):.1f}, {found.at(0.99):.1f}, {found.at(1.0):.1f} ms of {len(found.seconds):,} calls"


def _scaling(scaled: Sequence[Scaled]) -> str:
    head = (
        f"### One worker and two (100 Observations, {CONNECTIONS} connections)\n\n| | workers | processors"
        " | calls/s, p50, p99 ms |"
        " CPU ms per call, generator's | times one worker |\n|---|---|---|---|---|---|"
    )
    one = {row.host: row.speed.rate for row in scaled if row.workers == 1}
    lines = (
        f"| {row.host} | {row.workers} | {'two, with the generator' if row.shares else 'one of its own'} "
        f"| {row.speed.rate:,.0f}, {_ms(row.speed)} | {row.cpu:.2f}, {row.speed.own:.2f} "
        f"| {row.speed.rate / one[row.host]:.2f} |"
        for row in scaled
    )
    return "\n".join([head, *lines]) + f"\n\n{_allowed(scaled)}"


def _allowed(scaled: Sequence[Scaled]) -> str:
    """Say what two processors would allow if nothing else ran on them: worked out, not measured."""
    told = ", ".join(
        f"{row.host} {2000 / row.cpu:,.0f} calls a second ({2 * one.cpu / row.cpu:.2f} times one worker)"
        for one, row in zip(scaled[::2], scaled[1::2], strict=True)
    )
    return (
        "Two processors have to carry two workers and what calls them. What they would allow with the generator on "
        f"another machine is worked out, 2,000 ms by the CPU ms of a call: {told}."
    )


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
