"""Hidden states of every layer for whole texts: of the last token, and averaged over the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from beb.errors import BadSpec, ContextTooShort, NumericalFailure
from beb.models.huggingface import HuggingFaceModel
from beb.models.memory import until_done
from beb.models.weights import batches_by_length, foreign_errors, remedy

TEXTS_PER_PASS = 32  # all layers of a pass are in memory at once


@dataclass(frozen=True, slots=True, eq=False)
class Representations:
    """Hidden states of n texts after 0..n_blocks blocks, each (n, n_blocks + 1, width) fp32.

    last: of the text's own last token. mean: over the text's tokens, the start context left out.
    """

    last: NDArray[np.float32]
    mean: NDArray[np.float32]


def n_representations(model: HuggingFaceModel) -> int:
    """Hidden states of a model: the embeddings and one after each block."""
    return int(model.weights.module.config.get_text_config().num_hidden_layers) + 1


def representations(model: HuggingFaceModel, texts: Sequence[str]) -> Representations:
    """What the model computes of each text after its start context, in one forward pass for all layers.

    texts: each of at least one token. Layer 0 is the embeddings; the last one has passed the model's final norm.
    Raises: BadSpec for an empty text; ContextTooShort; NumericalFailure.
    Assumes: causal attention, so that padding on the right reaches no token.
    """
    start = model.start_ids
    parts = [model.encode(text) for text in texts]
    for text, ids in zip(texts, parts, strict=True):
        if not ids:
            raise BadSpec(f"the text {text!r} has no tokens and hence no last one; leave it out")
        if len(start) + len(ids) > model.info.context_length:
            raise ContextTooShort(
                f"{model.info.name} has a context of {model.info.context_length} tokens and a text with its start "
                f"context has {len(start) + len(ids)}; leave out long texts"
            )
    shape = (len(texts), n_representations(model), int(model.weights.module.config.get_text_config().hidden_size))
    last, mean = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    waiting = dict(enumerate(start + ids for ids in parts))

    def work() -> None:
        left = list(waiting)
        lengths = [len(waiting[i]) for i in left]
        # Every layer's states, and the same again while those of one text are put together.
        limit = model.weights.pass_tokens(max(lengths, default=0), extra=3 * shape[1] * model.weights.state_bytes)
        with torch.inference_mode(), foreign_errors(model.info.name), model.weights.activated(model.swap):
            for similar in batches_by_length(lengths, tokens=limit):
                for first in range(0, len(similar), TEXTS_PER_PASS):
                    batch = [left[k] for k in similar[first : first + TEXTS_PER_PASS]]
                    pooled = _pooled(model, [waiting[i] for i in batch], len(start))
                    for i, (own, average) in zip(batch, pooled, strict=True):
                        last[i], mean[i] = own.cpu().numpy(), average.cpu().numpy()
                        del waiting[i]

    until_done(model.weights.memory, work)
    if not (np.isfinite(last).all() and np.isfinite(mean).all()):
        raise NumericalFailure(f"{model.info.name} gives NaN or infinite hidden states; {remedy(model.weights.dtype)}")
    return Representations(last, mean)


def _pooled(
    model: HuggingFaceModel, sequences: Sequence[Sequence[int]], n_start: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Per sequence the last token's states and the mean over the tokens after the start, each (n_layers, width)."""
    rows = [torch.tensor(ids, device=model.weights.device) for ids in sequences]
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    inputs = {"input_ids": pad_sequence(rows, batch_first=True), "attention_mask": mask}
    states = model.weights.decoder(**inputs, use_cache=False, output_hidden_states=True).hidden_states
    pooled = []
    for i, row in enumerate(rows):
        own = torch.stack([layer[i, n_start : len(row)] for layer in states]).float()
        pooled.append((own[:, -1], own.mean(dim=1)))
    return pooled
