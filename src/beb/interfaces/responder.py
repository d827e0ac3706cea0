"""What a chat API is to the rest of the program: text in, text out, no tokens and no probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from beb.interfaces.language_model import Failure


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """One reply to one user turn, at temperature 1.

    max_tokens: of the server's own tokenizer; the reply is cut there. seed: asked of the server, which may ignore it.
    """

    user: str
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply's text. cut: whether the server stopped it at the token limit."""

    text: str
    cut: bool


@dataclass(frozen=True, slots=True)
class ResponderInfo:
    """What identifies a chat API. fingerprint: of its address and name, as its weights cannot be seen."""

    name: str
    fingerprint: str
    remark: str


class Responder(ABC):
    """A model that only answers."""

    info: ResponderInfo

    @abstractmethod
    def reply(self, requests: Sequence[ReplyRequest]) -> list[Reply | Failure]:
        """A reply to each request, in order. Raises: ServerFailed if the server cannot be reached at all."""
