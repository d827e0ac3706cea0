"""`beb probe`: can a linear classifier read the behavior's poles off the target's hidden states?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beb.errors import BadSpec
from beb.experiments.execute import Progress
from beb.experiments.experiment import Experiment, default_folder, run_experiment
from beb.experiments.probe.analyse import analyse_probe
from beb.experiments.probe.record import Probing
from beb.experiments.probe.spec import ProbeSpec
from beb.experiments.probe.subjects import ProbeSubjects, load_probe
from beb.experiments.probe.work import ProbeWorker, plan_probe
from beb.experiments.reads import of_probe
from beb.experiments.spec import make_spec
from beb.models.hardware import Hardware


def _prepare(spec: ProbeSpec, subjects: ProbeSubjects) -> Mapping[str, Any]:
    """How many statements of each pole, layers and features there are."""
    layers = subjects.represent.n_layers
    if spec.layer is not None and spec.layer >= layers:
        raise BadSpec(f"--layer {spec.layer} is not a layer of {spec.model}; accepted: 0 (embeddings) to {layers - 1}")
    statements = {name: len(poles["negative"]) for name, poles in subjects.statements.items()}
    return {"statements": statements, "layers": layers, "width": subjects.represent.width}


PROBE = Experiment(
    name="probe",
    spec=ProbeSpec,
    load=load_probe,
    prepare=_prepare,
    plan=plan_probe,
    worker=ProbeWorker,
    analyse=analyse_probe,
    reads=of_probe,
)


def probe(
    model: str = "smollm2",
    behaviors: str | Sequence[str] = "agreeableness",
    *,
    spec: ProbeSpec | None = None,
    out: Path | str | None = None,
    offline: bool = False,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> Probing:
    """How well a linear support vector machine tells a behavior's poles apart in each layer of a model.

    model: a checkpoint, as `beb.load_model` takes it, or world:NAME, which has a behavior of its own. behaviors: one or
    several, as `beb.load_behavior` takes them. spec: everything else; its model and behaviors are replaced by the two
    arguments. out: run folder (default: runs/MODEL-BEHAVIOR-probe); an interrupted run there is continued. offline:
    never fetch anything.
    Returns: a Probing; `result.curves[0].nested.value, .low, .high`, `result.to_frame()`.
    Raises: kinds of `beb.errors.BebError`.
    Source: Wolf et al. 2024, Appendix K.
    """
    names = (behaviors,) if isinstance(behaviors, str) else tuple(behaviors)
    complete = make_spec(ProbeSpec, (spec or ProbeSpec()).model_dump() | {"model": model, "behaviors": names})
    folder = Path(out) if out is not None else default_folder(PROBE.name, complete)
    return run_experiment(PROBE, complete, folder, offline=offline, hardware=hardware, progress=progress)
