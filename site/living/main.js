/** Puts the pictures into the places that a page has for them. */

import { open } from "./page.js";
import { cave } from "./cave.js";
import { diffusion } from "./chain.js";
import { divergence } from "./divergence.js";
import { latentMap } from "./latent.js";
import { levels } from "./levels.js";
import { twins } from "./twins.js";

export const PICTURES = { divergence, cave, chain: diffusion, "latent-map": latentMap, levels, twins };

function start() {
  for (const root of document.querySelectorAll(".living[data-picture]")) {
    const name = root.dataset.picture;
    open(root, PICTURES[name], () => window.livingData?.[name]);
  }
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
