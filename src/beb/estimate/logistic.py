"""Many least-squares logistic curves at once: their derivatives, their starts and their errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from beb.estimate.checks import Array
from beb.estimate.descent import Family, descend

N_STEPS = 60
N_GRID = (16, 33)


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Curve h + (l - h) σ(e^b (n - m)) at lengths n (k,); parameters θ = (b, m, l, h), l and h free or given.

    Slopes and midpoints are sought within `search_limits`, levels within [-1, 1].
    """

    n: Array
    free_low: bool
    free_high: bool

    @property
    def steepest(self) -> float:
        """Largest slope that the lengths can resolve, nats per sentence."""
        return math.exp(float(search_limits(self.n)[1][0]))

    @property
    def limits(self) -> tuple[Array, Array]:
        """Smallest and largest θ."""
        low, high = search_limits(self.n)
        return np.append(low, [-1.0, -1.0]), np.append(high, [1.0, 1.0])

    def inside(self, theta: Array) -> bool:
        """Whether slope and midpoint are off the limits of the search."""
        low, high = self.limits
        return bool((theta[:2] > low[:2] + 1e-6).all() and (theta[:2] < high[:2] - 1e-6).all())


def logistic_curve(theta: Array, n: Array) -> Array:
    """(d, k) curves of θ (d, 4) = (b, m, l, h) at lengths n (k,)."""
    _, s = _sigmoid(theta, n)
    return np.asarray(theta[:, 3:] + (theta[:, 2:3] - theta[:, 3:]) * s)


def logistic_jacobian(theta: Array, n: Array) -> Array:
    """(d, k, 4) derivatives of the curves."""
    z, s = _sigmoid(theta, n)
    slope = (theta[:, 2:3] - theta[:, 3:]) * s * (1 - s)
    return np.stack([slope * z, -slope * np.exp(theta[:, :1]), s, 1 - s], axis=2)


def search_limits(n: Array) -> tuple[Array, Array]:
    """Smallest and largest (b, m) that lengths n (k,) can tell.

    Slopes from 0.1/(range of n) to 20/(smallest gap), midpoints up to one range beyond the lengths.
    """
    span = float(n[-1] - n[0])
    flat, steep = math.log(0.1 / span), math.log(20 / float(np.diff(n).min()))
    return np.array([flat, n[0] - span]), np.array([steep, n[-1] + span])


def _sigmoid(theta: Array, n: Array) -> tuple[Array, Array]:
    """(d, k) z = e^b (n - m) and σ(z)."""
    z = np.exp(theta[:, :1]) * (n - theta[:, 1:2])
    return z, expit(z)


def _curvature(problem: Problem, theta: Array, residual: Array) -> Array:
    """(d, 4, 4) Σ_j residual_j ∂²curve_j/∂θ∂θ."""
    z, s = _sigmoid(theta, problem.n)
    beta = np.exp(theta[:, :1])
    first, gap = s * (1 - s), theta[:, 2:3] - theta[:, 3:]
    second = first * (1 - 2 * s)
    out = np.zeros((theta.shape[0], 4, 4))
    out[:, 0, 0] = (residual * gap * (second * z * z + first * z)).sum(axis=1)
    out[:, 0, 1] = (residual * gap * -beta * (second * z + first)).sum(axis=1)
    out[:, 1, 1] = (residual * gap * beta**2 * second).sum(axis=1)
    out[:, 0, 2] = (residual * first * z).sum(axis=1)
    out[:, 1, 2] = (residual * first * -beta).sum(axis=1)
    out[:, 0, 3], out[:, 1, 3] = -out[:, 0, 2], -out[:, 1, 2]
    lower = np.tril_indices(4, -1)
    out[:, lower[0], lower[1]] = out[:, lower[1], lower[0]]
    return out


