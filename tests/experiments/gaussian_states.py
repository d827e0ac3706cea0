"""Synthetic hidden states whose classifiers' true accuracies are known: two normal classes in every layer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from beb.experiments.experiment import run_with_subjects
from beb.experiments.probe.classify import fit_separator
from beb.experiments.probe.experiment import PROBE
from beb.experiments.probe.record import Probing
from beb.experiments.probe.spec import ProbeSpec
from beb.experiments.probe.subjects import ProbeSubjects
from beb.experiments.probe.work import stored_states
from beb.experiments.spec import derive_seed
from beb.experiments.store import Store
from run_coverage import Verdict, Verdicts, run_folder, verdict

NAME = "gaussian"
BAYES = (0.5, 0.7, 0.9, 0.9)


class GaussianStates:
    """Layer l of a text of pole ±1 is N(±μₗ u, I), u the diagonal, half of its noise shared by layers: Bayes is Φ(μₗ).

    last: Bayes accuracies as given. mean: nothing but noise in any layer.
    """

    def __init__(self, seed: int, *, width: int, bayes: Sequence[float] = BAYES) -> None:
        self.n_layers, self.width = len(bayes), width
        self.centres = np.repeat(norm.ppf(bayes)[:, None] / np.sqrt(width), width, axis=1)
        self._seed = seed

    def __call__(self, texts: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        noise = np.stack([self._noise(text) for text in texts])
        sign = np.array([1.0 if text.startswith("good") else -1.0 for text in texts])
        last = noise[:, 0] + sign[:, None, None] * self.centres
        return {"last": last.astype(np.float32), "mean": noise[:, 1].astype(np.float32)}

    def _noise(self, text: str) -> NDArray[np.float64]:
        key = hashlib.sha256(f"{self._seed}/{text}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(key[:8], "little"))
        shared, own = rng.standard_normal((2, 1, self.width)), rng.standard_normal((2, self.n_layers, self.width))
        return np.sqrt(0.5) * (shared + own)


def subjects_of(states: GaussianStates, n: int) -> ProbeSubjects:
    """n statements of each pole that share no words but the first."""
    statements = {
        pole: tuple(f"{word} {word}-a{i} {word}-b{i} {word}-c{i}." for i in range(n))
        for pole, word in (("negative", "bad"), ("positive", "good"))
    }
    fingerprints = {"target": {"name": NAME}, "behavior": {"name": NAME}}
    return ProbeSubjects(states, {NAME: statements}, fingerprints)


def run_probe(folder: Path, seed: int, *, n: int, width: int, bayes: Sequence[float] = BAYES) -> Probing:
    """The whole experiment on synthetic states."""
    spec = ProbeSpec(model=NAME, behaviors=(NAME,), statements=n, seed=seed)
    return run_with_subjects(PROBE, spec, subjects_of(GaussianStates(seed, width=width, bayes=bayes), n), folder)


def true_accuracies(store: Store, states: GaussianStates) -> NDArray[np.float64]:
    """(n_folds, n_layers) accuracy on new texts of each classifier of the last token's states, in closed form."""
    features, positive, _ = stored_states(store, NAME, "last")
    row = store.rows("representation_decisions", pooling="last", layer=0)[0]
    seed = derive_seed(store.meta()["spec"]["seed"], "probe", NAME, "solver") % 2**31
    truth = np.empty((row["n_folds"], states.n_layers))
    for fold in range(row["n_folds"]):
        kept = row["folds"] != fold
        for layer in range(states.n_layers):
            found = fit_separator(features[kept, layer].astype(np.float64), positive[kept], seed=seed)
            size, along = np.linalg.norm(found.weights), float(found.weights @ states.centres[layer])
            truth[fold, layer] = norm.cdf([(along + found.bias) / size, (along - found.bias) / size]).mean()
    return truth


class Probed(NamedTuple):
    """The verdicts, and by how much the best layer's accuracy and the nested one are above their truth."""

    verdicts: Verdicts
    picked_error: float
    nested_error: float


def probed(seed: int) -> Probed:
    """A probe of 50 statements of each pole, judged."""
    with run_folder() as folder:
        signal, noise = run_probe(folder, seed, n=50, width=40).curves
        with Store.read(folder) as store:
            truth = true_accuracies(store, GaussianStates(seed, width=40))
    mean, band, best = truth.mean(axis=0), signal.accuracy, signal.best_layer
    nested = truth[np.arange(len(truth)), list(signal.chosen_layers)].mean()
    last = len(BAYES) - 1
    held = {
        "one layer": bool(band.pointwise_low[last] <= mean[last] <= band.pointwise_high[last]),
        "not above Bayes": bool(signal.best.low <= BAYES[best]),
        "no signal, no finding": not noise.above_chance,
        "no signal, p": noise.chance_p > 0.05,
    }
    shown = {"all layers": verdict(band, mean), "best layer": verdict(signal.best, mean[best])}
    shown |= {"nested": verdict(signal.nested, nested)} | {name: Verdict(each, 0.0) for name, each in held.items()}
    return Probed(shown, signal.best.value - mean[best], signal.nested.value - nested)
