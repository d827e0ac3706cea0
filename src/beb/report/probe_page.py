"""The page of a probe."""

from __future__ import annotations

from collections.abc import Sequence

from beb.core.estimate import Band, Estimate
from beb.experiments.probe.record import LayerCurve, Picture, Probing
from beb.experiments.store import Store
from beb.report.chart import Chart, Style
from beb.report.inert import one_line
from beb.report.page import Page, Section, Table
from beb.report.rounding import count_text
from beb.report.wording import Finding, notes, share

LEDE = "Can a behavior's two poles be read off this model's hidden states, in which layers, and how well?"
TERMS = (
    "A statement of the negative (undesired) or positive pole stands alone after the model's start token, without an"
    " opening line. “Last” is the hidden state of its own last token, “mean” the average over its tokens. Layer 0 is"
    " the embeddings, the last layer has passed the final norm. A linear support vector machine is fitted on four "
    "fifths of the statements and judges the rest, five times; standardisation is fitted with it."
)
FOLDS_NOTE = (
    "Intervals count n statements as n/1.8, because the five folds share most of what they are fitted on. ± is the "
    "standard deviation over the five folds: a spread, not an interval."
)
POOLING_NAMES = {"last": "last token", "mean": "mean over tokens"}
_STYLES = {"last": Style("negative", marker="circle", width=2.5), "mean": Style("positive", marker="square")}


def page(_store: Store, result: Probing) -> Page:
    """Everything that the report of `beb probe` says."""
    main = _of_pooling(result, "last")
    return Page(
        lede=LEDE,
        findings=(_readable(main), _where(main), _pooled(result)),
        counts=result.counts,
        failures=result.failures,
        terms=TERMS,
        notes=notes(result.notes),
        summary=(_summary(result),),
        sections=(
            Section(
                "layers", "Layers", "Accuracy by layer",
                "Chance is one half: both poles have equally many statements.",
                tables=tuple(_layer_table(result, pooling) for pooling in POOLING_NAMES),
                charts=tuple(_layer_chart(result, i, behavior) for i, behavior in enumerate(_behaviors(result))),
            ),
            Section(
                "picture", "Picture", "The statements in two dimensions",
                "The two directions along which the states of one layer vary most, found without knowing the poles: "
                "poles that separate here differ in what varies most, poles that do not may still be separable.",
                charts=tuple(_picture_chart(i, each) for i, each in enumerate(result.pictures)),
            ),
            Section(
                "misplaced", "Misplaced", "Statements on the wrong side",
                "Farthest on the wrong side of the classifier that was fitted without them.",
                tables=tuple(_misplaced_table(each) for each in result.pictures),
            ),
        ),
        methods=_methods(main),
    )  # fmt: skip


def _behaviors(result: Probing) -> tuple[str, ...]:
    return tuple(dict.fromkeys(curve.behavior for curve in result.curves))


def _of_pooling(result: Probing, pooling: str) -> tuple[LayerCurve, ...]:
    return tuple(curve for curve in result.curves if curve.pooling == pooling)


def _readable(curves: Sequence[LayerCurve]) -> Finding:
    found = [curve for curve in curves if curve.above_chance]
    told = "; ".join(f"{_name(c.behavior)} {share(c.nested)} of unseen statements right" for c in curves)
    alone = "Yes" if found else "Not shown"
    answer = alone if len(curves) == 1 else f"For {len(found)} of {len(curves)} behaviors"
    detail = "; ".join(
        f"{_name(c.behavior)}: the best of {len(c.deviation)} layers, {c.best_layer}, has {share(c.best)}, limits that "
        f"hold for all layers at once, ± {_percent(c.deviation[c.best_layer])} over the folds; without any signal so "
        f"high a best layer has probability {_p(c.chance_p)}"
        for c in curves
    )
    return Finding(
        "Can the poles be read off the last token's hidden state?",
        f"{answer}: a linear classifier gets, its layer chosen without them, {told} (chance: 50 %).",
        f"{detail}. That a pole can be read does not say that the model acts on it. {FOLDS_NOTE}",
    )


def _where(curves: Sequence[LayerCurve]) -> Finding:
    parts = []
    for curve in curves:
        last = curve.accuracy.lengths[-1]
        above = curve.above_chance
        where = (
            f"layers {_ranges(above)} of 0–{last} are above chance"
            if above
            else f"no layer of 0–{last} is shown to be above chance"
        )
        chosen = ", ".join(str(layer) for layer in sorted(set(curve.chosen_layers)))
        parts.append(f"{_name(curve.behavior)}: {where}; best {curve.best_layer}, chosen inside the folds {chosen}")
    return Finding(
        "In which layers?",
        "; ".join(parts) + ".",
        "Above chance: the lower limit, which holds for all layers at once, lies above 50 %. Where the chosen layers "
        "differ from fold to fold, the best layer is not known, only a range of good ones.",
    )


def _pooled(result: Probing) -> Finding:
    parts = []
    for behavior in _behaviors(result):
        own = {curve.pooling: curve.nested for curve in result.curves if curve.behavior == behavior}
        parts.append(f"{_name(behavior)}: last {share(own['last'])}, mean {share(own['mean'])}")
    return Finding(
        "Does the last token carry what the whole statement carries?",
        "; ".join(parts) + ".",
        "Statements end with a full stop, so the last token's embedding (layer 0) knows at most the length; what it "
        "knows later has been carried there by attention. Layers chosen inside the folds.",
    )


