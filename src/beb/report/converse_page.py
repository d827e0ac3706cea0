"""The page of a conversation run."""

from __future__ import annotations

from beb.core.estimate import Band, Estimate
from beb.experiments.converse.record import Arm, Beyond, ConverseRecord, PromisedTurn, TurnBound
from beb.experiments.converse.theory import MOST_TURNS
from beb.experiments.store import Store
from beb.experiments.what_if_scenarios import converse_inputs
from beb.report.converse_charts import USERS, behavior_charts, ground_charts, misaligned_level, turns_text
from beb.report.figures import ends_text
from beb.report.inert import excerpt, one_line
from beb.report.page import Page, Section, Table
from beb.report.record import Sample, SampleGroup
from beb.report.rounding import count_text, fixed, interval_text, value_text, with_interval
from beb.report.scenario_figures import alpha_figures, level_warnings
from beb.report.tables import NO_FORM, assumption_rows
from beb.report.what_if import what_if
from beb.report.wording import FORMATS, PREFERRED_READING, Finding, alpha_label, notes, proxies, warnings

LEDE = (
    "If an ill-behaved user talks with this model turn by turn, does it misbehave, and do its own replies hold it back?"
)
SAYS = {True: "yes", False: "no", None: "not decided"}
NOT_SHOWN = "not shown"
TURN = "turn"


def page(store: Store, r: ConverseRecord) -> Page:
    """Everything that the report of `beb converse` says."""
    return Page(
        lede=LEDE,
        findings=(_misaligns(r), _resists(r), _promise(r)),
        counts=r.counts,
        failures=r.failures,
        terms=f"{proxies(r.meta)} B is that of the first sentence of a turn.",
        warnings=(*warnings(r), *_level_warnings(r)),
        notes=notes(r.notes),
        premises=assumption_rows(r),
        premises_title="Do Theorem 3’s premises hold here?",
        summary=(_key_figures(r),),
        sections=(
            Section("turns", "Turns", "Turn by turn", _turns_intro(r), (_turn_table(r),), behavior_charts(r)),
            Section("ground", "Ground", "Who gains ground", GROUND_INTRO, charts=ground_charts(r)),
            Section("theory", "Theory", "Theorem 3 beside what happened", THEORY_INTRO, (_bounds(r), _beyond(r))),
        ),
        what_if=what_if(converse_inputs(store, r)),
        texts=_texts(store, r),
        methods=_methods(r),
    )  # fmt: skip


GROUND_INTRO = (
    "The log ratio log P₋/P₊ of the whole conversation says which component it sounds like. A user turn from P₋ "
    "raises it by its divergence; a reply lowers it by its resistance log P₊/P₋. C is the height that forces B "
    "below γ + ε if the model is a mixture of the two."
)
THEORY_INTRO = (
    "User sentences that suffice in all, according to Theorem 1 for the first turn and Theorem 3 after that, beside "
    "the user sentences spoken by then. Theorem 3 says that some user sentences of that number suffice with "
    "probability 1 − δ over the replies; the sentences spoken here are random ones."
)


def _spec(r: ConverseRecord, name: str) -> float:
    return float(r.meta["spec"][name])


def _level_text(r: ConverseRecord) -> str:
    return f"the misaligned level γ + ε = {fixed(misaligned_level(r), 2)} (γ at its estimate)"


def _level_warnings(r: ConverseRecord) -> tuple[str, ...]:
    """Where the level below which a reply counts as misaligned says little."""
    control = _replies(r.arm("positive"))
    return level_warnings(r.gamma, _spec(r, "epsilon"), "reply to a well-behaved user", min(control.value))


def _alpha_by(r: ConverseRecord, reading: str) -> str:
    return alpha_label(reading, excluded=reading in r.excluded)


def _reading(r: ConverseRecord) -> str:
    return PREFERRED_READING if PREFERRED_READING in r.needed else next(iter(r.needed))


def _replies(arm: Arm) -> Band:
    return arm.replies.corrected or arm.replies.raw


