"""The report's "What if" section: every bound from the measured values, at settings that the reader moves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beb.core.bounds import ARGUMENTS, PropagatedBound
from beb.core.estimate import Estimate
from beb.experiments.lower_bounds import mark_derived
from beb.experiments.what_if import ReadingInputs, WhatIfInputs, recompute, recompute_draws
from beb.report.rounding import dense_limits, value_text, with_interval
from beb.report.what_if_controls import CLAIM, SCENARIO, Control
from beb.report.what_if_csv import what_if_csv
from beb.report.what_if_draws import Spread, draws_payload, spread
from beb.report.what_if_words import THEOREMS, no_draws_text, notes, tested_text
from beb.report.wording import alpha_label

NO_PAPER_FORM, NO_BOUND, NEVER = "none given", "no bound", "at no length"


@dataclass(frozen=True, slots=True)
class Row:
    """A bound at the run's own settings. key: of the theorem. meaning: what so many sentences are good for.

    draws: its percentiles over the bootstrap draws, None where there are none.
    """

    key: str
    name: str
    meaning: str
    sharp: str
    sharp_interval: str
    paper: str
    paper_interval: str
    draws: Spread | None


@dataclass(frozen=True, slots=True)
class Slider:
    """A control as the page shows it. value: the run's own. echo: key of the first bound that follows it."""

    control: Control
    value: float
    meaning: str
    echo: str

    @property
    def shown(self) -> str:
        """The value as the number field holds it."""
        return f"{self.value:.6g}"


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Sliders in two groups, readings of α, bounds at the run's settings, what the page computes from, and notes.

    level: γ + ε, with its interval. tested: what the dashed line marks. n_draws: bootstrap draws of every bound.
    no_draws: why there are none, empty where there are. csv: the numbers at the run's settings, to be saved.
    """

    level: str
    claim: tuple[Slider, ...]
    scenario: tuple[Slider, ...]
    readings: tuple[str, ...]
    rows: tuple[Row, ...]
    payload: Mapping[str, Any]
    tested: str
    notes: tuple[str, ...]
    n_draws: int
    no_draws: str
    csv: str


def what_if(inputs: WhatIfInputs | None) -> WhatIf | None:
    """The section of a run's page; None where its bounds cannot be recomputed."""
    if inputs is None:
        return None
    first = next(iter(inputs.readings.values()))
    found = recompute(inputs, first, inputs.settings)
    draws = recompute_draws(inputs, first, inputs.settings)
    drawn = {key: spread(bounds, found[key]) for key, bounds in draws.items()}
    return WhatIf(
        level=with_interval(_shifted(first.along["gamma"], inputs.settings.epsilon)),
        claim=_sliders(CLAIM, inputs),
        scenario=_sliders(SCENARIO, inputs),
        readings=tuple(alpha_label(name, excluded=each.excluded) for name, each in inputs.readings.items()),
        rows=tuple(Row(key, *_told(key, found[key]), *_texts(found[key]), drawn.get(key)) for key in inputs.shown),
        payload=payload(inputs),
        tested=tested_text(inputs),
        notes=notes(inputs),
        n_draws=0 if first.draws is None else len(first.draws.along["beta"]),
        no_draws=no_draws_text(inputs),
        csv=what_if_csv(inputs),
    )


def payload(inputs: WhatIfInputs) -> dict[str, Any]:
    """What the page computes from: [value, low, high] of every measured argument by reading, and the run's settings.

    Infinite numbers are the strings "Infinity" and "-Infinity".
    """
    return {
        "arguments": {
            name: {
                "least": _number(each.clip(-math.inf)),
                "most": _number(each.clip(math.inf)),
                "direction": each.direction,
            }
            for name, each in ARGUMENTS.items()
        },
        "shown": inputs.shown,
        "settings": dataclasses.asdict(inputs.settings),
        "readings": [_reading(name, each) for name, each in inputs.readings.items()],
        "draws": draws_payload(inputs),
        "tested": inputs.tested,
        "words": {"no_paper_form": NO_PAPER_FORM, "no_bound": NO_BOUND, "never": NEVER},
    }


def _shifted(estimate: Estimate, by: float) -> Estimate:
    return dataclasses.replace(estimate, value=estimate.value + by, low=estimate.low + by, high=estimate.high + by)


def _reading(name: str, inputs: ReadingInputs) -> dict[str, Any]:
    curve = inputs.curve
    sides = [] if curve is None else [[_number(x) for x in side] for side in (curve.value, curve.low, curve.high)]
    gamma_n = {str(n): each for n, each in inputs.gamma_n.items()}
    return {
        "name": name,
        "along": _limits(inputs.along),
        "back": _limits(inputs.back),
        "curve": sides,
        "gamma_n": _limits(gamma_n),
        "family": _limits(inputs.family),
    }


def _limits(estimates: Mapping[str, Estimate]) -> dict[str, list[float | str]]:
    return {name: [_number(x) for x in (each.value, each.low, each.high)] for name, each in estimates.items()}


def _number(x: float) -> float | str:
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    return float(x)


def _told(key: str, found: PropagatedBound | None) -> tuple[str, str]:
    """Name and meaning, and whether it is computed from lower bounds of a divergence."""
    name, meaning = THEOREMS[key]
    return f"{name}{mark_derived(found.sharp) if found is not None else ''}", meaning


def _texts(found: PropagatedBound | None) -> tuple[str, str, str, str]:
    """Value and interval of the sharp form and of the paper's."""
    if found is None:
        return NO_BOUND, "", NO_BOUND, ""
    sharp = (value_text(found.sharp), dense_limits(found.sharp))
    if math.isinf(found.sharp.value):
        sharp = (NEVER, "" if math.isinf(found.sharp.low) else sharp[1])
    paper = (NO_PAPER_FORM, "") if found.paper is None else (value_text(found.paper), dense_limits(found.paper))
    return (*sharp, *paper)


def _sliders(controls: tuple[Control, ...], inputs: WhatIfInputs) -> tuple[Slider, ...]:
    """Those that move a bound of this page."""
    found = []
    for control in controls:
        moved = [key for key in inputs.shown if key in control.moves]
        if moved:
            names = [THEOREMS[key][0] for key in moved]
            what = "every bound" if len(moved) == len(inputs.shown) > 1 else _listed(names)
            value = getattr(inputs.settings, control.key)
            found.append(Slider(control, value, f"{control.meaning} Moves {what}.".strip(), moved[0]))
    return tuple(found)


def _listed(names: list[str]) -> str:
    """ "Theorem 5", "Theorems 5, 2 and 3"."""
    names = [name.replace("Converse", "the converse") for name in names]
    if len(names) == 1:
        return names[0]
    numbers = [name.removeprefix("Theorem ") for name in names]
    return f"Theorems {', '.join(numbers[:-1])} and {numbers[-1]}"
