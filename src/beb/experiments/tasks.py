"""What work items are made of: sampling, scoring, answering and judging, rows in from the store, rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from beb.experiments import schema
from beb.experiments.log_ratios import by_sentence, failure_rows, lower_bound_rows, monte_carlo_rows, text_scores
from beb.experiments.plan import Item
from beb.experiments.spec import RunSpec, TextSpec, derive_seed
from beb.experiments.store import Rows, Store
from beb.experiments.subjects import Subjects
from beb.interfaces.language_model import Completion, Failure, LanguageModel, SampleRequest, TokenIds, sentence_spans
from beb.interfaces.responder import Reply, ReplyRequest
from beb.interfaces.scorer import Score, Scorer
from beb.models.scoring import score_sequences
from beb.models.splitting import split_sentences

RESIDUAL_MARGIN_NATS = 10.0
RESPONSE_KEY = ("format", "condition", "prompt", "sentences", "response")
EXACT = "exact over the vocabulary"
PROBABILITIES = ("p_negative", "p_neutral", "p_positive")


class Tasks:
    """The work that all experiments share, with loaded models. Stateless but for what it reads from the store."""

    def __init__(self, spec: RunSpec, subjects: Subjects, store: Store) -> None:
        self.spec = spec
        self.subjects = subjects
        self.store = store
        self._positive: LanguageModel | None = None

    def component_kinds(self) -> dict[str, Callable[[Item], Rows]]:
        """What `beb.experiments.plan.component_items` asks for, by kind."""
        return {
            "gate": self.gate,
            "sample": self.sample,
            "evidence": self.evidence,
            "score": self.score,
            "judge-prompts": self.judge_prompts,
        }

    @property
    def positive(self) -> LanguageModel:
        """P₊; a residual takes the largest α that the scored P₋ prompts allow, less a margin."""
        if self._positive is None:
            log_inverse_alpha = None
            if self.spec.positive == "residual":
                evidence = self._largest_evidence()
                log_inverse_alpha = max(evidence, 0.0) + RESIDUAL_MARGIN_NATS
            self._positive = self.subjects.make_positive(log_inverse_alpha)
        return self._positive

    def _largest_evidence(self) -> float:
        rows = self.store.rows("prompt_log_probs", source="negative")
        by_prompt: dict[int, dict[str, Any]] = {}
        for row in rows:
            by_prompt.setdefault(row["prompt"], {})[row["component"]] = np.cumsum(row["sentence_log_p"])
        return float(max(np.max(p["negative"] - p["target"]) for p in by_prompt.values()))

    def model(self, name: str) -> LanguageModel:
        """ "target", "negative" or "positive"."""
        return {"target": self.subjects.target, "negative": self.subjects.negative}.get(name) or self.positive

    def gate(self, _: Item) -> Rows:
        """The statements of both poles under both components."""
        return gate_rows(self.subjects.statements, self.model("negative"), self.model("positive"))

    def sample(self, item: Item) -> Rows:
        """Prompts of a component, sampled from its own start."""
        return self.sample_prompts(self.model(item.source), item.source, range(item.first, item.stop))

    def sample_prompts(
        self,
        model: LanguageModel,
        source: str,
        indices: Iterable[int],
        *,
        after: Mapping[int, TokenIds] | None = None,
    ) -> Rows:
        """One prompt of a model per index, stored under `source`; each has a seed of its own.

        after: per index, what stands between the model's start and the prompt (nothing by default).
        """
        return sampled_prompts(model, source, indices, self.spec, after=after)

    def evidence(self, item: Item) -> Rows:
        """The prompts of P₋ under P₋ and the target alone."""
        models = {"negative": self.model("negative"), "target": self.model("target")}
        return self.score_under(self.prompt_rows(item), models, source=item.source, own=item.source)

    def score(self, item: Item) -> Rows:
        """The prompts of a component under both components, and those of P₋ under the target too."""
        models = {name: self.model(name) for name in ("negative", "positive")}
        if item.source == "negative" and self.spec.positive != "residual":
            models["target"] = self.model("target")
        rows = self.score_under(self.prompt_rows(item), models, source=item.source, own=item.source)
        if item.source == "negative" and self.spec.positive == "residual":
            # The "evidence" item has already stored what P₋ gives to its own prompts.
            rows["prompt_log_probs"] = [row for row in rows["prompt_log_probs"] if row["component"] != "negative"]
        return rows

    def score_under(
        self, prompts: Sequence[Mapping[str, Any]], models: Mapping[str, LanguageModel], *, source: str, own: str
    ) -> Rows:
        """Log-probabilities of each sentence under every model, and KL(own ‖ other) of each, stored under `source`.

        prompts: rows of the table. models: by the name that the rows get. own: name of the one that wrote the prompts.
        """
        others = [name for name in models if name != own]
        if self.spec.kl == "exact":
            return self._exact_scores(prompts, models, others, source=source, own=own)
        if self.spec.kl == "top-k":
            return lower_bound_rows(prompts, models, source=source, own=own, exact=EXACT)
        return monte_carlo_rows(prompts, models, source=source, own=own)

    def _exact_scores(
        self,
        prompts: Sequence[Mapping[str, Any]],
        models: Mapping[str, LanguageModel],
        others: Sequence[str],
        *,
        source: str,
        own: str,
    ) -> Rows:
        sequences = [tuple(int(t) for t in row["token_ids"]) for row in prompts]
        scores = score_sequences(sequences, models, divergences=[(own, q) for q in others])
        log_rows, kl_rows = [], []
        for row, score in zip(prompts, scores, strict=True):
            at = {"source": source, "prompt": row["prompt"]}
            spans = sentence_spans(row["sentence_ends"].tolist())
            for name in models:
                packed = schema.pack("sentence_log_p", by_sentence(score.log_probs[name], spans))
                log_rows.append({**at, "component": name, "method": "token ids", "sentence_log_p": packed})
            for q in others:
                packed = schema.pack("sentence_kl_nats", by_sentence(score.kl[own, q], spans))
                kl_rows.append({**at, "p": own, "q": q, "method": EXACT, "sentence_kl_nats": packed})
        return {"prompt_log_probs": log_rows, "prompt_divergences": kl_rows}

    def prompt_rows(self, item: Item) -> list[dict[str, Any]]:
        """The stored prompts of the item's source and range."""
        rows = self.store.rows("prompts", source=item.source)
        return [row for row in rows if item.first <= row["prompt"] < item.stop]

    def judge_prompts(self, item: Item) -> Rows:
        """Scores of every sentence of the item's prompts."""
        model = self.model(item.source)
        keys, texts = [], []
        for row in self.prompt_rows(item):
            for sentence, (start, stop) in enumerate(sentence_spans(row["sentence_ends"].tolist())):
                keys.append({"source": item.source, "prompt": row["prompt"], "sentence": sentence})
                texts.append(model.decode(row["token_ids"][start:stop].tolist()))
        return self.judge("prompt_scores", keys, texts)

    def answer(
        self,
        model: LanguageModel,
        keys: Sequence[dict[str, Any]],
        prefixes: Sequence[TokenIds],
    ) -> Rows:
        """One sentence of `model` after each prefix. keys: values of RESPONSE_KEY; they name its random stream too."""
        return answered(model, keys, prefixes, self.spec)

    def judge_responses(self, format_name: str, condition: str, prompts: range) -> Rows:
        """Scores of the stored responses of one format and condition to the prompts in the range."""
        rows = self.store.rows("responses", format=format_name, condition=condition)
        rows = [row for row in rows if row["prompt"] in prompts]
        keys = [{name: row[name] for name in RESPONSE_KEY} for row in rows]
        return self.judge("response_scores", keys, [row["text"] for row in rows])

    def prefix(self, format_name: str, prompt: Sequence[int], *, system: str | None = None) -> TokenIds:
        """What the target reads before its answer: the start and the prompt, or a chat turn that ends in the question.

        prompt: token ids of the target's tokenizer. system: text of a system prompt, for the chat format only.
        """
        target = self.subjects.target
        if format_name == "plain":
            return (*target.start_ids, *prompt)
        return chat_question(target, self.subjects.question, prompt, system=system)

    def sentences_of(self, source: str, *, reader: str = "target") -> dict[int, list[TokenIds]]:
        """Per stored prompt of a component: its sentences as token ids of the tokenizer of `reader`, see `model`."""
        sampler, reading = self.model(source), self.model(reader)
        sentences: dict[int, list[TokenIds]] = {}
        for row in self.store.rows("prompts", source=source):
            spans = sentence_spans(row["sentence_ends"].tolist())
            parts = [tuple(int(t) for t in row["token_ids"][a:b]) for a, b in spans]
            if sampler.info.tokenizer != reading.info.tokenizer:
                parts = [reading.encode(sampler.decode(part)) for part in parts]
            sentences[row["prompt"]] = parts
        return sentences

    def judge(self, table: str, keys: Sequence[dict[str, Any]], texts: Sequence[str]) -> Rows:
        """Scores of texts as rows of `table`; a text that could not be scored is a failure."""
        return judged(self.subjects.scorer, table, keys, texts)


