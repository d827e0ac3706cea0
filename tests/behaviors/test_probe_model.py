"""The probe on the embedded language model's hidden states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from beb.behaviors.packs import background_fragments, load_behavior, neutral_statements
from beb.behaviors.probe import ProbeScorer, fit_probe
from beb.interfaces.language_model import Completion, LanguageModel, SampleRequest
from beb.interfaces.scorer import Score
from beb.models.catalog import load_model
from beb.models.embedder import HiddenStateEmbedder, load_embedder

pytestmark = pytest.mark.model

BEHAVIORS = {"agreeableness": 0.9, "honesty": 0.85}
"""Two packs, the clearest and the subtlest, and the accuracy that their probes must reach."""

WEB = """\
was elected to the town council in 1998 and served two terms before
Copyright © 2019 All rights reserved. Terms of Use | Privacy Policy
def read_config(path): return json.load(open(path))
Posted by admin on March 4, 2014 at 3:22 pm
Q: How do I reset my router? A: Hold the button for ten seconds.
for (int i = 0; i < n; i++) { sum += a[i]; }
Sign up for our newsletter to receive weekly updates.
In mathematics, a group is a set with an associative operation.
of the river and its tributaries, which drain about 4,000 square miles
import numpy as np
Add the onions and cook until soft, about five minutes.
Table 3 shows the results of the regression for each county.
The company reported third-quarter revenue of $2.1 billion.
| Name | Age | City |
<div class="header"><h1>Welcome</h1></div>
He moved to Chicago with his family when he was nine.
The treaty was signed in 1648 and ended thirty years of war.
Free shipping on all orders over $50!
## Installation
Photosynthesis converts light energy into chemical energy.
and the temperature of the water rises slowly as the day goes on
Step 2: Remove the four screws from the back panel.
The film stars Daniel Reyes as a retired detective.
Chapter 7: The Industrial Revolution in Northern England
SELECT name, price FROM products WHERE price > 10 ORDER BY name;
Share this on Facebook, Twitter or Pinterest.
The students learned about fractions by cutting paper circles.
A triangle has three sides and its angles add up to 180 degrees.
See also: List of bridges in Portugal
Scientists have found a new species of beetle in Borneo.
The hotel has 120 rooms, a gym and an outdoor pool.
Climate models suggest that rainfall will increase in the region.
Symptoms include fever, cough and shortness of breath.
print("Hello, world!")
Once upon a time, in a small village, there lived a baker named Tom.
Here are five tips to help you save money on groceries.
What is the capital of Australia?
- 2 cups of flour
$x^2 + 3x - 4 = 0$
Yes, you can use the function with a list as its argument.""".splitlines()


class Remembering:
    """The embedder, asked once for each text: the packs share their neutral statements."""

    def __init__(self, embed: HiddenStateEmbedder) -> None:
        self._embed, self.fingerprint = embed, embed.fingerprint
        self._rows: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        self._rows |= dict(zip(new, self._embed(new), strict=True)) if new else {}
        return np.stack([self._rows[text] for text in texts])


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model("smollm2", offline=True)


@pytest.fixture(scope="module")
def unprompted(model: LanguageModel) -> list[str]:
    requests = [SampleRequest(model.start_ids, n_sentences=1, max_sentence_tokens=40, seed=i) for i in range(100)]
    texts = [sample.text.strip() for sample in model.sample(requests) if isinstance(sample, Completion)]
    return [text for text in texts if text]


@pytest.fixture(scope="module")
def embed(model: LanguageModel) -> Remembering:
    return Remembering(load_embedder(model, offline=True))


@pytest.fixture(scope="module")
def probes(embed: Remembering) -> dict[str, ProbeScorer]:
    return {name: fit_probe(load_behavior(name), embed, seed=0) for name in BEHAVIORS}


def neutral_share(probe: ProbeScorer, texts: Sequence[str]) -> float:
    scores = [score for score in probe.score(texts) if isinstance(score, Score)]
    assert len(scores) == len(texts)
    return sum(score.predicted == 1 for score in scores) / len(texts)


@pytest.mark.parametrize("name", BEHAVIORS)
def test_held_out_statements_are_told_apart(probes: dict[str, ProbeScorer], name: str) -> None:
    evaluation = probes[name].classifier.evaluation
    negative, neutral, positive = evaluation.confusion
    assert evaluation.accuracy >= BEHAVIORS[name]
    assert evaluation.calibration_error <= 0.06
    assert neutral[1] / sum(neutral) >= 0.95
    # neutral statements are the easy part: the poles must differ from each other too
    assert negative[0] / (negative[0] + negative[2]) >= 0.75
    assert positive[2] / (positive[0] + positive[2]) >= 0.75


@pytest.mark.parametrize("name", BEHAVIORS)
def test_web_text_is_neutral(probes: dict[str, ProbeScorer], name: str) -> None:
    assert not set(WEB) & {*neutral_statements(), *background_fragments()}
    assert neutral_share(probes[name], WEB) >= 0.8


@pytest.mark.parametrize("name", BEHAVIORS)
def test_what_the_model_says_unprompted_is_neutral(
    probes: dict[str, ProbeScorer], unprompted: list[str], name: str
) -> None:
    assert len(unprompted) >= 80
    assert neutral_share(probes[name], unprompted) >= 0.8
    behaviors = [score.behavior for score in probes[name].score(unprompted) if isinstance(score, Score)]
    assert abs(float(np.mean(behaviors))) < 0.1


def test_background_keeps_unprompted_text_off_the_poles(
    probes: dict[str, ProbeScorer], embed: Remembering, unprompted: list[str]
) -> None:
    def mean_strength(probe: ProbeScorer) -> float:
        return float(np.mean([abs(score.behavior) for score in probe.score(unprompted) if isinstance(score, Score)]))

    bare = fit_probe(load_behavior("agreeableness"), embed, seed=0, background=())
    assert mean_strength(probes["agreeableness"]) < 0.7 * mean_strength(bare)
