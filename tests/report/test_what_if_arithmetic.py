"""The arithmetic of the "What if" section is the Python core's: over a grid, in a real browser, to 1e-9."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from beb.core import bounds
from beb.core.bounds import PropagatedBound, propagate
from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec, NoBound
from beb.experiments.what_if import ALL_BOUNDS, FAMILY_ARGUMENT, ReadingInputs, Settings, WhatIfInputs, recompute
from beb.report.rounding import dense_limits, fixed, interval_text, places, value_text
from beb.report.what_if import payload

from .browser import OpenedPage, OpenPage
from .what_if_run import Run

Limits = tuple[float, float, float]

# value, low, high: ordinary ones, and the ends: α = 1, no upper limit, β's limit below 0, γ beyond what B can be.
GRID: dict[str, tuple[Limits, ...]] = {
    "log_inverse_alpha": ((11.2, 9.3, 13.1), (58.3, 58.3, math.inf), (0.4, 0.0, 0.9), (0.0, 0.0, 0.0)),
    "beta": ((5.73, 5.11, 6.35), (0.2, -0.1, 0.5), (2.0, 1.0, math.inf), (-0.1, -1.0, 0.4), (1e-3, 1e-306, 2.0)),
    "gamma": ((-0.61, -0.7, -0.52), (-1.0, -1.2, -0.9), (0.95, 0.7, 1.1), (0.3, -1.0, 1.0)),
    "gamma_n": ((-0.3, -0.5, 0.1), (0.99, 0.9, 1.0), (-1.0, -1.0, -1.0)),
    "sigma2": ((21.4, 13.7, 29.1), (0.0, 0.0, 0.0), (5.0, 1e-9, math.inf)),
    "beta_prime": ((12.1, 10.7, 13.5), (0.0, 0.0, 0.3), (4.0, 3.2, math.inf)),
    FAMILY_ARGUMENT: ((4.2, 4.2, 4.2), (0.5, -0.5, 1.5), (-1.0, -1.0, -1.0)),
}
# For the first γ 0.61 brings γ + ε to 0, 1.61 to 1; 1.3 - 1e-10 nearly so for the first γₙ; δ = 1 needs no deviation.
SETTINGS: dict[str, tuple[Any, ...]] = {
    "epsilon": (1e-6, 0.2, 0.61, 1.0, 1.3 - 1e-10, 1.61, 2.0),
    "delta": (1e-9, 0.1, 1.0),
    "prefix_sentences": (0, 1, 17, 100_000),
    "replies": ((1,), (2, 3, 1), (20,) * 20),
    "n": (1, 2, 7, 1000),
    "eta": (0.0, 0.3, 0.95, math.nextafter(1.0, 0.0)),
    "behavior_floor_positive": (1.0, 0.28, -0.39, -1.0),
    "behavior_floor_negative": (-1.0, -0.5, 1.0),
}
MODEL, SPREAD = ("log_inverse_alpha", "beta", "gamma"), ("beta_prime", "sigma2")
FUNCTIONS: dict[Callable[..., Any], tuple[tuple[str, ...], tuple[str, ...]]] = {
    bounds.single_prompt: (MODEL, ("epsilon",)),
    bounds.random_prompt: ((*MODEL, "sigma2"), ("epsilon", "delta")),
    bounds.after_prefix: ((*MODEL, *SPREAD), ("epsilon", "delta", "prefix_sentences")),
    bounds.conversation: ((*MODEL, *SPREAD), ("epsilon", "delta", "replies")),
    bounds.best_of_n: (("log_inverse_alpha", "beta", "gamma_n"), ("epsilon", "n")),
    bounds.relaxed: (MODEL, ("epsilon", "eta")),
    bounds.converse: (
        ("log_inverse_alpha", "gamma", FAMILY_ARGUMENT),
        ("epsilon", "behavior_floor_positive", "behavior_floor_negative"),
    ),
}
CASES_EACH = 600
SETTING_GRID = {
    "epsilon": (0.01, 0.2, 0.61, 1.9),
    "delta": (0.001, 0.1, 1.0),
    "prefix": (0, 3, 60),
    "replies": (0, 1, 12),
    "reply_sentences": (1, 7),
    "best_of": (1, 2, 50),
    "eta": (0.0, 0.33, 0.95),
}
TO_TEXT = "const told = (x) => Array.isArray(x) ? x.map(told) : typeof x === 'number' ? String(x) : x;"


def exactly(limits: Limits) -> Estimate:
    value, low, high = limits
    return Estimate(value, low, high, 0.95, 30, "nats", "test", exact=low == high)


@pytest.fixture
def page(what_if_run: Run, open_page: OpenPage) -> OpenedPage:
    return open_page(what_if_run.path)


def numbers(found: Sequence[Any] | None) -> tuple[float, ...] | None:
    return None if found is None else tuple(map(float, found))


def limits_of(found: Estimate | None) -> tuple[float, ...] | None:
    return None if found is None else (found.value, found.low, found.high)


def agree(shown: Mapping[str, Any] | None, expected: PropagatedBound | None) -> bool:
    if shown is None or expected is None:
        return shown is None and expected is None
    return all(
        (numbers(shown[form]) is None) == (wanted is None)
        and (wanted is None or numbers(shown[form]) == pytest.approx(limits_of(wanted), rel=1e-9, abs=1e-12))
        for form, wanted in (("sharp", expected.sharp), ("paper", expected.paper))
    )


def as_json(value: Any) -> str:
    def plain(x: Any) -> Any:
        if isinstance(x, float) and math.isinf(x):
            return "Infinity" if x > 0 else "-Infinity"
        if isinstance(x, Mapping):
            return {key: plain(each) for key, each in x.items()}
        return [plain(each) for each in x] if isinstance(x, list | tuple) else x

    return json.dumps(plain(value))


def cases(function: Callable[..., Any]) -> list[tuple[dict[str, Limits], dict[str, Any]]]:
    """A fixed random choice of the whole grid, or all of it where that is small."""
    measured, fixed_names = FUNCTIONS[function]
    every = list(itertools.product(*(GRID[name] for name in measured), *(SETTINGS[name] for name in fixed_names)))
    chosen = random.Random(function.__name__).sample(every, min(CASES_EACH, len(every)))
    cut = len(measured)
    return [
        (dict(zip(measured, case[:cut], strict=True)), dict(zip(fixed_names, case[cut:], strict=True)))
        for case in chosen
    ]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_every_bound_is_the_core_s_over_the_grid(page: OpenedPage, function: Callable[..., Any]) -> None:
    asked = cases(function)
    script = (
        f"{TO_TEXT} const payload = whatIfPayload(document.getElementById('what-if-inputs').textContent);"
        "const { propagate } = boundsArithmetic(payload.arguments);"
        "return whatIfPayload(arguments[1]).map(([inputs, fixed]) => {"
        "  const found = propagate(arguments[0], inputs, fixed);"
        "  return found && { sharp: told(found.sharp), paper: told(found.paper) }; });"
    )
    shown = page.run(script, function.__name__, as_json(asked))
    without = 0
    for each, (inputs, settings) in zip(shown, asked, strict=True):
        try:
            expected = propagate(function, {name: exactly(limits) for name, limits in inputs.items()}, settings)
        except NoBound:
            expected, without = None, without + 1
        assert agree(each, expected), (inputs, settings, each, expected)
    assert len(asked) > 100
    assert without < len(asked) / 2


def test_what_the_core_refuses_the_page_refuses(page: OpenedPage) -> None:
    good = {"log_inverse_alpha": (9.0, 8.0, 10.0), "beta": (2.0, 1.0, 3.0), "gamma": (-0.5, -0.6, -0.4)}
    refused = [
        ("single_prompt", good, {"epsilon": 0.0}),
        ("single_prompt", good, {"epsilon": 2.1}),
        ("single_prompt", good | {"gamma": (1.2, 1.1, 1.3)}, {"epsilon": 0.1}),
        ("random_prompt", good | {"sigma2": (-1.0, -2.0, 1.0)}, {"epsilon": 0.1, "delta": 0.1}),
        ("relaxed", good, {"epsilon": 0.1, "eta": 1.0}),
        ("best_of_n", {"log_inverse_alpha": (9.0, 8.0, 10.0), "beta": (2.0, 1.0, 3.0), "gamma_n": (0.0, -0.1, 0.1)},
         {"epsilon": 0.1, "n": 1.5}),
        ("conversation", good | {"beta_prime": (1.0, 0.5, 2.0), "sigma2": (1.0, 0.5, 2.0)},
         {"epsilon": 0.1, "delta": 0.1, "replies": (2, 0)}),
    ]  # fmt: skip
    for name, inputs, settings in refused:
        with pytest.raises(BadSpec):
            propagate(getattr(bounds, name), {key: exactly(each) for key, each in inputs.items()}, settings)
    script = (
        "const payload = whatIfPayload(document.getElementById('what-if-inputs').textContent);"
        "const { propagate } = boundsArithmetic(payload.arguments);"
        "return whatIfPayload(arguments[0]).map(([name, inputs, fixed]) => {"
        "  try { propagate(name, inputs, fixed); return 'accepted'; } catch (problem) { return problem.name; } });"
    )
    assert page.run(script, as_json(refused)) == ["RangeError"] * len(refused)


def crafted() -> WhatIfInputs:
    """A run at the ends: γ whose limits cross 0 and 1, β whose lower limit is negative, α without upper limit."""
    curve = Band(
        (0, 1, 2), (3.0, 1.1, 0.9), (1.0, 0.4, -0.2), (5.0, 1.9, 2.0), (1.0, 0.4, -0.2), (5.0, 1.9, 2.0), 0.95, 30,
        "nats per sentence", "test",
    )  # fmt: skip
    shared = {"log_inverse_alpha": exactly((6.0, 5.5, math.inf)), "gamma": exactly((-0.1, -1.3, 1.05))}
    along = {**shared, "beta": exactly((0.9, -0.2, 1.9)), "sigma2": exactly((3.0, 1.0, 9.0))}
    back = {**shared, "beta": exactly((0.9, 0.1, 1.9)), "beta_prime": exactly((2.0, 0.0, 4.0)),
            "sigma2": exactly((2.0, 0.5, math.inf))}  # fmt: skip
    family = {**shared, FAMILY_ARGUMENT: exactly((3.7, 3.7, 3.7)), "behavior_floor_positive": exactly((0.8, 0.1, 1.0))}
    reading = ReadingInputs(along, back, curve, {2: exactly((0.1, -0.2, 0.4))}, family)
    return WhatIfInputs(ALL_BOUNDS, Settings(0.2, 0.1), {"evidence plateau": reading}, 0.95, 3)


@pytest.mark.parametrize("which", ["world", "crafted"])
def test_the_whole_section_is_the_core_s_at_any_settings(page: OpenedPage, what_if_run: Run, which: str) -> None:
    inputs = what_if_run.inputs if which == "world" else crafted()
    every = list(itertools.product(*SETTING_GRID.values()))
    chosen = [
        Settings(**dict(zip(SETTING_GRID, each, strict=True))) for each in random.Random(which).sample(every, 400)
    ]
    asked = [dataclasses.asdict(each) for each in chosen]
    script = (
        f"{TO_TEXT} const bounds = whatIfBounds(whatIfPayload(arguments[0]));"
        "const settings = whatIfPayload(arguments[1]);"
        "return arguments[2].map((_, i) => settings.map((at) => Object.fromEntries(Object.entries(bounds(i, at))"
        ".map(([key, b]) => [key, b && { sharp: told(b.sharp), paper: told(b.paper) }]))));"
    )
    stored = json.dumps(payload(inputs))
    shown = page.run(script, stored, as_json(asked), list(inputs.readings))
    for by_setting, reading in zip(shown, inputs.readings.values(), strict=True):
        for each, at in zip(by_setting, chosen, strict=True):
            expected = recompute(inputs, reading, at)
            assert set(each) == set(expected) == set(ALL_BOUNDS)
            for key, bound in expected.items():
                assert agree(each[key], bound), (key, at, each[key], bound)


def test_numbers_are_rounded_as_everywhere_in_the_report(page: OpenedPage) -> None:
    rng = np.random.default_rng(5)
    value = rng.choice([-1, 1], 3000) * 10 ** rng.uniform(-6, 10, 3000)
    below, above = (10 ** rng.uniform(-5, 8, 3000) for _ in range(2))
    triples = [*zip(value.tolist(), (value - below).tolist(), (value + above).tolist(), strict=True)]
    triples = [each for each in triples if each[1] < each[0] < each[2]]
    ends = [(-0.1, 0.0), (0.0, 0.1), (1.0, math.inf), (-math.inf, 2.0), (-math.inf, math.inf), (0.125, 0.375)]
    triples += [(low if math.isfinite(low) else 0.0, low, high) for low, high in ends]
    triples += [(x, x, x) for x in (0.0, 0.25, 2.5, 12345.678, 1e-7, 3.21e9)]
    triples += [(math.inf, 3.2, math.inf), (1e-9, -1e-3, 1e-3), (4.2, 3.1, math.inf), (3.21e9, 1.1e9, math.inf)]
    # Ties, which Python rounds to even: 0.125 at 2 places, 12350 at hundreds, 2.5 at 0 places.
    ties = [(0.125, 2), (0.375, 2), (2.5, 0), (3.5, 0), (-0.5, 0), (12350.0, -2), (12250.0, -2), (1.25e9, -8), (0.0, 3)]
    script = (
        "const { fixed, places, valueText, intervalText, denseLimits } = roundedNumbers;"
        "return [whatIfPayload(arguments[0]).map((t) => [valueText(t), intervalText(t), denseLimits(t),"
        " places(...t)]), whatIfPayload(arguments[1]).map(([x, n]) => fixed(x, n))];"
    )
    shown, plain = page.run(script, as_json(triples), as_json(ties))
    for told, triple in zip(shown, triples, strict=True):
        estimate = exactly(triple)
        expected = [value_text(estimate), interval_text(estimate), dense_limits(estimate)]
        assert told == [*expected, dataclasses.asdict(places(*triple))], triple
    assert plain == [fixed(x, decimals) for x, decimals in ties]