def _misaligns(r: ConverseRecord) -> Finding:
    bad, good = (_replies(r.arm(name)) for name in ("negative", "positive"))
    last, at = bad.lengths[-1], r.arm("negative").misaligned_at
    sure = f"{100 * bad.level:g}\u00a0% confidence"
    sentence = (
        f"Not shown within {count_text(last, TURN)}: at none was the mean reply to an ill-behaved user below "
        f"{_level_text(r)} with {sure}, which does not show that it stays above."
        if at is None
        else f"Yes: with {sure} the mean reply to an ill-behaved user was below {_level_text(r)} at turn {at}."
    )
    control = r.arm("positive").misaligned_at
    told = "" if control is None else f" So it was for a well-behaved user, at turn {control}."
    detail = (
        f"Mean B of the replies at the first and the last turn: {_first_last(bad)} with an ill-behaved user, "
        f"{_first_last(good)} with a well-behaved one. Difference of the two at turn {last}, as scored: "
        f"{with_interval(_together(r.difference, last))}."
    )
    return Finding("Does it misalign in conversation?", sentence + told, detail)


def _resists(r: ConverseRecord) -> Finding:
    arm = r.arm("negative")
    back, net = arm.resistance, arm.net_gain
    if back.low > 0:
        sentence = f"Its replies pull back: each of their sentences takes back {with_interval(back)} nats."
    elif back.high < 0:
        gives = Estimate(-back.value, -back.high, -back.low, back.level, back.n, back.unit, back.method)
        sentence = f"Its replies push on: each of their sentences adds {with_interval(gives)} nats towards P₋."
    else:
        sentence = f"It is not shown that its replies pull back: {with_interval(back)} nats per sentence."
    if net.low > 0:
        sentence += f" A turn of both still gains ground for P₋, {with_interval(net)} nats."
    elif net.high < 0:
        sentence += f" A turn of both loses ground for P₋, {with_interval(net)} nats."
    else:
        sentence += f" Whether a turn of both gains ground for P₋ is not decided: {with_interval(net)} nats."
    log_ratio = arm.log_ratio
    detail = (
        f"Log ratio of the conversation when a reply begins: {turns_text(ends_text(log_ratio))}; what "
        f"forces misalignment is C = {with_interval(r.needed[_reading(r)])} nats (α by {_reading(r)}). A user "
        f"sentence of P₋ is worth β = {with_interval(r.beta)} nats or more, the smallest over the tested conversations."
    )
    return Finding("Do its own replies hold it back?", sentence, detail)


def _promise(r: ConverseRecord) -> Finding:
    """In words; a number of sentences that is not reached promises nothing, neither misalignment nor safety."""
    question = "What does Theorem 3 promise?"
    found = next((p for p in r.promised if p.reading == _reading(r)), None)
    if found is None:
        return Finding(question, "Nothing: β is not positive, and the theorem needs β > 0.", "")
    last = next(b for b in reversed(r.bounds) if b.reading == found.reading)
    demand = (
        f"By turn {last.turn} it asks for {with_interval(last.bound.sharp)} user sentences in all, and {last.spoken} "
        f"were spoken ({_split(last)}; α by {_reading(r)})."
    )
    about = "It is a number that suffices, not one that is necessary."
    if found.value is not None and found.value <= last.turn:
        sure = f"{100 * (1 - _spec(r, 'delta')):g}\u00a0%"
        sentence = (
            f"At turn {found.value} the user has said as many sentences as it asks for ({_range(found)}): if its "
            f"premises hold, some user sentences of that number bring the mean reply below γ + ε by then, with "
            f"probability {sure} over the replies. It does not say that the ones spoken here do.{_unmet(r)}"
        )
        return Finding(question, sentence, f"{demand} {about}")
    could = ""
    if found.earliest is not None and found.earliest <= last.turn:
        could = f" (at the most favourable limits of its inputs it would be at turn {found.earliest})"
    sentence = (
        "Nothing about these conversations: the number of user sentences that it asks for is not reached at any tested "
        f"turn{could}. So it says neither that the model misaligns nor that it is safe."
    )
    return Finding(question, sentence, f"{demand} {_going_on(r, found)} {about}")


def _going_on(r: ConverseRecord, found: PromisedTurn) -> str:
    """What more turns would do."""
    spoken = int(_spec(r, "turn_sentences"))
    if found.value is not None:
        longer = "In a longer conversation of the same kind the number would be reached"
        return f"{longer} at turn {found.value} ({_range(found)})."
    more = with_interval(r.break_even)
    if spoken > r.break_even.value:
        grows = f"Every further turn asks for at least {more} sentences more and the user says {spoken}"
        return f"{grows}, which gains on it but does not reach it within {MOST_TURNS} turns."
    counted = "; the theorem counts the first sentence after a reply for nothing" if spoken == 1 else ""
    return (
        f"Every further turn asks for more: to catch up, the user would have to say more than {more} sentences per "
        f"turn, and says {spoken}{counted}."
    )


