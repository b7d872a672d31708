/** KL of two Gaussians, forward and reverse: both numbers, and the integrands whose areas they are. */

import { divergence as kl, linspace, logNormal } from "./numbers.js";
import { axes, button, curve, group, plate, readout, slider } from "./page.js";

const PRESETS = {
  "q inside p": [0, 0.5, 0, 2],
  "q around p": [0, 2, 0, 0.5],
  "equal widths": [-1, 1, 1, 1],
};

export const divergence = {
  question: "q = N(0, 0.5²) lies well inside p = N(0, 2²). Which divergence is larger?",
  answers: [
    "KL(q ‖ p), in which q does the averaging",
    "KL(p ‖ q), in which p does the averaging",
    "neither: it is one distance, measured from either end",
  ],
  right: 1,
  why:
    "Nearly half of p’s weight lies more than three standard deviations of q away from its mean. There log(p / q) is " +
    "large, and KL(p ‖ q) counts it.",
  build,
};

function build(stage) {
  const state = { m: 0, s: 0.5, mean: 0, sd: 2 };
  const plates = group(stage, "plates");
  const views = [
    plate(plates, "The two densities", tall, (...canvas) => densities(state, ...canvas)),
    plate(plates, "q log(q / p): its area is KL(q ‖ p)", tall, (...canvas) => integrand(state, "q", ...canvas)),
    plate(plates, "p log(p / q): its area is KL(p ‖ q)", tall, (...canvas) => integrand(state, "p", ...canvas)),
  ];
  const controls = group(stage, "controls");
  const say = readout(controls);
  function update() {
    const { m, s, mean, sd } = state;
    const [forward, reverse] = [kl(m, s, mean, sd), kl(mean, sd, m, s)];
    say(`KL(q ‖ p) = ${forward.toFixed(3)} nats. KL(p ‖ q) = ${reverse.toFixed(3)} nats.`);
    views[0].describe(`q has mean ${m} and standard deviation ${s}, p has mean ${mean} and standard deviation ${sd}.`);
    views[1].describe(`Area above zero less area below: ${forward.toFixed(3)}.`);
    views[2].describe(`Area above zero less area below: ${reverse.toFixed(3)}.`);
    for (const view of views) view.redraw();
  }
  const sliders = {
    m: slider(controls, { label: "mean of q", min: -3, max: 3, step: 0.05, value: state.m }, put("m")),
    s: slider(controls, { label: "standard deviation of q", min: 0.3, max: 3, step: 0.05, value: state.s }, put("s")),
    mean: slider(controls, { label: "mean of p", min: -3, max: 3, step: 0.05, value: state.mean }, put("mean")),
    sd: slider(controls, { label: "standard deviation of p", min: 0.3, max: 3, step: 0.05, value: state.sd }, put("sd")),
  };
  function put(name) {
    return (value) => {
      state[name] = value;
      update();
    };
  }
  function become([m, s, mean, sd]) {
    Object.assign(state, { m, s, mean, sd });
    for (const [name, control] of Object.entries(sliders)) control.set(state[name]);
    update();
  }
  const buttons = group(stage, "buttons");
  for (const [name, values] of Object.entries(PRESETS)) button(buttons, name, () => become(values));
  button(buttons, "swap q and p", () => become([state.mean, state.sd, state.m, state.s]));
  update();
}

const tall = (width) => Math.min(200, 0.5 * width);

/** What is drawn: as much of the line as holds both areas. */
export function range({ m, s, mean, sd }) {
  const half = Math.max(8, Math.ceil(Math.max(Math.abs(m) + 4 * s, Math.abs(mean) + 4 * sd)));
  return [-half, half];
}

function densities(state, brush, width, height, palette) {
  const { m, s, mean, sd } = state;
  const x = range(state);
  const places = linspace(...x, 321);
  const q = places.map((z) => Math.exp(logNormal(z, m, s)));
  const p = places.map((z) => Math.exp(logNormal(z, mean, sd)));
  const most = 1.1 * Math.max(...q, ...p);
  const { across, up } = axes(brush, width, height, palette, { x, y: [0, most], label: "z" });
  for (const [name, values] of Object.entries({ p, q })) {
    curve(brush, places.map(across), values.map(up), palette[name], up(0));
    const flank = name === "q" ? across(m + s) + 14 : across(mean - sd) - 14;
    brush.fillStyle = palette[name];
    brush.fillText(name, flank, up(0.6 * Math.max(...values)) - 6);
  }
}

/** What is integrated for KL(q || p) at z, in nats per unit of z. */
export function summand(z, m, s, mean, sd) {
  const log = logNormal(z, m, s);
  return Math.exp(log) * (log - logNormal(z, mean, sd));
}

function integrand(state, which, brush, width, height, palette) {
  const { m, s, mean, sd } = state;
  const x = range(state);
  const places = linspace(...x, 321);
  const both = {
    q: places.map((z) => summand(z, m, s, mean, sd)),
    p: places.map((z) => summand(z, mean, sd, m, s)),
  };
  // One scale for both, so that their areas can be compared by eye.
  const all = [...both.q, ...both.p];
  const y = [1.1 * Math.min(...all, -0.1), 1.1 * Math.max(...all, 0.1)];
  const { across, up } = axes(brush, width, height, palette, { x, y, label: "z" });
  curve(brush, places.map(across), both[which].map(up), palette[which], up(0));
  brush.strokeStyle = palette.ink;
  brush.lineWidth = 1;
  brush.strokeRect(across(x[0]), up(0), across(x[1]) - across(x[0]), 0);
}
