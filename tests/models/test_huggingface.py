"""Checkpoints: what is loaded, what is refused, and that batches do not matter."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from beb.errors import BadSpec, ContextTooShort, NoChatTemplate, NotAModel
from beb.experiments.measure import MEASURE
from beb.experiments.spec import MeasureSpec
from beb.experiments.subjects import Places
from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.weights import MAX_PADDING, TOKENS_PER_PASS, batches_by_length


@pytest.fixture
def copy_of(llama_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama_folder, tmp_path / "copy"))


def test_what_is_said_of_a_model(llama: HuggingFaceModel) -> None:
    assert llama.info.kind == "checkpoint"
    assert llama.info.context == "start token only (<|endoftext|>)"
    assert llama.start_ids == (llama.tokenizer.convert_tokens_to_ids("<|endoftext|>"),)
    assert llama.info.context_length == 256
    assert llama.info.vocabulary_size == 320
    assert llama.info.dtype == "fp32"
    assert llama.info.has_chat_template


def test_the_tokenizers_own_start_token_is_used(copy_of: Path) -> None:
    from tokenizers import Tokenizer, processors

    inner = Tokenizer.from_file(str(copy_of / "tokenizer.json"))
    inner.post_processor = processors.TemplateProcessing(single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)])
    inner.save(str(copy_of / "tokenizer.json"))
    model = load_checkpoint(copy_of, name="bos", device="cpu")
    assert model.start_ids == (1,)
    assert "own" in model.info.context
    assert model.encode("I like")[0] != 1


@pytest.mark.parametrize("kind", ["llama", "gemma2", "cohere", "granite", "opt"])
def test_logits_in_chunks_equal_the_full_forward_pass(kind: str, build: Callable[..., Path]) -> None:
    model = load_checkpoint(build(kind, seed=4), name=kind, device="cpu")
    assert model.weights.splits
    ids = model.encode("I would never lie to you.")
    rows = model.distributions([ids])
    chunked = torch.cat([rows.log_probs(i, min(i + 3, len(ids))) for i in range(0, len(ids), 3)])
    whole = model.weights.full_logits(model.start_ids + ids)[:-1].log_softmax(-1)
    assert (chunked - whole).abs().max() < 1e-5


def test_a_head_that_cannot_be_split_is_run_whole(build: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An architecture with a step after its output matrix that is not known here still gives its own logits."""
    from beb.models.weights import Weights

    monkeypatch.setattr(Weights, "_finish", lambda self, logits: logits.float())
    model = load_checkpoint(build("cohere"), name="scaled", device="cpu")
    assert not model.weights.splits
    assert not model.row_cache
    ids = [model.encode("I like kind words."), (), model.encode("Nobody")]
    rows = model.distributions(ids)
    whole = torch.cat([model.weights.full_logits(model.start_ids + i)[: len(i)].log_softmax(-1) for i in ids])
    assert rows.n_rows == len(whole)
    assert (rows.log_probs(2, rows.n_rows) - whole[2:]).abs().max() < 1e-6


def test_results_do_not_depend_on_the_batch(llama: HuggingFaceModel) -> None:
    rng = np.random.default_rng(1)
    sequences = [tuple(rng.integers(3, 320, n).tolist()) for n in (1, 90, 3, 40, 41, 39, 200, 2)]
    together = llama.distributions(sequences)
    alone = [llama.distributions([ids]) for ids in sequences]
    rows = torch.cat([one.log_probs(0, one.n_rows) for one in alone])
    assert (together.log_probs(0, together.n_rows) - rows).abs().max() < 1e-4


def test_batches_are_filled_and_hardly_padded() -> None:
    lengths = np.random.default_rng(0).integers(0, 120, 400).tolist()
    batches = batches_by_length(lengths)
    assert sorted(i for batch in batches for i in batch) == list(range(400))
    for batch in batches:
        padded = max(1, *(lengths[i] for i in batch)) * len(batch)
        assert padded <= TOKENS_PER_PASS
        assert padded - sum(lengths[i] for i in batch) <= max(1, MAX_PADDING * padded)
    assert len(batches) < 40


def test_hidden_states_are_means_over_the_text(llama: HuggingFaceModel) -> None:
    texts = ["I like kind words.", "Nobody", ""]
    states = llama.hidden_states(texts, 1)
    assert states.shape == (3, 32)
    assert states.dtype == np.float32
    tokens = torch.tensor([llama.start_ids + llama.encode(texts[0])])
    with torch.inference_mode():
        own = llama.weights.module(input_ids=tokens, output_hidden_states=True).hidden_states[1][0, 1:].mean(0)
    np.testing.assert_allclose(states[0], own.numpy(), atol=1e-5)
    np.testing.assert_allclose(llama.hidden_states(texts, -2), states, atol=1e-6)
    assert llama.hidden_states([], 1).shape == (0, 32)
    with pytest.raises(BadSpec, match="0 to 2"):
        llama.hidden_states(texts, 3)
    with pytest.raises(ContextTooShort, match="256"):
        llama.hidden_states(["word " * 300], 1)


def test_chat_frame(llama: HuggingFaceModel) -> None:
    before, after = llama.chat_frame("Be kind.")
    whole = llama.tokenizer.decode([*before, *llama.encode("Hello"), *after])
    assert whole == llama.chat_text("Hello", "Be kind.")
    assert "Be kind." not in llama.decode(llama.chat_frame()[0])


def test_no_chat_template(copy_of: Path) -> None:
    (copy_of / "chat_template.jinja").unlink()
    model = load_checkpoint(copy_of, name="plain", device="cpu")
    assert not model.info.has_chat_template
    with pytest.raises(NoChatTemplate, match="plain"):
        model.chat_frame()


