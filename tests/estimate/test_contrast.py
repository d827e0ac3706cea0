"""Differences of means and of extremes: exact ranges, coverage on exact worlds, what pairing is worth, refusals."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.contrast import (
    TwoSamples,
    difference_band,
    difference_rows,
    extreme_difference,
    extreme_range,
    mean_difference,
    variance_difference,
)
from beb.worlds.exact import truth
from beb.worlds.text_world import text_world
from beb.worlds.world import MarkovChain, World
from run_coverage import LEVEL, Verdicts, failures, median_width, verdict

RUNS = 400
N, LENGTHS, PROMPTS, OTHERS = 4, (1, 2, 3, 4), 32, 24
USEFUL_WIDTHS = {  # medians, set before any run
    "β, paired": 0.4, "β, independent": 1.0, "evidence, paired": 1.5, "evidence, independent": 4.0,
    "σ², paired": 8.0, "β curve, paired": 0.4,
}  # fmt: skip


def rows_of(world: World, rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, N) numbers of sentences sampled from P₋."""
    table = world.negative.table().cumsum(axis=1)
    found = np.zeros((n, N), dtype=np.int64)
    before = np.zeros(n, dtype=np.int64)
    for i in range(N):
        found[:, i] = (rng.random(n)[:, None] > table[before]).sum(axis=1).clip(max=world.n_sentences - 1)
        before = found[:, i] + 1
    return found


def read(world: World, prompts: np.ndarray) -> dict[str, np.ndarray]:
    """What a run would measure along the prompts: KL(P₋‖P₊) per sentence, cumulative log ratio and evidence."""
    p, q = np.log(world.negative.table()), np.log(world.positive.table())
    before = np.hstack([np.zeros((len(prompts), 1), dtype=np.int64), prompts[:, :-1] + 1])
    ratio = np.cumsum((p - q)[before, prompts], axis=1)
    evidence = -np.logaddexp(math.log(world.alpha), math.log1p(-world.alpha) - ratio)
    # Before the first sentence all prompts are one and the same, and equal values prove nothing: from the second on.
    return {"β": (np.exp(p) * (p - q)).sum(axis=1)[before[:, 1:]], "σ²": ratio, "evidence": evidence}


def sharper(chain: MarkovChain, power: float) -> MarkovChain:
    rows = chain.table() ** power
    first, *others = (tuple(row.tolist()) for row in rows / rows.sum(axis=1, keepdims=True))
    return MarkovChain(first, tuple(others))


@pytest.fixture(scope="module")
def found() -> list[Verdicts]:
    """Per difference and pairing: does it hold the truth, and how wide is it? 400 pairs of random worlds."""
    answers = []
    for seed in range(RUNS):
        judged: Verdicts = {}
        rng = np.random.default_rng(seed)
        world = text_world(rng)
        other = replace(world, alpha=world.alpha * math.exp(-rng.uniform(-2, 4)),
                        positive=sharper(world.positive, rng.uniform(0.8, 1.6)))  # fmt: skip
        exact = [truth(each, N) for each in (world, other)]
        prompts = rows_of(world, rng, PROMPTS)
        first, same, apart = read(world, prompts), read(other, prompts), read(other, rows_of(other, rng, OTHERS))
        true = {
            "β": exact[1].beta_curve[1:].min() - exact[0].beta_curve[1:].min(),
            "σ²": exact[1].sigma2_negative - exact[0].sigma2_negative,
            "evidence": exact[1].evidence_curve[-1] - exact[0].evidence_curve[-1],
            "β curve": exact[1].beta_curve[1:] - exact[0].beta_curve[1:],
        }
        for pairing, after in (("paired", same), ("independent", apart)):
            two = {name: TwoSamples(first[name], after[name], pairing == "paired") for name in first}
            stream = np.random.default_rng([seed, 1])
            last = TwoSamples(first["evidence"][:, -1:], after["evidence"][:, -1:], pairing == "paired")
            intervals = {
                "β": extreme_difference(two["β"], "smallest", level=LEVEL, rng=stream, unit="nats", least=0.0),
                "σ²": variance_difference(two["σ²"], LENGTHS, level=LEVEL, rng=stream, unit="nats²"),
                "evidence": mean_difference(last, level=LEVEL, unit="nats"),
                "β curve": difference_band(two["β"], LENGTHS[:-1], level=LEVEL, rng=stream, unit="nats"),
            }
            for name, e in intervals.items():
                judged[f"{name}, {pairing}"] = verdict(e, true[name])
        answers.append(judged)
    return answers


def test_every_difference_covers_the_truth(found: list[Verdicts]) -> None:
    assert all(len(each) == 8 for each in found)
    assert not failures(found)


@pytest.mark.parametrize("name", USEFUL_WIDTHS)
def test_differences_are_narrow_enough_to_say_something(found: list[Verdicts], name: str) -> None:
    assert median_width(found, name) < USEFUL_WIDTHS[name]


@pytest.mark.parametrize("name", ["β", "evidence", "σ²"])
def test_sharing_prompts_makes_a_difference_surer(found: list[Verdicts], name: str) -> None:
    widths = {kind: median_width(found, f"{name}, {kind}") for kind in ("paired", "independent")}
    assert widths["paired"] < 0.6 * widths["independent"]


