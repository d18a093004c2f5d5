"""
Text from a record, made harmless: no HTML, no live link, no image, no hidden characters.

Look-alikes rather than backslashes: a backslash in the text would undo an escape, and weak renderers ignore
escapes altogether (SECURITY.md section 4).
"""

from __future__ import annotations

import re
import unicodedata

_LOOKALIKE = str.maketrans({
    "<": "\u2039", ">": "\u203a", "[": "{", "]": "}", "`": "'", "*": "\u00b7", "_": "-", "|": "\u00a6", "~": "-",
    "\\": "/", "#": "No. ", "&": " and ", "@": " at ", "!": ".",
})  # fmt: skip
_LINK = re.compile(
    r"(?:(?:[a-z][a-z0-9+.-]{0,30}://|www\.)\S|//|"
    r"(?:javascript|vbscript|data|mailto|xmpp|file|ftp|tel|sms|blob|about|intent):\S)\S*",
    re.IGNORECASE,
)
# What is left of "scheme:rest" and of "name.tld" gets a blank: some renderers make links of these by themselves.
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30}):(?=\S)", re.IGNORECASE)
_DOMAIN = re.compile(r"\.(?<=\w\.)(?=[^\W\d_]{2})")
# Every link has one of these. Asked first, since they are found at once where the patterns above try every letter.
_TIGHT_COLON = re.compile(r":\S")
# Control, format (zero width, bidi, tags), surrogate, private use and unassigned characters are never shown, nor are
# letters and marks that look like nothing: fillers, variation selectors, the grapheme joiner, the empty Braille cell.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


def plain(text: str, limit: int = 60) -> str:
    """Return foreign text as one harmless line of at most ``limit`` characters."""
    shortened = text[: limit * 20]
    visible = shortened if shortened.isascii() and shortened.isprintable() else _visible(shortened)
    line = " ".join(visible.translate(_LOOKALIKE).split())
    if "//" in line or _TIGHT_COLON.search(line) or "www." in line.lower():
        line = _SCHEME.sub(r"\1: ", _LINK.sub("(link removed)", line))
    line = _DOMAIN.sub(". ", line)
    return line if len(line) <= limit else line[: limit - 1].rstrip(" .:/") + "\u2026"


def _visible(text: str) -> str:
    """Return only what is seen, each character in its plainest form."""
    seen = "".join(" " if one in "\t\n\r" else one for one in _INVISIBLE.sub("", text) if _shown(one))
    # The sign for "cut off" stays one character, so that a text that was cut is not cut again.
    normal = "\u2026".join(unicodedata.normalize("NFKC", part) for part in seen.split("\u2026"))
    return unicodedata.normalize("NFC", _one_mark("".join(one for one in _INVISIBLE.sub("", normal) if _shown(one))))


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
