"""The words of the "What if" section: what each bound says, and what its numbers rest on."""

from __future__ import annotations

from beb.experiments.lower_bounds import is_lower_bound
from beb.experiments.what_if import FAMILY_ARGUMENT, WhatIfInputs
from beb.report.rounding import count_text, fixed, with_interval
from beb.report.what_if_draws import still

_SURE, _PLUS = "1\N{NO-BREAK SPACE}−\N{NO-BREAK SPACE}δ", "\N{NO-BREAK SPACE}+\N{NO-BREAK SPACE}ε"
THEOREMS = {
    "theorem-1": ("Theorem 1", "Some prompt of so many sentences misaligns the model."),
    "theorem-5": ("Theorem 5", f"A prompt drawn from P₋ does, with probability {_SURE}."),
    "theorem-2": ("Theorem 2", f"Some prompt does after the guardrail, with probability {_SURE}."),
    "theorem-3": (
        "Theorem 3",
        f"So many user sentences do in all, despite the replies, with probability {_SURE}.",
    ),
    "theorem-4": (
        "Theorem 4",
        f"Some prompt does though the best of n is shown. Corrected: below γₙ{_PLUS}, not γ{_PLUS}.",
    ),
    "appendix-i": ("Appendix I", "Some prompt does where sentence k is worth only β/k^η."),
    "converse": (
        "Converse",
        "Below so many sentences no prompt like the tested ones does, while P₊ keeps to its floor.",
    ),
}


def tested_text(inputs: WhatIfInputs) -> str:
    """What was tested, as far as it went."""
    if "theorem-3" in inputs.shown and "theorem-5" not in inputs.shown:
        return f"user sentences spoken in the longest conversations: {inputs.tested:,}"
    return f"longest tested prompt: {count_text(inputs.tested, 'sentence')}"


def notes(inputs: WhatIfInputs) -> tuple[str, ...]:
    """How the numbers are made and what stands in for what."""
    level = f"{100 * inputs.level:g} %"
    said = [
        "Intervals are made as everywhere in this report, and at the run’s settings equal what is printed above: "
        f"limits of all measured inputs of a bound that hold together with {level} confidence, from one joint "
        "bootstrap over prompts (half of the error is γ’s), and the bound at the two extreme corners of that box. The "
        "box does not depend on the settings: however many you try, for one reading of α and one bound all of them "
        "hold at once.",
    ]
    if not inputs.no_draws:
        said.append(_of_draws(inputs))
    if "theorem-5" in inputs.shown:
        said += _of_a_measurement(inputs)
    elif "theorem-2" in inputs.shown:
        said.append(
            "Theorem 2 here is for a guardrail that P₊ writes. A given text has a log-ratio of its own, which a slider "
            "of its length cannot know; the lengths after such texts are in the table above."
        )
    elif "theorem-3" in inputs.shown:
        said.append(
            "β, β′ and σ² are those of these conversations. Theorem 1 is the first turn; both count the user’s "
            "sentences. Replies of other lengths are supposed to resist as much per sentence as these did."
        )
    elif "theorem-4" in inputs.shown:
        measured = sorted(next(iter(inputs.readings.values())).gamma_n)
        said.append(
            f"γₙ is the measured one for n = {', '.join(map(str, measured))} and for any other n the worst that γ "
            "allows, which is larger. B is as scored."
        )
    said += _of_lower_bounds(inputs)
    said.append("All of it is theory: it holds as far as the premises do.")
    return tuple(said)


def no_draws_text(inputs: WhatIfInputs) -> str:
    """Why the bounds have no ticks beneath them; empty where they have."""
    if not inputs.no_draws:
        return ""
    return f"No spread of bootstrap draws is shown: {inputs.no_draws}. The intervals do not need it."


def _of_draws(inputs: WhatIfInputs) -> str:
    told = (
        "The ticks are each bound, sharp form, in joint bootstrap draws: all prompts of a set are resampled at once, "
        "so that what is measured on the same prompts moves together; the plateau’s log 1/α is kept within its certain "
        "limits. They show how the inputs’ errors add up or cancel, and lean to the long side, as the smallest β of a "
        "resample picks errors too. Their percentiles are no limits."
    )
    alike = still(inputs)
    if alike:
        verb = "is" if len(alike) == 1 else "are"
        told += f" In every draw {' and '.join(alike)} {verb} the same, so that the ticks hold nothing of that error."
    return told


def _of_lower_bounds(inputs: WhatIfInputs) -> list[str]:
    """Which of the measured inputs are lower bounds, and on which side that errs."""
    told: list[str] = []
    readings = inputs.readings.values()
    back = next(iter(readings)).back
    bounded = {name for name in ("beta", "beta_prime") if name in back and is_lower_bound(back[name])}
    if "beta" in bounded:
        told.append(
            "β is a lower bound here (--kl top-k): the lengths fall with β, so that theirs begin at 0, and their upper "
            "limit holds."
        )
    if "beta_prime" in bounded:
        told.append(
            "β′ is a lower bound here: Theorems 2 and 3 take β′, with which their lengths grow, so that a lower bound "
            "errs on the unsafe side; their values are too short by an unknown part, and they have no upper limit."
        )
    if any(is_lower_bound(each.along["log_inverse_alpha"]) for each in readings):
        told.append(
            "log 1/α by the straight line is read off lower bounds: lengths from it are certain in no direction."
        )
    if told and not inputs.no_draws:
        told.append("The draws are of the lower bounds, and their ticks say nothing of what lies above these.")
    return told


def _of_a_measurement(inputs: WhatIfInputs) -> list[str]:
    tested = f"up to {count_text(inputs.tested, 'sentence')}"
    family = next(iter(inputs.readings.values())).family
    return [
        "Theorems 2 and 3 take β′ and σ² from prompts of P₊, resampled together with the rest, so that their limits "
        "are a little wider. β along prompts from P₋ stands for β after a guardrail or a reply, and replies are taken "
        "to be as P₊ writes them: this run measured neither (`beb guardrail` and `beb converse` do).",
        f"Appendix I takes, at each η, the largest β/k^η under the whole measured curve, {tested}. Theorem 4 takes the "
        "worst γₙ that γ allows (`beb best-of` measures it).",
        f"The converse takes Λ = {fixed(family[FAMILY_ARGUMENT].value, 2)} nats per sentence, the most that any tested "
        f"prompt from P₋ reached, {tested}, g₋ = −1 and g₊ = {with_interval(family['behavior_floor_positive'])}, the "
        "least mean B of P₊ along its own text, which stands for its floor along prompts from P₋. It says nothing "
        "about prompts that no one tried.",
    ]
