"""What the rest of the package needs to know of a tokenizer, read once when a model is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from beb.errors import BadSpec, NoChatTemplate, NotAModel
from beb.interfaces.language_model import TokenIds
from beb.models.sentences import SentenceRule, ends_like_a_sentence

_END_OF_TEXT = "<|endoftext|>"
_SENTINEL = "\u2402beb\u2403content\u2402"


def tokenizer_hash(tokenizer: Any) -> str:
    """Hash of the map between token ids and tokens: what two models must share for exact divergences."""
    pairs = sorted((int(i), token) for token, i in tokenizer.get_vocab().items())
    return hashlib.sha256(json.dumps(pairs, ensure_ascii=True).encode()).hexdigest()


def start_context(tokenizer: Any, name: str) -> tuple[TokenIds, str]:
    """The token that stands before the first sentence, and what it is in words.

    What the tokenizer itself puts before a text, else the end-of-text token, else BOS, else EOS.
    Raises: NotAModel if the tokenizer has none of them.
    """
    plain = tuple(tokenizer("a", add_special_tokens=False)["input_ids"])
    full = tuple(tokenizer("a", add_special_tokens=True)["input_ids"])
    n_before = next((i for i in range(len(full)) if full[i : i + len(plain)] == plain), 0)
    if n_before:
        return full[:n_before], "start token only (the tokenizer's own)"
    end_of_text = tokenizer.get_vocab().get(_END_OF_TEXT)
    for token_id, words in (
        (end_of_text, f"start token only ({_END_OF_TEXT})"),
        (tokenizer.bos_token_id, "start token only (BOS)"),
        (tokenizer.eos_token_id, "start token only (EOS)"),
    ):
        if token_id is not None:
            return (int(token_id),), words
    raise NotAModel(f"{name}: its tokenizer has no BOS, EOS or end-of-text token to start a text with")


def stop_ids(tokenizer: Any, configs: Iterable[Any]) -> frozenset[int]:
    """Ids that end a text: EOS of the tokenizer and the configurations, and end-of-text if it is in the vocabulary."""
    found: set[int] = set()
    for source in (tokenizer, *configs):
        value = getattr(source, "eos_token_id", None)
        found.update(int(v) for v in (value if isinstance(value, list | tuple) else [value]) if v is not None)
    if (end_of_text := tokenizer.get_vocab().get(_END_OF_TEXT)) is not None:
        found.add(int(end_of_text))
    return frozenset(found)


def sentence_rule(tokenizer: Any, vocabulary_size: int, stops: frozenset[int]) -> SentenceRule:
    """The sentence rule over a vocabulary, computed once from the text of every token."""
    n_known = min(len(tokenizer), vocabulary_size)
    texts = tokenizer.batch_decode([[i] for i in range(n_known)], clean_up_tokenization_spaces=False)
    mask = np.zeros(vocabulary_size, dtype=np.bool_)
    mask[:n_known] = [ends_like_a_sentence(text) for text in texts]
    mask[[i for i in stops if i < vocabulary_size]] = True
    return SentenceRule(mask, stops)


def render_chat(tokenizer: Any, name: str, content: str, system: str | None) -> str:
    """The chat template's text for one user turn, up to where the reply begins; its own default system text is kept.

    Raises: NoChatTemplate; BadSpec if the template refuses a system text, or cannot be rendered at all.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise NoChatTemplate(f"{name} has no chat template; use the plain format, or an instruction-tuned checkpoint")
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": content})
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # jinja raises whatever the template's author chose
        reason = " ".join(str(error).split())[:160]
        if system is None:
            told = f"fails on a bare question ({reason}); use --formats plain, or repair chat_template"
        else:
            told = f"refuses this conversation ({reason}); leave out the system text"
        raise BadSpec(f"{name}: its chat template {told}") from error


def chat_parts(tokenizer: Any, name: str, system: str | None) -> tuple[TokenIds, TokenIds]:
    """Token ids before and after a user turn's content.

    Raises: NoChatTemplate; BadSpec if the template changes the content.
    """
    before, found, after = render_chat(tokenizer, name, _SENTINEL, system).partition(_SENTINEL)
    if not found or _SENTINEL in after:
        raise NoChatTemplate(f"{name}: its chat template alters the user's text; use the plain format")
    return plain_ids(tokenizer, before), plain_ids(tokenizer, after)


def plain_ids(tokenizer: Any, text: str) -> TokenIds:
    """Token ids of a text without special tokens added."""
    return tuple(int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"])
