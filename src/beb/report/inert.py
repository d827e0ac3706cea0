"""Model output is hostile input: foreign text made visible, harmless and short before anything prints it."""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS = 2000
MAX_COMBINING = 3
_KEPT = frozenset("\n\t")
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_END = " "  # closes the last stack of marks
_MARKS = frozenset(("Mn", "Me"))


def visible(text: str) -> str:
    """The text with every invisible character spelled out.

    Control, format (bidirectional, zero-width, tag), surrogate, private and unassigned characters become ⟨U+202E⟩ and
    the like; of the marks stacked on one letter MAX_COMBINING are kept and the others counted.
    """
    shown: list[str] = []
    stacked = 0
    for character in text.replace("\r\n", "\n") + _END:
        category = unicodedata.category(character)
        if category in _MARKS:
            stacked += 1
            if stacked > MAX_COMBINING:
                continue
        elif stacked:
            left_out = stacked - MAX_COMBINING
            shown += [f"⟨{left_out} more marks⟩"] if left_out > 0 else []
            stacked = 0
        hidden = category in _HIDDEN and character not in _KEPT
        shown.append(f"⟨U+{ord(character):04X}⟩" if hidden else character)
    return "".join(shown)[: -len(_END)]


def one_line(text: str, limit: int = 200) -> str:
    """The visible text on one line, at most `limit` characters, cut visibly."""
    line = visible(text.replace("\n", " ⏎ ").replace("\t", " "))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def excerpt(text: str, limit: int = MAX_CHARACTERS) -> str:
    """The visible text, cut at `limit` characters of the original with the number left out."""
    if len(text) <= limit:
        return visible(text)
    return f"{visible(text[:limit])} … [{len(text) - limit:,} more characters not shown]"
