"""The laws of a run's curves, from its rows alone; no model is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from beb.errors import BadSpec, BebError, EstimateError
from beb.estimate.bands import mean_band
from beb.estimate.laws import RANGES, UNITS, compare_laws
from beb.experiments.experiment import refuse_unfinished
from beb.experiments.laws.curves import NO_CURVE, Curve, curves_of
from beb.experiments.laws.decay import STRAIGHT_LINE, decay_report
from beb.experiments.laws.record import CurveLaws, DecayReport, LawsRecord
from beb.experiments.registry import experiment_of
from beb.experiments.setting import AnySetting, Setting
from beb.experiments.store import Store


def laws(run: Path | str) -> LawsRecord:
    """Compare the logistic, the power law and the Bayesian law on a run's curves, by prompts that they have not seen.

    run: folder of a finished run of measure, guardrail, converse, best-of or personas. Nothing is sampled and no model
    is loaded. What the run is too short for is left out, with the reason.
    Returns: a LawsRecord; `result.to_frame()`.
    Raises: BadSpec or EstimateError kinds if the run lacks what is needed; StoreError kinds.
    Source: Wolf et al. 2024, Lemma 7 and Appendix I; Anil et al. 2024; Arora et al. 2024, arXiv 2410.16531.
    """
    with Store.read(Path(run)) as store:
        return analyse_laws(store)


def analyse_laws(store: Store) -> LawsRecord:
    """As `laws`, from an open store."""
    setting = _setting(store)
    compared: list[CurveLaws] = []
    skipped: list[str] = []
    refusals: list[BebError] = []
    for curve in curves_of(store):
        try:
            compared.append(_compare(curve, setting))
        except (BadSpec, EstimateError) as error:
            skipped.append(f"{curve.name}: {error}")
            refusals.append(error)
    decay: DecayReport | None = None
    if store.rows("prompt_divergences", source="negative"):
        try:
            decay = decay_report(store, setting)
        except (BadSpec, EstimateError) as error:
            skipped.append(f"decay of the divergence: {error}")
            refusals.append(error)
    else:
        skipped.append("decay of the divergence: the run has no prompts of P₋ whose divergence is known by sentence")
    if not compared and decay is None:
        raise refusals[0] if refusals else _nothing(store, "it has no curve")
    return LawsRecord(store.meta(), tuple(compared), decay, tuple(skipped), _notes(decay, setting))


def _setting(store: Store) -> AnySetting:
    experiment = experiment_of(store)
    if experiment.name in NO_CURVE:
        raise _nothing(store, NO_CURVE[experiment.name])
    refuse_unfinished(experiment, store)
    return Setting.of(store.meta(), experiment.spec)


def _nothing(store: Store, reason: str) -> BadSpec:
    return BadSpec(
        f"{store.folder} is a run of {store.meta().get('experiment')!r}, to which no law can be fitted: {reason}; give "
        "a finished run of measure, guardrail, converse, best-of or personas"
    )


def _compare(curve: Curve, setting: AnySetting) -> CurveLaws:
    whole = ~np.isnan(curve.per_prompt).any(axis=1)
    y = curve.per_prompt[whole]
    comparison = compare_laws(
        y, curve.lengths, scale=curve.scale, level=setting.level, rng=setting.rng(f"laws {curve.name}")
    )
    band = mean_band(
        y, curve.lengths, level=setting.level, rng=setting.rng(f"laws band {curve.name}"), unit=UNITS[curve.scale],
        bounds=RANGES[curve.scale], name=curve.name,
    )  # fmt: skip
    return CurveLaws(curve.name, band, comparison, int((~whole).sum()), curve.unit_of_length)


def _notes(decay: DecayReport | None, setting: AnySetting) -> tuple[str, ...]:
    notes = []
    if decay is not None and STRAIGHT_LINE not in {bound.reading for bound in decay.bounds}:
        notes.append(
            "lengths from α by the straight line are not measured: KL(P₋‖P) of this run is a lower bound (--kl top-k), "
            "and a line through lower bounds is certain in no direction"
        )
    if setting.confusion is not None:
        notes.append("behavior is as scored: a law of corrected values is the same law with other levels")
    return tuple(notes)
