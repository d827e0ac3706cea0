"""Every interval of the decay and its bounds, against the truth of random exact worlds."""

from __future__ import annotations

from experiments.laws_runs import verdicts
from run_coverage import answers, failures, median_width

USEFUL_WIDTHS = {"eta": 0.6, "beta under": 1.0, "Appendix I, straight line": 6.0}  # medians


def test_the_decay_s_intervals_cover_the_truth() -> None:
    found = list(answers(verdicts, 70).values())
    assert len(found) >= 50
    assert not failures(found)
    widths = {name: median_width(found, name) for name in USEFUL_WIDTHS}
    assert all(widths[name] < useful for name, useful in USEFUL_WIDTHS.items()), widths
