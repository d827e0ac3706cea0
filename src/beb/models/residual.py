"""The residual component: what is left of the target when a weighted negative component is taken out of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from beb.errors import BadSpec, NumericalFailure, TokenizerMismatch
from beb.interfaces.language_model import (
    Completion,
    Distributions,
    Failure,
    LanguageModel,
    SampleRequest,
    TokenIds,
)
from beb.models.fingerprint import combined
from beb.models.scoring import score_sequences

CLIPPED_MASS = 1e-6
MAX_TRIES = 1000
