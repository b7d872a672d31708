"""Says of every number in the text of a notebook where it comes from, and holds it to that.

    python -m vaelib.checking.prose notebooks/*.ipynb              names each number that nothing stands behind
    python -m vaelib.checking.prose notebooks/04*.ipynb --propose  offers marks for those that have none

In Markdown cells every number with a decimal point, a unit, a percentage or more than two digits carries a mark right
after it, a comment that the reader does not see and that says *what* the number is:

    186.7<!-- out: exact grid --> nats      in each stored output line with these words, the number that comes next
    0.8<!-- out: test NLL +- -->            ... after other words; `out: T = 3 _ #`: skip one number, take the next;
                                            `out: # images/s`: the number that comes before these words;
                                            `out 09: line 44`: in the outputs of notebook 09 beside this one
    $K = 500$<!-- code: samples=500 -->     this text is in a code cell, and its last number is 500
    543<!-- calc: 784 * log(2) --> nats     a calculation; `[words]` in it is the number that `out: words` finds:
                                            `round([exact grid], -1)` for "about 190", `floor(..., -2)` for "above 100"
    84.78<!-- cite: burda2016 test NLL -->  in references.bib beside the notebook this entry has a field of figures,
                                            {84.78 test NLL; 2,000 hidden}, where these words follow the number;
                                            `cite: E11c noise #`: one of `vaelib.checking.mistakes`, # as above
    30<!-- given -->                        an exercise sets it (only below `Exercises` or `3.2 · ...`)

    2.1 and 3.4 nats<!-- out: VAE; MHVAE -->   one mark for several numbers of a phrase, in their order

A number stands if what the mark leads to rounds to it at the digits shown: a percentage may come from a share, and an
output has to show as many digits. Words that lead to several different numbers are refused. A line indented more than
one above it belongs to that one: words of the heading may come first. What the text refers to has to exist.
"""

import argparse
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from . import bibliography
from .mistakes import MISTAKES
from .prose_marks import Found, Sources, complaint, fits, no_underscores
from .prose_text import NUMBER, Number, marked, references, tags, value


def problems(path: Path | str) -> list[str]:
    """One line for each number in a notebook's text that is wrong, has no mark, or has one that leads nowhere.

    Also names references to equations, notebooks, sections, exercises and files that do not exist. The notebook is read
    as it is stored; nothing is executed.
    """
    path = Path(path)
    cells, sources = read(path), sources_of(path)
    found = []
    for id, text, in_exercises in texts(cells):
        found += [f"{path.name}, cell {id}: {line}" for line in wrong(text, sources, in_exercises)]
    return found + [f"{path.name}, {line}" for line in _dangling(path, cells)]


def wrong(text: str, sources: Sources, in_exercises: bool = False) -> list[str]:
    """One line for each number of a Markdown text without a mark or with a wrong one, each mark without a number."""
    pairs, bare, stray = marked(text)
    said = [(m.start, f"the mark {m.text!r} has fewer numbers before it than parts") for m in stray]
    said += [(n.start, f"{_place(text, n)} has no mark") for n in bare]
    for number, mark, (kind, words) in pairs:
        reason = complaint(number, kind, words, sources, in_exercises)
        paragraph = text[: mark.start].rpartition("\n\n")[2]
        if re.search(r"--|[$`|]", mark.text) or len(re.findall(r"(?<!\\)\$", paragraph)) % 2:
            reason = "a mark within a formula, or with --, $, | or ` in it, is not hidden everywhere"
        if reason:
            said.append((number.start, f"{_place(text, number)}, {kind}: {words}: {reason}"))
    return [line for _, line in sorted(said)]


def propose(path: Path | str) -> Iterator[tuple[str, str, list[str]]]:
    """For each number without a mark: the cell, the number among its words, and marks that would hold."""
    path = Path(path)
    sources = sources_of(path)
    for id, text, _ in texts(read(path)):
        for number in marked(text)[1]:
            offers = [[f"out: {words}" for words in _words_before(number, line)] for line in sources.lines]
            offers += [[f"code: {words}" for words in some] for some in _code_around(number, sources.code)]
            figures = [(key, item) for key, items in sources.figures.items() for item in items]
            offers += [[f"cite: {key} {item.partition(' ')[2]}"] for key, item in figures]
            shortest = (next(filter(partial(_holds, number, sources), some), None) for some in offers)
            yield id, _place(text, number), list(dict.fromkeys(filter(None, shortest)))


