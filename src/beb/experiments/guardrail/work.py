"""The guardrail experiment's work items: rows in from the store, rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beb.experiments import schema
from beb.experiments.guardrail.systems import NONE, SEPARATOR, System
from beb.experiments.log_ratios import by_sentence
from beb.experiments.plan import (
    PROMPTS_PER_RESPONSE,
    PROMPTS_PER_SAMPLE,
    PROMPTS_PER_SCORE,
    TOKENS_PER_SENTENCE,
    Item,
    chunks,
    component_items,
    prompt_tokens,
)
from beb.experiments.spec import RunSpec
from beb.experiments.store import Rows, Store
from beb.experiments.subjects import Subjects
from beb.experiments.tasks import RESPONSE_KEY, Tasks
from beb.interfaces.language_model import LanguageModel, TokenIds, sentence_spans
from beb.interfaces.scorer import CLASSES, Score
from beb.models.after_prefix import AfterPrefix
from beb.models.scoring import score_sequences

AFTER_NEGATIVE = "negative after a prefix"  # prompts from P₋ after a neutral and a negative sentence (Definition 3)
AFTER_GUARDRAIL = "after a guardrail"  # negative sentences right after it (Definition 6, where Theorem 2 needs it)
SENTENCES_AFTER_TEXT = 16  # that are tried after a given text
TRIES_AFTER_SAMPLED = 4  # sentences that are tried after one sampled prefix, until one is likelier under P₋
NEGATIVE_CLASS = CLASSES.index("negative")
COMPONENTS = ("negative", "positive")


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to put the prompts to the target: a guardrail, or none, in one format."""

    format: str
    system: System | None

    @property
    def name(self) -> str:
        """The condition under which its responses are stored."""
        return NONE if self.system is None else self.system.name


def arms_of(meta: Mapping[str, Any]) -> list[Arm]:
    """Every arm of a run from its stored meta: each format's baseline, then its guardrails."""
    arms = []
    for format_name in meta["formats"]:
        arms.append(Arm(format_name, None))
        arms += [
            Arm(format_name, System(**entry["system"]))
            for entry in meta["guardrails"]
            if entry["format"] == format_name
        ]
    return arms


def plan_guardrail(spec: RunSpec, responses: int, arms: Sequence[Arm]) -> list[Item]:
    """All items in order; each needs only rows of items before it."""
    items = component_items(spec)
    n, length = spec.prompts, prompt_tokens(spec)
    texts = [arm.system.text for arm in arms if arm.system is not None and arm.system.text]
    if texts:
        items.append(Item("texts", sum(len(text) for text in texts) / 2))
    context = 3 * TOKENS_PER_SENTENCE
    items += chunks(Item("sample-after", length + context, AFTER_NEGATIVE, stop=n), PROMPTS_PER_SAMPLE)
    between = sum(2 * (TOKENS_PER_SENTENCE + _expected_tokens(arm.system)) for arm in arms if arm.system is not None)
    items += chunks(Item("score-after", 2 * length + 4 * context + between, AFTER_NEGATIVE, stop=n), PROMPTS_PER_SCORE)
    for arm in arms:
        before = _expected_tokens(arm.system)
        tokens = 1.3 * responses * length + length + before
        items += chunks(Item("respond", tokens, arm.name, arm.format, stop=n), PROMPTS_PER_RESPONSE)
        judged = 0.4 * responses * length
        items += chunks(Item("judge-responses", judged, arm.name, arm.format, stop=n), PROMPTS_PER_RESPONSE)
    return items


def _expected_tokens(system: System | None) -> float:
    if system is None:
        return 0.0
    return len(system.text) / 4 if system.text else float(system.sentences * TOKENS_PER_SENTENCE)


