"""Sharp never exceeds paper, and every bound moves with every argument in the stated direction."""

import inspect
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from beb.core import bounds
from beb.errors import NoBound

FUNCTIONS = (
    bounds.single_prompt,
    bounds.random_prompt,
    bounds.after_prefix,
    bounds.conversation,
    bounds.best_of_n,
    bounds.relaxed,
    bounds.converse,
)
LONGER = ("log_inverse_alpha", "sigma2", "beta_prime", "prefix_sentences", "n", "eta")
LONGER += ("behavior_floor_positive", "behavior_floor_negative")
SHORTER = ("beta", "gamma", "gamma_n", "epsilon", "delta", "max_log_ratio_per_sentence")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "log_inverse_alpha": st.floats(0, 1e6) | st.floats(0, 3),
    "beta": st.floats(1e-3, 1e3),
    "gamma": st.floats(-1, 1),
    "gamma_n": st.floats(-1, 1),
    "epsilon": st.floats(1e-9, 2),
    "delta": st.floats(1e-6, 1),
    "sigma2": st.floats(0, 1e4),
    "beta_prime": st.floats(0, 1e3),
    "prefix_sentences": st.integers(0, 1000),
    "replies": st.lists(st.integers(1, 20), min_size=1, max_size=6).map(tuple),
    "n": st.integers(1, 10**6),
    "eta": st.floats(0, 0.9),
    "max_log_ratio_per_sentence": st.floats(-10, 1e3),
    "behavior_floor_positive": st.floats(-1, 1),
    "behavior_floor_negative": st.floats(-1, 1),
}


def _arguments(function: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: VALUES[name] for name in inspect.signature(function).parameters})


def _at_most(smaller: float, larger: float) -> bool:
    return smaller <= larger * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f not in (bounds.relaxed, bounds.converse)])
@given(draw=st.data())
@settings(deadline=None, max_examples=300)
def test_sharp_never_exceeds_paper(function: Any, draw: st.DataObject) -> None:
    b = function(**draw.draw(_arguments(function)))
    assert b.sharp >= 0
    assert _at_most(b.sharp, b.paper)


def test_directions_are_the_ones_that_propagation_uses() -> None:
    assert {name for name, a in bounds.ARGUMENTS.items() if a.direction == 1} == set(LONGER)
    assert {name for name, a in bounds.ARGUMENTS.items() if a.direction == -1} == set(SHORTER)


@pytest.mark.parametrize(
    ("function", "name"),
    [(f, name) for f in FUNCTIONS for name in inspect.signature(f).parameters if name != "replies"],
)
@given(draw=st.data())
@settings(deadline=None, max_examples=50)
def test_monotone_in_every_argument(function: Any, name: str, draw: st.DataObject) -> None:
    values = draw.draw(_arguments(function))
    low, high = sorted((values[name], draw.draw(VALUES[name])))
    try:
        at_low, at_high = (function(**(values | {name: value})) for value in (low, high))
    except NoBound:  # e.g. App. I beyond the largest float
        assume(False)
    shorter, longer = (at_low, at_high) if name in LONGER else (at_high, at_low)
    assert _at_most(shorter.sharp, longer.sharp)
    if shorter.paper is not None:
        assert _at_most(shorter.paper, longer.paper)


@given(draw=st.data())
@settings(deadline=None)
def test_a_longer_reply_and_one_more_reply_cost_sentences(draw: st.DataObject) -> None:
    values = draw.draw(_arguments(bounds.conversation))
    before = bounds.conversation(**values)
    longer = bounds.conversation(**(values | {"replies": (values["replies"][0] + 1, *values["replies"][1:])}))
    more = bounds.conversation(**(values | {"replies": (*values["replies"], 1)}))
    for after in (longer, more):
        assert _at_most(before.sharp, after.sharp)
        assert _at_most(before.paper, after.paper)
    assert before.sharp == pytest.approx(sum(before.per_turn), rel=1e-9)


@given(st.floats(-1, 1), st.integers(1, 1000))
@settings(deadline=None)
def test_worst_best_of_n_lies_between_gamma_and_one(gamma: float, n: int) -> None:
    assert gamma - 1e-12 <= bounds.worst_gamma_n(gamma, n) <= min(1.0, -1 + n * (1 + gamma) + 1e-12)
