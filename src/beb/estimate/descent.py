"""Least-squares fits of many curves at once: damped Gauss-Newton steps projected on limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from beb.estimate.checks import Array

GAIN, STUCK = 1e-13, 1e6
LEAST_DAMPING, MOST_DAMPING = 1e-10, 1e10


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """The curves of a law at fixed lengths.

    curve: θ (d, p) -> (d, k). jacobian: θ (d, p) -> (d, k, p). lower, upper: (p,) limits of θ. free: (p,) False where a
    parameter is given and stays. largest_step: of any parameter at once.
    """

    curve: Callable[[Array], Array]
    jacobian: Callable[[Array], Array]
    lower: Array
    upper: Array
    free: np.ndarray
    largest_step: float


def descend(family: Family, observed: Array, weights: Array, theta: Array, *, n_steps: int) -> tuple[Array, Array]:
    """θ (d, p) where the steps come to rest, and the losses (d,) Σ weights (observed − curve)² there.

    observed, weights: (d, k), the weights scaled so that a loss of `GAIN` is nothing. theta: (d, p) where they begin.
    """
    root = np.sqrt(weights)

    def residuals(points: Array) -> Array:
        return np.asarray(root * (observed - family.curve(points)))

    theta = np.where(family.free, np.clip(theta, family.lower, family.upper), theta)
    residual = residuals(theta)
    loss, damping = np.square(residual).sum(axis=1), np.full(theta.shape[0], 1e-3)
    identity = np.eye(theta.shape[1])
    for _ in range(n_steps):
        jacobian = family.jacobian(theta) * root[:, :, None]
        gradient = (residual[:, None, :] @ jacobian)[:, 0]
        outward = (theta <= family.lower) & (gradient < 0) | (theta >= family.upper) & (gradient > 0)
        blocked = outward | ~family.free
        jacobian[np.broadcast_to(blocked[:, None, :], jacobian.shape)] = 0.0
        normal = jacobian.transpose(0, 2, 1) @ jacobian
        ridge = damping[:, None] * np.einsum("dpp->dp", normal) + 1e-14 + blocked
        step = np.linalg.solve(normal + ridge[:, :, None] * identity, np.where(blocked, 0.0, gradient)[:, :, None])
        step = np.clip(step[:, :, 0], -family.largest_step, family.largest_step)
        trial = np.where(family.free, np.clip(theta + step, family.lower, family.upper), theta)
        trial_residual = residuals(trial)
        trial_loss = np.square(trial_residual).sum(axis=1)
        better = trial_loss < loss
        # A rejected step only asks for more damping; a row has arrived when a step is taken and gains nothing more.
        arrived = np.where(better, loss - trial_loss <= GAIN, damping >= STUCK)
        theta, loss = np.where(better[:, None], trial, theta), np.where(better, trial_loss, loss)
        residual = np.where(better[:, None], trial_residual, residual)
        damping = np.clip(np.where(better, damping / 5, damping * 8), LEAST_DAMPING, MOST_DAMPING)
        if arrived.all():
            break
    return theta, loss
