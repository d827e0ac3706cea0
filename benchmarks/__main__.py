"""The benchmark: python -m benchmarks [--quick]; `make bench` runs all of it and keeps the table in the docs."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from beb.experiments.spec import MeasureSpec
from benchmarks import estimators, flops, lengths, machine, memory, overhead, sampling
from benchmarks.prompts import nested_requests, sample_prompts
from benchmarks.rows import Row, compact, markdown, write_into
from benchmarks.setting import QUICK, WIDE, Pair, Size, load_bare, load_pair, load_wide, say

FIGURE = Path("images/cost-per-prompt.svg")
RESPONSE_SENTENCES = 5
FEWEST_PROMPTS = 3
DTYPES = ("fp32", "bf16")


def main() -> None:
    """Measure, print the table, and write it into a page if one is named."""
    options = _options()
    size = QUICK if options.quick else Size()
    given = {name: getattr(options, name) for name in ("prompts", "sentences") if getattr(options, name) is not None}
    size = dataclasses.replace(size, **given)
    if size.prompts < FEWEST_PROMPTS:
        sys.exit(f"--prompts is {size.prompts}; an interval from leaving one out needs at least {FEWEST_PROMPTS}")
    size = dataclasses.replace(size, scored=max(size.scored, size.prompts))
    where = machine.describe()
    say(where)
    rows: list[Row] = []
    parts = _parts(size, options.docs)
    pair = load_pair(MeasureSpec())
    for name in options.only or parts:
        say(f"part {name}")
        rows += parts[name](pair)
        sys.stderr.write(markdown(rows[-8:]) + "\n")
    text = f"{where}.\n\n{compact(rows)}"
    sys.stdout.write(f"\n{where}\n\n{markdown(rows)}\n")
    if options.docs is not None:
        figure = f"\n\n![Seconds per prompt against its length, both estimators]({FIGURE.as_posix()})"
        write_into(options.docs, text + (figure if "lengths" in (options.only or parts) else ""))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything small: a check that it runs")
    parser.add_argument("--prompts", type=int, help="prompts of the comparison with the published estimator")
    parser.add_argument("--sentences", type=int, help="sentences of these prompts")
    parser.add_argument("--only", nargs="+", choices=list(_parts(QUICK, None)), help="some parts alone")
    parser.add_argument("--docs", type=Path, help="page to write the table into, with the figure beside it")
    return parser.parse_args()


def _parts(size: Size, docs: Path | None) -> dict[str, Callable[[Pair], list[Row]]]:
    """The parts of the table in order."""

    def cost(pair: Pair) -> list[Row]:
        costs = lengths.measure_costs(pair, size)
        if docs is not None:
            lengths.draw(costs, docs.parent / FIGURE)
        return lengths.length_rows(costs)

    def scoring(pair: Pair) -> list[Row]:
        sampled = sample_prompts(pair.negative, size.scored, sentences=RESPONSE_SENTENCES)
        texts = [prompt.first(RESPONSE_SENTENCES) for prompt in sampled]
        models = {dtype: partial(load_bare, dtype) for dtype in DTYPES}
        models |= {f"{dtype}, {WIDE}": partial(load_wide, dtype) for dtype in DTYPES}
        found = {what: flops.measure_scoring(load(), texts, repeats=size.repeats) for what, load in models.items()}
        return flops.scoring_rows(found)

    def run(pair: Pair) -> list[Row]:
        spec = MeasureSpec(prompts=size.measured_prompts, sentences=4)
        return overhead.overhead_rows(overhead.measure_run(pair, spec), spec)

    def responses(pair: Pair) -> list[Row]:
        sampled = sample_prompts(pair.negative, size.sampling_prompts, sentences=RESPONSE_SENTENCES)
        found = {}
        for dtype in DTYPES:
            model = load_bare(dtype)
            texts = [(prompt.token_ids, prompt.ends[:RESPONSE_SENTENCES]) for prompt in sampled if not prompt.stopped]
            requests = nested_requests(model, *zip(*texts, strict=True), responses=size.responses)
            found[dtype] = sampling.measure_sampling(model, requests, repeats=size.repeats)
        return sampling.sampling_rows(found)

    return {
        "estimators": lambda pair: estimators.estimator_rows(estimators.measure_curves(pair, size)),
        "lengths": cost,
        "scoring": scoring,
        "run": run,
        "sampling": responses,
        "memory": lambda _pair: memory.memory_rows(memory.measure_memory()),
    }


if __name__ == "__main__":
    main()
