"""The drawing: values land where they should, nothing in it is alive, and what it shows can be told without it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest

from cds_service.drawing import axis, svg
from cds_service.drawing.model import Aside, Bar, Lane, Limit, Mark, Panel, Picture, Tick, Trace
from cds_service.facts.dates import DAY, When, parse
from tests.build import ESKD, NOW, condition, day, observation, prescription, procedure, quantity
from tests.drawing.conftest import Draw

SHEETS = pytest.mark.parametrize("sheet", [svg.WIDE, svg.NARROW], ids=["wide", "narrow"])
SICK = (
    condition(ESKD),
    observation("phosphate", 6.2, days=70),
    observation("phosphate", 6.6, days=40.25),
    observation("phosphate", 7.1, days=10),
    observation("calcium-total", 9.0, days=10),
    observation("phosphate", 9, days=5, status="preliminary"),
    procedure(days=2),
    prescription(authoredOn=day(30)),
)


TAGS = {"svg", "title", "desc", "defs", "pattern", "path", "rect", "circle", "polyline", "text", "tspan", "g"}


def tree(picture: Picture, sheet: svg.Sheet = svg.WIDE) -> ET.Element:
    return ET.fromstring(re.sub(' xmlns="[^"]+"', "", svg.draw(picture, sheet, "k", "said")))


def classed(root: ET.Element, name: str, tag: str = "*") -> list[ET.Element]:
    return [one for one in root.iter() if name in one.get("class", "").split() and tag in ("*", one.tag)]


def number(element: ET.Element, name: str) -> float:
    return float(element.get(name, "nan"))


class Plot:
    """A plot as its own numbers beside it say where things stand: read off the drawing, not out of the code."""

    def __init__(self, root: ET.Element, top: float, bottom: float) -> None:
        ticks = [
            one for one in classed(root, "tick") if "end" in one.get("class", "") and top <= number(one, "y") <= bottom
        ]
        (low, y_low), (high, y_high) = ((float(one.text or ""), number(one, "y") - 4) for one in (ticks[0], ticks[-1]))
        self.low, self.y_low, self.slope = low, y_low, (y_high - y_low) / (high - low)

    def value(self, y: float) -> float:
        return self.low + (y - self.y_low) / self.slope


def seconds_at(root: ET.Element, x: float) -> float:
    """Read a moment off the time axis: two of its ticks and what stands below them."""
    ticks = [(number(one, "x"), one.text or "") for one in classed(root, "tick") if "middle" in one.get("class", "")]
    named, year = [], 0
    for place, name in ticks:
        *day_of, month = [part for part in name.split() if not re.fullmatch(r"\d{4}", part)]
        year = int(found[0]) if (found := re.findall(r"\d{4}", name)) else year
        when = datetime(year, axis.MONTHS.index(month) + 1, int(day_of[0]) if day_of else 1, tzinfo=UTC)
        named.append((place, when.timestamp()))
    (x1, one), (x2, two) = named[1], named[-1]
    return one + (x - x1) / (x2 - x1) * (two - one)


@SHEETS
def test_values_land_at_their_day_and_their_height(drawn: Draw, sheet: svg.Sheet) -> None:
    root = tree(drawn(*SICK), sheet)
    heads = [number(one, "y") for one in classed(root, "name")]
    plot = Plot(root, heads[1], heads[2])
    dots = [
        one
        for one in classed(root, "dot", "circle")
        if heads[1] + 6 < number(one, "cy") < heads[2] and one.find("title") is not None
    ]

    assert [6.2, 6.6, 7.1] == [round(plot.value(number(one, "cy")), 1) for one in dots]
    for dot, age in zip(dots, (70, 40.25, 10), strict=True):
        # A pixel of the wide drawing is about three hours, one of the narrow drawing eight.
        assert abs(seconds_at(root, number(dot, "cx")) - (NOW - timedelta(days=age)).timestamp()) < DAY * 0.6


@SHEETS
def test_limits_and_bands_stand_at_their_value(drawn: Draw, sheet: svg.Sheet) -> None:
    root = tree(drawn(*SICK), sheet)
    heads = [number(one, "y") for one in classed(root, "name")]
    plot = Plot(root, heads[1], heads[2])
    line = next(one for one in classed(root, "limit") if "5.5 mg/dL" in (one.findtext("title") or ""))
    y = float(re.findall(r"M\S+ (\S+)H", line.get("d", ""))[0])
    bands = [one for one in classed(root, "band") if heads[1] < number(one, "y") < heads[2]]

    assert 5.5 == round(plot.value(y), 2)
    assert [5.5, 7.0] == sorted(round(plot.value(number(one, "y") + number(one, "height")), 2) for one in bands)
    assert any("> 5.5 mg/dL" in (one.text or "") for one in classed(root, "limit-label"))


@SHEETS
def test_everything_stands_inside_the_drawing(drawn: Draw, sheet: svg.Sheet) -> None:
    root = tree(drawn(*SICK), sheet)
    _, _, width, height = map(float, root.get("viewBox", "").split())

    for one in root.iter():
        for name, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
            if one.get(name) is not None and one.tag != "pattern":
                assert -0.1 <= number(one, name) <= most + 0.1, ET.tostring(one)


@SHEETS
def test_the_moment_of_the_card_is_marked(drawn: Draw, sheet: svg.Sheet) -> None:
    root = tree(drawn(*SICK), sheet)
    [line], [label] = classed(root, "moment"), classed(root, "moment-label")

    assert "this card, 1 Mar 2026" == label.text
    assert abs(seconds_at(root, float(re.findall(r"M(\S+)", line.get("d", ""))[0])) - NOW.timestamp()) < DAY * 0.6


def test_what_counts_is_filled_and_what_does_not_is_hollow(drawn: Draw) -> None:
    """A bound and a result that was set aside have marks of their own, and reasons."""
    bound = observation(valueQuantity=quantity(12, "mg/dL", comparator=">"), days=1)
    root = tree(drawn(*SICK, bound))
    [triangle], [aside] = classed(root, "bound"), classed(root, "aside")

    assert ">12 mg/dL, 2026-02-28" in (triangle.findtext("title") or "")
    assert "not used: it is preliminary" in (aside.findtext("title") or "")
    assert ["a"] == [one.text for one in classed(aside, "letter")]
    # No line leads to a bound: nobody knows where the value is.
    [line] = [one for one in classed(root, "trace", "polyline") if one.get("points", "").count(",") == 3]
    assert line.get("points")


def test_what_the_card_rests_on_is_ringed_and_numbered(drawn: Draw) -> None:
    root = tree(drawn(*SICK))

    assert "7.1" in [one.text for one in classed(root, "value")]
    assert len(classed(root, "rests")) >= 2


def test_bars_begin_where_the_order_says_and_end_at_the_card(drawn: Draw) -> None:
    root = tree(drawn(*SICK))
    bar = next(
        one
        for one in classed(root, "bar")
        if "Vitamin" in (one.findtext("title") or "") or "since 30 Jan" in (one.findtext("title") or "")
    )

    assert abs(seconds_at(root, number(bar, "x")) - (NOW - timedelta(days=30)).timestamp()) < DAY
    assert abs(seconds_at(root, number(bar, "x") + number(bar, "width")) - NOW.timestamp()) < DAY


def test_a_vague_day_is_drawn_as_the_time_it_may_mean(drawn: Draw) -> None:
    root = tree(drawn(condition(ESKD), observation("phosphate", 6, effectiveDateTime="2026-01"), observation(days=3)))
    [line] = classed(root, "vague")
    left, right = map(float, re.findall(r"[ML](\S+) ", line.get("d", "")))

    assert 28 * DAY < seconds_at(root, right) - seconds_at(root, left) < 33 * DAY


def test_without_results_there_are_words_and_no_plot(drawn: Draw) -> None:
    root = tree(drawn(condition(ESKD), observation()))

    assert "No usable result on record." in [one.text for one in classed(root, "remark")]


def test_the_drawing_has_a_title_and_a_description_and_ids_of_its_own() -> None:
    one, two = (tree(some_picture()), svg.draw(some_picture(), svg.NARROW, "other", "a <b> & c"))

    assert ("img", "k-title", "k-desc") == (one.get("role"), one.get("aria-labelledby"), one.get("aria-describedby"))
    assert "said" == one.findtext("desc")
    assert "a &lt;b&gt; &amp; c" in two
    assert not set(re.findall('id="([^"]+)"', two)) & {found.get("id") for found in one.iter() if found.get("id")}


@SHEETS
def test_nothing_in_it_is_alive(sheet: svg.Sheet) -> None:
    """No script, no style, no handler, no address, whatever the words are."""
    root = tree(some_picture('"><script>alert(1)</script><a href="javascript:x">'), sheet)

    assert {one.tag for one in root.iter()} <= TAGS
    names = {name for one in root.iter() for name in one.attrib}
    assert not {name for name in names if name.startswith("on") or "href" in name or name == "style"}
    assert {"url(#k-hatch)"} >= {one.get("fill") for one in root.iter() if one.get("fill")}


def test_labels_of_limits_never_cover_each_other() -> None:
    places = svg.spread([100, 99, 98, 40], 14)

    assert [100, 86, 72, 40] == places


@pytest.mark.parametrize("values", [["1"], ["0.001"], ["5000", "5000"], ["0"], ["1", "1000000"]])
def test_odd_values_are_drawn(values: list[str]) -> None:
    marks = tuple(Mark(moment(10 + place), Decimal(one), one, one) for place, one in enumerate(values))

    assert classed(tree(Picture(NOW.timestamp(), NOW.timestamp() - 30 * DAY, (panel(marks),), ())), "dot")


def moment(days: float) -> When:
    found = parse((NOW - timedelta(days=days)).isoformat())
    assert found is not None
    return found


def panel(marks: tuple[Mark, ...], word: str = "Phosphate") -> Panel:
    limit = Limit(Decimal("5.5"), upward=True, exclusive=True, said=f"5.5 {word}", rules=("CC-01",), means=word)
    aside = Aside(word, moment(2), word, "a")
    return Panel(
        "phosphate", word, word, (Trace(word, marks),), (limit,), (aside,), known_from=int(NOW.timestamp() // DAY) - 20
    )


def some_picture(word: str = "word") -> Picture:
    now = NOW.timestamp()
    marks = (
        Mark(moment(20), Decimal(6), word, word, notes=(word,)),
        Mark(moment(5), Decimal(7), word, word, ">", rests=True),
    )
    lanes = (
        Lane(
            word,
            (Bar(word, None), Bar(word, now - 80 * DAY), Bar(word, now - 9 * DAY, None, ongoing=False)),
            (Tick(word, moment(3)), Tick(word, moment(0), draft=True)),
        ),
        Lane(word, remark=word),
    )
    return Picture(now, now - 30 * DAY, (panel(marks, word), Panel("pth", word, word, (), remark=word)), lanes, (word,))


def test_the_time_that_is_not_known_is_hatched() -> None:
    [unknown] = classed(tree(some_picture()), "unknown")

    assert "url(#k-hatch)" == unknown.get("fill")
    assert (
        abs(
            seconds_at(tree(some_picture()), number(unknown, "x") + number(unknown, "width"))
            - (NOW.timestamp() // DAY - 20) * DAY
        )
        < DAY
    )
