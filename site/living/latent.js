/** The plane of a VAE with two latents: what each point decodes to, and for one image the exact posterior against q. */

import { bits, halves, linspace, logNormal, logSumExp, mlp, sigmoid, softplus, unpack } from "./numbers.js";
import { axes, button, choice, frame, grey, group, plate, readout, slider } from "./page.js";

const PLANE = [-4, 4];
const FIRST = 8; // the image that is shown first, an eight
const MARGIN = 26; // left of the plane, in CSS pixels
const SIDE = 41; // nodes along each side of the window on which the posterior is computed
const ROWS = 4; // rows of it that are computed at one go, so that the page goes on living
// The mean over a Gaussian, by the trapezoidal rule: for smooth integrands better than any sample.
const NODES = linspace(-4, 4, 13).map((at) => ({ at, weight: Math.exp((-at * at) / 2) }));
const TOTAL = NODES.reduce((sum, { weight }) => sum + weight, 0);

/** log p(x, z) in nats, for a standard normal prior and Bernoulli pixels. */
export function logJoint(decoder, pixels, z) {
  return mlp(decoder, z).reduce(
    (sum, logit, i) => sum + (pixels[i] ? logit : 0) - softplus(logit),
    logNormal(z[0], 0, 1) + logNormal(z[1], 0, 1),
  );
}

/** The ELBO of q = N(mean, sd^2): the mean of log p(x, z) - log q(z) under it, by 169 nodes. */
export function elbo(decoder, pixels, { mean, sd }) {
  const entropy = Math.log(2 * Math.PI * Math.E) + Math.log(sd[0] * sd[1]);
  let sum = 0;
  for (const a of NODES) {
    for (const b of NODES) {
      const z = [mean[0] + sd[0] * a.at, mean[1] + sd[1] * b.at];
      sum += a.weight * b.weight * logJoint(decoder, pixels, z);
    }
  }
  return sum / TOTAL ** 2 + entropy;
}

/** The nodes of a window along one axis. */
const along = (centre, reach) => linspace(centre - reach, centre + reach, SIDE);

/**
 * log p(x, z) on the nodes of an image's window, row by row from the top, and log p(x), its sum over the window.
 * @yields {null} after some rows, @returns {{joint: number[], evidence: number}}
 */
export function* posterior(decoder, pixels, { centre, reach }) {
  const [right, up] = [along(centre[0], reach), along(centre[1], reach).reverse()];
  const joint = [];
  for (const [row, b] of up.entries()) {
    for (const a of right) joint.push(logJoint(decoder, pixels, [a, b]));
    if (row % ROWS === 0) yield null;
  }
  return { joint, evidence: logSumExp(joint) + 2 * Math.log(right[1] - right[0]) };
}

/** The q = N(mean, diagonal) with the largest ELBO on the window, by steps along one number at a time. */
export function best(joint, { centre, reach }, start) {
  const [right, up] = [along(centre[0], reach), along(centre[1], reach).reverse()];
  const value = ([m, n, s, t]) => {
    const logs = up.flatMap((b) => right.map((a) => logNormal(a, m, Math.exp(s)) + logNormal(b, n, Math.exp(t))));
    const all = logSumExp(logs);
    return logs.reduce((sum, log, i) => sum + Math.exp(log - all) * (joint[i] - log), 0);
  };
  let at = [...start.mean, ...start.sd.map(Math.log)];
  let most = value(at);
  for (let step = reach / 4; step > reach / 500; step /= 2) {
    for (let helped = true; helped; ) {
      helped = false;
      for (let i = 0; i < 8; i += 1) {
        const trial = at.map((v, j) => (j === i >> 1 ? v + (i & 1 ? step : -step) * (j < 2 ? 1 : 2 / reach) : v));
        const reached = Math.min(trial[2], trial[3]) > Math.log(reach / SIDE) ? value(trial) : -Infinity;
        if (reached > most + 1e-7) [at, most, helped] = [trial, reached, true];
      }
    }
  }
  return { mean: at.slice(0, 2), sd: at.slice(2).map(Math.exp) };
}

