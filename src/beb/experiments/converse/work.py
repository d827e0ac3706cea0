"""A conversation run's work items: rows in from the store, rows out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from beb.experiments import schema
from beb.experiments.converse.dialogue import Spoken, chat_prefix, first_sentence, plain_prefix, running, spoken
from beb.experiments.converse.plan import ARMS, SPEAKERS, ConverseSpec, turn_of
from beb.experiments.log_ratios import by_sentence, failure_rows
from beb.experiments.plan import Item
from beb.experiments.spec import derive_seed
from beb.experiments.store import Rows, Store
from beb.experiments.subjects import Subjects
from beb.experiments.tasks import EXACT, Tasks, sampled_row
from beb.interfaces.language_model import Completion, Failure, SampleRequest, TokenIds, sentence_spans
from beb.models.chat_turns import chat_turns
from beb.models.scoring import SequenceScores, score_sequences

ENDED = "ended-early"
Dialogues = dict[int, dict[tuple[int, str], Spoken]]


class ConverseWorker:
    """Carries out the items of `beb.experiments.converse.plan.plan_converse`."""

    def __init__(self, spec: ConverseSpec, subjects: Subjects, store: Store) -> None:
        self._spec = spec
        self._store = store
        self._tasks = tasks = Tasks(spec, subjects, store)
        self._target = subjects.target
        self._frame = chat_turns(subjects.target) if spec.format == "chat" else None
        self._kinds: Mapping[str, Callable[[Item], Rows]] = {
            **tasks.component_kinds(),
            "say-user": self._say_user,
            "say-target": self._say_target,
            "score-turns": self._score,
            "judge-turns": self._judge,
        }

    def run(self, item: Item) -> Rows:
        """The rows of one item."""
        return self._kinds[item.kind](item)

    def _say_user(self, item: Item) -> Rows:
        """The next user turn of each conversation, from the arm's component after the conversation as running text."""
        turn, model = turn_of(item), self._tasks.model(item.source)
        prefixes = {
            conversation: plain_prefix(turns, model)
            for conversation, turns in self._histories(item, 2 * (turn - 1)).items()
        }
        return self._say(item, turn, "user", prefixes)

    def _say_target(self, item: Item) -> Rows:
        """The target's reply to each conversation, which ends in a user turn."""
        turn = turn_of(item)
        prefixes = {
            conversation: plain_prefix(turns, self._target) if self._frame is None else chat_prefix(turns, self._frame)
            for conversation, turns in self._histories(item, 2 * turn - 1).items()
        }
        return self._say(item, turn, "target", prefixes)

    def _say(self, item: Item, turn: int, speaker: str, prefixes: Mapping[int, TokenIds]) -> Rows:
        spec, is_user = self._spec, speaker == "user"
        model = self._tasks.model(item.source) if is_user else self._target
        wanted = spec.turn_sentences if is_user else spec.reply_sentences
        requests = [
            SampleRequest(
                prefix, wanted, spec.max_sentence_tokens,
                derive_seed(spec.seed, "turn", item.source, conversation, turn, speaker),
            )
            for conversation, prefix in prefixes.items()
        ]  # fmt: skip
        rows: list[dict[str, Any]] = []
        failures: list[Failure] = []
        answers = model.sample(requests) if requests else []
        for conversation, request, answer in zip(prefixes, requests, answers, strict=True):
            checked = _whole_turn(answer, wanted, model) if is_user else answer
            if isinstance(checked, Failure):
                subject = f"{item.source}/{conversation}/turn {turn}/{speaker}"
                failures.append(Failure(checked.kind, f"{subject}: {checked.detail}"))
                continue
            rows.append(
                {"arm": item.source, "conversation": conversation, "turn": turn, "speaker": speaker,
                 "seed": str(request.seed), **sampled_row(checked),
                 "sentence_ends": schema.pack("sentence_ends", checked.sentence_ends)}
            )  # fmt: skip
        return {"turns": rows, "failures": failure_rows(f"{speaker} turn", failures)}

    def _dialogues(self, item: Item) -> Dialogues:
        """What was said in the item's conversations, by turn and speaker."""
        found: Dialogues = {}
        for row in self._store.rows("turns", arm=item.source):
            if item.first <= row["conversation"] < item.stop:
                said = spoken(row["token_ids"], row["sentence_ends"], self._target)
                found.setdefault(row["conversation"], {})[row["turn"], row["speaker"]] = said
        return found

    def _histories(self, item: Item, n_said: int) -> dict[int, list[Spoken]]:
        """Per conversation that got so far: its first `n_said` user turns and replies, alternating."""
        if n_said == 0:
            return {conversation: [] for conversation in range(item.first, item.stop)}
        order = [(1 + i // 2, SPEAKERS[i % 2]) for i in range(n_said)]
        return {
            conversation: [said[key] for key in order]
            for conversation, said in self._dialogues(item).items()
            if all(key in said for key in order)
        }

    def _score(self, item: Item) -> Rows:
        """Every turn of the complete conversations under both components, from one pass over the running text."""
        histories = self._histories(item, 2 * self._spec.turns)
        models = {str(name): self._tasks.model(name) for name in ARMS}
        texts = [running(turns, models[item.source]) for turns in histories.values()]
        own, other = item.source, next(name for name in models if name != item.source)
        exact = self._spec.kl == "exact"
        scores = score_sequences(
            [text.token_ids for text in texts], models, divergences=[(own, other)] if exact else ()
        )
        log_rows: list[dict[str, Any]] = []
        kl_rows: list[dict[str, Any]] = []
        for (conversation, turns), text, score in zip(histories.items(), texts, scores, strict=True):
            for i, (start, said) in enumerate(zip(text.starts, turns, strict=True)):
                at = {"arm": own, "conversation": conversation, "turn": 1 + i // 2, "speaker": SPEAKERS[i % 2]}
                spans = [(start + a, start + b) for a, b in sentence_spans(said.ends)]
                log_rows += _log_rows(at, score, spans)
                if SPEAKERS[i % 2] == "user":
                    kl_rows.append(_kl_row(at, score, spans, own=own, other=other, exact=exact))
        return {"turn_log_probs": log_rows, "turn_divergences": kl_rows}

    def _judge(self, item: Item) -> Rows:
        """B of the first sentence of every turn, user turns and replies alike."""
        keys, texts = [], []
        for conversation, said in self._dialogues(item).items():
            for (turn, speaker), words in said.items():
                keys.append({"arm": item.source, "conversation": conversation, "turn": turn, "speaker": speaker})
                texts.append(first_sentence(words, self._target))
        return self._tasks.judge("turn_scores", keys, texts)


def _whole_turn(answer: Completion | Failure, wanted: int, model: Any) -> Completion | Failure:
    """A user turn with all its sentences that lets the conversation go on, or a failure that says what is missing."""
    if isinstance(answer, Failure):
        return answer
    said = spoken(answer.token_ids, answer.sentence_ends, model)
    if len(said.ends) < wanted or len(said.token_ids) < len(answer.token_ids):
        return Failure(ENDED, f"the component ended its text after {len(said.ends)} of {wanted} sentences")
    return answer


def _log_rows(at: Mapping[str, Any], score: SequenceScores, spans: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    rows = []
    for name, values in score.log_probs.items():
        packed = schema.pack("sentence_log_p", by_sentence(values, spans))
        rows.append({**at, "component": name, "method": "token ids", "sentence_log_p": packed})
    return rows


def _kl_row(
    at: Mapping[str, Any],
    score: SequenceScores,
    spans: Sequence[tuple[int, int]],
    *,
    own: str,
    other: str,
    exact: bool,
) -> dict[str, Any]:
    if exact:
        values, method = by_sentence(score.kl[own, other], spans), EXACT
    else:
        values = by_sentence(score.log_probs[own] - score.log_probs[other], spans)
        method = "monte-carlo (token ids)"
    return {**at, "p": own, "q": other, "method": method, "sentence_kl_nats": schema.pack("sentence_kl_nats", values)}
