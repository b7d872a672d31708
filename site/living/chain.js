/**
 * From a chain of latents to diffusion, in one dimension and exactly: x = z_0 is a mixture of two Gaussians of mean 0 and
 * variance 1; q(z_t | z_{t-1}) adds noise in T steps, until z_T is standard normal; each p(z_{t-1} | z_t) is the best
 * Gaussian that there is: its mean and variance are those of q(z_{t-1} | z_t).
 */

import { linspace, logNormal } from "./numbers.js";
import { animate, axes, button, curve, grey, group, plate, readout, slider } from "./page.js";

const DATA = { weights: [0.6, 0.4], means: [-0.8, 1.2], sd: 0.2 };
const LENGTHS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
const RANGE = [-3.4, 3.4]; // what is drawn
const GRID = linspace(-6, 6, 601); // what is summed over; beyond it lies 1e-9 of a standard normal
const STEP = GRID[1] - GRID[0];
const NOISE = 0.5 * Math.log(2 * Math.PI * Math.E); // entropy of a Gaussian of variance 1, in nats

/** What is left of x in z_t after a share t / T of the noise: q(z_t | x) = N(a x, 1 - a^2). */
const left = (share) => (share >= 1 ? 0 : Math.cos((Math.PI / 2) * share));

/** The density of q(z_t) where a of x is left. */
function marginal(z, a) {
  const sd = Math.sqrt(a * a * DATA.sd ** 2 + 1 - a * a);
  return DATA.weights.reduce((sum, w, k) => sum + w * Math.exp(logNormal(z, a * DATA.means[k], sd)), 0);
}

/**
 * q(z_{t-1} | z_t), a mixture: for each hump its weight and mean, and their common variance.
 * @param {number} before a at t - 1
 * @param {number} after a at t
 */
export function reverse(z, before, after) {
  const keep = after / before; // q(z_t | z_{t-1}) = N(keep z_{t-1}, 1 - keep^2)
  const spread = before * before * DATA.sd ** 2 + 1 - before * before;
  const total = keep * keep * spread + 1 - keep * keep;
  const gain = (keep * spread) / total;
  const raw = DATA.weights.map((w, k) => w * Math.exp(logNormal(z, after * DATA.means[k], Math.sqrt(total))));
  const all = raw.reduce((a, b) => a + b);
  return {
    weights: raw.map((w) => w / all),
    means: DATA.means.map((m) => before * m + gain * (z - after * m)),
    variance: spread * (1 - gain * keep),
  };
}

/** Mean and variance of q(z_{t-1} | z_t): the Gaussian that the chain takes in its place. */
export function matched(z, before, after) {
  const { weights, means, variance } = reverse(z, before, after);
  const mean = weights.reduce((sum, w, k) => sum + w * means[k], 0);
  return { mean, variance: variance + weights.reduce((sum, w, k) => sum + w * (means[k] - mean) ** 2, 0) };
}

const integral = (values) => STEP * values.reduce((sum, value) => sum + value, 0);

/** Entropy of a density on GRID, in nats. */
const entropy = (density) => -integral(density.map((value) => (value > 0 ? value * Math.log(value) : 0)));

/**
 * A chain of T steps: the marginals of q and of p on GRID for t = 0 ... T, and what each step costs.
 * @returns {{levels: number[], q: number[][], p: number[][], losses: number[]}} losses[t - 1]: the mean over q(z_t) of
 *   KL(q(z_{t-1} | z_t) || p(z_{t-1} | z_t)) in nats. Their sum is what the bound falls short of the best, the mean of
 *   log q(x), as z_T is standard normal under both.
 */
