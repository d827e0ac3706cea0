"""Components of the target, each a proxy and named as such: adapters, personas, other checkpoints, the residual."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from beb.errors import BadSpec
from beb.interfaces.language_model import LanguageModel, TokenIds
from beb.models.catalog import COMPONENT_FORMS
from beb.models.fingerprint import combined
from beb.models.hardware import Hardware
from beb.models.huggingface import DTYPES, HuggingFaceModel, derived_info
from beb.models.served import ServedModel
from beb.models.shelf import Shelf

NEUTRAL_TURN = "Please tell me what you think."
AnyFramed = TypeVar("AnyFramed", HuggingFaceModel, ServedModel)
"""Models that can read after another start context: what a persona or an opening is."""


def load_component(
    target: LanguageModel,
    description: str,
    *,
    dtype: str | None = None,
    offline: bool = False,
    hardware: Hardware | None = None,
    shelf: Shelf | None = None,
) -> LanguageModel:
    """A component from its description; whatever can share the target's weights does.

    description: "lora:PATH", "persona:TEXT", "model:PATH-or-hub-name", "model:vllm:URL#name", "model:#NAME" (a LoRA
    module or model of the server that the target is on) or "target". The residual needs a weight that is
    measured first: build it with `ResidualComponent`.
    dtype, hardware: of another checkpoint; the target's by default. shelf: that it may stand on already.
    Raises: BadSpec listing the accepted forms; NotAModel, AdapterMismatch, UnknownName.
    """
    kind, _, rest = description.partition(":")
    rest = rest.strip()
    if description.strip() == "target":
        return target
    if kind == "model" and rest.startswith("#"):
        from beb.models.serving import served_beside

        if not isinstance(target, ServedModel):
            raise BadSpec(f"component {description!r} is one of the target's server, but {target.info.name} is on none")
        return served_beside(target, rest.removeprefix("#"))
    if kind == "model" and rest:
        if hardware is None and isinstance(target, HuggingFaceModel):
            hardware = target.weights.hardware
        own = target.info.dtype if target.info.dtype in DTYPES else "fp32"
        return (shelf or Shelf()).load(rest, dtype=dtype or own, offline=offline, hardware=hardware)
    if kind == "persona" and rest and isinstance(target, ServedModel):
        return persona_component(target, rest)
    if kind in ("lora", "persona") and rest:
        if not isinstance(target, HuggingFaceModel):
            beside = "; a LoRA module of its server is model:#NAME" if isinstance(target, ServedModel) else ""
            raise BadSpec(
                f"component {description!r} needs a checkpoint as target, not {target.info.name} "
                f"({target.info.kind_in_words}){beside}"
            )
        return persona_component(target, rest) if kind == "persona" else _lora(target, rest)
    raise BadSpec(f"component {description!r} is none of: {COMPONENT_FORMS}")


def persona_component(target: AnyFramed, persona: str) -> AnyFramed:
    """The same weights under a description: as system text of a chat, or, without a chat template, as opening text."""
    if target.info.has_chat_template:
        context = "persona as system text, one neutral user turn, reply header"
        return _framed(target, _reply_frame(target, persona), f"persona:{persona}", context)
    start_ids = target.start_ids + target.encode(f"{persona}\n\n")
    return _framed(target, start_ids, f"persona:{persona}", "start token, persona as opening text, blank line")


def neutral_component(target: AnyFramed) -> AnyFramed:
    """The same weights in the frame of `persona_component`, without a persona: what personas are compared with.

    A chat template may put a system text of its own where a persona's would stand; the context says what stands there.
    """
    if target.info.has_chat_template:
        before = " ".join(target.decode(target.chat_frame()[0]).split())
        context = f"no persona (the chat template itself begins with {before!r}), one neutral user turn, reply header"
        return _framed(target, _reply_frame(target, None), target.info.name, context)
    return _framed(target, target.start_ids, target.info.name, "start token, no persona")


def _reply_frame(target: HuggingFaceModel | ServedModel, system: str | None) -> TokenIds:
    """A chat with one neutral user turn, up to where the reply begins."""
    before, after = target.chat_frame(system)
    return before + target.encode(NEUTRAL_TURN) + after


def _framed(target: AnyFramed, start_ids: TokenIds, name: str, context: str) -> AnyFramed:
    info = derived_info(
        target.info,
        name=name,
        kind="persona" if name.startswith("persona:") else target.info.kind,
        fingerprint=combined(("persona", target.info.fingerprint, *map(str, start_ids))),
        context=context,
    )
    return target.component(info, start_ids=start_ids)


def with_lead(target: AnyFramed, lead: str) -> AnyFramed:
    """The same model reading every text after an opening s₀, which is given and never scored.

    lead: the opening text, for example a line that asks for first-person prose; it stands after the start token. Chat
    frames are not changed.
    Source: Wolf et al. 2024, Definitions 4 and 6, condition on such an s₀.
    """
    begun: TokenIds = target.start_ids + target.encode(lead)
    info = derived_info(
        target.info,
        name=target.info.name,
        kind=target.info.kind,
        fingerprint=combined(("lead", target.info.fingerprint, *map(str, begun))),
        context=f"{target.info.context}, then {lead!r}",
    )
    return target.component(info, start_ids=begun)


def led(model: LanguageModel, lead: str) -> LanguageModel:
    """As `with_lead`; a model that cannot be given another start, or an empty opening, changes nothing."""
    if lead and isinstance(model, HuggingFaceModel):
        return with_lead(model, lead)
    return with_lead(model, lead) if lead and isinstance(model, ServedModel) else model


def _lora(target: HuggingFaceModel, path: str) -> LanguageModel:
    from beb.models.adapters import lora_component

    return lora_component(target, Path(path).expanduser(), name=f"lora:{path}")
