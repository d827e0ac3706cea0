"""Batches that fit into a memory budget, and smaller ones where memory runs out all the same."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from beb.errors import OutOfMemory
from beb.interfaces.language_model import LanguageModel
from beb.models.allocator import give_back

DEFAULT_BUDGET = 2 * 2**30

KEPT, PASS, ROWS = 0.5, 0.15, 0.25
"""Shares of the budget: what is kept between passes (keys and values, final states), one forward pass, and rows of the
width of the vocabulary. The rest is for what is not counted, such as the workspace of a matrix product."""

_CACHED_ENTRIES = 400_000
DIVERGENCE_BYTES = 20
"""Of an entry of a row while a divergence is summed: two fp32 numbers, a flag and an fp64 copy."""

_MOST_HALVINGS = 12
_SIGNS = (
    "out of memory",
    "allocate memory",  # "DefaultCPUAllocator: can't allocate memory", "Cannot allocate memory"
    "not enough memory",
    "bad_alloc",
    "bad allocation",
    "could not create a memory",
)
_NO_KERNEL = "could not create a primitive"
"""oneDNN's whole message where there is no memory for a kernel; one that it does not have is "... descriptor"."""


class Memory:
    """The budget of one set of weights. It is halved for good where the machine has less than it says."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._halvings = 0

    def fits(self, share: float, size: float, *, at_most: int) -> int:
        """How many things of `size` bytes fit into a share of the budget: at least 1.

        After memory has run out, half, a quarter, ... of what fitted before.
        """
        n = min(at_most, int(self.budget * share / max(size, 1.0)))
        return max(1, n >> self._halvings)

    def room(self, share: float) -> int:
        """Bytes of a share of the budget."""
        return int(self.budget * share) >> self._halvings

    def halve(self) -> bool:
        """Let half as much fit from now on; False, and everything as at first, if that has been tried often enough."""
        self._halvings = 0 if self._halvings >= _MOST_HALVINGS else self._halvings + 1
        return self._halvings > 0


@dataclass(frozen=True, slots=True)
class Footprint:
    """What scoring takes. budget: bytes. token: bytes kept for each token of a text. before: tokens that each text has
    besides. row: bytes kept of each row of the vocabulary. working: bytes besides, for each row that is being made.
    """

    budget: int
    token: float
    row: float
    working: float = 0.0
    before: int = 0


@runtime_checkable
class Measured(Protocol):
    """A model that says what scoring under it takes."""

    @property
    def footprint(self) -> Footprint:
        """Of its `distributions`."""


def footprint_of(models: Iterable[LanguageModel]) -> Footprint | None:
    """What scoring under several models at once takes; None if none of them says what it takes itself."""
    found = [model.footprint for model in models if isinstance(model, Measured)]
    if not found:
        return None
    return Footprint(
        budget=min(each.budget for each in found),
        token=sum(each.token for each in found),
        row=sum(each.row for each in found),
        working=max(each.working for each in found),
        before=max(each.before for each in found),
    )


def cached_rows(vocabulary_size: int) -> int:
    """Rows of the vocabulary that stay in a processor's cache from one operation to the next."""
    return max(1, _CACHED_ENTRIES // vocabulary_size)


def chunk_size(size: Footprint | None, vocabulary_size: int, *, at_most: int) -> int:
    """Rows of the vocabulary under all models that are held at once, besides those whose divergence is being summed."""
    if size is None:
        return at_most
    row = max(size.row + size.working, 1.0)
    left = size.budget * ROWS - min(cached_rows(vocabulary_size), at_most) * DIVERGENCE_BYTES * vocabulary_size
    return max(1, min(at_most, int(left / row)))


def texts_at_once(lengths: Sequence[int], start: int, size: Footprint | None) -> int:
    """End of the range of texts from `start` on whose final states fit into the budget together."""
    if size is None:
        return len(lengths)
    left, stop = size.budget * KEPT, start
    while stop < len(lengths) and (stop == start or left >= size.token * (lengths[stop] + size.before)):
        left -= size.token * (lengths[stop] + size.before)
        stop += 1
    return stop


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a processor's or a GPU's memory, or the address space, was exhausted."""
    text = str(error).strip().lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and (text == _NO_KERNEL or any(sign in text for sign in _SIGNS))
    )


@contextmanager
def memory_errors(name: str) -> Iterator[None]:
    """Name exhausted memory for what it is. name: of what ran out.

    Raises: OutOfMemory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        text = " ".join(str(error).split())[:120]
        raise OutOfMemory(
            f"{name}: out of memory even in the smallest batch; use dtype bf16, or fewer or shorter sentences ({text})"
        ) from error


def until_done(memory: Memory, work: Callable[[], None]) -> None:
    """Call `work` until it succeeds; when memory runs out it is called again, and less fits.

    work: leaves out, when called again, what it has finished.
    Raises: OutOfMemory if there was nothing left to halve.
    """
    while True:
        try:
            work()
        except OutOfMemory:
            if not memory.halve():
                raise
        else:
            return
        release()  # only here are the frames of the failed attempt, and their tensors, gone


def in_parts(n: int, stop_of: Callable[[int], int], work: Callable[[int, int], None]) -> None:
    """work(start, stop) on ranges that cover 0..n-1, one after another; where memory runs out, on half of a range.

    stop_of: end of the range that begins at an index.
    Raises: OutOfMemory if a range of one is too large.
    """
    start, most = 0, n
    while start < n:
        stop = min(stop_of(start), start + most, n)
        try:
            work(start, stop)
        except OutOfMemory:
            if stop - start == 1:
                raise
            most = (stop - start) // 2
        else:
            start = stop
            continue
        release()


def peak_bytes() -> float:
    """The most memory that this process has had; on Linux without that of the process that started it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        status = ""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if found is not None:
        return 1024.0 * int(found[1])
    import resource  # Windows has none

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def release() -> None:
    """Give freed memory back where others can take it."""
    import torch

    gc.collect()
    give_back()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