export const latentMap = {
  question:
    "For each image the encoder proposes a Gaussian q(z | x), with axes along z₁ and z₂. Its ELBO falls short of " +
    "log p(x) by a gap. You may move and stretch q by hand. How far can you close the gap?",
  answers: [
    "entirely",
    "in part: some of it remains for every q of this shape",
    "not at all: the encoder’s q is the best of its shape",
  ],
  right: 1,
  why:
    "One network serves all images, and no single image gets the best q: that part can be won back by hand. The exact " +
    "posterior is no Gaussian with these axes: that part remains. The last button finds the best q of this shape.",
  build,
};

function build(stage, data) {
  const decoder = unpack(data.decoder);
  const images = data.images.map((image) => ({ ...image, pixels: bits(image.pixels, 784) }));
  const codes = halves(data.codes);
  const state = { image: images[FIRST], z: [...images[FIRST].mean], q: { ...images[FIRST] }, exact: null };
  const plates = group(stage, "plates");
  const views = [
    plate(plates, "The image x, and what z decodes to", (width) => Math.min(150, width / 2), (...canvas) => pair(state, decoder, ...canvas)),
    plate(plates, "The plane of z, and codes of images", (width) => width + 8, (...canvas) => plane(state, codes, data.labels, ...canvas)),
    plate(plates, "The frame, enlarged: exact posterior, and q", (width) => width - 8, (...canvas) => closeUp(state, ...canvas)),
  ];
  const say = readout(stage);
  const controls = group(stage, "controls");
  choice(controls, "image", images.map((image) => image.name), (i) => look(images[i]))(FIRST);
  const z = ["z₁", "z₂"].map((label, i) =>
    slider(controls, { label: `${label}, the point that is decoded`, min: -4, max: 4, step: 0.02, value: state.z[i] }, (v) => {
      state.z[i] = v;
      update();
    }),
  );
  const q = ["mean", "sd"].flatMap((part) =>
    ["z₁", "z₂"].map((label, i) =>
      slider(controls, { label: `${part === "sd" ? "standard deviation" : "mean"} of q along ${label}`, min: -4, max: 4, step: 0.005, value: 0, show: (v) => v.toFixed(3) }, (v) => {
        state.q[part] = state.q[part].map((old, j) => (i === j ? v : old));
        update();
      }),
    ),
  );
  const buttons = group(stage, "buttons");
  button(buttons, "the encoder’s q", () => take(state.image));
  const search = button(buttons, "the best q of this shape", () => take(best(state.exact.joint, state.image, state.q)));
  for (const kind of ["pointerdown", "pointermove"]) {
    views[1].canvas.addEventListener(kind, (event) => {
      if (!event.buttons) return;
      const { left, right, top, bottom } = frame(views[1].canvas.clientWidth, views[1].canvas.clientHeight, MARGIN);
      const shares = [(event.offsetX - left) / (right - left), (bottom - event.offsetY) / (bottom - top)];
      state.z = shares.map((share) => PLANE[0] + (PLANE[1] - PLANE[0]) * Math.min(1, Math.max(0, share)));
      state.z.forEach((v, i) => z[i].set(v));
      update();
    });
  }

  function take({ mean, sd }) {
    state.q = { mean: [...mean], sd: [...sd] };
    [...mean, ...sd].forEach((v, i) => q[i].set(v));
    update();
  }
  function look(image) {
    Object.assign(state, { image, z: [...image.mean], exact: null });
    search.disabled = true;
    state.z.forEach((v, i) => z[i].set(v));
    const { centre, reach } = image;
    q.forEach((control, i) => i < 2 ? control.limit(centre[i] - reach, centre[i] + reach, reach / 100) : control.limit(reach / 40, reach / 2, reach / 200));
    take(image);
    const work = posterior(decoder, image.pixels, image);
    (function go() {
      const { done, value } = work.next();
      if (state.image !== image) return;
      if (!done) return void setTimeout(go);
      state.exact = value;
      search.disabled = false;
      update();
    })();
  }
  function update() {
    const bound = elbo(decoder, state.image.pixels, state.q);
    const point = `z = (${state.z.map((v) => v.toFixed(2)).join(", ")})`;
    if (state.exact) {
      const { evidence } = state.exact;
      say(
        `log p(x) = ${evidence.toFixed(2)} nats. ELBO of this q: ${bound.toFixed(2)} nats. ` +
          `The gap, KL(q ‖ p(z | x)), is ${(evidence - bound).toFixed(2)} nats.`,
      );
    } else say(`ELBO of this q: ${bound.toFixed(2)} nats. The exact posterior is being computed.`);
    views[1].describe(`The point that is decoded is ${point}; the frame is around the posterior of ${state.image.name}.`);
    views[2].describe(`q has mean (${state.q.mean.map((v) => v.toFixed(2)).join(", ")}) and standard deviations (${state.q.sd.map((v) => v.toFixed(3)).join(", ")}).`);
    views[0].describe(`Left, ${state.image.name}; right, the pixel probabilities at ${point}.`);
    for (const view of views) view.redraw();
  }
  look(state.image);
}

