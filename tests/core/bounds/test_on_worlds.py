"""The theorems on small exact worlds: i.i.d. sentences, every probability by enumeration."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import multinomial

from beb.core import bounds

LOG_INVERSE_ALPHA = (0.05, 0.5, 2.0, 8.0, 30.0)


@dataclass(frozen=True)
class World:
    """P = αP₋ⁿ + (1−α)P₊ⁿ over `negative.size` sentences; B by table."""

    negative: np.ndarray
    positive: np.ndarray
    behavior: np.ndarray
    log_inverse_alpha: float
    epsilon: float
    delta: float

    @property
    def log_ratio(self) -> np.ndarray:
        return np.log(self.negative / self.positive)

    @property
    def beta(self) -> float:
        return float(self.negative @ self.log_ratio)

    @property
    def beta_prime(self) -> float:
        return float(-self.positive @ self.log_ratio)

    def sigma2(self, component: np.ndarray) -> float:
        return float(component @ self.log_ratio**2 - (component @ self.log_ratio) ** 2)

    @property
    def gamma(self) -> float:
        return float(self.negative @ self.behavior)

    @property
    def floor(self) -> float:
        return float(self.positive @ self.behavior)

    def weight(self, log_ratio: np.ndarray | float) -> np.ndarray:
        """Bayes' rule for the negative component, written out."""
        alpha = math.exp(-self.log_inverse_alpha)
        return alpha / (alpha + (1 - alpha) * np.exp(-np.asarray(log_ratio, dtype=float)))

    def misaligned(self, log_ratio: np.ndarray | float) -> np.ndarray:
        weight = self.weight(log_ratio)
        return weight * self.gamma + (1 - weight) * self.floor < self.gamma + self.epsilon

    def shortest_prompt(self) -> int:
        """Sentences of the shortest misaligning prompt: the most telling sentence, repeated."""
        n = 0
        while not self.misaligned(n * self.log_ratio.max()):
            n += 1
        return n

    def texts(self, component: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Probability and log-ratio of every multiset of n sentences drawn from `component`."""
        counts = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)])
        return multinomial.pmf(counts, n, component), counts @ self.log_ratio

    def best_of(self, n: int, weight: float) -> float:
        """E[max B of n draws] where each is from P₋ with probability `weight`."""
        order = np.argsort(self.behavior)
        below = np.cumsum((weight * self.negative + (1 - weight) * self.positive)[order])
        return float(self.behavior[order] @ np.diff(below**n, prepend=0.0))

    def model(self) -> dict[str, float]:
        return {
            "log_inverse_alpha": self.log_inverse_alpha,
            "beta": self.beta,
            "gamma": self.gamma,
            "epsilon": self.epsilon,
        }


def _worlds(n_worlds: int) -> list[World]:
    """Three sentences; the components differ enough for lengths that can be enumerated."""
    rng = np.random.default_rng(20240721)
    worlds = []
    while len(worlds) < n_worlds:
        negative, positive = rng.dirichlet(np.ones(3), size=2)
        world = World(
            negative,
            positive,
            rng.uniform(-1, 1, size=3),
            float(rng.choice(LOG_INVERSE_ALPHA)),
            float(rng.uniform(0.02, 0.6)),
            float(rng.uniform(0.05, 0.6)),
        )
        if world.beta > 0.3 and world.gamma + world.epsilon < world.floor:
            worlds.append(world)
    return worlds


WORLDS = _worlds(200)


def test_theorem_1_is_never_below_the_shortest_misaligning_prompt() -> None:
    for world in WORLDS:
        bound = bounds.single_prompt(**world.model())
        assert bound.whole_sentences is not None
        assert bound.whole_sentences >= world.shortest_prompt()
        for n in range(bound.whole_sentences, bound.whole_sentences + 20):
            assert world.misaligned(n * world.log_ratio.max())


def test_theorem_1_promises_no_more_than_it_must() -> None:
    """Where B_{P₊} = 1 and every sentence of P₋ is worth β, the sharp length is the exact one."""
    world = World(np.array([0.5, 0.5, 0.0]), np.array([0.05, 0.05, 0.9]), np.array([-1, -1, 1]), 12.0, 0.1, 0.1)
    with np.errstate(divide="ignore"):
        per_sentence = float(world.log_ratio.max())
    exact = bounds.single_prompt(log_inverse_alpha=12, beta=per_sentence, gamma=-1, epsilon=0.1)
    assert exact.whole_sentences is not None
    weight = [float(world.weight(n * per_sentence)) for n in (exact.whole_sentences - 1, exact.whole_sentences)]
    assert [-w + (1 - w) < -0.9 for w in weight] == [False, True]


def test_theorem_5_holds_for_random_prompts_at_and_beyond_its_length() -> None:
    checked, slack = 0, []
    for world in WORLDS:
        bound = bounds.random_prompt(**world.model(), sigma2=world.sigma2(world.negative), delta=world.delta)
        first = bound.whole_sentences
        assert first is not None
        if first > 250:
            continue
        for n in (first, first + 1, first + 7):
            probability, log_ratio = world.texts(world.negative, n)
            assert probability @ world.misaligned(log_ratio) >= 1 - world.delta - 1e-9
        checked += 1
        assert bound.paper is not None
        slack.append(bound.sharp / bound.paper)
    assert checked >= 150
    assert np.median(slack) < 0.75


def test_cantelli_length_is_attained() -> None:
    """A two-point log-ratio meets the requirement with probability exactly 1 − δ at n = 1, where the length is 1."""
    delta, beta, sigma = 0.2, 3.0, 1.5
    lowest = beta - sigma * math.sqrt((1 - delta) / delta)  # taken with probability δ: mean β, variance σ²
    highest = beta + sigma * math.sqrt(delta / (1 - delta))
    assert delta * lowest + (1 - delta) * highest == pytest.approx(beta)
    log_inverse_alpha = brentq(
        lambda x: bounds.required_log_ratio(log_inverse_alpha=x, gamma=-1, epsilon=1) - lowest, 1e-9, 50
    )
    bound = bounds.random_prompt(
        log_inverse_alpha=log_inverse_alpha, beta=beta, gamma=-1, epsilon=1, sigma2=sigma**2, delta=delta
    )
    assert bound.sharp == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("m", [1, 4, 12])
def test_theorem_2_holds_after_random_aligning_prefixes(m: int) -> None:
    for world in WORLDS:
        values = {"beta_prime": world.beta_prime, "sigma2": world.sigma2(world.positive), "delta": world.delta}
        bound = bounds.after_prefix(**world.model(), **values, prefix_sentences=m)
        probability, log_ratio = world.texts(world.positive, m)
        # The theorem buys β per sentence after one negative sentence worth nothing: no more may be needed.
        bought = max(0.0, bound.sharp - 1) * world.beta
        assert probability @ world.misaligned(log_ratio + bought + 1e-9) >= 1 - world.delta - 1e-9


@pytest.mark.parametrize("replies", [(1,), (2, 3), (1, 1, 1, 4)])
def test_theorem_3_holds_over_random_replies(replies: tuple[int, ...]) -> None:
    for world in WORLDS:
        values = {"beta_prime": world.beta_prime, "sigma2": world.sigma2(world.positive), "delta": world.delta}
        bound = bounds.conversation(**world.model(), **values, replies=replies)
        probability, log_ratio = world.texts(world.positive, sum(replies))
        bought = (bound.sharp - len(replies)) * world.beta
        assert probability @ world.misaligned(log_ratio + bought + 1e-9) >= 1 - world.delta - 1e-9


def test_theorem_3_holds_when_replies_depend_on_the_conversation() -> None:
    """Sentence distributions that depend on the previous sentence: dependent replies, martingale differences."""
    rng = np.random.default_rng(3)
    for _ in range(100):
        negative, positive = rng.dirichlet(np.ones(2), size=(2, 2))  # rows: previous sentence
        step = np.log(negative / positive)
        drift = -(positive * step).sum(axis=1)
        spread = (positive * step**2).sum(axis=1) - drift**2
        delta, length = float(rng.uniform(0.05, 0.5)), 9
        model = {"log_inverse_alpha": 6.0, "beta": 1.0, "gamma": -0.9, "epsilon": 0.1}
        bound = bounds.conversation(
            **model, beta_prime=float(drift.max()), sigma2=float(spread.max()), delta=delta, replies=(2, 3, 4)
        )
        required = bounds.required_log_ratio(log_inverse_alpha=6.0, gamma=-0.9, epsilon=0.1)
        paths = np.array(np.meshgrid(*[[0, 1]] * length)).reshape(length, -1).T
        previous = np.concatenate([np.zeros((len(paths), 1), dtype=int), paths[:, :-1]], axis=1)
        probability = positive[previous, paths].prod(axis=1)
        log_ratio = step[previous, paths].sum(axis=1)
        met = log_ratio + (bound.sharp - 3) * model["beta"] + 1e-9 >= required
        assert probability @ met >= 1 - delta - 1e-9


@pytest.mark.parametrize("n", [1, 2, 8])
def test_theorem_4_as_corrected_holds_and_as_stated_fails(n: int) -> None:
    stated_fails = 0
    for world in WORLDS:
        gamma_n = world.best_of(n, 1.0)
        assert gamma_n <= bounds.worst_gamma_n(world.gamma, n) + 1e-12
        bound = bounds.best_of_n(
            log_inverse_alpha=world.log_inverse_alpha, beta=world.beta, gamma_n=gamma_n, epsilon=world.epsilon, n=n
        )
        assert bound.paper is not None
        assert bound.whole_sentences is not None
        # A prompt worth exactly what Definition 2 promises is already enough for the corrected form.
        assert (
            world.best_of(n, float(world.weight(bound.whole_sentences * world.beta))) < gamma_n + world.epsilon + 1e-12
        )
        # At the stated length even the most telling prompt can be too little for the stated level.
        most_telling = float(world.weight(math.ceil(bound.paper) * world.log_ratio.max()))
        stated_fails += world.best_of(n, most_telling) >= world.gamma + world.epsilon
    assert (stated_fails > 0) == (n > 1)


def test_theorem_4_counterexample_by_hand() -> None:
    """One sentence in ten of P₋ is good: the best of 8 draws from P₋ itself is above γ + ε, whatever the prompt."""
    world = World(np.array([0.9, 0.1]), np.array([0.2, 0.8]), np.array([-1.0, 1.0]), 5.0, 0.1, 0.1)
    gamma_n = 1 - 2 * 0.9**8
    assert world.gamma == pytest.approx(-0.8)
    assert world.best_of(8, 1.0) == pytest.approx(gamma_n)
    assert bounds.worst_gamma_n(-0.8, 8) == pytest.approx(gamma_n)
    assert min(world.best_of(8, w) for w in np.linspace(0, 1, 101)) > 0.13 > world.gamma + world.epsilon


def test_appendix_i_length_buys_the_required_log_ratio() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        eta, beta = float(rng.uniform(0, 0.9)), float(rng.uniform(0.5, 10))
        model = {"log_inverse_alpha": float(rng.uniform(0.1, 20)), "gamma": -0.9, "epsilon": 0.1}
        bound = bounds.relaxed(**model, beta=beta, eta=eta)
        if bound.sharp > 1e6:
            continue
        bought = beta * np.cumsum(np.arange(1, math.ceil(bound.sharp) + 1) ** -eta)
        required = bounds.required_log_ratio(**model)
        assert bought[-1] >= required - 1e-9
        # sum and integral differ by less than the first term: no more than β was bought in vain, rounding up aside
        assert bought[-1] <= required + 2 * beta


def test_converse_is_never_above_the_shortest_prompt_and_exact_on_exact_floors() -> None:
    for world in WORLDS:
        values = {"max_log_ratio_per_sentence": float(world.log_ratio.max()), "behavior_floor_positive": world.floor}
        values |= {"log_inverse_alpha": world.log_inverse_alpha, "gamma": world.gamma, "epsilon": world.epsilon}
        shortest = world.shortest_prompt()
        exact = bounds.converse(**values, behavior_floor_negative=world.gamma)
        assert exact.sharp <= shortest + 1e-9
        assert shortest - exact.sharp <= 1 + 1e-9
        assert bounds.converse(**values).sharp <= exact.sharp
        lowest_sentence = float(world.behavior.min())  # floors of the family, not of its average
        looser = values | {"behavior_floor_positive": max(-1.0, lowest_sentence)}
        assert bounds.converse(**looser).sharp <= shortest
