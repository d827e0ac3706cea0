"""From the rows of a personas run to its numbers; no model is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from beb.core.bounds import Assumption, Status, assess
from beb.core.estimate import Estimate
from beb.estimate.weights import unexplained
from beb.experiments.bounds import text
from beb.experiments.notes import format_notes, model_notes
from beb.experiments.personas.arrays import fitted, persona_arrays, rest_log_weights, text_arrays
from beb.experiments.personas.catalog import TARGET
from beb.experiments.personas.figures import Weights, Who, figures
from beb.experiments.personas.record import PersonaFigures, PersonasRecord
from beb.experiments.personas.spec import FEWEST_TEXTS, PersonasSpec
from beb.experiments.personas.subjects import persona_names, persona_role, scorer_role
from beb.experiments.personas.ways import Family, betas, confusions, shortest, unprompted, ways
from beb.experiments.setting import Setting
from beb.experiments.store import Store

NEGLIGIBLE = 0.02
"""Nats per sentence below which the personas are said to account for the model: by Pinsker's inequality a sentence of
such divergence differs by at most √(0.02/2) = 0.1 in total variation."""

OPENING = "persona as opening text"  # in the context of a persona of a model without chat template


def analyse_personas(store: Store) -> PersonasRecord:
    """Every number of a complete run.

    Raises: EstimateError kinds if texts or prompts are missing; BadSpec naming personas that are identical.
    """
    meta = store.meta()
    setting = Setting.of(meta, PersonasSpec)
    names, kinds = persona_names(meta), meta["kinds"]
    texts, fit = text_arrays(store, names), fitted(store, names)
    arrays = tuple(persona_arrays(store, name, names, setting.spec.sentences) for name in names)
    weights = Weights.of(texts, arrays, rest_log_weights(fit, texts.log_p.size), setting.level, names)
    left = unexplained(
        texts.log_p, texts.log_probs, level=setting.level, sentences=texts.sentences, n_folds=FEWEST_TEXTS // 2,
        rng=setting.rng("unexplained"),
    )  # fmt: skip
    limits = betas(arrays, weights, names, setting)
    found = tuple(
        figures(Who(i, name, kinds[i]), arrays[i], limits[i][0], weights, setting) for i, name in enumerate(names)
    )
    confused = confusions(meta, setting.spec.behaviors)
    family = Family(setting, weights, found, arrays, limits, confused, setting.formats)
    without = {behavior: unprompted(store, family, behavior) for behavior in setting.spec.behaviors}
    by_behavior = {behavior: ways(store, family, behavior, without[behavior]) for behavior in setting.spec.behaviors}
    return PersonasRecord(
        meta=meta,
        certificate=fit.certificate,
        log_likelihood=fit.log_likelihood,
        unexplained=left,
        personas=found,
        ways=tuple(way for each in by_behavior.values() for way in each),
        unprompted=without,
        shortest=tuple(shortest(each, family, without[behavior]) for behavior, each in by_behavior.items()),
        assumptions=_assumptions(found, left, weights, setting),
        counts=_counts(store),
        failures=dict(Counter(f"{row['subject']}: {row['kind']}" for row in store.rows("failures"))),
        notes=_notes(meta, found, setting, family),
    )


def _assumptions(
    found: Sequence[PersonaFigures], left: Estimate, weights: Weights, setting: Setting[PersonasSpec]
) -> tuple[Assumption, ...]:
    """The premises of Theorem 1 with what was measured for each."""
    tested = f"n ≤ {setting.spec.sentences}"
    over = [each.name for i, each in enumerate(found) if weights.excluded(i, together=True)]
    figure = f"unexplained part {text(left)} nats per sentence"
    if weights.limits[0].refuted:
        figure += "; single texts leave no weights possible at all"
    if over:
        figure += f"; more evidence than their weights allow for {', '.join(over)}"
    status: Status = "held" if left.high < NEGLIGIBLE else "not measured"
    if over or left.low > 0 or weights.limits[0].refuted:
        status = "contradicted"
    elif status == "not measured":
        figure += f": not contradicted, but only below {NEGLIGIBLE:g} would the personas account for the model"
    mixture = assess("mixture", status, figure)
    distinct = [each for each in found if each.beta.low > 0]
    shown = f"βᵢ > 0 is shown for {len(distinct)} of {len(found)} personas, over {tested}"
    bounded = "a supremum over all prompts cannot be measured; γᵢ is over the tested prompts of each persona"
    return (
        mixture,
        assess("distinguishable", "held" if len(distinct) == len(found) else "not measured", shown),
        assess("bounded behavior", "not measured", bounded),
    )


def _counts(store: Store) -> dict[str, int]:
    prompts, responses = store.rows("prompts"), store.rows("responses")
    scored = store.rows("prompt_log_probs")
    tokens = {(row["source"], row["prompt"]): len(row["token_ids"]) for row in prompts}
    return {
        "unprompted texts": sum(row["source"] == TARGET for row in prompts),
        "prompts from personas": sum(row["source"] != TARGET for row in prompts),
        "sampled prompt tokens": sum(tokens.values()),
        "tokens scored, over all models": sum(tokens[row["source"], row["prompt"]] for row in scored),
        "sentences cut at the token limit": sum(row["n_cut"] for row in prompts),
        "responses": len(responses),
        "sampled response tokens": sum(len(row["token_ids"]) for row in responses),
        "empty responses": sum(not row["text"].strip() for row in responses),
    }


def _notes(
    meta: Mapping[str, Any], found: Sequence[PersonaFigures], setting: Setting[PersonasSpec], family: Family
) -> tuple[str, ...]:
    notes = [
        f"the unprompted texts are the target's in the personas' own frame: {meta['fingerprints'][TARGET]['context']}"
    ]
    if OPENING in str(meta["fingerprints"].get(persona_role(found[0].name), {}).get("context", "")):
        notes.append(
            "the model has no chat template: a persona's description stands as opening text before its sentences, "
            "not as system text, and the model may go on about the persona instead of as the persona"
        )
    notes += [*model_notes(meta), *format_notes(setting.spec.formats, setting.formats)]
    ended = sum(each.n_ended for each in found)
    if ended:
        notes.append(
            f"{ended} of {sum(each.n_prompts for each in found)} prompts ended by themselves before "
            f"{setting.spec.sentences} sentences; figures of later sentences are of the prompts that go on"
        )
    for behavior, counts in family.confusions.items():
        if counts is None and not meta["fingerprints"][scorer_role(behavior)]["exact"]:
            notes.append(f"B of {behavior} is as scored: its scorer's errors are unknown or too large to be corrected")
    return tuple(notes)
