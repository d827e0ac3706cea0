"""From the rows of a run to its numbers; no model is needed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from beb.core.estimate import Estimate
from beb.errors import EstimateError
from beb.estimate.bands import mean_band
from beb.estimate.curves import LogisticFit, fit_logistic
from beb.estimate.distinguishability import largest, smallest
from beb.estimate.means import proportion
from beb.estimate.power import prompts_to_halve
from beb.estimate.prior import cap, line_reading, plateau
from beb.estimate.similarity import sigma_squared, variance_band, variance_trend
from beb.experiments.arrays import PromptArrays, prompt_arrays
from beb.experiments.behavior_curves import CurveWithRows, behavior_curves, component_curve
from beb.experiments.measurement import AlphaReadings, Gate, Measurement
from beb.experiments.predictions import BoundInputs, assumptions, bound_reports, predictions
from beb.experiments.spec import MeasureSpec, derive_seed
from beb.experiments.store import Store

GATE_THRESHOLD = 0.8
NATS_PER_SENTENCE = "nats per sentence"


def gate(store: Store) -> Gate:
    """How well the sign of log P₋/P₊, less a threshold, classifies the held-out statements.

    The threshold is 0, or the midpoint of the poles' medians on training statements where those were scored (a
    component that was not fitted on a pole has no reason to be balanced against the other).
    Source: Wolf et al. 2024, Table 1.
    """
    spec = MeasureSpec(**store.meta()["spec"])
    ratios: dict[tuple[str, str], list[float]] = {}
    for row in store.rows("statements"):
        ratio = row["log_p_negative"] - row["log_p_positive"]
        ratios.setdefault((row["split"], row["pole"]), []).append(ratio)
    threshold = 0.0
    if ("train", "negative") in ratios:
        threshold = float(np.mean([np.median(ratios["train", pole]) for pole in ("negative", "positive")]))
    held_out = {pole: np.array(ratios["held-out", pole]) for pole in ("negative", "positive")}
    right = int((held_out["negative"] > threshold).sum() + (held_out["positive"] <= threshold).sum())
    total = sum(len(values) for values in held_out.values())
    accuracy = proportion(right, total, level=spec.level, unit="share of statements")
    return Gate(accuracy, GATE_THRESHOLD, accuracy.value >= GATE_THRESHOLD)


def analyse(store: Store) -> Measurement:
    """Every number of a complete run.

    Raises: EstimateError kinds if prompts are missing, for example because the run is not finished.
    """
    meta = store.meta()
    spec = MeasureSpec(**meta["spec"])
    negative = prompt_arrays(store, "negative", spec.sentences)
    positive = prompt_arrays(store, "positive", spec.sentences)
    confusion = meta["fingerprints"]["scorer"]["confusion"]
    n_after = list(range(1, spec.sentences + 1))
    n_before = list(range(spec.sentences))

    def rng(name: str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(spec.seed, "bootstrap", name))

    def divergence(name: str, values: Any, bounds: tuple[float, float] | None) -> Any:
        return mean_band(
            values, n_before, level=spec.level, rng=rng(name), unit=NATS_PER_SENTENCE, name=name, bounds=bounds
        )

    # A Monte Carlo divergence of one prompt may be negative; an exact one cannot.
    limits = (0.0, np.inf) if spec.kl == "exact" else None
    beta_curve = divergence("beta", negative.kl["positive"], limits)
    beta_prime_curve = divergence("beta_prime", positive.kl["negative"], limits)
    kl_to_target = divergence("KL to target", negative.kl["target"], limits)
    log_ratio = np.cumsum(negative.log_p["negative"] - negative.log_p["positive"], axis=1)
    log_ratio_positive = np.cumsum(positive.log_p["negative"] - positive.log_p["positive"], axis=1)
    evidence = np.cumsum(negative.log_p["negative"] - negative.log_p["target"], axis=1)
    sigma2_curve = variance_band(log_ratio, n_after, level=spec.level, rng=rng("sigma2"))
    sigma2_positive_curve = variance_band(log_ratio_positive, n_after, level=spec.level, rng=rng("sigma2+"))
    rest = plateau(evidence, n_after, level=spec.level, log_ratio=log_ratio, rng=rng("evidence"))
    components = tuple(
        component_curve(arrays, name, n_before, spec, confusion, rng)
        for name, arrays in (("P₋ itself", negative), ("P₊ itself", positive))
    )
    curves = behavior_curves(store, spec, meta["formats"], negative, positive, confusion, rng)
    alpha = AlphaReadings(
        cap=cap(evidence, n_after),
        plateau=rest,
        line=line_reading(negative.kl["target"], level=spec.level),
        behavior=_logistic_fits(curves, components[0], spec, rng),
    )
    own = components[0].curve
    gamma = largest(own.corrected or own.raw, name="gamma, over tested prompts")
    key = {
        "beta": smallest(beta_curve, name="beta"),
        "beta_prime": largest(beta_prime_curve, name="beta_prime"),
        "sigma2": sigma_squared(sigma2_curve),
        "gamma": gamma,
        "log 1/alpha (plateau)": rest.log_inverse_alpha,
        "log 1/alpha (line)": alpha.line.log_inverse_alpha,
    }
    trend = variance_trend(log_ratio, n_after, level=spec.level, rng=rng("trend"))
    stated = assumptions(key["beta"], rest, trend, gamma, spec)
    widest = _widest(key)
    return Measurement(
        meta=meta,
        gate=gate(store),
        beta=key["beta"],
        beta_curve=beta_curve,
        beta_prime=key["beta_prime"],
        beta_prime_curve=beta_prime_curve,
        beta_prime_top=largest(beta_curve, name="beta_prime as the top of the P₋ curve"),
        sigma2=key["sigma2"],
        sigma2_curve=sigma2_curve,
        sigma2_positive=sigma_squared(sigma2_positive_curve),
        sigma2_positive_curve=sigma2_positive_curve,
        evidence_curve=rest.effective_log_inverse_weight,
        kl_to_target_curve=kl_to_target,
        alpha=alpha,
        gamma=gamma,
        gamma_uncorrected=largest(own.raw, name="gamma uncorrected, over tested prompts"),
        components=tuple(each.curve for each in components),
        behavior=tuple(each.curve for each in curves),
        predictions=predictions(alpha, log_ratio, components[0], curves, spec, rng),
        bounds=bound_reports(
            BoundInputs(
                negative.kl["positive"], negative.kl["target"], evidence, log_ratio, negative.predicted, negative.behavior
            ),
            alpha, confusion, tuple(each.curve for each in curves), stated, spec, rng,
        ),
        assumptions=tuple(stated.values()),
        widest=widest,
        prompts_to_halve=prompts_to_halve(key[widest]),
        counts=_counts(store, negative, positive),
        failures=dict(Counter(f"{row['subject']}: {row['kind']}" for row in store.rows("failures"))),
        notes=_notes(meta, spec),
    )


def _logistic_fits(
    curves: tuple[CurveWithRows, ...], negative_itself: CurveWithRows, spec: MeasureSpec, rng: Any
) -> dict[str, LogisticFit]:
    """The logistic law of each format's curve for prompts from P₋; its lower level is the measured B of P₋ itself."""
    fits = {}
    own = np.nanmean(negative_itself.per_prompt, axis=1)
    for rows in curves:
        if rows.curve.condition == "negative":
            name = rows.curve.format
            lengths = list(rows.curve.raw.lengths)
            known = rows.per_prompt[~np.isnan(rows.per_prompt).any(axis=1)]
            fits[name] = fit_logistic(
                known, lengths, low=own[~np.isnan(own)], level=spec.level, rng=rng(f"logistic {name}")
            )
    return fits


