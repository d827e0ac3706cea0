"""`beb converse`: conversations, turn by turn."""

from __future__ import annotations

from typing import Annotated

import typer

from beb.cli import options

QUICK = {"prompts": 6, "turns": 4, "sentences": 4, "reply_sentences": 1}


def converse(
    model: options.Model = "smollm2",
    behavior: options.Behavior = "agreeableness",
    out: options.Out = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run: 6 conversations of 4 turns.")] = False,
    conversations: Annotated[
        int | None, typer.Option("--prompts", help="Conversations per kind of user, and prompts for α. [default: 24]")
    ] = None,
    turns: Annotated[int | None, typer.Option(help="Turns, each a user turn and a reply. [default: 5]")] = None,
    turn_sentences: Annotated[int | None, typer.Option(help="Sentences of each user turn. [default: 1]")] = None,
    reply_sentences: Annotated[int | None, typer.Option(help="Sentences of each reply, at most. [default: 2]")] = None,
    text_format: Annotated[
        str | None, typer.Option("--format", help="How the target reads it: chat, or plain text. [default: chat]")
    ] = None,
    log_inverse_alpha: Annotated[
        float | None, typer.Option(help="log 1/α in nats, if known. [default: read from prompts of P₋]")
    ] = None,
    sentences: Annotated[int | None, typer.Option(help="Sentences of the prompts for α. [default: 5]")] = None,
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
    delta: options.Delta = None,
    level: options.Level = None,
    seed: options.Seed = None,
    device: options.Device = None,
    memory_budget: options.MemoryBudget = None,
    offline: options.Offline = False,
    executor: options.Executor = "local",
) -> None:
    """Converse with a model as an ill-behaved user, measure every turn, and compare with Theorem 3."""
    from beb.cli.run import run_command
    from beb.experiments.converse.experiment import CONVERSE

    chosen = {"model": model, "behavior": behavior, "undesired": undesired, **(QUICK if quick else {})}
    chosen |= options.given(
        prompts=conversations, turns=turns, turn_sentences=turn_sentences, reply_sentences=reply_sentences,
        format=text_format, log_inverse_alpha=log_inverse_alpha, sentences=sentences, negative=negative,
        positive=positive, scorer=scorer, lead=lead, dtype=dtype, kl=kl, max_sentence_tokens=max_sentence_tokens,
        adapter_steps=adapter_steps, epsilon=epsilon, delta=delta, level=level, seed=seed,
    )  # fmt: skip
    run_command(
        CONVERSE, chosen, out, quick=quick, offline=offline, executor=executor,
        hardware=options.hardware(device, memory_budget),
    )  # fmt: skip
