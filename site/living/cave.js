/** The Cave: move the solid and the fire, see the shadow, and look for other solids that cast it too. */

import { button, choice, grey, group, plate, readout, rgb, slider } from "./page.js";
import { closest, difference, HALF, KINDS, PIXELS, pushed, render, surface, WALL } from "./shadows.js";

const START = {
  kind: "cube", size: 0.44, yaw: 0, pitch: 0.5, roll: 0.2, x: 0.05, y: 0, depth: 5.2, fireX: 0, fireY: 0, // prettier-ignore
};
const STONE = "#f6dfb2";
const NIGHT = "#17100e";
const REACH = Math.sqrt(3); // how far from its centre a solid may reach, in sizes
const degrees = (angle) => `${Math.round((angle * 180) / Math.PI)}°`;
const metres = (length) => `${length.toFixed(2)} m`;

const SLIDERS = [
  ["size", "size", 0.15, 0.6, metres],
  ["depth", "depth, from the fire towards the wall", 2.4, 6.9, metres],
  ["yaw", "spin about its axis", -0.8, 0.8, degrees],
  ["pitch", "tip towards the wall", -1.6, 1.6, degrees],
  ["roll", "turn in the plane of the wall", -1.6, 1.6, degrees],
  ["x", "to the right", -0.8, 0.8, metres],
  ["y", "up", -0.8, 0.8, metres],
  ["fireX", "fire: to the right", -0.8, 0.8, metres],
  ["fireY", "fire: up", -0.8, 0.8, metres],
];

export const cave = {
  question:
    "The solid moves away from the fire, along its light, to 1.25 times the distance. At the same time it grows to 1.25 times " +
    "its size. What does its shadow do?",
  answers: ["it grows", "it shrinks", "it stays as it is, in every pixel"],
  right: 2,
  why:
    "Every ray of light that met the solid meets it still. Move the first slider to see it: no pixel changes. " +
    "From the shadow alone nobody can say which of these solids it was.",
  preview: true,
  build,
};

function build(stage) {
  let state = { ...START };
  let base = state; // what the first slider starts from
  let kept = render(state);
  let shadow = kept;
  const plates = group(stage, "pair");
  const views = [
    plate(plates, "The cave", (width) => 0.68 * width, (...canvas) => space(state, shadow, ...canvas)),
    plate(plates, "What the prisoners see", (width) => Math.min(width, 340), (...canvas) => wall(shadow, kept, ...canvas)),
  ];
  const controls = group(stage, "controls");
  const say = readout(controls);
  const push = slider(
    controls,
    { label: "farther along its light, and as much larger", min: 0.6, max: 1.25, step: 0.01, value: 1, show: (k) => `× ${k.toFixed(2)}` },
    (k) => become(pushed(base, k)),
  );
  const kind = choice(controls, "solid", KINDS, (index) => anew({ kind: KINDS[index] }));
  const sliders = Object.fromEntries(
    SLIDERS.map(([name, label, min, max, show]) => [
      name,
      slider(controls, { label, min, max, step: 0.01, value: state[name], show }, (value) => anew({ [name]: value })),
    ]),
  );
  const buttons = group(stage, "buttons");
  button(buttons, "base to the fire", () => anew({ yaw: 0, pitch: Math.PI / 2, roll: 0 }));
  const keep = () => {
    kept = shadow;
    found.replaceChildren();
    become(state);
  };
  const shadowed = [
    button(buttons, "keep this shadow", keep),
    button(buttons, "which other solids cast this shadow?", () => {
      keep();
      suspects(found, state, put, say);
    }),
  ];
  const found = group(stage, "buttons");

  function anew(change) {
    found.replaceChildren(); // which were for another shadow
    put({ ...state, ...change });
  }
  function put(next) {
    become({ ...next, depth: Math.min(next.depth, WALL - REACH * next.size) });
    base = state;
    const touches = WALL / (state.depth + REACH * state.size); // the wall
    push.limit(0.6, Math.max(1, Math.min(1.25, Math.floor(100 * touches) / 100)), 0.01);
    push.set(1);
  }
  function become(next) {
    state = next;
    shadow = render(state);
    kind(KINDS.indexOf(state.kind));
    for (const [name, control] of Object.entries(sliders)) control.set(state[name]);
    const none = shadow.every((share) => share === 0);
    for (const node of shadowed) node.disabled = none;
    const differs = (100 * difference(kept, shadow)).toFixed(1);
    if (none) say(`A ${state.kind}. There is no shadow on the wall.`);
    else say(`A ${state.kind}. Its shadow differs from the kept one by ${differs} % of the kept one’s area.`);
    const distance = Math.hypot(state.x - state.fireX, state.y - state.fireY, state.depth);
    views[0].describe(`A ${state.kind}, ${metres(distance)} from the fire, and its shadow on the wall.`);
    views[1].describe(`The shadow covers ${(100 * shadow.reduce((a, b) => a + b) / shadow.length).toFixed(1)} % of the wall.`);
    for (const view of views) view.redraw();
  }
  become(state);
}

/** A button for each other kind of solid, which puts it where its shadow comes closest. */
function suspects(parent, state, put, say) {
  parent.replaceChildren();
  for (const kind of KINDS.filter((name) => name !== state.kind)) {
    const { latents, differs } = closest(state, kind);
    button(parent, `${kind}: ${(100 * differs).toFixed(1)} % differ`, () => put(latents));
  }
  say("The search has tried the four other solids. Each button puts one where its shadow comes closest.");
}

