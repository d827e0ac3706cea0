"""The states in which an exact model reads a text: what a hidden state is to a real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from beb.worlds.alphabet import START_TOKEN
from beb.worlds.model import WorldModel

MOST_LOG_WEIGHT = 100.0
"""Log weights of a chain are kept within ± this, nats."""


class WorldRepresenter:
    """Texts to the states of the target, after each token of a text.

    Layer 0 says which token it is (one of the vocabulary). Layer 1 is what the target has concluded: the log weight of
    each component after the sentences so far, and the probability of every next token. Unused columns are 0.
    """

    n_layers = 2

    def __init__(self, model: WorldModel, n_chains: int) -> None:
        self._model = model
        self._vocabulary = model.info.vocabulary_size
        self.width = n_chains + self._vocabulary

    def __call__(self, texts: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Pooling ("last" token, "mean" over tokens) -> (n, 2, width). Raises: BadSpec, ContextTooShort."""
        ids = [self._model.encode(text) for text in texts]
        # One more token, so that there is a row after the last; what it is does not matter.
        found = self._model.distributions([(*each, START_TOKEN) for each in ids])
        last, mean = (np.empty((len(texts), self.n_layers, self.width), dtype=np.float32) for _ in range(2))
        first = 0
        for i, tokens in enumerate(ids):
            rows = slice(first + 1, first + 1 + len(tokens))
            states = np.zeros((len(tokens), self.n_layers, self.width))
            states[np.arange(len(tokens)), 0, np.array(tokens)] = 1.0
            weights = found.log_posterior(rows.start, rows.stop)
            states[:, 1, : weights.shape[1]] = np.clip(weights, -MOST_LOG_WEIGHT, 0.0)
            states[:, 1, weights.shape[1] :] = np.exp(found.log_probs(rows.start, rows.stop))
            last[i], mean[i] = states[-1], states.mean(axis=0)
            first += len(tokens) + 1
        return {"last": last, "mean": mean}
