"""Hidden states of the embedded model as features for the probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beb.interfaces.language_model import LanguageModel
from beb.models.catalog import Notice
from beb.models.hardware import Hardware
from beb.models.shelf import Shelf

if TYPE_CHECKING:
    from beb.models.huggingface import HuggingFaceModel

EMBEDDED_MODEL = "smollm2"
EMBEDDED_LAYER = 15
"""Half of the model's depth, where a linear probe separates the poles best."""


class HiddenStateEmbedder:
    """Mean-pooled hidden states of one layer of one model, the same for every target that is measured."""

    def __init__(self, model: HuggingFaceModel, layer: int) -> None:
        self._model = model
        self._layer = layer
        self.fingerprint = f"{model.info.fingerprint}@{layer}"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, width) for n non-blank texts. Raises: ContextTooShort."""
        return self._model.hidden_states(texts, self._layer)


def load_embedder(
    target: LanguageModel,
    *,
    offline: bool,
    hardware: Hardware | None = None,
    progress: Notice | None = None,
    shelf: Shelf | None = None,
) -> HiddenStateEmbedder:
    """The embedded model's features; its weights are shared if it is the target itself, in fp32 and without a lead.

    hardware: where it runs. progress: told in words about steps that take long. shelf: that it may stand on already.
    Raises: NotAModel if the embedded model cannot be had.
    """
    from beb.models.huggingface import HuggingFaceModel

    if isinstance(target, HuggingFaceModel) and target.info.name == EMBEDDED_MODEL and target.info.dtype == "fp32":
        return HiddenStateEmbedder(target, EMBEDDED_LAYER)
    shelf = shelf or Shelf()
    model = shelf.load(EMBEDDED_MODEL, dtype="fp32", offline=offline, hardware=hardware, progress=progress)
    assert isinstance(model, HuggingFaceModel)
    return HiddenStateEmbedder(model, EMBEDDED_LAYER)
