"""How long a notebook is for its reader: cells, words, formulas, minutes, and how much of it is verification.

    python tools/reading.py notebooks/*.ipynb     a table in Markdown, a row for each

The minutes are those of a reader who stops at every formula: words / 200 and half a minute for each displayed one. A
cell's code is verification where it makes a claim or, tagged `hide-input`, serves one: it draws nothing and imports
nothing. Lines are those of 120 characters. Unfolded, a reader sees every line; folded, as the notebook opens, no line
of a folded cell, and of a claim its verdict alone.
"""

import math
import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

WORDS_A_MINUTE, MINUTES_A_FORMULA = 200, 0.5
WIDTH = 120
FOLDED, HIDDEN = "hide-input", "hide-output"  # tags: the code, or what it prints, is folded
CLAIM = "application/vnd.vaelib.claim+json"

_MARK = re.compile(r"<!--.*?-->", re.DOTALL)
_DISPLAYED = re.compile(r"\$\$.*?\$\$", re.DOTALL)
_FORMULA = re.compile(r"\$[^$]+\$")
_LINK = re.compile(r"\]\([^)]*\)")


class Size(NamedTuple):
    """What a notebook asks of its reader; shares are of the lines that are seen."""

    cells: int
    words: int
    formulas: int
    code: int
    claims: int
    unfolded: float
    folded: float

    @property
    def minutes(self) -> int:
        """Of reading, rounded up."""
        return math.ceil(self.words / WORDS_A_MINUTE + self.formulas * MINUTES_A_FORMULA)


def size(notebook: NotebookNode) -> Size:
    """Counts one notebook, with the outputs that it stores."""
    words = formulas = code = claims = 0
    seen = {True: [0, 0], False: [0, 0]}  # by whether cells are folded: lines of verification, and all lines
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = _MARK.sub("", cell.source)
            formulas += len(_DISPLAYED.findall(text))
            words += len(_FORMULA.sub(" x ", _LINK.sub("] ", _DISPLAYED.sub(" ", text))).split())
            for lines in seen.values():
                lines[1] += _lines(text)
        elif cell.cell_type == "code":
            code += len(cell.source.splitlines())
            claims += sum(CLAIM in output.get("data", {}) for output in cell.outputs)
            for folded, lines in seen.items():
                checks, shown = _code_lines(cell, folded)
                lines[0] += checks
                lines[1] += shown
    shares = (seen[folded][0] / max(1, seen[folded][1]) for folded in (False, True))
    return Size(len(notebook.cells), words, formulas, code, claims, *shares)


def _code_lines(cell: NotebookNode, folded: bool) -> tuple[int, int]:
    """The lines of verification, and all lines, that one code cell shows."""
    tags = cell.metadata.get("tags", [])
    draws = any("image/png" in output.get("data", {}) for output in cell.outputs)
    claimed = [output for output in cell.outputs if CLAIM in output.get("data", {})]
    serves = bool(claimed) or (FOLDED in tags and not draws and not cell.source.startswith(("import ", "from ")))
    source = 0 if folded and FOLDED in tags else _lines(cell.source)
    checks = source if serves else 0
    shown = source
    for output in cell.outputs:
        text = output.get("text", "") or output.get("data", {}).get("text/plain", "")
        if output in claimed:
            lines = 1 if folded else _lines(text)
            checks += lines
        else:
            lines = 0 if folded and HIDDEN in tags else _lines(text) * ("image/png" not in output.get("data", {}))
        shown += lines
    return checks, shown


def _lines(text: str) -> int:
    return sum(math.ceil(len(line) / WIDTH) for line in text.splitlines() if line.strip())


def table(paths: list[Path]) -> str:
    """A row for each notebook."""
    heads = ["notebook", "cells", "words", "formulas", "minutes", "code lines", "claims"]
    heads += ["verification, unfolded", "folded"]
    rows = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for path in paths:
        s = size(nbformat.read(path, as_version=4))
        figures = (s.cells, s.words, s.formulas, s.minutes, s.code, s.claims, f"{s.unfolded:.0%}", f"{s.folded:.0%}")
        rows.append(f"| {path.stem} | " + " | ".join(map(str, figures)) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table([Path(name) for name in sys.argv[1:]]))
