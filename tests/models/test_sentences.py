"""Where sentences end."""

from __future__ import annotations

import numpy as np
import pytest

from beb.interfaces.language_model import sentence_spans
from beb.models.huggingface import HuggingFaceModel
from beb.models.sentences import SentenceRule, SentenceTracker, ends_like_a_sentence, sentence_ends

END, STOP = 1, 2
RULE = SentenceRule(np.array([False, True, True]), frozenset({STOP}))


@pytest.mark.parametrize(
    "text", [".", " ...", "!", '."', ".)", "?”", "。", "！", "…", " end.  ", "\n", " \n", ")\n", "。」"]
)
def test_closing_tokens(text: str) -> None:
    assert ends_like_a_sentence(text)


@pytest.mark.parametrize("text", ["", "a", ",", ";", ":", ".5", "e.g", ")", '"', " ", ".a"])
def test_other_tokens(text: str) -> None:
    assert not ends_like_a_sentence(text)


def test_a_terminator_needs_three_tokens_before_it_and_a_stop_none() -> None:
    assert sentence_ends([0, END, 0, END, 0, 0, 0, END, STOP, 0], RULE) == (4, 8, 9)


def test_cut_sentences_are_counted_and_sampling_goes_on() -> None:
    tracker = SentenceTracker(RULE, 4)
    for token in (0, 0, 0, 0, 0, 0, 0, END, 0, STOP):
        tracker.add(token)
    assert tracker.ends == [4, 8, 10]
    assert tracker.n_cut == 1
    assert tracker.stopped
    assert sentence_spans(tracker.ends) == [(0, 4), (4, 8), (8, 10)]


def test_rule_of_a_tokenizer(llama: HuggingFaceModel) -> None:
    stops = {llama.tokenizer.convert_tokens_to_ids(t) for t in ("<|endoftext|>", "<|im_end|>")}
    assert llama.rule.stops == stops
    assert all(llama.ends_sentence(i) for i in stops)
    ids = llama.encode("I like kind words. Do you trust me?\n")
    first, *_ = sentence_spans(sentence_ends(ids, llama.rule))
    assert llama.decode(ids[slice(*first)]) == "I like kind words."
