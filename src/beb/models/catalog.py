"""Names of models, and how each is loaded; torch is imported only when one is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from beb.errors import BadSpec, NotAModel, UnknownName
from beb.interfaces.language_model import LanguageModel
from beb.models.hardware import Hardware
from beb.models.hub import hub_folder
from beb.models.server_address import is_chat_api, is_served

if TYPE_CHECKING:
    from beb.models.huggingface import HuggingFaceModel

_SMOLLM2 = "smollm2"
_ALIGNED = "aligned:"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_FORMS = "Or give a model folder, a .gguf file, lora:FOLDER, a hub name such as org/name, or vllm:URL#name."

Notice = Callable[[str], None]


def known_models() -> tuple[str, ...]:
    """Names that need nothing but themselves."""
    return (_SMOLLM2,)


def aligned_base(name: str) -> str | None:
    """BASE of a name of the form "aligned:BASE" (BASE further trained on a behavior's positive statements), else None.

    Raises: BadSpec if BASE is missing, a world, or aligned itself.
    """
    if not name.startswith(_ALIGNED):
        return None
    base = name.removeprefix(_ALIGNED).strip()
    if not base or base.startswith(("world:", _ALIGNED)):
        raise BadSpec(
            f"{name!r} cannot be trained further: aligned:BASE takes a model with weights of its own, such as "
            f"aligned:{_SMOLLM2} or aligned:FOLDER"
        )
    return base


def load_model(
    name: str,
    *,
    dtype: str = "fp32",
    offline: bool = False,
    base: str | None = None,
    device: str | None = None,
    hardware: Hardware | None = None,
    progress: Notice | None = None,
) -> LanguageModel:
    """A language model from a catalog name, a folder, a .gguf file, "lora:FOLDER", "org/name" or "vllm:URL#name".

    dtype: "fp32", "bf16" or "fp16". offline: nothing is downloaded; what is not on this machine is an error.
    base: of an adapter, in place of the base that its configuration names. hardware: where it runs, in how much memory;
    device: short for a hardware with the usual memory budget; a GPU if there is one by default.
    progress: told in words about steps that take long (download, conversion).
    Raises: UnknownName, NotAModel, AdapterMismatch, BadSpec.
    """
    hardware = hardware or Hardware(device or "auto")
    if base is not None and not name.startswith("lora:"):
        raise BadSpec(f"a base was given for {name!r}, but only lora:FOLDER stands on a base; leave it out")
    if (aligned := aligned_base(name)) is not None:
        raise BadSpec(
            f"{name!r} is {aligned} trained on a behavior's statements, so only a run can load it: give it as --model"
        )
    if is_served(name):
        return _served(name, offline=offline, progress=progress)
    if name == _SMOLLM2:
        from beb.models.embedded import smollm2_gguf

        return _gguf(smollm2_gguf(offline=offline, notice=progress), name, dtype, hardware, progress)
    if name.startswith("lora:"):
        return _adapter(name, base, dtype=dtype, offline=offline, hardware=hardware, progress=progress)
    if not name.strip():
        raise UnknownName.of("model", name, known_models(), _FORMS)
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        return _gguf(path, name, dtype, hardware, progress)
    if path.is_dir():
        return _checkpoint(path, name, dtype, hardware)
    if path.exists():
        raise NotAModel(f"{name} is a file but no .gguf; give a model folder, a .gguf file or a name")
    if name.startswith((".", "~")) or path.is_absolute() or name.endswith("/") or name.count("/") > 1:
        raise NotAModel(f"no such folder: {name}; give a model folder, a .gguf file, or a hub name such as org/name")
    if _HUB_NAME.fullmatch(name):
        return _checkpoint(hub_folder(name, offline=offline, notice=progress), name, dtype, hardware)
    raise UnknownName.of("model", name, known_models(), _FORMS)


def _served(name: str, *, offline: bool, progress: Notice | None) -> LanguageModel:
    if is_chat_api(name):
        raise BadSpec(
            f"{name!r} is a chat API: it answers, but tells no tokens and no log-probabilities; only beb measure can "
            "take it, as --model (a vLLM server is vllm:URL#name)"
        )
    from beb.models.serving import load_served

    return load_served(name, offline=offline, notice=progress)


def _gguf(path: Path, name: str, dtype: str, hardware: Hardware, notice: Notice | None) -> HuggingFaceModel:
    from beb.models.gguf import load_gguf

    return load_gguf(path, name=name, dtype=dtype, hardware=hardware, notice=notice)


def _checkpoint(folder: Path, name: str, dtype: str, hardware: Hardware) -> HuggingFaceModel:
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise NotAModel(f"{name} holds a LoRA adapter, not a model; write lora:{name}")
    from beb.models.huggingface import load_checkpoint

    return load_checkpoint(folder, name=name, dtype=dtype, hardware=hardware)


def _adapter(
    name: str, base: str | None, *, dtype: str, offline: bool, hardware: Hardware, progress: Notice | None
) -> LanguageModel:
    from beb.models.adapters import lora_component, read_config
    from beb.models.huggingface import HuggingFaceModel

    folder = Path(name.removeprefix("lora:")).expanduser()
    made_for = base or read_config(folder).get("base_model_name_or_path")
    if not made_for:
        raise BadSpec(f"{name} does not name its base model; give the base")
    model = load_model(str(made_for), dtype=dtype, offline=offline, hardware=hardware, progress=progress)
    if not isinstance(model, HuggingFaceModel):
        raise BadSpec(f"{name} needs a checkpoint as base, not {made_for}")
    return lora_component(model, folder, name=name)