/** The wall, with the shadow; pixels that differ from the kept shadow are ringed. */
function wall(shadow, kept, brush, width, height, palette) {
  const size = Math.min(width, height);
  const left = (width - size) / 2;
  grey(brush, shadow, PIXELS, left, 0, size, size, STONE, NIGHT);
  const pixel = size / PIXELS;
  brush.strokeStyle = "#0b5fa5";
  brush.lineWidth = 1.5;
  shadow.forEach((value, i) => {
    if (Math.abs(value - kept[i]) < 1e-9) return;
    brush.strokeRect(left + (i % PIXELS) * pixel + 1, Math.floor(i / PIXELS) * pixel + 1, pixel - 2, pixel - 2);
  });
  brush.strokeStyle = palette.faint;
  brush.strokeRect(left, 0, size, size);
}

// Where the cave is seen from, as in the course's pictures: to the right, up, and towards the eye, in (x, depth, up).
const [AZIMUTH, ELEVATION] = [(-54 * Math.PI) / 180, (11 * Math.PI) / 180];
const RIGHT = [-Math.sin(AZIMUTH), Math.cos(AZIMUTH), 0];
const UP = [-Math.sin(ELEVATION) * Math.cos(AZIMUTH), -Math.sin(ELEVATION) * Math.sin(AZIMUTH), Math.cos(ELEVATION)];
const NEAR = [Math.cos(ELEVATION) * Math.cos(AZIMUTH), Math.cos(ELEVATION) * Math.sin(AZIMUTH), Math.sin(ELEVATION)];
const along = (axis, [x, y, depth]) => axis[0] * x + axis[1] * depth + axis[2] * y;

function space(state, shadow, brush, width, height) {
  const scale = width / 7.4;
  const place = (point) => [scale * (along(RIGHT, point) + 0.75), height - scale * (along(UP, point) + 1.25)];
  brush.fillStyle = "#241c18";
  brush.fillRect(0, 0, width, height);
  // The eye is far away, so the wall is a parallelogram: the image is drawn on it by an affine map.
  const corner = place([-HALF, HALF, WALL]);
  const [across, down] = [place([HALF, HALF, WALL]), place([-HALF, -HALF, WALL])].map((end) => end.map((v, i) => v - corner[i]));
  brush.save();
  brush.transform(...across, ...down, ...corner);
  grey(brush, shadow, PIXELS, 0, 0, 1, 1, STONE, NIGHT);
  brush.restore();
  const fire = [state.fireX, state.fireY, 0];
  for (const end of grazing(shadow)) ray(brush, place(fire), place(end));
  for (const face of faces(surface(state), fire)) polygon(brush, face.corners.map(place), mixed("#30203a", "#ffdc9f", face.light));
  flame(brush, ...place(fire), scale);
}

/** A dozen points around the shadow's rim, where light grazes the solid. */
function grazing(shadow) {
  const dark = [...shadow.keys()].filter((i) => shadow[i] > 0.5);
  const spot = (i) => [((i % PIXELS) + 0.5) * (4 / PIXELS) - HALF, HALF - (Math.floor(i / PIXELS) + 0.5) * (4 / PIXELS), WALL];
  const angles = Array.from({ length: 12 }, (_, i) => (i * Math.PI) / 6);
  return angles.map((angle) => {
    const reach = (i) => spot(i)[0] * Math.cos(angle) + spot(i)[1] * Math.sin(angle);
    return spot(dark.reduce((best, i) => (reach(i) > reach(best) ? i : best), dark[0]));
  });
}

/** The faces of a mesh, far ones first, with the share of the fire's light that falls on each. */
function faces(mesh, fire) {
  const middle = mean(mesh.flat());
  const all = [];
  for (let i = 0; i + 1 < mesh.length; i += 1) {
    for (let j = 0; j + 1 < mesh[i].length; j += 1) {
      const corners = [mesh[i][j], mesh[i + 1][j], mesh[i + 1][j + 1], mesh[i][j + 1]];
      const centre = mean(corners);
      let normal = cross(minus(corners[2], corners[0]), minus(corners[3], corners[1]));
      if (dot(normal, minus(centre, middle)) < 0) normal = normal.map((v) => -v);
      const light = minus(fire, centre);
      const cosine = dot(normal, light) / (Math.sqrt(dot(normal, normal) * dot(light, light)) || 1);
      all.push({ corners, light: Math.max(0, cosine), near: along(NEAR, centre) });
    }
  }
  return all.sort((a, b) => a.near - b.near);
}

const minus = (a, b) => a.map((v, i) => v - b[i]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const mean = (points) => [0, 1, 2].map((i) => points.reduce((sum, point) => sum + point[i], 0) / points.length);

function mixed(from, to, share) {
  const [a, b] = [rgb(from), rgb(to)];
  return `rgb(${a.map((v, i) => Math.round(v + (b[i] - v) * share)).join(" ")})`;
}

function polygon(brush, corners, colour) {
  brush.beginPath();
  for (const [x, y] of corners) brush.lineTo(x, y);
  brush.closePath();
  brush.fillStyle = brush.strokeStyle = colour; // the stroke closes the seams between neighbours
  brush.lineWidth = 0.6;
  brush.fill();
  brush.stroke();
}

function ray(brush, from, to) {
  brush.beginPath();
  brush.moveTo(...from);
  brush.lineTo(...to);
  brush.strokeStyle = "rgb(255 161 51 / 0.45)";
  brush.lineWidth = 1;
  brush.stroke();
}

function flame(brush, x, y, scale) {
  const glow = brush.createRadialGradient(x, y, 0, x, y, 0.7 * scale);
  glow.addColorStop(0, "#fff3c4");
  glow.addColorStop(0.2, "#ffa133");
  glow.addColorStop(1, "rgb(255 161 51 / 0)");
  brush.fillStyle = glow;
  brush.fillRect(x - scale, y - scale, 2 * scale, 2 * scale);
}
