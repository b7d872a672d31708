/** What all pictures share on the page: the prediction, controls, canvases, numbers that are read aloud. */

let made = 0;

/** An element with attributes and children; `text` is its text. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/**
 * Puts a picture into its place: first the question, and the picture once the reader has committed to an answer. One with
 * a preview is seen before, where that gives nothing away, but cannot be moved.
 * @param {HTMLElement} root
 * @param {{question: string, answers: string[], right: number, why: string, trained?: boolean,
 *   preview?: boolean, build: (stage: HTMLElement, data?: object) => void}} picture
 * @param {() => object | undefined} data what `weights.py` has exported for it, without which one that is `trained`
 *   cannot be built
 */
export function open(root, { question, answers, right, why, trained, preview, build }, data) {
  const name = `living-${(made += 1)}`;
  const choices = answers.map((answer, i) => {
    const radio = element("input", { type: "radio", name, value: i, required: "", autocomplete: "off" });
    return element("label", { class: "living-answer" }, radio, element("span", { text: answer }));
  });
  const legend = element("legend", { text: `Before you look: ${question}` });
  const commit = element("button", { type: "submit", text: "I commit to this" });
  const fields = element("fieldset", {}, legend, ...choices, commit);
  const form = element("form", { class: "living-prediction" }, fields);
  const verdict = element("p", { class: "living-verdict", tabindex: "-1", hidden: "" });
  const stage = element("div", { class: "living-stage", hidden: "" });
  root.append(form, verdict, stage);
  if (preview) {
    stage.hidden = false;
    stage.inert = true;
    build(stage, data());
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = Number(new FormData(form).get(name));
    fields.disabled = true;
    commit.remove();
    choices[said].classList.add("living-said");
    choices[right].classList.add("living-right");
    verdict.textContent = `${said === right ? "It comes out as you said." : "It comes out otherwise."} ${why}`;
    verdict.hidden = stage.hidden = stage.inert = false;
    if (trained && !data()) still(root, stage);
    else if (!preview) build(stage, data());
    verdict.focus({ preventScroll: true });
  });
}

/** The still image of the place, for a picture whose data have not come. */
function still(root, stage) {
  const { textContent } = root.querySelector("noscript");
  const image = new DOMParser().parseFromString(textContent, "text/html").querySelector("img");
  stage.append(image, element("p", { text: "Its data could not be loaded, so this is a still image of it." }));
}

/**
 * A slider with its label and its value, which calls `changed(value)`. What `set` is given is shown as it is, where the thumb cannot
 * stand for it, too.
 * @returns {{set: (value: number) => void, limit: (min: number, max: number, step: number) => void}}
 */
export function slider(parent, { label, min, max, step, value, show = (v) => v.toFixed(2) }, changed) {
  const id = `living-${(made += 1)}`;
  const input = element("input", { type: "range", id, min, max, step, value, autocomplete: "off" });
  const shown = element("output", { for: id, class: "living-value", "aria-live": "off" });
  const say = (number) => {
    const words = typeset(show(number));
    if (shown.textContent === words) return;
    shown.textContent = words;
    input.setAttribute("aria-valuetext", words);
  };
  input.addEventListener("input", () => {
    say(Number(input.value));
    changed(Number(input.value));
  });
  parent.append(element("div", { class: "living-slider" }, element("label", { for: id, text: label }), input, shown));
  say(value);
  const set = (next) => {
    input.value = next;
    say(next);
  };
  const limit = (least, most, between) => {
    Object.assign(input, { min: least, max: most, step: between });
    say(Number(input.value));
  };
  return { set, limit };
}

/** A button that calls `pressed()`. @returns {HTMLButtonElement} */
export function button(parent, label, pressed) {
  const node = element("button", { type: "button", text: label });
  node.addEventListener("click", pressed);
  parent.append(node);
  return node;
}

/** A choice of one among several, which calls `chosen(index)`. @returns {(index: number) => void} what chooses one */
export function choice(parent, label, names, chosen) {
  const id = `living-${(made += 1)}`;
  const select = element("select", { id, autocomplete: "off" }, ...names.map((text, value) => element("option", { value, text })));
  select.addEventListener("change", () => chosen(Number(select.value)));
  parent.append(element("div", { class: "living-choice" }, element("label", { for: id, text: label }), select));
  return (index) => {
    select.value = index;
  };
}

/** A group of controls, or of the plates that a still image shows. */
export function group(parent, kind) {
  const node = element("div", { class: `living-${kind}` });
  if (["plates", "pair", "rows"].includes(kind)) node.dataset.still = "";
  parent.append(node);
  return node;
}

/** A line of text that screen readers read out when it changes. @returns {(text: string) => void} */
export function readout(parent) {
  const line = element("p", { class: "living-readout", "aria-live": "polite" });
  parent.append(line);
  return (words) => {
    if (line.textContent !== typeset(words)) line.textContent = typeset(words);
  };
}

/** With minus signs in place of hyphens before digits, and none before a zero. */
const typeset = (words) => words.replace(/-(?=0(?:\.0+)?(?!\.?\d))/g, "").replace(/-(?=\d)/g, "−");

/**
 * A canvas as wide as its place, sharp on every screen, drawn again when its width or the page's colours change.
 * @param {(width: number) => number} height of the canvas, in CSS pixels
 * @param {(brush: CanvasRenderingContext2D, width: number, height: number, colours: object) => void} draw
 * @returns {{canvas: HTMLCanvasElement, redraw: () => void, describe: (text: string) => void}}
 */
