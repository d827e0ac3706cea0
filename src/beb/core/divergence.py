"""Divergences between discrete distributions, in nats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from beb.core.logspace import Floats, floats
from beb.errors import BadSpec


def kl_divergence(log_p: npt.ArrayLike, log_q: npt.ArrayLike) -> Floats:
    """KL(p ‖ q) = Σ p log(p/q) over the last axis.

    log_p, log_q: (..., n_outcomes), normalised log-probabilities, nats; shapes broadcast.
    Returns: (...), nats, ≥ 0; inf where p is possible and q is not. An outcome with p = 0 adds 0.
    Raises: BadSpec on NaN or distributions that do not sum to 1 within 1e-6.
    """
    probability, ratio = _weighted_log_ratio(log_p, log_q)
    divergence = (probability * ratio).sum(axis=-1)
    return np.asarray(np.maximum(divergence, 0.0), dtype=np.float64)  # rounding can leave −1e-17


def log_ratio_variance(log_p: npt.ArrayLike, log_q: npt.ArrayLike) -> Floats:
    """Var_p[log p/q] over the last axis: what one sentence adds to the variance of Definition 4.

    log_p, log_q: as in kl_divergence. Returns: (...), nats², ≥ 0; inf where the divergence is.
    Raises: BadSpec as kl_divergence.
    Source: Wolf et al. 2024, Definition 4.
    """
    probability, ratio = _weighted_log_ratio(log_p, log_q)
    possible = np.asarray(np.isfinite(ratio).all(axis=-1, keepdims=True))
    finite = np.where(possible, ratio, 0.0)
    mean = (probability * finite).sum(axis=-1, keepdims=True)
    variance = (probability * (finite - mean) ** 2).sum(axis=-1)
    return np.where(possible[..., 0], variance, np.inf)


def _weighted_log_ratio(log_p: npt.ArrayLike, log_q: npt.ArrayLike) -> tuple[Floats, Floats]:
    """p and log p/q, the latter 0 where p = 0: such outcomes carry no weight."""
    log_p, log_q = np.broadcast_arrays(_distribution("log_p", log_p), _distribution("log_q", log_q))
    impossible = np.isneginf(log_p)
    ratio = np.where(impossible, 0.0, np.where(impossible, 0.0, log_p) - np.where(impossible, 0.0, log_q))
    return np.exp(log_p), ratio


def _distribution(name: str, log_probs: npt.ArrayLike) -> Floats:
    log_probs = floats(name, log_probs)
    total = np.asarray(logsumexp(log_probs, axis=-1))
    if not (np.abs(total) < 1e-6).all():
        worst = total.flat[int(np.abs(total).argmax())]
        raise BadSpec(f"{name} sums to {np.exp(worst):.9g}; accepted: 1 within 1e-6 over the last axis")
    return log_probs