def _unmet(r: ConverseRecord) -> str:
    """Which premises are known not to hold."""
    broken = [f"“{one_line(a.name)}”" for a in r.assumptions if a.status == "contradicted"]
    return f" Here {' and '.join(broken)} {'is' if len(broken) == 1 else 'are'} contradicted." if broken else ""


def _range(found: PromisedTurn) -> str:
    first, last = (f"turn {turn}" if turn is not None else "never" for turn in (found.earliest, found.latest))
    return f"at the limits of the inputs: {first} to {last}"


def _split(bound: TurnBound) -> str:
    parts = bound.bound.bound.per_turn
    if len(parts) < 2:
        return "all in the first turn"
    return f"{fixed(parts[0], 1)} before the first reply and {fixed(parts[1], 1)} after each"


def _first_last(band: Band) -> str:
    return " and ".join(with_interval(band.at(n)) for n in (band.lengths[0], band.lengths[-1]))


def _together(band: Band, length: int) -> Estimate:
    """A point with its simultaneous limits."""
    i = band.lengths.index(length)
    low, high = band.low[i], band.high[i]
    return Estimate(band.value[i], low, high, band.level, band.n, band.unit, band.method, exact=low == high)


def _key_figures(r: ConverseRecord) -> Table:
    arm = r.arm("negative")
    rows = [
        ("β, user sentences", r.beta, "the least that a P₋ sentence tells, given the conversation"),
        ("resistance of the replies", arm.resistance, "what a sentence of the model's replies takes back, on average"),
        ("β′, largest resistance", r.beta_prime, "the turn at which replies take back most: what Theorem 3 needs"),
        ("β′, definition", r.beta_prime_definition, "what a sentence of P₊ itself would take back, at most"),
        ("resistance, user P₊", r.arm("positive").resistance, "the same of replies to a well-behaved user"),
        ("σ², replies", r.sigma2, "how unevenly the replies take back: variance per sentence"),
        ("γ, user turns", r.gamma, "the best mean behavior that P₋ itself showed in conversation"),
        ("net gain per turn", arm.net_gain, "what a user turn adds less what the reply takes back"),
        ("break-even", r.break_even, "user sentences per turn from which Theorem 3 gains ground"),
    ]
    if r.positivity is not None:
        rows.append(("positivity", r.positivity, "share of negative user sentences that P₋ finds likelier (Def. 6)"))
    rows += [(f"C, α by {_alpha_by(r, name)}", e, "log ratio that forces B < γ + ε") for name, e in r.needed.items()]
    cells = [(name, value_text(e), interval_text(e), e.unit, text) for name, e, text in rows]
    if r.alpha is not None:
        for row in alpha_figures(r.alpha, r.alpha_entering, r.excluded, int(_spec(r, "sentences"))):
            shown = (value_text(row.estimate), interval_text(row.estimate)) if row.estimate else (row.words, "—")
            cells.append((row.name, *shown, "nats", row.meaning))
    return Table(
        "Key figures",
        ("quantity", "value", "interval", "unit", "what it means"),
        tuple(cells),
        note=(
            f"From {count_text(r.beta.n, 'conversation')} with each kind of user. β, β′, σ², γ and α as it enters the "
            "theorem hold together, and so does what follows from them."
        ),
    )


def _turns_intro(r: ConverseRecord) -> str:
    spoken, reply = (int(_spec(r, name)) for name in ("turn_sentences", "reply_sentences"))
    return (
        f"Each turn is {count_text(spoken, 'sentence')} of the user, sampled from a component after the "
        f"conversation so far, and a reply of up to {count_text(reply, 'sentence')} from the model ({_format(r)}). "
        "Control of the same length: a user from P₊. The two are different conversations, compared as such."
    )


def _format(r: ConverseRecord) -> str:
    return FORMATS[str(r.meta["spec"]["format"])]


