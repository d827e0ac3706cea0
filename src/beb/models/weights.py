"""One set of decoder weights in memory: batched forward passes, and logits from hidden states chunk by chunk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from beb.errors import ModelError, NumericalFailure
from beb.models.linears import use_fast_linears

TOKENS_PER_PASS = 2048
MAX_PADDING = 0.1
_CHECK_TOKENS = 12
_CHECK_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class WeightSwap:
    """Replacement tensors for some parameters of a module, by parameter name (a merged adapter).

    name: of the component, which is at fault where the pristine weights are not; "" for the model's own.
    """

    tensors: Mapping[str, torch.Tensor]
    name: str = ""


class _BlockReached(Exception):  # noqa: N818 - no error: the way out of a forward pass whose rest is not needed
    """Carries the hidden states of a block out of the forward pass."""

    def __init__(self, states: torch.Tensor) -> None:
        super().__init__("block reached")
        self.states = states


class Weights:
    """A causal language model's parameters, shared by every component that stands on them.

    The forward pass depends only on the swap that is active inside `activated`; outside it the tensors are the
    pristine ones, the same objects as at the start.
    """

    def __init__(self, module: Any, name: str) -> None:
        self.module = module.eval().requires_grad_(False)
        self.name = name
        parameter = next(module.parameters())
        self.device: torch.device = parameter.device
        self.dtype: torch.dtype = parameter.dtype
        self.decoder = module.get_decoder()
        use_fast_linears(module)
        self.head = module.get_output_embeddings()
        self._parameters: dict[str, torch.nn.Parameter] = dict(module.named_parameters())
        self._active: WeightSwap | None = None
        self._lock = threading.RLock()
        self.vocabulary_size: int = 0
        self.splits = self._check_split()

    @contextmanager
    def activated(self, swap: WeightSwap | None) -> Iterator[None]:
        """Run the block with the swap's tensors in place of the pristine ones (None: the pristine ones)."""
        with self._lock:
            previous = self._active
            pristine = {name: self._parameters[name].data for name in swap.tensors} if swap else {}
            if swap is not None and previous is not None and previous is not swap:
                raise ModelError(f"{self.name}: two adapters at once; leave the first before activating the second")
            self._active = swap or previous
            try:
                for name, tensor in (swap.tensors if swap else {}).items():
                    self._parameters[name].data = tensor
                yield
            finally:
                for name, tensor in pristine.items():
                    self._parameters[name].data = tensor
                self._active = previous

    def parameter(self, name: str) -> torch.nn.Parameter | None:
        """The parameter of that name, or None."""
        return self._parameters.get(name)

    def hidden_rows(self, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Final hidden states of each sequence, (n_tokens, width) in the weights' dtype, in order."""
        return self._batched(sequences, lambda inputs: self.decoder(**inputs, use_cache=False).last_hidden_state)

    def layer_rows(self, sequences: Sequence[Sequence[int]], layer: int) -> list[torch.Tensor]:
        """Hidden states after `layer` blocks (0: embeddings; negative: from the end), each (n_tokens, width)."""
        block = self._block(layer)
        if block is None:
            return self._batched(
                sequences,
                lambda inputs: self.decoder(**inputs, use_cache=False, output_hidden_states=True).hidden_states[layer],
            )
        return self._batched(sequences, lambda inputs: self._states_after(block, inputs))

    def _block(self, layer: int) -> Any | None:
        """The block after which the hidden states of `layer` stand; None for the two ends, or an unknown layout."""
        n_layers = int(self.module.config.get_text_config().num_hidden_layers)
        index = layer if layer >= 0 else n_layers + 1 + layer
        if not 0 < index < n_layers:  # the embeddings are no block, and the last states have passed the final norm
            return None
        lists = [m for m in self.decoder.children() if isinstance(m, torch.nn.ModuleList) and len(m) == n_layers]
        return lists[0][index - 1] if len(lists) == 1 else None

    def _states_after(self, block: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Hidden states after a block; the blocks behind it are not run."""

        def leave(_module: Any, _inputs: Any, output: Any) -> None:
            raise _BlockReached(output[0] if isinstance(output, tuple) else output)

        handle = block.register_forward_hook(leave)
        try:
            self.decoder(**inputs, use_cache=False)
        except _BlockReached as reached:
            return reached.states
        finally:
            handle.remove()
        raise ModelError(f"{self.name}: its forward pass left out a block; its layers cannot be read")

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(n, vocabulary) fp32 logits of (n, width) final hidden states; only where `splits` is True.

        Raises: NumericalFailure, unless every row has a finite normaliser.
        """
        with torch.inference_mode():
            return self._finish(self.head(hidden))

    def full_logits(self, token_ids: Sequence[int]) -> torch.Tensor:
        """(n_tokens, vocabulary) fp32 logits by the model's own complete forward pass."""
        with torch.inference_mode():
            ids = torch.tensor([list(token_ids)], device=self.device)
            logits: torch.Tensor = self.module(
                input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False
            ).logits[0]
            return logits.float()

    def log_softmax(self, logits: torch.Tensor) -> torch.Tensor:
        """fp32 log-probabilities of logits.

        Raises: NumericalFailure if a row is NaN or infinite.
        """
        normaliser = torch.logsumexp(logits, dim=-1, keepdim=True)
        self.require_finite(normaliser)
        return logits - normaliser

    def require_finite(self, normaliser: torch.Tensor) -> None:
        """Refuse rows whose log normaliser is NaN or infinite.

        Raises: NumericalFailure.
        """
        if not bool(torch.isfinite(normaliser).all()):
            name = (self._active.name if self._active else "") or self.name
            raise NumericalFailure(
                f"{name} gives NaN or infinite logits in {str(self.dtype).removeprefix('torch.')}; {remedy(self.dtype)}"
            )

    def _finish(self, logits: torch.Tensor) -> torch.Tensor:
        """Scaling and soft cap that some architectures apply after the output matrix."""
        config = self.module.config.get_text_config()
        logits = logits.float()
        if (multiplier := getattr(config, "logit_scale", None)) is not None:
            logits = logits * multiplier
        if (divisor := getattr(config, "logits_scaling", None)) is not None:
            logits = logits / divisor
        if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
            logits = torch.tanh(logits / cap) * cap
        return logits

    def _check_split(self) -> bool:
        """Whether decoder + output matrix reproduce the model's own logits; if not, the whole model is run instead."""
        size = int(self.module.get_input_embeddings().num_embeddings)
        probe = [(7 * i + 1) % size for i in range(_CHECK_TOKENS)]
        with foreign_errors(self.name):
            whole = self.full_logits(probe)
        self.vocabulary_size = int(whole.shape[-1])
        if not bool(torch.isfinite(torch.logsumexp(whole, -1)).all()):
            return True  # NaN weights: every request will be refused by `require_finite`, which says so
        try:
            split = self.logits(self.hidden_rows([probe])[0])
        except (RuntimeError, TypeError, AttributeError, ValueError):
            return False
        # bf16 matrix products of another shape round differently; the differences that matter here are of order 1.
        tolerance = _CHECK_TOLERANCE if self.dtype == torch.float32 else 0.05 * float(whole.abs().max())
        return split.shape == whole.shape and float((split - whole).abs().max()) <= tolerance

    def _batched(
        self, sequences: Sequence[Sequence[int]], states_of: Callable[[dict[str, torch.Tensor]], torch.Tensor]
    ) -> list[torch.Tensor]:
        rows: dict[int, torch.Tensor] = {}
        for batch in batches_by_length([len(s) for s in sequences]):
            width = max(len(sequences[i]) for i in batch)
            ids = torch.zeros((len(batch), width), dtype=torch.long)
            mask = torch.zeros((len(batch), width), dtype=torch.long)
            for row, i in enumerate(batch):
                ids[row, : len(sequences[i])] = torch.tensor(list(sequences[i]), dtype=torch.long)
                mask[row, : len(sequences[i])] = 1
            inputs: dict[str, torch.Tensor] = {"input_ids": ids.to(self.device)}
            if not bool(mask.all()):
                # Right padding: causality keeps it from every real token, so positions need no correction.
                inputs["attention_mask"] = mask.to(self.device)
            with torch.inference_mode(), foreign_errors(self.name):
                states = states_of(inputs)
            for row, i in enumerate(batch):
                rows[i] = states[row, : len(sequences[i])].clone()
        return [rows[i] for i in range(len(sequences))]


def batches_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Indices in batches of similar length: at most `TOKENS_PER_PASS` padded tokens and `MAX_PADDING` padding each.

    Empty sequences are left to the last batch of one token's width.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    real = 0
    for i in order:
        if batches:
            width = max(lengths[batches[-1][0]], 1)
            padded = width * (len(batches[-1]) + 1)
            if padded <= TOKENS_PER_PASS and padded - (real + lengths[i]) <= MAX_PADDING * padded:
                batches[-1].append(i)
                real += lengths[i]
                continue
        batches.append([i])
        real = lengths[i]
    return batches


def remedy(dtype: torch.dtype) -> str:
    """Why a model or component of that dtype gives values that are not finite, and what to do, in words."""
    if dtype == torch.float32:
        return "its weights are damaged: download or fit it again, or give another"
    return "its weights are damaged or overflow: give --dtype fp32, or another checkpoint"


@contextmanager
def foreign_errors(name: str) -> Iterator[None]:
    """Turn torch's errors into one line that names the model."""
    try:
        yield
    except (RuntimeError, IndexError) as error:
        text = " ".join(str(error).split())
        if "memory" in text.lower():
            raise ModelError(
                f"{name}: out of memory; use dtype bf16, or fewer or shorter prompts ({text[:120]})"
            ) from error
        raise ModelError(f"{name}: the forward pass failed: {text[:200]}") from error
