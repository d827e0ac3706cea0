"""A chat API: a model that answers over HTTP and tells nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beb.errors import BadSpec
from beb.interfaces.language_model import Failure
from beb.interfaces.responder import Reply, ReplyRequest, Responder, ResponderInfo
from beb.models.fingerprint import combined
from beb.models.replies import read_cards, read_reply
from beb.models.served import WHOLE_DISTRIBUTION
from beb.models.server_address import ServerAddress, parse_address
from beb.models.serving import server_failed
from beb.models.transport import REFUSED, Transport

CHAT = "/v1/chat/completions"
_STANDARD = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


class ChatApi(Responder):
    """A model behind POST /v1/chat/completions.

    extra: what is asked besides the options that every such API knows.
    """

    def __init__(self, transport: Transport, info: ResponderInfo, name: str, extra: Mapping[str, Any]) -> None:
        self.info = info
        self._transport, self._name, self._extra = transport, name, extra

    def reply(self, requests: Sequence[ReplyRequest]) -> list[Reply | Failure]:
        return self._transport.map(self._ask, requests)

    def _ask(self, request: ReplyRequest) -> Reply | Failure:
        body = {
            "model": self._name,
            "messages": [{"role": "user", "content": request.user}],
            "max_tokens": request.max_tokens,
            # Some APIs take 32 bits only.
            "seed": request.seed % 2**31,
            **{name: WHOLE_DISTRIBUTION[name] for name in _STANDARD},
            **self._extra,
        }
        return self._transport.post(CHAT, body, read_reply)


def load_chat_api(name: str | ServerAddress) -> ChatApi:
    """The model that "openai:URL#name" names.

    Raises: BadSpec if there is no name, ServerFailed if the server does not answer or refuses the key.
    """
    address = parse_address(name) if isinstance(name, str) else name
    transport = Transport(address)
    cards = transport.get("/v1/models", read_cards)
    if isinstance(cards, Failure) and (cards.kind != REFUSED or "status 401" in cards.detail):
        raise server_failed(address, cards)
    # An API without a list of models (it answers 404) is asked for what was named.
    known = [] if isinstance(cards, Failure) else cards
    if not address.name:
        raise BadSpec(f"{address.shown}: write the model's name after a #; listed are {_names(known)}")
    owners = {card.owner for card in known if card.name == address.name}
    if known and not owners:
        raise BadSpec(f"{address.url} lists no model {address.name!r}; listed are {_names(known)}")
    is_vllm = "vllm" in owners
    how = "temperature 1" if is_vllm else "temperature 1, and whatever truncation its server adds unasked"
    info = ResponderInfo(
        name=address.shown,
        fingerprint=combined(("chat api", address.url, address.name)),
        remark=(
            f"{address.name} answers at {address.url}, at {how}; which model this is on which day is the server's "
            "word, and replies of the same seed may differ"
        ),
    )
    return ChatApi(transport, info, address.name, WHOLE_DISTRIBUTION if is_vllm else {})


def _names(cards: Sequence[Any]) -> str:
    return ", ".join(repr(card.name) for card in cards[:10]) or "none"
