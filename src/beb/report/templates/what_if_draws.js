"use strict";
// Joint bootstrap draws: every bound in every draw, their percentiles in words, and a strip of ticks under each bar.

// (reading, at) => { bound: [{ paper, sharp } or null for each draw] }; null where the page holds no draws.
const whatIfDraws = (payload) => {
  if (!payload.draws) return null;
  const arithmetic = boundsArithmetic(payload.arguments);
  const { count, pool, readings } = payload.draws;

  // What `whatIfAsked` takes, of one draw; arguments without draws are known exactly.
  const inDraw = (i, measured, drawn) => {
    const points = (group) => Object.fromEntries(Object.entries(measured[group]).map(([name, limits]) =>
      [name, name in drawn[group] ? [pool[drawn[group][name]][i]] : limits]));
    const pairs = [];
    if (drawn.curve !== null) {
      const flat = pool[drawn.curve][i];
      for (let j = 0; j < flat.length; j += 2) pairs.push([flat[j], flat[j + 1]]);
    }
    return {
      along: points("along"), back: points("back"), family: points("family"), gamma_n: points("gamma_n"),
      curve: [pairs],
    };
  };
  const inputs = readings.map((drawn, reading) =>
    Array.from({ length: count }, (_, i) => inDraw(i, payload.readings[reading], drawn)));

  return (reading, at) => {
    const asked = inputs[reading].map((each) => whatIfAsked(arithmetic, each, at));
    const inAll = (key) => asked.map((each) => arithmetic.compute(...each[key]()));
    return Object.fromEntries(payload.shown.map((key) => [key, inAll(key)]));
  };
};

// Percentiles of the sharp form as texts; a draw without bound counts as infinitely long. found: that bound with its
// interval, or null: its decimal places are theirs.
const whatIfSpread = (bounds, found) => {
  const { fixed, places } = roundedNumbers;
  const lengths = Float64Array.from(bounds, (bound) => (bound ? bound.sharp : Infinity)).sort();
  const [low, median, high] = [5, 50, 95].map((share) => lengths[Math.ceil((share * lengths.length) / 100) - 1]);
  const infinite = lengths.filter((each) => each === Infinity).length;
  const own = found && places(...found.sharp).value;
  const shown = found ? { value: own, low: own, high: own } : places(median, low, high);
  const share = fixed((100 * infinite) / lengths.length, infinite > 0 && infinite < 0.1 * lengths.length ? 1 : 0);
  return {
    low: fixed(low, shown.low), median: fixed(median, shown.value), high: fixed(high, shown.high),
    without: `${share} %`, infinite,
  };
};

// Draws ticks at the given places of the axis, 0 to 100: one for each narrow bin that has any, longer for more of them,
// on one scale for all bounds. count: of all draws, those beyond the axis included.
const whatIfStrip = (track, count) => {
  const BIN = 0.75, SHORTEST = 0.25, FULL = 0.15 * count, SVG = "http://www.w3.org/2000/svg";
  const strip = document.createElementNS(SVG, "svg");
  strip.setAttribute("class", "wi-strip");
  strip.setAttribute("viewBox", "0 0 100 1");
  strip.setAttribute("preserveAspectRatio", "none");
  const ticks = strip.appendChild(document.createElementNS(SVG, "path"));
  track.appendChild(strip);
  return (places) => {
    const counts = new Map();
    for (const x of places) counts.set(Math.round(x / BIN), (counts.get(Math.round(x / BIN)) ?? 0) + 1);
    const tick = ([bin, here]) =>
      `M${(bin * BIN).toFixed(2)} 0V${(SHORTEST + (1 - SHORTEST) * Math.min(here / FULL, 1)).toFixed(2)}`;
    ticks.setAttribute("d", [...counts].map(tick).join(""));
  };
};
