"""A world as a language model: its token probabilities are those of its sentences, and its samples follow them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import chi2, norm

from beb.errors import BadSpec, ContextTooShort, NoChatTemplate, NumericalFailure, UnknownName
from beb.interfaces.language_model import Completion, Failure, SampleRequest, sentence_spans
from beb.models.scoring import score_sequences
from beb.worlds import World, WorldModel, get_world, known_worlds, random_world, truth, world_model
from beb.worlds.world import Role

ROLES: tuple[Role, ...] = ("target", "negative", "positive")


def requests(n: int, *, n_sentences: int = 4, prefix: tuple[int, ...] = (0,), limit: int = 32) -> list[SampleRequest]:
    return [SampleRequest(prefix, n_sentences, limit, seed) for seed in range(n)]


def completions(model: WorldModel, asked: list[SampleRequest]) -> list[Completion]:
    drawn = model.sample(asked)
    assert all(isinstance(c, Completion) for c in drawn)
    return [c for c in drawn if isinstance(c, Completion)]


def sentence_indices(world: World, completion: Completion) -> list[int]:
    return [world.sentences.index(completion.token_ids[a:b]) for a, b in sentence_spans(completion.sentence_ends)]


def sequence_probability(world: World, role: Role, sequence: tuple[int, ...]) -> float:
    """Probability of a sequence of sentences, straight from the definition of the mixture."""
    total = 0.0
    for weight, chain in zip(np.exp(world.log_weights(role)), world.chains(role), strict=True):
        probability = float(weight)
        for i, sentence in enumerate(sequence):
            probability *= chain.initial[sentence] if i == 0 else chain.transition[sequence[i - 1]][sentence]
        total += probability
    return total


def prefix_probability(world: World, role: Role, prefix: tuple[int, ...], depth: int) -> float:
    """Probability that the token stream begins with `prefix`, by enumeration of `depth` sentences."""
    return math.fsum(
        sequence_probability(world, role, sequence)
        for sequence in itertools.product(range(world.n_sentences), repeat=depth)
        if tuple(itertools.chain(*(world.sentences[i] for i in sequence)))[: len(prefix)] == prefix
    )


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("seed", range(4))
def test_next_token_probabilities_equal_brute_force(role: Role, seed: int) -> None:
    world = random_world(np.random.default_rng(seed), n_sentences=3)
    model = world_model(world, role)
    sequence = completions(model, requests(1, n_sentences=3))[0].token_ids
    rows = model.distributions([sequence]).log_probs(0, len(sequence))
    for t in range(len(sequence)):
        # Each sentence brings at least one token, so 4 sentences fill 3 sentences' worth of prefix and one more.
        base = prefix_probability(world, role, sequence[:t], 4)
        for token in range(len(world.words)):
            expected = prefix_probability(world, role, (*sequence[:t], token), 4) / base
            assert math.exp(rows[t, token]) == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", known_worlds())
def test_rows_are_distributions(name: str) -> None:
    model = world_model(get_world(name), "target")
    sequences = [c.token_ids for c in completions(model, requests(50, n_sentences=8))]
    distributions = model.distributions(sequences)
    assert distributions.n_rows == sum(map(len, sequences))
    rows = distributions.log_probs(0, distributions.n_rows)
    assert rows.shape == (distributions.n_rows, model.info.vocabulary_size)
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(rows[5:9], distributions.log_probs(5, 9))


@pytest.mark.parametrize("role", ROLES)
def test_sampled_log_probs_are_those_of_scoring_bit_for_bit(role: Role) -> None:
    model = world_model(get_world("markov"), role)
    drawn = completions(model, requests(30))
    scores = score_sequences([c.token_ids for c in drawn], {"m": model})
    for completion, score in zip(drawn, scores, strict=True):
        assert completion.log_probs == tuple(score.log_probs["m"])


def test_token_scores_sum_to_the_log_probability_of_the_sentences() -> None:
    for seed in range(5):
        world = random_world(np.random.default_rng(seed))
        models = {role: world_model(world, role) for role in ROLES}
        drawn = completions(models["target"], requests(20, n_sentences=6))
        for completion, score in zip(drawn, score_sequences([c.token_ids for c in drawn], models), strict=True):
            sequence = tuple(sentence_indices(world, completion))
            total = {role: math.fsum(score.log_probs[role]) for role in ROLES}
            for role in ROLES:
                assert total[role] == pytest.approx(math.log(sequence_probability(world, role, sequence)), abs=1e-10)
            # Mixture identity: P(s) = αP₋(s) + (1−α)P₊(s).
            mixture = world.alpha * math.exp(total["negative"]) + (1 - world.alpha) * math.exp(total["positive"])
            assert math.exp(total["target"]) == pytest.approx(mixture, rel=1e-9)


@pytest.mark.parametrize("name", known_worlds())
def test_token_divergences_add_up_to_the_exact_curves(name: str) -> None:
    """Chain rule: the mean over prompts from P₋ of a sentence's token divergences is the exact βₙ, and KL(P₋‖P)."""
    world, n_prompts, n_sentences = get_world(name), 600, 4
    exact = truth(world, n_sentences)
    models = {role: world_model(world, role) for role in ROLES}
    drawn = completions(models["negative"], requests(n_prompts, n_sentences=n_sentences))
    pairs = [("negative", "positive"), ("negative", "target")]
    scores = score_sequences([c.token_ids for c in drawn], models, divergences=pairs, chunk_rows=4096)
    for pair, curve in zip(pairs, (exact.beta_curve, exact.kl_to_target_curve), strict=True):
        kl = np.array(
            [
                [score.kl[pair][a:b].sum() for a, b in sentence_spans(completion.sentence_ends)]
                for completion, score in zip(drawn, scores, strict=True)
            ]
        )
        z = norm.isf(1e-6 / 2)
        limit = z * kl.std(axis=0, ddof=1) / math.sqrt(n_prompts) + 1e-9
        assert (np.abs(kl.mean(axis=0) - curve) < limit).all()
        assert limit.max() < 0.25 * curve.max() + 0.1


