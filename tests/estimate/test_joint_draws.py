"""Draws of several curves from the same resamples: they spread by standard errors and correlate as the sample does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from beb.errors import BadSpec, TooFewPrompts
from beb.estimate.bands import joint_box, joint_draws

N, N_DRAWS = 40, 8000
FAR = norm.isf(0.5e-6)  # standard errors that chance exceeds once in a million


def correlation(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def agree(drawn, expected, error):
    assert abs(drawn - expected) < FAR * error, (drawn, expected, error)


@pytest.fixture
def sample(rng):
    """Two curves and a third of other prompts; the first two share half of their variance."""
    common = rng.standard_normal((N, 1))
    return {
        "a": common + rng.standard_normal((N, 3)),
        "b": 2 - common + rng.standard_normal((N, 2)),
        "c": rng.gamma(4.0, 1.0, (25, 2)),
    }


SETS = {"a": "first", "b": "first", "c": "second"}


def test_means_spread_by_their_standard_errors_and_share_their_prompts(sample, rng):
    found = joint_draws(sample, {}, rng=rng, n_draws=N_DRAWS, prompt_sets=SETS)
    for name, x in sample.items():
        error = x.std(axis=0) / math.sqrt(len(x))  # of the resampled mean, exactly
        for j in range(x.shape[1]):
            drawn = found[name][:, j]
            agree(drawn.mean(), x[:, j].mean(), error[j] / math.sqrt(N_DRAWS))
            # Kurtosis of a mean is near normal: the spread of a sample standard deviation is 1/√(2n), and a margin.
            agree(drawn.std() / error[j], 1.0, 1.2 / math.sqrt(2 * N_DRAWS))
    for j in range(2):
        expected = correlation(sample["a"][:, j], sample["b"][:, j])
        assert expected < -0.2
        agree(np.arctanh(correlation(found["a"][:, j], found["b"][:, j])), np.arctanh(expected), 1.2 / N_DRAWS**0.5)
        agree(correlation(found["a"][:, j], found["c"][:, j]), 0.0, 1 / N_DRAWS**0.5)


def test_variances_are_on_their_own_scale_and_about_the_box_s_value(sample, rng):
    box = joint_box({}, {"a": sample["a"]}, level=0.9, rng=rng)
    found = joint_draws({}, {"a": sample["a"]}, rng=rng, n_draws=N_DRAWS)["a"]
    x = sample["a"] - sample["a"].mean(axis=0)
    kurtosis = (x**4).mean(axis=0) / (x**2).mean(axis=0) ** 2
    error = np.sqrt((kurtosis - (N - 3) / (N - 1)) / N)  # delta method, of the logarithm
    assert np.log(found).std(axis=0) == pytest.approx(error, rel=0.25)
    assert np.median(found, axis=0) == pytest.approx(box.value["a"], rel=0.1)


def test_one_scorer_errs_alike_in_all_sets(sample, rng):
    """Error sources enter every mean with their loading, the same draw of them in each set of prompts."""
    loads = {"a": np.full((3, 1), 2.0), "c": np.full((2, 1), -1.5)}
    found = joint_draws(sample, {}, rng=rng, n_draws=N_DRAWS, prompt_sets=SETS, shared=loads)
    for name in ("a", "c"):
        x, load = sample[name], loads[name][0, 0]
        total = math.hypot(load, float(x[:, 0].std()) / math.sqrt(len(x)))
        agree(found[name][:, 0].std() / total, 1.0, 1.2 / math.sqrt(2 * N_DRAWS))
    assert correlation(found["a"][:, 0], found["c"][:, 0]) < -0.9
    assert abs(correlation(found["a"][:, 0], found["b"][:, 0])) < 0.2


def test_missing_values_are_left_out_of_means_and_few_prompts_are_refused(sample, rng):
    holes = sample["a"].copy()
    holes[5:, 0] = np.nan
    found = joint_draws({"a": holes}, {}, rng=rng, n_draws=N_DRAWS)["a"]
    kept = holes[:5, 0]
    assert abs(found[:, 0].mean() - kept.mean()) < kept.std()
    assert not np.isnan(found).any()
    holes[4, 0] = np.nan
    with pytest.raises(TooFewPrompts, match="a has 4 prompts and needs at least 5; raise --prompts"):
        joint_draws({"a": holes}, {}, rng=rng, n_draws=10)
    with pytest.raises(BadSpec, match="distinct names"):
        joint_draws({"a": holes}, {"a": holes}, rng=rng, n_draws=10)


def test_draws_do_not_depend_on_the_order_of_the_prompts(sample):
    turned = {name: x[::-1] for name, x in sample.items()}
    first, second = (
        joint_draws(each, {}, rng=np.random.default_rng(3), n_draws=50, prompt_sets=SETS) for each in (sample, turned)
    )
    for name in sample:
        assert first[name] == pytest.approx(second[name], rel=1e-12)