export function chain(steps) {
  const levels = Array.from({ length: steps + 1 }, (_, t) => left(t / steps));
  const q = levels.map((a) => GRID.map((z) => marginal(z, a)));
  const p = [q[steps]];
  const losses = [];
  for (let t = steps; t >= 1; t -= 1) {
    const [before, after] = [levels[t - 1], levels[t]];
    const gaussians = GRID.map((z) => matched(z, before, after));
    const crossed = integral(gaussians.map(({ variance }, i) => q[t][i] * (NOISE + 0.5 * Math.log(variance))));
    // The entropy of z_{t-1} given z_t, by the chain rule: that of z_{t-1}, and of the noise, less that of z_t.
    const within = entropy(q[t - 1]) + NOISE + 0.5 * Math.log(1 - (after / before) ** 2) - entropy(q[t]);
    losses.unshift(Math.max(0, crossed - within)); // below zero it is rounding
    p.unshift(spreadOut(p[0], gaussians));
  }
  return { levels, q, p, losses };
}

/** The density of z_{t-1} where z_t has this density on GRID and z_{t-1} is drawn from the Gaussian at z_t. */
function spreadOut(density, gaussians) {
  const next = GRID.map(() => 0);
  gaussians.forEach(({ mean, variance }, i) => {
    const sd = Math.sqrt(variance);
    const first = Math.max(0, Math.ceil((mean - 6 * sd - GRID[0]) / STEP));
    const last = Math.min(GRID.length - 1, Math.floor((mean + 6 * sd - GRID[0]) / STEP));
    for (let j = first; j <= last; j += 1) next[j] += STEP * density[i] * Math.exp(logNormal(GRID[j], mean, sd));
  });
  return next;
}

export const diffusion = {
  question:
    "The data x have two humps. With T = 1 one step drowns x in noise, z₁ ~ N(0, 1), and one Gaussian p(x | z₁) has to " +
    "lead back. What do the draws of this model look like?",
  answers: ["two humps, like the data", "one broad hump, tallest where there are hardly any data", "the larger hump alone"],
  right: 1,
  why:
    "z₁ says nothing about x, so p(x | z₁) is one Gaussian with the data’s mean and variance. Raise T: each step back is " +
    "then small, a Gaussian fits it ever better, and the humps return.",
  build,
};

function build(stage) {
  const state = { steps: 1, t: 1, z: 0.2, model: chain(1) };
  const plates = group(stage, "plates");
  const views = [
    plate(plates, "q of each level: the data dissolve", tall, (...canvas) => columns(state, "q", ...canvas)),
    plate(plates, "p of each level: the chain brings them back", tall, (...canvas) => columns(state, "p", ...canvas)),
    plate(plates, "The level below the step: z at t − 1", tall, (...canvas) => level(state, ...canvas)),
    plate(plates, "The step back from one z at t", tall, (...canvas) => step(state, ...canvas)),
  ];
  const controls = group(stage, "controls");
  const say = readout(controls);
  const index = { min: 0, max: LENGTHS.length - 1, step: 1, value: 0, show: (i) => String(LENGTHS[i]) };
  let stop = () => {}; // the run that is under way
  const length = slider(controls, { label: "T, the number of steps", ...index }, (i) => grow(i));
  const whole = { min: 1, max: 1, step: 1, value: 1, show: String };
  const time = slider(controls, { label: "t, the step that is taken back", ...whole }, (t) => {
    stop();
    put({ t });
  });
  slider(controls, { label: "z at t, where the step starts", min: -2.5, max: 2.5, step: 0.05, value: state.z }, (z) => put({ z }));
  const buttons = group(stage, "buttons");
  button(buttons, "run the chain backwards", () => {
    stop();
    stop = animate(Math.min(4, 0.4 * state.steps), (share) => put({ t: Math.max(1, Math.ceil(state.steps * (1 - share))) }));
  });

  function grow(i) {
    stop();
    // The same share of the noise, as nearly as there is a step.
    const t = Math.max(1, Math.round((state.t / state.steps) * LENGTHS[i]));
    length.set(i);
    time.limit(1, LENGTHS[i], 1);
    put({ steps: LENGTHS[i], model: chain(LENGTHS[i]), t });
  }
  function put(change) {
    Object.assign(state, change);
    time.set(state.t);
    const { losses } = state.model;
    const all = losses.reduce((a, b) => a + b);
    say(
      `T = ${state.steps}: the bound is ${all.toFixed(3)} nats per example below the best there is. ` +
        `Step ${state.t} costs ${losses[state.t - 1].toFixed(4)} of them.`,
    );
    views[0].describe(`From ${humps(state.model.q[0])} at t = 0 to one at t = ${state.steps}.`);
    views[1].describe(`From one hump at t = ${state.steps} to ${humps(state.model.p[0])} at t = 0.`);
    views[2].describe(`q has ${humps(state.model.q[state.t - 1])} there, p has ${humps(state.model.p[state.t - 1])}.`);
    views[3].describe(`From z = ${state.z} the true step has ${humps(stepDensities(state).q)}; the Gaussian has one.`);
    for (const view of views) view.redraw();
  }
  put({});
}

