"""A world behind the interface of a language model: exact probabilities, sampling by inverse distribution function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from beb.errors import BadSpec, ContextTooShort, NoChatTemplate, NumericalFailure
from beb.interfaces.language_model import (
    Completion,
    Distributions,
    Failure,
    LanguageModel,
    ModelInfo,
    SampleRequest,
    TokenIds,
)
from beb.worlds.alphabet import START_TOKEN, FiniteWorld, FloatArray
from beb.worlds.grammar import IMPOSSIBLE, Grammar, IntArray, MixtureState, TokenChain

CONTEXT_LENGTH = 1 << 16


def world_model(world: FiniteWorld, role: str) -> WorldModel:
    """The target of a world, or one of the components that are handed out for it.

    Raises: UnknownName.
    """
    return WorldModel(world, role)


class WorldDistributions(Distributions):
    """Next-token distributions of a world, computed from the states of the rows when asked for."""

    def __init__(self, chain: TokenChain, states: MixtureState) -> None:
        self._chain = chain
        self._states = states
        self.n_rows = len(states.node)

    def log_probs(self, start: int, stop: int) -> FloatArray:
        """(stop - start, vocabulary) float64; impossible tokens have log-probability -inf."""
        with np.errstate(divide="ignore"):
            return np.log(self._chain.probabilities(self._states.take(slice(start, stop))))

    def log_posterior(self, start: int, stop: int) -> FloatArray:
        """(stop - start, n_chains) log weight of each chain that is mixed, after the complete sentences; nats."""
        joint = self._states.take(slice(start, stop)).log_joint.T
        return joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)


class WorldModel(LanguageModel):
    """One role of a world: the target or a component.

    Off the support: a token that no sentence allows has probability 0, and nothing can be said about what follows it;
    `distributions` then raises NumericalFailure, `sample` returns a Failure.
    Assumes: sentences follow one another without end; a world has no end-of-text token and no chat template.
    """

    def __init__(self, world: FiniteWorld, role: str) -> None:
        tables = np.stack([chain.table() for chain in world.chains(role)])
        self._grammar = Grammar(world.sentences, len(world.words))
        self._chain = TokenChain(self._grammar, tables, np.array(world.log_weights(role)))
        self._words = world.words
        self._token_of = {word: token for token, word in enumerate(world.words)}
        self._terminators = world.terminators
        self._world = world.name
        self.info = ModelInfo(
            name=f"world:{world.name}/{role}",
            kind="world",
            fingerprint=world.fingerprint(role),
            tokenizer=world.tokenizer_fingerprint(),
            vocabulary_size=len(world.words),
            context_length=CONTEXT_LENGTH,
            dtype="float64",
            context="start token only",
            has_chat_template=False,
        )

    @property
    def start_ids(self) -> TokenIds:
        """The start token."""
        return (START_TOKEN,)

    def encode(self, text: str) -> TokenIds:
        """Token ids of words separated by white space.

        Raises: BadSpec on a word that the world does not have.
        """
        words = text.split()
        unknown = [word for word in words if word not in self._token_of]
        if unknown:
            known = ", ".join(self._words[START_TOKEN + 1 :])
            raise BadSpec(f"word {unknown[0]!r} is not in the vocabulary of world {self._world!r}; it has {known}")
        return tuple(self._token_of[word] for word in words)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Words separated by one space, the start token left out."""
        return " ".join(self._words[token] for token in token_ids if token != START_TOKEN)

    def ends_sentence(self, token_id: int) -> bool:
        """Whether a sentence of the world ends with this token."""
        return token_id in self._terminators

    def chat_frame(self, system: str | None = None) -> tuple[TokenIds, TokenIds]:
        """A world has none.

        Raises: NoChatTemplate, always.
        """
        asked = "" if system is None else " and takes no system prompt"
        raise NoChatTemplate(f"world {self._world!r} has no chat template{asked}; use the plain format")

    def distributions(self, sequences: Sequence[TokenIds]) -> WorldDistributions:
        """Exact distributions of every token of every sequence.

        Raises: ContextTooShort; NumericalFailure if an impossible token is not the last of its sequence; BadSpec.
        """
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        if lengths.size and lengths.max() + 1 > CONTEXT_LENGTH:
            raise ContextTooShort(f"{lengths.max() + 1} tokens do not fit in {CONTEXT_LENGTH}; use fewer sentences")
        rows = MixtureState.empty(len(self._chain.log_weights), int(lengths.sum()))
        first_row = np.cumsum(lengths) - lengths
        padded = self._padded(sequences, lengths)
        state = MixtureState.start(self._chain.log_weights, len(sequences))
        for t in range(padded.shape[1]):
            active = np.flatnonzero(lengths > t)
            at_token = state.take(active)
            if (at_token.node == IMPOSSIBLE).any():
                i = int(active[np.argmax(at_token.node == IMPOSSIBLE)])
                raise NumericalFailure(
                    f"token {t - 1} of sequence {i} is impossible in world {self._world!r}: no row follows it"
                )
            rows.put(first_row[active] + t, at_token)
            state.put(active, self._chain.advance(at_token, padded[active, t]))
        return WorldDistributions(self._chain, rows)

    def _padded(self, sequences: Sequence[TokenIds], lengths: IntArray) -> IntArray:
        """(n, longest) token ids, filled up with the start token, which is never read."""
        padded = np.full((len(sequences), int(lengths.max(initial=0))), START_TOKEN, dtype=np.int64)
        for row, sequence in zip(padded, sequences, strict=True):
            row[: len(sequence)] = sequence
        if padded.size and not 0 <= padded.min() <= padded.max() < len(self._words):
            raise BadSpec(f"token ids must lie in 0..{len(self._words) - 1} in world {self._world!r}")
        return padded

    def _read(self, prefixes: Sequence[TokenIds]) -> MixtureState:
        """The states after the prefixes; node IMPOSSIBLE where one leaves the support."""
        lengths = np.array([len(prefix) for prefix in prefixes], dtype=np.int64)
        padded = self._padded(prefixes, lengths)
        state = MixtureState.start(self._chain.log_weights, len(prefixes))
        for t in range(padded.shape[1]):
            active = np.flatnonzero((lengths > t) & (state.node != IMPOSSIBLE))
            state.put(active, self._chain.advance(state.take(active), padded[active, t]))
        return state

    def sample(self, requests: Sequence[SampleRequest]) -> list[Completion | Failure]:
        """Sample every request, in order; each is driven by one Philox stream of uniforms of its own.

        Returns: Failure("context-full") where the longest possible text would not fit, Failure("impossible-prefix")
        where the prefix does not begin with `start_ids` or has probability 0.
        Raises: BadSpec.
        """
        _check_requests(requests)
        state = self._read([request.prefix[len(self.start_ids) :] for request in requests])
        results: list[Completion | Failure | None] = [
            self._refusal(request, int(node)) for request, node in zip(requests, state.node, strict=True)
        ]
        waiting = [i for i, result in enumerate(results) if result is None]
        drafts = {i: _Draft(requests[i], self._grammar.longest) for i in waiting}
        active = np.array(waiting, dtype=np.int64)
        while active.size:
            rows = state.take(active)
            probabilities = self._chain.probabilities(rows)
            tokens = _inverse_cdf(probabilities, np.array([drafts[i].next_uniform() for i in active.tolist()]))
            log_probs = np.log(probabilities[np.arange(len(tokens)), tokens])
            for i, token, log_prob in zip(active.tolist(), tokens.tolist(), log_probs.tolist(), strict=True):
                drafts[i].append(token, log_prob, ends=token in self._terminators)
            state.put(active, self._chain.advance(rows, tokens))
            active = np.array([i for i in active.tolist() if not drafts[i].finished], dtype=np.int64)
        for i, draft in drafts.items():
            results[i] = draft.completion(self.decode(draft.token_ids))
        return [result for result in results if result is not None]

    def _refusal(self, request: SampleRequest, node: int) -> Failure | None:
        to_come = request.n_sentences * request.max_sentence_tokens
        if len(request.prefix) + to_come > CONTEXT_LENGTH:
            detail = f"{len(request.prefix)} tokens before and up to {to_come} sampled exceed {CONTEXT_LENGTH}"
            return Failure("context-full", detail)
        if node == IMPOSSIBLE or request.prefix[: len(self.start_ids)] != self.start_ids:
            return Failure("impossible-prefix", f"the prefix has probability 0 in world {self._world!r}")
        return None


