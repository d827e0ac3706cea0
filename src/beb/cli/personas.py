"""`beb personas` and `beb personas trace`: which personas a model mixes, and which of them a text is by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beb.cli import options
from beb.errors import BadSpec

QUICK = {"prompts": 5, "sentences": 2, "texts": 16}
PersonaFile = Annotated[
    Path | None, typer.Option("--personas", help='A .json, a .csv, or lines "name: description". [default: shipped]')
]

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def personas(
    context: typer.Context,
    model: options.Model = "smollm2",
    behavior: Annotated[
        list[str] | None, typer.Option(help="A pack or statement file; may be repeated. [default: agreeableness]")
    ] = None,
    personas_file: PersonaFile = None,
    out: options.Out = None,
    quick: options.Quick = False,
    texts: Annotated[int | None, typer.Option(help="Unprompted texts of the target. [default: 48]")] = None,
    prompts: Annotated[int | None, typer.Option(help="Prompts sampled from each persona. [default: 10]")] = None,
    sentences: Annotated[int | None, typer.Option(help="Sentences per text and prompt (N). [default: 4]")] = None,
    responses: options.Responses = None,
    formats: Annotated[str | None, typer.Option(help="plain, chat or plain,chat. [default: plain]")] = None,
    misaligned: Annotated[
        float | None, typer.Option(help="Level of B below which a mean response is misaligned. [default: 0]")
    ] = None,
    undesired: options.Undesired = False,
    dtype: options.Dtype = None,
    max_sentence_tokens: options.MaxSentenceTokens = None,
    epsilon: options.Epsilon = None,
    level: options.Level = None,
    seed: options.Seed = None,
    device: options.Device = None,
    memory_budget: options.MemoryBudget = None,
    offline: options.Offline = False,
    executor: options.Executor = "local",
) -> None:
    """Weights of personas in a model, how distinct each is, and how many sentences lead to it."""
    if context.invoked_subcommand is not None:
        return
    from beb.cli.run import run_command
    from beb.experiments.personas.catalog import read_personas
    from beb.experiments.personas.experiment import PERSONAS

    chosen = {"model": model, "undesired": undesired, **(QUICK if quick else {})}
    chosen |= options.given(
        behaviors=tuple(behavior) if behavior else None,
        personas=read_personas(personas_file) if personas_file is not None else None,
        texts=texts, prompts=prompts, sentences=sentences, responses=responses, misaligned=misaligned, dtype=dtype,
        max_sentence_tokens=max_sentence_tokens, epsilon=epsilon, level=level, seed=seed,
        formats=tuple(part.strip() for part in formats.split(",")) if formats is not None else None,
    )  # fmt: skip
    run_command(
        PERSONAS, chosen, out, quick=quick, offline=offline, executor=executor,
        hardware=options.hardware(device, memory_budget),
    )  # fmt: skip


@app.command("trace")
def trace(
    text: Annotated[str | None, typer.Argument(help="The text. Or give --file.")] = None,
    file: Annotated[Path | None, typer.Option(help="A UTF-8 file that holds the text.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of a finished `beb personas` run, for its weights. [default: equal]")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Target, without --run. [default: smollm2]")] = None,
    personas_file: PersonaFile = None,
    out: options.Out = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    memory_budget: options.MemoryBudget = None,
    offline: options.Offline = False,
) -> None:
    """Posterior weights of the personas along a text, sentence by sentence."""
    from beb.cli.run import run_command
    from beb.experiments.personas.catalog import read_personas
    from beb.experiments.personas.trace import TRACE, trace_options

    if (text is None) == (file is None):
        raise BadSpec("give either TEXT or --file, and not both")
    who = read_personas(personas_file) if personas_file is not None else None
    chosen = trace_options(text if file is None else _read(file), run=run, model=model, personas=who, dtype=dtype)  # type: ignore[arg-type]
    run_command(TRACE, chosen, out, offline=offline, hardware=options.hardware(device, memory_budget))


def _read(path: Path) -> str:
    from beb.behaviors.reading import read_text

    return read_text(path)
