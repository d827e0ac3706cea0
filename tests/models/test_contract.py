"""The contract of LanguageModel on every backend and component of this room."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from beb.models.adapters import lora_component
from beb.models.components import load_component, persona_component
from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.residual import ResidualComponent
from contract import check_language_model

ARCHITECTURES = ("llama", "gpt2", "gemma2", "cohere", "granite", "bloom", "mamba", "opt")


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_architectures(kind: str, build: Callable[..., Path]) -> None:
    check_language_model(load_checkpoint(build(kind), name=kind, device="cpu"))


def test_lora(llama: HuggingFaceModel, adapter: Path) -> None:
    check_language_model(lora_component(llama, adapter))


def test_persona(llama: HuggingFaceModel) -> None:
    check_language_model(load_component(llama, "persona:You are unkind."))


def test_persona_on_an_adapter(llama: HuggingFaceModel, adapter: Path) -> None:
    both = persona_component(lora_component(llama, adapter), "You are unkind.")
    assert both.info.fingerprint != persona_component(llama, "You are unkind.").info.fingerprint
    check_language_model(both)


def test_residual(llama: HuggingFaceModel, adapter: Path) -> None:
    check_language_model(ResidualComponent(llama, lora_component(llama, adapter), math.log(1e-12)))
