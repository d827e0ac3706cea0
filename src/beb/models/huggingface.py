"""Causal language models from Hugging Face checkpoints, and the components that share their weights."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from beb.errors import BadSpec, ContextTooShort, NotAModel
from beb.interfaces.language_model import (
    Completion,
    Distributions,
    Failure,
    LanguageModel,
    ModelInfo,
    SampleRequest,
    TokenIds,
)
from beb.models.decode import sample_requests
from beb.models.devices import place
from beb.models.fingerprint import checkpoint_fingerprint
from beb.models.hardware import Hardware
from beb.models.memory import KEPT, Footprint, memory_errors, until_done
from beb.models.pretrained import from_pretrained
from beb.models.quiet import quiet_loading
from beb.models.rowcache import supports_rows
from beb.models.sentences import SentenceRule
from beb.models.shared_start import WORTH_SHARING, rows_after_start, states_of_long
from beb.models.tokenization import (
    chat_parts,
    plain_ids,
    render_chat,
    sentence_rule,
    start_context,
    stop_ids,
    tokenizer_hash,
)
from beb.models.weights import Weights, WeightSwap

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_UNBOUNDED_CONTEXT = 2**20
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


class HiddenRows(Distributions):
    """Distributions kept as final hidden states, (n_rows, width); logits are made for the rows asked for."""

    def __init__(self, weights: Weights, hidden: torch.Tensor, swap: WeightSwap | None) -> None:
        self.n_rows = len(hidden)
        self._weights, self._hidden, self._swap = weights, hidden, swap

    def log_probs(self, start: int, stop: int) -> torch.Tensor:
        with torch.inference_mode(), self._weights.activated(self._swap):
            return self._weights.log_softmax_(self._weights.logits(self._hidden[start:stop]))


class _Collected:
    """Final hidden states of several sequences, put into their places in one tensor as they come."""

    def __init__(self, weights: Weights, lengths: Sequence[int]) -> None:
        self._weights = weights
        self._edges = np.cumsum([0, *lengths]).tolist()
        self._hidden: torch.Tensor | None = None

    def keep(self, i: int, states: torch.Tensor) -> None:
        """states: (n_tokens, width) of sequence i."""
        if self._hidden is None:
            self._hidden = states.new_empty((self._edges[-1], states.shape[1]))
        self._hidden[self._edges[i] : self._edges[i + 1]] = states

    def hidden(self) -> torch.Tensor:
        """(n_rows, width), complete."""
        if self._hidden is None:
            return torch.empty((0, 1), dtype=self._weights.dtype, device=self._weights.device)
        return self._hidden


class WholePasses(Distributions):
    """For models whose logits are more than an output matrix on hidden states: texts are run in full when needed."""

    def __init__(self, weights: Weights, contexts: Sequence[TokenIds], n_start: int, swap: WeightSwap | None) -> None:
        self._weights, self._contexts, self._n_start, self._swap = weights, contexts, n_start, swap
        self._edges = np.cumsum([0, *(len(c) - n_start + 1 for c in contexts)])
        self.n_rows = int(self._edges[-1])
        self._held = (0, 0, torch.empty(0))

    def log_probs(self, start: int, stop: int) -> torch.Tensor:
        parts = []
        for k in range(len(self._contexts)):
            low, high = max(start, int(self._edges[k])), min(stop, int(self._edges[k + 1]))
            while low < high:
                first, rows = self._rows(k, low)
                parts.append(rows[low - first : high - first])
                low += len(parts[-1])
        return torch.cat(parts)

    def _rows(self, k: int, row: int) -> tuple[int, torch.Tensor]:
        """Rows that follow one another, with the one asked for among them, and the number of the first of them."""
        held, size, _ = self._held
        if not held <= row < held + size:
            self._held = (0, 0, torch.empty(0))
            until_done(self._weights.memory, lambda: self._run(k, row))
        return self._held[0], self._held[2]

    def _run(self, k: int, row: int) -> None:
        """Hold as many rows of text k, from one on, as there is room for."""
        at_most = int(self._edges[k + 1]) - row
        size = self._weights.memory.fits(KEPT / 8, self._weights.row_bytes, at_most=at_most)
        first = self._n_start - 1 + row - int(self._edges[k])
        with torch.inference_mode(), self._weights.activated(self._swap), memory_errors(self._weights.name):
            logits = self._weights.full_logits(self._contexts[k], rows=range(first, first + size))
            self._held = (row, size, self._weights.log_softmax_(logits))


class HuggingFaceModel(LanguageModel):
    """Any decoder of the transformers library, or a component on the same weights (an adapter, a persona).

    weights, tokenizer, rule: shared by a model and its components. swap: the merged adapter, if any.
    """

    def __init__(
        self,
        weights: Weights,
        tokenizer: Any,
        rule: SentenceRule,
        info: ModelInfo,
        start_ids: TokenIds,
        *,
        swap: WeightSwap | None = None,
        row_cache: bool | None = None,
    ) -> None:
        self.weights, self.tokenizer, self.rule, self.info, self.swap = weights, tokenizer, rule, info, swap
        self._start_ids = start_ids
        self._row_cache = row_cache
        self._frames: dict[str | None, tuple[TokenIds, TokenIds]] = {}

    @property
    def start_ids(self) -> TokenIds:
        return self._start_ids

    @property
    def sampling_key(self) -> tuple[int, int]:
        """Equal for components that differ in their start context alone: their `sample` is the same function."""
        return id(self.weights), id(self.swap)

    @cached_property
    def row_cache(self) -> bool:
        """Whether sampling may share prefixes in a row cache; checked on the first use."""
        if self._row_cache is None:
            self._row_cache = supports_rows(self.weights)
        return self._row_cache

    def component(
        self, info: ModelInfo, *, start_ids: TokenIds | None = None, swap: WeightSwap | None = None
    ) -> HuggingFaceModel:
        """Another distribution on the same weights and tokenizer."""
        return HuggingFaceModel(
            self.weights,
            self.tokenizer,
            self.rule,
            info,
            self._start_ids if start_ids is None else start_ids,
            swap=self.swap if swap is None else swap,
            row_cache=self.row_cache,
        )

    def encode(self, text: str) -> TokenIds:
        return plain_ids(self.tokenizer, text)

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def ends_sentence(self, token_id: int) -> bool:
        return bool(self.rule.terminators[token_id])

    def chat_frame(self, system: str | None = None) -> tuple[TokenIds, TokenIds]:
        if system not in self._frames:
            self._frames[system] = chat_parts(self.tokenizer, self.info.name, system)
        return self._frames[system]

    def chat_text(self, content: str, system: str | None = None) -> str:
        """The chat template's text for one user turn, up to where the reply begins.

        Raises: NoChatTemplate.
        """
        return render_chat(self.tokenizer, self.info.name, content, system)

    def sample(self, requests: Sequence[SampleRequest]) -> list[Completion | Failure]:
        row_cache = self.row_cache
        with self.weights.activated(self.swap):
            return sample_requests(
                self.weights,
                requests,
                rule=self.rule,
                context_length=self.info.context_length,
                decode=self.decode,
                row_cache=row_cache,
            )

    def distributions(self, sequences: Sequence[TokenIds]) -> Distributions:
        start = self._start_ids
        for ids in sequences:
            self._require_room(len(start) + len(ids))
        # The last token of a text predicts nothing that is asked for.
        contexts = [start + tuple(ids[:-1]) for ids in sequences if ids]
        if not self.weights.splits:
            return WholePasses(self.weights, contexts, len(start), self.swap)
        kept = _Collected(self.weights, [len(context) - len(start) + 1 for context in contexts])
        with self.weights.activated(self.swap), memory_errors(self.info.name), torch.inference_mode():
            if len(start) >= WORTH_SHARING and len(contexts) > 1 and self.row_cache:
                rows_after_start(self.weights, start, [ids for ids in sequences if ids], kept.keep)
            else:
                self.weights.each_hidden(contexts, lambda i, s: kept.keep(i, s[len(start) - 1 :]), long=self._long)
        return HiddenRows(self.weights, kept.hidden(), self.swap)

    def _long(self, token_ids: Sequence[int]) -> torch.Tensor | None:
        """A text that is too long for one pass, run in pieces if the model can be stopped and continued."""
        return states_of_long(self.weights, token_ids) if self.row_cache else None

    @property
    def footprint(self) -> Footprint:
        """What its `distributions` take."""
        weights = self.weights
        token = weights.state_bytes if weights.splits else 0
        return Footprint(weights.memory.budget, token, weights.row_bytes, weights.working_bytes)

    def hidden_states(self, texts: Sequence[str], layer: int) -> npt.NDArray[np.float32]:
        """Mean over the tokens of each text of the hidden states after `layer` blocks, start context in place.

        layer: 0 is the embedding, n the n-th block; negative counts from the end.
        Returns: (n_texts, width) fp32; an empty text is represented by its start context's last state.
        Raises: ContextTooShort, BadSpec.
        """
        n_layers = int(self.weights.module.config.get_text_config().num_hidden_layers)
        if not -n_layers - 1 <= layer <= n_layers:
            raise BadSpec(f"{self.info.name} has hidden states 0 to {n_layers}, not {layer}")
        start = self._start_ids
        sequences = [start + self.encode(text) for text in texts]
        for ids in sequences:
            self._require_room(len(ids))
        width = int(self.weights.module.config.get_text_config().hidden_size)
        means = np.empty((len(texts), width), dtype=np.float32)

        def keep(i: int, states: torch.Tensor) -> None:
            means[i] = states[min(len(start), len(states) - 1) :].float().mean(0).cpu().numpy()

        with self.weights.activated(self.swap):
            self.weights.each_layer(sequences, layer, keep)
        return means

    def _require_room(self, n_tokens: int) -> None:
        if n_tokens > self.info.context_length:
            raise ContextTooShort(
                f"{self.info.name} has a context of {self.info.context_length} tokens and the text with its start "
                f"context has {n_tokens}; use fewer or shorter sentences"
            )


def load_checkpoint(
    folder: Path,
    *,
    name: str,
    dtype: str = "fp32",
    device: str | None = None,
    hardware: Hardware | None = None,
    fingerprint: str | None = None,
) -> HuggingFaceModel:
    """A model from a local folder of config.json, *.safetensors and tokenizer files.

    dtype: "fp32", "bf16" or "fp16". hardware: where it runs, in how much memory; device: short for a hardware with the
    usual memory budget. fingerprint: of the weights, where the caller has it already.
    Raises: NotAModel, BadSpec, OutOfMemory.
    """
    if dtype not in DTYPES:
        raise BadSpec(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    hardware = hardware or Hardware(device or "auto")
    require_safetensors(folder)
    placement = place(hardware, DTYPES[dtype])
    with quiet_loading(), memory_errors(name):
        module, tokenizer = from_pretrained(folder, name, DTYPES[dtype], placement)
    return wrap(
        module,
        tokenizer,
        name=name,
        fingerprint=_with_dtype(fingerprint or checkpoint_fingerprint(folder), dtype),
        hardware=hardware,
    )


def wrap(
    module: Any, tokenizer: Any, *, name: str, fingerprint: str, hardware: Hardware | None = None
) -> HuggingFaceModel:
    """A loaded transformers decoder and its tokenizer as a LanguageModel; its weights may be laid out anew.

    On a processor, glibc's allocator is told to keep freed memory in this process (`beb.models.allocator`).

    fingerprint: hash of everything that determines the probabilities. hardware: where the module was put.
    Raises: NotAModel if no token can start a text, or some weights are on no device.
    """
    start_ids, context = start_context(tokenizer, name)
    weights = Weights(module, name, hardware=hardware)
    config = module.config.get_text_config()
    stops = stop_ids(tokenizer, (config, getattr(module, "generation_config", None)))
    dtype = next((key for key, value in DTYPES.items() if value == weights.dtype), str(weights.dtype))
    info = ModelInfo(
        name=name,
        kind="checkpoint",
        fingerprint=fingerprint,
        tokenizer=tokenizer_hash(tokenizer),
        vocabulary_size=weights.vocabulary_size,
        context_length=_context_length(config, tokenizer),
        dtype=dtype,
        context=context,
        has_chat_template=bool(getattr(tokenizer, "chat_template", None)),
    )
    return HuggingFaceModel(
        weights, tokenizer, sentence_rule(tokenizer, weights.vocabulary_size, stops), info, start_ids
    )


def derived_info(base: ModelInfo, *, name: str, kind: str, fingerprint: str, context: str | None = None) -> ModelInfo:
    """The record of a component that shares its base's tokenizer, context window and dtype."""
    return dataclasses.replace(
        base, name=name, kind=kind, fingerprint=fingerprint, context=base.context if context is None else context
    )


def require_safetensors(folder: Path) -> None:
    """Refuse a folder that holds no safetensors checkpoint.

    Raises: NotAModel, saying what a model folder holds, or that pickled weights are never loaded.
    """
    if not (folder / "config.json").is_file():
        raise NotAModel(
            f"{folder} holds no config.json; a model folder holds config.json, *.safetensors and the tokenizer's files"
        )
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise NotAModel(
            f"{folder} holds only pickled weights ({pickles[0]}), which can run code and are never loaded; "
            "convert them to safetensors"
        )
    raise NotAModel(
        f"{folder} holds no *.safetensors; a model folder holds config.json, *.safetensors and the tokenizer's files"
    )


def _context_length(config: Any, tokenizer: Any) -> int:
    for value in (getattr(config, "max_position_embeddings", None), getattr(tokenizer, "model_max_length", None)):
        if isinstance(value, int) and 0 < value < _UNBOUNDED_CONTEXT:
            return value
    return _UNBOUNDED_CONTEXT


def _with_dtype(fingerprint: str, dtype: str) -> str:
    return hashlib.sha256(f"{fingerprint}:{dtype}".encode()).hexdigest()
