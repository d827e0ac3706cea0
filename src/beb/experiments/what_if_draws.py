"""Joint bootstrap draws over prompts of everything that the "What if" bounds are computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from beb.core.bounds import ARGUMENTS, worst_gamma_n
from beb.errors import EstimateError
from beb.estimate.bands import joint_draws
from beb.experiments.arrays import Floats, PromptArrays
from beb.experiments.bounds import BoundInputs, behavior_values, intercepts, values_within_mixture
from beb.experiments.converse.arrays import ArmArrays, per_sentence, pooled_variance
from beb.experiments.guardrail.predictions import TheoryInputs
from beb.experiments.measurement import AlphaReadings
from beb.experiments.setting import AnySetting

N_DRAWS = 200
DIGITS = 5  # significant ones that are kept: a page holds all draws

OfPrompts = tuple[str, Floats]  # label of the set of prompts, and (n_prompts, k) values over them


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """What bounds are computed from in each resample, for one reading of α: (n_draws,) by name, as in `ReadingInputs`.

    Arguments that are known exactly are not among them. curve: (n_draws, N) KL(P₋‖P₊) after 0, 1, ... sentences.
    """

    along: Mapping[str, Floats]
    back: Mapping[str, Floats] = field(default_factory=dict)
    curve: Floats | None = None
    gamma_n: Mapping[int, Floats] = field(default_factory=dict)
    family: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drawn:
    """by_reading: the draws for each reading of α, of the same resamples; empty where none can be made.

    missing: why there are none, else empty.
    """

    by_reading: Mapping[str, Draws]
    missing: str = ""

    @classmethod
    def of(cls, draw: Callable[[], Mapping[str, Draws]]) -> Drawn:
        """What `draw` gives, or why it cannot."""
        try:
            return cls(draw())
        except EstimateError as problem:
            return cls({}, str(problem))


def measure_draws(
    inputs: BoundInputs, positive: PromptArrays, log_ratio: Floats, alpha: AlphaReadings, setting: AnySetting
) -> dict[str, Draws]:
    """Of a measurement. positive, log_ratio: prompts from P₊, and (n_prompts, N) their cumulative log P₋/P₊, nats.

    Raises: EstimateError kinds where a quantity was measured on too few prompts to resample.
    """
    root = np.sqrt(setting.lengths_after)
    floor, errors = behavior_values(
        positive.predicted[:, :, None], positive.behavior[:, :, None], setting.confusion, name="floor"
    )
    lines = intercepts(inputs, alpha, setting)
    found = _resampled(
        {"beta": ("negative", inputs.kl), "beta_prime": ("positive", positive.kl["negative"]),
         "floor": ("positive", floor), **_along_negative(lines)},
        {"sigma2": ("negative", inputs.log_ratio / root), "sigma2_positive": ("positive", log_ratio / root)},
        _behavior(inputs), setting, shared={"floor": errors},
    )  # fmt: skip
    curve, shared = found["beta"], {"beta": _least(found["beta"]), "gamma": _within("gamma", _most(found["gamma"]))}
    sigma2 = _most(found["sigma2"])
    back = {"beta_prime": _within("beta_prime", _most(found["beta_prime"])), "sigma2": _most(found["sigma2_positive"])}
    floors = {"behavior_floor_positive": _within("behavior_floor_positive", _least(found["floor"]))}
    draws = {}
    for name, log_inverse_alpha in _readings(found, lines, alpha).items():
        model = {**shared, "log_inverse_alpha": log_inverse_alpha}
        family = {**floors, **{key: model[key] for key in ("log_inverse_alpha", "gamma")}}
        draws[name] = Draws({**model, "sigma2": sigma2}, {**model, **back}, curve, family=family)
    return draws


def guardrail_draws(inputs: TheoryInputs, alpha: AlphaReadings, setting: AnySetting) -> dict[str, Draws]:
    """Of a run with guardrails. Raises: as `measure_draws`, and where β after a negative sentence is unknown."""
    if inputs.after is None:
        raise EstimateError("β after a negative sentence was not measured; raise --prompts")
    lines = intercepts(inputs.bound, alpha, setting)
    found = _resampled(
        {"beta": ("negative", inputs.bound.kl), "beta after": ("after", inputs.after),
         "beta_prime": ("positive", inputs.beta_prime), **_along_negative(lines)},
        {"sigma2": ("positive", inputs.resistance / np.sqrt(setting.lengths_after))},
        _behavior(inputs.bound), setting,
    )  # fmt: skip
    gamma, beta, after = _within("gamma", _most(found["gamma"])), _least(found["beta"]), _least(found["beta after"])
    spread = {"beta_prime": _within("beta_prime", _most(found["beta_prime"])), "sigma2": _most(found["sigma2"])}
    draws = {}
    for name, log_inverse_alpha in _readings(found, lines, alpha).items():
        model = {"log_inverse_alpha": log_inverse_alpha, "gamma": gamma}
        draws[name] = Draws({**model, "beta": beta}, {**model, "beta": after, **spread})
    return draws


def converse_draws(
    arm: ArmArrays, lines: Mapping[str, Floats], alpha: AlphaReadings | None, given: str, setting: AnySetting
) -> dict[str, Draws]:
    """Of conversations. lines: (n_prompts,) log 1/α of each prompt by reading; given: the only one if there is none.

    β, β′ and σ² are of the complete conversations, γ of all: an incomplete one is missing from the former.
    Raises: as `measure_draws`.
    """

    def among_all(values: Floats) -> OfPrompts:
        whole = np.full((len(arm.user_scores.behavior), values.shape[1]), np.nan)
        whole[arm.complete] = values
        return "conversations", whole

    scored = (arm.user_scores.predicted, arm.user_scores.behavior)
    found = _resampled(
        {"beta": among_all(arm.divergence),
         "beta_prime": among_all(per_sentence(arm.resistance, arm.reply_sentences)),
         "sigma2": among_all(pooled_variance(arm.resistance, arm.reply_sentences)[:, None]),
         **{name: ("prompts", line[:, None]) for name, line in lines.items()}},
        {}, ("conversations", *scored), setting,
    )  # fmt: skip
    drawn = {
        "beta": _least(found["beta"]),
        "gamma": _within("gamma", _most(found["gamma"])),
        "beta_prime": _within("beta_prime", _most(found["beta_prime"])),
        "sigma2": _within("sigma2", _most(found["sigma2"])),
    }
    if alpha is None:
        return {given: Draws(drawn, drawn)}
    by_reading = {name: {**drawn, "log_inverse_alpha": a} for name, a in _readings(found, lines, alpha).items()}
    return {name: Draws(each, each) for name, each in by_reading.items()}


def best_of_draws(
    inputs: BoundInputs, own: Mapping[int, Floats], sizes: Sequence[int], alpha: AlphaReadings, setting: AnySetting
) -> dict[str, Draws]:
    """Of the best of n. own: size -> (n_prompts, k) best of n of P₋ itself; other sizes have the worst that γ allows.

    Raises: as `measure_draws`.
    """
    lines = intercepts(inputs, alpha, setting)
    best = {f"best of {size}": ("negative", values) for size, values in own.items()}
    found = _resampled({"beta": ("negative", inputs.kl), **best, **_along_negative(lines)}, {}, None, setting)
    gamma_n = {size: _within("gamma_n", _most(found[f"best of {size}"])) for size in own}
    for size in sizes:
        if size not in gamma_n:
            gamma_n[size] = _told(np.array([worst_gamma_n(float(gamma), size) for gamma in gamma_n[1]]))
    model = {"beta": _least(found["beta"]), "gamma": gamma_n[1]}
    return {
        name: Draws({**model, "log_inverse_alpha": log_inverse_alpha}, gamma_n=gamma_n)
        for name, log_inverse_alpha in _readings(found, lines, alpha).items()
    }


def _resampled(
    means: Mapping[str, OfPrompts],
    variances: Mapping[str, OfPrompts],
    behavior: tuple[str, np.ndarray, Floats] | None,
    setting: AnySetting,
    *,
    shared: Mapping[str, Floats] | None = None,
) -> dict[str, Floats]:
    """(n_draws, k) of every name, rounded. behavior: prompts, classes and B that γ is read from."""
    errors = dict(shared or {})
    means = dict(means)
    if behavior is not None:
        where, predicted, scores = behavior
        values, errors["gamma"] = behavior_values(predicted, scores, setting.confusion, name="gamma")
        means["gamma"] = (where, values)
    drawn = joint_draws(
        {name: values for name, (_, values) in means.items()},
        {name: values for name, (_, values) in variances.items()},
        rng=setting.rng("what if draws"), n_draws=N_DRAWS, shared=errors,
        prompt_sets={name: where for name, (where, _) in {**means, **variances}.items()},
    )  # fmt: skip
    return {name: _told(values) for name, values in drawn.items()}


def _behavior(inputs: BoundInputs) -> tuple[str, np.ndarray, Floats]:
    return "negative", inputs.predicted[:, :, None], inputs.behavior[:, :, None]


def _along_negative(lines: Mapping[str, Floats]) -> dict[str, OfPrompts]:
    return {name: ("negative", line[:, None]) for name, line in lines.items()}


def _readings(found: Mapping[str, Floats], lines: Mapping[str, Floats], alpha: AlphaReadings) -> dict[str, Floats]:
    """log 1/α by reading, as it enters the theorems: certain limits are not rounded."""
    return {name: values_within_mixture(name, found[name][:, 0], alpha.limits) for name in lines}


def _least(curves: Floats) -> Floats:
    return np.asarray(curves.min(axis=1))


def _most(curves: Floats) -> Floats:
    return np.asarray(curves.max(axis=1))


def _within(name: str, values: Floats) -> Floats:
    """Within the argument's range: a corrected or estimated value may lie where the quantity itself cannot."""
    return np.array([ARGUMENTS[name].clip(each) for each in values.tolist()])


def _told(values: Floats) -> Floats:
    """At so many significant digits as a page keeps."""
    kept = [float(f"{each:.{DIGITS}g}") for each in values.ravel().tolist()]
    return np.array(kept).reshape(values.shape)