def gate_rows(
    statements: Mapping[str, Mapping[str, Sequence[str]]], negative: LanguageModel, positive: LanguageModel
) -> Rows:
    """Statements by split and pole under both components; one that could not be scored is a failure."""
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for split, poles in statements.items():
        for pole, texts in poles.items():
            scores = zip(texts, text_scores(texts, negative), text_scores(texts, positive), strict=True)
            for i, (text, p, q) in enumerate(scores):
                if isinstance(p, Failure) or isinstance(q, Failure):
                    failed = p if isinstance(p, Failure) else q
                    assert isinstance(failed, Failure)
                    failures.append(Failure(failed.kind, f"statement {split}/{pole}/{i}: {failed.detail}"))
                    continue
                rows.append(
                    {"split": split, "pole": pole, "position": i, "text": text, "log_p_negative": p,
                     "log_p_positive": q}
                )  # fmt: skip
    return {"statements": rows, "failures": failure_rows("gate", failures)}


def sampled_prompts(
    model: LanguageModel,
    source: str,
    indices: Iterable[int],
    spec: TextSpec,
    *,
    after: Mapping[int, TokenIds] | None = None,
    whole: bool = True,
) -> Rows:
    """One prompt of a model per index, stored under `source`; each has a seed of its own.

    after: per index, what stands between the model's start and the prompt (nothing by default). whole: a text that
    ends by itself before it has all its sentences is a failure; if False it is kept as it is.
    """
    requests = prompt_requests(model, source, indices, spec, after=after)
    answers = model.sample(list(requests.values())) if requests else []
    return stored_prompts(requests, answers, spec, whole=whole)


