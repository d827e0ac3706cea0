"use strict";
// The theorems' arithmetic, as in beb.core.bounds and beb.report.rounding: pure functions, no page.
// table: per argument the least and the most accepted number, and the direction in which bounds grow with it.
const boundsArithmetic = (table) => {
  const LOG_2 = Math.log(2), LOG_4 = Math.log(4), LARGEST = Number.MAX_VALUE;

  class NoBound extends Error {}

  const check = (values) => {
    for (const [name, value] of Object.entries(values)) {
      const { least, most } = table[name];
      if (!(value >= least && value <= most)) throw new RangeError(`${name} is ${value}`);
    }
    for (const name of ["prefix_sentences", "n"]) {
      if (name in values && !Number.isInteger(values[name])) throw new RangeError(`${name} is ${values[name]}`);
    }
    if (values.log_inverse_alpha === Infinity) throw new NoBound("α = 0");
    if ("beta" in values && values.beta <= 0) throw new NoBound("β ≤ 0");
  };

  const finiteLength = (sentences) => {
    if (!Number.isFinite(sentences)) throw new NoBound("longer than any number");
    return sentences;
  };

  const logOdds = (logInverseAlpha) => {
    if (logInverseAlpha === 0) return Infinity;
    if (logInverseAlpha < LOG_2) return -Math.log(Math.expm1(logInverseAlpha));
    return -(logInverseAlpha + Math.log1p(-Math.exp(-logInverseAlpha)));
  };

  const paperLogRatio = (a) => a.log_inverse_alpha - Math.log(a.epsilon) + LOG_4;

  const requiredLogRatio = (a) => {
    const slack = (1 - a.gamma) - a.epsilon;
    if (slack <= 0 || a.log_inverse_alpha === 0) return -Infinity;
    return Math.log(slack / a.epsilon) - logOdds(a.log_inverse_alpha);
  };

  const requiredLogRatioBestOfN = (a) => {
    const slack = (1 - a.gamma_n) - a.epsilon;
    if (slack <= 0 || a.log_inverse_alpha === 0) return -Infinity;
    const share = a.epsilon / (1 - a.gamma_n);
    const logWeight = (share < 0.5 ? Math.log1p(-share) : Math.log(slack / (1 - a.gamma_n))) / a.n;
    return logWeight - Math.log(-Math.expm1(logWeight)) - logOdds(a.log_inverse_alpha);
  };

  const worstGammaN = (gamma, n) => {
    if (gamma >= 0) return 1 - 2 * ((1 - gamma) / 2) ** n;
    return -1 - 2 * Math.expm1(n * Math.log1p(-(1 + gamma) / 2));
  };

  const cantelliDeviations = (delta) => Math.sqrt(1 - delta) / Math.sqrt(delta);

  const largerRoot = (spread, needed) => {
    if (needed < 0 && spread < 2 * Math.sqrt(-needed)) return 0;
    const half = spread / 2;
    if (needed >= 0) return half + Math.hypot(half, Math.sqrt(needed));
    const below = Math.sqrt(-needed);
    return half + Math.sqrt(half - below) * Math.sqrt(half + below);
  };

  const singlePrompt = (a) => {
    check(a);
    const paper = paperLogRatio(a) / a.beta;
    return { paper: finiteLength(paper), sharp: finiteLength(Math.max(0, requiredLogRatio(a)) / a.beta) };
  };

  const randomPrompt = (a) => {
    check(a);
    const sigma = Math.sqrt(a.sigma2);
    const meanPart = 2 * paperLogRatio(a) / a.beta;
    const spreadPart = (2 * sigma / a.beta) * (2 * sigma / a.beta) / a.delta;
    const root = largerRoot(sigma * cantelliDeviations(a.delta) / a.beta, requiredLogRatio(a) / a.beta);
    return { paper: finiteLength(Math.max(meanPart, spreadPart)), sharp: finiteLength(root * root) };
  };

  const afterPrefix = (a) => {
    check(a);
    const drift = a.beta_prime * a.prefix_sentences;
    const spread = Math.sqrt(a.sigma2) * Math.sqrt(a.prefix_sentences);
    const paper = paperLogRatio(a) + drift + spread / Math.sqrt(a.delta);
    const needed = requiredLogRatio(a) + (drift + spread * cantelliDeviations(a.delta));
    return { paper: finiteLength(paper / a.beta + 1), sharp: needed > 0 ? finiteLength(needed / a.beta + 1) : 0 };
  };

  const conversation = ({ replies, ...a }) => {
    check(a);
    if (!replies.length || replies.some((each) => !(Number.isInteger(each) && each >= 1))) {
      throw new RangeError(`replies are ${replies}`);
    }
    const n = replies.length, sigma = Math.sqrt(a.sigma2);
    const total = replies.reduce((sum, each) => sum + each, 0);
    let drag = 0;
    for (const each of replies) drag += a.beta_prime * each + sigma * Math.sqrt(n * each) / Math.sqrt(a.delta);
    const resistance = a.beta_prime * total + sigma * Math.sqrt(total) * cantelliDeviations(a.delta);
    const needed = Math.max(0, requiredLogRatio(a) + resistance);
    return {
      paper: finiteLength((paperLogRatio(a) + drag) / a.beta + n),
      sharp: finiteLength(needed / a.beta + n),
    };
  };

  const bestOfN = (a) => {
    check(a);
    const paper = (paperLogRatio(a) + Math.log(a.n)) / a.beta;
    return { paper: finiteLength(paper), sharp: finiteLength(Math.max(0, requiredLogRatioBestOfN(a)) / a.beta) };
  };

  const relaxed = (a) => {
    check(a);
    const needed = Math.max(0, requiredLogRatio(a));
    const exponent = Math.log1p((1 - a.eta) * needed / a.beta) / (1 - a.eta);
    return { paper: null, sharp: finiteLength(exponent < 709.7 ? Math.expm1(exponent) : Infinity) };
  };

  const converse = (a) => {
    check(a);
    const floor = a.behavior_floor_positive;
    const fall = floor - Math.min(a.behavior_floor_negative, floor);
    const distance = floor - (a.gamma + a.epsilon);
    if (distance < 0) return { paper: null, sharp: 0 };
    if (distance >= fall) return { paper: null, sharp: Infinity };
    const odds = distance > 0 ? Math.log(distance / (fall - distance)) : -Infinity;
    const needed = odds - logOdds(a.log_inverse_alpha), each = a.max_log_ratio_per_sentence;
    if (needed < 0) return { paper: null, sharp: 0 };
    return { paper: null, sharp: each > 0 ? needed / each : Infinity };
  };

  const FUNCTIONS = {
    single_prompt: singlePrompt, random_prompt: randomPrompt, after_prefix: afterPrefix, conversation,
    best_of_n: bestOfN, relaxed, converse,
  };

  const clip = (name, value) => Math.min(Math.max(value, table[name].least), table[name].most);

  const corner = (inputs, side) => Object.fromEntries(Object.entries(inputs).map(([name, [, low, high]]) => {
    const limit = clip(name, table[name].direction * side < 0 ? low : high);
    return [name, side < 0 ? Math.min(Math.max(limit, -LARGEST), LARGEST) : limit];
  }));

  const orNull = (compute) => {
    try {
      return compute();
    } catch (problem) {
      if (problem instanceof NoBound) return null;
      throw problem;
    }
  };

  // Interval of a bound from [value, low, high] of its inputs, at the two extreme corners of the box that they span.
  // Returns { paper, sharp }, each [value, low, high] in sentences or null; null where the values have no bound.
  const propagate = (name, inputs, fixed) => orNull(() => {
    const compute = FUNCTIONS[name];
    const values = Object.fromEntries(Object.entries(inputs).map(([key, limits]) => [key, limits[0]]));
    const bound = compute({ ...values, ...fixed });
    const shortest = compute({ ...corner(inputs, -1), ...fixed });
    const far = corner(inputs, 1);
    const known = Object.values(far).every(Number.isFinite);
    const longest = known ? orNull(() => compute({ ...far, ...fixed })) : null;
    const interval = (value, low, high) => [value, Math.min(low, value), Math.max(high, value)];
    return {
      paper: bound.paper === null ? null : interval(bound.paper, shortest.paper, longest ? longest.paper : Infinity),
      sharp: interval(bound.sharp, shortest.sharp, longest ? longest.sharp : Infinity),
    };
  });

  // The bound { paper, sharp } at the values alone, the first of each input's numbers; null where there is none.
  const compute = (name, inputs, fixed) => orNull(() =>
    FUNCTIONS[name]({ ...Object.fromEntries(Object.entries(inputs).map(([key, [value]]) => [key, value])), ...fixed }));

  // γₙ at worst, from γ's limits; the largest β whose β/k^η stays under the divergence curve, from the curve's: lists
  // of [k, divergence of sentence k].
  const worstGamma = (limits, n) => limits.map((gamma) => worstGammaN(Math.min(Math.max(gamma, -1), 1), n));
  const betaUnder = (curve, eta) => curve.map((side) => Math.min(...side.map(([k, each]) => each * k ** eta)));

  return Object.freeze({ propagate, compute, worstGamma, betaUnder });
};

