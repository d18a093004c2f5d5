"""A threshold on its scale, and cards before and after: what is drawn is what is meant."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from cds_service.drawing.pairs import Pair, draw_pairs
from cds_service.drawing.scales import WIDTH, Ruler, draw_scale

SVG = "{http://www.w3.org/2000/svg}"


def ruler(now: str = "5.5", tried: str | None = None) -> Ruler:
    low, high, guideline = Decimal("4.5"), Decimal("7.0"), Decimal("5.5")
    return Ruler("phosphate", "mg/dL", low, high, guideline, Decimal(now), Decimal(tried) if tried else None)


def texts(drawn: str) -> dict[str, str]:
    return {one.get("class", ""): one.text or "" for one in ET.fromstring(drawn).iter(f"{SVG}text")}


def test_a_scale_says_in_words_what_it_shows() -> None:
    drawn = draw_scale(ruler(tried="6.5"), "phosphate_high")
    title = ET.fromstring(drawn).find(f"{SVG}title")

    assert title is not None
    assert "Allowed 4.5 to 7 mg/dL; the rule file says 5.5 mg/dL; in force 5.5 mg/dL; tried 6.5 mg/dL." == title.text


def test_band_guideline_and_values_stand_beside_their_marks() -> None:
    found = texts(draw_scale(ruler(tried="6.5"), "a"))

    assert {"end": "4.5", "end right": "7", "end middle": "rule file 5.5"}.items() <= found.items()
    assert {"value now": "5.5", "value tried": "6.5"}.items() <= found.items()


def test_nothing_is_said_to_be_tried_where_nothing_is() -> None:
    assert "value tried" not in texts(draw_scale(ruler(), "a"))
    assert 'class="moved"' not in draw_scale(ruler(), "a")
    assert 'class="moved"' not in draw_scale(ruler(tried="5.5"), "a")


def test_a_larger_value_stands_further_right() -> None:
    places = [ruler().x(Decimal(value)) for value in ("4.5", "5", "6", "7.0")]

    assert sorted(places) == places
    assert 4 == len(set(places))


def test_what_lies_outside_the_band_stands_on_its_edge() -> None:
    assert ruler().x(Decimal(1)) == ruler().x(Decimal("4.5"))
    assert ruler().x(Decimal(99)) == ruler().x(Decimal("7.0"))


@given(st.decimals("4.5", "7.0", places=1), st.decimals("4.5", "7.0", places=1))
def test_labels_stay_on_the_sheet_and_never_touch(now: Decimal, tried: Decimal) -> None:
    drawn = ET.fromstring(draw_scale(ruler(str(now), str(tried)), "a"))
    above = [one for one in drawn.iter(f"{SVG}text") if "value" in one.get("class", "")]
    spans = sorted(
        (float(one.get("x", "0")) - half, float(one.get("x", "0")) + half)
        for one in above
        if (half := len(one.text or "") * 3.6)
    )

    assert all(0 <= left <= right <= WIDTH for left, right in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


def test_bars_are_as_long_as_their_numbers_and_said_in_words() -> None:
    drawn = ET.fromstring(draw_pairs([Pair("warning", 12.0, 6.0), Pair("info", 0.0, 3.0)], "cards", "Cards"))
    widths = {one.get("class", ""): float(one.get("width", "0")) for one in drawn.iter(f"{SVG}rect")}
    title = drawn.find(f"{SVG}title")

    assert widths["before warning"] == 2 * widths["after warning"]
    assert widths["before info"] < widths["after info"]
    assert title is not None
    assert "Cards. warning: 12.0 before, 6.0 after; info: 0.0 before, 3.0 after." == title.text


def test_nothing_at_all_can_be_drawn_too() -> None:
    assert "0.0 before, 0.0 after" in draw_pairs([Pair("warning", 0.0, 0.0)], "cards", "Cards")
