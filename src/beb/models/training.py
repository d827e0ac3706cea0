"""Fitting a component: a LoRA adapter on statements of one pole, kept in a cache."""

from __future__ import annotations

import copy
import dataclasses
import importlib.metadata
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beb.errors import BadSpec, BadStatements, ContextTooShort, NumericalFailure
from beb.interfaces.language_model import TokenIds
from beb.models.adapters import CONFIG_FILE, MANIFEST, WEIGHTS_FILE
from beb.models.cachedir import published_folder
from beb.models.fingerprint import combined, file_sha256
from beb.models.huggingface import HuggingFaceModel
from beb.models.identity import weights_identity
from beb.models.memory import KEPT, PASS, ROWS, until_done
from beb.models.quiet import quiet_loading
from beb.models.sizes import token_bytes
from beb.models.weights import foreign_errors, remedy

CODE_VERSION = 2
_MAX_GRADIENT_NORM = 1.0
_WARMUP_SHARE = 0.1

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """How an adapter is fitted.

    rank, alpha: of the LoRA matrices; updates are scaled by alpha / rank. target_modules: names of the matrices, or
    None for what PEFT proposes for the architecture (q_proj and v_proj for most). steps: optimiser steps. batch:
    sequences a step. sequence_tokens: tokens a sequence, start context not counted. learning_rate: the largest of the
    schedule (linear warm-up and decay). seed: of initial matrices and of the order of statements.
    """

    rank: int = 8
    alpha: float = 16.0
    target_modules: tuple[str, ...] | None = None
    steps: int = 30
    batch: int = 8
    sequence_tokens: int = 45
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.rank, self.steps, self.batch, self.sequence_tokens)
        if min(counts) < 1 or not self.alpha > 0 or not self.learning_rate > 0 or self.seed < 0:
            raise BadSpec(
                f"{self}: rank, steps, batch, sequence_tokens, alpha and learning_rate must be positive, seed >= 0"
            )


def fit_adapter(
    model: HuggingFaceModel,
    statements: Sequence[str],
    *,
    spec: AdapterSpec | None = None,
    cache_dir: Path,
    progress: Progress | None = None,
) -> Path:
    """Fit a LoRA adapter on running text made of the statements; the base is left as it was, bit for bit.

    Sequences are the start context and statements in random order, joined by single spaces, cut at
    `spec.sequence_tokens`; every token after the start context counts in the next-token loss.
    cache_dir: an adapter fitted from the same model, statements, spec and library versions is taken from there.
    progress: called with (steps done, steps in all).
    Returns: the adapter's folder, in PEFT format (safetensors).
    Raises: BadStatements, BadSpec, ContextTooShort, NumericalFailure.
    """
    spec = spec or AdapterSpec()
    texts = [" ".join(s.split()) for s in statements]
    if not texts or not all(texts):
        raise BadStatements(
            f"{len(texts)} statements, {texts.count('')} of them empty; an adapter needs at least one, none empty"
        )
    room = model.info.context_length - len(model.start_ids)
    if spec.sequence_tokens > room:
        raise ContextTooShort(
            f"{model.info.name} has room for {room} tokens and sequences have {spec.sequence_tokens}; lower it"
        )
    folder = cache_dir / f"adapter-{adapter_key(model, texts, spec)[:32]}"
    if not _intact(folder):
        with published_folder(folder) as temporary:
            _fit(model, texts, spec, temporary, progress)
            hashes = {name: file_sha256(temporary / name) for name in (CONFIG_FILE, WEIGHTS_FILE)}
            base = weights_identity(model.weights, model.swap)
            told = {"sha256": hashes, "spec": dataclasses.asdict(spec), "base": base.digest, "no_base": base.reason}
            (temporary / MANIFEST).write_text(json.dumps(told))
    return folder


def adapter_key(model: HuggingFaceModel, statements: Sequence[str], spec: AdapterSpec) -> str:
    """Hash of everything that determines a fitted adapter."""
    versions = [f"{package} {importlib.metadata.version(package)}" for package in ("torch", "peft", "transformers")]
    settings = json.dumps(dataclasses.asdict(spec), sort_keys=True)
    return combined(
        [str(CODE_VERSION), model.info.fingerprint, settings, *versions, *map(str, model.start_ids), *statements]
    )


def _intact(folder: Path) -> bool:
    try:
        hashes: dict[str, str] = json.loads((folder / MANIFEST).read_text())["sha256"]
        return bool(hashes) and all(file_sha256(folder / name) == value for name, value in hashes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _fit(model: HuggingFaceModel, texts: list[str], spec: AdapterSpec, folder: Path, progress: Progress | None) -> None:
    with torch.random.fork_rng(devices=[]), model.weights.activated(model.swap):
        torch.manual_seed(spec.seed)
        adapted = _with_adapter(model, spec)
        trained = [p for p in adapted.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=spec.learning_rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, spec.steps))
        rng = np.random.Generator(np.random.Philox(spec.seed))
        adapted.train()
        for step in range(spec.steps):
            batch = [running_text(model, texts, spec.sequence_tokens, rng) for _ in range(spec.batch)]
            loss = _backward(adapted, model, batch, optimiser)
            if not math.isfinite(loss):
                raise _no_loss(model, step)
            torch.nn.utils.clip_grad_norm_(trained, _MAX_GRADIENT_NORM)
            optimiser.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, spec.steps)
        with quiet_loading():
            adapted.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)


