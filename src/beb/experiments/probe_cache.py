"""Fitted probes, kept so that the second run of a behavior does not embed its statements again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from beb.behaviors.behavior import Behavior
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
    with cache_writes(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".part-") as folder:
            part = Path(folder) / path.name
            np.savez(part, **scorer.to_arrays())  # type: ignore[arg-type]
            part.replace(path)
    return scorer
