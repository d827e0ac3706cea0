"""What each kind of work item does: rows in from the store, rows out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from beb.errors import EstimateError
from beb.experiments import schema
from beb.experiments.plan import Item
from beb.experiments.spec import MeasureSpec, derive_seed
from beb.experiments.store import Store
from beb.experiments.subjects import Subjects
from beb.interfaces.language_model import Completion, Failure, LanguageModel, SampleRequest, TokenIds, sentence_spans
from beb.interfaces.scorer import Score
from beb.models.scoring import score_sequences, text_log_probs

Rows = dict[str, list[dict[str, Any]]]
RESIDUAL_MARGIN_NATS = 10.0
RESPONSE_KEY = ("format", "condition", "prompt", "sentences", "response")
PROBABILITIES = ("p_negative", "p_neutral", "p_positive")


class Worker:
    """Carries out work items with loaded models. Stateless but for what it reads from the store."""

    def __init__(self, spec: MeasureSpec, subjects: Subjects, store: Store) -> None:
        self._spec = spec
        self._subjects = subjects
        self._store = store
        self._positive: LanguageModel | None = None
        self._kinds: Mapping[str, Callable[[Item], Rows]] = {
            "gate": self._gate,
            "sample": self._sample,
            "evidence": self._evidence,
            "score": self._score,
            "judge-prompts": self._judge_prompts,
            "respond": self._respond,
            "judge-responses": self._judge_responses,
        }

    def run(self, item: Item) -> Rows:
        """The rows of one item."""
        return self._kinds[item.kind](item)

    @property
    def positive(self) -> LanguageModel:
        """P₊; a residual takes the largest α that the scored P₋ prompts allow, less a margin."""
        if self._positive is None:
            log_inverse_alpha = None
            if self._spec.positive == "residual":
                evidence = self._largest_evidence()
                log_inverse_alpha = max(evidence, 0.0) + RESIDUAL_MARGIN_NATS
            self._positive = self._subjects.make_positive(log_inverse_alpha)
        return self._positive

    def _largest_evidence(self) -> float:
        rows = self._store.rows("prompt_log_probs", source="negative")
        by_prompt: dict[int, dict[str, Any]] = {}
        for row in rows:
            by_prompt.setdefault(row["prompt"], {})[row["component"]] = np.cumsum(row["sentence_log_p"])
        return float(max(np.max(p["negative"] - p["target"]) for p in by_prompt.values()))

    def _model(self, name: str) -> LanguageModel:
        return {"target": self._subjects.target, "negative": self._subjects.negative}.get(name) or self.positive

    def _gate(self, _: Item) -> Rows:
        rows = []
        for split, poles in self._subjects.statements.items():
            for pole, texts in poles.items():
                logs = [_log_p_texts(texts, self._model(name)) for name in ("negative", "positive")]
                rows += [
                    {"split": split, "pole": pole, "position": i, "text": text,
                     "log_p_negative": float(logs[0][i]), "log_p_positive": float(logs[1][i])}
                    for i, text in enumerate(texts)
                ]  # fmt: skip
        return {"statements": rows}

    def _sample(self, item: Item) -> Rows:
        model = self._model(item.source)
        seeds = [derive_seed(self._spec.seed, "prompt", item.source, i) for i in range(item.first, item.stop)]
        requests = [
            SampleRequest(model.start_ids, self._spec.sentences, self._spec.max_sentence_tokens, seed) for seed in seeds
        ]
        rows: list[dict[str, Any]] = []
        failures: list[Failure] = []
        answers = model.sample(requests)
        for index, request, sampled in zip(range(item.first, item.stop), requests, answers, strict=True):
            answer = self._complete(sampled)
            if isinstance(answer, Failure):
                failures.append(Failure(answer.kind, f"prompt {item.source}/{index}: {answer.detail}"))
                continue
            rows.append(
                {"source": item.source, "prompt": index, "seed": str(request.seed), **_sampled(answer),
                 "sentence_ends": schema.pack("sentence_ends", answer.sentence_ends)}
            )  # fmt: skip
        return {"prompts": rows, "failures": _failure_rows("prompt", failures)}

    def _complete(self, answer: Completion | Failure) -> Completion | Failure:
        """A prompt that has all its sentences, or a failure that says how many it has."""
        wanted = self._spec.sentences
        if isinstance(answer, Completion) and len(answer.sentence_ends) < wanted:
            return Failure("ended-early", f"the text ended after {len(answer.sentence_ends)} of {wanted} sentences")
        return answer

    def _evidence(self, item: Item) -> Rows:
        return self._scores(item, {"negative": self._model("negative"), "target": self._model("target")})

    def _score(self, item: Item) -> Rows:
        models = {name: self._model(name) for name in ("negative", "positive")}
        if item.source == "negative" and self._spec.positive != "residual":
            models["target"] = self._model("target")
        rows = self._scores(item, models)
        if item.source == "negative" and self._spec.positive == "residual":
            # The "evidence" item has already stored what P₋ gives to its own prompts.
            rows["prompt_log_probs"] = [row for row in rows["prompt_log_probs"] if row["component"] != "negative"]
        return rows

    def _scores(self, item: Item, models: Mapping[str, LanguageModel]) -> Rows:
        others = [name for name in models if name != item.source]
        prompts = self._prompts(item)
        if self._spec.kl == "exact":
            return self._exact_scores(item, models, others, prompts)
        log_rows, kl_rows = [], []
        for row in prompts:
            at = {"source": item.source, "prompt": row["prompt"]}
            per_model = {name: self._sentence_log_p(item.source, row, name, model) for name, model in models.items()}
            for name, (values, method) in per_model.items():
                packed = schema.pack("sentence_log_p", values)
                log_rows.append({**at, "component": name, "method": method, "sentence_log_p": packed})
            for q in others:
                values = per_model[item.source][0] - per_model[q][0]
                packed = schema.pack("sentence_kl_nats", values)
                method = f"monte-carlo ({per_model[q][1]})"
                kl_rows.append({**at, "p": item.source, "q": q, "method": method, "sentence_kl_nats": packed})
        return {"prompt_log_probs": log_rows, "prompt_divergences": kl_rows}

    def _exact_scores(
        self, item: Item, models: Mapping[str, LanguageModel], others: Sequence[str], prompts: list[dict[str, Any]]
    ) -> Rows:
        sequences = [tuple(int(t) for t in row["token_ids"]) for row in prompts]
        scores = score_sequences(sequences, models, divergences=[(item.source, q) for q in others])
        log_rows, kl_rows = [], []
        for row, score in zip(prompts, scores, strict=True):
            at = {"source": item.source, "prompt": row["prompt"]}
            spans = sentence_spans(row["sentence_ends"].tolist())
            for name in models:
                packed = schema.pack("sentence_log_p", _by_sentence(score.log_probs[name], spans))
                log_rows.append({**at, "component": name, "method": "token ids", "sentence_log_p": packed})
            for q in others:
                packed = schema.pack("sentence_kl_nats", _by_sentence(score.kl[item.source, q], spans))
                kl_rows.append(
                    {**at, "p": item.source, "q": q, "method": "exact over the vocabulary", "sentence_kl_nats": packed}
                )
        return {"prompt_log_probs": log_rows, "prompt_divergences": kl_rows}

    def _sentence_log_p(
        self, source: str, row: dict[str, Any], name: str, model: LanguageModel
    ) -> tuple[np.ndarray[Any, np.dtype[np.float64]], str]:
        """Log-probability of each sentence: of the sampled ids where the tokenizer is shared, else of the text."""
        spans = sentence_spans(row["sentence_ends"].tolist())
        sampler = self._model(source)
        if sampler.info.tokenizer == model.info.tokenizer:
            ids = tuple(int(t) for t in row["token_ids"])
            (score,) = score_sequences([ids], {name: model})
            return _by_sentence(score.log_probs[name], spans), "token ids"
        prefixes = [sampler.decode(row["token_ids"][:stop].tolist()) for _, stop in spans]
        return np.diff(_log_p_texts(prefixes, model), prepend=0.0), "text under its own tokenizer"

    def _prompts(self, item: Item) -> list[dict[str, Any]]:
        rows = self._store.rows("prompts", source=item.source)
        return [row for row in rows if item.first <= row["prompt"] < item.stop]

    def _judge_prompts(self, item: Item) -> Rows:
        model = self._model(item.source)
        keys, texts = [], []
        for row in self._prompts(item):
            for sentence, (start, stop) in enumerate(sentence_spans(row["sentence_ends"].tolist())):
                keys.append({"source": item.source, "prompt": row["prompt"], "sentence": sentence})
                texts.append(model.decode(row["token_ids"][start:stop].tolist()))
        return self._judge("prompt_scores", keys, texts)

    def _respond(self, item: Item) -> Rows:
        keys, requests = [], []
        for prompt, sentences in self._condition_prompts(item).items():
            for length in range(1 if item.source != "negative" else 0, self._spec.sentences + 1):
                prefix = self._prefix(item.format, [ids for sentence in sentences[:length] for ids in sentence])
                for response in range(self._spec.responses):
                    name = (item.format, item.source, prompt, length, response)
                    seed = derive_seed(self._spec.seed, "response", *name)
                    keys.append(dict(zip(RESPONSE_KEY, name, strict=True)))
                    requests.append(SampleRequest(prefix, 1, self._spec.max_sentence_tokens, seed))
        rows: list[dict[str, Any]] = []
        failures: list[Failure] = []
        answers = self._subjects.target.sample(requests) if requests else []
        for key, request, answer in zip(keys, requests, answers, strict=True):
            if isinstance(answer, Failure):
                subject = "/".join(str(part) for part in key.values())
                failures.append(Failure(answer.kind, f"{subject}: {answer.detail}"))
            else:
                rows.append({**key, "seed": str(request.seed), **_sampled(answer)})
        return {"responses": rows, "failures": _failure_rows("response", failures)}

    def _prefix(self, format_name: str, prompt: Sequence[int]) -> TokenIds:
        target = self._subjects.target
        if format_name == "plain":
            return (*target.start_ids, *prompt)
        before, after = target.chat_frame()
        question = self._subjects.question
        return (*before, *prompt, *target.encode(f"\n\n{question}" if prompt else question), *after)

    def _condition_prompts(self, item: Item) -> dict[int, list[TokenIds]]:
        """Per prompt of the item: its sentences as token ids of the target's tokenizer."""
        source = "positive" if item.source == "positive" else "negative"
        rows = self._store.rows("prompts", source=source)
        sampler, target = self._model(source), self._subjects.target
        sentences: dict[int, list[TokenIds]] = {}
        for row in rows:
            spans = sentence_spans(row["sentence_ends"].tolist())
            parts = [tuple(int(t) for t in row["token_ids"][a:b]) for a, b in spans]
            if sampler.info.tokenizer != target.info.tokenizer:
                parts = [target.encode(sampler.decode(part)) for part in parts]
            sentences[row["prompt"]] = parts
        if item.source == "shuffled":
            sentences = self._shuffled(sentences)
        return {prompt: parts for prompt, parts in sentences.items() if item.first <= prompt < item.stop}

    def _shuffled(self, sentences: dict[int, list[TokenIds]]) -> dict[int, list[TokenIds]]:
        """Exchange the sentences at each position between prompts: same sentences, no coherent author."""
        prompts = list(sentences)
        if len(prompts) < 2:
            raise EstimateError(f"{len(prompts)} complete prompts cannot be shuffled; raise --prompts")
        columns = []
        for position in range(self._spec.sentences):
            rng = np.random.default_rng(derive_seed(self._spec.seed, "shuffle", position))
            order = rng.permutation(len(prompts))
            columns.append([sentences[prompts[i]][position] for i in order])
        return {prompt: [column[i] for column in columns] for i, prompt in enumerate(prompts)}

    def _judge_responses(self, item: Item) -> Rows:
        rows = self._store.rows("responses", format=item.format, condition=item.source)
        rows = [row for row in rows if item.first <= row["prompt"] < item.stop]
        keys = [{name: row[name] for name in RESPONSE_KEY} for row in rows]
        return self._judge("response_scores", keys, [row["text"] for row in rows])

    def _judge(self, table: str, keys: list[dict[str, Any]], texts: list[str]) -> Rows:
        rows: list[dict[str, Any]] = []
        failures: list[Failure] = []
        for key, answer in zip(keys, self._subjects.scorer.score(texts) if texts else [], strict=True):
            if isinstance(answer, Score):
                rows.append({**key, **{name: float(getattr(answer, name)) for name in PROBABILITIES}})
            else:
                subject = "/".join(str(part) for part in key.values())
                failures.append(Failure(answer.kind, f"{subject}: {answer.detail}"))
        return {table: rows, "failures": _failure_rows("score", failures)}


def _sampled(answer: Completion) -> dict[str, Any]:
    return {
        "token_ids": schema.pack("token_ids", answer.token_ids),
        "log_probs": schema.pack("log_probs", answer.log_probs),
        "n_cut": answer.n_cut,
        "text": answer.text,
    }


def _failure_rows(subject: str, failures: Sequence[Failure]) -> list[dict[str, Any]]:
    return [{"position": i, "subject": subject, "kind": f.kind, "detail": f.detail} for i, f in enumerate(failures)]


def _by_sentence(
    values: np.ndarray[Any, np.dtype[np.float64]], spans: Sequence[tuple[int, int]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([float(np.sum(values[start:stop])) for start, stop in spans])


def _log_p_texts(texts: Sequence[str], model: LanguageModel) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([each.log_prob for each in text_log_probs(texts, model)])