class GuardrailWorker:
    """Carries out the items of `plan_guardrail`. neutral: texts that show neither pole, for Definition 3."""

    def __init__(self, responses: int, subjects: Subjects, neutral: Sequence[str], tasks: Tasks, store: Store) -> None:
        self._responses = responses
        self._subjects = subjects
        self._neutral = neutral
        self._tasks = tasks
        self._store = store
        self._arms = {(arm.format, arm.name): arm for arm in arms_of(store.meta())}
        self._kinds: Mapping[str, Callable[[Item], Rows]] = {
            **tasks.component_kinds(),
            "texts": self._texts,
            "sample-after": self._sample_after,
            "score-after": self._score_after,
            "respond": self._respond,
            "judge-responses": lambda item: tasks.judge_responses(
                item.variant, item.source, range(item.first, item.stop)
            ),
        }

    def run(self, item: Item) -> Rows:
        """The rows of one item."""
        return self._kinds[item.kind](item)

    def _texts(self, _: Item) -> Rows:
        """Every guardrail text as a text under both components."""
        return {"given_texts": self._given({system.name: system.text for system in self._systems() if system.text})}

    def _systems(self) -> list[System]:
        return [arm.system for arm in self._arms.values() if arm.system is not None]

    def _given(self, texts: Mapping[str, str], before: str = "") -> list[dict[str, Any]]:
        """Rows of texts by name under both components; before: what each of them stands after."""
        rows = []
        for component in COMPONENTS if texts else ():
            model = self._tasks.model(component)
            reader = AfterPrefix(model, model.encode(before + SEPARATOR)) if before else model
            ids = {name: model.encode(text) for name, text in texts.items()}
            scores = score_sequences(list(ids.values()), {component: reader})
            for (name, text), score in zip(texts.items(), scores, strict=True):
                log_p = by_sentence(score.log_probs[component], spans_of(model, ids[name]))
                rows.append(
                    {"name": name, "component": component, "text": text,
                     "method": f"token ids of the text{' after the guardrail' if before else ''}",
                     "sentence_log_p": schema.pack("sentence_log_p", log_p)}
                )  # fmt: skip
        return rows

    def _sample_after(self, item: Item) -> Rows:
        """Prompts from P₋ that go on after a neutral sentence and a negative one, each prompt after its own."""
        model = self._tasks.model("negative")
        given = self._prefix_texts(range(item.first, item.stop))
        after = {i: model.encode(text) for i, text in given.items()}
        rows = dict(self._tasks.sample_prompts(model, item.source, given, after=after))
        rows["given_texts"] = self._given({f"{item.source}/{i}": text for i, text in given.items()})
        return rows

    def _score_after(self, item: Item) -> Rows:
        """Those prompts under both components, each after what it was sampled after; and what follows a guardrail."""
        prompts = {row["prompt"]: row for row in self._tasks.prompt_rows(item)}
        log_rows, kl_rows = [], []
        for i, text in self._prefix_texts(prompts).items():
            models: dict[str, LanguageModel] = {}
            for component in COMPONENTS:
                inner = self._tasks.model(component)
                models[component] = AfterPrefix(inner, inner.encode(text))
            found = self._tasks.score_under([prompts[i]], models, source=item.source, own="negative")
            log_rows += found["prompt_log_probs"]
            kl_rows += found["prompt_divergences"]
        negative, indices = self._first_negative(), range(item.first, item.stop)
        after = [row for system in self._systems() for row in self._after_guardrail(system, negative, indices)]
        return {"prompt_log_probs": log_rows, "prompt_divergences": kl_rows, "given_texts": after}

    def _after_guardrail(self, system: System, negative: Mapping[int, str], prompts: range) -> Iterator[dict[str, Any]]:
        """Negative sentences after a guardrail: one likelier under P₋ has to exist there (Definition 6).

        After a given text: the first negative sentence of each of the first prompts from P₋. After the prefix that was
        sampled for a prompt: that prompt's own, and while it is not likelier under P₋, those of the next prompts.
        negative: these sentences, by prompt.
        """
        if system.text:
            chosen = {i: text for i, text in negative.items() if i in prompts and i < SENTENCES_AFTER_TEXT}
            yield from self._given({after_name(system, "text", i): text for i, text in chosen.items()}, system.text)
            return
        model = self._tasks.model("positive")
        for row in self._store.rows("prompts", source="positive"):
            if (prefix := row["prompt"]) not in prompts or len(row["sentence_ends"]) < system.sentences:
                continue
            before = model.decode(row["token_ids"][: row["sentence_ends"][system.sentences - 1]].tolist()).strip()
            in_turn = [*(i for i in negative if i >= prefix), *(i for i in negative if i < prefix)]
            for i in in_turn[:TRIES_AFTER_SAMPLED]:
                found = self._given({after_name(system, str(prefix), i): negative[i]}, before)
                yield from found
                if log_ratio_of(found) > 0:
                    break

    def _prefix_texts(self, indices: Sequence[int] | range | Mapping[int, Any]) -> dict[int, str]:
        """Per index a neutral text and the first sentence of that prompt from P₋ that is scored negative.

        A prompt without such a sentence has no entry.
        """
        return {
            i: f"{self._neutral[i % len(self._neutral)]} {sentence}"
            for i, sentence in self._first_negative().items()
            if i in indices
        }

    def _first_negative(self) -> dict[int, str]:
        """Per prompt from P₋ its first sentence that is scored negative; a prompt without one has no entry."""
        model = self._tasks.model("negative")
        first: dict[int, int] = {}
        for row in self._store.rows("prompt_scores", source="negative"):
            score = Score(row["p_negative"], row["p_neutral"], row["p_positive"])
            if score.predicted == NEGATIVE_CLASS:
                first[row["prompt"]] = min(row["sentence"], first.get(row["prompt"], row["sentence"]))
        texts = {}
        for row in self._store.rows("prompts", source="negative"):
            if row["prompt"] in first:
                start, stop = sentence_spans(row["sentence_ends"].tolist())[first[row["prompt"]]]
                texts[row["prompt"]] = model.decode(row["token_ids"][start:stop].tolist()).strip()
        return texts

    def _respond(self, item: Item) -> Rows:
        arm = self._arms[item.variant, item.source]
        keys, prefixes = [], []
        sampled = self._tasks.sentences_of("positive") if arm.system is not None and arm.system.sentences else {}
        for prompt, sentences in self._tasks.sentences_of("negative").items():
            if not item.first <= prompt < item.stop:
                continue
            if arm.system is not None and arm.system.sentences and prompt not in sampled:
                continue  # its prefix failed, which is counted with the prompts from P₊
            before = self._before(arm.system, sampled.get(prompt, []))
            for length in range(len(sentences) + 1):
                ids = [token for sentence in sentences[:length] for token in sentence]
                if arm.format == "chat":
                    prefix = self._tasks.prefix("chat", ids, system=arm.system.text if arm.system else None)
                else:
                    prefix = self._tasks.prefix("plain", [*before, *ids])
                for response in range(self._responses):
                    name = (item.variant, item.source, prompt, length, response)
                    keys.append(dict(zip(RESPONSE_KEY, name, strict=True)))
                    prefixes.append(prefix)
        return self._tasks.answer(self._tasks.model("target"), keys, prefixes)

    def _before(self, system: System | None, sentences: Sequence[TokenIds]) -> TokenIds:
        """What stands before the prompt in the plain format."""
        if system is None:
            return ()
        target = self._subjects.target
        if system.text:
            return target.encode(system.text + SEPARATOR)
        ids = (token for sentence in sentences[: system.sentences] for token in sentence)
        return (*ids, *target.encode(SEPARATOR))


def after_name(system: System, prefix: str, prompt: int) -> str:
    """Names the rows of a prompt's first negative sentence after a guardrail. prefix: "text", or which prefix."""
    return f"{AFTER_GUARDRAIL}/{system.name}/{prefix}/{prompt}"


def log_ratio_of(rows: Sequence[Mapping[str, Any]]) -> float:
    """log P₋/P₊ of one given text from its two rows, as packed for the store, nats."""
    log_p = {row["component"]: float(schema.unpack("sentence_log_p", row["sentence_log_p"]).sum()) for row in rows}
    return log_p["negative"] - log_p["positive"]


def spans_of(model: LanguageModel, ids: TokenIds) -> list[tuple[int, int]]:
    """(start, stop) of each sentence of a given text; what stands after the last end is one more."""
    ends = [i + 1 for i, token in enumerate(ids) if model.ends_sentence(token)]
    if not ends or ends[-1] < len(ids):
        ends.append(len(ids))
    return sentence_spans(ends)
