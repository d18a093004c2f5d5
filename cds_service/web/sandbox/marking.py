"""Foreign text on a page: Markdown as an EHR should render it, and characters that hide or turn text around."""

from __future__ import annotations

import re
import unicodedata
from html import escape
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt

# Links and images would need a reader's trust that a card from a record has not earned.
_TAGS = {*("p", "strong", "em", "ul", "ol", "li", "code", "br"), *("h1", "h2", "h3", "h4")}
_TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}
_DAY = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


class Clean(str):
    """HTML that has been cleaned: templates show it as it is, and escape everything else."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the HTML, as templates ask for it."""
        return str(self)


def folded(detail: str) -> tuple[Clean, Clean]:
    """Render a card's detail in two parts: its first titled section, and what an EHR may fold away below it."""
    titled = [found.start() for found in re.finditer(r"^\*\*", detail, re.MULTILINE)]
    fold = titled[1] if len(titled) > 1 else len(detail)
    return _rendered(detail[:fold]), _rendered(detail[fold:])


def visible(text: str) -> str:
    """Show characters that hide or turn text around as their escapes: what stands in a record can be seen as it is."""
    return "".join(one if one == "\n" or unicodedata.category(one)[0] != "C" else f"\\u{ord(one):04x}" for one in text)


def followed(url: object) -> str:
    """Return the address of a link that may be followed: one of the web; else ""."""
    text = url if isinstance(url, str) else ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in ("http", "https") and parts.netloc else ""


def dated(text: str) -> Clean:
    """Show a text with its days marked, so that none of them is broken at the end of a line."""
    return Clean(_marked(escape(visible(text))))


def _rendered(markdown: str) -> Clean:
    """Render Markdown as an EHR should: without HTML, then everything cleaned away that is not plain text."""
    return Clean(_marked(nh3.clean(_markdown.render(markdown), tags=_TAGS, attributes={}, link_rel=None)))


def _marked(html: str) -> str:
    """Mark the days of clean HTML, in which no element has an attribute."""
    return _DAY.sub(r"<time>\g<0></time>", html)
