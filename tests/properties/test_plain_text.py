"""
Text from a record in a card: nothing of it is ever more than text, in whatever renderer (SECURITY.md section 4).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from cds_service.cards.plain import plain
from tests.properties.hostile import NASTY

PIECES = [
    *NASTY,
    "http://evil.example",
    "www.evil.example",
    "www!evil!example",
    "javascript:alert(1)",
    "java\u200bscript:x",
    "mailto:a@b.example",
    "a@b.example",
    "//evil.example",
    "\\\\evil",
    "ftp://x",
    "data:text/html,x",
    "](",
    "![",
    "<a href=x>",
    "</td>",
    "<!--",
    "&#60;img&#62;",
    "&lt;",
    "`",
    "~~~",
    "---",
    "***",
    "# ",
    "> ",
    "1. ",
    "- [ ] ",
    "|a|",
    "\n\n    code",
    "\r\n",
    "\u2028",
    "\uff1c\uff1e\uff3b",
    "\ufe64",
    "\u2024\u2025\u2026",
    "\u1160\u3164",
    "\u00ad",
    "e\u0301\u0323\u0307",
    "\u0338",
    "\ufdfa",
    ":",
    ".",
    "...",
    "www",
    "http",
    "Note:x",
    "5.5 mg/dL",
]
hostile = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=8).map("".join)
limits = st.sampled_from([20, 60, 240])
LIVE = re.compile(r"[a-z][a-z0-9+.-]*:\S|www\.\S|//|@", re.IGNORECASE)
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def tokens(parsed: list[Token]) -> Iterator[Token]:
    """Yield every token of a parsed text, inner ones too."""
    for one in parsed:
        yield one
        yield from tokens(one.children or [])


@given(text=hostile, limit=limits)
def test_a_text_is_one_line_of_at_most_its_limit(text: str, limit: int) -> None:
    shown = plain(text, limit)

    assert len(shown) <= limit
    assert shown == " ".join(shown.split())


@given(text=hostile, limit=limits)
def test_a_text_has_no_character_that_renderers_act_on(text: str, limit: int) -> None:
    assert not set("<>[]`*_|~\\#!&@") & set(plain(text, limit))


@given(text=hostile, limit=limits)
def test_a_text_has_no_hidden_character(text: str, limit: int) -> None:
    assert not HIDDEN & {unicodedata.category(one) for one in plain(text, limit)}


@given(text=hostile, limit=limits)
def test_a_text_has_no_scheme_and_no_address(text: str, limit: int) -> None:
    assert not LIVE.search(plain(text, limit))


@given(text=hostile, limit=limits)
def test_marks_never_pile_up(text: str, limit: int) -> None:
    marks = [bool(unicodedata.combining(one)) for one in unicodedata.normalize("NFC", plain(text, limit))]

    assert not any(first and second for first, second in pairwise(marks))


@given(text=hostile, limit=limits)
def test_making_a_text_harmless_twice_changes_nothing(text: str, limit: int) -> None:
    once = plain(text, limit)

    assert once == plain(once, limit)


@given(
    text=hostile,
    frame=st.sampled_from(["{}", "- {}", "- Phosphate: {} (before: {})", "**Values**\n- {}\n- {}", "{}\n\n{}"]),
)
@pytest.mark.parametrize("preset", ["commonmark", "gfm-like", "js-default"])
def test_rendered_with_html_and_links_allowed_a_text_is_still_only_text(preset: str, text: str, frame: str) -> None:
    """
    The most trusting renderer there is: raw HTML passes through, and what looks like an address becomes a link.
    """
    renderer = MarkdownIt(preset, {"html": True, "linkify": False, "typographer": True})
    shown = plain(text) or "nothing"
    kinds = {one.type for one in tokens(renderer.parse(frame.format(shown, shown)))}

    assert (
        not {"html_block", "html_inline", "link_open", "image", "code_block", "fence", "table_open", "heading_open"}
        & kinds
    )


# What GitHub-flavoured Markdown makes a link of by itself: https://github.github.com/gfm/#autolinks-extension-
AUTOLINK = re.compile(r"(?:https?|ftp)://\S|www\.\S|(?:mailto|xmpp):\S|[\w.+-]+@[\w-]+\.", re.IGNORECASE)
# What linkify-it adds: a bare name with a top-level domain.
BARE_DOMAIN = re.compile(r"[^\W_]\.[^\W\d_]{2,}")


@given(text=hostile)
def test_nothing_in_a_text_becomes_a_link_by_itself(text: str) -> None:
    shown = plain(text)

    assert not AUTOLINK.search(shown)
    assert not BARE_DOMAIN.search(shown)
