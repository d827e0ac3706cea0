"""Limits that use what is certain about the best of n: it grows with n, and by no more than its mean allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from beb.core.bounds import worst_gamma_n
from beb.core.estimate import Band


def ordered(bands: Mapping[int, Band], *, complete: bool) -> dict[int, Band]:
    """Simultaneous limits of the bands of all n, tightened where another n says more.

    E[best of n] rises with n, and one response of mean b in [−1, 1] has a best of n of 1 − 2((1−b)/2)ⁿ at most, which
    is concave in b, so that it holds for means over prompts too. As all limits hold together, so do these, and with
    the same probability. Pointwise limits stay as they are: each holds by itself.
    bands: size -> curve over the lengths, limits holding together. complete: no score is missing, so that all n are of
    the same prompts (else the bands come back unchanged).
    Source: derived in docs/maths.md, "Best of n of a mixture".
    """
    if not complete:
        return dict(bands)
    sizes = sorted(bands)
    low = np.maximum.accumulate([bands[size].low for size in sizes], axis=0)
    high = np.array([bands[size].high for size in sizes])
    if sizes[0] == 1:
        most = [[worst_gamma_n(min(max(b, -1.0), 1.0), size) for b in bands[1].high] for size in sizes]
        high = np.minimum(high, most)
    high = np.minimum.accumulate(high[::-1], axis=0)[::-1]
    value = np.array([bands[size].value for size in sizes])
    # The values obey the same order, up to rounding.
    low, high = np.minimum(low, value), np.maximum(high, value)
    return {
        size: replace(
            bands[size],
            low=tuple(map(float, low[i])),
            high=tuple(map(float, high[i])),
            method=f"{bands[size].method}; limits ordered over n",
        )
        for i, size in enumerate(sizes)
    }
