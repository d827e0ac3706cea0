"""Components of the target, each a proxy and named as such: adapters, personas, other checkpoints, the residual."""

from __future__ import annotations

from pathlib import Path

from beb.errors import BadSpec
from beb.interfaces.language_model import LanguageModel, TokenIds
from beb.models.fingerprint import combined
from beb.models.hardware import Hardware
from beb.models.huggingface import HuggingFaceModel, derived_info

NEUTRAL_TURN = "Please tell me what you think."
FORMS = 'lora:PATH, persona:"TEXT", model:PATH-or-name, target, residual (as the positive component)'


def load_component(
    target: LanguageModel,
    description: str,
    *,
    dtype: str | None = None,
    offline: bool = False,
    hardware: Hardware | None = None,
) -> LanguageModel:
    """A component from its description; whatever can share the target's weights does.

    description: "lora:PATH", "persona:TEXT", "model:PATH-or-hub-name" or "target". The residual needs a weight that is
    measured first: build it with `ResidualComponent`.
    dtype, hardware: of another checkpoint; the target's by default.
    Raises: BadSpec listing the accepted forms; NotAModel, AdapterMismatch, UnknownName.
    """
    kind, _, rest = description.partition(":")
    rest = rest.strip()
    if description.strip() == "target":
        return target
    if kind == "model" and rest:
        from beb.models.catalog import load_model

        if hardware is None and isinstance(target, HuggingFaceModel):
            hardware = target.weights.hardware
        return load_model(rest, dtype=dtype or target.info.dtype, offline=offline, hardware=hardware)
    if kind in ("lora", "persona") and rest:
        if not isinstance(target, HuggingFaceModel):
            raise BadSpec(
                f"component {description!r} needs a checkpoint as target, not {target.info.name} ({target.info.kind})"
            )
        return persona_component(target, rest) if kind == "persona" else _lora(target, rest)
    raise BadSpec(f"component {description!r} is none of: {FORMS}")


def persona_component(target: HuggingFaceModel, persona: str) -> HuggingFaceModel:
    """The same weights under a description: as system text of a chat, or, without a chat template, as opening text."""
    if target.info.has_chat_template:
        context = "persona as system text, one neutral user turn, reply header"
        return _framed(target, _reply_frame(target, persona), f"persona:{persona}", context)
    start_ids = target.start_ids + target.encode(f"{persona}\n\n")
    return _framed(target, start_ids, f"persona:{persona}", "start token, persona as opening text, blank line")


def neutral_component(target: HuggingFaceModel) -> HuggingFaceModel:
    """The same weights in the frame of `persona_component`, without a persona: what personas are compared with.

    A chat template may put a system text of its own where a persona's would stand; the context says what stands there.
    """
    if target.info.has_chat_template:
        before = " ".join(target.decode(target.chat_frame()[0]).split())
        context = f"no persona (the chat template itself begins with {before!r}), one neutral user turn, reply header"
        return _framed(target, _reply_frame(target, None), target.info.name, context)
    return _framed(target, target.start_ids, target.info.name, "start token, no persona")


def _reply_frame(target: HuggingFaceModel, system: str | None) -> TokenIds:
    """A chat with one neutral user turn, up to where the reply begins."""
    before, after = target.chat_frame(system)
    return before + target.encode(NEUTRAL_TURN) + after


def _framed(target: HuggingFaceModel, start_ids: TokenIds, name: str, context: str) -> HuggingFaceModel:
    info = derived_info(
        target.info,
        name=name,
        kind="persona" if name.startswith("persona:") else target.info.kind,
        fingerprint=combined(("persona", target.info.fingerprint, *map(str, start_ids))),
        context=context,
    )
    return target.component(info, start_ids=start_ids)


def with_lead(target: HuggingFaceModel, lead: str) -> HuggingFaceModel:
    """The same model reading every text after an opening s₀, which is given and never scored.

    lead: the opening text, for example a line that asks for first-person prose; it stands after the start token. Chat
    frames are not changed.
    Source: Wolf et al. 2024, Definitions 4 and 6, condition on such an s₀.
    """
    start_ids = target.start_ids + target.encode(lead)
    info = derived_info(
        target.info,
        name=target.info.name,
        kind=target.info.kind,
        fingerprint=combined(("lead", target.info.fingerprint, *map(str, start_ids))),
        context=f"{target.info.context}, then {lead!r}",
    )
    return target.component(info, start_ids=start_ids)


def _lora(target: HuggingFaceModel, path: str) -> LanguageModel:
    from beb.models.adapters import lora_component

    return lora_component(target, Path(path).expanduser(), name=f"lora:{path}")
