"""What every estimator asks of its input before it computes anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.errors import BadSpec, EstimateError, TooFewPrompts

Array = NDArray[np.float64]
Bounds = tuple[float, float]


def check_level(level: float) -> None:
    """Raises: BadSpec unless 0 < level < 1."""
    if not 0 < level < 1:
        raise BadSpec(f"confidence level {level} is outside (0, 1); give for example 0.95")


def check_bounds(values: Array, bounds: Bounds | None, name: str) -> None:
    """Raises: BadSpec for an empty range, EstimateError for values outside it."""
    if bounds is None:
        return
    if not bounds[0] < bounds[1]:
        raise BadSpec(f"bounds {bounds} are empty; give (smallest, largest)")
    known = values[~np.isnan(values)]
    if known.size and (known.min() < bounds[0] or known.max() > bounds[1]):
        raise EstimateError(
            f"{name} has values in [{known.min():g}, {known.max():g}], outside its bounds {bounds}; correct the bounds"
        )


def too_few(name: str, given: int, needed: int = 2) -> TooFewPrompts:
    """The refusal of a sample with too few independent prompts."""
    plural = "prompt" if given == 1 else "prompts"
    return TooFewPrompts(f"{name} has {given} {plural} and needs at least {needed}; raise --prompts")


def matrix(values: Any, *, name: str, minimum: int = 2, missing: bool = False) -> Array:
    """`values` as float (n_prompts, k), k >= 1; NaN is let through only where `missing` says so.

    Raises: TooFewPrompts below `minimum` rows; EstimateError for another shape, NaN or infinite values.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise EstimateError(f"{name} has shape {array.shape}; needs (n_prompts, n_columns)")
    if array.shape[0] < minimum:
        raise too_few(name, array.shape[0], minimum)
    if np.isinf(array).any() or (not missing and np.isnan(array).any()):
        raise EstimateError(f"{name} holds NaN or infinite values; drop the prompts that failed before estimating")
    return array


def vector(values: Any, *, name: str, minimum: int = 2) -> Array:
    """`values` as finite float (n_prompts,). Raises: as `matrix`."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise EstimateError(f"{name} has shape {array.shape}; needs (n_prompts,)")
    return matrix(array[:, None], name=name, minimum=minimum)[:, 0]


def check_lengths(lengths: Sequence[int], n_columns: int, *, name: str, smallest: int = 0) -> Array:
    """The lengths as floats (k,). Raises: BadSpec unless they increase, fit the columns and start at `smallest`."""
    array = np.asarray(lengths, dtype=np.float64)
    if array.shape != (n_columns,):
        raise BadSpec(f"{name} has {n_columns} columns and {array.size} lengths; give one length per column")
    if array[0] < smallest or (np.diff(array) <= 0).any():
        raise BadSpec(f"lengths of {name} are {list(lengths)}; they must increase and start at {smallest} or later")
    return array
