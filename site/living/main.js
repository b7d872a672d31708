/** Puts the pictures into the places that a page has for them. */

import { open } from "./page.js";
import { cave } from "./cave.js";
import { diffusion } from "./chain.js";
import { divergence } from "./divergence.js";

export const PICTURES = { divergence, cave, chain: diffusion };

function start() {
  for (const root of document.querySelectorAll(".living[data-picture]")) open(root, PICTURES[root.dataset.picture]);
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
