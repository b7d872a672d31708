/** The Cave of `vaelib.data.cave`: the same solids, the same 13 rays through each pixel. Metres and radians. */

import { linspace } from "./numbers.js";

export const KINDS = ["sphere", "cylinder", "cone", "cube", "pyramid"];
export const WALL = 8; // depth of the wall
export const HALF = 2; // half its width
export const PIXELS = 28;

const PIXEL = (2 * HALF) / PIXELS;
// Where in a pixel its rays end, in pixels from its centre: the Fibonacci lattice of 13 points.
const RAYS = linspace(-6, 6, 13).map((i) => [i / 13, ((((8 * i + 6) % 13) + 13) % 13) / 13 - 6 / 13]);
const MIDDLE = [[0, 0]];

/**
 * The solid and the fire as they lie in space.
 * @param {object} latents kind (a name), size, yaw, pitch, roll, x, y, depth, fireX, fireY
 */
function placed({ size, yaw, pitch, roll, x, y, depth, fireX, fireY }) {
  const rotation = product(about(2, roll), product(about(0, pitch), about(1, yaw)));
  return { rotation, size, centre: [x, y, depth], fire: [fireX, fireY, 0] };
}

function about(axis, angle) {
  const [i, j] = [(axis + 1) % 3, (axis + 2) % 3];
  const matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]; // prettier-ignore
  matrix[i][i] = matrix[j][j] = Math.cos(angle);
  matrix[j][i] = Math.sin(angle);
  matrix[i][j] = -Math.sin(angle);
  return matrix;
}

const product = (a, b) => a.map((row) => [0, 1, 2].map((j) => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j]));
const turned = (m, v) => m.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
const turnedBack = (m, v) => [0, 1, 2].map((j) => m[0][j] * v[0] + m[1][j] * v[1] + m[2][j] * v[2]);

/**
 * The shadow on the wall.
 * @param {object} latents see `placed`
 * @param {boolean} quick one ray through each pixel in place of 13, for a search
 * @returns {Float64Array} (784,), top row first: the share of a pixel's rays that meet the solid
 */
export function render(latents, quick = false) {
  const { rotation, size, centre, fire } = placed(latents);
  const meets = MEETS[latents.kind];
  const rays = quick ? MIDDLE : RAYS;
  const origin = turnedBack(rotation, [0, 1, 2].map((i) => (fire[i] - centre[i]) / size)); // prettier-ignore
  const image = new Float64Array(PIXELS * PIXELS);
  for (let at = 0; at < image.length; at += 1) {
    const [row, column] = [Math.floor(at / PIXELS), at % PIXELS];
    let met = 0;
    for (const [right, down] of rays) {
      const x = (column + 0.5 + right) * PIXEL - HALF;
      const y = HALF - (row + 0.5 + down) * PIXEL;
      if (meets(origin, turnedBack(rotation, [x - fire[0], y - fire[1], WALL]))) met += 1;
    }
    image[at] = met / rays.length;
  }
  return image;
}

/** Whether the line o + t u meets each solid, which fits the cube [-1, 1]^3 with its axis along the second coordinate. */
const MEETS = {
  sphere: (o, u) => {
    const ou = o[0] * u[0] + o[1] * u[1] + o[2] * u[2];
    return ou * ou >= (squared(o) - 1) * squared(u);
  },
  cylinder: (o, u) => round(o, u, 1, 0),
  cone: (o, u) => round(o, u, (1 - o[1]) / 2, -u[1] / 2),
  cube: (o, u) => square(o, u, 1, 0),
  pyramid: (o, u) => square(o, u, (1 - o[1]) / 2, -u[1] / 2),
};

const squared = (v) => v[0] * v[0] + v[1] * v[1] + v[2] * v[2];

/** The times between which the line is in the slab |q2| <= 1. */
function slab(o, u) {
  const ends = [(-1 - o[1]) / u[1], (1 - o[1]) / u[1]];
  return [Math.min(...ends), Math.max(...ends)];
}

/** A round solid, of half-width h + t k along the line: the quadratic is least at an end of the slab or at its vertex. */
function round(o, u, h, k) {
  const [enter, leave] = slab(o, u);
  const a = u[0] * u[0] + u[2] * u[2] - k * k;
  const b = o[0] * u[0] + o[2] * u[2] - h * k;
  const c = o[0] * o[0] + o[2] * o[2] - h * h;
  const inside = (t) => (a * t + 2 * b) * t + c <= 0;
  return inside(enter) || inside(leave) || inside(Math.min(leave, Math.max(enter, -b / a)));
}