def _turn_table(r: ConverseRecord) -> Table:
    bad, good = r.arm("negative"), r.arm("positive")
    rows = tuple(
        (
            str(turn),
            with_interval(_together(_replies(bad), turn)),
            with_interval(_together(_replies(good), turn)),
            with_interval(_together(r.difference, turn)),
            with_interval(_together(bad.resistance_curve, turn)),
            with_interval(_together(bad.log_ratio, turn)),
        )
        for turn in bad.replies.raw.lengths
    )
    how = "corrected for the scorer's errors" if bad.replies.corrected is not None else "as scored"
    return Table(
        "",
        ("turn", "B, user P₋", "B, user P₊", "difference", "resistance", "log ratio before"),
        rows,
        note=(
            f"B {how}, its difference as scored; resistance in nats per sentence of the reply; log ratio in nats "
            "when the reply begins. Each column's limits hold for all turns together."
        ),
    )


def _bounds(r: ConverseRecord) -> Table:
    preferred = _reading(r)
    last = max((b.turn for b in r.bounds), default=0)
    below = _replies(r.arm("negative"))
    rows = tuple(
        (
            str(b.turn),
            b.bound.bound.theorem,
            _alpha_by(r, b.reading),
            with_interval(b.bound.paper) if b.bound.paper is not None else NO_FORM,
            with_interval(b.bound.sharp),
            str(b.spoken),
            "not measured" if b.reading in r.excluded else SAYS[b.promised],
            "yes" if below.high[below.lengths.index(b.turn)] < misaligned_level(r) else NOT_SHOWN,
        )
        for b in r.bounds
        if b.reading == preferred or b.turn == last
    )
    return Table(
        "User sentences in all",
        ("turn", "theorem", "α by", "paper", "sharp", "spoken", "enough", "seen below γ + ε"),
        rows,
        strong=(4,),
        note=(
            "Enough: yes or no if the whole interval says so; not measured where the cap excludes the α behind it. "
            "Seen: the simultaneous upper limit of B is below γ + ε, γ at its estimate."
        ),
        empty="No bound: β is not positive, and the theorems need β > 0.",
    )


def _beyond(r: ConverseRecord) -> Table:
    return Table(
        "Conversations whose own log ratio exceeds C",
        ("α by", "C at most", "replies", "mean B", "below γ + ε"),
        tuple(_beyond_row(r, b) for b in r.beyond),
        strong=(3,),
        note=(
            "C at its upper limit, in nats. A mixture of running text with this α has a mean B below γ + ε there: "
            "“held” where that is so for sure, whatever γ is within its limits. A mean that is not below contradicts "
            "nothing: γ as measured is no supremum, and the reading of α and the components may be wrong as well."
        ),
    )


def _beyond_row(r: ConverseRecord, b: Beyond) -> tuple[str, ...]:
    mean = with_interval(b.behavior) if b.behavior is not None else "too few conversations"
    return _alpha_by(r, b.reading), fixed(b.needed, 2), f"{b.n_replies:,}", mean, b.verdict


def _texts(store: Store, r: ConverseRecord) -> tuple[SampleGroup, ...]:
    """The first conversation of each arm, by number and not by what it says."""
    groups = []
    for arm in r.arms:
        scores = {
            (row["turn"], row["speaker"]): row["p_positive"] - row["p_negative"]
            for row in store.rows("turn_scores", arm=arm.arm, conversation=0)
        }
        rows = store.rows("turns", arm=arm.arm, conversation=0)
        rows.sort(key=lambda row: (row["turn"], row["speaker"] != "user"))
        samples = tuple(
            Sample(
                f"turn {row['turn']}, {'user' if row['speaker'] == 'user' else 'the model'}",
                f"B = {fixed(scores[key], 2)}" if (key := (row["turn"], row["speaker"])) in scores else "",
                excerpt(row["text"]),
            )
            for row in rows
        )
        if samples:
            groups.append(SampleGroup(f"A conversation, {USERS[arm.arm]}", samples))
    return tuple(groups)


def _methods(r: ConverseRecord) -> dict[str, Estimate | Band]:
    arm = r.arm("negative")
    named: dict[str, Estimate | Band] = {
        "B of the replies": _replies(arm), "difference of the users": r.difference, "β": r.beta, "β′": r.beta_prime,
        "σ²": r.sigma2, "γ": r.gamma, "resistance": arm.resistance, "net gain": arm.net_gain,
        "break-even": r.break_even,
    }  # fmt: skip
    if r.bounds:
        named[f"bound, turn {r.bounds[-1].turn}"] = r.bounds[-1].bound.sharp
    return named
