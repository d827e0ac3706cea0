"""LoRA adapters as components: merged into replacement tensors once, swapped in only while they are used."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from beb.errors import AdapterMismatch, NotAModel
from beb.models.fingerprint import combined, file_sha256
from beb.models.huggingface import HuggingFaceModel, derived_info
from beb.models.identity import WeightsIdentity, weights_identity
from beb.models.weights import WeightSwap

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
MANIFEST = "beb_adapter.json"
"""Written beside an adapter that was fitted here: its files' hashes and the identity of its base."""

_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_AGAIN = "fit or download the adapter again"
_LONGEST_SHOWN = 60
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "use_dora": (False, None),
    "modules_to_save": (None, [], ()),
    "bias": ("none", None),
    "lora_bias": (False, None),
    "trainable_token_indices": (None, [], {}),
    "layer_replication": (None, []),
}


def lora_component(base: HuggingFaceModel, folder: Path, *, name: str | None = None) -> HuggingFaceModel:
    """The distribution of a base model with a LoRA adapter merged into it; base weights are shared and stay pristine.

    folder: the PEFT format, adapter_config.json and adapter_model.safetensors. An adapter that was fitted here knows
    the weights of its base and fits no others. Another knows at most its base's name: a hub name must be the base's
    own, and where the base goes by a path, the component's remark says what was not checked.
    Raises: NotAModel if the folder holds no such adapter, AdapterMismatch if it was made for another base.
    """
    config = read_config(folder)
    remark = _require_base(base, folder, config)
    name = name or f"lora:{folder}"
    swap = WeightSwap(_merged(base, folder, config), name)
    info = derived_info(
        base.info,
        name=name,
        kind="lora",
        fingerprint=combined(
            ("lora", base.info.fingerprint, file_sha256(folder / CONFIG_FILE), file_sha256(folder / WEIGHTS_FILE))
        ),
    )
    return base.component(dataclasses.replace(info, remark=remark or info.remark), swap=swap)


def _require_base(base: HuggingFaceModel, folder: Path, config: dict[str, Any]) -> str:
    """Refuse an adapter that was made for other weights; a remark where nothing tells, else "".

    Raises: AdapterMismatch.
    """
    fitted_on, here = _fitted_on(folder), weights_identity(base.weights, base.swap)
    if fitted_on.digest is not None and here.digest is not None:
        if fitted_on.digest != here.digest:
            raise _mismatch(base, folder, config, "it was fitted on other weights")
        return ""
    reason = here.reason or fitted_on.reason
    why = f" ({reason})" if reason else ""
    made_for, name = config.get("base_model_name_or_path"), base.info.name.removeprefix("hf:")
    if not made_for:
        return f"the adapter {folder} does not say which base it was made for; that it is {name} was not checked{why}"
    if made_for == name:
        return f"that the adapter {folder} was fitted on these weights of {name} was not checked{why}" if why else ""
    if _is_hub_name(made_for) and _is_hub_name(name):
        raise _mismatch(base, folder, config, "the names differ; if the weights are the same, give the model by path")
    return f"the adapter {folder} was made for {made_for}; that {name} has the same weights was not checked{why}"


def _fitted_on(folder: Path) -> WeightsIdentity:
    """The weights that the adapter was fitted on here, as far as it says."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found, reason = told["base"], told.get("no_base", "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return WeightsIdentity(None)
    return WeightsIdentity(found, str(reason)) if isinstance(found, str | None) else WeightsIdentity(None)


def _is_hub_name(name: str) -> bool:
    """Whether a model's name is owner/name of a hub repository rather than a folder, a file or a short name."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name) is not None and not Path(name).exists()


def read_config(folder: Path) -> dict[str, Any]:
    """The adapter's configuration.

    Raises: NotAModel if the folder holds no PEFT LoRA adapter in safetensors, or one of a kind that cannot be merged.
    """
    if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        pickled = " (pickled adapter_model.bin is never loaded)" if (folder / "adapter_model.bin").exists() else ""
        raise NotAModel(
            f"{folder} is no LoRA adapter{pickled}; an adapter folder holds {CONFIG_FILE} and {WEIGHTS_FILE}"
        )
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NotAModel(f"{folder / CONFIG_FILE} is not readable JSON ({error})") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        raise NotAModel(f"{folder} holds a {kind} adapter; only LORA adapters can be merged")
    for key, accepted in _UNSUPPORTED.items():
        if config.get(key, accepted[0]) not in accepted:
            raise NotAModel(
                f"{folder}: adapters with {key}={config[key]!r} are not supported; merge it into a checkpoint first"
            )
    _require_usable(folder / CONFIG_FILE, config)
    return config


