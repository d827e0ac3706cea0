"""From the name of a served model to the model: what the server lists, and the tokenizer that it uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beb.errors import BadSpec, NotAModel, ServerFailed, TokenizerMismatch, UnknownName
from beb.interfaces.language_model import Failure, ModelInfo, TokenIds
from beb.models.fingerprint import combined
from beb.models.quiet import quiet_loading
from beb.models.replies import Card, read_cards, read_token_ids
from beb.models.served import ServedModel
from beb.models.server_address import ServerAddress, parse_address
from beb.models.tokenization import plain_ids, sentence_rule, start_context, stop_ids, tokenizer_hash
from beb.models.transport import REFUSED, Transport

SAME_TOKENIZER_TEXT = "I'd say: \"naïve 日本 tests cost 3.50€\",\n\tdon't they?  <|x|>"
_TOKENIZER_FILES = ["*.json", "*.model", "*.txt", "*.jinja"]

Notice = Callable[[str], None]


def load_served(
    name: str | ServerAddress,
    *,
    offline: bool = False,
    notice: Notice | None = None,
    transport: Transport | None = None,
) -> ServedModel:
    """The model that "vllm:URL#name" names; without #name, the server's only model.

    offline: its tokenizer is not downloaded. transport: for another model of a server that is connected already.
    Raises: BadSpec, UnknownName, ServerFailed, NotAModel, TokenizerMismatch.
    """
    address = parse_address(name) if isinstance(name, str) else name
    if notice is not None:
        notice(f"asking {address.shown}")
    transport = transport or Transport(address)
    card, base = _chosen(_cards(transport, address), address)
    source = address.tokenizer or base.root or base.name
    tokenizer, configs = _tokenizer(source, address, offline=offline, notice=notice)
    _require_same_tokenizer(transport, card, tokenizer, source)
    # One place is left for the token that vLLM insists on sampling after a prompt that it scores.
    context_length = (card.context_length or base.context_length) - 1
    if context_length < 1:
        raise BadSpec(f"{address.shown}: the server does not say its context length (max_model_len); is it vLLM?")
    start_ids, context = start_context(tokenizer, address.shown)
    size = max([len(tokenizer), *(int(getattr(config, "vocab_size", 0) or 0) for config in configs)])
    info = ModelInfo(
        name=dataclasses.replace(address, name=card.name).shown,
        kind="served",
        fingerprint=combined(("served", card.name, card.root, card.parent, base.root, _version(transport))),
        tokenizer=tokenizer_hash(tokenizer),
        vocabulary_size=size,
        context_length=context_length,
        dtype="as served",
        context=context,
        has_chat_template=bool(getattr(tokenizer, "chat_template", None)),
        remark=(
            f"{card.name} is served by {address.url}: which weights these are is the server's word, and texts of the "
            "same seed may differ between runs of the server"
        ),
    )
    rule = sentence_rule(tokenizer, size, stop_ids(tokenizer, configs))
    return ServedModel(transport, card.name, tokenizer, rule, info=info, start_ids=start_ids)


def served_beside(model: ServedModel, name: str) -> ServedModel:
    """Another model, for example a LoRA module, of the same server."""
    address = dataclasses.replace(model.transport.address, name=name)
    return load_served(address, transport=model.transport)


def server_failed(address: ServerAddress, failure: Failure) -> ServerFailed:
    """The error for a server that does not even answer the first question."""
    hint = "start the server or check the address"
    if failure.kind == REFUSED:
        hint = f"check the address, and the API key in {address.key}" if address.key else "does it need ?key=VARIABLE?"
    return ServerFailed(f"{address.shown}: {failure.kind} ({failure.detail}); {hint}")


def _cards(transport: Transport, address: ServerAddress) -> list[Card]:
    cards = transport.get("/v1/models", read_cards)
    if isinstance(cards, Failure):
        raise server_failed(address, cards)
    return cards


def _chosen(cards: list[Card], address: ServerAddress) -> tuple[Card, Card]:
    """The model and, for a LoRA module, its base (else itself)."""
    by_name = {card.name: card for card in cards}
    bases = [card for card in cards if not card.parent]
    if not address.name and len(bases) == 1:
        return bases[0], bases[0]
    if address.name not in by_name:
        raise UnknownName.of(f"model of {address.url}", address.name, by_name, "Write it after the #.")
    card = by_name[address.name]
    return card, by_name.get(card.parent, card)


def _tokenizer(source: str, address: ServerAddress, *, offline: bool, notice: Notice | None) -> tuple[Any, list[Any]]:
    """The tokenizer, and the configurations beside it (which name the ids that end a text), where there are any."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    folder = Path(source).expanduser()
    if not folder.is_dir():
        if folder.is_absolute() or source.count("/") != 1:
            raise NotAModel(
                f"{address.shown} is served with the tokenizer of {source!r}, which is not on this machine; give it "
                "with ?tokenizer=FOLDER-or-hub-name before the #"
            )
        from beb.models.hub import hub_folder

        folder = hub_folder(source, files=_TOKENIZER_FILES, offline=offline, notice=notice)
    options = {"local_files_only": True, "trust_remote_code": False}
    with quiet_loading():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        except Exception as error:  # the library raises OSError, ValueError, KeyError, ...
            reason = " ".join(str(error).split())[:160]
            raise NotAModel(f"{source} holds no tokenizer that loads ({type(error).__name__}: {reason})") from error
        configs: list[Any] = []
        if (folder / "config.json").is_file():
            configs.append(AutoConfig.from_pretrained(folder, **options).get_text_config())
        if (folder / "generation_config.json").is_file():
            configs.append(GenerationConfig.from_pretrained(folder, local_files_only=True))
    return tokenizer, configs


def _require_same_tokenizer(transport: Transport, card: Card, tokenizer: Any, source: str) -> None:
    body = {"model": card.name, "prompt": SAME_TOKENIZER_TEXT, "add_special_tokens": False}
    theirs = transport.post("/tokenize", body, read_token_ids)
    if isinstance(theirs, Failure):
        raise server_failed(transport.address, theirs)
    ours: TokenIds = plain_ids(tokenizer, SAME_TOKENIZER_TEXT)
    if ours != theirs:
        raise TokenizerMismatch(
            f"{transport.address.shown} reads a test text as {len(theirs)} tokens and the tokenizer of {source} as "
            f"{len(ours)} others; give the server's own with ?tokenizer=FOLDER-or-hub-name"
        )


def _version(transport: Transport) -> str:
    found = transport.get("/version", lambda reply: str(reply["version"]))
    return "" if isinstance(found, Failure) else found
