"""The laws of a run's curves, from its rows alone; no model is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beb.errors import BadSpec, BebError, EstimateError
from beb.estimate.bands import mean_band
from beb.estimate.law_fit import Scale
from beb.estimate.laws import RANGES, UNITS, compare_laws
from beb.estimate.means import row_means
from beb.experiments.arrays import Floats, response_arrays
from beb.experiments.experiment import refuse_unfinished
from beb.experiments.laws.decay import decay_report
from beb.experiments.laws.record import CurveLaws, DecayReport, LawsRecord
from beb.experiments.registry import experiment_of
from beb.experiments.setting import AnySetting, Setting
from beb.experiments.spec import RunSpec
from beb.experiments.store import Store

NEGATIVE_LOG_LIKELIHOOD = "target's negative log-likelihood of P₋ text"


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One curve of a run: (n_prompts, k) over the lengths, NaN where a prompt has no value."""

    name: str
    scale: Scale
    lengths: tuple[int, ...]
    per_prompt: Floats


def laws(run: Path | str) -> LawsRecord:
    """Compare the logistic, the power law and the Bayesian law on a run's curves, by prompts that they have not seen.

    run: folder of a finished run that has scored prompts from P₋ or a behavior curve after them (measure, guardrail,
    best-of, ...). Nothing is sampled and no model is loaded.
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
    for curve in _curves(store):
        try:
            compared.append(_compare(curve, setting))
        except (BadSpec, EstimateError) as error:
            skipped.append(f"{curve.name}: {error}")
            refusals.append(error)
    if not compared:
        raise refusals[0] if refusals else _nothing(store)
    decay: DecayReport | None = None
    try:
        decay = decay_report(store, setting)
    except (BadSpec, EstimateError) as error:
        skipped.append(f"decay of the divergence: {error}")
    return LawsRecord(store.meta(), tuple(compared), decay, tuple(skipped), _notes(setting))


def _setting(store: Store) -> AnySetting:
    experiment = experiment_of(store)
    if not issubclass(experiment.spec, RunSpec):
        raise _nothing(store)
    refuse_unfinished(experiment, store)
    return Setting.of(store.meta(), experiment.spec)


def _nothing(store: Store) -> BadSpec:
    return BadSpec(
        f"{store.folder} is a run of {store.meta().get('experiment')!r} with no scored prompts from P₋ and no behavior "
        "curve after them, which the laws are fitted to; give a finished run of measure, guardrail or best-of"
    )


def _curves(store: Store) -> Iterator[Curve]:
    rows = store.rows("prompt_log_probs", source="negative", component="target")
    if rows:
        log_p = np.array([row["sentence_log_p"] for row in rows], dtype=np.float64)
        yield Curve(NEGATIVE_LOG_LIKELIHOOD, "nll", tuple(range(log_p.shape[1])), -log_p)
    scored = store.rows("response_scores", condition="negative")
    for name in sorted({str(row["format"]) for row in scored}, reverse=True):
        own = [row for row in scored if row["format"] == name]
        prompts, lengths = (sorted({int(row[key]) for row in own}) for key in ("prompt", "sentences"))
        found = response_arrays(
            store,
            name,
            "negative",
            prompts=np.array(prompts),
            lengths=lengths,
            n_responses=1 + max(int(row["response"]) for row in own),
        ).behavior
        per_prompt = row_means(found.reshape(-1, found.shape[2])).reshape(found.shape[:2])
        yield Curve(f"behavior, {name}", "behavior", tuple(lengths), per_prompt)


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
    return CurveLaws(curve.name, band, comparison, int((~whole).sum()))


def _notes(setting: AnySetting) -> tuple[str, ...]:
    if setting.confusion is None:
        return ()
    return ("behavior is as scored: a law of corrected values is the same law with other levels",)
