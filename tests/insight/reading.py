"""Reading pages as people do: tables by their heading, pairs of name and value, numbers in a text."""

from __future__ import annotations

import re
from html import unescape


def text_of(html: str) -> str:
    """Return what a reader reads, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def rows_of(html: str, heading: str, by: str = "aria-labelledby") -> list[list[str]]:
    """Return the cells of the table below a heading, row by row."""
    table = re.search(rf'<table[^>]*{by}="{re.escape(heading)}".*?</table>', html, re.DOTALL)
    assert table, heading
    rows = re.findall(r"<tr>(.*?)</tr>", table[0], re.DOTALL)[1:]
    return [[text_of(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


def pairs_of(html: str) -> dict[str, str]:
    """Return what stands in lists of names and values."""
    found = re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", html, re.DOTALL)
    return {text_of(name): text_of(value) for name, value in found}


def below(html: str, heading: str) -> str:
    """Return the part of a page below a heading."""
    found = re.search(rf'<section[^>]*aria-labelledby="{heading}".*?</section>', html, re.DOTALL)
    assert found, heading
    return found[0]


def drawn(html: str) -> list[str]:
    """Return what the small drawings say in words."""
    return [text_of(one) for one in re.findall(r"<desc[^>]*>(.*?)</desc>", html, re.DOTALL)]
