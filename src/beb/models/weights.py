"""One set of decoder weights in memory: batched forward passes, and logits from hidden states chunk by chunk."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from beb.errors import ModelError, NumericalFailure
from beb.models.allocator import keep_freed
from beb.models.devices import memory_budget, require_loaded
from beb.models.hardware import Hardware
from beb.models.linears import use_fast_linears
from beb.models.memory import PASS, ROWS, Memory, cached_rows, is_out_of_memory, memory_errors, until_done
from beb.models.packing import packed, packed_attention, packed_inputs, supports_packing
from beb.models.sizes import token_bytes

TOKENS_PER_PASS = 2048
TOKENS_PER_CPU_PASS = 512
"""On a processor: the activations stay in its cache and in memory that the process has already."""

MAX_PADDING = 0.1
"""Where texts cannot be packed."""

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


Keep = Callable[[int, torch.Tensor], None]
"""Takes the index of a sequence and its hidden states, (n_tokens, width), which are not valid any longer afterwards."""

Long = Callable[[Sequence[int]], torch.Tensor | None]
"""Final hidden states of one sequence that is too long for a single pass, or None if it must be run in one."""


class Weights:
    """A causal language model's parameters, shared by every component that stands on them.

    The forward pass depends only on the swap that is active inside `activated`; outside it the tensors are the
    pristine ones, the same objects as at the start. What is computed besides them stays within `memory`. On a processor
    glibc's allocator is told to keep freed memory (`allocator.keep_freed`), in the whole process.
    """

    def __init__(self, module: Any, name: str, *, hardware: Hardware | None = None) -> None:
        self.module = module.eval().requires_grad_(False)
        self.name = name
        self.hardware = hardware or Hardware()
        parameter = next(module.parameters())
        require_loaded(module, name)
        self.device: torch.device = parameter.device
        self.memory = Memory(memory_budget(self.hardware, self.device))
        if self.device.type == "cpu":
            keep_freed()
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

    @cached_property
    def packs(self) -> bool:
        """Whether texts of any lengths are run together without padding; checked on the first use.

        Under the component that is active then: one with damaged weights leaves the others with padding.
        """
        with self._lock, memory_errors(self.name):
            return supports_packing(self)

    def parameter(self, name: str) -> torch.nn.Parameter | None:
        """The parameter of that name, or None."""
        return self._parameters.get(name)

    def hidden_rows(self, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Final hidden states of each sequence, (n_tokens, width) in the weights' dtype, in order."""
        rows: dict[int, torch.Tensor] = {}
        self.each_hidden(sequences, lambda i, states: rows.update({i: states.clone()}))
        return [rows[i] for i in range(len(sequences))]

    def each_hidden(
        self,
        sequences: Sequence[Sequence[int]],
        keep: Keep,
        *,
        long: Long | None = None,
    ) -> None:
        """Hand the final hidden states of each sequence to `keep`, in any order."""
        self._batched(
            sequences, lambda inputs: self.decoder(**inputs, use_cache=False).last_hidden_state, keep, long=long
        )

    def each_layer(self, sequences: Sequence[Sequence[int]], layer: int, keep: Keep) -> None:
        """Hand the hidden states after `layer` blocks (0: embeddings; negative: from the end) to `keep`."""
        block = self._block(layer)
        if block is not None:
            self._batched(sequences, lambda inputs: self._states_after(block, inputs), keep)
            return
        every = (int(self.module.config.get_text_config().num_hidden_layers) + 1) * self.state_bytes
        self._batched(
            sequences,
            lambda inputs: self.decoder(**inputs, use_cache=False, output_hidden_states=True).hidden_states[layer],
            keep,
            extra=every,
        )

    @property
    def state_bytes(self) -> int:
        """Bytes of one hidden state."""
        return int(self.module.config.get_text_config().hidden_size) * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of one fp32 row of the vocabulary."""
        return 4 * self.vocabulary_size

    @property
    def working_bytes(self) -> int:
        """Bytes that one row of the vocabulary takes besides, while it is made."""
        return self.vocabulary_size * (0 if self.dtype == torch.float32 else self.dtype.itemsize)

    def pass_tokens(self, columns: int, *, extra: float = 0.0, at_most: int | None = None) -> int:
        """Tokens that one forward pass may have. columns: what each attends to. extra: further bytes for each token."""
        if at_most is None:
            at_most = TOKENS_PER_CPU_PASS if self.device.type == "cpu" else TOKENS_PER_PASS
        size = token_bytes(self.module, itemsize=self.dtype.itemsize, columns=columns) + extra
        return self.memory.fits(PASS, size, at_most=at_most)

    def rows_at_once(self, at_most: int) -> int:
        """Rows of the vocabulary that may be drawn from together."""
        own = 2 * self.row_bytes + self.working_bytes  # repeated requests share a row, which is copied
        drawing = 5 * self.row_bytes  # the masses in fp32 and fp64
        if self.device.type == "cpu":  # drawn a few rows at a time
            left = self.memory.room(ROWS) - min(cached_rows(self.vocabulary_size), at_most) * drawing
            return max(1, min(at_most, left // own))
        return self.memory.fits(ROWS, own + drawing, at_most=at_most)

    def _block(self, layer: int) -> Any | None:
        """The block after which the hidden states of `layer` stand; None for the two ends, or an unknown layout."""
        n_layers = int(self.module.config.get_text_config().num_hidden_layers)
        index = layer if layer >= 0 else n_layers + 1 + layer
        if not 0 < index < n_layers:  # the embeddings are no block, and the last states have passed the final norm
            return None
        lists = [m for m in self.decoder.children() if isinstance(m, torch.nn.ModuleList) and len(m) == n_layers]
        return lists[0][index - 1] if len(lists) == 1 else None

    def _states_after(self, block: Any, inputs: dict[str, Any]) -> torch.Tensor:
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

    def full_logits(self, token_ids: Sequence[int], *, rows: range | None = None) -> torch.Tensor:
        """(n_tokens, vocabulary) fp32 logits by the model's own complete forward pass; rows: of these tokens only."""
        with torch.inference_mode():
            ids = torch.tensor([list(token_ids)], device=self.device)
            chosen: dict[str, Any] = {}
            if rows is not None and self.takes_rows:
                chosen = {"logits_to_keep": torch.arange(rows.start, rows.stop, device=self.device)}
            logits: torch.Tensor = self.module(
                input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **chosen
            ).logits[0]
            if rows is not None and not chosen:
                logits = logits[rows.start : rows.stop].clone()
            logits = logits.float()
            return logits.cpu() if logits.device.type == "mps" else logits

    @property
    def takes_rows(self) -> bool:
        """Whether the model's own forward pass can be told for which tokens logits are wanted."""
        return "logits_to_keep" in inspect.signature(self.module.forward).parameters

    def log_softmax_(self, logits: torch.Tensor) -> torch.Tensor:
        """fp32 log-probabilities of (n, vocabulary) fp32 logits, in their place.

        Raises: NumericalFailure if a row is NaN or infinite.
        """
        normalisers = []
        rows = cached_rows(logits.shape[-1]) if logits.device.type == "cpu" else max(len(logits), 1)
        for part in torch.split(logits, rows):
            normaliser = torch.logsumexp(part, dim=-1, keepdim=True)
            part.sub_(normaliser)
            normalisers.append(normaliser)
        self.require_finite(torch.cat(normalisers))
        return logits

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
            logits.mul_(multiplier)
        if (divisor := getattr(config, "logits_scaling", None)) is not None:
            logits.div_(divisor)
        if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
            logits.div_(cap).tanh_().mul_(cap)
        # Drawing and divergences sum in fp64, which Apple's GPUs do not have.
        return logits.cpu() if logits.device.type == "mps" else logits

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
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            return False
        # bf16 matrix products of another shape round differently; the differences that matter here are of order 1.
        tolerance = _CHECK_TOLERANCE if self.dtype == torch.float32 else 0.05 * float(whole.abs().max())
        return split.shape == whole.shape and float((split - whole).abs().max()) <= tolerance

    def _batched(
        self,
        sequences: Sequence[Sequence[int]],
        states_of: Callable[[dict[str, Any]], torch.Tensor],
        keep: Keep,
        *,
        long: Long | None = None,
        extra: float = 0.0,
    ) -> None:
        waiting = dict(enumerate(sequences))

        def work() -> None:
            left = list(waiting)
            lengths = [len(sequences[i]) for i in left]
            limit = self.pass_tokens(max(lengths, default=0), extra=extra)
            group = packed if len(left) > 1 and self.packs else batches_by_length
            for batch in group(lengths, tokens=limit):
                chosen = [left[k] for k in batch]
                with torch.inference_mode(), foreign_errors(self.name):
                    first = sequences[chosen[0]]
                    # One that does not fit stands alone: a batch of several has at most `limit` tokens.
                    room = self.pass_tokens(len(first), extra=extra, at_most=max(TOKENS_PER_PASS, len(first)))
                    pieces = None if long is None or len(first) <= room else long(first)
                    states = self._run([sequences[i] for i in chosen], states_of) if pieces is None else [pieces]
                    for i, own in zip(chosen, states, strict=True):
                        keep(i, own)
                        del waiting[i]

        until_done(self.memory, work)

    def _run(
        self, batch: Sequence[Sequence[int]], states_of: Callable[[dict[str, Any]], torch.Tensor]
    ) -> Sequence[torch.Tensor]:
        """What a pass gives for each sequence, (n_tokens, width)."""
        lengths = [len(ids) for ids in batch]
        if len(set(lengths)) > 1 and self.packs:
            with self._lock, packed_attention(self.decoder.config):
                states = states_of(packed_inputs(batch, self.device))[0]
            return torch.split(states, lengths)
        states = states_of(self._inputs(batch))
        return [states[row, :n] for row, n in enumerate(lengths)]

    def _inputs(self, batch: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Token ids with right padding: causality keeps it from every real token, so positions need no correction."""
        width = max(len(ids) for ids in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        for row, sequence in enumerate(batch):
            ids[row, : len(sequence)] = torch.tensor(list(sequence), dtype=torch.long)
            mask[row, : len(sequence)] = 1
        inputs: dict[str, torch.Tensor] = {"input_ids": ids.to(self.device)}
        if not bool(mask.all()):
            inputs["attention_mask"] = mask.to(self.device)
        return inputs


def batches_by_length(lengths: Sequence[int], *, tokens: int = TOKENS_PER_PASS) -> list[list[int]]:
    """Indices in batches of similar length: at most `tokens` padded tokens and `MAX_PADDING` padding each.

    A sequence that is longer stands alone. Empty sequences are left to the last batch of one token's width.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    real = 0
    for i in order:
        if batches:
            width = max(lengths[batches[-1][0]], 1)
            padded = width * (len(batches[-1]) + 1)
            if padded <= tokens and padded - (real + lengths[i]) <= MAX_PADDING * padded:
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
    """Turn torch's errors into one line that names the model.

    Raises: OutOfMemory, ModelError.
    """
    try:
        with memory_errors(name):
            yield
    except (RuntimeError, IndexError) as error:
        text = " ".join(str(error).split())
        raise ModelError(f"{name}: the forward pass failed: {text[:200]}") from error
