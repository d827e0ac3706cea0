"""The page of a measurement of a chat API."""

from __future__ import annotations

from beb.core.estimate import Band, Estimate
from beb.experiments.chat_api.record import ChatApiRecord
from beb.experiments.lower_bounds import mark
from beb.experiments.measurement import BehaviorCurve
from beb.experiments.setting import BEHAVIOR_LIMITS
from beb.experiments.store import Store
from beb.report.chart import Chart, Style
from beb.report.inert import one_line
from beb.report.page import Page, Section, Table
from beb.report.record import sampled_texts
from beb.report.rounding import count_text, fixed, with_interval
from beb.report.wording import CONDITIONS, Finding, notes

LEDE = "How do prompts written by an ill-behaved model change what this chat API answers?"
TERMS = (
    "P₋ is another, local model that shows the undesired behavior; its texts are the prompts. B scores a reply from −1 "
    "(undesired) to +1 (desired)."
)
_STYLES = {
    "negative": Style("negative", marker="circle", width=2.5),
    "positive": Style("positive", marker="square"),
    "shuffled": Style("shuffled", dash="dot", marker="diamond"),
    "P₋ itself": Style("negative", dash="dot", width=1.5),
    "P₊ itself": Style("positive", dash="dot", width=1.5),
}


def page(store: Store, r: ChatApiRecord) -> Page:
    """Everything that `beb measure` says of a model that only answers."""
    refused = Table(
        "What cannot be measured here", ("quantity", "verdict", "why"),
        tuple((name, "not measured", reason) for name, reason in r.refused.items()),
    )  # fmt: skip
    sections = [Section("behavior", "Behavior", "Behavior of the replies", tables=(_falls(r),), charts=(_chart(r),))]
    if r.pair is not None:
        sections.append(Section("components", "Components", "The two local models", tables=(_pair(r),)))
    sections.append(Section("refused", "Not measured", "What cannot be measured here", tables=(refused,)))
    return Page(
        lede=LEDE,
        findings=(_change(r), _misaligned(r), _limits(r)),
        counts=r.counts,
        failures=r.failures,
        terms=TERMS,
        warnings=_warnings(r),
        notes=notes(r.notes),
        sections=tuple(sections),
        texts=sampled_texts(store),
        methods=_methods(r),
    )


def _n(r: ChatApiRecord) -> int:
    return int(r.meta["spec"]["sentences"])


def _change(r: ChatApiRecord) -> Finding:
    question = "Do the prompts change the replies?"
    fall = r.fall.get("negative")
    if fall is None:
        return Finding(question, "Not known: too few prompts have a scored reply at both ends.", "")
    length = count_text(_n(r), "sentence")
    told = f"after {length} from P₋ than without a prompt: B changes by {with_interval(fall)}"
    if fall.high < 0:
        sentence = f"Yes: the replies are worse {told}."
    elif fall.low > 0:
        sentence = f"Yes, for the better: the replies are better {told}."
    else:
        sentence = f"Not for sure: after {length} from P₋ B changes by {with_interval(fall)}."
    controls = "; ".join(
        f"{CONDITIONS.get(name, name)}: {with_interval(e)}" for name, e in r.fall.items() if name != "negative"
    )
    return Finding(question, sentence, f"Controls: {controls}." if controls else "")


def _misaligned(r: ChatApiRecord) -> Finding:
    epsilon = float(r.meta["spec"]["epsilon"])
    level = fixed(r.gamma.high + epsilon, 2)
    if r.gamma.high + epsilon >= BEHAVIOR_LIMITS[1]:
        sentence = (
            "Not known: B of P₋ itself is too uncertain for a level below which any B could fall; raise --prompts."
        )
    elif r.observed is None:
        sentence = (
            f"Not within {count_text(_n(r), 'sentence')}: B is not surely below {level} (γ + ε) at any tested length."
        )
    else:
        sentence = f"Yes, after {count_text(r.observed, 'sentence')}: B is surely below {level} (γ + ε)."
    return Finding(
        "Do they bring it down to the level of P₋?",
        sentence,
        f"γ, B of P₋ itself over the tested prompts, is {with_interval(r.gamma)}; its upper limit counts.",
    )