def main(arguments: list[str] | None = None) -> int:
    """Names each problem of some notebooks, or offers marks; 1 where there is a problem, else 0."""
    parser = argparse.ArgumentParser(description="Where the numbers in the text of notebooks come from.")
    parser.add_argument("notebooks", type=Path, nargs="+")
    parser.add_argument("--propose", action="store_true", help="offer marks for the numbers that have none")
    options = parser.parse_args(arguments)
    if options.propose:
        for path in options.notebooks:
            for id, place, offers in propose(path):
                print(f"{path.name}, cell {id}: {place}", *(offers or ["nothing found"]), sep="\n    ")
        return 0
    found = [line for path in options.notebooks for line in problems(path)]
    print(*found, f"prose: {len(found)} problems in {len(options.notebooks)} notebooks", sep="\n")
    return 1 if found else 0


# --- What a notebook holds --------------------------------------------------------------------------------------------


def read(path: Path) -> list[Any]:
    """The cells of a notebook."""
    return _cells(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=100)
def _cells(path: Path, _written: int) -> list[Any]:
    import nbformat

    return nbformat.read(path, as_version=4).cells


def texts(cells: list[Any]) -> Iterator[tuple[str, str, bool]]:
    """Each Markdown cell's id, its text up to a heading References, and whether that belongs to an exercise."""
    in_exercises = False
    for cell in cells:
        if cell.cell_type != "markdown":
            continue
        for part in re.split(r"^(?=#+ )", cell.source, flags=re.MULTILINE):
            title = part.partition("\n")[0].lstrip("# ").strip() if part.startswith("#") else None
            if title == "References":
                return
            in_exercises = bool(re.match(r"Exercises$|[aA]?\d+\.\d+ · ", title)) if title else in_exercises
            yield cell.get("id", ""), part, in_exercises


def sources_of(path: Path) -> Sources:
    """Outputs of a notebook and of those beside it, its code, figures of the bibliography and of known mistakes."""
    file = path.with_name("references.bib")
    entries = bibliography.read(file.read_text(encoding="utf-8")) if file.exists() else {}
    figures = {key: tuple(" ".join(item) for item in e.figures.items()) for key, e in entries.items() if e.figures}
    figures |= {number: (m.name, m.where, m.legitimate, *m.seen) for number, m in MISTAKES.items()}
    outputs = {name: _outputs(cells) for name, cells in _beside(path).items()}
    code = "\n".join(_only_code(cell.source) for cell in read(path) if cell.cell_type == "code")
    return Sources(_outputs(read(path)), code, figures, outputs)


def _beside(path: Path) -> dict[str, list[Any]]:
    """The cells of the notebooks of a folder, by the beginnings of their names: 04, a1."""
    return {other.stem.partition("_")[0].lower(): read(other) for other in sorted(path.parent.glob("*.ipynb"))}


def _outputs(cells: list[Any]) -> tuple[str, ...]:
    lines = [line for cell in cells for output in cell.get("outputs", []) for line in _lines(_text_of(output))]
    return tuple(dict.fromkeys(lines))


def _text_of(output: Any) -> str:
    if output.output_type == "stream":
        return output.text
    return output.get("data", {}).get("text/plain", "")


def _lines(text: str) -> list[str]:
    """The lines of an output, each behind the lines above it that are indented less."""
    found: list[str] = []
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("<Figure size"):
            depth = len(line) - len(line.lstrip())
            above = [(d, text) for d, text in above if d < depth]
            found.append(" / ".join([*(text for _, text in above), line.strip()]))
            above.append((depth, line.strip()))
    return found


