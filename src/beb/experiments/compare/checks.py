"""Which measurements can be compared, and what must be said about those that can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from beb.errors import BadSpec
from beb.experiments.compare.rows import RunRows

_MUST_AGREE = {
    "sentences": "β is a smallest value over the lengths",
    "max_sentence_tokens": "it says what a sentence is",
    "kl": "exact divergences and mean log ratios are never mixed",
}
_TOLD = ("lead", "dtype", "adapter_steps", "adapter_rank", "adapter_learning_rate", "positive", "responses")
_IDENTITY = ("target", "negative", "positive")


def refuse_incomparable(before: RunRows, after: RunRows) -> None:
    """Raise BadSpec, in one line that says why, unless the two runs measured the same thing."""
    names = f"{before.folder} and {after.folder}"
    told = [run.meta["fingerprints"].get("behavior") or {} for run in (before, after)]
    if before.fingerprint("behavior") != after.fingerprint("behavior"):
        raise BadSpec(
            f"{names} measured different behaviors ({told[0].get('name')!r}, {told[1].get('name')!r}, or other "
            "statements); compare runs of one behavior"
        )
    if before.fingerprint("scorer") != after.fingerprint("scorer"):
        raise BadSpec(
            f"{names} were scored by different scorers; run both with the same --scorer and --seed (a likelihood "
            "scorer depends on the components: use probe)"
        )
    for option, why in _MUST_AGREE.items():
        values = [getattr(run.setting.spec, option) for run in (before, after)]
        if values[0] != values[1]:
            flag = "--" + option.replace("_", "-")
            raise BadSpec(f"{names} differ in {flag} ({values[0]} and {values[1]}), and {why}; run both with the same")
    if not set(before.setting.formats) & set(after.setting.formats):
        raise BadSpec(f"{names} share no prompt format; run both with --formats plain")
    same_seed = before.setting.spec.seed == after.setting.spec.seed
    if same_seed and all(before.fingerprint(role) == after.fingerprint(role) for role in _IDENTITY):
        raise BadSpec(f"{names} are one measurement: the same models, components and seed; give runs that differ")


def differing_settings(runs: Sequence[RunRows]) -> Iterator[str]:
    """What else differs between the first run and the others, as notes."""
    first = runs[0]
    for run in runs[1:]:
        if first.fingerprint("negative") != run.fingerprint("negative"):
            yield (
                f"P₋ of {run.folder.name} is not that of {first.folder.name}: a difference in α is then also one "
                "between two stand-ins; fit P₋ on the first model for both (--negative lora@MODEL)"
            )
        changed = [
            f"--{option.replace('_', '-')} {getattr(first.setting.spec, option)!r} and "
            f"{getattr(run.setting.spec, option)!r}"
            for option in _TOLD
            if getattr(first.setting.spec, option) != getattr(run.setting.spec, option)
        ]
        if changed:
            yield f"{first.folder.name} and {run.folder.name} also differ in {', '.join(changed)}"