function plane({ z, image }, codes, labels, brush, width, height, palette) {
  const { across, up } = axes(brush, width, height, palette, { x: PLANE, y: PLANE, label: "z₁", left: MARGIN });
  brush.textAlign = "center";
  brush.font = "10px system-ui, sans-serif";
  brush.fillStyle = palette.faint;
  [...labels].forEach((label, i) => {
    const [a, b] = [codes[2 * i], codes[2 * i + 1]];
    if (Math.max(Math.abs(a), Math.abs(b)) < PLANE[1]) brush.fillText(label, across(a), up(b) + 3);
  });
  const { centre, reach } = image;
  brush.strokeStyle = palette.p;
  brush.lineWidth = 1.5;
  brush.strokeRect(across(centre[0] - reach), up(centre[1] + reach), across(2 * reach) - across(0), up(0) - up(2 * reach));
  cross(brush, across(z[0]), up(z[1]), palette.q, 7);
}

function cross(brush, x, y, colour, size) {
  brush.strokeStyle = colour;
  brush.lineWidth = 2.5;
  brush.beginPath();
  for (const [a, b] of [[1, 0], [0, 1]]) { // prettier-ignore
    brush.moveTo(x - size * a, y - size * b);
    brush.lineTo(x + size * a, y + size * b);
  }
  brush.stroke();
}

function closeUp({ image, q, exact, z }, brush, width, height, palette) {
  const { centre, reach } = image;
  const [x, y] = centre.map((c) => [c - reach, c + reach]);
  const { across, up, box } = axes(brush, width, height, palette, { x, y, label: "z₁", left: 42 });
  const [wide, high] = [box.right - box.left, box.bottom - box.top];
  if (exact) {
    const most = Math.max(...exact.joint);
    const shades = exact.joint.map((value) => Math.exp(value - most));
    const cell = [wide / (SIDE - 1), high / (SIDE - 1)]; // nodes lie in the middle of their cells
    brush.save();
    brush.beginPath();
    brush.rect(box.left, box.top, wide, high);
    brush.clip();
    grey(brush, shades, SIDE, box.left - cell[0] / 2, box.top - cell[1] / 2, wide + cell[0], high + cell[1], palette.paper, palette.p);
    brush.restore();
  }
  brush.save();
  brush.beginPath();
  brush.rect(box.left, box.top, wide, high);
  brush.clip();
  brush.strokeStyle = palette.q;
  brush.lineWidth = 2;
  for (const deviations of [1, 2]) {
    const [a, b] = q.sd.map((s) => deviations * s);
    brush.beginPath();
    brush.ellipse(across(q.mean[0]), up(q.mean[1]), across(a) - across(0), up(0) - up(b), 0, 0, 2 * Math.PI);
    brush.stroke();
  }
  cross(brush, across(z[0]), up(z[1]), palette.q, 5);
  brush.restore();
}

function pair({ image, z }, decoder, brush, width, height, palette) {
  const size = Math.min(height, width / 2) - 2;
  const decoded = mlp(decoder, z).map(sigmoid);
  brush.strokeStyle = palette.faint;
  for (const [levels, left] of [[image.pixels, 1], [decoded, size + 12]]) { // prettier-ignore
    grey(brush, levels, 28, left, 1, size, size, palette.paper, palette.ink);
    brush.strokeRect(left, 1, size, size);
  }
}
