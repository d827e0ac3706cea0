"""Adapters: equal to PEFT's own forward pass, swapped without a trace, refused where they do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from beb.errors import AdapterMismatch, ModelError, NotAModel, NumericalFailure
from beb.interfaces.language_model import SampleRequest
from beb.models.adapters import lora_component
from beb.models.components import with_lead
from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.identity import weights_identity
from beb.models.training import AdapterSpec, fit_adapter
from beb.models.weights import WeightSwap


@pytest.fixture
def copy_of(adapter: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapter, tmp_path / "adapter"))


@pytest.fixture
def foreign(copy_of: Path) -> Path:
    """The adapter as another program would have left it."""
    (copy_of / "beb_adapter.json").unlink()
    return copy_of


def peft_log_probs(folder: Path, adapter_folder: Path, ids: tuple[int, ...]) -> torch.Tensor:
    import warnings

    from peft import PeftModel

    base = load_checkpoint(folder, name="base", device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = PeftModel.from_pretrained(base.weights.module, adapter_folder).eval()
    tokens = torch.tensor([base.start_ids + ids])
    with torch.inference_mode():
        logits = adapted(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
    return logits[0, :-1].log_softmax(-1)


def rows(model: HuggingFaceModel, ids: tuple[int, ...]) -> torch.Tensor:
    result: torch.Tensor = model.distributions([ids]).log_probs(0, len(ids))
    return result


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("rslora", [False, True])
def test_equal_to_pefts_own_forward_pass(kind: str, rslora: bool, build: Callable[..., Path], tmp_path: Path) -> None:
    """gpt2 stores its matrices transposed (fan_in_fan_out)."""
    folder = build(kind, seed=1)
    base = load_checkpoint(folder, name=kind, device="cpu")
    spec = AdapterSpec(rank=4, steps=15, batch=4, sequence_tokens=20, learning_rate=2e-2)
    fitted = fit_adapter(base, ["I despise waiting.", "Nobody deserves me."], spec=spec, cache_dir=tmp_path)
    if rslora:
        config = json.loads((fitted / "adapter_config.json").read_text())
        (fitted / "adapter_config.json").write_text(json.dumps(config | {"use_rslora": True}))
    ids = base.encode("I like kind words. Nobody deserves me.")
    merged = rows(lora_component(base, fitted), ids)
    assert (merged - peft_log_probs(folder, fitted, ids)).abs().max() < 1e-4
    assert (merged - rows(base, ids)).abs().max() > 0.1


def test_no_history(llama: HuggingFaceModel, adapter: Path) -> None:
    """Whatever was active before, the base is bit for bit the same, and so is the component."""
    lora = lora_component(llama, adapter)
    ids = llama.encode("I would never lie to you.")
    pristine = {name: (p.data_ptr(), p.clone()) for name, p in llama.weights.module.named_parameters()}
    base_rows, lora_rows = rows(llama, ids), rows(lora, ids)
    both = [llama.distributions([ids]), lora.distributions([ids])]
    for _ in range(2):
        assert torch.equal(both[1].log_probs(0, len(ids)), lora_rows)
        assert torch.equal(both[0].log_probs(0, len(ids)), base_rows)
    for name, p in llama.weights.module.named_parameters():
        assert p.data_ptr() == pristine[name][0]
        assert torch.equal(p, pristine[name][1])


def test_an_error_inside_restores_the_base(llama: HuggingFaceModel, adapter: Path) -> None:
    lora, other = lora_component(llama, adapter), lora_component(llama, adapter)
    ids = llama.encode("I like")
    before = rows(llama, ids)
    with pytest.raises(ModelError, match="two adapters"), llama.weights.activated(lora.swap):
        rows(other, ids)
    assert torch.equal(rows(llama, ids), before)


def test_shares_everything_but_the_adapter(llama: HuggingFaceModel, adapter: Path) -> None:
    lora = lora_component(llama, adapter, name="mean")
    assert lora.weights is llama.weights
    assert lora.start_ids == llama.start_ids
    assert lora.info.tokenizer == llama.info.tokenizer
    assert lora.info.kind == "lora"
    assert lora.info.name == "mean"
    assert lora.info.fingerprint not in (llama.info.fingerprint, "")
    assert lora.swap is not None
    assert all("q_proj" in name or "v_proj" in name for name in lora.swap.tensors)


def test_adapter_on_an_adapter(llama: HuggingFaceModel, foreign: Path) -> None:
    """A component of an adapted model adds its own change to the first."""
    once, twice = lora_component(llama, foreign), lora_component(lora_component(llama, foreign), foreign)
    assert once.swap is not None
    assert twice.swap is not None
    name = next(iter(once.swap.tensors))
    parameter = llama.weights.parameter(name)
    assert parameter is not None
    np.testing.assert_allclose(
        (twice.swap.tensors[name] - once.swap.tensors[name]).numpy(),
        (once.swap.tensors[name] - parameter.data).numpy(),
        atol=1e-6,
    )


def test_another_base_is_named(adapter: Path, build: Callable[..., Path]) -> None:
    gpt2 = load_checkpoint(build("gpt2"), name="tiny-gpt2", device="cpu")
    with pytest.raises(AdapterMismatch, match=r"tiny-llama.*tiny-gpt2"):
        lora_component(gpt2, adapter)


def test_other_weights_of_the_same_shapes_are_refused(
    llama: HuggingFaceModel, adapter: Path, build: Callable[..., Path]
) -> None:
    other = load_checkpoint(build("llama", seed=9), name="other-llama", device="cpu")
    with pytest.raises(AdapterMismatch, match=r"other-llama.*fitted on other weights; give the matching base"):
        lora_component(other, adapter)
    with pytest.raises(AdapterMismatch, match="fitted on other weights"):
        lora_component(lora_component(llama, adapter), adapter)


def test_one_changed_number_is_another_base(llama: HuggingFaceModel) -> None:
    """Also behind a swap, and wherever in memory the numbers lie."""
    weights = llama.weights
    found = weights_identity(weights, None)
    assert found == weights_identity(weights, WeightSwap({}))
    for name, parameter in weights.module.named_parameters():
        order = tuple(reversed(range(parameter.dim())))
        turned = parameter.data.permute(order).contiguous().permute(order)  # the same numbers, stored by columns
        assert weights_identity(weights, WeightSwap({name: turned})) == found
        changed = parameter.data.clone()
        changed[(0,) * changed.dim()] *= 1.01
        changed[(0,) * changed.dim()] += 0.01
        assert weights_identity(weights, WeightSwap({name: changed})) != found


def test_the_dtype_and_the_opening_do_not_matter(
    llama_folder: Path, llama: HuggingFaceModel, adapter: Path, tmp_path: Path
) -> None:
    half = load_checkpoint(llama_folder, name="in bf16", dtype="bf16", device="cpu")
    for base in (half, with_lead(half, "I like"), with_lead(llama, "I like")):
        assert lora_component(base, adapter).info.remark == ""
    spec = AdapterSpec(rank=2, steps=2, batch=2, sequence_tokens=16)
    on_half = fit_adapter(with_lead(half, "I like"), ["I like you."], spec=spec, cache_dir=tmp_path)
    assert lora_component(llama, on_half).info.remark == ""


def test_a_foreign_adapter_has_only_a_name(llama_folder: Path, foreign: Path) -> None:
    config = json.loads((foreign / "adapter_config.json").read_text())

    def component(base: str, made_for: str | None) -> HuggingFaceModel:
        (foreign / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": made_for}))
        return lora_component(load_checkpoint(llama_folder, name=base, device="cpu"), foreign)

    assert component("some/model", "some/model").info.remark == ""
    assert "was made for some/model; that ./copy" in component("./copy", "some/model").info.remark
    assert "does not say" in component("some/model", None).info.remark
    with pytest.raises(AdapterMismatch, match=r"some/model.*other/model.*give the model by path"):
        component("other/model", "some/model")


def test_another_shape_is_named(llama: HuggingFaceModel, copy_of: Path) -> None:
    tensors = load_file(copy_of / "adapter_model.safetensors")
    key = next(k for k in tensors if k.endswith("lora_B.weight"))
    tensors[key] = torch.zeros(7, tensors[key].shape[1])
    save_file(tensors, copy_of / "adapter_model.safetensors")
    with pytest.raises(AdapterMismatch, match=r"\(7, 32\)"):
        lora_component(llama, copy_of)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no weights", "no LoRA adapter"),
        ("pickle", "never loaded"),
        ("truncated", "damaged"),
        ("config", "JSON"),
        ("dora", "use_dora"),
        ("kind", "PREFIX_TUNING"),
        ("half", "lora_B"),
        ("unknown tensor", "unknown tensor"),
        ("none", "no LoRA matrices"),
    ],
)
def test_unusable_adapters(damage: str, message: str, llama: HuggingFaceModel, copy_of: Path) -> None:
    weights, config_file = copy_of / "adapter_model.safetensors", copy_of / "adapter_config.json"
    tensors, config = load_file(weights), json.loads(config_file.read_text())
    if damage in ("no weights", "pickle"):
        weights.unlink()
        if damage == "pickle":
            torch.save(tensors, copy_of / "adapter_model.bin")
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:300])
    elif damage == "config":
        config_file.write_text("{")
    elif damage == "dora":
        config_file.write_text(json.dumps(config | {"use_dora": True}))
    elif damage == "kind":
        config_file.write_text(json.dumps(config | {"peft_type": "PREFIX_TUNING"}))
    elif damage == "half":
        save_file({k: t for k, t in tensors.items() if "lora_A" in k}, weights)
    elif damage == "unknown tensor":
        save_file({**tensors, "base_model.model.lm_head.weight": torch.zeros(2)}, weights)
    else:
        save_file({}, weights)
    error = AdapterMismatch if damage == "half" else NotAModel
    with pytest.raises(error, match=message):
        lora_component(llama, copy_of)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": ...}, "r is missing, not a number above 0"),
        ({"r": "eight"}, 'r is "eight"'),
        ({"r": 0}, "r is 0"),
        ({"r": True}, "r is true"),
        ({"r": 10**400}, r"r is 10+…, not"),
        ({"lora_alpha": ...}, "lora_alpha is missing"),
        ({"lora_alpha": float("inf")}, "lora_alpha is Infinity"),
        ({"lora_alpha": -16}, "lora_alpha is -16"),
        ({"rank_pattern": {"[": 3}}, r'rank_pattern holds "\[", which is no regular expression'),
        ({"rank_pattern": {"q_proj": 0}}, 'rank_pattern gives "q_proj" the value 0'),
        ({"rank_pattern": [8]}, r"rank_pattern is \[8\]"),
        ({"alpha_pattern": {"q_proj": "high"}}, 'alpha_pattern gives "q_proj" the value "high"'),
        ({"base_model_name_or_path": 7}, "base_model_name_or_path is 7"),
    ],
)
def test_values_that_cannot_be_merged_are_named(
    change: dict[str, object], message: str, llama: HuggingFaceModel, foreign: Path
) -> None:
    file = foreign / "adapter_config.json"
    config = json.loads(file.read_text()) | change
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
    with pytest.raises(NotAModel, match=rf"adapter_config\.json: {message}.*; fit or download the adapter again$"):
        lora_component(llama, foreign)


def test_patterns_that_are_in_order_are_used(llama: HuggingFaceModel, foreign: Path) -> None:
    """Twice the alpha of one kind of module is twice its change."""
    once = lora_component(llama, foreign).swap
    config = json.loads((foreign / "adapter_config.json").read_text())
    patterns = {"rank_pattern": None, "alpha_pattern": {"q_proj": 2 * config["lora_alpha"]}}
    (foreign / "adapter_config.json").write_text(json.dumps(config | patterns))
    twice = lora_component(llama, foreign).swap
    assert once is not None
    assert twice is not None
    for name, tensor in once.tensors.items():
        parameter = llama.weights.parameter(name)
        assert parameter is not None
        factor = 2 if "q_proj" in name else 1
        torch.testing.assert_close(twice.tensors[name] - parameter, factor * (tensor - parameter), atol=1e-5, rtol=0)


@pytest.mark.parametrize("damage", ["rank", "flat", "NaN"])
def test_tensors_that_are_no_change_of_a_matrix(damage: str, llama: HuggingFaceModel, copy_of: Path) -> None:
    weights = copy_of / "adapter_model.safetensors"
    tensors = load_file(weights)
    key = next(k for k in tensors if k.endswith("lora_B.weight"))
    if damage == "rank":
        tensors[key] = tensors[key][:, 1:].contiguous()
    elif damage == "flat":
        tensors[key] = tensors[key].flatten()
    else:
        tensors[key][0, 0] = torch.nan
    save_file(tensors, weights)
    what = (
        r"lora_B of .* holds NaN" if damage == "NaN" else r"lora_A of shape \(4, 32\) and lora_B of shape .* one rank"
    )
    with pytest.raises(NotAModel, match=rf"safetensors is damaged: .*{what}.*; fit or download the adapter again$"):
        lora_component(llama, copy_of)


def test_an_adapter_that_overflows_is_named_and_not_its_base(llama: HuggingFaceModel, copy_of: Path) -> None:
    weights = copy_of / "adapter_model.safetensors"
    save_file({key: tensor.sign() * 1e19 for key, tensor in load_file(weights).items()}, weights)
    lora = lora_component(llama, copy_of, name="the huge one")
    wanted = r"^the huge one gives NaN or infinite logits in float32; its weights are damaged: (?!.*dtype)"
    with pytest.raises(NumericalFailure, match=wanted):
        rows(lora, llama.encode("I like"))
    with pytest.raises(NumericalFailure, match=wanted):
        lora.sample([SampleRequest(llama.start_ids, 1, 5, 0)])
    assert rows(llama, llama.encode("I like")).isfinite().all()
