"""Reading a checkpoint folder with the transformers library, whose errors become one line with what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from beb.errors import NotAModel
from beb.models.devices import Placement
from beb.models.memory import is_out_of_memory

_AGAIN = "download it again, or give another model"
_LIBRARY_ADVICE = re.compile(r"above report|pip install|huggingface\.co|hf\.co|_pretrained|out of date|very new")
"""In sentences of the library that send the reader elsewhere."""

_LONGEST_REASON = 200


def from_pretrained(folder: Path, name: str, dtype: torch.dtype, placement: Placement) -> tuple[Any, Any]:
    """The module, where it is placed, and the tokenizer of a folder of config.json, *.safetensors and tokenizer files.

    Raises: NotAModel, with what to do, if it does not load, or not completely, as a causal language model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model_type = _model_type(folder, name)
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        # Tensors of other shapes are let through to be named below: the library's own error names none.
        module, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **placement.options,
            **options,
        )
    except Exception as error:  # the library raises OSError, ValueError, KeyError, RuntimeError, SafetensorError, ...
        if is_out_of_memory(error):
            raise
        raise NotAModel(f"{name}: {folder} {_refusal(error, model_type)}") from error
    if report["mismatched_keys"]:
        key, there, wanted = min(report["mismatched_keys"])
        raise NotAModel(
            f"{name}: {folder} does not load as a causal language model ({key} is {_shape(there)}, but config.json "
            f"asks for {_shape(wanted)}); {_AGAIN}"
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise NotAModel(
            f"{name}: {folder} lacks {len(missing)} weights, the first {missing[0]}; the checkpoint is incomplete: "
            f"{_AGAIN}"
        )
    return module if placement.device_map is not None else module.to(placement.device), tokenizer


def _model_type(folder: Path, name: str) -> str:
    """What config.json calls the architecture; "" if it does not say. Raises: NotAModel."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotAModel(f"{name}: {file} is not readable JSON ({error}); {_AGAIN}") from error
    if not isinstance(config, dict):
        raise NotAModel(f"{name}: {file} is no JSON object; {_AGAIN}")
    return str(config.get("model_type") or "")


def _refusal(error: Exception, model_type: str) -> str:
    """What is wrong with a folder that the library refuses, and what to do."""
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return "needs code of its own, which is never run; give a model of an architecture that transformers has"
    if "Unrecognized configuration class" in text and "AutoModelForCausalLM" in text:
        return f"is no decoder-only causal language model (its type is {model_type}); give another model"
    sentences = [s for s in re.split(r"(?<=[.!?]) ", text) if not _LIBRARY_ADVICE.search(s)]
    reason = " ".join(sentences)[:_LONGEST_REASON].strip()
    kind = type(error).__name__
    return f"does not load as a causal language model ({f'{kind}: {reason}' if reason else kind}); {_AGAIN}"


def _shape(sizes: Any) -> str:
    return "×".join(str(size) for size in sizes)