def prompt_requests(
    model: LanguageModel,
    source: str,
    indices: Iterable[int],
    spec: TextSpec,
    *,
    after: Mapping[int, TokenIds] | None = None,
) -> dict[tuple[str, int], SampleRequest]:
    """What `sampled_prompts` asks of a model, by source and index."""
    return {
        (source, i): SampleRequest(
            (*model.start_ids, *(after[i] if after else ())),
            spec.sentences,
            spec.max_sentence_tokens,
            derive_seed(spec.seed, "prompt", source, i),
        )
        for i in indices
    }


def stored_prompts(
    requests: Mapping[tuple[str, int], SampleRequest],
    answers: Sequence[Completion | Failure],
    spec: TextSpec,
    *,
    whole: bool = True,
) -> Rows:
    """Rows of prompts from what `prompt_requests` asked for, and the answers in its order."""
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for ((source, index), request), sampled in zip(requests.items(), answers, strict=True):
        answer = _complete(sampled, spec.sentences if whole else 1)
        if isinstance(answer, Failure):
            failures.append(Failure(answer.kind, f"prompt {source}/{index}: {answer.detail}"))
            continue
        rows.append(
            {"source": source, "prompt": index, "seed": str(request.seed), **sampled_row(answer),
             "sentence_ends": schema.pack("sentence_ends", answer.sentence_ends)}
        )  # fmt: skip
    return {"prompts": rows, "failures": failure_rows("prompt", failures)}


