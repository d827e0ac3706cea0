"""Cost of a prompt against its length: one pass over it, or the published estimator at each of its prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.comparison import growth_exponent
from benchmarks.counting import timed
from benchmarks.estimators import published_at
from benchmarks.one_pass import one_pass_kl
from benchmarks.prompts import Prompt, sample_prompts
from benchmarks.rows import Row
from benchmarks.setting import Pair, Size, say

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CostCurve:
    """Seconds per prompt. lengths: sentences. one_pass, published: (n_lengths,); NaN where it was not measured.

    measured: sentences before the prefixes at which the published estimator was timed; the cost of the others is
    interpolated linearly in the tokens of the prefix.
    """

    lengths: Array
    one_pass: Array
    published: Array
    measured: tuple[int, ...]


def measure_costs(pair: Pair, size: Size) -> CostCurve:
    """Both costs on the same long prompts; the published one on the first of them."""
    longest = max(size.lengths)
    say(f"sampling {size.long_prompts} prompts of {longest} sentences")
    sampled = sample_prompts(pair.negative, size.long_prompts, sentences=longest)
    prompts = [p for p in sampled if len(p.prefixes(longest)) == longest]
    ours = []
    for n in size.lengths:
        score = partial(one_pass_kl, pair.negative, pair.positive, prompts, sentences=n)
        ours.append(timed(score, repeats=size.repeats) / len(prompts))
        say(f"one pass, {n} sentences: {ours[-1]:.2f} s per prompt")
    prefixes = prompts[0].prefixes(longest)
    seconds = [published_at(pair, prompts[0], 0, prefixes[n], size).seconds for n in size.long]
    theirs = [whole_cost(prompts[0], n, size.long, seconds) for n in size.lengths]
    return CostCurve(np.array(size.lengths, dtype=np.float64), np.array(ours), np.array(theirs), size.long)


def whole_cost(prompt: Prompt, sentences: int, measured: Sequence[int], seconds: Sequence[float]) -> float:
    """Cost of all prefixes of 0 … sentences - 1 sentences; NaN where one is longer than the longest measured one."""
    prefixes = np.array(prompt.prefixes(sentences), dtype=np.float64)
    known = np.array(prompt.prefixes(max(measured) + 1), dtype=np.float64)[list(measured)]
    if prefixes[-1] > known[-1]:
        return float("nan")
    return float(np.interp(prefixes, known, np.array(seconds)).sum())


def length_rows(costs: CostCurve) -> list[Row]:
    """The two exponents and the two curves."""
    there = ~np.isnan(costs.published)
    ours = growth_exponent(costs.lengths, costs.one_pass)
    theirs = growth_exponent(costs.lengths[there], costs.published[there])
    rows = [
        Row(
            "**2** exponent of cost per prompt against sentences",
            f"{ours:.2f} ({_span(costs.lengths)} sentences)",
            f"{theirs:.2f} ({_span(costs.lengths[there])}; timed after "
            f"{', '.join(map(str, costs.measured))}, between them linear in the prefix's tokens)",
            goal="linear (≤ 1.15)",
            met=ours <= 1.15,
        )
    ]
    for n, a, b in zip(costs.lengths, costs.one_pass, costs.published, strict=True):
        beside = "" if np.isnan(b) else f"{b:.1f}"
        rows.append(
            Row(f"seconds per prompt of {n:.0f} sentences", f"{a:.3f}", beside, f"{b / a:.0f}" if beside else "")
        )
    return rows


def _span(lengths: Array) -> str:
    return f"{lengths[0]:.0f}–{lengths[-1]:.0f}"


def draw(costs: CostCurve, path: Path) -> None:
    """Both curves on logarithmic axes, as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "beb", "font.family": "sans-serif"}):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        there = ~np.isnan(costs.published)
        axes.loglog(costs.lengths[there], costs.published[there], "s--", color="#b2502f", label="published estimator")
        axes.loglog(costs.lengths, costs.one_pass, "o-", color="#2f6fb2", label="one pass (beb)")
        axes.set_xticks(costs.lengths, [f"{n:.0f}" for n in costs.lengths])
        axes.minorticks_off()
        axes.set_xlabel("sentences in the prompt")
        axes.set_ylabel("seconds per prompt")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