@pytest.mark.parametrize("role", ROLES)
def test_sampled_sentences_follow_the_world(role: Role) -> None:
    world = random_world(np.random.default_rng(11), n_sentences=3, log_inverse_alpha=(1, 1), markov=True)
    n, length = 3000, 3
    counts = np.zeros((world.n_sentences,) * length)
    for completion in completions(world_model(world, role), requests(n, n_sentences=length)):
        counts[tuple(sentence_indices(world, completion))] += 1
    expected = n * np.array(
        [sequence_probability(world, role, s) for s in itertools.product(range(world.n_sentences), repeat=length)]
    )
    # Cells expected below 5 are pooled with the least of the others, as the chi-square approximation asks for.
    order = np.argsort(expected)
    first = int((expected < 5).sum())
    edges = [0, *range(first + 1, len(expected))]
    pooled, observed = np.add.reduceat(expected[order], edges), np.add.reduceat(counts.ravel()[order], edges)
    statistic = ((observed - pooled) ** 2 / pooled).sum()
    assert statistic < chi2.isf(1e-6, len(pooled) - 1)
    assert len(pooled) > 4


def test_a_sample_depends_on_its_seed_and_prefix_only() -> None:
    model = world_model(get_world("markov"), "target")
    asked = requests(40) + requests(40, n_sentences=2, prefix=(0, *model.encode("I insult people. I")))
    together = model.sample(asked)
    assert together == [model.sample([request])[0] for request in asked]
    assert together[::-1] == model.sample(asked[::-1])
    assert len({c.text for c in together if isinstance(c, Completion)}) > 20


def test_a_longer_sample_begins_with_the_shorter() -> None:
    model = world_model(get_world("rare"), "negative")
    for short, long in zip(
        completions(model, requests(20, n_sentences=2)), completions(model, requests(20, n_sentences=5)), strict=True
    ):
        assert long.token_ids[: len(short.token_ids)] == short.token_ids


