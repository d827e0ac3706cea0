"""What every backend checks of a sample request before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from beb.errors import BadSpec
from beb.interfaces.language_model import Failure, SampleRequest

CONTEXT_FULL = "context-full"


def refuse_unusable(requests: Sequence[SampleRequest]) -> None:
    """Raises: BadSpec for a request that asks for nothing, or starts from nothing."""
    for request in requests:
        if not request.prefix or request.n_sentences < 1 or request.max_sentence_tokens < 1 or request.seed < 0:
            raise BadSpec(
                f"sample request with {len(request.prefix)} prefix tokens, {request.n_sentences} sentences, "
                f"{request.max_sentence_tokens} tokens per sentence, seed {request.seed}; "
                "it needs a start token, at least 1 sentence of at least 1 token, and a seed >= 0"
            )


def no_room(request: SampleRequest, context_length: int) -> Failure | None:
    """The failure of a request whose longest possible text would not fit, else None."""
    needed = len(request.prefix) + request.n_sentences * request.max_sentence_tokens
    if needed <= context_length:
        return None
    return Failure(
        CONTEXT_FULL,
        f"{len(request.prefix)} tokens before and up to {request.n_sentences * request.max_sentence_tokens} sampled "
        f"exceed the context of {context_length}",
    )
