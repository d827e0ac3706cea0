"""A synthetic Measurement and its store, with hostile texts wherever a foreign string can appear."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from beb.core.bounds import Assumption, assess, propagate, random_prompt, single_prompt
from beb.core.estimate import Band, Estimate
from beb.estimate.curves import LogisticFit
from beb.estimate.mixture_limits import MixtureLimits
from beb.estimate.prior import LineReading, Plateau
from beb.experiments import schema
from beb.experiments.gate import Gate
from beb.experiments.measurement import AlphaReadings, BehaviorCurve, BoundReport, Measurement, Prediction
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store

HOSTILE = (
    "</script></details><script>alert('pwned')</script>",
    "<img src=https://evil.example/x.png onerror=alert(1)><iframe src=//evil.example></iframe>",
    "\u202edesrever\u202c and \u2066isolated\u2069, zero\u200bwidth, "
    "\x1b[31mred\x1b[0m, bell \x07, null \x00, \ud800 lone",
    "{{ 7 * 7 }} {% raw %} [bold red]markup[/bold red] &amp; &lt; ]]> <!-- --> <plaintext> <style>*{display:none}",
    "Z" + "\u0300\u0301\u0302\u0303" * 40 + "algo",
    "long " * 2000,
    "",
    "שלום, עולם. مرحبا",
)
N = 6
PROMPTS = 32
SPEC = MeasureSpec(prompts=PROMPTS, sentences=N)


def estimate(value: float, half: float, unit: str = "nats", **changes: Any) -> Estimate:
    return dataclasses.replace(Estimate(value, value - half, value + half, 0.95, PROMPTS, unit, "t"), **changes)


def band(values: list[float], half: float, first: int = 0, limits: tuple[float, float] = (-math.inf, math.inf)) -> Band:
    def clipped(shift: float) -> tuple[float, ...]:
        return tuple(min(max(v + shift, limits[0]), limits[1]) for v in values)

    return Band(
        tuple(range(first, first + len(values))), tuple(values), clipped(-half), clipped(half), clipped(-1.5 * half),
        clipped(1.5 * half), 0.95, PROMPTS, "nats per sentence", "bootstrap",
    )  # fmt: skip


def curve(name: str, condition: str, values: list[float], *, corrected: bool = True) -> BehaviorCurve:
    raw = band(values, 0.15, limits=(-1.0, 1.0))
    better = band([1.1 * v for v in values], 0.2, limits=(-1.2, 1.2)) if corrected else None
    return BehaviorCurve(name, condition, raw, better, PROMPTS * len(values), 1, raw.low, raw.high)


BETA = estimate(5.73, 0.62, "nats per sentence")
LOG_INVERSE_ALPHA = estimate(11.2, 1.9)
GAMMA = estimate(-0.61, 0.09, "behavior expectation")
SIGMA2 = estimate(21.4, 7.7, "nats² per sentence")
EVIDENCE = band([4.0, 7.1, 9.0, 10.4, 11.6, 12.8], 1.2, first=1)
FALLING = [0.7, 0.4, -0.1, -0.5, -0.7, -0.75, -0.8]
STEADY = [0.7, 0.72, 0.69, 0.71, 0.66, 0.7, 0.68]


def make_measurement(**changes: Any) -> Measurement:
    """Every field filled; keyword arguments replace fields."""
    premises = tuple(
        assess(name, status, f"figure of {name} {HOSTILE[0]}")
        for name, status in (
            ("mixture", "contradicted"), ("distinguishable", "held"), ("bounded behavior", "not measured"),
            ("similar under P₋", "held"),
        )
    )  # fmt: skip
    fields: dict[str, Any] = {
        "meta": make_meta(),
        "gate": Gate(Estimate(0.93, 0.86, 0.97, 0.95, 80, "share of statements", "Wilson"), 0.8, True),
        "beta": BETA,
        "beta_curve": band([9.1, 7.2, 6.4, 5.9, 5.73, 5.8], 0.6),
        "beta_prime": estimate(12.1, 1.4, "nats per sentence"),
        "beta_prime_curve": band([12.1, 9.0, 8.4, 8.1, 7.7, 7.9], 1.1),
        "beta_prime_top": estimate(9.1, 0.9, "nats per sentence"),
        "sigma2": SIGMA2,
        "sigma2_curve": band([20.0, 21.4, 20.2, 19.9, 18.2, 18.0], 6.0, first=1),
        "sigma2_positive": estimate(30.3, 8.8, "nats² per sentence"),
        "sigma2_positive_curve": band([30.0, 30.3, 27.0, 26.0, 25.0, 24.0], 7.0, first=1),
        "evidence_curve": EVIDENCE,
        "kl_to_target_curve": band([4.0, 3.1, 1.9, 1.4, 1.2, 1.2], 0.5),
        "alpha": make_alpha(),
        "gamma": GAMMA,
        "gamma_uncorrected": estimate(-0.55, 0.08, "behavior expectation"),
        "components": (curve("plain", "P₋ itself", [-0.8] * N), curve("plain", "P₊ itself", [0.9] * N)),
        "behavior": tuple(
            curve(name, condition, FALLING if condition == "negative" else STEADY)
            for name in ("plain", "chat")
            for condition in ("negative", "positive", "shuffled")
        ),
        "predictions": (Prediction("evidence plateau", LOG_INVERSE_ALPHA, band(FALLING, 0.2, limits=(-1.0, 1.0))),),
        "bounds": make_bounds(premises),
        "converse": (),
        "assumptions": premises,
        "widest": "sigma2",
        "prompts_to_halve": 118,
        "unlimited": ("the midpoint in chat",),
        "counts": {"prompts from P₋": PROMPTS, "responses": 1344, HOSTILE[1]: 7},
        "failures": {f"response: {HOSTILE[0]}": 2},
        "notes": (HOSTILE[2], HOSTILE[3]),
    }
    return Measurement(**(fields | changes))


def make_alpha() -> AlphaReadings:
    """A contradicted mixture, a line without ratio, a logistic fit with a midpoint and one without."""
    midpoint, slope = estimate(2.31, 0.42, "sentences"), estimate(1.37, 0.33, "nats per sentence")
    fit = LogisticFit(midpoint, slope, -0.8, 0.7, tuple(FALLING), True, "")
    nowhere = Estimate(math.inf, 4.0, math.inf, 0.95, PROMPTS, "sentences", "logistic")
    kappa = estimate(1.21, 0.31, "nats per sentence")
    return AlphaReadings(
        cap=tuple(Estimate(c, c, math.inf, 1.0, PROMPTS, "nats", "cap") for c in (6.0, 9.0, 12.0, 15.0, 16.0, 16.5)),
        plateau=Plateau(LOG_INVERSE_ALPHA, kappa, 4, EVIDENCE, None, "mixture contradicted"),
        line=LineReading(estimate(4.05, 0.6), estimate(1.05, 0.4, "nats per sentence"), None),
        behavior={"plain": fit, "chat": dataclasses.replace(fit, midpoint=nowhere, note="not fallen")},
        limits=MixtureLimits(16.5, math.inf, 0, PROMPTS, refuted=False),
    )


def make_bounds(premises: tuple[Assumption, ...]) -> tuple[BoundReport, ...]:
    """Theorems 1 and 5 from the figures above."""
    inputs = {"log_inverse_alpha": LOG_INVERSE_ALPHA, "beta": BETA, "gamma": GAMMA}
    propagated = (
        propagate(single_prompt, inputs, {"epsilon": 0.2}),
        propagate(random_prompt, {**inputs, "sigma2": SIGMA2}, {"epsilon": 0.2, "delta": 0.1}),
    )
    return tuple(BoundReport("evidence plateau", each, premises, {"plain": 3, "chat": None}) for each in propagated)


def make_meta() -> dict[str, Any]:
    """Meta as a run stores it, with a hostile model name and fingerprints."""
    models = {
        role: {"name": HOSTILE[0], "kind": "lora", "fingerprint": "f" * 64, "context": HOSTILE[2], "dtype": "float32"}
        for role in ("target", "negative", "positive")
    }
    scorer = {
        "name": HOSTILE[3], "kind": "probe", "fingerprint": "0" * 64, "exact": False,
        "confusion": [[35, 3, 2], [4, 33, 3], [1, 2, 37]], "brier": 0.181, "calibration_error": 0.042,
    }  # fmt: skip
    return {
        "experiment": "measure",
        "spec": SPEC.model_copy(update={"model": HOSTILE[0]}).model_dump(mode="json"),
        "formats": ["plain", "chat"],
        "fingerprints": {**models, "scorer": scorer, "behavior": {"name": HOSTILE[1], "source": "file"}},
        "versions": {"python": "3.11.7", "torch": HOSTILE[3]},
    }


def fill_store(folder: Path) -> None:
    """A run folder with prompts, responses, scores and failures made of the hostile texts."""
    # A lone surrogate cannot be stored as UTF-8; everything else can.
    texts = [text.replace("\ud800", "") for text in HOSTILE]
    score = {"p_negative": 0.7, "p_neutral": 0.2, "p_positive": 0.1}
    blob = {
        "seed": "1",
        "token_ids": schema.pack("token_ids", [1, 2]),
        "log_probs": schema.pack("log_probs", [-1.0, -2.0]),
        "n_cut": 0,
    }
    ends = schema.pack("sentence_ends", np.array([2]))
    meta = make_meta()
    with Store.open(folder, meta) as store:
        prompts = [
            {"source": source, "prompt": i, **blob, "sentence_ends": ends, "text": texts[(i + offset) % len(texts)]}
            for offset, source in enumerate(("negative", "positive"))
            for i in range(3)
        ]
        store.commit("sample", "sample", {"prompts": prompts}, 1.25)
        keys = [
            {"format": name, "condition": condition, "prompt": 0, "sentences": n, "response": 0}
            for name in ("plain", "chat")
            for condition in ("negative", "positive", "shuffled")
            for n in range(condition != "negative", N + 1)
        ]
        rows = [{**key, **blob, "text": texts[i % len(texts)]} for i, key in enumerate(keys)]
        store.commit("respond", "respond", {"responses": rows}, 61.0)
        store.commit("judge", "judge-responses", {"response_scores": [{**key, **score} for key in keys]}, 3.5)
        failures = [{"position": i, "subject": "response", "kind": texts[0], "detail": texts[3]} for i in range(2)]
        store.commit("failed", texts[1], {"failures": failures}, 0.1)
