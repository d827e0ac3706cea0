"""Arithmetic on logarithms of probabilities, in nats, without loss where the plain numbers under- or overflow."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from beb.errors import BadSpec

Floats = npt.NDArray[np.float64]


def floats(name: str, values: npt.ArrayLike) -> Floats:
    """`values` as float64.

    Raises: BadSpec if one of them is NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    if np.isnan(array).any():
        raise BadSpec(f"{name} holds {int(np.isnan(array).sum())} NaN of {array.size}; numbers or ±inf are accepted")
    return array


def log1mexp(log_p: npt.ArrayLike) -> Floats:
    """log(1 − p) from log p.

    log_p: any shape, ≤ 0, nats. Returns: the same shape; −inf where p = 1.
    Raises: BadSpec if log_p > 0 or NaN.
    Source: Mächler 2012, "Accurately computing log(1 − exp(−|a|))", eq. 7.
    """
    log_p = floats("log_p", log_p)
    if (log_p > 0).any():
        raise BadSpec(f"log_p reaches {log_p.max():.6g}; the logarithm of a probability is at most 0")
    with np.errstate(divide="ignore"):  # log 0 = −inf is the answer where p = 1
        near_one = np.log(-np.expm1(np.maximum(log_p, -math.log(2))))
        near_zero = np.log1p(-np.exp(np.minimum(log_p, -math.log(2))))
    return np.where(log_p > -math.log(2), near_one, near_zero)


def log_odds(log_inverse_alpha: float) -> float:
    """log α/(1−α) from log 1/α.

    log_inverse_alpha: ≥ 0, nats; inf means α = 0. Returns: nats; +inf where α = 1, −inf where α = 0.
    Raises: BadSpec if log_inverse_alpha < 0 or NaN.
    """
    if not log_inverse_alpha >= 0:
        raise BadSpec(f"log_inverse_alpha is {log_inverse_alpha:g}; accepted: 0 or more (log 1/α, nats)")
    if log_inverse_alpha == 0:
        return math.inf
    if log_inverse_alpha < math.log(2):  # log(e^x − 1) keeps α near 1 apart from 1
        return -math.log(math.expm1(log_inverse_alpha))
    return -(log_inverse_alpha + math.log1p(-math.exp(-log_inverse_alpha)))
