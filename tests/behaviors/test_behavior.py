"""Validation, normalisation and the split of a behavior's statements."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beb.behaviors.behavior import Behavior, comparison_key, normalised, without_repeats
from beb.errors import BadSpec, BadStatements
from beb.interfaces.scorer import CLASSES


def statements(pole: str, n: int) -> tuple[str, ...]:
    return tuple(f"I say {pole} thing {i}." for i in range(n))


def behavior(**changed: tuple[str, ...]) -> Behavior:
    poles = {pole: changed.get(pole, statements(pole, 24)) for pole in CLASSES}
    return Behavior(name="b", description="d", question="q", source="s", **poles)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("I am kind", "I am kind."),
        ("  I am\n kind ", "I am kind."),
        ("Am I kind?", "Am I kind?"),
        ('He said "no."', 'He said "no."'),
        ("I wait…", "I wait..."),
        ("I like this:", "I like this."),
        ("I like this, ", "I like this."),
        ("我很好。", "我很好。"),
        ("", ""),
    ],
)
def test_statements_are_closed_sentences_on_one_line(given_text: str, expected: str) -> None:
    assert normalised(given_text) == expected
    assert normalised(expected) == expected


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing_and_keeps_what_is_compared(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
    assert "\n" not in normalised(text)
    assert comparison_key(normalised(text)) == comparison_key(text)


def test_repeats_keep_their_first_spelling_and_order() -> None:
    assert without_repeats(["I am A.", "I am b", "i AM a!", "I am c"]) == ("I am A.", "I am b", "I am c")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"negative": ()}, "behavior 'b' has 0 negative statements and needs at least 20; add more"),
        (
            {"positive": statements("positive", 19)},
            "behavior 'b' has 19 positive statements and needs at least 20; add more",
        ),
        (
            {"neutral": (*statements("neutral", 20), " ... ")},
            "behavior 'b': neutral statement 21 is '...', which says nothing; remove it",
        ),
        (
            {"positive": (*statements("positive", 20), "I  SAY negative thing 3", "I say negative, thing 4!")},
            "behavior 'b' says the same twice: 'I say negative thing 3.' (negative) and 'I SAY negative thing 3.' "
            "(positive), 'I say negative thing 4.' (negative) and 'I say negative, thing 4!' (positive); "
            "keep one of each",
        ),
        (
            {"negative": ("I repeat myself.",) * 20},
            "behavior 'b' says the same twice: 'I repeat myself.' (negative) and 'I repeat myself.' (negative), "
            "'I repeat myself.' (negative) and 'I repeat myself.' (negative), and 17 more; keep one of each",
        ),
    ],
)
def test_unusable_statements_are_refused_in_one_line(changed: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(BadStatements) as caught:
        behavior(**changed)
    assert str(caught.value) == message


def test_fingerprint_follows_the_content() -> None:
    same = behavior()
    assert same.fingerprint == behavior().fingerprint
    assert same.fingerprint != behavior(neutral=statements("neutral", 25)).fingerprint
    assert same.fingerprint != behavior(neutral=statements("neutral", 24)[::-1]).fingerprint


@given(
    sizes=st.tuples(*[st.integers(20, 60)] * 3),
    share=st.floats(0.01, 0.99),
    shuffle=st.randoms(use_true_random=False),
)
def test_split_is_exact_disjoint_complete_and_blind_to_order(
    sizes: tuple[int, int, int], share: float, shuffle: random.Random
) -> None:
    poles = {pole: statements(pole, n) for pole, n in zip(CLASSES, sizes, strict=True)}
    split = behavior(**poles).split(share)
    shuffled = {pole: tuple(shuffle.sample(list(texts), len(texts))) for pole, texts in poles.items()}
    assert behavior(**shuffled).split(share) == split
    for pole, texts in poles.items():
        held_out, train = getattr(split.held_out, pole), getattr(split.train, pole)
        assert len(held_out) == min(max(round(share * len(texts)), 1), len(texts) - 1)
        assert sorted(held_out + train) == sorted(texts)


def test_split_keeps_most_of_its_sides_when_a_statement_is_added() -> None:
    before = behavior().split().held_out.negative
    after = behavior(negative=(*statements("negative", 24), "I am new here.")).split().held_out.negative
    assert len(set(before) - set(after)) <= 1


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_split_refuses_a_share_outside_its_range(share: float) -> None:
    with pytest.raises(BadSpec, match=r"is outside \(0, 1\)"):
        behavior().split(share)
