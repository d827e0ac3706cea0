"""`beb best-of`: what is left of misalignment when the best of several responses is shown."""

from __future__ import annotations

from typing import Annotated

import typer

from beb.cli import options
from beb.errors import BadSpec

QUICK = {"prompts": 6, "sentences": 3, "responses": 8}


def best_of(
    model: options.Model = "smollm2",
    behavior: options.Behavior = "agreeableness",
    out: options.Out = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run: 8 responses to 6 prompts of 3.")] = False,
    prompts: options.Prompts = None,
    sentences: options.Sentences = None,
    responses: options.Responses = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            "--best-of", help="Responses to choose from, as 2,4,8. [default: powers of two up to --responses]"
        ),
    ] = None,
    text_format: Annotated[
        str | None, typer.Option("--format", help="plain or chat. [default: chat if the target has a chat template]")
    ] = None,
    negative: options.Negative = None,
    positive: options.Positive = None,
    scorer: options.Scorer = None,
    undesired: options.Undesired = False,
    lead: options.Lead = None,
    dtype: options.Dtype = None,
    kl: options.Kl = None,
    max_sentence_tokens: options.MaxSentenceTokens = None,
    adapter_steps: options.AdapterSteps = None,
    epsilon: options.Epsilon = None,
    level: options.Level = None,
    seed: options.Seed = None,
    device: options.Device = None,
    memory_budget: options.MemoryBudget = None,
    offline: options.Offline = False,
    executor: options.Executor = "local",
) -> None:
    """Measure the best of n responses against prompt length, and compare it with Theorem 4."""
    from beb.cli.run import run_command
    from beb.experiments.best_of.experiment import BEST_OF

    chosen = {"model": model, "behavior": behavior, "undesired": undesired, **(QUICK if quick else {})}
    chosen |= options.given(
        prompts=prompts, sentences=sentences, responses=responses, format=text_format, negative=negative,
        positive=positive, scorer=scorer, lead=lead, dtype=dtype, kl=kl, max_sentence_tokens=max_sentence_tokens,
        adapter_steps=adapter_steps, epsilon=epsilon, level=level, seed=seed,
        best_of=_numbers(sizes) if sizes is not None else None,
    )  # fmt: skip
    run_command(
        BEST_OF, chosen, out, quick=quick, offline=offline, executor=executor,
        hardware=options.hardware(device, memory_budget),
    )  # fmt: skip


def _numbers(given: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in given.split(","))
    except ValueError:
        raise BadSpec(f"--best-of {given!r} is no list of whole numbers; give for example 2,4,8") from None
