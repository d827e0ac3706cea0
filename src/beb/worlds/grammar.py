"""The sentences of a world as a prefix tree, and what each next token says about the sentence under way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beb.interfaces.language_model import TokenIds
from beb.worlds.world import FloatArray

IntArray = NDArray[np.int64]
IMPOSSIBLE = -1


class Grammar:
    """Prefix tree over sentences; node 0 stands between two sentences.

    emits: (n_nodes, n_sentences, vocabulary) 1 where the sentence runs through the node and goes on with the token.
    child: (n_nodes, vocabulary) node after the token, or IMPOSSIBLE.
    completes: (n_nodes, vocabulary) sentence that the token completes, or IMPOSSIBLE.
    """

    def __init__(self, sentences: tuple[TokenIds, ...], vocabulary_size: int) -> None:
        prefixes = sorted({s[:i] for s in sentences for i in range(len(s))}, key=lambda p: (len(p), p))
        node_of = {prefix: node for node, prefix in enumerate(prefixes)}
        shape = (len(prefixes), vocabulary_size)
        self.emits: FloatArray = np.zeros((len(prefixes), len(sentences), vocabulary_size))
        self.child: IntArray = np.full(shape, IMPOSSIBLE, dtype=np.int64)
        self.completes: IntArray = np.full(shape, IMPOSSIBLE, dtype=np.int64)
        self.longest = max(map(len, sentences))
        for k, sentence in enumerate(sentences):
            for i, token in enumerate(sentence):
                node = node_of[sentence[:i]]
                self.emits[node, k, token] = 1.0
                self.child[node, token] = 0 if i + 1 == len(sentence) else node_of[sentence[: i + 1]]
            self.completes[node_of[sentence[:-1]], sentence[-1]] = k


class MixtureState:
    """Where each of several token sequences stands in a mixture of chains.

    previous: (n,) row of the chains' tables: 0 at the start, 1 + i after sentence i. node: (n,) in the grammar.
    log_joint: (n_chains, n) log weight of each chain plus log probability of the complete sentences under it, nats.
    """

    __slots__ = ("log_joint", "node", "previous")

    def __init__(self, previous: IntArray, node: IntArray, log_joint: FloatArray) -> None:
        self.previous = previous
        self.node = node
        self.log_joint = log_joint

    @classmethod
    def start(cls, log_weights: FloatArray, n: int) -> MixtureState:
        """The state before the first token of `n` sequences."""
        zeros = np.zeros(n, dtype=np.int64)
        return cls(zeros, zeros.copy(), np.repeat(log_weights[:, None], n, axis=1))

    @classmethod
    def empty(cls, n_chains: int, n: int) -> MixtureState:
        """Room for `n` states."""
        return cls(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), np.zeros((n_chains, n)))

    def take(self, rows: IntArray | slice) -> MixtureState:
        """The states of some rows."""
        return MixtureState(self.previous[rows], self.node[rows], self.log_joint[:, rows])

    def put(self, rows: IntArray, states: MixtureState) -> None:
        """Overwrite some rows."""
        self.previous[rows] = states.previous
        self.node[rows] = states.node
        self.log_joint[:, rows] = states.log_joint


class TokenChain:
    """The mixture of chains as a process over tokens: exact next-token probabilities after any possible prefix.

    tables: (n_chains, 1 + n_sentences, n_sentences) next-sentence probabilities. log_weights: (n_chains,) nats.
    Every number is computed elementwise, in the same order for any number of rows, so that it depends on no other row.
    """

    def __init__(self, grammar: Grammar, tables: FloatArray, log_weights: FloatArray) -> None:
        self.grammar = grammar
        self.log_weights = log_weights
        self._tables = tables
        self._log_tables = np.log(tables)

    def probabilities(self, state: MixtureState) -> FloatArray:
        """(n, vocabulary) probability of each next token, summed over the sentences that may be under way."""
        joint = np.exp(state.log_joint - state.log_joint.max(axis=0))
        sentences = sum(
            weight[:, None] * table[state.previous] for weight, table in zip(joint, self._tables, strict=True)
        )
        emits = self.grammar.emits
        tokens = np.zeros((len(state.node), emits.shape[2]))
        for k in range(emits.shape[1]):
            tokens += sentences[:, k, None] * emits[state.node, k]
        return tokens / np.cumsum(tokens, axis=1)[:, -1:]

    def advance(self, state: MixtureState, tokens: IntArray) -> MixtureState:
        """The states after one more token each; an impossible token gives node IMPOSSIBLE."""
        node = self.grammar.child[state.node, tokens]
        completed = self.grammar.completes[state.node, tokens]
        done = completed != IMPOSSIBLE
        log_joint = state.log_joint.copy()
        log_joint[:, done] += self._log_tables[:, state.previous[done], completed[done]]
        return MixtureState(np.where(done, completed + 1, state.previous), node, log_joint)