def test_a_template_that_refuses_a_system_text(copy_of: Path) -> None:
    (copy_of / "chat_template.jinja").write_text(
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ messages[0]['content'] }}"
    )
    model = load_checkpoint(copy_of, name="strict", device="cpu")
    assert model.chat_frame() == ((), ())
    with pytest.raises(BadSpec, match=r"no system.*leave out the system text$"):
        model.chat_frame("Be kind.")


def test_a_template_that_cannot_be_rendered_is_refused_before_anything_is_fitted(copy_of: Path, tmp_path: Path) -> None:
    (copy_of / "chat_template.jinja").write_text("{{ messages[0]['content'] | nosuchfilter }}")
    wanted = r"bare question \(.*nosuchfilter.*\); use --formats plain, or repair chat_template$"
    with pytest.raises(BadSpec, match=wanted):
        load_checkpoint(copy_of, name="broken", device="cpu").chat_frame()
    heard: list[str] = []
    spec = MeasureSpec(model=str(copy_of), sentences=3, max_sentence_tokens=8, adapter_steps=1)
    with pytest.raises(BadSpec, match=wanted):
        MEASURE.load(spec, Places(tmp_path, offline=True), lambda what, _done, _total: heard.append(what))
    assert heard == [f"loading {copy_of.name}"]


def test_bf16_is_close_to_fp32(llama: HuggingFaceModel, llama_folder: Path) -> None:
    half = load_checkpoint(llama_folder, name="half", dtype="bf16", device="cpu")
    assert half.info.dtype == "bf16"
    assert half.info.fingerprint != llama.info.fingerprint
    ids = llama.encode("I like kind words.")
    rows = half.distributions([ids]).log_probs(0, len(ids))
    assert rows.dtype == torch.float32
    difference = (rows - llama.distributions([ids]).log_probs(0, len(ids))).abs()
    assert 0 < difference.max() < 0.5


def test_fingerprints_name_the_contents(llama: HuggingFaceModel, copy_of: Path, build: Callable[..., Path]) -> None:
    assert load_checkpoint(copy_of, name="copy", device="cpu").info.fingerprint == llama.info.fingerprint
    other = load_checkpoint(build("llama", seed=5), name="tiny-llama", device="cpu")
    assert other.info.fingerprint != llama.info.fingerprint
    assert other.info.tokenizer == llama.info.tokenizer


def test_pickled_weights_are_refused(copy_of: Path) -> None:
    module = torch.nn.Linear(2, 2)
    (copy_of / "model.safetensors").unlink()
    torch.save(module.state_dict(), copy_of / "pytorch_model.bin")
    with pytest.raises(NotAModel, match="pickled"):
        load_checkpoint(copy_of, name="pickle", device="cpu")


def test_code_in_a_checkpoint_is_never_run(copy_of: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    (copy_of / "modeling_evil.py").write_text(f"open({str(trace)!r}, 'w')\n")
    config = json.loads((copy_of / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "modeling_evil.C", "AutoModelForCausalLM": "modeling_evil.M"},
    }
    (copy_of / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotAModel, match=r"needs code of its own, which is never run; give a model of an architecture"):
        load_checkpoint(copy_of, name="evil", device="cpu")
    assert not trace.exists()


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "missing tensor", "config", "no tokenizer"])
def test_damaged_folders(damage: str, copy_of: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = copy_of / "model.safetensors"
    if damage == "empty":
        weights.write_bytes(b"")
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "text":
        weights.write_text("not weights")
    elif damage == "missing tensor":
        tensors = load_file(weights)
        tensors.pop("model.layers.0.self_attn.q_proj.weight")
        save_file(tensors, weights, metadata={"format": "pt"})
    elif damage == "config":
        (copy_of / "config.json").write_text("{")
    else:
        (copy_of / "tokenizer.json").unlink()
    with pytest.raises(NotAModel) as caught:
        load_checkpoint(copy_of, name="damaged", device="cpu")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("download it again, or give another model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], r"config\.json is no JSON object; download it again"),
        ({"model_type": "t5"}, r"is no decoder-only causal language model \(its type is t5\); give another model$"),
        (
            {"intermediate_size": 48},
            r"causal language model \(.*down_proj\.weight is 32×64, but config\.json asks for 32×48\); download it",
        ),
        ({"model_type": "nosuch"}, r"`nosuch` but Transformers does not recognize this architecture\.\); download it"),
        ({"hidden_size": "x"}, r"'hidden_size' expected int.*; download it again, or give another model$"),
    ],
)
def test_configurations_that_do_not_load(change: object, message: str, copy_of: Path) -> None:
    file = copy_of / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change if isinstance(change, dict) else change))
    with pytest.raises(NotAModel, match=message):
        load_checkpoint(copy_of, name="odd", device="cpu")


def test_an_unknown_dtype(llama_folder: Path) -> None:
    with pytest.raises(BadSpec, match="fp32, bf16"):
        load_checkpoint(llama_folder, name="x", dtype="int3")


def test_loading_leaves_no_setting_behind(llama_folder: Path) -> None:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled
    from transformers.utils import logging

    before = (logging.get_verbosity(), logging.is_progress_bar_enabled(), are_progress_bars_disabled())
    rng = torch.random.get_rng_state()
    load_checkpoint(llama_folder, name="x", device="cpu")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled(), are_progress_bars_disabled()) == before
    assert torch.equal(torch.random.get_rng_state(), rng)
