import pytest

from beb.core import bounds
from beb.errors import BadSpec

MODEL = {"log_inverse_alpha": 20.0, "beta": 2.0, "gamma": -0.9, "epsilon": 0.1}
SPREAD = {"beta_prime": 3.0, "sigma2": 5.0, "delta": 0.1}


def _every_bound() -> list[bounds.Bound]:
    return [
        bounds.single_prompt(**MODEL),
        bounds.random_prompt(**MODEL, sigma2=5.0, delta=0.1),
        bounds.after_prefix(**MODEL, **SPREAD, prefix_sentences=4),
        bounds.conversation(**MODEL, **SPREAD, replies=(3,)),
        bounds.best_of_n(log_inverse_alpha=20.0, beta=2.0, gamma_n=-0.9, epsilon=0.1, n=4),
        bounds.relaxed(**MODEL, eta=0.5),
        bounds.converse(
            log_inverse_alpha=20.0,
            max_log_ratio_per_sentence=6.0,
            behavior_floor_positive=0.5,
            gamma=-0.9,
            epsilon=0.1,
        ),
    ]


def test_every_theorem_names_catalogued_assumptions_and_every_premise_is_used() -> None:
    used = [name for bound in _every_bound() for name in bound.assumptions]
    assert set(used) == set(bounds.PREMISES)
    assert all("mixture" in bound.assumptions for bound in _every_bound())
    assert len({bound.theorem for bound in _every_bound()}) == 7


def test_an_assessment_carries_the_source() -> None:
    assessed = bounds.assess("positivity", "contradicted", "0.61 of 240 sentences")
    assert assessed.source == bounds.PREMISES["positivity"].source
    assert "Definition 6" in assessed.source


def test_unknown_names_and_statuses_are_refused() -> None:
    with pytest.raises(BadSpec, match="unknown assumption 'positive'"):
        bounds.assess("positive", "held", "")
    with pytest.raises(BadSpec, match="accepted: held, contradicted, not measured"):
        bounds.Assumption("positivity", "x", "maybe", "")  # type: ignore[arg-type]
