"""A model further aligned: trained on a behavior's positive statements, and merged into a checkpoint of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from beb.models.adapters import CONFIG_FILE, WEIGHTS_FILE, lora_component
from beb.models.cachedir import published_folder
from beb.models.fingerprint import combined, file_sha256
from beb.models.huggingface import HuggingFaceModel, load_checkpoint
from beb.models.quiet import quiet_loading
from beb.models.training import AdapterSpec, Progress, adapter_key, fit_adapter

MERGER_VERSION = 1
_MANIFEST = "beb_alignment.json"


def aligned_model(
    base: HuggingFaceModel,
    statements: Sequence[str],
    *,
    spec: AdapterSpec,
    cache_dir: Path,
    progress: Progress | None = None,
) -> HuggingFaceModel:
    """`base` trained on the statements with a LoRA adapter that is then merged into its weights.

    base: with the opening after which it is trained. spec: of the adapter. cache_dir: the adapter is kept in its folder
    "adapters" and the merged checkpoint in "aligned", both keyed by the base, the statements, the spec and the library
    versions. progress: called with (steps done, steps in all) while training.
    Returns: a checkpoint like any other, without the opening; its fingerprint is that of the base and the adapter.
    Raises: as `fit_adapter`; StoreFull where the cache cannot be written.
    """
    texts = [" ".join(s.split()) for s in statements]
    key = combined(("aligned", str(MERGER_VERSION), adapter_key(base, texts, spec)))
    folder = cache_dir / "aligned" / key[:32]
    adapter_hash = _merged_from(folder)
    if adapter_hash is None:
        adapter = fit_adapter(base, texts, spec=spec, cache_dir=cache_dir / "adapters", progress=progress)
        adapter_hash = combined(file_sha256(adapter / name) for name in (CONFIG_FILE, WEIGHTS_FILE))
        with published_folder(folder) as temporary:
            _merge(lora_component(base, adapter), temporary)
            sizes = {path.name: path.stat().st_size for path in temporary.iterdir()}
            (temporary / _MANIFEST).write_text(json.dumps({"adapter": adapter_hash, "sizes": sizes}))
    return load_checkpoint(
        folder,
        name=f"aligned:{base.info.name} ({spec.steps} steps on {len(texts)} positive statements, merged)",
        dtype=base.info.dtype,
        hardware=base.weights.hardware,
        fingerprint=combined(("aligned", str(MERGER_VERSION), base.info.fingerprint, adapter_hash)),
    )


def _merged_from(folder: Path) -> str | None:
    """Hash of the adapter that was merged into a complete folder, or None."""
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_text())
        sizes: dict[str, int] = manifest["sizes"]
        complete = all((folder / name).stat().st_size == size for name, size in sizes.items())
        return str(manifest["adapter"]) if sizes and complete else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _merge(component: HuggingFaceModel, folder: Path) -> None:
    """Write the component's weights as a plain checkpoint with its tokenizer."""
    assert component.swap is not None
    module = component.weights.module
    # A dequantised model still calls itself quantised and refuses to be saved: a plain one takes its tensors.
    config = type(module.config).from_dict(
        {key: value for key, value in module.config.to_dict().items() if key != "quantization_config"}
    )
    tensors = {name: component.swap.tensors.get(name, tensor) for name, tensor in module.state_dict().items()}
    with quiet_loading():
        with torch.device("meta"):
            plain = type(module)(config)
        plain.load_state_dict(tensors, assign=True)
        plain.tie_weights()
        if getattr(module, "generation_config", None) is not None:
            plain.generation_config = module.generation_config
        plain.save_pretrained(folder)
        component.tokenizer.save_pretrained(folder)
