"""Names of models, and how each is loaded; torch is imported only when one is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from beb.errors import BadSpec, NotAModel, UnknownName
from beb.interfaces.language_model import LanguageModel
from beb.models.hardware import Hardware
from beb.models.hub import hub_folder
from beb.models.server_address import is_chat_api, is_served, parse_address

if TYPE_CHECKING:
    from beb.models.huggingface import HuggingFaceModel

_SMOLLM2 = "smollm2"
_ALIGNED = "aligned:"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_FORMS = "Or give a model folder, a .gguf file, lora:FOLDER, a hub name such as org/name, or vllm:URL#name."

COMPONENT_FORMS = (
    'lora:PATH, persona:"TEXT", model:PATH-or-name, model:vllm:URL#name, model:#NAME (of the target\'s own server), '
    "target, residual (as the positive component)"
)
_ADAPTER = "adapter_config.json"
_Kind = Literal["server", "embedded", "adapter", "gguf", "folder", "hub"]

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
    kind = _kind(name)
    if kind == "server":
        return _served(name, offline=offline, progress=progress)
    if kind == "embedded":
        from beb.models.embedded import smollm2_gguf

        return _gguf(smollm2_gguf(offline=offline, notice=progress), name, dtype, hardware, progress)
    if kind == "adapter":
        return _adapter(name, base, dtype=dtype, offline=offline, hardware=hardware, progress=progress)
    path = Path(name).expanduser()
    if kind == "gguf":
        return _gguf(path, name, dtype, hardware, progress)
    return _checkpoint(
        path if kind == "folder" else hub_folder(name, offline=offline, notice=progress), name, dtype, hardware
    )


def refuse_unknown(name: str) -> None:
    """Refuse a name for which there is no model, as far as that shows without its weights and without the network.

    Raises: UnknownName, NotAModel, BadSpec.
    """
    kind, path = _kind(aligned_base(name) or name), Path(name.removeprefix("lora:")).expanduser()
    if kind == "server":
        parse_address(name)
    if kind == "gguf" and not path.is_file():
        raise NotAModel(f"no such file: {name}; give a model folder, a .gguf file or a name")
    if kind == "adapter":
        _refuse_no_adapter(path)
    if kind == "folder":
        _refuse_no_checkpoint(path, name)


def refuse_unknown_component(description: str, target: str) -> None:
    """As `refuse_unknown`, of a component that is not fitted. target: name of the model that it is one of."""
    kind, _, rest = description.partition(":")
    rest = rest.strip()
    if kind == "model" and rest.startswith("#"):
        if not is_served(target):
            raise BadSpec(f"component {description!r} is one of the target's server, but {target} is on none")
    elif kind == "model" and rest:
        refuse_unknown(rest)
    elif kind == "lora" and rest:
        if is_served(target):
            raise BadSpec(f"{description} needs a checkpoint as target; a LoRA module of its server is model:#NAME")
        _refuse_no_adapter(Path(rest).expanduser())
    elif description.strip() != "target" and not (kind == "persona" and rest):
        raise BadSpec(f"component {description!r} is none of: {COMPONENT_FORMS}")


def _refuse_no_adapter(folder: Path) -> None:
    if not (folder / _ADAPTER).is_file():
        raise NotAModel(f"{folder} is no LoRA adapter; an adapter folder holds {_ADAPTER}")


def _refuse_no_checkpoint(folder: Path, name: str) -> None:
    if (folder / "config.json").is_file():
        return
    if (folder / _ADAPTER).is_file():
        raise NotAModel(f"{name} holds a LoRA adapter, not a model; write lora:{name}")
    raise NotAModel(f"{name} holds no config.json; give a model folder, a .gguf file or a name")


def _kind(name: str) -> _Kind:
    """How a name is loaded. Raises: UnknownName, NotAModel."""
    if is_served(name):
        return "server"
    if name == _SMOLLM2:
        return "embedded"
    if name.startswith("lora:"):
        return "adapter"
    if not name.strip():
        raise UnknownName.of("model", name, known_models(), _FORMS)
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        return "gguf"
    if path.is_dir():
        return "folder"
    if path.exists():
        raise NotAModel(f"{name} is a file but no .gguf; give a model folder, a .gguf file or a name")
    if name.startswith((".", "~")) or path.is_absolute() or name.endswith("/") or name.count("/") > 1:
        raise NotAModel(f"no such folder: {name}; give a model folder, a .gguf file, or a hub name such as org/name")
    if _HUB_NAME.fullmatch(name):
        return "hub"
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
    if (folder / _ADAPTER).is_file() and not (folder / "config.json").is_file():
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