export function plate(parent, title, height, draw) {
  const canvas = element("canvas", { role: "img", "aria-label": title });
  parent.append(element("figure", { class: "living-plate" }, element("figcaption", { text: title }), canvas));
  function redraw() {
    const width = canvas.clientWidth;
    if (!width) return;
    const tall = Math.round(height(width));
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(tall * ratio);
    canvas.style.height = `${tall}px`;
    const brush = canvas.getContext("2d");
    brush.scale(ratio, ratio);
    brush.font = "13px system-ui, sans-serif";
    draw(brush, width, tall, colours(canvas));
  }
  let before = 0;
  new ResizeObserver(() => {
    if (canvas.clientWidth !== before) redraw();
    before = canvas.clientWidth;
  }).observe(canvas);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  return { canvas, redraw, describe: (words) => canvas.setAttribute("aria-label", typeset(`${title}. ${words}`)) };
}

const NAMES = ["ink", "paper", "faint", "q", "p", "fire", "night"];

/** The colours of living.css, as they are on this page in this mode. */
function colours(node) {
  const style = getComputedStyle(node);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--living-${name}`).trim()]));
}

/** The rectangle that axes enclose, in CSS pixels. */
function frame(width, height, left = 42) {
  return { left, right: width - 8, top: 8, bottom: height - 34 };
}

/**
 * Calls `moved([across, up])` with shares of the frame, each in [0, 1], while a mouse or a finger is down on a canvas. The
 * finger does not scroll the page then.
 */
export function dragged(canvas, left, moved) {
  canvas.classList.add("living-drag");
  const follow = (event) => {
    if (!event.isPrimary || event.buttons !== 1) return; // one finger, or the left button
    const box = frame(canvas.clientWidth, canvas.clientHeight, left);
    const shares = [(event.offsetX - box.left) / (box.right - box.left), (box.bottom - event.offsetY) / (box.bottom - box.top)];
    moved(shares.map((share) => Math.min(1, Math.max(0, share))));
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    follow(event);
  });
  canvas.addEventListener("pointermove", follow);
}

/**
 * Axes with ticks and labels; returns what turns values into places on the canvas.
 * @param {{x: number[], y: number[], label: string, ticks?: number[], left?: number}} ranges ends of both axes
 */
export function axes(brush, width, height, palette, { x, y, label, ticks, left = 42 }) {
  const box = frame(width, height, left);
  const across = (value) => box.left + ((value - x[0]) / (x[1] - x[0])) * (box.right - box.left);
  const up = (value) => box.bottom - ((value - y[0]) / (y[1] - y[0])) * (box.bottom - box.top);
  brush.strokeStyle = brush.fillStyle = palette.faint;
  brush.lineWidth = 1;
  brush.strokeRect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  brush.fillStyle = palette.ink;
  brush.textAlign = "center";
  for (const value of ticks ?? round(x, 6)) brush.fillText(text(value), across(value), box.bottom + 15);
  brush.fillText(label, (box.left + box.right) / 2, height - 5);
  brush.textAlign = "right";
  for (const value of round(y, 4)) brush.fillText(text(value), box.left - 5, up(value) + 4);
  return { across, up, box };
}

const text = (value) => typeset(String(Number(value.toFixed(2))));

/** At most `most` round numbers between two ends. */
function round([first, last], most) {
  const rough = (last - first) / most;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const start = Math.ceil(first / step - 1e-9);
  return Array.from({ length: Math.floor(last / step + 1e-9) - start + 1 }, (_, i) => (start + i) * step);
}

/** A line through values at places; with `base`, filled down to that height. */
export function curve(brush, places, heights, colour, base) {
  brush.beginPath();
  places.forEach((at, i) => brush.lineTo(at, heights[i]));
  brush.strokeStyle = colour;
  brush.lineWidth = 2;
  brush.stroke();
  if (base === undefined) return;
  brush.lineTo(places[places.length - 1], base);
  brush.lineTo(places[0], base);
  brush.fillStyle = colour;
  brush.globalAlpha = 0.25;
  brush.fill();
  brush.globalAlpha = 1;
}

/**
 * Levels in [0, 1] as an image, from one colour to another.
 * @param {ArrayLike<number>} levels (rows * columns,), top row first
 */
export function grey(brush, levels, columns, left, top, width, height, from, to) {
  const rows = levels.length / columns;
  const [a, b] = [rgb(from), rgb(to)];
  const image = new ImageData(columns, rows);
  for (let i = 0; i < levels.length; i += 1) {
    for (let part = 0; part < 3; part += 1) image.data[4 * i + part] = a[part] + (b[part] - a[part]) * levels[i];
    image.data[4 * i + 3] = 255;
  }
  const small = new OffscreenCanvas(columns, rows);
  small.getContext("2d").putImageData(image, 0, 0);
  brush.imageSmoothingEnabled = false;
  brush.drawImage(small, left, top, width, height);
}

/** "#rrggbb" as three numbers. */
export function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

/**
 * Calls `step(share)` with shares from 0 to 1 over some seconds; at once with 1 where, and as soon as, the reader wants no
 * motion. Of what the readouts say meanwhile only the last is read out. Returns what stops it where it is.
 */
export function animate(seconds, step) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const start = performance.now();
  let stopped = false;
  const frame = (now) => {
    const share = still.matches || stopped ? 1 : Math.min(1, Math.max(0, (now - start) / (1000 * seconds)));
    const live = share < 1 ? "off" : "polite";
    for (const line of document.querySelectorAll(".living-readout")) line.setAttribute("aria-live", live);
    if (!stopped) step(share);
    if (share < 1) requestAnimationFrame(frame);
  };
  if (still.matches) frame(start);
  else requestAnimationFrame(frame);
  return () => {
    stopped = true;
  };
}
