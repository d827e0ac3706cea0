"""What a scenario's bounds are recomputed from when its reader supposes other settings."""

from __future__ import annotations

from beb.errors import EstimateError
from beb.experiments.analyse import LogRatios
from beb.experiments.arrays import prompt_arrays
from beb.experiments.best_of.analyse import alpha_readings as best_of_alpha
from beb.experiments.best_of.analyse import best_of_itself
from beb.experiments.best_of.record import BestOfRecord
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.best_of.theorem import theorem_inputs
from beb.experiments.bounds import BoundInputs, measured_inputs
from beb.experiments.converse.analyse import alpha_readings as converse_alpha
from beb.experiments.converse.arrays import arm_arrays
from beb.experiments.converse.plan import ConverseSpec
from beb.experiments.converse.record import ConverseRecord
from beb.experiments.converse.theory import GIVEN, theory
from beb.experiments.guardrail.analyse import theory_inputs
from beb.experiments.guardrail.predictions import TheoremTwo
from beb.experiments.guardrail.record import GuardrailRecord
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.setting import Setting
from beb.experiments.store import Store
from beb.experiments.verdicts import excluded
from beb.experiments.what_if import ReadingInputs, Settings, WhatIfInputs
from beb.experiments.what_if_draws import Drawn, best_of_draws, converse_draws, guardrail_draws


def guardrail_inputs(store: Store, r: GuardrailRecord) -> WhatIfInputs | None:
    """Theorem 1 without a guardrail and Theorem 2 after one that P₊ writes, from the run's own arguments.

    store: of the run. r: its numbers. Returns: None where β after a negative sentence could not be measured.
    """
    setting = Setting.of(r.meta, GuardrailSpec)
    try:
        inputs = theory_inputs(store, setting)
    except EstimateError:
        return None
    back = TheoremTwo.of(inputs, r.alpha, {}, setting).by_reading
    if not back:
        return None
    along = measured_inputs(inputs.bound, r.alpha, setting)
    drawn = Drawn.of(lambda: guardrail_draws(inputs, r.alpha, setting))
    limits = r.alpha.limits
    own = next((g.sentences for g in r.guardrails if g.kind == "sampled"), 0)
    return WhatIfInputs(
        shown=("theorem-1", "theorem-2"),
        settings=Settings(setting.spec.epsilon, setting.spec.delta, prefix=own),
        readings={
            name: ReadingInputs(
                along[name].arguments,
                each,
                excluded=excluded(each["log_inverse_alpha"], limits),
                draws=drawn.by_reading.get(name),
            )
            for name, each in back.items()
        },
        level=setting.level,
        tested=setting.spec.sentences,
        no_draws=drawn.missing,
    )


def converse_inputs(store: Store, r: ConverseRecord) -> WhatIfInputs | None:
    """Theorem 1 for the first turn and Theorem 3 after replies, from the run's own arguments.

    store: of the run. r: its numbers. Returns: None where too few conversations are stored to resample.
    """
    setting = Setting.of(r.meta, ConverseSpec)
    try:
        arm = arm_arrays(store, "negative", setting.spec)
        alpha, by_prompt = converse_alpha(store, setting)
    except EstimateError:
        return None
    inputs = theory(arm, by_prompt, alpha, setting).inputs
    drawn = Drawn.of(lambda: converse_draws(arm, by_prompt, alpha, GIVEN, setting))
    spec = setting.spec
    return WhatIfInputs(
        shown=("theorem-1", "theorem-3"),
        settings=Settings(spec.epsilon, spec.delta, replies=spec.turns - 1, reply_sentences=spec.reply_sentences),
        readings={
            name: ReadingInputs(
                each,
                each,
                excluded=alpha is not None and excluded(each["log_inverse_alpha"], alpha.limits),
                draws=drawn.by_reading.get(name),
            )
            for name, each in inputs.items()
        },
        level=setting.level,
        tested=spec.turns * spec.turn_sentences,
        no_draws=drawn.missing,
    )


def best_of_inputs(store: Store, r: BestOfRecord) -> WhatIfInputs | None:
    """Theorem 1 for a single response and Theorem 4 for the best of n, with γₙ as measured where it was.

    store: of the run. r: its numbers. Returns: None where too few prompts are stored to resample.
    """
    setting = Setting.of(r.meta, BestOfSpec)
    try:
        negative = prompt_arrays(store, "negative", setting.spec.sentences)
        positive = prompt_arrays(store, "positive", setting.spec.sentences)
        own = best_of_itself(store, negative, setting)
    except EstimateError:
        return None
    ratios = LogRatios.of(negative, positive)
    alpha = best_of_alpha(negative, ratios, setting)
    found = theorem_inputs(negative, ratios, own, alpha, setting)
    inputs = BoundInputs.of(negative, ratios.evidence, ratios.negative)
    drawn = Drawn.of(lambda: best_of_draws(inputs, own, tuple(found.gammas), alpha, setting))
    readings = {
        name: ReadingInputs(
            {**each, "gamma": found.gammas[1][0]},
            gamma_n={n: gamma for n, (gamma, _) in found.gammas.items()},
            excluded=excluded(each["log_inverse_alpha"], alpha.limits),
            draws=drawn.by_reading.get(name),
        )
        for name, each in found.by_reading.items()
    }
    return WhatIfInputs(
        shown=("theorem-1", "theorem-4"),
        settings=Settings(setting.spec.epsilon, setting.spec.delta, best_of=setting.spec.sizes[-1]),
        readings=readings,
        level=setting.level,
        tested=setting.spec.sentences,
        no_draws=drawn.missing,
    )
