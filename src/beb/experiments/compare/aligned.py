"""Before and after alignment: one model measured as it is and further trained on a behavior's positive statements."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beb.errors import BadSpec
from beb.experiments.compare.analyse import compare
from beb.experiments.compare.record import Comparison
from beb.experiments.execute import Progress
from beb.experiments.experiment import default_folder
from beb.experiments.loading import FITTED_ON
from beb.experiments.measure import measure
from beb.experiments.spec import MeasureSpec, make_spec
from beb.models.catalog import aligned_base
from beb.models.hardware import Hardware

SIZE: Mapping[str, Any] = {"prompts": 16, "sentences": 4, "formats": ("plain",)}
"""Default size of each of the two runs."""
BEFORE, AFTER = "before", "after"


def compare_aligned(
    model: str = "smollm2",
    behavior: str = "agreeableness",
    *,
    spec: MeasureSpec | None = None,
    out: Path | str | None = None,
    offline: bool = False,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measure a model, align it further, measure it again with the same P₋ and the same prompts, and compare.

    The aligned model is the model trained on the behavior's positive statements (`beb.models.aligned`); P₋ stays the
    component of the model as it was, so that its prompts are the same, token for token, and P₊ is fitted on each.
    spec: of both runs (default: 16 prompts of 4 sentences, plain format). out: folder of the runs "before" and "after"
    (default: runs/MODEL-BEHAVIOR-align); interrupted runs there are continued.
    Returns: a Comparison. Raises: BadSpec for a model without weights of its own; kinds of `beb.errors`.
    Source: Wolf et al. 2024, §4 (the conjecture that alignment lowers α and raises β).
    """
    first, second = aligned_specs(model, behavior, spec or make_spec(MeasureSpec, SIZE))
    folder = Path(out) if out is not None else align_folder(first)
    for name, one in ((BEFORE, first), (AFTER, second)):
        measure(
            one.model, one.behavior, spec=one, out=folder / name, offline=offline, hardware=hardware, progress=progress
        )
    return compare(folder / BEFORE, folder / AFTER)


def align_folder(spec: MeasureSpec, *, quick: bool = False) -> Path:
    """runs/MODEL-BEHAVIOR-align below the current folder."""
    return default_folder("align", spec, quick=quick)


def aligned_specs(model: str, behavior: str, spec: MeasureSpec) -> tuple[MeasureSpec, MeasureSpec]:
    """What is measured before and after.

    Raises: BadSpec for a world, or a P₋ that would change with the target.
    """
    name = f"aligned:{model}"
    aligned_base(name)
    if spec.negative != "lora" and not spec.negative.startswith(("model:", FITTED_ON)):
        raise BadSpec(
            f"--negative {spec.negative!r} stands on the target's weights and would change with them; give lora or "
            "model:PATH to compare before and after"
        )
    first = spec.model_dump() | {"model": model, "behavior": behavior}
    negative = f"{FITTED_ON}{model}" if spec.negative == "lora" else spec.negative
    return make_spec(MeasureSpec, first), make_spec(MeasureSpec, first | {"model": name, "negative": negative})
