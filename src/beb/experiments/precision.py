"""Which printed figure is known least, and how many prompts would tell it twice as well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beb.core.estimate import Estimate
from beb.errors import EstimateError
from beb.estimate.checks import Bounds
from beb.estimate.power import EVERYWHERE, prompts_to_halve
from beb.experiments.lower_bounds import is_lower_bound
from beb.experiments.measurement import AlphaReadings, BoundReport
from beb.experiments.setting import BEHAVIOR_LIMITS, MeasureSetting


@dataclass(frozen=True, slots=True)
class Precision:
    """widest: name of the figure whose finite interval is widest for its size, "" if none is finite.

    prompts_to_halve: prompts in all that would halve it, None if there is none. unlimited: figures whose interval is
    not finite.
    """

    widest: str
    prompts_to_halve: int | None
    unlimited: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Printed:
    """A figure, and how its interval was made: see `prompts_to_halve`. group: its name where it has no limit."""

    estimate: Estimate
    group: str
    log_variance: bool = False
    columns: int = 1
    bounds: Bounds = EVERYWHERE

    @property
    def prompts(self) -> int:
        return prompts_to_halve(self.estimate, log_variance=self.log_variance, columns=self.columns, bounds=self.bounds)


def precision(
    extremes: Mapping[str, Estimate], alpha: AlphaReadings, bounds: Sequence[BoundReport], setting: MeasureSetting
) -> Precision:
    """Over all figures that are printed with an interval.

    extremes: smallest and largest points of curves, by name. Widest for its size: relative to the limit farther from 0.
    """
    printed = {name: _extreme(name, estimate, setting) for name, estimate in extremes.items()}
    means = {
        "log 1/alpha (plateau)": alpha.plateau.log_inverse_alpha,
        "kappa": alpha.plateau.kappa,
        "log 1/alpha (line)": alpha.line.log_inverse_alpha,
        **{f"the midpoint in {name}": fit.midpoint for name, fit in alpha.behavior.items()},
    }
    printed |= {name: _Printed(estimate, name) for name, estimate in means.items()}
    for report in bounds:
        theorem = report.bound.bound.theorem
        for form, estimate in (("paper's form", report.bound.paper), ("sharp form", report.bound.sharp)):
            if estimate is not None and not (is_lower_bound(estimate) and math.isfinite(estimate.width)):
                # From a lower bound of β the interval begins at 0, however many prompts there are.
                # Half of the error is γ's; β and log 1/α or σ² share the rest over all lengths.
                columns = 2 * 2 * setting.spec.sentences
                printed[f"{theorem} by the {report.reading}, {form}"] = _Printed(
                    estimate, theorem, columns=columns, bounds=(0.0, math.inf)
                )
    unlimited = tuple(dict.fromkeys(each.group for each in printed.values() if not math.isfinite(each.estimate.width)))
    for name in sorted(printed, key=lambda name: _relative_width(printed[name].estimate), reverse=True):
        if printed[name].group not in unlimited:
            try:
                return Precision(name, printed[name].prompts, unlimited)
            except EstimateError:  # exact: nothing to halve
                continue
    return Precision("", None, unlimited)


def _extreme(name: str, estimate: Estimate, setting: MeasureSetting) -> _Printed:
    n = setting.spec.sentences
    if name.startswith("sigma2"):
        return _Printed(estimate, name, log_variance=True, columns=n)
    if name.startswith("gamma"):
        return _Printed(estimate, name, columns=n, bounds=BEHAVIOR_LIMITS)
    return _Printed(estimate, name, columns=n, bounds=(0.0, math.inf) if setting.spec.kl == "exact" else EVERYWHERE)


def _relative_width(estimate: Estimate) -> float:
    size = max(abs(estimate.low), abs(estimate.high))
    return estimate.width / size if math.isfinite(size) and size > 0 else 0.0