def test_rows_of_unpaired_samples_carry_the_mean_and_the_variance_of_the_difference() -> None:
    rng = np.random.default_rng(0)
    means, variances = [], []
    for _ in range(4000):
        a, b = rng.normal(1, 3, (6, 1)), rng.normal(2, 1, (15, 1))
        rows = difference_rows(a, b, paired=False)
        assert rows.shape == (6, 1)
        assert rows.mean() == pytest.approx(b.mean() - a.mean())
        assert difference_rows(b, a, paired=False).mean() == pytest.approx(a.mean() - b.mean())
        means.append(rows.mean())
        variances.append(rows.var(ddof=1) / 6)
    expected = 9 / 6 + 1 / 15
    assert np.var(means) == pytest.approx(expected, rel=0.1)
    assert np.mean(variances) == pytest.approx(expected, rel=0.05)


def test_unpaired_samples_of_one_size_and_paired_ones_are_subtracted_row_by_row() -> None:
    a, b = np.arange(6.0).reshape(3, 2), np.ones((3, 2))
    assert (difference_rows(a, b, paired=False) == b - a).all()
    assert (difference_rows(a, b, paired=True) == b - a).all()


def test_the_range_of_a_difference_of_minima_is_exact() -> None:
    """Against every corner and many inner points of random boxes: nothing lies outside, and both ends are reached."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        a = np.sort(rng.normal(size=(2, 3)), axis=0)
        d = np.sort(rng.normal(scale=0.7, size=(2, 3)), axis=0)
        free = (np.full(3, -math.inf), np.full(3, math.inf))
        low, high = extreme_range((a[0], a[1]), free, (d[0], d[1]))
        values = []
        for picks in itertools.product((0.0, 1.0), repeat=6):
            at = a[0] + np.array(picks[:3]) * (a[1] - a[0])
            change = d[0] + np.array(picks[3:]) * (d[1] - d[0])
            values.append((at + change).min() - at.min())
        inner = rng.random((2000, 2, 3))
        at, change = a[0] + inner[:, 0] * (a[1] - a[0]), d[0] + inner[:, 1] * (d[1] - d[0])
        values += list((at + change).min(axis=1) - at.min(axis=1))
        assert min(values) == pytest.approx(low)
        assert max(values) <= high + 1e-12
        # The highest value may lie on an edge: two of its terms meet there.
        m_values = [min(d[1][m], *(a[1][k] + d[1][k] - a[0][m] for k in range(3) if k != m)) for m in range(3)]
        assert high == pytest.approx(max(m_values))


def test_limits_of_both_curves_and_of_their_difference_are_all_used() -> None:
    box = (np.array([1.0, 2.0]), np.array([1.5, 3.0]))
    free = (np.full(2, -math.inf), np.full(2, math.inf))
    assert extreme_range(box, box, free) == (-0.5, 0.5)
    assert extreme_range(box, free, (np.array([0.1, -9.0]), np.array([0.2, 9.0])))[1] == pytest.approx(0.2)
    backward = extreme_range(free, box, (np.array([0.1, -9.0]), np.array([0.2, 9.0])))
    assert backward[0] == pytest.approx(0.1)
    assert extreme_range(free, free, free) == (-math.inf, math.inf)


def test_a_difference_turned_round_is_its_negative() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.exponential(size=(20, 4)), rng.exponential(1.3, size=(20, 4))
    for kind in ("smallest", "largest"):
        there, back = (
            extreme_difference(
                TwoSamples(*sides, paired=True), kind, level=LEVEL, rng=np.random.default_rng(3), unit=""
            )
            for sides in ((a, b), (b, a))
        )
        assert there.value == pytest.approx(-back.value)
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low), rel=0.1)


def test_shared_errors_widen_a_difference_and_vanish_where_they_cancel() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    load = np.full((2, 3), 0.5)

    def width(before: np.ndarray | None, after: np.ndarray | None) -> float:
        two = TwoSamples(a, b, paired=True, shared_before=before, shared_after=after)
        band = difference_band(two, (0, 1), level=LEVEL, rng=np.random.default_rng(5), unit="")
        return band.pointwise_high[0] - band.pointwise_low[0]

    plain = width(None, None)
    assert width(load, load) == pytest.approx(plain, rel=0.05)
    assert width(load, -load) > 2 * plain


def test_equal_prompts_prove_nothing_without_bounds() -> None:
    two = TwoSamples(np.zeros((10, 1)), np.ones((10, 1)), paired=True)
    free = mean_difference(two, level=LEVEL, unit="")
    assert (free.value, free.low, free.high) == (1.0, -math.inf, math.inf)
    bounded = mean_difference(two, level=LEVEL, unit="", bounds=(-2.0, 2.0))
    assert -2 < bounded.low < 1 < bounded.high <= 2


def test_refusals() -> None:
    one, two = np.zeros((10, 1)), np.zeros((10, 2))
    with pytest.raises(BadSpec, match="give the same columns"):
        difference_rows(one, two, paired=False)
    with pytest.raises(BadSpec, match="give the same columns"):
        difference_rows(one, one[:5], paired=True)
    with pytest.raises(TooFewPrompts):
        difference_rows(one[:1], one, paired=False)
    with pytest.raises(EstimateError, match="NaN"):
        difference_rows(one, np.full((10, 1), np.nan), paired=False)
    with pytest.raises(TooFewPrompts):
        mean_difference(TwoSamples(one, np.full((10, 1), np.nan), paired=True), level=LEVEL, unit="")