/** A solid with four sides: the line enters every half-space before it leaves any (Cyrus & Beck 1978). */
function square(o, u, h, k) {
  let [enter, leave] = slab(o, u);
  for (const side of [0, 2]) {
    for (const sign of [1, -1]) {
      const [distance, speed] = [sign * o[side] - h, sign * u[side] - k];
      const time = -distance / speed;
      if (speed < 0) enter = Math.max(enter, time);
      else if (speed > 0) leave = Math.min(leave, time);
      else if (distance > 0) return false;
    }
  }
  return enter <= leave;
}

/** A mesh over the solid, in space: rows of points [x, y, depth]. */
export function surface(latents) {
  const { rotation, size, centre } = placed(latents);
  return profile(latents.kind).map(([width, height]) =>
    ring(latents.kind).map(([a, b]) => turned(rotation, [width * a, height, width * b]).map((v, i) => centre[i] + size * v)),
  );
}

function ring(kind) {
  if (kind === "cube" || kind === "pyramid") return [[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]; // prettier-ignore
  return linspace(0, 2 * Math.PI, 33).map((angle) => [Math.cos(angle), Math.sin(angle)]);
}

function profile(kind) {
  if (kind === "sphere") return linspace(-Math.PI / 2, Math.PI / 2, 17).map((a) => [Math.cos(a), Math.sin(a)]);
  if (kind === "cone" || kind === "pyramid") return [[0, -1], [1, -1], [0, 1]]; // prettier-ignore
  return [[0, -1], [1, -1], [1, 1], [0, 1]]; // prettier-ignore
}

/** How much of two shadows differs: the sum of the differences over the sum of the first. */
export function difference(a, b) {
  let [apart, all] = [0, 0];
  for (let i = 0; i < a.length; i += 1) {
    apart += Math.abs(a[i] - b[i]);
    all += a[i];
  }
  return apart / all;
}

/** The same solid farther along its light, and as much larger: (F + k (c - F), k size), whose shadow is the same. */
export function pushed(latents, k) {
  const { size, x, y, depth, fireX, fireY } = latents;
  return { ...latents, size: k * size, depth: k * depth, x: fireX + k * (x - fireX), y: fireY + k * (y - fireY) };
}

const STEPS = { size: 0.08, yaw: 0.4, pitch: 0.4, roll: 0.3, x: 0.15, y: 0.15 };
const LIMITS = { size: [0.15, 0.6], yaw: [-0.8, 0.8], pitch: [-1.6, 1.6], roll: [-1.6, 1.6], x: [-0.8, 0.8], y: [-0.8, 0.8] };

/**
 * The pose and size in which a solid of this kind comes closest to a shadow, as far as a search from a few poses finds.
 * @param {object} latents whose shadow it is; fire and depth stay as they are
 * @returns {{latents: object, differs: number}}
 */
export function closest(latents, kind) {
  const target = render(latents);
  const coarse = render(latents, true);
  let best = { latents: { ...latents, kind }, differs: Infinity };
  for (const pitch of [Math.PI / 2, 0.8, 0, -0.8, -Math.PI / 2]) {
    for (const roll of [latents.roll, 0.8]) {
      const start = { ...latents, kind, pitch, roll };
      const found = improved(start, (trial) => difference(coarse, render(trial, true)), 0.1);
      if (found.differs < best.differs) best = found;
    }
  }
  return improved(best.latents, (trial) => difference(target, render(trial)), 0.01);
}

/** Steps along one latent at a time, which are halved once none helps (Hooke & Jeeves 1961, without pattern moves). */
function improved(start, cost, finest) {
  let best = { latents: start, differs: cost(start) };
  for (let scale = 1; scale > finest; scale /= 2) {
    for (let helped = true; helped; ) {
      helped = false;
      for (const [name, step] of Object.entries(STEPS)) {
        for (const sign of [1, -1]) {
          const [least, most] = LIMITS[name];
          const value = Math.min(most, Math.max(least, best.latents[name] + sign * scale * step));
          const trial = { ...best.latents, [name]: value };
          const differs = cost(trial);
          if (differs < best.differs - 1e-9) {
            best = { latents: trial, differs };
            helped = true;
          }
        }
      }
    }
  }
  return best;
}
