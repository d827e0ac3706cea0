"""The published estimator beside the one-pass estimator: same model, components, prompts and estimand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beb.experiments.spec import derive_seed
from benchmarks.comparison import cost_ratio, curve_variance, mean_difference, mean_variance, variance_ratio
from benchmarks.counting import Meter, timed
from benchmarks.one_pass import one_pass_kl
from benchmarks.prompts import MORE_SENTENCES, WINDOW_TOKENS, Prompt, sample_prompts
from benchmarks.published import SAMPLES, PrefixEstimate, published_kl
from benchmarks.rows import Row, interval
from benchmarks.setting import Pair, Size, say

Array = npt.NDArray[np.float64]
GOAL = 300.0


@dataclass(frozen=True, slots=True)
class Curves:
    """Both estimators on the same prompts.

    published, one_pass: (n_prompts, n_prefixes) nats. published_seconds, published_tokens: (n_prompts,).
    one_pass_seconds, one_pass_tokens, sampling_seconds: per prompt.
    """

    published: Array
    one_pass: Array
    published_seconds: Array
    published_tokens: Array
    one_pass_seconds: float
    one_pass_tokens: float
    sampling_seconds: float


def measure_curves(pair: Pair, size: Size) -> Curves:
    """Both estimators at work. The one-pass estimator is timed on more prompts, as a run has them."""
    found: list[Prompt] = []
    say(f"sampling {size.scored} prompts of {size.sentences} sentences")
    sampling = timed(lambda: found.extend(sample_prompts(pair.negative, size.scored, sentences=size.sentences)))
    # The sentences beyond a prompt's own are not part of its cost.
    sampling *= size.sentences / (size.sentences + MORE_SENTENCES)
    one_pass_kl(pair.negative, pair.positive, found[:2], sentences=size.sentences)
    say("one pass")
    kept: list[Array] = []
    with Meter(pair.target.weights) as meter:
        seconds = timed(
            lambda: kept.append(one_pass_kl(pair.negative, pair.positive, found, sentences=size.sentences)),
            repeats=size.repeats,
        )
    tokens = meter.token_forwards / size.repeats
    chosen = found[: size.prompts]
    published = [[published_at(pair, p, i, n, size) for n in p.prefixes(size.sentences)] for i, p in enumerate(chosen)]
    curve = np.full((len(chosen), size.sentences), np.nan)
    for i, row in enumerate(published):
        curve[i, : len(row)] = [each.kl_nats for each in row]
    return Curves(
        curve,
        kept[0][: size.prompts],
        np.array([sum(each.seconds for each in row) for row in published]),
        np.array([float(sum(each.token_forwards for each in row)) for row in published]),
        seconds / len(found),
        tokens / len(found),
        sampling / len(found),
    )


def published_at(pair: Pair, prompt: Prompt, index: int, length: int, size: Size) -> PrefixEstimate:
    """The published estimate after the first tokens of a prompt."""
    seed = derive_seed(0, "published", index, length) % 2**31
    found = published_kl(pair.negative, pair.positive, prompt.token_ids[:length], seed=seed)
    say(f"published: prompt {index + 1} of {size.prompts}, after {length} tokens: {found.seconds:.1f} s")
    return found


def estimator_rows(curves: Curves) -> list[Row]:
    """Wall-clock, token-forwards and standard errors, raw and at equal standard error."""
    ours, theirs = curves.one_pass, curves.published
    n, prefixes = theirs.shape
    difference, more = mean_difference(theirs, ours), variance_ratio(ours, theirs)
    seconds, tokens = float(curves.published_seconds.mean()), float(curves.published_tokens.mean())
    errors = [float(np.sqrt(curve_variance(each) / n)) for each in (ours, theirs)]
    estimand = f"KL(P₋ ‖ P₊) of the next {WINDOW_TOKENS} tokens after 0 … {prefixes - 1} sentences"
    return [
        Row(
            f"**1** {estimand}: mean over prefixes and {n} prompts of P₋, nats",
            f"{np.nanmean(ours):.3f}",
            f"{np.nanmean(theirs):.3f} (published: {SAMPLES} samples × {WINDOW_TOKENS} tokens per prefix)",
            f"difference {interval(difference, 2)}",
            "interval holds 0",
            difference.low <= 0 <= difference.high,
        ),
        Row(
            "standard error at a prefix (root mean square over prefixes), nats",
            f"{errors[0]:.3f}", f"{errors[1]:.3f}", f"times the prompts for equal error: {interval(more)}",
        ),
        _cost("seconds per prompt", curves.one_pass_seconds, seconds),
        _cost("token-forwards per prompt", curves.one_pass_tokens, tokens),
        *_equal_error_rows(curves),
    ]  # fmt: skip


def _cost(what: str, ours: float, theirs: float) -> Row:
    return Row(what, f"{ours:.3g}", f"{theirs:.0f}", f"{theirs / ours:.0f}")


def _equal_error_rows(curves: Curves) -> list[Row]:
    """Costs for the standard error that the published estimator has on these prompts."""
    drawing = curves.sampling_seconds
    rows = []
    for what, theirs, ours, variance, goal in (
        (
            "**seconds at equal standard error at a prefix**",
            curves.published_seconds,
            curves.one_pass_seconds,
            curve_variance,
            GOAL,
        ),
        (
            "seconds at equal standard error of the mean over prefixes",
            curves.published_seconds,
            curves.one_pass_seconds,
            mean_variance,
            GOAL,
        ),
        (
            f"seconds at equal standard error at a prefix, sampling of prompts by beb in both ({drawing:.2f} s each)",
            curves.published_seconds + drawing,
            curves.one_pass_seconds + drawing,
            curve_variance,
            None,
        ),
        (
            "token-forwards at equal standard error at a prefix",
            curves.published_tokens,
            curves.one_pass_tokens,
            curve_variance,
            None,
        ),
    ):
        ratio = cost_ratio(curves.published, theirs, curves.one_pass, ours, variance=variance)
        total = float(theirs.sum())
        rows.append(
            Row(
                what,
                f"{total / ratio.value:.3g}",
                f"{total:.0f}",
                interval(ratio),
                f"≥ {goal:.0f}" if goal else "",
                ratio.value >= goal if goal else None,
            )
        )
    return rows  # fmt: skip
