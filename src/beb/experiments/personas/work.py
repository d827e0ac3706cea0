"""The work items of `beb personas`: rows in from the store, rows out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from beb.experiments import schema
from beb.experiments.log_ratios import by_sentence
from beb.experiments.personas.arrays import OTHERS, fitted, joined, rest_log_weights, text_arrays
from beb.experiments.personas.plan import CHAT, texts_of
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.personas.subjects import PersonaSubjects
from beb.experiments.plan import Item
from beb.experiments.store import Rows, Store
from beb.experiments.tasks import (
    EXACT,
    RESPONSE_KEY,
    answered,
    chat_question,
    judged,
    prompt_requests,
    stored_prompts,
)
from beb.interfaces.language_model import SampleRequest, TokenIds, sentence_spans
from beb.models.joint import sample_each
from beb.models.mixture_scoring import score_against_mixture
from beb.models.scoring import score_sequences

ROWS_AT_ONCE = 64
"""Rows of every model's vocabulary that scoring holds: with fewer, reading the output matrix is most of the time."""


class PersonasWorker:
    """Carries out the items of `beb.experiments.personas.plan.plan_personas`."""

    def __init__(self, spec: PersonasSpec, subjects: PersonaSubjects, store: Store) -> None:
        self._spec, self._subjects, self._store = spec, subjects, store
        self._log_weights: dict[str, float] | None = None
        self._kinds: Mapping[str, Callable[[Item], Rows]] = {
            "sample": self._sample,
            "score-texts": self._score_texts,
            "score": self._score,
            "judge-prompts": self._judge_prompts,
            "respond": self._respond,
            "judge-responses": self._judge_responses,
        }

    def run(self, item: Item) -> Rows:
        """The rows of one item."""
        return self._kinds[item.kind](item)

    def _texts_of(self, item: Item) -> Mapping[str, range]:
        return texts_of(item, self._spec, list(self._subjects.personas))

    def _sample(self, item: Item) -> Rows:
        """Texts of the target and of personas; one that ends by itself is whole, and kept."""
        models = self._subjects.models
        requests: dict[tuple[str, int], SampleRequest] = {}
        for source, indices in self._texts_of(item).items():
            requests |= prompt_requests(models[source], source, indices, self._spec)
        answers = sample_each([models[source] for source, _ in requests], list(requests.values()))
        return stored_prompts(requests, answers, self._spec, whole=False)

    def _prompt_rows(self, item: Item) -> list[dict[str, Any]]:
        return [
            row
            for source, indices in self._texts_of(item).items()
            for row in self._store.rows("prompts", source=source)
            if row["prompt"] in indices
        ]

    def _score_texts(self, item: Item) -> Rows:
        rows = self._prompt_rows(item)
        scores = score_sequences([_ids(row) for row in rows], self._subjects.models, chunk_rows=ROWS_AT_ONCE)
        log_rows: list[dict[str, Any]] = []
        for row, score in zip(rows, scores, strict=True):
            log_rows += _log_rows(row, score.log_probs)
        return {"prompt_log_probs": log_rows}

    def _score(self, item: Item) -> Rows:
        """Prompts of personas under every model, and the exact divergence of each one's persona from the others."""
        rows = self._prompt_rows(item)
        scores = score_against_mixture(
            [_ids(row) for row in rows], self._subjects.models, own=[row["source"] for row in rows],
            log_weights=self._rest(), chunk_rows=ROWS_AT_ONCE,
        )  # fmt: skip
        log_rows: list[dict[str, Any]] = []
        kl_rows: list[dict[str, Any]] = []
        for row, score in zip(rows, scores, strict=True):
            log_rows += _log_rows(row, score.log_probs)
            sums = by_sentence(score.kl, sentence_spans(row["sentence_ends"].tolist()))
            at = {"source": row["source"], "prompt": row["prompt"], "p": row["source"], "q": OTHERS, "method": EXACT}
            kl_rows.append({**at, "sentence_kl_nats": schema.pack("sentence_kl_nats", sums)})
        return {"prompt_log_probs": log_rows, "prompt_divergences": kl_rows}

    def _rest(self) -> dict[str, float]:
        """Log weights of the personas as fitted to the unprompted texts, which are all scored by now."""
        if self._log_weights is None:
            names = list(self._subjects.personas)
            n_texts = text_arrays(self._store, names).log_p.size
            weights = rest_log_weights(fitted(self._store, names), n_texts)
            self._log_weights = dict(zip(names, weights.tolist(), strict=True))
        return self._log_weights

    def _judge_prompts(self, item: Item) -> Rows:
        models = self._subjects.models
        keys, sources, texts = [], [], []
        for row in self._prompt_rows(item):
            for sentence, (start, stop) in enumerate(sentence_spans(row["sentence_ends"].tolist())):
                sources.append(row["source"])
                keys.append({"prompt": row["prompt"], "sentence": sentence})
                texts.append(models[row["source"]].decode(row["token_ids"][start:stop].tolist()))
        parts = []
        for behavior, scorer in self._subjects.scorers.items():
            full = [{"source": joined(source, behavior), **key} for source, key in zip(sources, keys, strict=True)]
            parts.append(judged(scorer, "prompt_scores", full, texts))
        return _merged(parts)

    def _respond(self, item: Item) -> Rows:
        """One sentence of the target after 1..N sentences of personas' prompts; an ended prompt has none to come."""
        target = self._subjects.target
        questions = self._subjects.questions if item.variant == CHAT else {"": ""}
        keys: list[dict[str, Any]] = []
        prefixes: list[TokenIds] = []
        for row in self._prompt_rows(item):
            ids, ends = _ids(row), row["sentence_ends"].tolist()
            for length, end in enumerate(ends, start=1):
                if not target.decode(ids[end - 1 : end]):  # a special token: here the text ends itself
                    break
                for behavior, question in questions.items():
                    frame = (*target.start_ids, *ids[:end])
                    if item.variant == CHAT:
                        frame = chat_question(target, question, ids[:end])
                    for response in range(self._spec.responses):
                        name = (stored_format(item.variant, behavior), row["source"], row["prompt"], length, response)
                        keys.append(dict(zip(RESPONSE_KEY, name, strict=True)))
                        prefixes.append(frame)
        return answered(target, keys, prefixes, self._spec)

    def _judge_responses(self, item: Item) -> Rows:
        parts = []
        for behavior, scorer in self._subjects.scorers.items():
            named = stored_format(item.variant, behavior)
            rows = [
                row
                for source, indices in self._texts_of(item).items()
                for row in self._store.rows("responses", format=named, condition=source)
                if row["prompt"] in indices
            ]
            keys = [
                {**{name: row[name] for name in RESPONSE_KEY}, "condition": joined(row["condition"], behavior)}
                for row in rows
            ]
            parts.append(judged(scorer, "response_scores", keys, [row["text"] for row in rows]))
        return _merged(parts)


def stored_format(format_name: str, behavior: str) -> str:
    """The format of a response as stored: a chat ends in the behavior's own question."""
    return joined(format_name, behavior) if format_name == CHAT else format_name


def _ids(row: Mapping[str, Any]) -> TokenIds:
    return tuple(int(t) for t in row["token_ids"])


def _log_rows(row: Mapping[str, Any], log_probs: Mapping[str, Any]) -> list[dict[str, Any]]:
    spans = sentence_spans(row["sentence_ends"].tolist())
    at = {"source": row["source"], "prompt": row["prompt"], "method": "token ids"}
    return [
        {**at, "component": name, "sentence_log_p": schema.pack("sentence_log_p", by_sentence(values, spans))}
        for name, values in log_probs.items()
    ]


def _merged(parts: list[Rows]) -> Rows:
    """The rows of several parts of one item; their failures are numbered through."""
    merged: Rows = {}
    for part in parts:
        for table, rows in part.items():
            merged.setdefault(table, []).extend(rows)
    for position, row in enumerate(merged.get("failures", [])):
        row["position"] = position
    return merged
