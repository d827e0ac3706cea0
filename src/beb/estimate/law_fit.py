"""Three laws of a curve over the number of sentences, and their weighted least-squares fit, many curves at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit

from beb.estimate.checks import Array
from beb.estimate.descent import Family, descend
from beb.estimate.logistic import logistic_curve, logistic_jacobian, search_limits

Scale = Literal["nll", "behavior"]
Link = Literal["identity", "log", "log of a probability"]
N_STEPS = 200
LARGEST_EXPONENT = 10.0


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the laws are fitted: lengths n (k,) and the range that levels are searched in.

    low, high: smallest and largest value of the mean curve. spread: the larger one of the curve's
    and the prompts'.
    """

    n: Array
    low: float
    high: float
    spread: float


class Law(ABC):
    """A curve with parameters θ; batches of them are (d, p)."""

    name: str

    @abstractmethod
    def curve(self, theta: Array, n: Array) -> Array:
        """(d, k) values."""

    @abstractmethod
    def jacobian(self, theta: Array, n: Array) -> Array:
        """(d, k, p) derivatives of the curve."""

    @abstractmethod
    def limits(self, frame: Frame) -> tuple[Array, Array]:
        """Smallest and largest θ searched."""

    @abstractmethod
    def natural(self) -> tuple[bool, ...]:
        """(p,) whether a limit of θ is one of the quantity itself (B >= -1, p <= 1) and not the edge of a search."""

    @abstractmethod
    def starts(self, frame: Frame, curve: Array, weights: Array) -> list[Array]:
        """One or more (d, p): the best points of a grid for the curves (d, k)."""

    @abstractmethod
    def readable(self, theta: Array) -> Array:
        """(p,) the parameters as `labels` names them, on the scale of their link, for one θ (p,)."""

    @abstractmethod
    def labels(self, unit: str) -> tuple[tuple[str, str, Link], ...]:
        """Name, unit and link of each readable parameter; `unit` is the curve's."""


def solve(law: Law, frame: Frame, curve: Array, weights: Array) -> Array:
    """θ (d, p) of least Σ weights (curve − law)² within the law's limits.

    curve, weights: (d, k). Grid search, then damped Gauss–Newton steps projected on the limits; the best of the starts.
    """
    starts = law.starts(frame, curve, weights)
    copies = len(starts)
    lower, upper = law.limits(frame)
    family = Family(
        lambda points: law.curve(points, frame.n),
        lambda points: law.jacobian(points, frame.n),
        lower,
        upper,
        np.ones(lower.size, dtype=bool),
        largest_step=math.inf,
    )
    # Losses relative to the curve's own variation, so that the optimiser's thresholds mean the same for every curve.
    around = (weights * np.square(curve - curve.mean(axis=1, keepdims=True))).sum(axis=1)
    scaled = weights / np.maximum(around, 1e-9 * np.square(frame.spread) * weights.sum(axis=1))[:, None]
    theta, loss = descend(
        family, np.tile(curve, (copies, 1)), np.tile(scaled, (copies, 1)), np.vstack(starts), n_steps=N_STEPS
    )
    best = loss.reshape(copies, -1).argmin(axis=0)
    found: Array = theta.reshape(copies, -1, theta.shape[1])[best, np.arange(best.size)]
    return found


def _affine_start(basis: Array, curve: Array, weights: Array, limits: tuple[Array, Array]) -> tuple[Array, Array]:
    """Row of the basis (g, k) that explains each curve (d, k) best as a + b·basis, and a, b (d, 2)."""
    total = weights.sum(axis=1)[:, None]
    mean_y = (weights * curve).sum(axis=1)[:, None] / total
    mean_g = weights @ basis.T / total
    covariance = (weights * curve) @ basis.T / total - mean_y * mean_g
    variance = weights @ np.square(basis).T / total - np.square(mean_g)
    slope = covariance / (variance + 1e-12 * np.square(mean_g) + 1e-300)
    slope = np.where(variance > 1e-12, slope, 0.0)
    level = mean_y - slope * mean_g
    # Levels outside the limits are cut, and the loss is that of the curve as cut.
    level, slope = (np.clip(x, lo, hi) for x, lo, hi in zip((level, slope), limits[0], limits[1], strict=True))
    shift = mean_y - level - slope * mean_g
    loss = np.square(shift) + np.square(slope) * variance - 2 * slope * covariance
    best = loss.argmin(axis=1)
    rows = np.arange(best.size)
    return best, np.column_stack([level[rows, best], slope[rows, best]])