def _only_code(source: str) -> str:
    """A cell's code without comments, and without the digits in strings, except where they are computed with.

    Those are raw strings, which hold formulas, and the braces of f-strings.
    """
    code = re.sub(r"^\s*[%!].*", "", source, flags=re.MULTILINE)
    starts = [0, *(match.end() for match in re.finditer("\n", code))]
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            hidden = " " * len(token.string)
        elif token.type == getattr(tokenize, "FSTRING_MIDDLE", -1):  # from Python 3.12 on
            hidden = re.sub(r"\d", " ", token.string)
        elif token.type == tokenize.STRING and not re.match(r"\w*[rR]", token.string):
            computed = r"(\{[^{}]*\})|\d" if re.match(r"\w*[fF]", token.string) else r"(?!)()|\d"
            hidden = re.sub(computed, lambda match: match[1] or " ", token.string)
        else:
            continue
        at = starts[token.start[0] - 1] + token.start[1]
        code = code[:at] + hidden + code[at + len(hidden) :]
    return no_underscores(code)


def _dangling(path: Path, cells: list[Any]) -> Iterator[str]:
    """References of the text to what does not exist."""
    others = _beside(path)
    exists = {
        "equation": {tag for other in others.values() for _, text, _ in texts(other) for tag in tags(text)},
        "notebook": set(others),
    }
    titles = [part for other in others.values() for _, part, _ in texts(other)]
    on_sheets = {n for part in titles for n in re.findall(r"^## ([aA]?\d+\.\d+) · ", part)}
    for id, text, _ in texts(cells):
        named = references(text)
        about = [
            cells,
            *(others[name.lower()] for kind, name in named if kind == "notebook" and name.lower() in others),
        ]
        parts = [(part, exercises) for other in about for _, part, exercises in texts(other)]
        exists["section"] = {n for part, _ in parts for n in re.findall(r"^#+ (\d+)", part)}
        listed = {n for part, yes in parts if yes for n in re.findall(r"^(\d+)\. ", part, re.MULTILINE)}
        exists["exercise"] = on_sheets | listed
        for kind, name in named:
            if kind == "link" and not (path.parent / name).exists():
                yield f"cell {id}: a link leads to {name}, which does not exist"
            elif kind in exists and name.lower() not in {known.lower() for known in exists[kind]}:
                yield f"cell {id}: there is no {kind} {name}"


def _place(text: str, number: Number) -> str:
    """A number among its words."""
    before, after = text[max(0, number.start - 40) : number.start], text[number.end : number.end + 30]
    return f"{number.text} in {' '.join((before + number.text + after).split())!r}"


# --- Proposals --------------------------------------------------------------------------------------------------------


def _holds(number: Number, sources: Sources, offer: str) -> bool:
    return not complaint(number, *offer.split(": ", 1), sources, in_exercises=False)


def _words_before(number: Number, line: str) -> Iterator[str]:
    """Words of a line that lead to each number of it that fits, few first."""
    for match in NUMBER.finditer(line):
        found = Found(*value(match), bool(re.match(r"\s?%", line[match.end() :])), line)
        if not fits(number, found):
            continue
        before, skipped = line[: match.start()], 0
        while (last := list(NUMBER.finditer(before))) and not re.search(r"[^\W\d_]|\+-|[=:]", before[last[-1].end() :]):
            before, skipped = before[: last[-1].start()], skipped + 1
        words = [word for word in before.split() if not set(word) & set("/;($`|") and "--" not in word]
        end = " _" * skipped + (" #" if skipped else "")
        for size in range(2, 8):
            yield " ".join(words[-size:]) + end
            yield f"{' '.join(words[:1])} {' '.join(words[1 - size :])}{end}"
        after = " ".join(line[match.end() :].split()[:3])
        yield f"# {after}"


def _code_around(number: Number, code: str) -> Iterator[Iterator[str]]:
    """For each number in the code that fits: texts with it, short ones first."""
    for match in NUMBER.finditer(code):
        if fits(number, Found(*value(match), False, ""), "code"):
            line = code[code.rfind("\n", 0, match.start()) + 1 : match.end()]
            yield (" ".join(line[start.start() :].split()) for start in reversed([*re.finditer(r"(?<!\w)\w+", line)]))


if __name__ == "__main__":
    sys.exit(main())
