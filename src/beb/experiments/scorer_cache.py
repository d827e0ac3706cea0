"""What scorers are fitted on, kept: a second run does not compute it again, and one that goes on has the very same."""

from __future__ import annotations

import hashlib
import importlib.metadata
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.behaviors.behavior import Behavior, Statements
from beb.behaviors.evaluation import labelled_statements
from beb.behaviors.likelihood import LikelihoodRatioScorer, LogRatio, fit_likelihood_ratio
from beb.behaviors.packs import background_fragments
from beb.behaviors.probe import FORMAT, Embedder, ProbeScorer, fit_probe
from beb.errors import ModelError
from beb.models.cachedir import cache_writes


def cached_probe(behavior: Behavior, embed: Embedder, *, seed: int, cache: Path) -> ProbeScorer:
    """The behavior's probe, from `cache` if everything that determines it is the same; a damaged file is replaced.

    Numeric arrays only: pickle is never loaded.
    """
    version = importlib.metadata.version("scikit-learn")
    parts = (str(FORMAT), behavior.fingerprint, embed.fingerprint, str(seed), version, *background_fragments())
    key = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
    path = cache / f"probe-{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return ProbeScorer.from_arrays({name: arrays[name] for name in arrays.files}, embed)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, ModelError):
        scorer = fit_probe(behavior, embed, seed=seed)
    _keep(path, scorer.to_arrays())
    return scorer


def cached_likelihood(behavior: Statements, log_ratio: LogRatio, *, seed: int, cache: Path) -> LikelihoodRatioScorer:
    """As `fit_likelihood_ratio`, with the statements' log ratios from `cache` if they have been computed.

    Computed again on another number of threads they differ in the tenth digit, and so would the scorer's errors.
    """
    texts, _ = labelled_statements(behavior)
    key = hashlib.sha256("\x1f".join((log_ratio.fingerprint, *texts)).encode()).hexdigest()[:32]
    path = cache / f"log-ratios-{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ratios = np.asarray(arrays["log_ratios"], dtype=np.float64)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        ratios = np.array([])
    if ratios.shape != (len(texts),):
        ratios = log_ratio(texts)
        _keep(path, {"log_ratios": ratios})
    return fit_likelihood_ratio(behavior, _Known(log_ratio, tuple(texts), ratios), seed=seed)


class _Known:
    """A log ratio that knows the answer for one list of texts."""

    def __init__(self, log_ratio: LogRatio, texts: tuple[str, ...], ratios: NDArray[np.float64]) -> None:
        self._log_ratio, self._texts, self._ratios = log_ratio, texts, ratios
        self.fingerprint = log_ratio.fingerprint

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n,) nats."""
        return self._ratios if tuple(texts) == self._texts else self._log_ratio(texts)


def _keep(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    cache = path.parent
    with cache_writes(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".part-") as folder:
            part = Path(folder) / path.name
            np.savez(part, **arrays)  # type: ignore[arg-type]
            part.replace(path)
