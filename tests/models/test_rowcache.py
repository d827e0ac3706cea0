"""Which models may share beginnings in a row cache: half precisions are judged by their own rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from beb.interfaces.language_model import Completion, SampleRequest
from beb.models import rowcache
from beb.models.huggingface import HuggingFaceModel
from beb.models.sharing import Seating

DTYPES = ("fp32", "bf16", "fp16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("llama", True),  # rotary positions
        ("gpt2", True),  # learned positions
        ("opt", True),  # learned positions with an offset
        ("cohere", True),
        ("granite", True),
        ("gemma2", False),  # sliding windows
        ("bloom", False),  # ALiBi
        ("mamba", False),  # no attention
    ],
)
def test_models_whose_rows_are_right(
    kind: str, wanted: bool, dtype: str, loaded: Callable[[str, str], HuggingFaceModel]
) -> None:
    assert loaded(kind, dtype).row_cache == wanted


class OneOff(Seating):
    """Rows that stand one position too far to the right of what they begin with."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.lengths = self.lengths + 1


class Windowed(Seating):
    """Rows that do not see the first token."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.visible[:, :1] = False


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "cohere", "granite"])
@pytest.mark.parametrize("wrong", [OneOff, Windowed])
def test_wrong_positions_and_windows_are_refused(
    wrong: type[Seating],
    kind: str,
    dtype: str,
    loaded: Callable[[str, str], HuggingFaceModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a model would do whose positions or windows the cache does not know of."""
    model = loaded(kind, dtype)
    monkeypatch.setattr(rowcache, "Seating", wrong)
    assert not rowcache.supports_rows(model.weights)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_rows_in_half_precision_are_as_close_to_fp32_as_the_model_itself(
    kind: str, loaded: Callable[[str, str], HuggingFaceModel]
) -> None:
    exact, half = loaded(kind, "fp32"), loaded(kind, "bf16")
    asked = [SampleRequest((*half.start_ids, 7, 9, 4 + n % 5), 2, 12, n) for n in range(20)]
    errors: dict[str, list[float]] = {"rows": [], "whole": []}
    for request, text in zip(asked, half.sample(asked), strict=True):
        assert isinstance(text, Completion)
        ids = [*request.prefix, *text.token_ids]
        places = torch.arange(len(request.prefix) - 1, len(ids) - 1)
        tokens = torch.tensor(text.token_ids)
        true, own = (m.weights.full_logits(ids).double().log_softmax(-1)[places, tokens] for m in (exact, half))
        errors["rows"] += (torch.tensor(text.log_probs).double() - true).tolist()
        errors["whole"] += (own - true).tolist()
    rows, whole = (float(np.sqrt(np.mean(np.square(errors[key])))) for key in ("rows", "whole"))
    assert 0 < rows < 1.5 * whole