def _summary(result: Probing) -> Table:
    rows = tuple(
        (
            _name(c.behavior),
            c.pooling,
            share(c.nested),
            str(c.best_layer),
            f"{share(c.best)} ± {_percent(c.deviation[c.best_layer])}",
            _p(c.chance_p),
            "held" if c.above_chance else "not measured",
        )
        for c in result.curves
    )
    return Table(
        "Linear separability, from " + count_text(result.counts["statements"], "statement"),
        ("behavior", "state", "nested", "best", "there", "p", "separable"),
        rows,
        strong=(2,),
        note=(
            "Supposed by the framework: text of the two poles differs in the model's own terms (Wolf et al. 2024, "
            "Appendix K). Separable: held if some layer lies above chance, all layers considered; not measured if "
            "these statements do not show it, which is no evidence of its absence. Nested: accuracy with the layer "
            "chosen without the judged statements. Best, there: the best layer and its accuracy, picked after "
            "looking; limits that hold for all layers of its row at once, ± over the folds. p: of so high a best "
            "layer without any signal, corrected for the choice. Each row holds by itself."
        ),
    )


def _layer_table(result: Probing, pooling: str) -> Table:
    curves = _of_pooling(result, pooling)
    rows = tuple(
        (str(layer), *(_cell(c.accuracy, i, c.deviation[i]) for c in curves))
        for i, layer in enumerate(curves[0].accuracy.lengths)
    )
    return Table(
        f"Accuracy in %, {POOLING_NAMES[pooling]}",
        ("layer", *(_name(c.behavior) for c in curves)),
        rows,
        strong=(),
        note="± over the folds; [limits that hold for all layers of a column at once].",
    )


def _cell(band: Band, i: int, deviation: float) -> str:
    value, low, high = (100 * column[i] for column in (band.value, band.low, band.high))
    return f"{value:.0f} ± {100 * deviation:.0f} [{low:.0f}, {high:.0f}]"


def _layer_chart(result: Probing, number: int, behavior: str) -> Chart:
    own = [curve for curve in result.curves if curve.behavior == behavior]
    last = own[0].accuracy.lengths[-1]
    best = next(curve for curve in own if curve.pooling == "last")
    chart = Chart(
        key=f"layers-{number}",
        title=f"{_name(behavior)}, by layer",
        caption=(
            "Share of statements judged right by a classifier fitted without them. Light band: all layers at once, "
            f"with {100 * best.accuracy.level:g}\u00a0% confidence; darker: each layer. The best layer is picked after "
            f"looking; chosen inside the folds, the last token has {share(best.nested)}."
        ),
        alt=(
            f"Accuracy against layer for {_name(behavior)}: "
            + "; ".join(f"{POOLING_NAMES[c.pooling]} best at layer {c.best_layer} with {share(c.best)}" for c in own)
        ),
        x_title="layer (0: embeddings)",
        y_title="share of statements judged right (0 … 1)",
        y_range=(min(0.4, *(min(c.accuracy.low) for c in own)) - 0.02, 1.02),
        x_range=(-0.3, last + 0.3),
        x_name="layer",
    )
    for curve in own:
        chart.band(curve.accuracy, POOLING_NAMES[curve.pooling], _STYLES[curve.pooling])
    chart.level(0.5, "chance", Style("faint", dash="dash", width=1.0))
    return chart


def _picture_chart(number: int, picture: Picture) -> Chart:
    points = (*picture.negative, *picture.positive)
    axes = [[point[i] for point in points] for i in range(2)]
    first, second = picture.shares
    chart = Chart(
        key=f"picture-{number}",
        title=f"{_name(picture.behavior)}, layer {picture.layer}, {POOLING_NAMES[picture.pooling]}",
        caption=(
            f"The first direction holds {_percent(first)} of the variance of these statements, the second "
            f"{_percent(second)}, so that {_percent(max(1 - first - second, 0.0))} is not in the picture. Each feature "
            "has been standardised first."
        ),
        alt=(
            f"{len(picture.negative)} negative and {len(picture.positive)} positive statements of "
            f"{_name(picture.behavior)} along two principal components, {_percent(first + second)} of the variance."
        ),
        x_title=f"first component ({_percent(first)} of the variance)",
        y_title=f"second component ({_percent(second)})",
        y_range=_padded(axes[1]),
        x_range=_padded(axes[0]),
        height=430,
        x_name="statement",
    )
    for pole, style in (("negative", Style("negative", marker="circle")), ("positive", Style("positive", marker="x"))):
        own = picture.negative if pole == "negative" else picture.positive
        chart.points([x for x, _ in own], [y for _, y in own], f"{pole} pole", style)
    return chart


def _misplaced_table(picture: Picture) -> Table:
    return Table(
        f"{_name(picture.behavior)}, layer {picture.layer}, {POOLING_NAMES[picture.pooling]}",
        ("statement", "pole", "margin"),
        tuple((one_line(each.text, 160), each.pole, f"{each.margin:.2f}") for each in picture.misplaced),
        strong=(),
        empty="None: every statement was judged right.",
    )


def _methods(curves: Sequence[LayerCurve]) -> dict[str, Estimate | Band]:
    first = curves[0]
    return {"accuracy by layer": first.accuracy, "best layer": first.best, "layer chosen inside folds": first.nested}


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def _ranges(layers: Sequence[int]) -> str:
    """Runs of neighbours: "3, 5–9"."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def _name(behavior: str) -> str:
    return one_line(behavior, 60)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
