"""Real tokens that go through a network, and the time that is spent in it and in torch's operations outside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from beb.models.rowcache import RowCache
from beb.models.weights import Weights


class Meter:
    """While entered: what passes through the weights given, each set once.

    token_forwards: tokens that the decoder was given, without padding that its mask shows. padded: with it.
    network_seconds: in the decoder and the output matrix. passes: calls of the decoder.
    """

    def __init__(self, *weights: Weights) -> None:
        self._weights = {id(each): each for each in weights}
        self.token_forwards = self.padded = self.passes = 0
        self.network_seconds = 0.0
        self.depth = 0
        self._since = 0.0
        self._handles: list[Any] = []

    def __enter__(self) -> Meter:
        decoders = [each.decoder for each in self._weights.values()]
        modules = {id(m): m for each in self._weights.values() for m in (each.module, each.decoder, each.head)}
        for module in modules.values():
            count = any(module is decoder for decoder in decoders)
            self._handles += [
                module.register_forward_pre_hook(self._begin(count), with_kwargs=True),
                module.register_forward_hook(self._end, always_call=True),
            ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _begin(self, count: bool) -> Callable[[Any, Any, Any], None]:
        def begin(_module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
            if count:
                self._count(kwargs.get("input_ids", args[0] if args else None), kwargs)
            if self.depth == 0:
                self._since = time.perf_counter()
            self.depth += 1

        return begin

    def _end(self, *_: Any) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.network_seconds += time.perf_counter() - self._since

    def _count(self, ids: Any, kwargs: Mapping[str, Any]) -> None:
        if ids is None:
            ids = kwargs["inputs_embeds"][..., 0]
        mask = kwargs.get("attention_mask")
        real = int(ids.numel())
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            real = int(mask[:, -ids.shape[1] :].sum())
        self.passes += 1
        self.padded += int(ids.numel())
        self.token_forwards += real


class RowMeter:
    """While entered: tokens given to the caches of texts that are sampled. real, padded: without and with padding."""

    def __init__(self) -> None:
        self.real = self.padded = 0
        self._extend = RowCache.extend

    def __enter__(self) -> RowMeter:
        extend = self._extend

        def counted(cache: RowCache, tokens: Sequence[Sequence[int]], **others: Any) -> torch.Tensor:
            self.real += sum(map(len, tokens))
            self.padded += len(tokens) * max(map(len, tokens))
            return extend(cache, tokens, **others)

        RowCache.extend = counted  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        RowCache.extend = self._extend  # type: ignore[method-assign]


class TorchClock(TorchFunctionMode):
    """While entered: time of torch's operations called outside the network that a meter watches."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter
        self._inside = False
        self.seconds = 0.0

    def __torch_function__(
        self, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if self._meter.depth or self._inside:
            return func(*args, **(kwargs or {}))
        self._inside, since = True, time.perf_counter()
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self._inside = False
            self.seconds += time.perf_counter() - since


def timed(work: Callable[[], object], *, repeats: int = 1) -> float:
    """Seconds of the quickest of some repetitions."""
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def entered(*contexts: Any) -> ExitStack:
    """Several contexts as one."""
    stack = ExitStack()
    for context in contexts:
        stack.enter_context(context)
    return stack
