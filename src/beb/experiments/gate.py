"""The gate: are the components fit to be interpreted?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from beb.core.estimate import Estimate
from beb.errors import EstimateError
from beb.estimate.means import proportion
from beb.experiments.store import Store

GATE_THRESHOLD = 0.8


@dataclass(frozen=True, slots=True)
class Gate:
    """Does the pair of components tell held-out statements of the two poles apart?

    accuracy: share classified right by the sign of log P₋/P₊, Wilson interval. passed: value >= threshold.
    """

    accuracy: Estimate
    threshold: float
    passed: bool


def gate(store: Store) -> Gate:
    """How well the sign of log P₋/P₊, less a threshold, classifies the held-out statements.

    The threshold is 0, or the midpoint of the poles' medians on training statements where those were scored (a
    component that was not fitted on a pole has no reason to be balanced against the other).
    Source: Wolf et al. 2024, Table 1.
    """
    level = float(store.meta()["spec"]["level"])
    ratios: dict[tuple[str, str], list[float]] = {}
    for row in store.rows("statements"):
        ratio = row["log_p_negative"] - row["log_p_positive"]
        ratios.setdefault((row["split"], row["pole"]), []).append(ratio)
    missing = [pole for pole in ("negative", "positive") for split in {s for s, _ in ratios} | {"held-out"}
               if (split, pole) not in ratios]  # fmt: skip
    if missing:
        raise EstimateError(
            f"no {missing[0]} statement could be scored, so the gate cannot be judged; see the failures"
        )
    threshold = 0.0
    if ("train", "negative") in ratios:
        threshold = float(np.mean([np.median(ratios["train", pole]) for pole in ("negative", "positive")]))
    held_out = {pole: np.array(ratios["held-out", pole]) for pole in ("negative", "positive")}
    right = int((held_out["negative"] > threshold).sum() + (held_out["positive"] <= threshold).sum())
    total = sum(len(values) for values in held_out.values())
    accuracy = proportion(right, total, level=level, unit="share of statements")
    return Gate(accuracy, GATE_THRESHOLD, accuracy.value >= GATE_THRESHOLD)
