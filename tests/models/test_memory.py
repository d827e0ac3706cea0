"""Batch sizes from a budget, and what happens when memory runs out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from beb.errors import BadSpec, OutOfMemory
from beb.interfaces.language_model import Completion, SampleRequest
from beb.models.adapters import WEIGHTS_FILE
from beb.models.after_prefix import AfterPrefix
from beb.models.components import persona_component
from beb.models.hardware import Hardware, parse_size
from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.memory import Footprint, Memory, chunk_size, in_parts, is_out_of_memory, texts_at_once
from beb.models.mixture_scoring import score_against_mixture
from beb.models.representations import representations
from beb.models.residual import ResidualComponent
from beb.models.scoring import score_sequences
from beb.models.training import AdapterSpec, fit_adapter

CPU = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
TEXTS = ("I like kind words, and I say them often!", "Nobody deserves my patience.", "Do you trust me? I am sure.")
PERSONA = "You are rude. You say so whenever you can, to everyone you meet."


@pytest.fixture
def model(llama_folder: Path) -> HuggingFaceModel:
    """A model of its own, whose memory a test may spoil."""
    loaded = load_checkpoint(llama_folder, name="tiny", device="cpu")
    assert loaded.row_cache
    assert loaded.weights.packs
    return loaded


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("512MiB", 2**29), (" 2 GiB ", 2**31), ("1.5g", 3 * 2**29), ("64M", 2**26), ("1TiB", 2**40)],
)
def test_sizes(text: str, n_bytes: int) -> None:
    assert parse_size(text) == n_bytes
    assert Hardware.given(None, text) == Hardware("auto", n_bytes)


@pytest.mark.parametrize("text", ["", "2", "GiB", "2GB", "-1GiB", "nan GiB", "1e3MiB", "2 GiB 3", "9" * 400 + "GiB"])
def test_nonsense_is_no_size(text: str) -> None:
    with pytest.raises(BadSpec, match="no size; give a number and a unit, as 512MiB") as raised:
        parse_size(text)
    assert "\n" not in str(raised.value)


def test_too_small_a_budget() -> None:
    with pytest.raises(BadSpec, match="at least 64MiB"):
        Hardware.given(None, "63MiB")


def test_what_fits() -> None:
    memory = Memory(1000)
    assert memory.fits(0.5, 100, at_most=10) == 5
    assert memory.fits(0.5, 100, at_most=3) == 3
    assert memory.fits(0.5, 1e9, at_most=3) == 1
    assert memory.halve()
    assert memory.fits(0.5, 100, at_most=10) == 2
    halvings = 1
    while memory.halve():
        halvings += 1
    assert halvings < 40
    assert memory.fits(0.5, 100, at_most=10) == 5  # given up: the next piece of work tries the whole budget again


def test_rows_and_texts_that_fit() -> None:
    size = Footprint(budget=10**8, token=100.0, row=4000.0, working=2000.0, before=2)
    n = chunk_size(size, 100, at_most=10**6)
    assert n * 6000 <= 10**8 < (n + 1) * 6000 * 10
    assert chunk_size(size, 100, at_most=7) == 7
    assert chunk_size(size, 10**7, at_most=7) == 1
    assert chunk_size(None, 10**7, at_most=7) == 7
    size = replace(size, budget=10**6)
    lengths = [3000, 998, 998, 5000, 10_000, 1]
    stops = [texts_at_once(lengths, start, size) for start in range(len(lengths))]
    assert stops == [2, 3, 3, 4, 5, 6]
    assert texts_at_once(lengths, 0, None) == 6


def test_parts_are_halved_until_they_fit() -> None:
    done: list[int] = []

    def work(start: int, stop: int) -> None:
        if stop - start > 3:
            raise OutOfMemory("too many")
        done.extend(range(start, stop))

    in_parts(50, lambda start: start + 20, work)
    assert done == list(range(50))

    def never(start: int, stop: int) -> None:
        raise OutOfMemory("none fits")

    with pytest.raises(OutOfMemory, match="none fits"):
        in_parts(5, lambda _: 5, never)


def test_what_counts_as_out_of_memory() -> None:
    assert is_out_of_memory(RuntimeError(CPU))
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor for a matmul"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied; memory format"))
    assert not is_out_of_memory(ValueError("out of memory"))


def requests(model: HuggingFaceModel) -> list[SampleRequest]:
    """Nested beginnings, repeated ones, and texts that outgrow their first columns."""
    whole = model.encode(" ".join(TEXTS))
    asked = [SampleRequest(model.start_ids + whole[:k], 2, 12, 10 * k + r) for k in (0, 5, 11, 30) for r in range(4)]
    return asked + [SampleRequest(model.start_ids + whole[:3], 14, 12, 900 + r) for r in range(3)]


def sampled(model: HuggingFaceModel) -> list[tuple[int, ...]]:
    texts = model.sample(requests(model))
    assert all(isinstance(text, Completion) for text in texts)
    return [text.token_ids for text in texts if isinstance(text, Completion)]


def scored(model: HuggingFaceModel) -> np.ndarray:
    """All numbers of a scoring with components of every kind."""
    persona = persona_component(model, PERSONA)
    models = {
        "p": model, "persona": persona, "later": AfterPrefix(model, model.encode("So:")),
        "residual": ResidualComponent(model, persona, -400.0),
    }  # fmt: skip
    sequences = [model.encode(text) for text in TEXTS]
    pairs = [("p", "persona"), ("persona", "later"), ("p", "residual")]
    found = [
        np.concatenate([*score.log_probs.values(), *score.kl.values()])
        for score in score_sequences(sequences, models, divergences=pairs)
    ]
    mixed = score_against_mixture(
        sequences, {"p": model, "persona": persona}, own=["p", "p", "persona"], log_weights={"p": -1.0, "persona": -0.5}
    )
    found += [np.concatenate([*score.log_probs.values(), score.kl]) for score in mixed]
    return np.concatenate(found)


def features(model: HuggingFaceModel) -> np.ndarray:
    states = representations(model, TEXTS)
    means = [model.hidden_states(TEXTS, layer) for layer in (0, 1, -1)]
    return np.concatenate([states.last.ravel(), states.mean.ravel(), *(m.ravel() for m in means)])


@pytest.mark.parametrize("budget", [10**5, 1])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "mamba", "granite"])
def test_no_number_depends_on_the_budget(kind: str, budget: int, build: Callable[..., Path]) -> None:
    folder = build(kind)
    free, tight = (load_checkpoint(folder, name=kind, device="cpu") for _ in range(2))
    tight.weights.memory = Memory(budget)
    assert sampled(tight) == sampled(free)
    np.testing.assert_allclose(scored(tight), scored(free), atol=1e-4)
    np.testing.assert_allclose(features(tight), features(free), atol=1e-4)


def test_models_that_must_be_run_whole(model: HuggingFaceModel, llama: HuggingFaceModel) -> None:
    expected = scored(llama)
    model.weights.splits = False
    whole = HuggingFaceModel(
        model.weights, model.tokenizer, model.rule, model.info, model.start_ids, row_cache=False
    )  # fmt: skip
    assert sampled(whole) == sampled(llama)
    np.testing.assert_allclose(scored(whole), expected, atol=1e-4)
    whole.weights.memory = Memory(10**4)
    np.testing.assert_allclose(scored(whole), expected, atol=1e-4)


def test_a_fitted_adapter_does_not_depend_on_the_budget(model: HuggingFaceModel, tmp_path: Path) -> None:
    spec = AdapterSpec(rank=4, steps=4, batch=4, sequence_tokens=16, learning_rate=2e-2, seed=3)
    free = fit_adapter(model, TEXTS, spec=spec, cache_dir=tmp_path / "free")
    model.weights.memory = Memory(1)
    tight = fit_adapter(model, TEXTS, spec=spec, cache_dir=tmp_path / "tight")
    expected, found = load_file(free / WEIGHTS_FILE), load_file(tight / WEIGHTS_FILE)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-3, rtol=0)


def pass_sizes(model: HuggingFaceModel) -> list[int]:
    """Tokens of every pass of the decoder from now on."""
    seen: list[int] = []
    model.weights.decoder.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return seen


def test_a_smaller_budget_makes_smaller_passes(model: HuggingFaceModel) -> None:
    seen = pass_sizes(model)
    sequences = [model.encode(text) for text in TEXTS] * 4
    score_sequences(sequences, {"p": model})
    largest = max(seen)
    seen.clear()
    model.weights.memory = Memory(10**5)
    score_sequences(sequences, {"p": model})
    assert 1 <= max(seen) < largest / 4


class Failing:
    """Lets a module run out of memory. largest: most rows that it takes. every: calls of which one fails, if any."""

    def __init__(self, module: Any, error: Callable[[], Exception], *, largest: int = 10**9, every: int = 0) -> None:
        self.calls, self.failed = 0, 0
        self._error, self._largest, self._every = error, largest, every
        module.register_forward_pre_hook(self._before, with_kwargs=True)

    def _before(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        self.calls += 1
        rows = ids.numel() if "input_ids" in kwargs else ids.shape[0]
        if rows > self._largest or (self._every and self.calls % self._every == 0):
            self.failed += 1
            raise self._error()


def errors() -> Iterator[Callable[[], Exception]]:
    yield lambda: RuntimeError(f"{CPU} 1073741824 bytes. Error code 12 (Cannot allocate memory)")
    yield lambda: torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    ("part", "largest", "error"),
    [
        (part, largest, error)
        for error, (part, largest) in zip(
            [*errors()] * 2, [("decoder", 40), ("decoder", 7), ("head", 16), ("head", 1)], strict=True
        )
    ],
)
def test_memory_that_runs_out_changes_no_row(
    part: str, largest: int, error: Callable[[], Exception], model: HuggingFaceModel, llama: HuggingFaceModel
) -> None:
    failing = Failing(getattr(model.weights, part), error, largest=largest)
    assert sampled(model) == sampled(llama)
    before = failing.failed
    np.testing.assert_allclose(scored(model), scored(llama), atol=1e-4)
    assert before if largest < 16 else failing.failed  # few texts are sampled, and few rows of them drawn, at once
    if part == "decoder" and largest == 40:  # features of a text come from one pass
        np.testing.assert_allclose(features(model), features(llama), atol=1e-4)


@pytest.mark.parametrize(("kind", "part", "every"), [("llama", "decoder", 40), ("gemma2", "head", 60)])
def test_memory_that_runs_out_now_and_then(kind: str, part: str, every: int, build: Callable[..., Path]) -> None:
    folder = build(kind)
    free, tight = (load_checkpoint(folder, name=kind, device="cpu") for _ in range(2))
    tight.weights.memory.halve = lambda: True  # type: ignore[method-assign]  # no matter how often it happens
    expected = sampled(free)
    assert tight.row_cache == (kind == "llama")
    failing = Failing(getattr(tight.weights, part), next(errors()), every=every)
    assert sampled(tight) == expected
    assert failing.failed


def test_not_even_one_token_fits(model: HuggingFaceModel) -> None:
    failing = Failing(model.weights.decoder, next(errors()), largest=0)
    for work in (lambda: sampled(model), lambda: scored(model), lambda: features(model)):
        with pytest.raises(
            OutOfMemory, match=r"tiny.*out of memory even in the smallest batch; use dtype bf16"
        ) as raised:
            work()
        assert "\n" not in str(raised.value)
        assert failing.failed < 200


def test_not_even_the_first_look_at_a_model_fits(llama_folder: Path) -> None:
    fresh = load_checkpoint(llama_folder, name="tiny", device="cpu")
    Failing(fresh.weights.decoder, next(errors()), largest=0)
    with pytest.raises(OutOfMemory, match=r"tiny.*out of memory even in the smallest batch; use dtype bf16"):
        features(fresh)


def test_other_errors_are_not_tried_again(model: HuggingFaceModel) -> None:
    failing = Failing(model.weights.decoder, lambda: RuntimeError("shapes cannot be multiplied"), largest=0)
    with pytest.raises(Exception, match="forward pass failed: shapes cannot be multiplied"):
        scored(model)
    assert failing.failed == 1


def test_the_peak_of_a_process_is_its_own_and_not_that_of_its_parent() -> None:
    code = (
        "import subprocess, sys; from beb.models.memory import peak_bytes; block = bytearray(600 << 20); del block;"
        "print(int(peak_bytes())); "
        "print(subprocess.check_output([sys.executable, '-c', sys.argv[1]], text=True))"
    )
    child = "from beb.models.memory import peak_bytes; print(int(peak_bytes()))"
    done = subprocess.run([sys.executable, "-c", code, child], capture_output=True, text=True, check=True)
    parents, own = (int(line) for line in done.stdout.split())
    assert parents > 600 * 2**20
    assert own < 300 * 2**20
