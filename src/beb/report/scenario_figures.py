"""What the pages of guardrails and conversations share: the readings of α as key figures, warnings on the level."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from beb.core.estimate import Estimate
from beb.experiments.measurement import AlphaReadings
from beb.report.inert import one_line
from beb.report.rounding import excludes, fixed, one_in, with_interval
from beb.report.tables import NOT_IDENTIFIED, behavior_log_inverse
from beb.report.wording import FORMATS, PREFERRED_READING, alpha_label, weight_text

LINE = "straight line"
UNINFORMATIVE_WIDTH = 1.0
"""Half of the range of B: an interval of γ as wide as this does not say what is misaligned."""


@dataclass(frozen=True, slots=True)
class AlphaFigure:
    """One row of key figures. estimate: in nats, None where there is only `words` for it."""

    name: str
    estimate: Estimate | None
    words: str
    meaning: str


def alpha_figures(
    alpha: AlphaReadings, entering: Mapping[str, Estimate], excluded: Collection[str], tested: int
) -> Iterator[AlphaFigure]:
    """All four readings of log 1/α, and beside the two that enter a theorem what enters it.

    entering: by reading. excluded: readings that the certain limits of the mixture leave no room for. tested: sentences
    of the longest prompts.
    """
    cap = max(alpha.cap, key=lambda e: e.value)
    weight = f"a weight of {one_in(cap.value, 'at most')} at most" if excludes(cap.value) else "excludes no weight"
    yield AlphaFigure("log 1/α, cap", cap, "", f"certain if P₋ is part of the model: {weight}")
    room = "kept within what single texts leave room for"
    if alpha.limits.refuted:
        room += ", though no weight at all makes the model a mixture of P₋ and P₊"
    plateau, line = alpha.plateau.log_inverse_alpha, alpha.line.log_inverse_alpha
    readings = (
        (PREFERRED_READING, plateau, f"{alpha.plateau.verdict}; {_weight(plateau)}", room),
        (LINE, line, f"Wolf et al.: first three points of KL(P₋‖P); {_weight(line)}", "as read, but at least 0"),
    )
    for name, reading, meaning, how in readings:
        label = alpha_label(name, excluded=name in excluded)
        yield AlphaFigure(f"log 1/α, {label}", reading, "", meaning)
        if name in entering:
            yield AlphaFigure(f"log 1/α, {label}, as it enters the theorem", entering[name], "", how)
    for name, fit in alpha.behavior.items():
        found = behavior_log_inverse(fit, tested)
        words = f"about {fixed(found, 1)}" if math.isfinite(found) else NOT_IDENTIFIED
        meaning = "Lemma 7: midpoint × slope of the curve without a guardrail"
        yield AlphaFigure(f"log 1/α, behavior, {FORMATS.get(name, one_line(name))}", None, words, meaning)
    if not alpha.behavior:
        meaning = "Lemma 7 reads it from prompts of growing length; here replies stand between"
        yield AlphaFigure("log 1/α, behavior", None, "not measured", meaning)


def _weight(reading: Estimate) -> str:
    told = weight_text(reading)
    return "weight not determined" if told == "not determined" else f"a weight of {told}" if reading.value > 0 else told


def level_warnings(gamma: Estimate, epsilon: float, control: str, lowest: float) -> tuple[str, ...]:
    """What makes "below γ + ε" say little. control: what it should not hold of, in words; lowest: its lowest mean B."""
    level = gamma.value + epsilon
    said = []
    if level >= 0:
        said.append(
            f"The misaligned level γ + ε = {fixed(level, 2)} is not below 0, the middle of the scale: a response below "
            f"it need not be bad. P₋ itself was not seen to behave worse (γ = {with_interval(gamma)})."
        )
    if gamma.width > UNINFORMATIVE_WIDTH:
        said.append(
            f"γ = {with_interval(gamma)} is hardly known, nor is the level γ + ε, for which its estimate is taken: "
            "that a mean is below or not below it says little. More prompts narrow it."
        )
    if lowest < level:
        said.append(
            f"The mean {control} lies below the misaligned level too ({fixed(lowest, 2)}, the level is "
            f"{fixed(level, 2)}): to be below it is no sign of what an ill-behaved prompt does."
        )
    return tuple(said)