@dataclass(frozen=True, slots=True)
class Logistic(Law):
    """h + (l − h) σ(β(n − n₀)) (Lemma 7); θ = (log β, n₀, l, h), shown as (l, h, β, n₀)."""

    scale: Scale
    name = "logistic"

    def curve(self, theta: Array, n: Array) -> Array:
        return logistic_curve(theta, n)

    def jacobian(self, theta: Array, n: Array) -> Array:
        return logistic_jacobian(theta, n)

    def limits(self, frame: Frame) -> tuple[Array, Array]:
        below, above = frame.low - 2 * frame.spread, frame.high + 2 * frame.spread
        if self.scale == "behavior":
            below, above = -1.0, 1.0
        first, last = search_limits(frame.n)
        return np.append(first, [below, below]), np.append(last, [above, above])

    def natural(self) -> tuple[bool, ...]:
        levels = self.scale == "behavior"
        return False, False, levels, levels

    def starts(self, frame: Frame, curve: Array, weights: Array) -> list[Array]:
        lower, upper = self.limits(frame)
        b, m = (x.ravel() for x in np.meshgrid(*(np.linspace(lower[i], upper[i], 20) for i in (0, 1))))
        basis = expit(np.exp(b)[:, None] * (frame.n - m[:, None]))
        gap = upper[2] - lower[2]
        best, affine = _affine_start(basis, curve, weights, (np.array([lower[3], -gap]), np.array([upper[3], gap])))
        return [np.column_stack([b[best], m[best], affine.sum(axis=1), affine[:, 0]])]

    def readable(self, theta: Array) -> Array:
        return theta[[2, 3, 0, 1]]

    def labels(self, unit: str) -> tuple[tuple[str, str, Link], ...]:
        return (
            ("level after many sentences", unit, "identity"),
            ("level before", unit, "identity"),
            ("β", "nats per sentence", "log"),
            ("midpoint n₀", "sentences", "identity"),
        )


@dataclass(frozen=True, slots=True)
class PowerLaw(Law):
    """C (n + 1)^{−a} + K; θ = (K, C, log a).

    The argument is n + 1, the number of the sentence that is read or written after n of them, so that the law is
    finite at n = 0; for large n it is Anil et al.'s C n^{−a} + K. On scale "behavior" K, the value after endlessly many
    sentences, and K + C, the value before any, lie within [-1, 1].
    """

    scale: Scale
    name = "power law"

    def curve(self, theta: Array, n: Array) -> Array:
        floor, height, log_a = theta.T[:, :, None]
        return np.asarray(floor + height * np.exp(-np.exp(log_a) * np.log1p(n)))

    def jacobian(self, theta: Array, n: Array) -> Array:
        _, height, log_a = theta.T[:, :, None]
        a = np.exp(log_a)
        g = np.exp(-a * np.log1p(n))
        return np.stack([np.ones_like(g), g, -height * g * a * np.log1p(n)], axis=2)

    def limits(self, frame: Frame) -> tuple[Array, Array]:
        wide = 40 * frame.spread
        small, large = math.log(0.02), math.log(LARGEST_EXPONENT)
        if self.scale == "behavior":
            return np.array([-1.0, -2.0, small]), np.array([1.0, 2.0, large])
        return np.array([frame.low - wide, -wide, small]), np.array([frame.high + wide, wide, large])

    def natural(self) -> tuple[bool, ...]:
        levels = self.scale == "behavior"
        return levels, levels, False

    def starts(self, frame: Frame, curve: Array, weights: Array) -> list[Array]:
        lower, upper = self.limits(frame)
        log_a = np.linspace(lower[2], upper[2], 60)
        basis = np.exp(-np.exp(log_a)[:, None] * np.log1p(frame.n))
        best, affine = _affine_start(basis, curve, weights, (lower[:2], upper[:2]))
        return [np.column_stack([affine, log_a[best]])]

    def readable(self, theta: Array) -> Array:
        return theta

    def labels(self, unit: str) -> tuple[tuple[str, str, Link], ...]:
        return ("floor K", unit, "identity"), ("height C", unit, "identity"), ("exponent a", "1", "log")


