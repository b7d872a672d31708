/** Four trainings that are alike but for one line: what the right formula and its wrong twins make of a model. */

import { bits, halves, mlp, random, sigmoid, unpack } from "./numbers.js";
import { button, grey, group, plate, readout, slider } from "./page.js";

const LATENT = 10;
const COLUMNS = 8;
const FORMULAS = {
  right: "R = Σⱼ ½ (μⱼ² + σⱼ² − 1 − log σⱼ²),  z = μ + σ ε",
  E1: "R = (1/J) Σⱼ ½ (μⱼ² + σⱼ² − 1 − log σⱼ²),  z = μ + σ ε",
  E5a: "R = Σⱼ (½ (μⱼ² + σⱼ² − 1) − log σⱼ²),  z = μ + σ ε",
  E11a: "R = Σⱼ ½ (μⱼ² + σⱼ² − 1 − log σⱼ²),  z = μ",
};

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

export const twins = {
  question:
    "E11: a training decodes the mean μ and forgets the noise, z = μ where z = μ + σε is meant. The number that it reports " +
    "as its ELBO is 24 nats per image better than that of the right training. What is its true ELBO?",
  answers: [
    "about as good as it reports",
    "a few nats below the right training’s",
    "hundreds of nats below the right training’s",
  ],
  right: 2,
  why:
    "Without noise σ costs nothing in the reconstruction, so the rate pulls it to 1, where it is cheapest; the means " +
    "lie close together, and the decoder tells them apart by a hair. A draw of q(z | x) then lands anywhere.",
  trained: true,
  build,
};

function build(stage, data) {
  const images = data.images.map((text) => bits(text, 784));
  const trainings = data.trainings.map((training) => ({
    ...training,
    decoder: unpack(training.decoder),
    means: halves(training.means),
    sds: halves(training.sds),
  }));
  const state = { training: trainings.at(-1), spread: 1, seed: 1 };
  const shown = { images };
  const plates = group(stage, "rows");
  const row = (title, name, rows = 1) =>
    plate(plates, title, (width) => (rows * width) / COLUMNS, (brush, width, _height, palette) => {
      const size = width / COLUMNS;
      shown[name].forEach((pixels, i) => {
        const [x, y] = [(i % COLUMNS) * size, Math.floor(i / COLUMNS) * size];
        grey(brush, pixels, 28, x, y, size - 3, size - 3, palette.paper, palette.ink);
      });
    });
  const switches = group(stage, "buttons");
  const formula = readout(stage);
  shown.reconstructed = shown.drawn = [];
  const views = [
    row("Test images", "images"),
    row("Reconstructed, from a draw of q(z | x) with its noise times the spread", "reconstructed"),
    row("Drawn from the prior, times the spread", "drawn", 2),
  ];
  const controls = group(stage, "controls");
  const say = readout(controls);
  const share = { min: 0, max: 2, step: 0.05, value: 1 };
  slider(controls, { label: "spread of the noise, times what it should be", ...share }, (spread) => put({ spread }));
  const buttons = group(stage, "buttons");
  button(buttons, "draw again", () => put({ seed: state.seed + 1 }));
  const pressed = trainings.map((training) =>
    button(switches, training.number === "right" ? "the right formula" : training.number, () => put({ training })),
  );

  function put(change) {
    Object.assign(state, change);
    const { training, spread, seed } = state;
    const { normal } = random(seed);
    const decode = (z) => mlp(training.decoder, z).map(sigmoid);
    const noise = () => Float64Array.from({ length: LATENT }, () => spread * normal());
    shown.reconstructed = images.map((_, n) =>
      decode(noise().map((e, j) => training.means[n * LATENT + j] + e * training.sds[n * LATENT + j])),
    );
    shown.drawn = Array.from({ length: 2 * COLUMNS }, () => decode(noise()));
    const differ = shown.reconstructed.map((pixels, n) => mean(pixels.map((p, i) => Math.abs(p - images[n][i]))));
    pressed.forEach((node, i) => node.setAttribute("aria-pressed", trainings[i] === training));
    formula(`${training.name}: ${FORMULAS[training.number]}`);
    const nats = (name) => training[name].toFixed(1);
    say(
      `It reports ${nats("reported")} nats per image; its true ELBO is ${nats("elbo")}: reconstruction ` +
        `${nats("reconstruction")}, rate ${nats("rate")}. On average σ is ${training.sigma.toFixed(2)}, and the codes of ` +
        `all images together have the standard deviation ${training.spread.toFixed(2)}, the prior has 1. ` +
        `With a spread of ${spread.toFixed(2)} a pixel of these reconstructions is ${(100 * mean(differ)).toFixed(1)} percentage ` +
        "points off on average.",
    );
    views[0].describe("Eight digits of the test set.");
    views[1].describe(`Eight images, made by the training with ${training.name}, at a spread of ${spread.toFixed(2)}.`);
    views[2].describe(`Sixteen draws of the training with ${training.name}, at a spread of ${spread.toFixed(2)}.`);
    for (const view of views) view.redraw();
  }
  put({});
}
