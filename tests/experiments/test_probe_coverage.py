"""The intervals of a probe, against the true accuracies of its classifiers on normal states."""

from __future__ import annotations

import numpy as np

from experiments.gaussian_states import probed
from run_coverage import answers, failures, median_width

WORLDS = 120
USEFUL_WIDTH = 0.25


def test_the_intervals_hold_the_true_accuracies() -> None:
    found = list(answers(probed, WORLDS).values())
    assert len(found) == WORLDS
    verdicts = [each.verdicts for each in found]
    assert not failures(verdicts)
    assert median_width(verdicts, "nested") < USEFUL_WIDTH
    # Picking the best layer flatters; choosing it inside the folds does not.
    nested_errors = np.array([each.nested_error for each in found])
    spread = nested_errors.std(ddof=1) / np.sqrt(WORLDS)
    assert np.mean([each.picked_error for each in found]) > 0.01
    assert abs(nested_errors.mean()) < 5 * spread