def test_a_prompt_moves_the_target_as_its_posterior_weight_says() -> None:
    """After sentences of P₋ the sampled B follows the exact curve."""
    world = get_world("coin")
    target, n = world_model(world, "target"), 2000
    prompts = completions(world_model(world, "negative"), requests(n, n_sentences=3))
    asked = [SampleRequest((0, *p.token_ids), 1, 8, 10_000 + i) for i, p in enumerate(prompts)]
    b = np.array([world.behavior[sentence_indices(world, c)[0]] for c in completions(target, asked)])
    limit = norm.isf(1e-6 / 2) * b.std() / math.sqrt(n)
    assert abs(b.mean() - truth(world, 3).behavior_negative[3]) < limit < 0.15


def test_sentences_are_cut_at_the_limit_and_go_on() -> None:
    model = world_model(get_world("rare"), "positive")
    drawn = completions(model, requests(30, n_sentences=4, limit=2))
    assert sum(c.n_cut for c in drawn) > 30
    for completion in drawn:
        assert len(completion.sentence_ends) == 4
        spans = sentence_spans(completion.sentence_ends)
        assert all(b - a <= 2 for a, b in spans)
        assert completion.n_cut == sum(not model.ends_sentence(completion.token_ids[b - 1]) for _, b in spans)
        whole = completions(model, [SampleRequest((0,), 4, 32, drawn.index(completion))])[0]
        assert whole.token_ids[: len(completion.token_ids)] == completion.token_ids


def test_off_the_support_nothing_is_made_up() -> None:
    model = world_model(get_world("coin"), "target")
    lie, tell = model.encode("lie.")[0], model.encode("tell")[0]
    rows = model.distributions([(lie,)]).log_probs(0, 1)
    assert rows[0, lie] == -np.inf
    with pytest.raises(NumericalFailure, match="token 0 of sequence 1"):
        model.distributions([model.encode("I lie."), (lie, tell)])
    asked = [SampleRequest(prefix, 1, 8, 1) for prefix in ((0, lie), (lie,), (0,), (0,) * model.info.context_length)]
    outcomes = model.sample(asked)
    kinds = [outcome.kind if isinstance(outcome, Failure) else "text" for outcome in outcomes]
    assert kinds == ["impossible-prefix", "impossible-prefix", "text", "context-full"]
    with pytest.raises(BadSpec, match="token ids"):
        model.distributions([(99,)])


@pytest.mark.parametrize(
    ("prefix", "n_sentences", "limit", "seed"), [((), 1, 8, 1), ((0,), 0, 8, 1), ((0,), 1, 0, 1), ((0,), 1, 8, -1)]
)
def test_an_improper_request_is_refused(prefix: tuple[int, ...], n_sentences: int, limit: int, seed: int) -> None:
    with pytest.raises(BadSpec):
        world_model(get_world("coin"), "target").sample([SampleRequest(prefix, n_sentences, limit, seed)])


def test_sequences_longer_than_the_context_are_refused() -> None:
    model = world_model(get_world("coin"), "target")
    with pytest.raises(ContextTooShort):
        model.distributions([(1,) * model.info.context_length])


def test_text_and_ids() -> None:
    world = get_world("markov")
    model = world_model(world, "target")
    text = "I help people whenever I can. It is late."
    ids = model.encode(text)
    assert model.decode((*model.start_ids, *ids)) == text
    assert [i for i, token in enumerate(ids) if model.ends_sentence(token)] == [5, 8]
    with pytest.raises(BadSpec, match="'Hello'"):
        model.encode("Hello people.")
    with pytest.raises(NoChatTemplate):
        model.chat_frame()
    with pytest.raises(UnknownName):
        world_model(world, "neutral")  # type: ignore[arg-type]


def test_the_models_of_a_world_share_a_tokenizer() -> None:
    infos = [world_model(get_world("markov"), role).info for role in ROLES]
    assert len({info.tokenizer for info in infos}) == 1
    assert len({info.fingerprint for info in infos}) == 3
    assert {info.kind for info in infos} == {"world"}
    assert world_model(get_world("coin"), "target").info.tokenizer != infos[0].tokenizer


def test_nothing_asked_gives_nothing() -> None:
    model = world_model(get_world("coin"), "target")
    assert model.sample([]) == []
    assert model.distributions([]).n_rows == 0
    assert model.distributions([(), ()]).n_rows == 0