const tall = (width) => Math.min(220, 0.6 * width);

/** How many local maxima a density on GRID has, in words. */
function humps(density) {
  const n = density.filter((v, i) => v > 0.01 && v > (density[i - 1] ?? 0) && v >= (density[i + 1] ?? 0)).length;
  return n === 1 ? "one hump" : `${n} humps`;
}

/** The densities of all levels, data at the left, as columns of shade; the two levels of the step are marked. */
function columns({ steps, t, model }, which, brush, width, height, palette) {
  const labels = [...new Set([0, Math.round(steps / 2), steps])];
  const x = [-0.5, steps + 0.5];
  const { across, up, box } = axes(brush, width, height, palette, { x, y: RANGE, label: "t", ticks: labels });
  const shown = [...GRID.keys()].filter((i) => Math.abs(GRID[i]) <= RANGE[1]).reverse();
  const shades = shown.flatMap((i) => model[which].map((density) => Math.min(1, density[i] / 0.8) ** 0.7));
  const size = [box.right - box.left, box.bottom - box.top];
  grey(brush, shades, steps + 1, box.left, box.top, ...size, palette.paper, palette[which]);
  brush.strokeStyle = palette.ink;
  brush.lineWidth = 1.5;
  brush.strokeRect(across(t - 1.5) + 1, up(RANGE[1]) + 1, across(t + 0.5) - across(t - 1.5) - 2, up(RANGE[0]) - up(RANGE[1]) - 2);
}

function level({ t, model }, brush, width, height, palette) {
  twoCurves(brush, width, height, palette, { q: model.q[t - 1], p: model.p[t - 1] }, t === 1 ? "x" : `z at t = ${t - 1}`);
}

function stepDensities({ t, z, model }) {
  const [before, after] = [model.levels[t - 1], model.levels[t]];
  const { weights, means, variance } = reverse(z, before, after);
  const gaussian = matched(z, before, after);
  const sd = Math.sqrt(variance);
  return {
    q: GRID.map((y) => weights.reduce((sum, w, k) => sum + w * Math.exp(logNormal(y, means[k], sd)), 0)),
    p: GRID.map((y) => Math.exp(logNormal(y, gaussian.mean, Math.sqrt(gaussian.variance)))),
  };
}

function step(state, brush, width, height, palette) {
  const label = state.t === 1 ? "x, given z₁" : `z at t = ${state.t - 1}, given z at t = ${state.t}`;
  twoCurves(brush, width, height, palette, stepDensities(state), label);
}

function twoCurves(brush, width, height, palette, { q, p }, label) {
  const most = 1.1 * Math.max(...q, ...p);
  const { across, up } = axes(brush, width, height, palette, { x: RANGE, y: [0, most], label });
  const places = GRID.filter((z) => Math.abs(z) <= RANGE[1]);
  const first = GRID.indexOf(places[0]);
  for (const [name, values] of Object.entries({ p, q })) {
    curve(brush, places.map(across), places.map((_, i) => up(values[i + first])), palette[name], up(0));
  }
  brush.textAlign = "right";
  for (const [row, name] of ["q", "p"].entries()) {
    brush.fillStyle = palette[name];
    brush.fillText(name, width - 16, 24 + 16 * row);
  }
}
