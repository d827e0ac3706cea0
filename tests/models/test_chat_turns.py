"""What stands between the turns of a chat, against the template itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from beb.errors import NoChatTemplate
from beb.experiments.converse.dialogue import Spoken, chat_prefix, first_sentence, plain_prefix, running, spoken
from beb.models.chat_turns import chat_turns
from beb.models.components import with_lead
from beb.models.huggingface import HuggingFaceModel
from beb.worlds.catalog import get_world
from beb.worlds.model import world_model

TURNS = ("I like kind words.", "People are mostly good!", "Do you trust me?")


def said(model: HuggingFaceModel, *texts: str) -> list[Spoken]:
    return [Spoken(model.encode(text), (len(model.encode(text)),)) for text in texts]


@pytest.mark.parametrize("n_turns", [1, 3])
def test_a_chat_is_what_the_template_makes_of_it(llama: HuggingFaceModel, n_turns: int) -> None:
    roles = ("user", "assistant", "user")
    messages = [{"role": role, "content": text} for role, text in zip(roles, TURNS[:n_turns], strict=False)]
    text = llama.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert chat_prefix(said(llama, *TURNS[:n_turns]), chat_turns(llama)) == llama.encode(text)


def test_one_turn_is_framed_as_elsewhere(llama: HuggingFaceModel) -> None:
    before, after = llama.chat_frame()
    frame = chat_turns(llama)
    assert (frame.before, frame.after) == (before, after)
    whole = chat_prefix(said(llama, *TURNS), frame)
    assert len(whole) <= sum(len(llama.encode(text)) for text in TURNS) + 2 * frame.tokens_per_turn


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (None, "has no chat template"),
        ("{{ messages[0]['content'] }}", "alters or repeats"),
        ("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "alters or repeats"),
        ("{{ raise_exception('one turn only') }}", "refuses"),
    ],
)
def test_templates_that_cannot_be_used_are_named(llama: HuggingFaceModel, template: str | None, why: str) -> None:

    info = replace(llama.info, has_chat_template=template is not None)
    model = llama.component(info)
    kept = llama.tokenizer.chat_template
    try:
        llama.tokenizer.chat_template = template
        with pytest.raises(NoChatTemplate, match=f"{why}.*give --format plain"):
            chat_turns(model)
    finally:
        llama.tokenizer.chat_template = kept


def test_the_token_that_ends_a_turn_is_no_part_of_the_conversation(llama: HuggingFaceModel) -> None:
    end = int(llama.tokenizer.eos_token_id)
    words = llama.encode("I like kind words.")
    n = len(words)
    assert spoken(words, (n,), llama) == Spoken(words, (n,))
    assert spoken((*words, end), (n, n + 1), llama) == Spoken(words, (n,))
    assert spoken((*words[:-1], end), (n,), llama) == Spoken(words[:-1], (n - 1,))
    assert spoken((end,), (1,), llama) == Spoken((), ())
    assert first_sentence(Spoken((), ()), llama) == ""
    assert first_sentence(spoken((*words, *words, end), (n, 2 * n, 2 * n + 1), llama), llama) == "I like kind words."


def test_running_text_puts_every_turn_on_its_own_line(llama: HuggingFaceModel) -> None:
    led = with_lead(llama, "Here is what I think.\n")
    turns = said(led, "I like kind words.", "They agreed.\n", "Do you trust me?")
    text = running(turns, led)
    assert led.decode(text.token_ids) == "I like kind words.\nThey agreed.\nDo you trust me?"
    for start, turn in zip(text.starts, turns, strict=True):
        assert text.token_ids[start : start + len(turn.token_ids)] == turn.token_ids
    prefix = plain_prefix(turns, led)
    assert prefix[: len(led.start_ids)] == led.start_ids
    assert led.decode(prefix[len(led.start_ids) :]).endswith("trust me?\n")
    assert plain_prefix([], led) == led.start_ids
    silent = [turns[0], Spoken((), ()), turns[2]]
    assert led.decode(running(silent, led).token_ids) == "I like kind words.\nDo you trust me?"


def test_a_world_has_no_line_break() -> None:
    model = world_model(get_world("coin"), "negative")
    turns = [Spoken(model.encode("I lie."), (2,)), Spoken(model.encode("I tell the truth."), (4,))]
    assert running(turns, model).token_ids == model.encode("I lie. I tell the truth.")
