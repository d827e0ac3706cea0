"""A behavior's scorer from a language model's hidden states."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from beb.behaviors.behavior import Behavior, Statements
from beb.behaviors.classifier import TextClassifier, fit_text_classifier
from beb.behaviors.evaluation import Evaluation, labelled_statements
from beb.behaviors.packs import background_fragments
from beb.behaviors.softmax import SoftmaxRegression
from beb.errors import ModelError
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import CLASSES, Score, Scorer

FORMAT = 1
"""Of the arrays that `ProbeScorer.to_arrays` returns."""

LOGIT_VARIANCE = 16.0
"""Prior variance of a logit: the penalty is that of weights N(0, LOGIT_VARIANCE / d) on d standardised features. On the
embedded behaviors it gives about the best Brier score and calibration of all values from 0.1 to 6000, and accuracy is
flat around it; so it is not searched for in each fit, which would only add variance."""


class Embedder(Protocol):
    """Texts to mean-pooled hidden states of one layer; a text's row must not depend on the texts beside it."""

    fingerprint: str

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) hidden states of n non-blank texts."""


class ProbeScorer(Scorer):
    """Class probabilities by logistic regression on hidden states; errors by cross-validation."""

    def __init__(self, *, name: str, classifier: TextClassifier, embed: Embedder) -> None:
        self.classifier = classifier
        self._embed = embed
        self.info = classifier.info(name=name, kind="probe", upstream=embed.fingerprint)

    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        """Class probabilities of each text; blank texts are neutral, texts with non-finite states are failures."""
        return self.classifier.score(texts, lambda said: np.asarray(self._embed(said), dtype=np.float64))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but the embedder, as numeric arrays; "about" holds UTF-8 JSON as bytes."""
        about = {
            "format": FORMAT,
            "name": self.info.name,
            "embedder": self._embed.fingerprint,
            "evaluation": asdict(self.classifier.evaluation),
        }
        text = json.dumps(about, sort_keys=True).encode()
        return {**asdict(self.classifier.regression), "about": np.frombuffer(text, dtype=np.uint8).copy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], embed: Embedder) -> ProbeScorer:
        """The scorer that `to_arrays` described.

        Raises: ModelError if the arrays are damaged or belong to another embedder.
        """
        try:
            about = json.loads(bytes(arrays["about"]).decode())
            parts = {part: np.asarray(arrays[part], dtype=np.float64) for part in ("mean", "scale", "weights", "bias")}
            evaluation = Evaluation(
                confusion=tuple((int(a), int(b), int(c)) for a, b, c in about["evaluation"]["confusion"]),
                brier=float(about["evaluation"]["brier"]),
                calibration_error=float(about["evaluation"]["calibration_error"]),
            )
            known, name = about["format"] == FORMAT, str(about["name"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the stored probe is damaged ({error}); delete it, it is fitted again") from error
        d = len(parts["mean"]) if parts["mean"].ndim == 1 else -1
        shapes = {"mean": (d,), "scale": (d,), "weights": (len(CLASSES), d), "bias": (len(CLASSES),)}
        if not known or any(parts[k].shape != v or not np.isfinite(parts[k]).all() for k, v in shapes.items()):
            raise ModelError("the stored probe is damaged or of another version; delete it, it is fitted again")
        if about["embedder"] != embed.fingerprint:
            raise ModelError(f"the stored probe for {name!r} was fitted on another model's hidden states; fit it again")
        classifier = TextClassifier(regression=SoftmaxRegression(**parts), evaluation=evaluation)
        return cls(name=name, classifier=classifier, embed=embed)


def fit_probe(
    behavior: Behavior | Statements, embed: Embedder, *, seed: int, background: Sequence[str] | None = None
) -> ProbeScorer:
    """Fit the probe and measure its errors by cross-validation.

    behavior: statements of the three classes. embed: hidden states. seed: of the shuffle into folds.
    background: further neutral texts, unlike statements; None for the embedded fragments of unprompted text. They teach
        the probe what no statement does: without them one unprompted sentence of the embedded model in four to seven
        falls on a pole (mean |B| 0.13–0.24), with them one in twenty (at most 0.06); accuracy moves by a point or so.
    Returns: the scorer; its error counts come from 5 folds in which near-duplicates stay together.
    Raises: NumericalFailure; BadStatements if a class has too few distinct statements.
    Assumes: for the error counts to carry over, that the scored texts resemble the statements or the background.
    Source: probes on hidden states, Alain and Bengio 2016 (arXiv 1610.01644).
    """
    fragments = tuple(background_fragments() if background is None else background)
    texts, labels = labelled_statements(behavior)
    texts, labels = (*texts, *fragments), np.append(labels, np.full(len(fragments), CLASSES.index("neutral")))
    features = np.asarray(embed(texts), dtype=np.float64)
    penalty = LOGIT_VARIANCE / features.shape[-1]
    classifier = fit_text_classifier(texts, labels, features, inverse_penalty=penalty, seed=seed)
    return ProbeScorer(name=f"probe for {behavior.name}", classifier=classifier, embed=embed)