def _widest(key: dict[str, Estimate]) -> str:
    """The key figure whose finite interval is widest for its size."""
    widths = {
        name: e.width / max(abs(e.value), 1e-9)
        for name, e in key.items()
        if np.isfinite(e.width) and e.width > 0 and abs(e.value) > 0
    }
    if not widths:
        raise EstimateError("no key figure has a finite interval; raise --prompts")
    return max(widths, key=lambda name: widths[name])


def _counts(store: Store, negative: PromptArrays, positive: PromptArrays) -> dict[str, int]:
    prompts = store.rows("prompts")
    responses = store.rows("responses")
    return {
        "prompts from P₋": len(negative.prompts),
        "prompts from P₊": len(positive.prompts),
        "sampled prompt tokens": sum(len(row["token_ids"]) for row in prompts),
        "sentences cut at the token limit": sum(row["n_cut"] for row in prompts),
        "responses": len(responses),
        "sampled response tokens": sum(len(row["token_ids"]) for row in responses),
        "responses cut at the token limit": sum(row["n_cut"] for row in responses),
        "empty responses": sum(not row["text"].strip() for row in responses),
    }


def _notes(meta: dict[str, Any], spec: MeasureSpec) -> tuple[str, ...]:
    notes = []
    dropped = [name for name in spec.formats if name not in meta["formats"]]
    if dropped:
        notes.append(f"no {', '.join(dropped)} format: the target has no chat template")
    contexts = {name: meta["fingerprints"][name].get("context", "") for name in ("negative", "positive", "target")}
    if len({text for text in contexts.values() if text}) > 1:
        told = "; ".join(f"{name}: {text}" for name, text in contexts.items() if text)
        notes.append(f"the components read the text in different contexts, which the log ratios include ({told})")
    if spec.kl == "monte-carlo":
        notes.append("divergences are mean log ratios of the sampled sentences (Monte Carlo), not exact")
    return tuple(notes)
