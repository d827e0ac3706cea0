"""What all parts of the benchmark work on: the embedded model, its components, and how large everything is."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from beb.experiments.loading import load_subjects
from beb.experiments.spec import MeasureSpec
from beb.experiments.subjects import Places, Subjects
from beb.interfaces.language_model import LanguageModel
from beb.models.cachedir import cache_folder
from beb.models.catalog import load_model
from beb.models.huggingface import DTYPES, HuggingFaceModel
from benchmarks.random_model import random_llama

MODEL = "smollm2"
WIDE = "four blocks as wide as Llama 3.2 1B's"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    prompts, sentences: of the comparison with the published estimator. scored: prompts of the one-pass estimator's
    timing. lengths: of the cost per prompt, in sentences. long: after how many sentences the published estimator is
    timed on one long prompt. responses: per prefix while sampling. repeats: of what is timed at its quickest.
    """

    prompts: int = 10
    sentences: int = 6
    scored: int = 40
    lengths: tuple[int, ...] = (2, 4, 8, 16, 32)
    long: tuple[int, ...] = (0, 3, 7, 11, 15)
    long_prompts: int = 8
    sampling_prompts: int = 8
    responses: int = 4
    measured_prompts: int = 16
    repeats: int = 3


QUICK = Size(
    prompts=3, sentences=3, scored=8, lengths=(2, 4, 8), long=(0, 3), long_prompts=4, sampling_prompts=4, responses=2,
    measured_prompts=6, repeats=1,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """P₋ and P₊ on the weights of the target."""

    target: HuggingFaceModel
    negative: HuggingFaceModel
    positive: HuggingFaceModel
    subjects: Subjects


def load_pair(spec: MeasureSpec) -> Pair:
    """The default run's components, from the cache if they have been fitted."""
    subjects = load_subjects(spec, Places(cache_folder(), offline=False), lambda what, _done, _total: say(what))
    return Pair(_local(subjects.target), _local(subjects.negative), _local(subjects.make_positive(None)), subjects)


def load_bare(dtype: str) -> HuggingFaceModel:
    """The embedded model alone."""
    return _local(load_model(MODEL, dtype=dtype))


def load_wide(dtype: str) -> HuggingFaceModel:
    """A short random model of the embedded one's vocabulary, whose blocks are those of a model of 1B parameters."""
    return random_llama(
        vocabulary=49_152, width=2048, inner=8192, blocks=4, heads=32, shared_heads=8, dtype=DTYPES[dtype]
    )


def _local(model: LanguageModel) -> HuggingFaceModel:
    if not isinstance(model, HuggingFaceModel):
        raise TypeError(f"{model.info.name} is a {model.info.kind}; the benchmark needs weights in this process")
    return model


_STARTED = time.monotonic()


def say(what: str) -> None:
    """Progress, beside the table."""
    sys.stderr.write(f"[{time.monotonic() - _STARTED:6.0f} s] {what}\n")
    sys.stderr.flush()
