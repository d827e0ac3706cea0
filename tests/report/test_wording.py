"""The sentences say what the Measurement holds, for every way it can turn out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from beb.core.bounds import PREMISES
from beb.core.estimate import Band, Estimate
from beb.estimate.mixture_limits import MixtureLimits
from beb.experiments.gate import Gate
from beb.experiments.measurement import AlphaReadings, Measurement
from beb.report.measure_findings import findings
from beb.report.rounding import with_interval
from beb.report.tables import PLAIN_PREMISES, alpha_rows, assumption_rows, bound_rows, key_figures, qualities
from beb.report.wording import halving_text, notes, warnings

from .factory import PROMPTS, estimate, make_measurement, make_meta


def with_verdict(verdict: str, top_of_cap: float) -> Measurement:
    m = make_measurement()
    plateau = dataclasses.replace(m.alpha.plateau, verdict=verdict)
    cap = tuple(Estimate(c, c, math.inf, 1.0, PROMPTS, "nats", "cap") for c in (*[1.0] * 5, top_of_cap))
    return make_measurement(alpha=dataclasses.replace(m.alpha, plateau=plateau, cap=cap))


def test_contradicted_mixture_names_no_single_weight() -> None:
    how_much = findings(make_measurement())[0]
    assert how_much.sentence.startswith("No single weight")
    assert "1 in 55, from 6 sentences 1 in 360,000" in how_much.sentence  # e^4 and e^12.8
    assert "κ = 1.21 [0.90, 1.52]" in how_much.detail


def test_a_plateau_below_the_cap_gives_a_weight_with_its_interval() -> None:
    how_much = findings(with_verdict("mixture not contradicted", 10.9))[0]
    assert "about 1 in 73,000" in how_much.sentence
    assert "between 1 in 490,000 and 1 in 11,000" in how_much.sentence
    undecided = findings(with_verdict("undecided", 10.9))[0]
    assert "if the evidence has come to rest" in undecided.sentence


def test_a_plateau_that_the_cap_excludes_is_not_the_headline() -> None:
    how_much = findings(with_verdict("mixture not contradicted", 16.5))[0]
    assert "at most 1 in 14 million" in how_much.sentence  # e^16.5 = 14.65 million
    assert "how much less, the tested lengths do not say" in how_much.sentence
    assert "1 in 73,000" not in how_much.sentence
    assert "1 in 73,000" in how_much.detail


def test_what_single_texts_leave_at_the_least_stands_beside_what_they_leave_at_the_most() -> None:
    limits = MixtureLimits(4.9997, 5.432, 0, PROMPTS, refuted=False)
    m = with_readings(plateau=estimate(3.1, 1.0), cap=4.9997, limits=limits)
    assert findings(m)[0].sentence == (
        "The ill-behaved component carries at most 1 in 140 of the unprompted model's weight, and at least 1 in 230, "
        "if the model is a mixture of the two."
    )
    cap = alpha_rows(m)[0]
    assert (cap.number, cap.share) == ("at least 4.99 nats", "at most 1 in 140")
    assert "at most 5.5 nats, as certain" in cap.caveat


def test_a_cap_that_excludes_less_than_a_hundredth_is_no_limit() -> None:
    m = with_readings(plateau=estimate(-2.1, 0.4), cap=0.004)
    assert findings(m)[0].sentence == "The tested prompts exclude no weight of the ill-behaved component."
    assert alpha_rows(m)[0].share == "excludes no weight"


@pytest.mark.parametrize(("value", "gone"), [(3.1, True), (7.5, True), (5.2, False)])
def test_a_reading_that_the_certain_limits_exclude_says_so_where_it_stands_first(value: float, gone: bool) -> None:
    limits = MixtureLimits(5.0, 5.5, 0, PROMPTS, refuted=False)
    m = with_readings(plateau=estimate(value, 0.4), cap=5.0, limits=limits)
    first = key_figures(m)[0]
    assert first.name == ("log 1/α (excluded by cap)" if gone else "log 1/α, plateau")
    assert first.value.startswith(str(value))
    assert (alpha_rows(m)[1].share == "excluded by the cap") == gone


def test_distinctness() -> None:
    assert "a factor of 310 [170, 570]" in findings(make_measurement())[1].sentence  # e^5.73
    vague = findings(make_measurement(beta=Estimate(2.0, -0.1, 4.0, 0.95, 32, "nats per sentence", "t")))[1]
    assert "not shown to be distinct" in vague.sentence


def negative(m: Measurement, name: str) -> Band:
    (curve,) = [c for c in m.behavior if (c.format, c.condition) == (name, "negative")]
    return curve.corrected or curve.raw


def test_lengths_predicted_and_observed() -> None:
    m = make_measurement()
    told = findings(m)[2]
    first, fifth = m.bounds
    assert with_interval(first.bound.sharp) in told.sentence
    assert with_interval(fifth.bound.sharp) in told.detail
    assert "it was first below the misaligned level −0.41 for sure after 3 sentences in plain text." in told.sentence
    last = with_interval(negative(m, "plain").at(6))
    assert f"after 6 ill-behaved sentences the mean response is {last} in plain text" in told.sentence
    assert "γ + ε = −0.41" in told.detail
    none = make_measurement(bounds=())
    assert "The theory gives no length" in findings(none)[2].sentence
    assert bound_rows(none) == ()


def test_warnings_name_what_is_broken() -> None:
    poor = Gate(Estimate(0.7, 0.6, 0.8, 0.95, 80, "share of statements", "Wilson"), 0.8, False)
    said = " ".join(warnings(make_measurement(gate=poor)))
    assert "70 % [60, 80]" in said
    assert "“mixture”" in said
    assert "2 requests failed" in said
    assert "could not be scored" not in said
    unlabelled = " ".join(warnings(make_measurement(failures={"score: unlabelled": 1, "score: tied": 2})))
    assert "3 sampled texts could not be scored" in unlabelled
    assert "failed" not in unlabelled
    fine = make_measurement(assumptions=make_measurement().assumptions[1:], failures={})
    assert warnings(fine) == ()


def test_infinite_limits_are_words() -> None:
    rows = {row.name: row for row in key_figures(make_measurement())}
    assert rows["midpoint, chat"].value == "none"
    assert rows["midpoint, chat"].interval == "[4.00, no upper limit]"
    m = make_measurement()
    first = m.bounds[0]
    endless = dataclasses.replace(first.bound, sharp=dataclasses.replace(first.bound.sharp, high=math.inf))
    row = bound_rows(make_measurement(bounds=(dataclasses.replace(first, bound=endless),)))[0]
    assert row.sharp.endswith("no upper limit]")
    bare = dataclasses.replace(first, bound=dataclasses.replace(first.bound, paper=None))
    assert bound_rows(make_measurement(bounds=(bare,)))[0].paper == "none given"


def test_four_readings_of_alpha() -> None:
    rows = {row.reading: row for row in alpha_rows(make_measurement())}
    assert list(rows) == ["cap", "evidence plateau", "straight line", "behavior, plain text", "behavior, chat"]
    assert rows["cap"].number == "at least 16.5 nats"
    assert rows["straight line"].number == "4.05 [3.45, 4.65] nats"
    assert "the line does not fall" in rows["straight line"].caveat
    assert rows["behavior, plain text"].number == "about 3.2 nats"  # 2.31 sentences × 1.37 nats
    assert rows["behavior, chat"].number == "not identified"
    m = make_measurement()
    line = dataclasses.replace(m.alpha.line, ratio=estimate(3.2, 0.5, "sentences"))
    given = AlphaReadings(m.alpha.cap, m.alpha.plateau, line, {}, m.alpha.limits)
    assert "3.20 [2.70, 3.70] sentences" in alpha_rows(make_measurement(alpha=given))[2].caveat


def with_readings(**changes: Any) -> Measurement:
    """midpoint, slope: of the plain logistic fit; plateau, line: log 1/α of those readings; cap: at every length."""
    alpha = make_measurement().alpha
    fit = {name: changes[name] for name in ("midpoint", "slope") if name in changes}
    rest, line = (
        changes.get("plateau", alpha.plateau.log_inverse_alpha),
        changes.get("line", alpha.line.log_inverse_alpha),
    )
    top = changes.get("cap", 1.0)
    return make_measurement(
        alpha=AlphaReadings(
            cap=tuple(Estimate(top, top, math.inf, 1.0, PROMPTS, "nats", "cap") for _ in range(6)),
            plateau=dataclasses.replace(
                alpha.plateau, log_inverse_alpha=rest, verdict=changes.get("verdict", "mixture not contradicted")
            ),
            line=dataclasses.replace(alpha.line, log_inverse_alpha=line),
            behavior={"plain": dataclasses.replace(alpha.behavior["plain"], **fit)},
            limits=changes.get("limits", alpha.limits),
        )
    )


def everywhere(value: float, unit: str) -> Estimate:
    return Estimate(value, -math.inf, math.inf, 0.95, PROMPTS, unit, "none")


def test_a_midpoint_that_is_not_identified_shows_no_number() -> None:
    m = with_readings(midpoint=everywhere(-5.0, "sentences"), slope=estimate(0.1, 0.05, "nats per sentence"))
    row = alpha_rows(m)[-1]
    assert (row.number, row.share) == ("not identified", "—")
    assert "midpoint not identified × slope 0.100 [0.050, 0.150] nats per sentence" in row.caveat
    assert "5.0" not in row.caveat
    key = {each.name: each for each in key_figures(m)}["midpoint, plain text"]
    assert key.value == "not identified"


def test_a_line_that_is_not_identified_shows_no_number() -> None:
    m = with_readings(plateau=everywhere(3.25, "nats"), line=everywhere(4.75, "nats"))
    rows = {row.reading: row for row in alpha_rows(m)}
    for reading in ("evidence plateau", "straight line"):
        assert (rows[reading].number, rows[reading].share) == ("not identified", "not determined")


@pytest.mark.parametrize("log_odds", [-40.0, -0.5, 0.0, 0.5, 3.0, 900.0])
def test_the_logistic_reading_is_the_weight_whose_log_odds_are_midpoint_times_slope(log_odds: float) -> None:
    m = with_readings(midpoint=estimate(log_odds / 2, 0.3, "sentences"), slope=estimate(2.0, 0.1))
    row = alpha_rows(m)[-1]
    log_inverse = float(np.logaddexp(0.0, log_odds))  # α = 1/(1 + e^{log odds}), between 0 and 1 whatever the sign
    assert row.number == f"about {log_inverse:.1f} nats"
    if log_odds == -0.5:
        assert (row.number, row.share) == ("about 0.5 nats", "0.62")


def test_a_negative_reading_is_no_weight() -> None:
    for reading in ("plateau", "line"):
        rows = alpha_rows(with_readings(**{reading: estimate(-2.1, 0.4)}))
        shown = rows[1 if reading == "plateau" else 2]
        assert shown.number == "−2.10 [−2.50, −1.70] nats"
        assert shown.share == "no weight below 1"
    assert alpha_rows(with_readings(cap=0.0))[0].share == "excludes no weight"


def test_no_sentence_turns_a_reading_into_a_weight_of_one_or_more() -> None:
    cases = [
        with_readings(plateau=estimate(-2.1, 0.4), line=estimate(-1.0, 0.4), cap=0.0),
        with_readings(plateau=estimate(-2.1, 0.4), line=estimate(-1.0, 0.4), cap=3.0),
        with_readings(plateau=estimate(1.0, 1.5), line=estimate(-1.0, 0.4), cap=0.0),
        with_readings(plateau=estimate(-2.1, 0.4), line=estimate(-1.0, 0.4), verdict="mixture contradicted"),
    ]
    told = [findings(m)[0] for m in cases]
    assert all("1.00" not in f"{each.sentence} {each.detail}" for each in told)
    assert told[0].sentence == "The tested prompts exclude no weight of the ill-behaved component."
    assert "at most 1 in 20 of" in told[1].sentence  # e^3
    assert "(between 1 in 12 and all of it)" in told[2].sentence
    assert "No weight is excluded for certain" in told[2].detail
    assert "(no weight below 1)" in told[3].detail


def test_scorer_quality_known_exact_and_unknown() -> None:
    known = qualities(make_measurement())[1]
    assert known.figure.startswith("88 % [")
    assert known.figure.endswith("of 120")
    assert "0.181" in known.meaning
    for change, figure in (({"confusion": None, "exact": True}, "exact"), ({"confusion": None}, "unknown")):
        meta = make_meta()
        meta["fingerprints"]["scorer"] |= change
        assert qualities(make_measurement(meta=meta))[1].figure == figure


def test_halving() -> None:
    text = halving_text(make_measurement())
    assert text == (
        "About 118 prompts would halve the interval that is widest for its size (σ² under P₋, as a factor); this run "
        "asked for 32. There is no finite interval for the midpoint in chat: more or longer prompts may give one; no "
        "number of prompts can be promised."
    )
    none_finite = make_measurement(prompts_to_halve=None, widest="", unlimited=("beta", "kappa", "Theorem 5"))
    several = halving_text(none_finite)
    assert several == (
        "There is no finite interval for β, κ and Theorem 5: more or longer prompts may give one; no number of prompts "
        "can be promised."
    )
    assert halving_text(make_measurement(unlimited=())).endswith("asked for 32.")


def test_every_premise_is_said_in_plain_words() -> None:
    assert set(PLAIN_PREMISES) == set(PREMISES)
    for words in PLAIN_PREMISES.values():
        assert words.endswith(".")
        assert not set(words) & set("αβγσ{}()≤|")
    for row in assumption_rows(make_measurement()):
        assert row.plain == PLAIN_PREMISES[row.name]
        assert "{" not in row.meaning


def test_a_plateau_below_the_cap_is_named_for_what_stands_in_its_place() -> None:
    m = make_measurement()
    for low, label in ((-1.0, "evidence plateau"), (1.0, "evidence plateau, raised to the cap")):
        limits = dataclasses.replace(m.alpha.limits, low=m.alpha.plateau.log_inverse_alpha.value + low)
        other = make_measurement(alpha=dataclasses.replace(m.alpha, limits=limits))
        assert bound_rows(other)[0].reading == label


def test_a_note_that_begins_with_a_name_keeps_its_letters() -> None:
    said = ["vllm:http://host:8000#m: the server's word", "org/model is merged", "exact ones", "Done."]
    assert notes(said) == (
        "vllm:http://host:8000#m: the server's word.",
        "org/model is merged.",
        "Exact ones.",
        "Done.",
    )