def _check_requests(requests: Sequence[SampleRequest]) -> None:
    for request in requests:
        if not request.prefix or request.n_sentences < 1 or request.max_sentence_tokens < 1 or request.seed < 0:
            raise BadSpec(
                f"sample request with {len(request.prefix)} prefix tokens, {request.n_sentences} sentences, "
                f"{request.max_sentence_tokens} tokens per sentence, seed {request.seed}; "
                "it needs a start token, at least 1 sentence of at least 1 token, and a seed >= 0"
            )


def _inverse_cdf(probabilities: FloatArray, uniforms: FloatArray) -> IntArray:
    """(n,) tokens: the first whose cumulated probability exceeds the uniform; a token of probability 0 never is."""
    cumulated = np.cumsum(probabilities, axis=1)
    total = cumulated[:, -1]
    thresholds = np.minimum(uniforms * total, np.nextafter(total, 0))
    return np.asarray((cumulated <= thresholds[:, None]).sum(axis=1), dtype=np.int64)


class _Draft:
    """A completion under way."""

    __slots__ = ("_ends", "_log_probs", "_n_cut", "_request", "_uniforms", "token_ids")

    def __init__(self, request: SampleRequest, longest: int) -> None:
        self._request = request
        self.token_ids: list[int] = []
        self._log_probs: list[float] = []
        self._ends: list[int] = []
        self._n_cut = 0
        generator = np.random.Generator(np.random.Philox(request.seed))
        n_tokens = request.n_sentences * min(request.max_sentence_tokens, longest)
        self._uniforms = generator.random(n_tokens)

    @property
    def finished(self) -> bool:
        return len(self._ends) >= self._request.n_sentences

    def next_uniform(self) -> float:
        return float(self._uniforms[len(self.token_ids)])

    def append(self, token: int, log_prob: float, *, ends: bool) -> None:
        self.token_ids.append(token)
        self._log_probs.append(log_prob)
        n_tokens = len(self.token_ids) - (self._ends[-1] if self._ends else 0)
        is_cut = not ends and n_tokens >= self._request.max_sentence_tokens
        if ends or is_cut:
            self._ends.append(len(self.token_ids))
            self._n_cut += is_cut

    def completion(self, text: str) -> Completion:
        return Completion(tuple(self.token_ids), tuple(self._log_probs), tuple(self._ends), self._n_cut, text)