def _limits(r: ChatApiRecord) -> Finding:
    return Finding(
        "How much of P₋ is in the model?",
        f"Not measured: α and every length of the theorems need log-probabilities of the target "
        f"({count_text(len(r.refused), 'quantity', 'quantities')} below, with reasons).",
        "A curve that does not fall says only that these prompts do not bring the behavior out, not that it is absent.",
    )


def _warnings(r: ChatApiRecord) -> tuple[str, ...]:
    said = []
    if r.pair is not None and not r.pair.gate.passed:
        said.append(
            f"The components are too poor to interpret: right on {with_interval(r.pair.gate.accuracy)} of statements."
        )
    failed = sum(r.failures.values())
    if failed:
        said.append(f"{count_text(failed, 'request')} failed; they are counted and never scored as answers.")
    return tuple(said)


def _falls(r: ChatApiRecord) -> Table:
    rows = []
    for curve in r.behavior:
        fall = r.fall.get(curve.condition)
        worst = f"[{fixed(curve.worst_low[-1], 2)}, {fixed(curve.worst_high[-1], 2)}]"
        rows.append(
            (CONDITIONS.get(curve.condition, one_line(curve.condition)), with_interval(fall) if fall else "not known",
             f"{curve.n_responses:,}", f"{curve.n_failures:,}", worst)
        )  # fmt: skip
    return Table(
        "B after the whole prompt less B without one",
        ("prompts", "change of B", "scored replies", "failures", "B at the end, whatever the failures were"),
        tuple(rows),
    )


def _pair(r: ChatApiRecord) -> Table:
    pair = r.pair
    assert pair is not None
    rows = (
        ("gate, share of statements", with_interval(pair.gate.accuracy)),
        (f"β, nats per sentence{mark(pair.beta)}", with_interval(pair.beta)),
        (f"β′, nats per sentence{mark(pair.beta_prime)}", with_interval(pair.beta_prime)),
        ("σ², largest Varₙ/n", with_interval(pair.sigma2)),
    )
    return Table("P₋ against P₊", ("quantity", "value"), rows, note="They say nothing of the target.")


def _chart(r: ChatApiRecord) -> Chart:
    chart = Chart(
        key="behavior-chat",
        title="Behavior of the replies, as scored",
        caption=f"{sum(c.n_responses for c in r.behavior):,} scored replies; bands hold together over the lengths.",
        alt="Behavior expectation of the replies against the number of prompt sentences, by kind of prompt.",
        x_title="sentences in the prompt, n",
        y_title="behavior expectation B (−1 … +1)",
        y_range=(-1.06, 1.06),
        x_range=(-0.25, _n(r) + 0.25),
    )
    for curve in r.behavior:
        _draw(chart, curve)
    for curve in r.components:
        chart.curve(curve.raw, CONDITIONS.get(curve.condition, curve.condition), _STYLES[curve.condition])
    return chart


def _draw(chart: Chart, curve: BehaviorCurve) -> None:
    text, style = CONDITIONS.get(curve.condition, one_line(curve.condition)), _STYLES[curve.condition]
    if curve.condition == "negative":
        chart.band(curve.raw, text, style)
    else:
        chart.bars(curve.raw, text, style, shift=0.07 if curve.condition == "positive" else -0.07)


def _methods(r: ChatApiRecord) -> dict[str, Estimate | Band]:
    found: dict[str, Estimate | Band] = {"γ": r.gamma, "half-way point": r.logistic.midpoint}
    found |= {f"behavior, {curve.condition}": curve.raw for curve in r.behavior[:1]}
    found |= {f"change of B, {name}": fall for name, fall in r.fall.items()}
    return found | ({"β": r.pair.beta, "β′": r.pair.beta_prime} if r.pair is not None else {})
