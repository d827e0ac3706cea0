"""`beb probe`: can the poles be read off the hidden states?"""

from __future__ import annotations

from typing import Annotated

import typer

from beb.cli import options

QUICK = {"statements": 60}


def probe(
    model: Annotated[
        str, typer.Option(help="smollm2, a folder, a .gguf file, a hub name, lora:PATH or world:NAME.")
    ] = "smollm2",
    behavior: Annotated[
        list[str] | None,
        typer.Option(help="A pack or statement file, as in measure; repeat for several. [default: agreeableness]"),
    ] = None,
    out: options.Out = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run: 60 statements of each pole.")] = False,
    statements: Annotated[int | None, typer.Option(help="Most statements of each pole. [default: 150]")] = None,
    layer: Annotated[
        int | None, typer.Option(help="Layer of the picture. [default: the best of the last token]")
    ] = None,
    undesired: options.Undesired = False,
    dtype: options.Dtype = None,
    level: options.Level = None,
    seed: options.Seed = None,
    device: options.Device = None,
    memory_budget: options.MemoryBudget = None,
    offline: options.Offline = False,
    executor: options.Executor = "local",
) -> None:
    """Fit linear classifiers of a behavior's poles to the hidden states of every layer, and cross-validate them."""
    from beb.cli.run import run_command
    from beb.experiments.probe.experiment import PROBE

    chosen = {"model": model, "undesired": undesired, **(QUICK if quick else {})}
    chosen |= options.given(
        behaviors=tuple(behavior) if behavior else None, statements=statements, layer=layer, dtype=dtype, level=level,
        seed=seed,
    )  # fmt: skip
    run_command(
        PROBE, chosen, out, quick=quick, offline=offline, executor=executor,
        hardware=options.hardware(device, memory_budget),
    )  # fmt: skip
