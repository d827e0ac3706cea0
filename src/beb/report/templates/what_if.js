"use strict";
// Every bound of the page at the settings supposed, as in beb.experiments.what_if: name, measured and fixed arguments.
// measured: along, back, family, gamma_n by name, and curve; numbers in lists, values first.
const whatIfAsked = ({ worstGamma, betaUnder }, measured, at) => {
  const { along, back, curve, family, gamma_n: gammas } = measured;
  const { epsilon, delta } = at, { log_inverse_alpha, beta, gamma } = along;
  const model = { log_inverse_alpha, beta, gamma };
  const first = () => ["single_prompt", model, { epsilon }];
  return {
    "theorem-1": first,
    "theorem-5": () => ["random_prompt", { ...model, sigma2: along.sigma2 }, { epsilon, delta }],
    "theorem-2": () => ["after_prefix", back, { epsilon, delta, prefix_sentences: at.prefix }],
    "theorem-3": () => {
      const replies = Array(at.replies).fill(at.reply_sentences);
      return replies.length ? ["conversation", back, { epsilon, delta, replies }] : first();
    },
    "theorem-4": () => {
      const gammaN = gammas[at.best_of] ?? worstGamma(gamma, at.best_of);
      return ["best_of_n", { log_inverse_alpha, beta, gamma_n: gammaN }, { epsilon, n: at.best_of }];
    },
    "appendix-i": () => ["relaxed", { ...model, beta: betaUnder(curve, at.eta) }, { epsilon, eta: at.eta }],
    converse: () => ["converse", family, { epsilon, behavior_floor_negative: -1 }],
  };
};

// (reading, at) => { bound: { paper, sharp } with limits, or null }.
const whatIfBounds = (payload) => {
  const arithmetic = boundsArithmetic(payload.arguments);
  const measured = payload.readings.map((each) =>
    ({ ...each, curve: each.curve.map((side) => side.map((kl, i) => [i + 1, kl])) }));
  return (reading, at) => {
    const asked = whatIfAsked(arithmetic, measured[reading], at);
    return Object.fromEntries(payload.shown.map((key) => [key, arithmetic.propagate(...asked[key]())]));
  };
};

const whatIfPayload = (text) =>
  JSON.parse(text, (_, value) => (value === "Infinity" || value === "-Infinity" ? Number(value) : value));

// The texts of one bound: { value, interval } of each form.
const whatIfTexts = (bound, words) => {
  const { valueText, denseLimits } = roundedNumbers;
  if (!bound) return { sharp: { value: words.no_bound, interval: "" }, paper: { value: words.no_bound, interval: "" } };
  const told = (limits) => ({ value: valueText(limits), interval: denseLimits(limits) });
  const sharp = told(bound.sharp);
  if (bound.sharp[0] === Infinity) {
    Object.assign(sharp, { value: words.never }, bound.sharp[1] === Infinity ? { interval: "" } : {});
  }
  return { sharp, paper: bound.paper ? told(bound.paper) : { value: words.no_paper_form, interval: "" } };
};

