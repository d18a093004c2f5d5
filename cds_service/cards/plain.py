"""
Text from a record, made harmless: no HTML, no live link, no image, no hidden characters.

Look-alikes rather than backslashes: a backslash in the text would undo an escape, and weak renderers ignore
escapes altogether (SECURITY.md section 4).
"""

from __future__ import annotations

import re
import unicodedata

_LINK = re.compile(r"(?:[a-z][a-z0-9+.-]{1,20}:/{0,2}|www\.)[^\s]{2,}", re.IGNORECASE)
_LOOKALIKE = str.maketrans({
    "<": "\u2039", ">": "\u203a", "[": "{", "]": "}", "`": "'", "*": "\u00b7", "_": "-", "|": "\u00a6", "~": "-",
    "\\": "/", "#": "No. ", "&": " and ", "@": " at ", "!": ".", "\u0000": "",
})  # fmt: skip
# Control, format (zero width, bidi, tags), surrogate, private use and unassigned characters are never shown.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: str, limit: int = 60) -> str:
    """Return foreign text as one harmless line of at most ``limit`` characters."""
    if len(text) <= limit and text.isascii() and text.isprintable() and not _LINK.search(text):
        return " ".join(text.translate(_LOOKALIKE).split())[:limit]
    shortened = unicodedata.normalize("NFKC", text[: limit * 20])
    visible = "".join(" " if character in "\t\n\r" else character for character in shortened if _shown(character))
    line = " ".join(_LINK.sub("(link removed)", _one_mark(visible)).translate(_LOOKALIKE).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "\u2026"


def _shown(character: str) -> bool:
    return character in "\t\n\r" or unicodedata.category(character) not in _HIDDEN


def _one_mark(text: str) -> str:
    """Keep at most one combining mark per letter: stacked marks run over the lines above and below."""
    kept: list[str] = []
    for character in text:
        stacked = unicodedata.combining(character) and kept and unicodedata.combining(kept[-1])
        if not stacked:
            kept.append(character)
    return "".join(kept)
