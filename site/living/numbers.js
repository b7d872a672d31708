/** Numbers for the pictures: weights, networks, random draws, Gaussians. All in nats; nothing here knows of a page. */

/** The bytes of a base64 text. @param {string} text @returns {Uint8Array} */
export function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/**
 * Numbers kept in half precision (IEEE binary16, little-endian), as base64.
 * @param {string} text
 * @returns {Float64Array} exactly those numbers: every half is a double.
 */
export function halves(text) {
  const raw = bytes(text);
  return Float64Array.from({ length: raw.length / 2 }, (_, i) => half(raw[2 * i] | (raw[2 * i + 1] << 8)));
}

function half(bits) {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return exponent ? sign * 2 ** (exponent - 25) * (1024 + fraction) : sign * 2 ** -24 * fraction;
}

/** The first n of the bits that are kept in a base64 text, first bit first. @returns {number[]} zeros and ones */
export function bits(text, n) {
  const raw = bytes(text);
  return Array.from({ length: n }, (_, i) => (raw[i >> 3] >> (7 - (i & 7))) & 1);
}

/**
 * A multilayer perceptron with tanh between its linear layers and none after the last, as `vaelib.nets.mlp` and a head.
 * @param {{weight: Float64Array, bias: Float64Array}[]} layers weight (outputs, inputs), row by row; bias (outputs,)
 * @param {ArrayLike<number>} input (inputs,)
 * @returns {Float64Array} (outputs of the last layer,)
 */
export function mlp(layers, input) {
  return layers.reduce((x, { weight, bias }, i) => linear(weight, bias, i ? x.map(Math.tanh) : x), input);
}

function linear(weight, bias, x) {
  const out = Float64Array.from(bias);
  for (let row = 0, at = 0; row < out.length; row += 1) {
    // Four sums side by side: each would wait for its own last addition.
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    let column = 0;
    for (; column + 3 < x.length; column += 4, at += 4) {
      a += weight[at] * x[column];
      b += weight[at + 1] * x[column + 1];
      c += weight[at + 2] * x[column + 2];
      d += weight[at + 3] * x[column + 3];
    }
    for (; column < x.length; column += 1, at += 1) a += weight[at] * x[column];
    out[row] += a + b + c + d;
  }
  return out;
}

/** Layers as they were exported, each {weight, bias} in half precision, made ready for `mlp`. */
export function unpack(layers) {
  return layers.map(({ weight, bias }) => ({ weight: halves(weight), bias: halves(bias) }));
}

export const sigmoid = (a) => 1 / (1 + Math.exp(-a));

/** log(1 + e^a) without overflow. */
export const softplus = (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));

/** log N(x; mean, sd^2). */
export function logNormal(x, mean, sd) {
  return -0.5 * ((x - mean) / sd) ** 2 - Math.log(sd) - 0.5 * Math.log(2 * Math.PI);
}

/** KL(N(m, s^2) || N(mean, sd^2)) in nats. */
export function divergence(m, s, mean, sd) {
  return Math.log(sd / s) + (s * s + (m - mean) ** 2) / (2 * sd * sd) - 0.5;
}

/** log of a sum of exponentials. */
export function logSumExp(values) {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/**
 * Random numbers that are the same at every visit for the same seed (mulberry32; normals by Box and Muller).
 * @param {number} seed
 * @returns {{uniform: () => number, normal: () => number}}
 */
export function random(seed) {
  let state = seed >>> 0;
  function uniform() {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}

/** n numbers from `first` to `last`, evenly. */
export function linspace(first, last, n) {
  return Array.from({ length: n }, (_, i) => first + ((last - first) * i) / (n - 1));
}
