// What the pages do beside showing: the ledger's filters, names for arrows, formulas that a keyboard can scroll, and paper.

// A page opened from a file may not read others, so a search there shows titles alone.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", async () => {
  filterLedger(document.getElementById("ledger-filters"), document.getElementById("claims"));
  nameToggles();
  await window.MathJax?.startup?.promise;
  fit(document);
  window.addEventListener("resize", () => fit(document));
  document.addEventListener("toggle", (event) => fit(event.target), true); // what is folded has no width
  printable();
});

/** The arrows of the navigation have no words of their own. */
function nameToggles() {
  for (const arrow of document.querySelectorAll("li.has-children > details > summary")) {
    const link = arrow.closest("li").querySelector(":scope > a");
    if (link) arrow.setAttribute("aria-label", `Pages below ${link.textContent}`);
  }
}

/** Formulas that are wider than the text scroll in a line of their own. */
function fit(part) {
  for (const formula of part.querySelectorAll("mjx-container:not([display])")) {
    formula.classList.remove("wide");
    const text = formula.closest("p, li, td, th, dd, figcaption, div:not(.math)");
    formula.classList.toggle("wide", formula.getBoundingClientRect().width > text.clientWidth);
    reachable(formula);
  }
  part.querySelectorAll("div.math").forEach(reachable);
}

const PAPER = 600; // the width of a text on A4, in CSS pixels, and a little less, as zoom rounds the size of letters

/** Paper is white and does not scroll: there the colours are the light ones and wide formulas are smaller. */
function printable() {
  const { dataset } = document.documentElement;
  let theme;
  window.addEventListener("beforeprint", () => {
    theme = dataset.theme;
    dataset.theme = "light";
    for (const drawn of document.querySelectorAll("div.math mjx-container > svg")) {
      // A formula with a number is as wide as the text, and at least as wide as it needs.
      const width = drawn.style.minWidth ? parseFloat(getComputedStyle(drawn).minWidth) : drawn.getBoundingClientRect().width;
      drawn.closest("div.math").style.zoom = Math.min(1, PAPER / width);
    }
  });
  window.addEventListener("afterprint", () => {
    dataset.theme = theme;
    for (const box of document.querySelectorAll("div.math")) box.style.zoom = "";
  });
}

/** Shows the rows of the ledger that meet every choice, and says how many they are. */
function filterLedger(form, table) {
  if (!form) return;
  const rows = [...table.tBodies[0].rows];
  const { words, chapter, witness, covers } = form.elements;
  const apply = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(
        wanted.every((word) => text.includes(word)) &&
        (!chapter.value || row.dataset.chapter === chapter.value) &&
        [[witness, "witness"], [covers, "covers"]].every(
          ([choice, name]) => !choice.value || row.dataset[name].split(" ").includes(choice.value),
        )
      );
    }
    form.querySelector("output").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

/** A box that scrolls sideways has to be within reach of the keyboard. */
function reachable(box) {
  const scrolls = box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX === "auto";
  const names = { tabindex: "0", role: "region", "aria-label": "A formula, wider than the page" };
  for (const [name, value] of Object.entries(names)) {
    if (scrolls) box.setAttribute(name, value);
    else box.removeAttribute(name);
  }
}