def _complete(answer: Completion | Failure, wanted: int) -> Completion | Failure:
    """A prompt that has the sentences wanted, or a failure that says how many it has."""
    if isinstance(answer, Completion) and len(answer.sentence_ends) < wanted:
        return Failure("ended-early", f"the text ended after {len(answer.sentence_ends)} of {wanted} sentences")
    return answer


def answered(
    model: LanguageModel, keys: Sequence[dict[str, Any]], prefixes: Sequence[TokenIds], spec: TextSpec
) -> Rows:
    """One sentence of `model` after each prefix. keys: values of RESPONSE_KEY; they name its random stream too."""
    seeds = [derive_seed(spec.seed, "response", *(key[name] for name in RESPONSE_KEY)) for key in keys]
    requests = [
        SampleRequest(prefix, 1, spec.max_sentence_tokens, seed) for prefix, seed in zip(prefixes, seeds, strict=True)
    ]
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for key, request, answer in zip(keys, requests, model.sample(requests) if requests else [], strict=True):
        if isinstance(answer, Failure):
            subject = "/".join(str(key[name]) for name in RESPONSE_KEY)
            failures.append(Failure(answer.kind, f"{subject}: {answer.detail}"))
        else:
            rows.append({**key, "seed": str(request.seed), **sampled_row(answer)})
    return {"responses": rows, "failures": failure_rows("response", failures)}


def replied_rows(
    keys: Sequence[dict[str, Any]],
    requests: Sequence[ReplyRequest],
    answers: Sequence[Reply | Failure],
    reader: LanguageModel,
    *,
    most: int,
) -> Rows:
    """The first sentence of each reply of a chat API, in the tokens of `reader`; cut at `most` of them.

    keys: values of RESPONSE_KEY. A reply has no log-probabilities.
    """
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for key, request, answer in zip(keys, requests, answers, strict=True):
        if isinstance(answer, Failure):
            subject = "/".join(str(key[name]) for name in RESPONSE_KEY)
            failures.append(Failure(answer.kind, f"{subject}: {answer.detail}"))
            continue
        ids = reader.encode(answer.text)
        end = (*split_sentences(reader, ids), 0)[0]
        cut = end > most or (answer.cut and end == len(ids))
        first = Completion(ids[: min(end, most)], (), (), int(cut), reader.decode(ids[: min(end, most)]))
        rows.append({**key, "seed": str(request.seed), **sampled_row(first)})
    return {"responses": rows, "failures": failure_rows("response", failures)}


def judged(scorer: Scorer, table: str, keys: Sequence[dict[str, Any]], texts: Sequence[str]) -> Rows:
    """Scores of texts as rows of `table`; a text that could not be scored is a failure."""
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for key, answer in zip(keys, scorer.score(texts) if texts else [], strict=True):
        if isinstance(answer, Score):
            rows.append({**key, **{name: float(getattr(answer, name)) for name in PROBABILITIES}})
        else:
            subject = "/".join(str(part) for part in key.values())
            failures.append(Failure(answer.kind, f"{subject}: {answer.detail}"))
    return {table: rows, "failures": failure_rows("score", failures)}


def chat_question(
    target: LanguageModel, question: str, prompt: Sequence[int], *, system: str | None = None
) -> TokenIds:
    """A chat whose user turn is a prompt and a question, up to where the reply begins. prompt: token ids, or none."""
    before, after = target.chat_frame(system)
    return (*before, *prompt, *target.encode(f"\n\n{question}" if prompt else question), *after)


def sampled_row(answer: Completion) -> dict[str, Any]:
    """Columns of a sampled text."""
    return {
        "token_ids": schema.pack("token_ids", answer.token_ids),
        "log_probs": schema.pack("log_probs", answer.log_probs),
        "n_cut": answer.n_cut,
        "text": answer.text,
    }