def _starts(problem: Problem, curve: Array, low: Array, high: Array) -> Array:
    """(d, 4) best grid point, free levels by least squares clipped to [-1, 1]."""
    lower, upper = problem.limits
    b, m = np.meshgrid(np.linspace(lower[0], upper[0], N_GRID[0]), np.linspace(lower[1], upper[1], N_GRID[1]))
    grid = np.column_stack([b.ravel(), m.ravel(), np.zeros(b.size), np.zeros(b.size)])
    _, s = _sigmoid(grid, problem.n)
    k = problem.n.size
    ss, st, tt = (s * s).sum(axis=1), (s * (1 - s)).sum(axis=1), ((1 - s) ** 2).sum(axis=1)
    ys = curve @ s.T
    yt = curve.sum(axis=1, keepdims=True) - ys
    lo, hi = np.broadcast_to(low[:, None], ys.shape), np.broadcast_to(high[:, None], ys.shape)
    ridge = 1e-9 * k
    if problem.free_low and problem.free_high:
        lo = np.clip(((tt + ridge) * ys - st * yt) / ((ss + ridge) * (tt + ridge) - st**2), -1, 1)
        hi = np.clip((yt - st * lo) / (tt + ridge), -1, 1)
    elif problem.free_low:
        lo = np.clip((ys - st * hi) / (ss + ridge), -1, 1)
    elif problem.free_high:
        hi = np.clip((yt - st * lo) / (tt + ridge), -1, 1)
    loss = lo**2 * ss + 2 * lo * hi * st + hi**2 * tt - 2 * (lo * ys + hi * yt)
    best = loss.argmin(axis=1)
    rows = np.arange(best.size)
    return np.column_stack([grid[best, :2], lo[rows, best], hi[rows, best]])


def solve(problem: Problem, curve: Array, low: Array, high: Array) -> Array:
    """θ (d, 4) of the curves (d, k): grid search, then damped Gauss-Newton steps projected on the limits.

    low, high: (d,) given levels, ignored where free.
    """
    theta = _starts(problem, curve, low, high)
    lower, upper = problem.limits
    free = np.array([True, True, problem.free_low, problem.free_high])
    family = Family(
        lambda points: logistic_curve(points, problem.n),
        lambda points: logistic_jacobian(points, problem.n),
        lower,
        upper,
        free,
        largest_step=1.0,
    )
    return descend(family, curve, np.ones_like(curve), theta, n_steps=N_STEPS)[0]


def standard_errors(
    problem: Problem, theta: Array, curve: Array, covariance: Array, level_variances: tuple[Array, Array]
) -> Array:
    """(d, 2) standard errors of b and m: derivative of the projection with respect to curve and given levels.

    covariance: (d, k, k) of the mean curve. level_variances: (d,) of the given low and high levels. Differentiating
    the stationarity Jᵀ(y - f) = 0 gives dθ = H⁻¹ (Jᵀ dy + (∂J/∂level ᵀ (y - f) - Jᵀ ∂f/∂level) dlevel), with
    H = JᵀJ - Σ residual ∂²f.
    Infinite where the optimum is flat.
    """
    lower, upper = problem.limits
    residual = curve - logistic_curve(theta, problem.n)
    jacobian = logistic_jacobian(theta, problem.n)
    curvature = _curvature(problem, theta, residual)
    normal = jacobian.transpose(0, 2, 1) @ jacobian - curvature
    active = np.broadcast_to(np.array([True, True, problem.free_low, problem.free_high]), theta.shape)
    active = active & (theta > lower) & (theta < upper)
    both = active[:, :, None] & active[:, None, :]
    hessian = np.where(both, normal, np.eye(4))
    jacobian_active = np.where(active[:, None, :], jacobian, 0.0)
    middle = jacobian_active.transpose(0, 2, 1) @ covariance @ jacobian_active
    for index, variance in zip((2, 3), level_variances, strict=True):
        effect = np.where(active, -normal[:, :, index], 0.0)
        middle = middle + effect[:, :, None] * effect[:, None, :] * variance[:, None, None]
    smallest = np.linalg.eigvalsh(hessian)[:, 0]
    flat = smallest < 1e-10
    inverse = np.linalg.inv(np.where(flat[:, None, None], np.eye(4), hessian))
    variance = np.einsum("dpq,dpq->dp", inverse @ middle, inverse)[:, :2]
    return np.where(flat[:, None] | ~active[:, :2], math.inf, np.sqrt(np.maximum(variance, 0.0)))
