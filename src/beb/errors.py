"""Every error that beb raises on purpose.

    BebError
    ├── InputError              something typed or handed over is wrong
    │   ├── UnknownName         no such model, behavior, world, ...
    │   ├── BadStatements       a statement file or pack that cannot be used
    │   └── BadSpec             an option outside its range, or options that contradict each other
    ├── ModelError              a model, adapter or tokenizer cannot do what was asked
    │   ├── NotAModel           the path or file holds no loadable model
    │   ├── AdapterMismatch     the adapter was made for another base
    │   ├── NumericalFailure    NaN or infinite logits
    │   ├── OutOfMemory         not even the smallest batch fits
    │   ├── ContextTooShort     the prompt does not fit in the context window
    │   ├── NoChatTemplate      the tokenizer has none
    │   ├── TokenizerMismatch   exact divergences need one shared tokenizer
    │   ├── NoDistribution      a server gives log-probabilities of tokens, not the whole next-token distribution
    │   └── ServerFailed        a server refused, gave something unusable, or is gone
    ├── StoreError              the run folder
    │   ├── StoreDamaged        the file is no longer a readable database
    │   ├── StoreFull           no space left, or read-only
    │   ├── StoreBusy           another process is writing to it
    │   └── SpecChanged         the folder holds a run with another specification
    ├── EstimateError           the sample cannot carry the statistic
    │   └── TooFewPrompts
    ├── NoBound                 the theorems say nothing here (for example α = 0)
    ├── GateFailed              the fitted components are too poor to interpret
    └── ClusterError            the workers on other machines cannot be used
        └── WorkersLost         one piece of work has lost several of them

Each message is one line: what was given, what is accepted, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BebError(Exception):
    """Base of all errors raised on purpose; the command line prints its message and exits with `exit_code`."""

    exit_code = 1


class InputError(BebError):
    """Something typed or handed over is wrong."""

    exit_code = 2


class UnknownName(InputError):
    """No such model, behavior, world or experiment."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], hint: str = "") -> UnknownName:
        """Error for `name`, with the nearest of the `known` names."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        nearest = f"; did you mean {near[0]!r}?" if near else "."
        tail = f" {hint}" if hint else ""
        return cls(f"unknown {kind} {name!r}{nearest} Known: {', '.join(names)}.{tail}")


class BadStatements(InputError):
    """A statement file or pack that cannot be used."""


class BadSpec(InputError):
    """An option outside its range, or options that contradict each other."""


class ModelError(BebError):
    """A model, adapter or tokenizer cannot do what was asked."""

    exit_code = 3


class NotAModel(ModelError):
    """The path or file holds no loadable model."""


class AdapterMismatch(ModelError):
    """The adapter was made for another base model."""


class NumericalFailure(ModelError):
    """The model returned NaN or infinite logits."""


class OutOfMemory(ModelError):
    """Memory ran out; where it can, the model goes on with a smaller batch."""


class ContextTooShort(ModelError):
    """The prompt does not fit in the model's context window."""


class NoChatTemplate(ModelError):
    """The tokenizer has no chat template."""


class TokenizerMismatch(ModelError):
    """Exact divergences need components that share one tokenizer."""


class NoDistribution(ModelError):
    """The backend gives log-probabilities of given tokens only, not of the whole vocabulary."""


class ServerFailed(ModelError):
    """A server refused a request, answered something unusable, or cannot be reached."""


class StoreError(BebError):
    """The run folder cannot be used."""

    exit_code = 4


class StoreDamaged(StoreError):
    """The run file is no longer a readable database."""


class StoreFull(StoreError):
    """No space left on the device, or the folder is read-only."""


class StoreBusy(StoreError):
    """Another process is writing to the run folder."""


class SpecChanged(StoreError):
    """The folder holds a run with another specification."""


class EstimateError(BebError):
    """The sample cannot carry the statistic."""

    exit_code = 5


class TooFewPrompts(EstimateError):
    """Fewer independent prompts than the statistic needs."""


class NoBound(BebError):
    """The theorems say nothing for these values."""

    exit_code = 6


class GateFailed(BebError):
    """The fitted components are too poor to interpret."""

    exit_code = 7


class ClusterError(BebError):
    """The workers on other machines cannot be used."""

    exit_code = 8


class WorkersLost(ClusterError):
    """One piece of work has lost several workers, and would lose more."""