@dataclass(frozen=True, slots=True)
class Bayesian(Law):
    """Two components and a learner: p(n) = (ρ p₁^{Kn} p₁ + (1−ρ) p₀^{Kn} p₀)/(ρ p₁^{Kn} + (1−ρ) p₀^{Kn}).

    p₁, p₀: probability of a sentence under the matching and the other component; ρ: prior weight of the matching one;
    K: how much of a sentence's evidence is used (1: an ideal learner). The curve is −log p (scale "nll") or
    1 − 2p (scale "behavior", p the probability of the negative pole).
    θ = (a, d, log v, m): a = −log p₁, d = log p₁/p₀ >= 0, posterior log odds u = v(n − m), so v = Kd, log ρ/(1−ρ) =
    −vm, and −log p = a + d − log(1 + e^{u+d}) + log(1 + e^u). With K given, v follows from d: θ = (a, d, m).
    """

    scale: Scale
    efficiency: float | None
    name = "Bayesian"

    def _full(self, theta: Array) -> Array:
        """(d, 4) a, d, log v, m."""
        if self.efficiency is None:
            return theta
        log_v = np.log(self.efficiency * np.maximum(theta[:, 1], 1e-300))
        return np.column_stack([theta[:, :2], log_v, theta[:, 2]])

    def _nll(self, theta: Array, n: Array) -> tuple[Array, Array, Array, Array]:
        a, d, log_v, m = self._full(theta).T[:, :, None]
        u = np.exp(log_v) * (n - m)
        return a + d - np.logaddexp(0, u + d) + np.logaddexp(0, u), u, d, np.exp(log_v)

    def curve(self, theta: Array, n: Array) -> Array:
        nll = self._nll(theta, n)[0]
        return np.asarray(nll if self.scale == "nll" else 1 - 2 * np.exp(-nll))

    def jacobian(self, theta: Array, n: Array) -> Array:
        nll, u, d, v = self._nll(theta, n)
        updated = expit(u + d)
        gain = updated - expit(u)
        by_a, by_d, by_v, by_m = np.ones_like(u), 1 - updated, -gain * u, gain * v
        columns = [by_a, by_d, by_v, by_m]
        if self.efficiency is not None:
            columns = [by_a, by_d + by_v / np.maximum(d, 1e-300), by_m]
        out = np.stack(columns, axis=2)
        return np.asarray(out if self.scale == "nll" else 2 * np.exp(-nll)[:, :, None] * out)

    def limits(self, frame: Frame) -> tuple[Array, Array]:
        span = float(frame.n[-1] - frame.n[0])
        (flat, early), (steep, late) = (tuple(map(float, side)) for side in search_limits(frame.n))
        if self.scale == "behavior":
            lower, upper = [0.0, 1e-6, flat, early - span], [15.0, 15.0, steep, late + span]
        else:
            most = 10 * frame.spread + 20
            lower = [frame.low - 2 * frame.spread - most, 1e-6, math.log(1e-2 / span), early - span]
            upper = [frame.high + 2 * frame.spread, most, max(steep, math.log(10 * most)), late + 9 * span]
        keep = [0, 1, 2, 3] if self.efficiency is None else [0, 1, 3]
        return np.array(lower)[keep], np.array(upper)[keep]

    def natural(self) -> tuple[bool, ...]:
        certain = self.scale == "behavior"  # p₁ = 1
        return (certain, False, False, False) if self.efficiency is None else (certain, False, False)

    def starts(self, frame: Frame, curve: Array, weights: Array) -> list[Array]:
        lower, upper = self.limits(frame)
        drops = np.geomspace(max(1e-2 * frame.spread, 1e-2), float(upper[1]) / 2, 14)
        axes = [np.zeros(1), drops, np.linspace(lower[-1], upper[-1], 40)]
        if self.efficiency is None:
            axes.insert(2, np.linspace(lower[2], upper[2], 14))
        grid = np.column_stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")])
        basis = self._nll(grid, frame.n)[0]
        if self.scale == "nll":
            shift = (weights @ -basis.T + (weights * curve).sum(axis=1)[:, None]) / weights.sum(axis=1)[:, None]
            shift = np.clip(shift, lower[0], upper[0])
            residual = curve[:, None, :] - basis - shift[:, :, None]
        else:  # 1 − 2p is linear in p₁ = e^{−a}
            basis = np.exp(-basis)
            share = (weights * (1 - curve) / 2) @ basis.T / (weights @ np.square(basis).T).clip(1e-300)
            shift = -np.log(np.clip(share, math.exp(-upper[0]), 1.0))
            residual = curve[:, None, :] - 1 + 2 * np.exp(-shift)[:, :, None] * basis
        best = np.einsum("dk,dgk->dg", weights, np.square(residual)).argmin(axis=1)
        theta: Array = grid[best]
        theta[:, 0] = shift[np.arange(best.size), best]
        return [theta, self._ramp(frame, curve, weights)] if self.scale == "nll" else [theta]

    def _ramp(self, frame: Frame, curve: Array, weights: Array) -> Array:
        """(d, p) start for large d, where −log p is flat, falls straight by d from m − d/v to m, and is flat again."""
        lower, upper = self.limits(frame)
        ends = np.linspace(lower[-1], upper[-1] if self.efficiency else 2 * frame.n[-1] - frame.n[0], 80)
        widths = np.array([1 / self.efficiency]) if self.efficiency else np.geomspace(0.1, 3, 30) * np.ptp(frame.n)
        end, width = (x.ravel() for x in np.meshgrid(ends, widths))
        basis = np.clip((frame.n - end[:, None]) / width[:, None] + 1, 0, 1)
        most = float(upper[1])
        limits = (np.array([lower[0], -most]), np.array([upper[0] + most, -1e-3]))
        best, affine = _affine_start(basis, curve, weights, limits)
        drop = -affine[:, 1]
        columns = [affine[:, 0] - drop, drop, np.log(drop / width[best]), end[best]]
        return np.column_stack(columns if self.efficiency is None else [columns[0], columns[1], columns[3]])

    def readable(self, theta: Array) -> Array:
        a, d, log_v, m = self._full(theta[None])[0]
        sign = 1.0 if self.scale == "nll" else -1.0
        shown = [sign * a, sign * (a + d), -math.exp(log_v) * m]
        return np.array(shown if self.efficiency is not None else [*shown, log_v - math.log(d)])

    def labels(self, unit: str) -> tuple[tuple[str, str, Link], ...]:
        levels: tuple[tuple[str, str, Link], ...] = (
            ("level of the matching component", unit, "identity"),
            ("level of the other component", unit, "identity"),
        )
        if self.scale == "behavior":
            levels = (("p₁", "probability", "log of a probability"), ("p₀", "probability", "log of a probability"))
        prior: tuple[str, str, Link] = ("prior log odds log ρ/(1−ρ)", "nats", "identity")
        return (*levels, prior) if self.efficiency is not None else (*levels, prior, ("efficiency K", "1", "log"))
