"""How a run was made and what it said, from its store: specification, models, times, failures, sampled texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beb.core.estimate import Band, Estimate
from beb.experiments.store import Store
from beb.report.inert import excerpt, one_line
from beb.report.rounding import count_text, seconds_text
from beb.report.wording import CONDITIONS, FORMATS

SAMPLED_PROMPTS = 2
SHOWN_FAILURES = 10
_WORK = {
    "gate": "component gate: scoring held-out statements",
    "sample": "sampling prompts",
    "evidence": "evidence of the prompts",
    "score-texts": "log-probabilities of the unprompted texts",
    "trace": "log-probabilities of the given text",
    "score": "log-probabilities and divergences of the prompts",
    "judge-prompts": "scoring the behavior of the prompts",
    "respond": "sampling responses",
    "judge-responses": "scoring the behavior of the responses",
    "say-user": "sampling user turns",
    "say-target": "sampling replies",
    "score-turns": "log-probabilities and divergences of the conversations",
    "judge-turns": "scoring the behavior of the turns",
    "texts": "log-probabilities of the given texts",
    "sample-after": "sampling prompts after a negative sentence",
    "score-after": "scoring those prompts",
    "represent": "hidden states of the statements",
    "classify": "linear classifiers of every layer",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled text, already inert. label: where it comes from. behavior: its score B as text, or ""."""

    label: str
    behavior: str
    text: str


@dataclass(frozen=True, slots=True)
class SampleGroup:
    """Sampled texts under one heading."""

    title: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Rows of text for "How it was measured", each a tuple of cells."""

    finished: str
    specification: tuple[tuple[str, str], ...]
    subjects: tuple[tuple[str, str, str, str, str], ...]
    versions: tuple[tuple[str, str], ...]
    counts: tuple[tuple[str, str], ...]
    failures: tuple[tuple[str, str], ...]
    failure_details: tuple[str, ...]
    timings: tuple[tuple[str, str, str], ...]
    methods: tuple[tuple[str, str], ...]


def run_record(
    store: Store | None,
    meta: Mapping[str, Any],
    *,
    counts: Mapping[str, int],
    failures: Mapping[str, int],
    methods: Mapping[str, Estimate | Band],
) -> Record:
    """Everything about a run of any kind that is not a result. methods: the estimates whose computation is named.

    store: of the run, for times and failed requests; None where the page is about several runs.
    """
    return Record(
        finished=_when(max((row["finished"] for row in store.rows("timings")), default="")) if store else "",
        specification=tuple((key, _plain(value)) for key, value in meta.get("spec", {}).items()),
        subjects=tuple(_subject(role, identity) for role, identity in meta.get("fingerprints", {}).items()),
        versions=tuple((name, _plain(version)) for name, version in meta.get("versions", {}).items()),
        counts=tuple((name, f"{count:,}") for name, count in counts.items()),
        failures=tuple((one_line(kind), f"{count:,}") for kind, count in failures.items()),
        failure_details=tuple(
            one_line(f"{row['subject']}, {row['kind']}: {row['detail']}", 300)
            for row in (store.rows("failures")[:SHOWN_FAILURES] if store else ())
        ),
        timings=_timings(store) if store else (),
        methods=tuple((name, one_line(each.method, 400)) for name, each in methods.items()),
    )


def sampled_texts(store: Store) -> tuple[SampleGroup, ...]:
    """The first prompts of each component and the responses to the first one: by number, not by what they say."""
    groups = []
    for source in ("negative", "positive"):
        samples = tuple(
            Sample(f"prompt {index + 1}", _mean_score(store, source, index), excerpt(row["text"]))
            for index in range(SAMPLED_PROMPTS)
            for row in store.rows("prompts", source=source, prompt=index)
        )
        groups.append(SampleGroup(f"Prompts sampled from {'P₋' if source == 'negative' else 'P₊'}", samples))
    rows = store.rows("responses", prompt=0, response=0)
    keys = ("format", "condition", "prompt", "sentences", "response")
    scores = {
        tuple(row[key] for key in keys): _score_text(row) for row in store.rows("response_scores", prompt=0, response=0)
    }
    for name, condition in sorted({(row["format"], row["condition"]) for row in rows}, key=_reading_order):
        chosen = [row for row in rows if (row["format"], row["condition"]) == (name, condition)]
        chosen = _spread(sorted(chosen, key=lambda row: int(row["sentences"])))
        samples = tuple(
            Sample(
                f"after {count_text(row['sentences'], 'sentence')}",
                scores.get(tuple(row[key] for key in keys), ""),
                excerpt(row["text"]),
            )
            for row in chosen
        )
        what = CONDITIONS.get(condition, one_line(condition))
        groups.append(SampleGroup(f"Responses, {FORMATS.get(name, one_line(name))}, {what}", samples))
    return tuple(group for group in groups if group.samples)


def _reading_order(key: tuple[str, str]) -> tuple[int, int, str, str]:
    name, condition = key
    known = list(CONDITIONS)
    return (
        list(FORMATS).index(name) if name in FORMATS else len(FORMATS),
        known.index(condition) if condition in known else len(known),
        name,
        condition,
    )


def _spread(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """First, middle and last."""
    return rows if len(rows) <= 3 else [rows[0], rows[len(rows) // 2], rows[-1]]


def _mean_score(store: Store, source: str, prompt: int) -> str:
    rows = store.rows("prompt_scores", source=source, prompt=prompt)
    if not rows:
        return ""
    mean = sum(row["p_positive"] - row["p_negative"] for row in rows) / len(rows)
    return f"mean B = {mean:+.2f}".replace("-", "−")


def _score_text(row: Mapping[str, Any]) -> str:
    return f"B = {row['p_positive'] - row['p_negative']:+.2f}".replace("-", "−")


def _timings(store: Store) -> tuple[tuple[str, str, str], ...]:
    kinds = {row["item"]: row["kind"] for row in store.rows("items")}
    seconds: dict[str, list[float]] = {}
    for row in store.rows("timings"):
        seconds.setdefault(kinds.get(row["item"], "other"), []).append(float(row["seconds"]))
    rows = [
        (_WORK.get(kind, one_line(kind)), f"{len(times):,}", seconds_text(sum(times)))
        for kind, times in seconds.items()
    ]
    total = [each for times in seconds.values() for each in times]
    return (*rows, ("all work items", f"{len(total):,}", seconds_text(sum(total)))) if rows else ()


def _subject(role: str, identity: Any) -> tuple[str, str, str, str, str]:
    told = identity if isinstance(identity, Mapping) else {"name": identity}
    name, kind = _plain(told.get("name", "")), _plain(told.get("kind", told.get("source", "")))
    context = "; ".join(_plain(told[key]) for key in ("context", "dtype") if told.get(key))
    return role, name, kind, context, _plain(told.get("fingerprint", ""))


def _when(finished: str) -> str:
    """The stored time for people: "2026-11-23 15:57 UTC"."""
    return f"{finished[:10]} {finished[11:16]} UTC" if finished.endswith("+00:00") else one_line(finished, 40)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{one_line(str(key), 60)}: {_plain(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        between = " · " if any(isinstance(each, Mapping) for each in value) else ", "
        return one_line(between.join(_plain(each) for each in value), 600)
    if isinstance(value, float):
        return f"{value:.6g}"
    return one_line(str(value), 300)
