"""Colours as people see them: sRGB to CIELAB, CIEDE2000, contrast, and simulated colour blindness.

Sources: IEC 61966-2-1 (sRGB); Sharma, Wu, Dalal 2005, Color Res. Appl. 30(1) (CIEDE2000); Machado, Oliveira, Fernandes
2009, IEEE TVCG 15(6), Table 1 at severity 1.0 (colour blindness, in linear RGB); WCAG 2.2 (contrast).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

MACHADO = {
    "normal": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900),
    ),
}  # fmt: skip
_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)


def linear(rgb: ArrayLike) -> NDArray[np.float64]:
    """(3,) 0 … 255 to linear light, 0 … 1."""
    share = np.asarray(rgb, dtype=float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def contrast(one: ArrayLike, other: ArrayLike) -> float:
    """WCAG contrast ratio of two colours, 1 … 21."""
    bright, dark = sorted((float(np.dot(_TO_XYZ[1], linear(c))) for c in (one, other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def seen(rgb: ArrayLike, vision: str) -> NDArray[np.float64]:
    """CIELAB of a colour (3,) 0 … 255 for a reader with this colour vision."""
    light = np.clip(np.asarray(MACHADO[vision]) @ linear(rgb), 0, 1)
    ratio = np.asarray(_TO_XYZ) @ light / np.asarray(_WHITE)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array((116 * y - 16, 500 * (x - y), 200 * (y - z)))


def ciede2000(one: ArrayLike, other: ArrayLike) -> float:
    """Colour difference of two CIELAB colours; about 1 is just noticeable side by side."""
    (l1, a1, b1), (l2, a2, b2) = (np.asarray(c, dtype=float) for c in (one, other))
    c_mean = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(c_mean**7 / (c_mean**7 + 25**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 if a or b else 0.0 for a, b in ((a1, b1), (a2, b2)))
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    delta_h = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2))
    across = 0 if abs(h1 - h2) <= 180 else 180 if h1 + h2 < 360 else -180
    h = h1 + h2 if c1 * c2 == 0 else (h1 + h2) / 2 + across
    light, c = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 + sum(
        k * math.cos(math.radians(m * h + shift))
        for k, m, shift in ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    )
    s_l = 1 + 0.015 * (light - 50) ** 2 / math.sqrt(20 + (light - 50) ** 2)
    s_c, s_h = 1 + 0.045 * c, 1 + 0.015 * c * t
    turned = 30 * math.exp(-(((h - 275) / 25) ** 2))
    r = -2 * math.sqrt(c**7 / (c**7 + 25**7)) * math.sin(math.radians(2 * turned))
    parts = (l2 - l1) / s_l, (c2 - c1) / s_c, delta_h / s_h
    return math.sqrt(sum(part**2 for part in parts) + r * parts[1] * parts[2])
