"""Foreign text comes out visible, on its own, and short."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beb.report.inert import MAX_CHARACTERS, MAX_COMBINING, excerpt, one_line, visible

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)


@given(ANY_TEXT)
def test_nothing_invisible_is_left(text: str) -> None:
    shown = visible(text)
    left = [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")]
    assert set(left) <= set("\n\t")
    shown.encode("utf-8")  # a lone surrogate would raise


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=80))
def test_visible_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a⟨U+202E⟩b"), ("\x1b[31m", "⟨U+001B⟩[31m"), ("\u200b\u2066", "⟨U+200B⟩⟨U+2066⟩"),
        ("a\r\nb\tc", "a\nb\tc"), ("\U000e0041", "⟨U+E0041⟩"), ("\ud800", "⟨U+D800⟩"), ("é", "é"), ("", ""),
    ],
)  # fmt: skip
def test_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_tower_of_marks_is_cut() -> None:
    shown = visible("Z" + "\u0301" * 100 + "a")
    assert shown == "Z" + "\u0301" * MAX_COMBINING + f"⟨{100 - MAX_COMBINING} more marks⟩a"


def test_long_texts_are_cut_where_they_say_so() -> None:
    shown = excerpt("x" * (MAX_CHARACTERS + 1234))
    assert shown == "x" * MAX_CHARACTERS + " … [1,234 more characters not shown]"
    assert excerpt("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS


def test_one_line_has_one() -> None:
    assert one_line("a\nb") == "a ⏎ b"
    assert "\n" not in one_line("a\r\nb\n\nc")
    assert len(one_line("x" * 500, 50)) == 50
