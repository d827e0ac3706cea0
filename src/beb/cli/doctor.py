"""`beb doctor`: is what a measurement stands on sound?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from beb.cli import options

if TYPE_CHECKING:
    from beb.experiments.parity import Parity

app = typer.Typer(no_args_is_help=True, help="Check what a measurement stands on, before anything is believed.")


@app.callback()
def doctor() -> None:
    """Check what a measurement stands on, before anything is believed."""


@app.command("parity")
def parity(
    model: Annotated[
        list[str], typer.Option(help="Give it twice: two backends of one model, such as FOLDER and vllm:URL#name.")
    ],
    texts: Annotated[int, typer.Option(help="Texts sampled from each of the two.")] = 8,
    sentences: Annotated[int, typer.Option(help="Sentences per text.")] = 3,
    tolerance: Annotated[float, typer.Option(help="Largest difference of a sentence that is agreement, nats.")] = 0.05,
    dtype: options.Dtype = None,
    level: options.Level = None,
    seed: options.Seed = None,
    device: options.Device = None,
    memory_budget: options.MemoryBudget = None,
    offline: options.Offline = False,
) -> None:
    """Compare the log-probabilities that two backends give to the same token ids; exits with 1 if they differ."""
    from beb.errors import BadSpec
    from beb.experiments.parity import ParitySpec
    from beb.experiments.parity import parity as compared
    from beb.models.catalog import load_model

    if len(model) != 2:
        raise BadSpec(f"--model was given {len(model)} times; parity compares two: give it twice")
    chosen = options.given(seed=seed, level=level)
    spec = ParitySpec(texts=texts, sentences=sentences, tolerance=tolerance, **chosen)
    hardware = options.hardware(device, memory_budget)
    first, second = (load_model(name, dtype=dtype or "fp32", offline=offline, hardware=hardware) for name in model)
    found = compared(first, second, spec=spec)
    _print(found)
    raise typer.Exit(0 if found.agree else 1)


def _print(found: Parity) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from beb.report.inert import one_line
    from beb.report.rounding import with_interval

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("difference of log-probabilities, nats", "largest", "mean"):
        table.add_column(Text(column))
    table.add_row("per token", f"{found.largest_token:.3g}", f"{found.mean_token:.3g}")
    table.add_row("per sentence", f"{found.largest_sentence:.3g}", f"{found.mean_sentence:.3g}")
    table.add_row("per sentence, sampled against scored", f"{found.largest_own:.3g}", "")
    console.print(Text(f"A: {one_line(found.first)}\nB: {one_line(found.second)}"), soft_wrap=True)
    failed = f", {found.n_failed} more failed" if found.n_failed else ""
    console.print(f"{found.n_texts} texts, {found.n_sentences} sentences, {found.n_tokens} tokens{failed}")
    console.print(table)
    if found.apparent_kl is not None:
        console.print(f"apparent KL(A ‖ B): {with_interval(found.apparent_kl)} nats per sentence", soft_wrap=True)
    console.print(Text(found.verdict, style="green" if found.agree else "bold red"), soft_wrap=True)
