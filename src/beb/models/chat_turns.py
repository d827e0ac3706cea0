"""What a chat template puts around the turns of a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from beb.errors import NoChatTemplate
from beb.interfaces.language_model import LanguageModel, TokenIds
from beb.models.tokenization import plain_ids

_SENTINELS = tuple(f"\u2402beb\u2403{name}\u2402" for name in ("first", "reply", "second"))
OFFER = "give --format plain, in which the conversation is running text"


@dataclass(frozen=True, slots=True)
class ChatTurns:
    """Token ids between the contents of the turns.

    before: up to the first user turn. replied: between a user turn and the reply to it, where that is already known.
    again: between a reply and the next user turn. after: between the last user turn and the reply that is to come.
    """

    before: TokenIds
    replied: TokenIds
    again: TokenIds
    after: TokenIds

    @property
    def tokens_per_turn(self) -> int:
        """What every turn costs besides its contents, at most."""
        return max(len(self.replied), len(self.after)) + max(len(self.again), len(self.before))


def chat_turns(model: LanguageModel) -> ChatTurns:
    """The template's own frame of a conversation, with the system text that it has by default.

    Raises: NoChatTemplate, with what to do, if there is none or it does not pass the turns' texts through.
    """
    name = model.info.name
    if not model.info.has_chat_template:
        raise NoChatTemplate(f"{name} has no chat template to converse in; {OFFER}")
    from beb.models.huggingface import HuggingFaceModel

    if not isinstance(model, HuggingFaceModel):
        raise NoChatTemplate(f"{name} ({model.info.kind_in_words}) does not show its chat template; {OFFER}")
    before, rest = _split(_rendered(model.tokenizer, name), _SENTINELS[0], name)
    replied, rest = _split(rest, _SENTINELS[1], name)
    again, after = _split(rest, _SENTINELS[2], name)
    if any(sentinel in after for sentinel in _SENTINELS):
        raise _altered(name)
    return ChatTurns(*(plain_ids(model.tokenizer, part) for part in (before, replied, again, after)))


def _rendered(tokenizer: Any, name: str) -> str:
    roles = ("user", "assistant", "user")
    messages = [{"role": role, "content": text} for role, text in zip(roles, _SENTINELS, strict=True)]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # jinja raises whatever the template's author chose
        reason = " ".join(str(error).split())[:160]
        raise NoChatTemplate(
            f"{name}: its chat template refuses a conversation of two turns ({reason}); {OFFER}"
        ) from error


def _split(text: str, sentinel: str, name: str) -> tuple[str, str]:
    head, found, tail = text.partition(sentinel)
    if not found:
        raise _altered(name)
    return head, tail


def _altered(name: str) -> NoChatTemplate:
    return NoChatTemplate(f"{name}: its chat template alters or repeats the turns' texts; {OFFER}")
