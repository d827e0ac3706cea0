"""From the rows of a probe to its numbers; no model is needed and nothing is fitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beb.core.estimate import Estimate
from beb.errors import EstimateError
from beb.estimate.cross_validation import accuracy_band, chance_p, nested_choice, pooled_accuracy
from beb.experiments.notes import model_notes
from beb.experiments.probe.record import LayerCurve, Misplaced, Picture, Probing
from beb.experiments.probe.spec import ProbeSpec
from beb.experiments.probe.subjects import POOLINGS, WORLD_SENTENCES
from beb.experiments.probe.work import stored_states
from beb.experiments.spec import derive_seed
from beb.experiments.store import Store

UNIT = "share of statements"
MOST_MISPLACED = 6
Tables = NDArray[np.float64]


def analyse_probe(store: Store) -> Probing:
    """Every number of a complete probe.

    Raises: EstimateError if rows are missing, for example because the run is not finished.
    """
    meta = store.meta()
    spec = ProbeSpec(**meta["spec"])
    curves, pictures = [], []
    for behavior in meta["statements"]:
        found = {pooling: _Judged.read(store, behavior, pooling, int(meta["layers"])) for pooling in POOLINGS}
        own = [_curve(behavior, pooling, judged, spec) for pooling, judged in found.items()]
        curves += own
        layer = own[0].best_layer if spec.layer is None else spec.layer
        pictures.append(_picture(store, behavior, POOLINGS[0], layer, found[POOLINGS[0]]))
    return Probing(
        meta=meta,
        curves=tuple(curves),
        pictures=tuple(pictures),
        counts={
            "behaviors": len(pictures),
            "statements": 2 * sum(meta["statements"].values()),
            "layers, embeddings included": int(meta["layers"]),
            "features of a layer": int(meta["width"]),
        },
        failures=dict(Counter(f"{row['subject']}: {row['kind']}" for row in store.rows("failures"))),
        notes=(*model_notes(meta), *_world_notes(spec)),
    )


def _world_notes(spec: ProbeSpec) -> tuple[str, ...]:
    if not spec.model.startswith("world:"):
        return ()
    return (
        f"statements are independent texts of {WORLD_SENTENCES} sentences from each component of an exact model; layer "
        "0 says which token was read, layer 1 what the model has concluded: the components' weights and the next token",
    )


class _Judged:
    """Decisions of one behavior and pooling as arrays: table (n_layers, n_folds, n), folds (n,), positive (n,)."""

    def __init__(self, table: Tables, folds: NDArray[np.int64], positive: NDArray[np.bool_]) -> None:
        self.table, self.folds, self.positive = table, folds, positive
        self.n_folds = table.shape[1]
        self.outer = table[:, folds, np.arange(len(folds))].T  # (n, n_layers)
        self.right = (self.outer > 0) == positive[:, None]
        self.inner_right = ((table > 0) == positive).transpose(1, 2, 0)  # (n_folds, n, n_layers)

    @classmethod
    def read(cls, store: Store, behavior: str, pooling: str, n_layers: int) -> _Judged:
        rows = store.rows("representation_decisions", behavior=behavior, pooling=pooling)
        if len(rows) != n_layers:
            raise EstimateError(
                f"{len(rows)} of {n_layers} layers of {behavior!r} have been classified; run the same command again"
            )
        table = np.stack([row["decisions"].reshape(row["n_folds"], -1) for row in rows])
        n = table.shape[2] // 2
        return cls(table, rows[0]["folds"].astype(np.int64), np.repeat([False, True], n))


def _curve(behavior: str, pooling: str, judged: _Judged, spec: ProbeSpec) -> LayerCurve:
    right, n_folds = judged.right.astype(np.float64), judged.n_folds
    band = accuracy_band(
        right, range(right.shape[1]), n_folds=n_folds, level=spec.level, unit=UNIT,
        rng=np.random.default_rng(derive_seed(spec.seed, "limits", behavior, pooling)),
    )  # fmt: skip
    best = int(np.argmax(band.value))
    chosen, nested = nested_choice(judged.inner_right, judged.right, judged.folds)
    together = Estimate(
        band.value[best], band.low[best], band.high[best], band.level, band.n, UNIT,
        f"{band.method}; the best of {len(band.value)} layers, limits that hold for all of them at once",
    )  # fmt: skip
    by_fold = np.stack([right[judged.folds == fold].mean(axis=0) for fold in range(n_folds)])
    return LayerCurve(
        behavior=behavior,
        pooling=pooling,
        accuracy=band,
        deviation=tuple(map(float, by_fold.std(axis=0, ddof=1))),
        best_layer=best,
        best=together,
        nested=pooled_accuracy(nested, n_folds=n_folds, level=spec.level, unit=UNIT),
        chosen_layers=tuple(map(int, chosen)),
        chance_p=chance_p(right, n_folds=n_folds),
    )


def _picture(store: Store, behavior: str, pooling: str, layer: int, judged: _Judged) -> Picture:
    """Principal components of the standardised states of one layer, the positive pole to the right and above."""
    states, positive, texts = stored_states(store, behavior, pooling)
    centred = states[:, layer].astype(np.float64)
    centred -= centred.mean(axis=0)
    scale = centred.std(axis=0)
    centred = np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 1e-9) / np.sqrt(centred.shape[1])
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    total = float((size**2).sum())
    points = left[:, :2] * size[:2]
    points *= np.where(points[positive].mean(axis=0) < points[~positive].mean(axis=0), -1.0, 1.0)
    shares = size[:2] ** 2 / total if total > 0 else np.zeros(2)
    return Picture(
        behavior,
        pooling,
        layer,
        (float(shares[0]), float(shares[1])),
        _pairs(points[~positive]),
        _pairs(points[positive]),
        _misplaced(judged, layer, texts),
    )


def _pairs(points: Tables) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


def _misplaced(judged: _Judged, layer: int, texts: Sequence[str]) -> tuple[Misplaced, ...]:
    """The statements farthest on the wrong side."""
    margin = judged.outer[:, layer] * np.where(judged.positive, 1.0, -1.0)
    worst = [i for i in np.argsort(margin, kind="stable") if not judged.right[i, layer]][:MOST_MISPLACED]
    return tuple(
        Misplaced("positive" if judged.positive[i] else "negative", texts[i], float(-margin[i])) for i in worst
    )
