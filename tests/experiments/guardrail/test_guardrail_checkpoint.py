"""A guardrail run on small trained checkpoints with a chat template that has a system text of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

import beb
from beb.errors import ContextTooShort
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.guardrail.systems import System, shipped_systems
from beb.experiments.guardrail.work import AFTER_NEGATIVE
from beb.experiments.store import Store
from beb.models.catalog import load_model
from beb.models.components import with_lead
from beb.models.huggingface import HuggingFaceModel
from beb.report.html import render_report

DEFAULT = "You are a tiny model."
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n" + DEFAULT + "<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
KIND = System(name="kind", text="I thank friends today. I help guests often.")
SPEC = GuardrailSpec(
    negative="model:unkind", positive="model:kind", scorer="likelihood", prompts=8, sentences=3,
    max_sentence_tokens=16, systems=(KIND, System(name="sampled:2", sentences=2)),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def template(shop: Path) -> None:
    """The models have been taught chats with a system text."""
    for name in ("target", "unkind", "kind"):
        (shop / name / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")


def test_texts_go_into_the_chat_and_sampled_prefixes_before_the_prompt(shop: Path) -> None:
    result = beb.guardrail("target", "verbs", spec=SPEC, out="run", offline=True)
    assert [(g.name, g.format, g.sentences) for g in result.guardrails] == [
        ("kind", "chat", 2),
        ("sampled:2", "plain", 2),
    ]
    chat, plain = result.baselines
    assert (chat.format, chat.default) == ("chat", DEFAULT)
    assert DEFAULT in chat.before
    assert (plain.format, plain.default) == ("plain", "")
    assert any(DEFAULT in note and "not empty" in note for note in result.notes)
    assert all(g.curve.n_responses == 8 * 4 for g in result.guardrails)
    assert result.guardrails[0].log_ratio.value > 0, "a kind text is likelier under the kind model"
    assert result.positivity is not None
    assert result.positivity.value > 0.9
    assert result.beta_after is not None
    with Store.read(Path("run")) as store:
        assert "kind" in render_report(store, result)
        after = store.rows("prompts", source=AFTER_NEGATIVE)
        given = [row["text"] for row in store.rows("given_texts") if row["name"].startswith(AFTER_NEGATIVE)]
    assert len(after) >= 5
    assert all(text.rstrip(".").count(" ") > 3 for text in given)


def test_the_given_texts_log_ratio_is_that_of_its_tokens(shop: Path) -> None:
    result = beb.guardrail("target", "verbs", spec=SPEC, out="run", offline=True)
    logs = []
    for name in ("kind", "unkind"):
        model = load_model(name, device="cpu")
        assert isinstance(model, HuggingFaceModel)
        led = with_lead(model, SPEC.lead)
        ids = led.encode(KIND.text)
        (score,) = beb.score_sequences([ids], {"m": led})
        logs.append(float(score.log_probs["m"].sum()))
    assert result.guardrails[0].log_ratio.value == pytest.approx(logs[0] - logs[1], abs=1e-3)


def test_a_system_prompt_longer_than_the_context_is_refused(shop: Path) -> None:
    long = SPEC.model_copy(update={"systems": (System(name="long", text="I help friends today. " * 200),)})
    with pytest.raises(ContextTooShort, match=r"'long' takes up to .* has a context of 512; shorten it"):
        beb.guardrail("target", "verbs", spec=long, out="long", offline=True)
    many = SPEC.model_copy(update={"systems": (System(name="many", sentences=3),), "max_sentence_tokens": 120})
    with pytest.raises(ContextTooShort, match="'many' takes up to"):
        beb.guardrail("target", "verbs", spec=many, out="many", offline=True)
    assert not (shop / "long").exists()


def test_a_system_prompt_that_does_not_fit_is_refused_before_anything_is_fitted(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(*_: object, **__: object) -> Path:
        raise AssertionError("fitted")

    monkeypatch.setattr("beb.models.training.fit_adapter", fitted)
    spec = SPEC.model_copy(update={"negative": "lora", "positive": "lora"})
    with pytest.raises(AssertionError, match="fitted"):
        beb.guardrail("target", "verbs", spec=spec, out="fits", offline=True)
    long = spec.model_copy(update={"systems": (System(name="long", text="I help friends today. " * 200),)})
    with pytest.raises(ContextTooShort, match="'long' takes up to"):
        beb.guardrail("target", "verbs", spec=long, out="long", offline=True)


def test_without_a_chat_template_a_text_stands_before_the_prompt(shop: Path) -> None:
    bare = shop / "bare"
    model = load_model("target", device="cpu")
    assert isinstance(model, HuggingFaceModel)
    model.weights.module.save_pretrained(bare)
    model.tokenizer.chat_template = None
    model.tokenizer.save_pretrained(bare)
    spec = SPEC.model_copy(update={"systems": (KIND, shipped_systems()["polite"])})
    result = beb.guardrail("bare", "verbs", spec=spec, out="bare-run", offline=True)
    assert {g.format for g in result.guardrails} == {"plain"}
    assert len(result.baselines) == 1
    assert result.family == 2
