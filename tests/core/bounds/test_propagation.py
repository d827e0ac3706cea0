import inspect
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beb.core import bounds
from beb.core.estimate import Estimate
from beb.errors import BadSpec, NoBound

RANGES = {
    "log_inverse_alpha": (0.0, 40.0),
    "beta": (0.1, 30.0),
    "gamma": (-1.0, 0.0),
    "epsilon": (0.01, 1.0),
    "delta": (0.01, 0.9),
    "sigma2": (0.0, 60.0),
    "beta_prime": (0.0, 40.0),
    "gamma_n": (-1.0, 0.9),
    "eta": (0.0, 0.8),
    "max_log_ratio_per_sentence": (0.1, 30.0),
    "behavior_floor_positive": (-1.0, 1.0),
    "behavior_floor_negative": (-1.0, 1.0),
}
COUNTS: dict[str, Any] = {"prefix_sentences": 4, "replies": (3, 2), "n": 4}


def _estimate(value: float, low: float, high: float, *, level: float = 0.95, n: int = 50) -> Estimate:
    return Estimate(value, low, high, level, n, "nats", "test", exact=low == high)


@st.composite
def _box(draw: st.DrawFn, name: str) -> tuple[Estimate, float]:
    """An interval for the argument and a point inside it."""
    low, value, inside, high = sorted(draw(st.floats(*RANGES[name])) for _ in range(4))
    return _estimate(value, low, high), inside


@pytest.mark.parametrize(
    "function",
    [
        bounds.single_prompt,
        bounds.random_prompt,
        bounds.after_prefix,
        bounds.conversation,
        bounds.best_of_n,
        bounds.relaxed,
        bounds.converse,
    ],
)
@given(draw=st.data())
@settings(deadline=None, max_examples=100)
def test_the_interval_holds_the_bound_of_every_point_of_the_box(function: Any, draw: st.DataObject) -> None:
    names = [name for name in inspect.signature(function).parameters if name not in COUNTS]
    fixed = {name: count for name, count in COUNTS.items() if name in inspect.signature(function).parameters}
    boxes = {name: draw.draw(_box(name)) for name in names}
    result = bounds.propagate(function, {name: estimate for name, (estimate, _) in boxes.items()}, fixed)
    inside = function(**{name: point for name, (_, point) in boxes.items()}, **fixed)
    assert result.sharp.low * (1 - 1e-9) - 1e-9 <= inside.sharp <= result.sharp.high * (1 + 1e-9) + 1e-9
    assert (result.paper is None) == (inside.paper is None)
    if result.paper is not None:
        assert result.paper.low * (1 - 1e-9) <= inside.paper <= result.paper.high * (1 + 1e-9)


def test_the_corners_by_hand() -> None:
    inputs = {"beta": _estimate(2, 1, 4, n=40), "log_inverse_alpha": _estimate(20, 10, 30, level=0.9)}
    result = bounds.propagate(bounds.single_prompt, inputs, {"gamma": -1.0, "epsilon": 0.5})
    assert result.paper is not None
    assert (result.paper.low, result.paper.value, result.paper.high) == pytest.approx(
        ((10 + math.log(8)) / 4, (20 + math.log(8)) / 2, 30 + math.log(8))
    )
    assert result.sharp.high == pytest.approx(math.log(math.expm1(30)) + math.log(3))
    assert (result.sharp.level, result.sharp.n, result.sharp.unit) == (0.9, 40, "sentences")
    assert result.bound == bounds.single_prompt(log_inverse_alpha=20, beta=2, gamma=-1.0, epsilon=0.5)


@pytest.mark.parametrize(
    "inputs",
    [
        {"beta": _estimate(2, -0.1, 3)},
        {"beta": _estimate(2, 0, 3)},
        {"log_inverse_alpha": _estimate(20, 18, math.inf)},
    ],
)
def test_no_bound_at_the_unfavourable_corner_is_an_infinite_limit(inputs: dict[str, Estimate]) -> None:
    fixed = {"log_inverse_alpha": 20.0, "beta": 2.0, "gamma": -1.0, "epsilon": 0.1}
    fixed = {name: value for name, value in fixed.items() if name not in inputs}
    result = bounds.propagate(bounds.single_prompt, inputs, fixed)
    assert result.sharp.high == math.inf
    assert 0 < result.sharp.low < result.sharp.value < math.inf


def test_limits_beyond_the_possible_are_clipped() -> None:
    inputs = {"gamma": _estimate(-0.95, -1.2, -0.6), "beta": _estimate(2, 1, math.inf)}
    result = bounds.propagate(bounds.single_prompt, inputs, {"log_inverse_alpha": 20.0, "epsilon": 0.1})
    assert result.sharp.high == bounds.single_prompt(log_inverse_alpha=20, beta=1, gamma=-1, epsilon=0.1).sharp
    assert 0 < result.sharp.low < 1e-300


def test_exact_inputs_give_an_exact_bound_and_do_not_count_as_a_sample() -> None:
    exact = _estimate(2, 2, 2, level=1.0, n=1)
    fixed = {"gamma": -1.0, "epsilon": 0.1}
    result = bounds.propagate(bounds.single_prompt, {"beta": exact}, fixed | {"log_inverse_alpha": 20.0})
    assert result.sharp.exact
    assert result.sharp.level == 1
    measured = {"beta": exact, "log_inverse_alpha": _estimate(20, 18, 22)}
    result = bounds.propagate(bounds.single_prompt, measured, fixed)
    assert (result.sharp.exact, result.sharp.n, result.sharp.level) == (False, 50, 0.95)


def test_estimates_without_a_bound_and_wrong_names_are_refused() -> None:
    fixed = {"log_inverse_alpha": 20.0, "gamma": -1.0, "epsilon": 0.1}
    with pytest.raises(NoBound, match="β = -1"):
        bounds.propagate(bounds.single_prompt, {"beta": _estimate(-1, -2, 3)}, fixed)
    with pytest.raises(BadSpec, match="betta"):
        bounds.propagate(bounds.single_prompt, {"betta": _estimate(1, 0, 3)}, fixed)
    with pytest.raises(BadSpec, match="both as measured and as fixed"):
        bounds.propagate(bounds.single_prompt, {"beta": _estimate(1, 0, 3)}, fixed | {"beta": 2.0})
    with pytest.raises(BadSpec, match="inputs none"):
        bounds.propagate(bounds.single_prompt, {}, fixed | {"beta": 2.0})
