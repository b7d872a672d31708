/** The plane of a VAE with two latents: what each point decodes to, and for one image the exact posterior against q. */

import { bits, halves, linspace, logNormal, mlp, sigmoid, softplus, unpack } from "./numbers.js";
import { axes, button, choice, dragged, grey, group, plate, readout, slider } from "./page.js";

const PLANE = [-4, 4];
const FIRST = 9; // the image that is shown first
const [MARGIN, WIDE_MARGIN] = [26, 42]; // left of the plane and of the enlargement, in CSS pixels
const SPACING = 0.08; // at most, of the nodes for a wide q, in units of the frame's half width
export const WIDEST = 0.2; // the widest q that is offered, in the same units

/** log p(x, z) in nats, for a standard normal prior and Bernoulli pixels. */
export function logJoint(decoder, pixels, z) {
  return mlp(decoder, z).reduce(
    (sum, logit, i) => sum + (pixels[i] ? logit : 0) - softplus(logit),
    logNormal(z[0], 0, 1) + logNormal(z[1], 0, 1),
  );
}

/**
 * The ELBO of q = N(mean, sd^2): the mean of log p(x, z) - log q(z) under it, by the trapezoidal rule, which is better
 * than any sample as long as log p(x, z) is smooth between two nodes.
 * @param {{pixels: number[], reach: number}} image `reach` is half the width of its window
 */
export function elbo(decoder, { pixels, reach }, { mean, sd }) {
  const entropy = Math.log(2 * Math.PI * Math.E) + Math.log(sd[0] * sd[1]);
  const [right, up] = sd.map((s, i) =>
    linspace(-4, 4, Math.max(11, Math.ceil((8 * s) / (SPACING * reach)) + 1)).map((e) => [mean[i] + s * e, Math.exp((-e * e) / 2)]),
  );
  let [sum, total] = [0, 0];
  for (const [a, share] of right) {
    for (const [b, part] of up) {
      sum += share * part * logJoint(decoder, pixels, [a, b]);
      total += share * part;
    }
  }
  return sum / total + entropy;
}

/** The nodes of an image's window along one axis, of which `weights.py` has kept log p(x, z). */
const along = (centre, reach, joint) => linspace(centre - reach, centre + reach, Math.sqrt(joint.length));

/**
 * What the window says of q = N(mean, sd^2): its ELBO up to a constant, and under q the mean slope and the mean
 * curvature of log p(x, z) along each axis. For a Gaussian those are means of log p(x, z) itself, times e / sd and
 * (e^2 - 1) / sd^2 with e = (z - mean) / sd, and its weights are a product of one factor for each axis.
 */
function moments({ joint, centre, reach }, { mean, sd }) {
  const axis = (i) => {
    const e = along(centre[i], reach, joint).map((z) => (z - mean[i]) / sd[i]);
    const weights = e.map((each) => Math.exp(-each * each / 2));
    const total = weights.reduce((a, b) => a + b);
    return weights.map((weight, j) => [1, e[j] / sd[i], (e[j] ** 2 - 1) / sd[i] ** 2].map((v) => (v * weight) / total));
  };
  const [right, up] = [axis(0), axis(1).reverse()];
  const sums = { mean: 0, slope: [0, 0], curvature: [0, 0] };
  up.forEach(([weight, first, second], row) => {
    const line = [0, 0, 0]; // the same three along this row
    right.forEach((parts, column) => parts.forEach((part, k) => (line[k] += part * joint[row * right.length + column])));
    sums.mean += weight * line[0];
    sums.slope = [sums.slope[0] + weight * line[1], sums.slope[1] + first * line[0]];
    sums.curvature = [sums.curvature[0] + weight * line[2], sums.curvature[1] + second * line[0]];
  });
  return { ...sums, elbo: sums.mean + Math.log(sd[0] * sd[1]) };
}

/**
 * The q = N(mean, diagonal) with the largest ELBO that is reached from `start` and from the posterior's top. Where q is
 * best the mean slope is 0 and 1 / sd^2 is the mean curvature, with its sign changed: each step goes where that would
 * hold if the means stayed as they are, or a part of the way where the whole of it would lose.
 */
export function best(image, start) {
  const { joint, centre, reach } = image;
  const n = Math.sqrt(joint.length);
  const top = joint.indexOf(Math.max(...joint));
  const [a, b] = [along(centre[0], reach, joint)[top % n], along(centre[1], reach, joint)[n - 1 - Math.floor(top / n)]];
  const step = (2 * reach) / (n - 1);
  const [least, most] = [0.75 * step, reach / 2]; // narrower than its nodes, or wider than its window, q is not seen
  const climb = (q) => {
    let [at, here] = [q, moments(image, q)];
    for (let share = 1; share > 1e-3; ) {
      const target = here.curvature.map((c) => (c < 0 ? 1 / Math.sqrt(-c) : most));
      const sd = at.sd.map((s, i) => Math.min(most, Math.max(least, s * (target[i] / s) ** share)));
      const mean = at.mean.map((m, i) => m + share * here.slope[i] * target[i] ** 2);
      const there = moments(image, { mean, sd });
      if (there.elbo > here.elbo + 1e-6) [at, here, share] = [{ mean, sd }, there, Math.min(1, 2 * share)];
      else share /= 2;
    }
    return { ...at, elbo: here.elbo };
  };
  const reached = [start, { mean: [a, b], sd: [2 * step, 2 * step] }].map(climb);
  return reached[0].elbo > reached[1].elbo ? reached[0] : reached[1];
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
  trained: true,
  build,
};

