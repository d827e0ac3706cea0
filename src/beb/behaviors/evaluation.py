"""How well a three-class scorer does on statements that it was not fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beb.behaviors.behavior import Behavior, Statements, comparison_key
from beb.behaviors.softmax import Array, Labels, SoftmaxRegression
from beb.errors import BadStatements
from beb.interfaces.scorer import CLASSES

N_FOLDS = 5
NEAR_DUPLICATE = 0.7
"""Statements that share this part of their distinct words (Jaccard) are kept in one fold."""

_BINS = 10
_BLOCK = 1024  # rows compared at once: bounds memory at 1024 x n


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Agreement of class probabilities with known classes on held-out texts.

    confusion: 3 rows (true class) of 3 counts (most probable class).
    brier: mean over texts of the squared distance between probabilities and truth, in [0, 2].
    calibration_error: expected calibration error of the most probable class, 10 equal bins, in [0, 1].
    """

    confusion: tuple[tuple[int, int, int], ...]
    brier: float
    calibration_error: float

    @property
    def n(self) -> int:
        """Number of texts."""
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of texts whose most probable class is the true one."""
        return sum(self.confusion[i][i] for i in range(len(CLASSES))) / self.n


def evaluate_classifier(probabilities: Array, labels: Labels) -> Evaluation:
    """Compare class probabilities, (n, 3), with the true classes, (n,) indices in CLASSES.

    Source: Brier 1950 (the original, multi-class score); Guo et al. 2017 (arXiv 1706.04599), eq. 3.
    """
    predicted = probabilities.argmax(axis=1)
    counts = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    truth = np.eye(len(CLASSES))[labels]
    confidence = probabilities.max(axis=1)
    excess = np.zeros(_BINS)  # per bin: sum of (confidence - hit)
    np.add.at(excess, np.minimum((confidence * _BINS).astype(int), _BINS - 1), confidence - (predicted == labels))
    return Evaluation(
        confusion=tuple((int(a), int(b), int(c)) for a, b, c in counts),
        brier=float(((probabilities - truth) ** 2).sum(axis=1).mean()),
        calibration_error=float(np.abs(excess).sum() / len(labels)),
    )


def labelled_statements(statements: Behavior | Statements) -> tuple[tuple[str, ...], Labels]:
    """All statements, class after class, and their (n,) classes."""
    texts = (*statements.negative, *statements.neutral, *statements.positive)
    sizes = (len(statements.negative), len(statements.neutral), len(statements.positive))
    return texts, np.repeat(np.arange(len(CLASSES)), sizes)


def near_duplicate_groups(texts: Sequence[str]) -> NDArray[np.int64]:
    """(n,) group of each text: texts that share most of their words, directly or through others, are in one group."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    vocabulary: dict[str, int] = {}
    words = [{vocabulary.setdefault(comparison_key(w), len(vocabulary)) for w in text.split()} for text in texts]
    rows = np.repeat(np.arange(len(texts)), [len(w) for w in words])
    columns = np.array([w for text in words for w in sorted(text)], dtype=np.int64)
    present = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(texts), max(len(vocabulary), 1)))
    size = np.array([len(w) for w in words], dtype=np.float64)
    pairs: list[NDArray[np.int64]] = []
    for start in range(0, len(texts), _BLOCK):
        shared = (present[start : start + _BLOCK] @ present.T).toarray()
        union = size[start : start + _BLOCK, None] + size[None, :] - shared
        near = np.argwhere(shared >= NEAR_DUPLICATE * union)
        pairs.append(near + np.array([start, 0]))
    edges = np.concatenate(pairs)
    graph = csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(texts), len(texts)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def fold_numbers(labels: Labels, groups: NDArray[np.int64], *, n_folds: int, seed: int) -> NDArray[np.int64]:
    """(n,) fold of each text: stratified by class, shuffled by `seed`, groups kept whole.

    Raises: BadStatements if so many statements are near-duplicates that a class would be missing from a fold's fit.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    for index in np.unique(labels):
        distinct = len(np.unique(groups[labels == index]))
        if distinct < n_folds:
            raise BadStatements(
                f"only {distinct} of the {CLASSES[index]} statements are distinct; cross-validation needs {n_folds}; "
                "add others"
            )
    fold = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(np.zeros((len(labels), 1)), labels, groups)):
        fold[held_out] = number
    return fold


def out_of_fold_probabilities(
    features: Array,
    labels: Labels,
    folds: NDArray[np.int64],
    fit: Callable[[Array, Labels], SoftmaxRegression],
) -> Array:
    """(n, 3) probabilities of each text from a classifier fitted on the other folds.

    features: (n, d). folds: (n,). fit: from the features and labels of the texts to fit on.
    """
    probabilities = np.empty((len(labels), len(CLASSES)))
    for number in np.unique(folds):
        held_out = folds == number
        probabilities[held_out] = fit(features[~held_out], labels[~held_out]).probabilities(features[held_out])
    return probabilities
