"""`beb personas trace`: how the posterior weights of the personas move along a given text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beb.core.estimate import Estimate
from beb.core.personas import persona_weights
from beb.errors import BadSpec, ContextTooShort, EstimateError
from beb.estimate.weights import weight_intervals
from beb.experiments import schema
from beb.experiments.execute import Progress
from beb.experiments.experiment import Experiment, default_folder, refuse_unfinished, run_experiment
from beb.experiments.log_ratios import by_sentence
from beb.experiments.notes import model_notes
from beb.experiments.personas.arrays import Floats, fitted, rest_log_weights, text_arrays
from beb.experiments.personas.catalog import TARGET, Persona
from beb.experiments.personas.experiment import PERSONAS
from beb.experiments.personas.record import TracedPersona, TraceRecord
from beb.experiments.personas.spec import PersonasSpec, TraceSpec, Weight
from beb.experiments.personas.subjects import (
    PersonaSubjects,
    load_persona_subjects,
    persona_names,
    persona_role,
)
from beb.experiments.plan import TOKENS_PER_SENTENCE, Item
from beb.experiments.spec import make_spec
from beb.experiments.store import Rows, Store
from beb.interfaces.language_model import sentence_spans
from beb.models.hardware import Hardware
from beb.models.scoring import score_sequences
from beb.models.splitting import split_sentences

EQUAL = "equal weights for all personas, as no run was given"
LIMITS = "Bayes' rule; limits: this persona's weight and the others' at the ends of their joint limits"


def _prepare(spec: TraceSpec, subjects: PersonaSubjects) -> Mapping[str, Any]:
    """The personas; refuses models other than those whose weights were measured, and a text that does not fit."""
    for role, fingerprint in spec.fingerprints:
        found = subjects.fingerprints.get(role, {}).get("fingerprint")
        if found != fingerprint:
            raise BadSpec(
                f"{spec.weights_from} measured other models ({role} has changed); give the model and personas of that "
                "run, or leave out --run"
            )
    n_tokens = len(subjects.target.encode(spec.text))
    for name, model in subjects.models.items():
        if len(model.start_ids) + n_tokens > model.info.context_length:
            raise ContextTooShort(
                f"the text has {n_tokens} tokens, {name!r} stands before it with {len(model.start_ids)}, and the "
                f"context of {spec.model} is {model.info.context_length}; give a shorter text"
            )
    kinds = {each.name: each.kind for each in spec.personas}
    names = list(subjects.personas)
    if spec.weights and len(spec.weights) != len(names):
        raise BadSpec(f"{len(spec.weights)} weights for {len(names)} personas; give one each")
    return {"personas": names, "kinds": [kinds.get(name, "") for name in names], "tokens": n_tokens}


class TraceWorker:
    """Scores the sentences of the text under the target and every persona."""

    def __init__(self, spec: TraceSpec, subjects: PersonaSubjects, store: Store) -> None:
        self._spec, self._subjects, self._store = spec, subjects, store

    def run(self, _: Item) -> Rows:
        """The rows of the only item."""
        target = self._subjects.target
        ids = target.encode(self._spec.text)
        spans = sentence_spans(split_sentences(target, ids))
        (score,) = score_sequences([ids], self._subjects.models)
        rows = []
        for component, log_probs in score.log_probs.items():
            values = by_sentence(log_probs, spans)
            for i, (start, stop) in enumerate(spans):
                packed = schema.pack("sentence_log_p", [values[i]])
                rows.append(
                    {"name": f"{i + 1:06d}", "component": component, "method": "token ids of the given text",
                     "text": target.decode(ids[start:stop]), "sentence_log_p": packed}
                )  # fmt: skip
        return {"given_texts": rows}


def analyse_trace(store: Store) -> TraceRecord:
    """Posterior weights before the text and after each sentence. Raises: EstimateError if it is not scored yet."""
    meta = store.meta()
    spec, names = TraceSpec(**meta["spec"]), persona_names(meta)
    rows = store.rows("given_texts")
    if not rows:
        raise EstimateError("the text has not been scored; run the same command again")
    by_component: dict[str, list[float]] = {}
    for row in rows:  # in the order of the sentences
        by_component.setdefault(row["component"], []).append(float(row["sentence_log_p"][0]))
    log_p = np.array([by_component[name] for name in names]).T
    weights = _weights(spec, np.vstack([np.zeros(len(names)), np.cumsum(log_p, axis=0)]), len(names))
    return TraceRecord(
        meta=meta,
        sentences=tuple(row["text"] for row in rows if row["component"] == TARGET),
        personas=tuple(
            TracedPersona(name, meta["kinds"][i], weights[i], tuple((-log_p[:, i]).tolist()))
            for i, name in enumerate(names)
        ),
        target_surprise=tuple(-value for value in by_component[TARGET]),
        counts={"sentences": len(log_p), "tokens": meta["tokens"], "personas": len(names)},
        failures={},
        notes=_notes(meta, spec),
    )


def _weights(spec: TraceSpec, log_probs: Floats, n_personas: int) -> list[tuple[Estimate, ...]]:
    """Per persona, its posterior weight after each number of sentences. log_probs: (n + 1, n_personas), cumulated."""
    prior = np.array([each.value for each in spec.weights] or [1 / n_personas] * n_personas)
    value = persona_weights(np.log(prior / prior.sum()), log_probs)
    if not spec.weights:
        return [tuple(_exact(float(x)) for x in column) for column in value.T]
    low, high = (np.array([getattr(each, side) for each in spec.weights]) for side in ("low", "high"))
    with np.errstate(divide="ignore"):
        log_low, log_high = np.log(low) + log_probs, np.log(high) + log_probs
    estimates = []
    for i in range(n_personas):
        rest_high, rest_low = (np.logaddexp.reduce(np.delete(side, i, axis=1), axis=1) for side in (log_high, log_low))
        floor = np.exp(log_low[:, i] - np.logaddexp(log_low[:, i], rest_high))
        ceiling = np.exp(log_high[:, i] - np.logaddexp(log_high[:, i], rest_low))
        estimates.append(tuple(_limited(*each, spec.level) for each in zip(value[:, i], floor, ceiling, strict=True)))
    return estimates


def _exact(value: float) -> Estimate:
    return Estimate(value, value, value, 1.0, 1, "share", "Bayes' rule from equal weights", exact=True)


def _limited(value: float, low: float, high: float, level: float) -> Estimate:
    low, high = min(float(low), float(value)), max(float(high), float(value))
    return Estimate(float(value), low, high, level, 1, "share", LIMITS, exact=low == high)


def _notes(meta: Mapping[str, Any], spec: TraceSpec) -> tuple[str, ...]:
    frame = meta["fingerprints"][TARGET].get("context", "")
    weights = f"weights before the text: {spec.weights_from}"
    if spec.weights:
        weights += ", with half a text added to each persona, so that none is excluded; their limits hold together"
    return (*model_notes(meta), weights, f"the target reads the text in the personas' own frame: {frame}")


TRACE = Experiment(
    name="trace",
    spec=TraceSpec,
    load=load_persona_subjects,
    prepare=_prepare,
    plan=lambda _, meta: [Item("trace", (len(meta["personas"]) + 1) * TOKENS_PER_SENTENCE)],
    worker=TraceWorker,
    analyse=analyse_trace,
)


def from_run(run: Path) -> dict[str, Any]:
    """Options of a trace that a finished personas run determines: model, personas, weights and their limits.

    Raises: BadSpec if the folder holds no personas run; EstimateError if the run is not finished.
    """
    with Store.read(run) as store:
        meta = store.meta()
        if meta.get("experiment") != PERSONAS.name:
            raise BadSpec(f"--run {run} is a run of `beb {meta.get('experiment')}`; give one of `beb personas`")
        spec, names = PersonasSpec(**meta["spec"]), persona_names(meta)
        refuse_unfinished(PERSONAS, store)
        texts, fit = text_arrays(store, names), fitted(store, names)
    values = np.exp(rest_log_weights(fit, texts.log_p.size))
    share = 1 - (1 - spec.level) / len(names)
    limits = weight_intervals(texts.log_probs, level=share, names=names)
    weights = tuple(
        Weight(value=float(v), low=min(each.low, float(v)), high=max(each.high, float(v)))
        for v, each in zip(values, limits, strict=True)
    )
    roles = (TARGET, *(persona_role(name) for name in names))
    return {
        "model": spec.model, "dtype": spec.dtype, "personas": spec.personas, "level": spec.level, "weights": weights,
        "weights_from": f"the run {run}",
        "fingerprints": tuple((role, str(meta["fingerprints"][role]["fingerprint"])) for role in roles),
    }  # fmt: skip


def trace_options(
    text: str,
    *,
    run: Path | None = None,
    model: str | None = None,
    personas: Sequence[Persona] | None = None,
    dtype: str | None = None,
) -> dict[str, Any]:
    """Options of a trace: what a run determines, or what is given.

    Raises: BadSpec if something is given that disagrees with the run.
    """
    given = {"model": model, "personas": tuple(personas) if personas else None, "dtype": dtype}
    wanted = {name: value for name, value in given.items() if value is not None}
    if run is None:
        return {**wanted, "text": text, "weights_from": EQUAL}
    fixed = from_run(run)
    for name, value in wanted.items():
        if value != fixed[name]:
            raise BadSpec(f"--{name} differs from that of --run {run}, whose weights hold for it alone; leave it out")
    return {**fixed, "text": text}


def trace(
    text: str,
    *,
    run: Path | str | None = None,
    model: str | None = None,
    who: Sequence[Persona] | None = None,
    out: Path | str | None = None,
    offline: bool = False,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> TraceRecord:
    """Posterior weights of personas along a text.

    run: folder of a finished personas run, for its model, personas and weights; otherwise equal weights. model, who:
    without a run, as in `beb.personas`. out: run folder (default: below runs/, named after the model and the text).
    Raises: kinds of `beb.errors.BebError`.
    Source: derived in docs/maths.md, "Personas".
    """
    options = trace_options(text, run=None if run is None else Path(run), model=model, personas=who)
    spec = make_spec(TraceSpec, options)
    folder = Path(out) if out is not None else default_folder(TRACE.name, spec)
    return run_experiment(TRACE, spec, folder, offline=offline, hardware=hardware, progress=progress)
