"""Model output is hostile input: foreign text made visible, harmless and short before anything prints it."""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS = 2000
MAX_COMBINING = 3
_KEPT = frozenset("\n\t")
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_MARKS = frozenset(("Mn", "Me"))


def visible(text: str) -> str:
    """The text with every invisible character spelled out.

    Control, format (bidirectional, zero-width, tag), surrogate, private and unassigned characters become a
    control picture (␛) or ⟨U+202E⟩; marks stacked on one letter are kept up to MAX_COMBINING, then spelled out.
    """
    shown: list[str] = []
    stacked = 0
    for character in text.replace("\r\n", "\n"):
        category = unicodedata.category(character)
        stacked = stacked + 1 if category in _MARKS else 0
        hidden = category in _HIDDEN and character not in _KEPT
        shown.append(_spelled(character) if hidden or stacked > MAX_COMBINING else character)
    return "".join(shown)


def one_line(text: str, limit: int = 200) -> str:
    """The visible text on one line, at most `limit` characters, cut visibly."""
    line = visible(text.replace("\n", " ⏎ ").replace("\t", " "))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def excerpt(text: str, limit: int = MAX_CHARACTERS) -> str:
    """The visible text, cut at `limit` characters of the original with the number left out."""
    if len(text) <= limit:
        return visible(text)
    return f"{visible(text[:limit])} … [{len(text) - limit:,} more characters not shown]"


def _spelled(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