// Numbers rounded to what their interval carries.
const roundedNumbers = (() => {
  const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  const EXTRA = 25; // digits beyond the last one shown: enough to tell a tie from its neighbours

  const magnitude = (x) => Number(Math.abs(x).toExponential().split("e")[1]);

  // JavaScript rounds ties up, the report to even: look at the digits that follow.
  const halfEven = (longer, rounded, down) => {
    const [kept, rest] = [longer.slice(0, -EXTRA), longer.slice(-EXTRA)];
    const tie = /^50*$/.test(rest) && /[02468]\.?$/.test(kept);
    return tie ? down(kept) : rounded;
  };

  const decimalsOf = (x, decimals) => {
    const places = Math.min(decimals, 100 - EXTRA);
    return halfEven(x.toFixed(places + EXTRA), x.toFixed(places), (kept) => kept.replace(/\.$/, ""));
  };

  const wholeTo = (x, zeros) => {
    const unit = 10 ** zeros, below = Math.floor(x / unit), rest = x - below * unit;
    const up = rest > unit / 2 || (rest === unit / 2 && below % 2 === 1);
    return String((below + (up ? 1 : 0)) * unit);
  };

  const plain = (x, decimals) => (decimals < 0 ? wholeTo(x, -decimals) : decimalsOf(x, decimals));

  const scientific = (x, digits) => {
    const [mantissa, exponent] = x.toExponential(digits + EXTRA).split("e");
    const usual = x.toExponential(digits).split("e");
    const kept = halfEven(mantissa, usual[0], (text) => text.replace(/\.$/, ""));
    const power = kept === usual[0] ? usual[1] : exponent;
    const raised = [...String(Number(power))].map((each) => SUPERSCRIPTS[each]).join("");
    return `${kept} × 10${raised}`;
  };

  const fixed = (value, decimals) => {
    const sign = value < 0 ? "−" : "", x = Math.abs(value);
    if (x === Infinity) return `${sign}∞`;
    const power = x > 0 ? magnitude(x) : 0;
    if (x >= 1e7 && decimals <= 0) return sign + scientific(x, Math.min(Math.max(power + decimals, 1), 15));
    if (x > 0 && x < 1e-4 && decimals > 4) return sign + scientific(x, Math.max(power + decimals, 0));
    const text = plain(x, Math.min(decimals, 12));
    const [whole, part] = text.split(".");
    const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? `.${part}` : "");
    return /[1-9]/.test(text) ? sign + grouped : grouped;
  };

  const twoDigits = (half) => 1 - magnitude(half);

  const places = (value, low, high) => {
    const sides = [Math.abs(low - value), Math.abs(high - value)];
    const finite = sides.filter((side) => Number.isFinite(side) && side > 0);
    if (!finite.length) {
      const known = [value, low, high].find((x) => Number.isFinite(x) && x !== 0);
      const each = known === undefined ? 0 : (low === high ? 4 : 3) - 1 - magnitude(known);
      return { value: each, low: each, high: each };
    }
    const [least, most] = [Math.min(...finite), Math.max(...finite)];
    let own = sides.map((side) => twoDigits(finite.includes(side) ? side : least));
    if (most < 10 * least) own = Array(2).fill(twoDigits(Math.sqrt(least * most)));
    const shown = Math.max(...own);
    const vanishes = Number.isFinite(value) && value !== 0 && !/[1-9]/.test(plain(Math.abs(value), shown));
    return { value: shown + (vanishes ? 1 : 0), low: own[0], high: own[1] };
  };

  const valueText = ([value, low, high]) =>
    Number.isFinite(value) ? fixed(value, places(value, low, high).value) : "none";

  const intervalText = ([value, low, high]) => {
    if (low === high) return "exact";
    if (low === -Infinity && high === Infinity) return "[no limits]";
    const shown = places(value, low, high);
    const lower = Number.isFinite(low) ? fixed(low, shown.low) : "no lower limit";
    return `[${lower}, ${Number.isFinite(high) ? fixed(high, shown.high) : "no upper limit"}]`;
  };

  const denseLimits = (limits) => {
    const text = intervalText(limits);
    if (text === "[no limits]") return "(−∞, ∞)";
    return text.replace("no upper limit]", "∞)").replace("[no lower limit", "(−∞");
  };

  return Object.freeze({ fixed, places, valueText, intervalText, denseLimits });
})();