(() => {
  const root = document.getElementById("what-if");
  const payload = whatIfPayload(document.getElementById("what-if-inputs").textContent);
  const bounds = whatIfBounds(payload), draws = whatIfDraws(payload), own = payload.settings;
  const { fixed, places, valueText, intervalText } = roundedNumbers;
  const { worstGamma } = boundsArithmetic(payload.arguments);
  const controls = [...root.querySelectorAll("[data-setting]")].map((box) => ({
    box, key: box.dataset.setting, slider: box.querySelector("[type=range]"), field: box.querySelector("[type=number]"),
    whole: "whole" in box.dataset, log: box.dataset.scale === "log", low: Number(box.dataset.low),
    high: Number(box.dataset.high), step: Number(box.dataset.step), least: Number(box.dataset.least),
    most: Number(box.dataset.most), problem: box.querySelector("[data-problem]"),
  }));
  const rows = [...root.querySelectorAll("[data-bound]")];
  const readings = [...root.querySelectorAll("[name=what-if-reading]")];
  const reset = root.querySelector("[data-reset]"), level = root.querySelector("[data-level]");
  const status = root.querySelector("[data-status]");
  const state = { ...own };
  const reading = () => readings.findIndex((each) => each.checked);

  const shown = (value) => String(Number(value.toPrecision(6))).replace("-", "−");
  const toPosition = (control, value) => {
    const { low, high, log } = control;
    const share = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    return Math.min(Math.max(share, 0), 1);
  };
  const fromPosition = (control, share) => {
    const { low, high, log, step } = control;
    const value = log ? low * (high / low) ** share : low + share * (high - low);
    if (!log || control.whole) return Number((Math.round(value / step) * step).toFixed(6));
    return Number(value.toPrecision(2));
  };

  // The axis is one for all settings, so that bars move and not the axis: about twice what the run's own bounds reach.
  const finite = payload.readings.flatMap((_, i) => Object.values(bounds(i, own)))
    .flatMap((bound) => (bound ? [...bound.sharp, ...(bound.paper ?? [])] : [])).filter(Number.isFinite);
  const wanted = Math.min(2 * Math.max(...finite, payload.tested), 3000);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const top = Math.max([1, 3, 10].find((each) => each * power >= wanted) * power, 30);
  const at = (x) => 100 * Math.min(Math.log1p(x) / Math.log1p(top), 1);
  const ticks = [0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000].filter((x) => x <= top);

  const element = (parent, name, text = "") => {
    const made = document.createElement("span");
    made.className = name;
    made.textContent = text;
    return parent.appendChild(made);
  };
  for (const axis of root.querySelectorAll("[data-axis]")) {
    for (const x of ticks) element(axis, "wi-tick", x.toLocaleString("en")).style.left = `${at(x)}%`;
  }
  for (const row of rows) {
    const track = row.querySelector("[data-track]");
    for (const x of ticks) element(track, "wi-grid").style.left = `${at(x)}%`;
    if (payload.tested <= top) element(track, "wi-tested").style.left = `${at(payload.tested)}%`;
    const parts = {};
    for (const form of ["sharp", "paper"]) {
      for (const part of ["own-bar", "own-dot", "bar", "dot"]) {
        parts[`${form}-${part}`] = element(track, `wi-${part} wi-${form}`);
      }
    }
    if (draws) {
      parts.strip = whatIfStrip(track, payload.draws.count);
      parts.more = element(track, "wi-more");
    }
    row.parts = parts;
  }

  const place = (parts, form, kind, limits) => {
    const bar = parts[`${form}-${kind}bar`], dot = parts[`${form}-${kind}dot`];
    bar.hidden = dot.hidden = !limits;
    if (!limits) return;
    const [value, low, high] = limits;
    bar.style.left = `${at(low)}%`;
    bar.style.width = `${at(high) - at(low)}%`;
    bar.classList.toggle("wi-beyond", high > top);
    bar.hidden = low > top;
    dot.style.left = `${at(value)}%`;
    dot.classList.toggle("wi-beyond", value > top);
  };

  // Draws beyond the axis are not ticks at its end: a mark there says that there are some.
  const writeDraws = (row, drawn, bound) => {
    const { low, median, high, without, infinite } = whatIfSpread(drawn, bound), key = row.dataset.bound;
    const lengths = drawn.map((bound) => (bound ? bound.sharp : Infinity));
    row.parts.strip(lengths.filter((x) => x <= top).map(at));
    row.parts.more.hidden = lengths.every((x) => x <= top);
    row.querySelector("[data-draws-text]").textContent = `In the draws: 5th percentile ${low}, 50th ${median}, ` +
      `95th ${high} sentences; no finite bound in ${without}.`;
    row.querySelector("[data-without]").textContent = infinite ? `no finite bound in ${without} of draws` : "";
    const told = { low, median, high, without };
    for (const cell of root.querySelectorAll(`[data-drawn=${key}] [data-percentile]`)) {
      cell.textContent = told[cell.dataset.percentile];
    }
  };

  const difference = (bound, before) => {
    if (!bound || !before || !Number.isFinite(bound.sharp[0]) || !Number.isFinite(before.sharp[0])) {
      return bound?.sharp[0] === before?.sharp[0] ? "" : "—";
    }
    const change = bound.sharp[0] - before.sharp[0];
    if (change === 0) return "";
    const text = fixed(change, places(...bound.sharp).value);
    return /[1-9]/.test(text) ? (change > 0 ? `+${text}` : text) : "";
  };

  const write = (row, bound, before) => {
    const texts = whatIfTexts(bound, payload.words), change = difference(bound, before);
    for (const form of ["sharp", "paper"]) {
      row.querySelector(`[data-value=${form}]`).textContent = texts[form].value;
      row.querySelector(`[data-interval=${form}]`).textContent = texts[form].interval;
      place(row.parts, form, "", bound?.[form]);
      place(row.parts, form, "own-", before?.[form]);
    }
    row.querySelector("[data-change]").textContent = change || "as the run";
    row.classList.toggle("wi-moved", change !== "");
    for (const echo of root.querySelectorAll(`[data-echo=${row.dataset.bound}]`)) {
      echo.textContent = `${row.dataset.name}: ${texts.sharp.value} ${texts.sharp.interval} sentences`;
    }
    return change ? `${row.dataset.name}: ${texts.sharp.value} ${texts.sharp.interval} sentences, ${change}` : "";
  };

  const notes = () => {
    const { along: { gamma }, gamma_n: measured } = payload.readings[reading()];
    const raised = gamma.map((x) => x + state.epsilon);
    const gammaN = measured[state.best_of], raisedN = (gammaN ?? worstGamma(gamma, state.best_of))
      .map((x) => x + state.epsilon);
    const source = gammaN ? "γₙ measured" : "worst γₙ";
    const said = { "theorem-4": `γₙ\u00a0+\u00a0ε = ${valueText(raisedN)} here, ${source}.`, "theorem-3": "" };
    if (raisedN[0] >= 1) said["theorem-4"] = "Says nothing here: γₙ + ε ≥ 1, which no response exceeds.";
    if (!state.replies) said["theorem-3"] = "No reply yet: Theorem 1 itself.";
    else said["theorem-3"] = `${fixed(state.replies * state.reply_sentences, 0)} sentences of replies in all.`;
    for (const row of rows) {
      if (row.dataset.bound in said) row.querySelector("[data-note]").textContent = said[row.dataset.bound];
    }
    level.textContent = `${valueText(raised)} ${intervalText(raised)}`;
    root.querySelector("[data-trivial]").hidden = state.epsilon < 1 - gamma[0];
  };

  let waiting = 0;
  const announce = (said) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { status.textContent = said.filter(Boolean).join("; ") || "As the run measured it."; }, 500);
  };

  const update = (from = null) => {
    const now = bounds(reading(), state), before = bounds(reading(), own);
    const drawn = draws?.(reading(), state);
    for (const control of controls) {
      const { slider, field, key, box } = control;
      if (from !== slider) slider.value = String(1000 * toPosition(control, state[key]));
      slider.setAttribute("aria-valuetext", `${shown(state[key])} ${box.dataset.unit}`.trim());
      if (from !== field) {
        field.value = String(Number(state[key].toPrecision(6)));
        field.removeAttribute("aria-invalid");
        control.problem.textContent = "";
      }
      box.classList.toggle("wi-changed", state[key] !== own[key]);
    }
    const said = rows.map((row) => write(row, now[row.dataset.bound], before[row.dataset.bound]));
    if (drawn) for (const row of rows) writeDraws(row, drawn[row.dataset.bound], now[row.dataset.bound]);
    reset.disabled = controls.every(({ key }) => state[key] === own[key]);
    notes();
    announce(said);
  };

  for (const control of controls) {
    const { key, slider, field, box } = control;
    slider.disabled = field.disabled = false;
    box.querySelector("[data-mark]").style.setProperty("--at", String(toPosition(control, own[key])));
    slider.addEventListener("input", () => {
      const value = fromPosition(control, Number(slider.value) / 1000);
      // A slider near the run's own place means the run's own value, which its steps may miss.
      const near = Math.abs(toPosition(control, own[key]) - Number(slider.value) / 1000) < 0.006;
      state[key] = near && !control.whole ? own[key] : value;
      update(slider);
    });
    slider.addEventListener("keydown", (event) => {
      const turn = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (!turn) return;
      event.preventDefault();
      step(control, turn);
      update();
    });
    field.addEventListener("input", () => {
      const value = field.value.trim() === "" ? NaN : Number(field.value);
      const right = value >= control.least && value <= control.most && (!control.whole || Number.isInteger(value));
      field.toggleAttribute("aria-invalid", !right);
      if (!right) field.setAttribute("aria-invalid", "true");
      control.problem.textContent = right ? "" : `Accepted: ${box.dataset.accepted}.`;
      if (!right) return;
      state[key] = value;
      update(field);
    });
    field.addEventListener("change", () => update());
  }

  // Keys go by the smallest step that shows: one of `step`, or on a logarithmic scale a tenth of the leading digit.
  function step(control, turn) {
    const { key, log, whole, low, high } = control;
    const value = state[key];
    const unit = log && value >= 20 * control.step ? 10 ** (Math.floor(Math.log10(value)) - 1) : control.step;
    const moved = Number((value + turn * (whole ? Math.max(1, Math.round(unit)) : unit)).toPrecision(6));
    state[key] = Math.min(Math.max(moved, low), high);
  }

  for (const each of readings) {
    each.disabled = false;
    each.addEventListener("change", () => update());
  }
  reset.addEventListener("click", () => {
    Object.assign(state, own);
    update();
    clearTimeout(waiting);
    status.textContent = "Reset to the run's values.";
  });
  root.classList.add("wi-live");
  update();
  clearTimeout(waiting);
})();