def _require_usable(file: Path, config: dict[str, Any]) -> None:
    """Refuse values that cannot be used to merge the adapter.

    Raises: NotAModel with the file, the key and its value.
    """
    for key in ("r", "lora_alpha"):
        if not _is_positive(config.get(key)):
            shown = _shown(config[key]) if key in config else "missing"
            raise NotAModel(f"{file}: {key} is {shown}, not a number above 0; {_AGAIN}")
    for key in ("rank_pattern", "alpha_pattern"):
        patterns = config.get(key)
        if not isinstance(patterns, dict | None):
            raise NotAModel(f"{file}: {key} is {_shown(patterns)}, not an object of module patterns; {_AGAIN}")
        for pattern, value in (patterns or {}).items():
            try:
                _module_pattern(pattern)
            except (re.error, OverflowError, RecursionError) as error:
                raise NotAModel(
                    f"{file}: {key} holds {_shown(pattern)}, which is no regular expression ({error}); {_AGAIN}"
                ) from error
            if not _is_positive(value):
                raise NotAModel(
                    f"{file}: {key} gives {_shown(pattern)} the value {_shown(value)}, not a number above 0; {_AGAIN}"
                )
    made_for = config.get("base_model_name_or_path")
    if not isinstance(made_for, str | None):
        raise NotAModel(f"{file}: base_model_name_or_path is {_shown(made_for)}, not a name; {_AGAIN}")


def _is_positive(value: Any) -> bool:
    """Whether a value of JSON is a finite number above 0."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value) and value > 0
    except OverflowError:  # an integer beyond every float
        return False


def _shown(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def _module_pattern(key: str) -> re.Pattern[str]:
    """What a key of the PEFT format's patterns matches: the end of a module's path."""
    return re.compile(rf"(.*\.)?({key})$")


def _merged(base: HuggingFaceModel, folder: Path, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """W + scaling·BA of every targeted matrix, computed in fp32 from the pristine base."""
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (SafetensorError, OSError) as error:
        raise NotAModel(f"{folder / WEIGHTS_FILE} is damaged ({error}); {_AGAIN}") from error
    merged: dict[str, torch.Tensor] = {}
    for key in sorted(tensors):
        if not (key.startswith(_PREFIX) and key.endswith((_A, _B))):
            raise NotAModel(f"{folder}: unknown tensor {key}; only LoRA matrices of linear layers can be merged")
        if key.endswith(_B):
            continue
        path = key.removeprefix(_PREFIX).removesuffix(_A)
        down, up = tensors[key], tensors.get(key.removesuffix(_A) + _B)
        parameter = base.weights.parameter(f"{path}.weight")
        if parameter is None or up is None:
            missing = f"no module {path}" if parameter is None else f"no {path}{_B} in the adapter"
            raise _mismatch(base, folder, config, missing)
        _require_product(folder / WEIGHTS_FILE, path, down, up)
        delta = (up.float() @ down.float()) * _scaling(config, path)
        delta = delta.T if config.get("fan_in_fan_out") else delta
        if delta.shape != parameter.shape:
            raise _mismatch(
                base, folder, config, f"{path} is {tuple(parameter.shape)} there and {tuple(delta.shape)} here"
            )
        with base.weights.activated(None):
            source = base.swap.tensors.get(f"{path}.weight") if base.swap else None
            pristine = parameter.data if source is None else source
        merged[f"{path}.weight"] = (pristine.float() + delta.to(pristine.device)).to(pristine.dtype)
    if not merged:
        raise NotAModel(f"{folder / WEIGHTS_FILE} holds no LoRA matrices")
    return {**(base.swap.tensors if base.swap else {}), **merged}


def _require_product(file: Path, path: str, down: torch.Tensor, up: torch.Tensor) -> None:
    """Refuse two tensors whose product is no change of a matrix.

    Raises: NotAModel.
    """
    if down.dim() != 2 or up.dim() != 2 or up.shape[1] != down.shape[0]:
        raise NotAModel(
            f"{file} is damaged: {path} has lora_A of shape {tuple(down.shape)} and lora_B of shape "
            f"{tuple(up.shape)}, no two matrices of one rank; {_AGAIN}"
        )
    for name, tensor in (("lora_A", down), ("lora_B", up)):
        if not bool(torch.isfinite(tensor.float()).all()):
            raise NotAModel(f"{file} is damaged: {name} of {path} holds NaN or infinite values; {_AGAIN}")


def _mismatch(base: HuggingFaceModel, folder: Path, config: dict[str, Any], reason: str) -> AdapterMismatch:
    made_for = config.get("base_model_name_or_path") or "an unnamed base"
    return AdapterMismatch(
        f"adapter {folder} was made for {made_for} and does not fit {base.info.name}: {reason}; give the matching base"
    )


def _scaling(config: dict[str, Any], path: str) -> float:
    """alpha/r (or alpha/√r), with the per-module patterns of the PEFT format."""

    def pattern(name: str, default: float) -> float:
        for key, value in (config.get(name) or {}).items():
            if _module_pattern(key).match(path):
                return float(value)
        return default

    rank = pattern("rank_pattern", float(config["r"]))
    alpha = pattern("alpha_pattern", float(config["lora_alpha"]))
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)
