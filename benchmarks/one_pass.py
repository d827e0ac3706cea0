"""This program's way to the same curve: one pass of each component over a prompt, exact divergences of every token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from beb.models.huggingface import HuggingFaceModel
from beb.models.scoring import score_sequences
from benchmarks.prompts import WINDOW_TOKENS, Prompt


def one_pass_kl(
    negative: HuggingFaceModel,
    positive: HuggingFaceModel,
    prompts: Sequence[Prompt],
    *,
    sentences: int,
    tokens: int = WINDOW_TOKENS,
) -> npt.NDArray[np.float64]:
    """(n_prompts, sentences) estimates of KL(P₋ ‖ P₊) of the next tokens after 0, 1, ... sentences of each prompt.

    The prompt's own tokens after a prefix are a draw from P₋, so the sum of the exact divergences before each of them
    has the divergence of the whole window as its expectation (chain rule). NaN where a text ends before.
    Source: Amini, Vieira and Cotterell 2025 (arXiv 2504.10637).
    """
    scores = score_sequences(
        [prompt.scored(sentences) for prompt in prompts],
        {"negative": negative, "positive": positive},
        divergences=[("negative", "positive")],
    )
    values = np.full((len(prompts), sentences), np.nan)
    for row, (prompt, score) in enumerate(zip(prompts, scores, strict=True)):
        kl = score.kl["negative", "positive"]
        for n, start in enumerate(prompt.prefixes(sentences)):
            values[row, n] = kl[start : start + tokens].sum()
    return values
