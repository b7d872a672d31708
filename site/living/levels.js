/** A chain of two levels: keep one of z_1 and z_2 and draw the other anew. */

import { bits, halves, logNormal, mlp, random, sigmoid, unpack } from "./numbers.js";
import { button, choice, grey, group, plate, readout, slider } from "./page.js";

const DRAWS = 8;

/** The Gaussian that a network gives: its first outputs are the mean, the others log sigma, kept within [-10, 10]. */
export function gaussian(layers, condition) {
  const out = mlp(layers, condition);
  const mean = out.slice(0, out.length / 2);
  const sd = out.slice(out.length / 2).map((log) => Math.exp(Math.min(10, Math.max(-10, log))));
  return { mean, sd };
}

const drawn = ({ mean, sd }, normal, temperature = 1) => mean.map((m, i) => m + temperature * sd[i] * normal());
const logDensity = ({ mean, sd }, z) => mean.reduce((sum, m, i) => sum + logNormal(z[i], m, sd[i]), 0);
const apart = (a, b) => a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;
const average = (values) => values.reduce((a, b) => a + b) / values.length;
const signed = (value) => value.toFixed(1);

export const levels = {
  question:
    "The chain draws z₂, then z₁ given z₂, then the image given z₁. An image has been encoded as z₁ and z₂. You keep z₁ " +
    "and draw z₂ anew, eight times. How do the eight decoded images differ?",
  answers: ["they show eight different digits", "they show one digit in eight hands", "not at all, in no pixel"],
  right: 2,
  why:
    "The decoder sees z₁ and nothing else: that is what Markovian means. z₂ counts in log p(z₁ | z₂), and so in the " +
    "bound. Keep z₂ and draw z₁ anew, and the image does vary, as the row in the middle shows.",
  trained: true,
  build,
};

function build(stage, data) {
  const nets = Object.fromEntries(["decoder", "prior", "encoder"].map((name) => [name, unpack(data[name])]));
  const images = data.images.map((image) => ({
    ...image,
    pixels: bits(image.pixels, 784),
    below: halves(image.below),
    above: halves(image.above),
  }));
  const state = { image: images[3], temperature: 1, seed: 1 };
  const shown = {};
  const plates = group(stage, "rows");
  const row = (title, name, count = DRAWS) =>
    plate(plates, title, (width) => (width / DRAWS) * 1.02, (brush, width, _height, palette) => {
      const size = width / DRAWS;
      (shown[name] ?? []).slice(0, count).forEach((pixels, i) => grey(brush, pixels, 28, i * size, 0, size - 3, size - 3, palette.paper, palette.ink));
    });
  const views = [
    row("The image, and what its z₁ decodes to", "given"),
    row("z₂ kept, z₁ drawn anew from p(z₁ | z₂)", "kept"),
    row("z₁ kept, z₂ drawn anew from q(z₂ | z₁)", "still"),
  ];
  const controls = group(stage, "controls");
  const say = readout(controls);
  choice(controls, "image", images.map((image) => image.name), (i) => put({ image: images[i] }))(3);
  const share = { min: 0, max: 1.5, step: 0.05, value: 1 };
  slider(controls, { label: "spread of the draws, times the standard deviation", ...share }, (temperature) => put({ temperature }));
  const buttons = group(stage, "buttons");
  button(buttons, "draw again", () => put({ seed: state.seed + 1 }));

  function put(change) {
    Object.assign(state, change);
    const { image, seed, temperature } = state;
    const { normal } = random(seed);
    const decode = (z) => mlp(nets.decoder, z).map(sigmoid);
    const repeat = (draw) => Array.from({ length: DRAWS }, draw);
    const first = decode(image.below);
    const below = repeat(() => drawn(gaussian(nets.prior, image.above), normal, temperature));
    const above = repeat(() => drawn(gaussian(nets.encoder, image.below), normal, temperature));
    shown.given = [image.pixels, first];
    shown.kept = below.map(decode);
    shown.still = above.map(() => first);
    const scores = above.map((z) => logDensity(gaussian(nets.prior, z), image.below));
    const moved = average(shown.kept.map((pixels) => apart(pixels, first)));
    say(
      `z₂ kept: a pixel’s probability changes by ${(100 * moved).toFixed(1)} percentage points on average. z₁ kept: by ` +
        `${(100 * average(shown.still.map((pixels) => apart(pixels, first)))).toFixed(1)}; log p(z₁ | z₂) runs from ` +
        `${signed(Math.min(...scores))} to ${signed(Math.max(...scores))} nats.`,
    );
    views[0].describe(`${image.name}, of the test set, and the mean image given its z₁.`);
    views[1].describe(`Eight images, ${(100 * moved).toFixed(1)} percentage points from the first on average.`);
    views[2].describe("Eight times the same image.");
    for (const view of views) view.redraw();
  }
  put({});
}
