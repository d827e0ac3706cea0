"""The probe on embeddings whose best possible accuracy is known."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, norm

from beb.behaviors.behavior import Statements
from beb.behaviors.evaluation import labelled_statements
from beb.behaviors.probe import ProbeScorer, fit_probe
from beb.errors import BadStatements, ModelError, NumericalFailure
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score

RARE = 1e-6


class Gaussians:
    """Embeddings N(class · gap · e₁, 1) + shift of the first word; the second word is the class, the third the seed."""

    def __init__(self, *, d: int, gap: float, fingerprint: str = "gaussians") -> None:
        self.fingerprint, self.d, self.gap = fingerprint, d, gap
        self.shift: dict[str, NDArray[np.float64]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._row(text) for text in texts]).astype(np.float32)

    def _row(self, text: str) -> NDArray[np.float64]:
        first, pole, number = text.rstrip(".").split()[:3]
        index = ("negative", "neutral", "positive").index(pole)
        row = np.random.default_rng([index, int(number)]).normal(size=self.d)
        row[0] += self.gap * (index - 1)
        return row + self.shift.get(first, np.zeros(self.d))


def statements(sizes: tuple[int, int, int]) -> Statements:
    negative, neutral, positive = (
        tuple(f"Some {pole} {i} a{i} b{i} c{i}." for i in range(n))
        for pole, n in zip(("negative", "neutral", "positive"), sizes, strict=True)
    )
    return Statements(name="line", negative=negative, positive=positive, neutral=neutral)


@pytest.mark.parametrize("gap", [0.5, 1.5, 3.0, 8.0])
def test_out_of_fold_confusion_agrees_with_the_bayes_rule(gap: float) -> None:
    n = 600
    probe = fit_probe(statements((n, n, n)), Gaussians(d=3, gap=gap), seed=1, background=())
    near, far = norm.cdf(-gap / 2), norm.cdf(-3 * gap / 2)  # mass beyond the nearer and the farther border
    bayes = [[1 - near, near - far, far], [near, 1 - 2 * near, near], [far, near - far, 1 - near]]
    assert probe.info.confusion is not None
    for row, truth in zip(probe.info.confusion, bayes, strict=True):
        assert sum(row) == n
        for count, p in zip(row, truth, strict=True):
            # fitted borders miss the true ones by O(1/sqrt n), second order in accuracy but first order in a cell:
            # each border moves by less than 5 standard errors, and the density there is at most that of the border
            shift = 5 * 2 / np.sqrt(n) * norm.pdf(gap / 2) * (1 + 1 / gap)
            assert binom.ppf(RARE, n, max(p - shift, 0)) <= count <= binom.isf(RARE, n, min(p + shift, 1))
    accuracy = probe.classifier.evaluation.accuracy
    assert accuracy * 3 * n <= binom.isf(RARE, 3 * n, (3 - 4 * near) / 3)
    assert accuracy * 3 * n >= binom.ppf(RARE, 3 * n, (3 - 4 * near) / 3 - 1 / n)


def test_labels_without_meaning_give_chance_accuracy() -> None:
    n = 200
    probe = fit_probe(statements((n, n, n)), Gaussians(d=300, gap=0.0), seed=2, background=())
    hits = round(probe.classifier.evaluation.accuracy * 3 * n)
    assert binom.ppf(RARE, 3 * n, 1 / 3) <= hits <= binom.isf(RARE, 3 * n, 1 / 3)


def test_scores_are_calibrated_probabilities_where_classes_overlap() -> None:
    n = 600
    probe = fit_probe(statements((n, n, n)), Gaussians(d=3, gap=1.5), seed=1, background=())
    assert probe.info.calibration_error is not None
    assert probe.info.brier is not None
    assert probe.info.calibration_error < np.sqrt(10 * np.log(20 / RARE) / 2 / (3 * n))  # Hoeffding over 10 bins
    x = np.random.default_rng(0).normal(size=(100_000, 3)) + 1.5 * np.array([-1, 0, 1])
    density = np.exp(-((x[:, :, None] - 1.5 * np.array([-1, 0, 1])) ** 2) / 2)
    posterior = density / density.sum(axis=2, keepdims=True)
    best = ((posterior - np.eye(3)) ** 2).sum(axis=2).mean()
    assert abs(probe.info.brier - best) < 2 * np.sqrt(np.log(2 / RARE) / 2 / (3 * n))  # Hoeffding on [0, 2]


def test_fresh_texts_of_separable_classes_are_told_apart() -> None:
    embed = Gaussians(d=20, gap=12.0)
    probe = fit_probe(statements((60, 60, 60)), embed, seed=0, background=())
    fresh = [f"Some {pole} {1000 + i}." for pole in ("negative", "neutral", "positive") for i in range(20)]
    scores = probe.score(fresh)
    behaviors = np.array([score.behavior for score in scores if isinstance(score, Score)]).reshape(3, 20)
    # the thirds cut [-1, 1] where the most probable class changes
    assert [score.predicted for score in scores if isinstance(score, Score)] == [0] * 20 + [1] * 20 + [2] * 20
    assert behaviors[0].max() < -1 / 3 < behaviors[1].min()
    assert behaviors[1].max() < 1 / 3 < behaviors[2].min()


def test_background_texts_are_neutral_examples() -> None:
    embed = Gaussians(d=20, gap=6.0)
    few = statements((60, 60, 60))
    # on the positive side, but elsewhere: like no neutral statement
    fragments = [f"Off positive {i} x{i} y{i} z{i}." for i in range(5000, 5060)]
    embed.shift["Off"] = np.r_[0.0, 9.0, np.zeros(18)]
    fresh = [f"Off positive {i}." for i in range(6000, 6050)]
    plain = fit_probe(few, embed, seed=0, background=())
    taught = fit_probe(few, embed, seed=0, background=fragments)
    assert sum(s.predicted == 2 for s in plain.score(fresh) if isinstance(s, Score)) >= 45
    assert sum(s.predicted == 1 for s in taught.score(fresh) if isinstance(s, Score)) >= 45
    assert taught.info.confusion is not None
    assert sum(taught.info.confusion[1]) == 120  # they are judged too


def test_the_seed_and_nothing_else_decides() -> None:
    embed = Gaussians(d=10, gap=1.0)
    once, again, other = (fit_probe(statements((60, 80, 70)), embed, seed=seed, background=()) for seed in (1, 1, 2))
    assert once.info == again.info
    assert once.info.fingerprint == other.info.fingerprint  # the final fit sees all statements, whatever the folds
    assert once.info.confusion != other.info.confusion
    renamed = fit_probe(statements((60, 80, 70)), Gaussians(d=10, gap=1.0, fingerprint="x"), seed=1, background=())
    assert renamed.info.fingerprint != once.info.fingerprint


def test_a_silent_model_is_neutral_and_a_broken_embedding_fails() -> None:
    class Broken(Gaussians):
        def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
            rows = super().__call__(texts)
            rows[[text.startswith("Bad") for text in texts], 1] = np.nan
            return rows

    probe = fit_probe(statements((30, 30, 30)), Broken(d=4, gap=9.0), seed=0, background=())
    blank, bad, good = probe.score([" \n", "Bad negative 7.", "Some negative 7."])
    assert blank == Score(0.0, 1.0, 0.0)
    assert bad == Failure("non-finite", "the text's features are not finite")
    assert good == probe.score(["Some negative 7."])[0]
    assert probe.score([]) == []
    assert probe.score([""]) == [Score(0.0, 1.0, 0.0)]
    broken = replace(statements((30, 30, 30)), positive=tuple(f"Bad positive {i} a{i} b{i}." for i in range(30)))
    with pytest.raises(NumericalFailure) as caught:
        fit_probe(broken, Broken(d=4, gap=9.0), seed=0, background=())
    assert str(caught.value) == ("the features of 'Bad positive 0 a0 b0.' hold NaN or infinity; load the model in fp32")


def test_an_embedder_of_the_wrong_shape_is_refused() -> None:
    probe = fit_probe(statements((30, 30, 30)), Gaussians(d=4, gap=1.0), seed=0, background=())
    probe = ProbeScorer.from_arrays(probe.to_arrays(), Gaussians(d=5, gap=1.0))
    with pytest.raises(ModelError, match=r"^features have shape \(1, 5\) where \(1, 4\) is needed; check what"):
        probe.score(["Some negative 1."])


def test_statements_too_alike_for_cross_validation_are_refused() -> None:
    alike = replace(
        statements((30, 30, 30)), neutral=tuple(f"Some neutral {i} and much more again." for i in range(30))
    )
    with pytest.raises(BadStatements, match=r"^only 1 of the neutral statements are distinct; cross-validation needs"):
        fit_probe(alike, Gaussians(d=4, gap=1.0), seed=0, background=())


# ---- storage


def test_a_stored_probe_is_the_same_probe(tmp_path_factory: pytest.TempPathFactory) -> None:
    embed = Gaussians(d=6, gap=2.0)
    probe = fit_probe(statements((40, 40, 40)), embed, seed=0, background=())
    path = tmp_path_factory.mktemp("probe") / "probe.npz"
    np.savez(path, **probe.to_arrays())
    with np.load(path, allow_pickle=False) as stored:
        loaded = ProbeScorer.from_arrays(stored, embed)
    assert loaded.info == probe.info
    assert loaded.classifier.evaluation == probe.classifier.evaluation
    texts, _ = labelled_statements(statements((5, 5, 5)))
    assert loaded.score(texts) == probe.score(texts)


def stored_probe() -> dict[str, NDArray[np.generic]]:
    return fit_probe(statements((30, 30, 30)), Gaussians(d=4, gap=2.0), seed=0, background=()).to_arrays()


def test_a_stored_probe_of_another_embedder_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        ProbeScorer.from_arrays(stored_probe(), Gaussians(d=4, gap=2.0, fingerprint="other"))
    assert str(caught.value) == (
        "the stored probe for 'probe for line' was fitted on another model's hidden states; fit it again"
    )


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "json", "truncated", "format", "confusion"])
def test_a_damaged_probe_is_refused(damage: str) -> None:
    arrays = stored_probe()
    about = json.loads(bytes(arrays["about"].astype(np.uint8)).decode())
    if damage == "missing":
        del arrays["bias"]
    elif damage == "shape":
        arrays["weights"] = arrays["weights"][:, :2]
    elif damage == "nan":
        arrays["scale"] = np.full(4, np.nan)
    elif damage == "json":
        arrays["about"] = np.frombuffer(b"{", dtype=np.uint8)
    elif damage == "truncated":
        arrays["about"] = arrays["about"][:-3]
    elif damage == "format":
        arrays["about"] = np.frombuffer(json.dumps({**about, "format": 99}).encode(), dtype=np.uint8)
    else:
        about["evaluation"]["confusion"] = [[1, 2], [3, 4]]
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    with pytest.raises(ModelError, match=r"^the stored probe is damaged.*; delete it, it is fitted again$"):
        ProbeScorer.from_arrays(arrays, Gaussians(d=4, gap=2.0))


def test_fitting_is_fast() -> None:
    embed = Gaussians(d=576, gap=3.0)
    started = time.process_time()
    fit_probe(statements((150, 200, 150)), embed, seed=0, background=())
    assert time.process_time() - started < 10
