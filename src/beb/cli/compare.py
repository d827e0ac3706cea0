"""`beb compare`: finished runs beside each other, or a model before and after further alignment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from beb.cli import options
from beb.errors import BadSpec

if TYPE_CHECKING:
    from beb.experiments.compare.record import Comparison

QUICK = {"prompts": 8, "sentences": 3}
FILE = "compare.html"

Runs = Annotated[list[Path] | None, typer.Argument(help="Run folders of `beb measure`; the first is the reference.")]
Align = Annotated[
    bool, typer.Option("--align", help="Measure a model before and after training it on the positive statements.")
]
Model = Annotated[str | None, typer.Option(help="With --align: smollm2, a folder or a hub name. [default: smollm2]")]
Behavior = Annotated[str | None, typer.Option(help="With --align: as of `beb measure`. [default: agreeableness]")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="File to write [default: compare.html beside the last run]; with --align the folder of both runs."
    ),
]


def compare(
    runs: Runs = None,
    out: Out = None,
    level: options.Level = None,
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON instead of the summary.")] = False,
    align: Align = False,
    model: Model = None,
    behavior: Behavior = None,
    quick: Annotated[bool, typer.Option("--quick", help="With --align: 8 prompts of 3 sentences.")] = False,
    prompts: options.Prompts = None,
    sentences: options.Sentences = None,
    responses: options.Responses = None,
    negative: options.Negative = None,
    positive: options.Positive = None,
    scorer: options.Scorer = None,
    undesired: options.Undesired = False,
    lead: options.Lead = None,
    formats: Annotated[
        str | None, typer.Option(help="With --align: plain, chat or plain,chat. [default: plain]")
    ] = None,
    dtype: options.Dtype = None,
    max_sentence_tokens: options.MaxSentenceTokens = None,
    adapter_steps: options.AdapterSteps = None,
    seed: options.Seed = None,
    device: options.Device = None,
    memory_budget: options.MemoryBudget = None,
    offline: options.Offline = False,
) -> None:
    """Compare measurements: what differs, and whether alignment lowers alpha and raises beta."""
    given = options.given(
        model=model, behavior=behavior, prompts=prompts, sentences=sentences, responses=responses, negative=negative,
        positive=positive, scorer=scorer, undesired=undesired or None, lead=lead, dtype=dtype,
        max_sentence_tokens=max_sentence_tokens, adapter_steps=adapter_steps, seed=seed, quick=quick or None,
        offline=offline or None, device=device, memory_budget=memory_budget,
        formats=tuple(part.strip() for part in formats.split(",")) if formats is not None else None,
    )  # fmt: skip
    if align:
        if runs:
            raise BadSpec(f"--align makes its own runs, and {runs[0]} was given too; give run folders or --align")
        _align(given | options.given(level=level), out, json=json)
        return
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise BadSpec(
            f"{names} {'goes' if len(given) == 1 else 'go'} with --align only; a finished run has its options"
        )
    from beb.experiments.compare.analyse import compare as compare_runs

    folders = runs or []
    found = compare_runs(*folders, level=level)
    target = out or folders[-1].resolve().parent / FILE
    _show(found, target / FILE if target.is_dir() else target, json=json)


def _align(given: dict[str, Any], out: Path | None, *, json: bool) -> None:
    from beb.cli.progress import ProgressBar
    from beb.experiments.compare.aligned import SIZE, align_folder, aligned_specs, compare_aligned
    from beb.experiments.spec import MeasureSpec, make_spec

    quick, offline = given.pop("quick", False), given.pop("offline", False)
    hardware = options.hardware(given.pop("device", None), given.pop("memory_budget", None))
    spec = make_spec(MeasureSpec, {**SIZE, **(QUICK if quick else {}), **given})
    first, _ = aligned_specs(spec.model, spec.behavior, spec)
    folder = out or align_folder(first, quick=quick)
    with ProgressBar(Console(stderr=True)) as bar:
        found = compare_aligned(
            spec.model, spec.behavior, spec=spec, out=folder, offline=offline, hardware=hardware, progress=bar
        )
    _show(found, folder / FILE, json=json)


def _show(found: Comparison, path: Path, *, json: bool) -> None:
    from beb.cli.page import print_page
    from beb.report.compare_page import page
    from beb.report.html import write_page

    shown = page(found)
    write_page(None, found.meta, shown, path)
    if json:
        typer.echo(found.to_json())
        return
    console = Console()
    print_page(shown, found.meta, console)
    console.print(f"Report: {path}", highlight=False, soft_wrap=True)