def _no_loss(model: HuggingFaceModel, step: int) -> NumericalFailure:
    if step:
        return NumericalFailure(f"fitting on {model.info.name} diverged at step {step}; lower the learning rate")
    return NumericalFailure(f"{model.info.name} has no finite loss before any fitting: {remedy(model.weights.dtype)}")


def _with_adapter(model: HuggingFaceModel, spec: AdapterSpec) -> Any:
    """A copy of the module tree that shares every tensor with the base, with trainable LoRA matrices added."""
    from peft import LoraConfig, get_peft_model

    module = model.weights.module
    shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        target_modules=list(spec.target_modules) if spec.target_modules else None,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
        base_model_name_or_path=model.info.name,
    )
    with quiet_loading():
        try:
            adapted = get_peft_model(copy.deepcopy(module, shared), config)
        except ValueError as error:
            reason = " ".join(str(error).split())[:160]
            raise BadSpec(f"{model.info.name}: no adapter can be added ({reason}); name its target modules") from error
    adapted.peft_config["default"].base_model_name_or_path = model.info.name
    return adapted


def running_text(model: HuggingFaceModel, texts: Sequence[str], n_tokens: int, rng: np.random.Generator) -> TokenIds:
    """Start context and `n_tokens` tokens of statements in random order, joined by single spaces."""
    order = [texts[i] for i in rng.permutation(len(texts))]
    joined, ids = "", model.encode("")
    while len(ids) < n_tokens:
        # A short list of statements is gone through again until the sequence is full.
        joined = f"{joined} {order[0]}".strip()
        order.append(order.pop(0))
        ids = model.encode(joined)
    return model.start_ids + ids[:n_tokens]


def _backward(
    adapted: Any, model: HuggingFaceModel, batch: Sequence[TokenIds], optimiser: torch.optim.Optimizer
) -> float:
    """Mean negative log-likelihood of the batch, nats per token, and its gradient: in as many parts as memory needs."""
    loss = 0.0

    def work() -> None:
        nonlocal loss
        loss, size = 0.0, _sequences_at_once(model, len(batch[0]), len(batch))
        optimiser.zero_grad(set_to_none=True)
        with foreign_errors(model.info.name):
            for at in range(0, len(batch), size):
                part = batch[at : at + size]
                share = _loss(adapted, model, part) * (len(part) / len(batch))
                torch.autograd.backward(share)
                loss += float(share.detach())

    until_done(model.weights.memory, work)
    return loss


def _sequences_at_once(model: HuggingFaceModel, n_tokens: int, at_most: int) -> int:
    """Sequences whose activations, and logits in fp32 with their gradients, fit into the memory budget."""
    weights = model.weights
    n_blocks = int(weights.module.config.get_text_config().num_hidden_layers)
    logits = 4.5 * weights.row_bytes * n_tokens
    activations = token_bytes(weights.module, itemsize=weights.dtype.itemsize, columns=n_tokens) * n_tokens * n_blocks
    return weights.memory.fits(KEPT + PASS + ROWS, logits + activations, at_most=at_most)


def _loss(adapted: Any, model: HuggingFaceModel, batch: Sequence[TokenIds]) -> torch.Tensor:
    """Mean negative log-likelihood of the tokens after the start context, nats per token."""
    n_start = len(model.start_ids)
    ids = torch.tensor(batch, device=model.weights.device)
    device = model.weights.device.type
    # One autocast block per pass: a longer one would go on using its cached bf16 copies of the LoRA matrices.
    with torch.enable_grad():
        with torch.autocast(device, dtype=torch.bfloat16, enabled=compute_dtype(model) == "bf16"):
            logits = adapted(input_ids=ids[:, :-1], use_cache=False).logits[:, n_start - 1 :]
        wanted = ids[:, n_start:].flatten().to(logits.device)
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), wanted)


def compute_dtype(model: HuggingFaceModel) -> str:
    """Arithmetic of the fit: bf16 where this machine multiplies in it natively (LoRA matrices stay fp32), else fp32.

    fp16 weights are always used in bf16: gradients of fp16 activations vanish below its smallest number.
    """
    if model.weights.dtype == torch.float16:
        return "bf16"
    if model.weights.device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if model.weights.device.type == "mps":
        return "fp32"
    return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"


def _rate(step: int, steps: int) -> float:
    warmup = max(1, round(_WARMUP_SHARE * steps))
    return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup + 1))