function build(stage, data) {
  const decoder = unpack(data.decoder);
  const images = data.images.map((image) => ({ ...image, pixels: bits(image.pixels, 784), joint: halves(image.joint) }));
  const codes = halves(data.codes);
  const state = { image: images[FIRST], z: [...images[FIRST].mean], q: images[FIRST] };
  const plates = group(stage, "plates");
  const views = [
    plate(plates, "The image x, and what z decodes to", (width) => Math.min(150, width / 2), (...canvas) => pair(state, decoder, ...canvas)),
    plate(plates, "The plane of z, and codes of images", (width) => width + 8, (...canvas) => plane(state, codes, data.labels, ...canvas)),
    plate(plates, "The frame, enlarged: exact posterior, and q", (width) => width - 8, (...canvas) => closeUp(state, ...canvas)),
  ];
  const controls = group(stage, "controls");
  const say = readout(controls);
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
        weigh();
      }),
    ),
  );
  const buttons = group(stage, "buttons");
  button(buttons, "the encoder’s q", () => take(state.image));
  button(buttons, "the best q of this shape", () => take(best(state.image, state.q)));
  dragged(views[1].canvas, MARGIN, (shares) => {
    state.z = shares.map((share) => PLANE[0] + (PLANE[1] - PLANE[0]) * share);
    state.z.forEach((v, i) => z[i].set(v));
    update();
  });
  dragged(views[2].canvas, WIDE_MARGIN, (shares) => {
    const { centre, reach } = state.image;
    take({ mean: shares.map((share, i) => centre[i] + reach * (2 * share - 1)), sd: state.q.sd });
  });

  let bound; // of the q that is shown
  function take({ mean, sd }) {
    state.q = { mean: [...mean], sd: [...sd] };
    [...mean, ...sd].forEach((v, i) => q[i].set(v));
    weigh();
  }
  function look(image) {
    Object.assign(state, { image, z: [...image.mean] });
    state.z.forEach((v, i) => z[i].set(v));
    const { centre, reach } = image;
    q.forEach((control, i) => i < 2 ? control.limit(centre[i] - reach, centre[i] + reach, reach / 200) : control.limit(reach / 80, WIDEST * reach, reach / 600));
    take(image);
  }
  function weigh() {
    bound = elbo(decoder, state.image, state.q);
    update();
  }
  function update() {
    const { evidence } = state.image;
    const point = `z = (${state.z.map((v) => v.toFixed(2)).join(", ")})`;
    say(
      `log p(x) = ${evidence.toFixed(2)} nats. ELBO of this q: ${bound.toFixed(2)} nats. ` +
        `The gap, KL(q ‖ p(z | x)), is ${(evidence - bound).toFixed(2)} nats.`,
    );
    views[1].describe(`The point that is decoded is ${point}; the frame is around the posterior of ${state.image.name}.`);
    views[2].describe(`q has mean (${state.q.mean.map((v) => v.toFixed(2)).join(", ")}) and standard deviations (${state.q.sd.map((v) => v.toFixed(3)).join(", ")}).`);
    views[0].describe(`Left, ${state.image.name}; right, the pixel probabilities at ${point}.`);
    for (const view of views) view.redraw();
  }
  look(state.image);
}

function plane({ z, image }, codes, labels, brush, width, height, palette) {
  const { across, up, box } = axes(brush, width, height, palette, { x: PLANE, y: PLANE, label: "z₁", left: MARGIN });
  upwards(brush, box, palette);
  brush.textAlign = "center";
  brush.font = "10px system-ui, sans-serif";
  brush.globalAlpha = 0.65;
  [...labels].forEach((label, i) => {
    const [a, b] = [codes[2 * i], codes[2 * i + 1]];
    if (Math.max(Math.abs(a), Math.abs(b)) < PLANE[1]) brush.fillText(label, across(a), up(b) + 3);
  });
  brush.globalAlpha = 1;
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

function closeUp({ image, q, z }, brush, width, height, palette) {
  const { centre, reach } = image;
  const [x, y] = centre.map((c) => [c - reach, c + reach]);
  const { across, up, box } = axes(brush, width, height, palette, { x, y, label: "z₁", left: WIDE_MARGIN });
  const [wide, high] = [box.right - box.left, box.bottom - box.top];
  const side = Math.sqrt(image.joint.length);
  const cell = [wide / (side - 1), high / (side - 1)]; // nodes lie in the middle of their cells
  brush.save();
  brush.beginPath();
  brush.rect(box.left, box.top, wide, high);
  brush.clip();
  grey(brush, image.joint.map(Math.exp), side, box.left - cell[0] / 2, box.top - cell[1] / 2, wide + cell[0], high + cell[1], palette.paper, palette.p);
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
  upwards(brush, box, palette);
}

/** Says what the vertical axis is. */
function upwards(brush, box, palette) {
  brush.textAlign = "left";
  brush.fillStyle = palette.ink;
  brush.fillText("z₂", box.left + 6, box.top + 16);
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
