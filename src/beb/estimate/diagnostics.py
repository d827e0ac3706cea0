"""Readings of a band that say when something has happened."""

from __future__ import annotations

from beb.core.estimate import Band


def first_length_below(band: Band, threshold: float) -> int | None:
    """First number of sentences whose simultaneous upper limit lies below `threshold`; None if there is none.

    With probability `band.level` the curve really is below the threshold there, whichever length is found:
    the limits hold at all lengths at once.
    Source: Wolf et al. 2024, Definition 1 (threshold γ + ε).
    """
    return next((n for n, high in zip(band.lengths, band.high, strict=True) if high < threshold), None)
