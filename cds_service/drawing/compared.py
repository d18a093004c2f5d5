"""A back-test as a picture of its own: cards per 100 calls before and after, readable in black on white."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from cds_service.backtest import Backtest, by_urgency
from cds_service.drawing.marks import rectangle, text
from cds_service.drawing.pairs import WIDTH as PAIRS
from cds_service.drawing.pairs import Pair, draw_pairs
from cds_service.drawing.svg import Drawn

WIDTH, MARGIN = 600, 20
_LINE, _TOP, _BELOW = 20, 34, 16
_MOST_RULES, _MOST_LETTERS = 12, 84
# The file stands alone, without a page whose style sheet would say it.
_STYLE = (
    "text{font:13px sans-serif;fill:#000}.head{font-weight:bold;font-size:15px}.name{text-anchor:end}"
    ".before{fill:#fff;stroke:#000;stroke-width:1}.after{fill:#000;stroke:#000;stroke-width:1}"
    "text.before,text.after{fill:#000;stroke:none}"
)


def draw_compared(found: Backtest, said: Sequence[str]) -> Drawn:
    """Return the SVG of a back-test; ``said`` are the decisions that were tried, in words."""
    names = ("before", "after")
    pairs = [Pair(name, *(found.per_hundred(which, name) for which in (0, 1))) for name, _ in _cards(found)]
    heading = f"Cards per 100 {found.unit} ({found.calls} calls of {found.patients} patients)"
    lines = [_cut(one) for one in said] + [""]
    top = _TOP + _LINE * (len(lines) + 1)
    bars = draw_pairs(pairs, "backtest", f"Cards per 100 {found.unit}")
    height = float(bars.partition(f'viewBox="0 0 {PAIRS} ')[2].partition('"')[0])
    rules = list(_rules(found))
    below = top + height + _BELOW
    body = [
        f'<rect width="{WIDTH}" height="{below + _LINE * (len(rules) + 1):.0f}" fill="#fff"/>',
        text("head", MARGIN, _TOP - 10, heading),
        *(text("said", MARGIN, _TOP + _LINE * number + 8, one) for number, one in enumerate(lines)),
        *_legend(names, top - _LINE),
        bars.replace("<svg ", f'<svg x="{MARGIN}" y="{top}" width="{PAIRS}" height="{height:.0f}" ', 1),
        *(text("rule", MARGIN, below + _LINE * number, one) for number, one in enumerate(rules)),
    ]
    return Drawn(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} '
        f'{below + _LINE * (len(rules) + 1):.0f}" aria-label="{escape(heading)}"><style>{_STYLE}</style>'
        f"{''.join(body)}</svg>"
    )


def _cards(found: Backtest) -> list[tuple[str, int]]:
    return by_urgency(found.before.cards)


def _legend(names: Sequence[str], y: float) -> Iterator[str]:
    for number, name in enumerate(names):
        x = MARGIN + 74 + number * 90
        yield rectangle(name, x, y - 10, 12, 12)
        yield text("legend", x + 18, y, name)


def _rules(found: Backtest) -> Iterator[str]:
    """Say which rules speak more or less often."""
    before, after = found.before.fired, found.after.fired
    changed = [name for name in sorted({*before, *after}) if before.get(name, 0) != after.get(name, 0)]
    for name in changed[:_MOST_RULES]:
        yield _cut(f"{name}: {before.get(name, 0)} findings before, {after.get(name, 0)} after")
    if len(changed) > _MOST_RULES:
        yield f"and {len(changed) - _MOST_RULES} rules more"
    yield f"{found.differing} {found.unit} for which it makes a difference; as of {found.day.isoformat()}"


def _cut(line: str) -> str:
    return line if len(line) <= _MOST_LETTERS else line[: _MOST_LETTERS - 3] + "..."
