"""What nbval does not see, guarded here.

`make test` executes every notebook and compares its outputs with the stored ones (nbval). Some things slip through: a
notebook stripped of its outputs, cells that are marked so as not to be compared, pictures, and everything that is no
output. The guards below read the stored notebooks, and each is shown to complain of a wrong one.
"""

import ast
import copy
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
import reading  # tools/reading.py
import run  # tools/run.py
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbval.plugin import IPyNbFile, coalesce_streams, find_comment_markers, find_metadata_tags

from vaelib.checking import ledger

NOTEBOOKS = sorted(run.NOTEBOOKS.glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

# (notebook, cell id): why this cell may carry a marker that keeps nbval from comparing it, or nbclient from running it.
ALLOWED_MARKERS: dict[tuple[str, str], str] = {}
# (notebook, cell id): why digits stored in this cell need no comparison.
ALLOWED_BLIND_DIGITS: dict[tuple[str, str], str] = {}

LONGEST_CELL = 25
MOST_CELLS = {"road": 40, "other": 60}
MOST_MINUTES = 35
COMPARED = {"text/plain", "text/html", "text/latex", "text/markdown", ledger.MIME}
PICTURE = "image/png"
MACHINE = re.compile(
    r"(?<![\w.])/(home|root|Users|tmp|private|var|opt|mnt|usr)/|\b[A-Z]:\\Users|site-packages|\b0x[0-9a-f]{6,}|"
    + re.escape(str(run.ROOT))
)


# --- The guards: each reads a notebook and yields what is wrong with it -----------------------------------------------


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def counted_from_one(notebook: NotebookNode) -> Iterator[str]:
    """nbval lets a cell without a count pass, whatever it prints."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        if cell.execution_count != number:
            yield f"code cell {number} has execution count {cell.execution_count}: run `make notebooks`"


def prints_are_stored(notebook: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(code_cells(notebook), start=1):
        calls = [
            ast.unparse(statement.value.func)
            for statement in ast.parse(TransformerManager().transform_cell(cell.source)).body
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        ]
        if "print" in calls and not any(output.output_type == "stream" for output in cell.outputs):
            yield f"code cell {number} prints, but no printed output is stored: run `make notebooks`"
        if "plt.show" in calls and not any(PICTURE in output.get("data", {}) for output in cell.outputs):
            yield f"code cell {number} shows a figure, but none is stored: run `make notebooks`"


def outputs_can_be_compared(notebook: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(code_cells(notebook), start=1):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"code cell {number} stores an error: {output.ename}"
            elif output.output_type == "stream" and output.name != "stdout":
                yield f"code cell {number} stores {output.name}: {output.text.strip()[:60]}"
            for kind in output.get("data", {}):
                if kind not in COMPARED | {PICTURE}:
                    yield f"code cell {number} stores {kind}, which nbval does not compare or which is not repeatable"
            for holder, key in texts(output):
                if place := MACHINE.search(str(holder[key])):
                    yield f"code cell {number} stores a path or an address of one machine: {place[0]}"


def markers_are_allowed(notebook: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(code_cells(notebook), start=1):
        marked = [*find_metadata_tags(cell.metadata), *find_comment_markers(cell.source)]
        marked += [tag for tag in cell.metadata.get("tags", []) if tag == "skip-execution"]
        if marked and (notebook.metadata.name, cell.id) not in ALLOWED_MARKERS:
            yield f"code cell {number} ({cell.id}) carries a marker without a reason in ALLOWED_MARKERS"


def is_road(notebook: NotebookNode) -> bool:
    """A chapter of the main road, such as 03_kl; 03b is a side room, 03x a sheet of exercises, a1 an appendix."""
    return bool(re.match(r"\d\d_", notebook.metadata.name))


def is_sheet(notebook: NotebookNode) -> bool:
    return bool(re.match(r"\w\dx_", notebook.metadata.name))


def sizes(notebook: NotebookNode) -> Iterator[str]:
    most = MOST_CELLS["road" if is_road(notebook) else "other"]
    if len(notebook.cells) > most:
        yield f"{len(notebook.cells)} cells: at most {most}"
    found = reading.size(notebook)
    if is_road(notebook) and found.minutes > MOST_MINUTES:
        yield f"{found.minutes} minutes of reading: at most {MOST_MINUTES}"
    for number, cell in enumerate(code_cells(notebook), start=1):
        if not cell.source.strip():
            yield f"code cell {number} is empty"
        if len(cell.source.splitlines()) > LONGEST_CELL:
            yield f"code cell {number} has {len(cell.source.splitlines())} lines: at most {LONGEST_CELL}"


def named_cells(notebook: NotebookNode) -> Iterator[str]:
    """Links and translations hang on the ids: they say what a cell is, and stay when others come or go."""
    for cell in notebook.cells:
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", cell.id) or re.match(r"cell-?\d", cell.id):
            yield f"the cell id {cell.id!r} is no name: expected words such as 'check-3-5'"


def opens_as_agreed(notebook: NotebookNode) -> Iterator[str]:
    opening = notebook.cells[0].source if notebook.cells[0].cell_type == "markdown" else ""
    expected = {"a title": r"^# \S", "'**You need first:**'": r"\*\*You need first:\*\*\s+[\w\[]"}
    if is_sheet(notebook):
        expected["'**Time:** about N minutes'"] = r"\*\*Time:\*\* about \d+ minutes"
    else:
        expected |= {
            "the heading '## What you will be able to do'": r"^## What you will be able to do$",
            "'**Reading:** N minutes'": r"\*\*Reading:\*\* (about )?\d+ minutes?",
            "'**Running:** N seconds'": r"\*\*Running:\*\* (about )?\d+ seconds?",
        }
    if is_road(notebook):
        expected["'**In short.**', the answer"] = r"^\*\*In short\.\*\* \S"
        before = itertools.takewhile(lambda cell: cell.cell_type == "code", notebook.cells[1:])
        if not any(PICTURE in output.get("data", {}) for cell in before for output in cell.outputs):
            yield "no cell between the opening and the text draws the picture of the chapter"
    for what, pattern in expected.items():
        if not re.search(pattern, opening, re.MULTILINE):
            yield f"the first cell lacks {what}"
    said = re.search(r"\*\*Reading:\*\* (?:about )?(\d+)", opening)
    counted = reading.size(notebook).minutes
    if said and abs(int(said[1]) - counted) > 1:
        yield f"the first cell says {said[1]} minutes of reading: tools/reading.py says {counted}"


def closes_as_agreed(notebook: NotebookNode) -> Iterator[str]:
    """A recap of the road, a way to the exercises, and references as a list."""
    if is_sheet(notebook):
        return
    _, *sections = re.split(r"^## ", prose(notebook), flags=re.MULTILINE)
    titles = [section.partition("\n")[0].strip() for section in sections]
    expected = ["Recap", "Exercises", "References"] if is_road(notebook) else ["References"]
    if titles[-len(expected) :] != expected:
        yield f"the last headings are not {', '.join(map(repr, expected))}"
        return
    if is_road(notebook):
        recap, exercises = sections[-3:-1]
        if not 4 <= len(re.findall(r"^- ", recap, re.MULTILINE)) <= 6:
            yield "the recap is no list of about five lines"
        for words in ("**Where it is used later.**", "**After 2016.**"):
            if words not in recap:
                yield f"the recap lacks {words!r}"
        if f"({notebook.metadata.name[:2]}x_exercises.ipynb)" not in exercises:
            yield "'Exercises' has no link to the sheet"
    if not re.search(r"^- ", sections[-1], re.MULTILINE):
        yield "the list of references is empty"


def predictions_are_folded(notebook: NotebookNode) -> Iterator[str]:
    """What the reader is asked to predict is not to be seen right below the question."""
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        if cell.cell_type == "markdown" and "**Before you run it" in cell.source:
            tags = following.metadata.get("tags", []) if following is not None else []
            if "hide-output" not in tags:
                yield f"the cell after the question in {cell.id!r} lacks the tag hide-output"


def pictures_are_described(notebook: NotebookNode) -> Iterator[str]:
    """For readers who cannot see them: alternative text, or *Figure: ...* in the text after the cell that draws."""
    text = prose(notebook)
    if re.search(r"!\[\s*\]", text):
        yield "an image has no alternative text: ![what it shows](...)"
    if any("alt=" not in tag for tag in re.findall(r"<img\b[^>]*>", text)):
        yield "an <img> has no alt"
    if any(":alt:" not in figure for figure in re.findall(r"\{figure\}.*?(?:```|:::)", text, re.DOTALL)):
        yield "a {figure} has no :alt:"
    number = 0
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        number += cell.cell_type == "code"
        draws = any(PICTURE in output.get("data", {}) for output in cell.get("outputs", []))
        described = following is not None and following.cell_type == "markdown" and "*Figure" in following.source
        if draws and not described:
            yield f"the picture of code cell {number} is not described: the next cell needs '*Figure: ...*'"


GUARDS: list[Callable[[NotebookNode], Iterator[str]]] = [
    counted_from_one,
    prints_are_stored,
    outputs_can_be_compared,
    markers_are_allowed,
    sizes,
    named_cells,
    opens_as_agreed,
    closes_as_agreed,
    predictions_are_folded,
    pictures_are_described,
]


def complaints(path: Path) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    found = []
    if run.stored_form(notebook) != path.read_text(encoding="utf-8"):
        found.append("the file is not as `make notebooks` writes it: metadata or layout differ")
    notebook.metadata.name = path.stem
    return found + [complaint for guard in GUARDS for complaint in guard(notebook)]


# --- Digits that nbval would let pass ---------------------------------------------------------------------------------


def texts(output: NotebookNode) -> list[tuple[dict, str]]:
    """Where an output keeps text, as (dictionary, key)."""
    if output.output_type == "stream":
        return [(output, "text")]
    if output.output_type == "error":
        return [(output, "ename"), (output, "evalue")]
    return [(output.data, kind) for kind in output.data if kind in COMPARED]


def unseen_changes(path: Path, session: pytest.Session) -> Iterator[tuple[str, str]]:
    """(cell id, change) for each stored digit that could be another one, and each output that could be missing.

    nbval's own comparison is asked, with the stored outputs in place of the newly computed ones.
    """
    for cell in IPyNbFile.from_parent(session, path=path).collect():
        cell.format_output_compare = lambda *_: None  # only words the report, which takes far longer than comparing
        stored = cell.cell.outputs

        def seen(changed: list[NotebookNode], cell=cell, stored=stored) -> bool:
            if cell.options["skip"]:
                return False
            computed = coalesce_streams(copy.deepcopy(stored))
            return cell.options["check"] and not cell.compare_outputs(computed, coalesce_streams(changed))

        for i, output in enumerate(stored):
            if not seen(copy.deepcopy(stored[:i] + stored[i + 1 :])):
                yield cell.cell.id, f"output {i} could be missing"
            for j, (holder, key) in enumerate(texts(output)):
                is_text = isinstance(holder[key], str)  # else JSON: a claim of vaelib.checking
                text = holder[key] if is_text else json.dumps(holder[key], ensure_ascii=False)
                for digit in re.finditer(r"[0-9]", text):
                    other = "8" if digit[0] == "9" else str(int(digit[0]) + 1)  # no 0: JSON has no number 05
                    other = text[: digit.start()] + other + text[digit.end() :]
                    changed = copy.deepcopy(stored)
                    holder, key = texts(changed[i])[j]
                    holder[key] = other if is_text else json.loads(other)
                    if not seen(changed):
                        around = text[max(digit.start() - 20, 0) : digit.end() + 20]
                        yield cell.cell.id, f"output {i}, {key}: the {digit[0]} at {digit.start()} in {around!r}"


# --- The course -------------------------------------------------------------------------------------------------------


def test_the_course_has_notebooks():
    assert NOTEBOOKS


@each_notebook
def test_notebook_keeps_the_rules(path):
    found = complaints(path)
    assert not found, "\n".join(found)


def test_every_chapter_has_its_exercises_and_compares_what_is_built_by_hand():
    chapters = {path.stem[:2] for path in NOTEBOOKS if re.match(r"\d\d_", path.stem)}
    for chapter in chapters:
        rooms = [nbformat.read(path, as_version=4) for path in NOTEBOOKS if path.stem.startswith(chapter)]
        assert "## Built by hand, compared with vaelib" in "\n".join(map(prose, rooms)), chapter
    assert {path.stem[:2] for path in NOTEBOOKS if re.match(r"\d\dx_", path.stem)} == chapters


@pytest.mark.slow
@each_notebook
def test_every_stored_digit_is_compared(path, request):
    unseen = unseen_changes(path, request.session)
    found = [f"{cell}: {change}" for cell, change in unseen if (path.stem, cell) not in ALLOWED_BLIND_DIGITS]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("allowed", [ALLOWED_MARKERS, ALLOWED_BLIND_DIGITS], ids=["markers", "digits"])
def test_exceptions_are_for_cells_that_exist_and_give_a_reason(allowed):
    cells = {(path.stem, cell.id) for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells}
    assert allowed.keys() <= cells
    assert all(len(reason.split()) >= 3 for reason in allowed.values())


# --- The guards complain of what is wrong -----------------------------------------------------------------------------

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="

OPENING = """\
# 00 · A small notebook

**In short.** One and one are two.

## What you will be able to do

- add.

**You need first:** nothing. **Reading:** 1 minute. **Running:** about 1 second."""
CLOSING = """\
## Recap

- One.
- Two.
- Three.
- Four.

**Where it is used later.** Everywhere. **After 2016.** Still.

## Exercises

On [a sheet](00x_exercises.ipynb).

## References

- G. Peano, *Arithmetices principia*, 1889."""


@pytest.fixture(scope="session")
def sound(tmp_path_factory) -> Path:
    """A small notebook that keeps every rule, executed as `make notebooks` does it."""
    v4 = nbformat.v4
    cells = [
        v4.new_markdown_cell(OPENING),
        v4.new_code_cell("print('1 + 1 =', 1 + 1)\n40 + 2"),
        v4.new_code_cell(
            f"from base64 import b64decode\n\nfrom IPython.display import Image\n\nImage(b64decode('{PIXEL}'))"
        ),
        v4.new_markdown_cell("*Figure: one grey pixel.*\n\n## Built by hand, compared with vaelib"),
        v4.new_code_cell("x = 3"),
        v4.new_markdown_cell(CLOSING),
    ]
    for cell, name in zip(cells, ("opening", "sum", "picture", "caption", "three", "closing"), strict=True):
        cell.id = name
    path = tmp_path_factory.mktemp("sound") / "00_sound.ipynb"
    nbformat.write(v4.new_notebook(cells=cells), path)
    assert run.execute(path, path)[1] == ""
    return path


def altered(sound: Path, folder: Path, name: str, change: Callable[[list[NotebookNode]], object]) -> Path:
    """A copy of the sound notebook with a change made to its cells."""
    notebook = nbformat.read(sound, as_version=4)
    change(notebook.cells)
    target = folder / (name if name.endswith(".ipynb") else f"00_{name}.ipynb")
    target.write_text(run.stored_form(notebook), encoding="utf-8")
    return target


def strip(cells: list[NotebookNode]) -> None:
    for cell in cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def wrong_digit(cells: list[NotebookNode]) -> None:
    cells[1].outputs[0].text = cells[1].outputs[0].text.replace("2", "3")


def lengthen(cells: list[NotebookNode]) -> None:
    cells[1:1] = [nbformat.v4.new_markdown_cell("More.") for _ in range(57)]


def store(output_type: str, **content) -> Callable[[list[NotebookNode]], None]:
    return lambda cells: cells[1].outputs.append(nbformat.v4.new_output(output_type, **content))


def tag(name: str) -> Callable[[list[NotebookNode]], None]:
    return lambda cells: cells[1].metadata.update(tags=[name])


def source(number: int, old: str, new: str) -> Callable[[list[NotebookNode]], None]:
    def change(cells: list[NotebookNode]) -> None:
        assert old in cells[number].source
        cells[number].source = cells[number].source.replace(old, new)

    return change


WRONG = {
    "stripped": (strip, "code cell 1 has execution count None"),
    "out of order": (lambda cells: cells[1].update(execution_count=7), "code cell 1 has execution count 7"),
    "print without output": (lambda cells: cells[1].outputs.clear(), "code cell 1 prints, but"),
    "figure without picture": (source(4, "x = 3", "plt.show()"), "code cell 3 shows a figure, but"),
    "stderr": (store("stream", name="stderr", text="Warning: 3"), "stores stderr: Warning: 3"),
    "error": (store("error", ename="ValueError", evalue="no"), "stores an error: ValueError"),
    "svg": (store("display_data", data={"image/svg+xml": "<svg/>"}), "stores image/svg+xml"),
    "widget": (store("display_data", data={"application/vnd.jupyter.widget-view+json": {}}), "widget-view+json"),
    "path": (store("stream", name="stdout", text="saved /home/ada/vae.pt"), "one machine: /home/"),
    "project's path": (store("stream", name="stdout", text=f"in {run.ROOT}"), "one machine: "),
    "address": (store("display_data", data={"text/plain": "<Line at 0x7f12ab34cd>"}), "one machine: 0x7f12ab34cd"),
    "tag": (tag("nbval-ignore-output"), "code cell 1 (sum) carries a marker"),
    "tag of nbclient": (tag("skip-execution"), "code cell 1 (sum) carries a marker"),
    "exception": (tag("raises-exception"), "code cell 1 (sum) carries a marker"),
    "comment": (source(1, "print", "# NBVAL_IGNORE_OUTPUT\nprint"), "code cell 1 (sum) carries a marker"),
    "long cell": (source(4, "x = 3", "x = 3\n" * 26), "code cell 3 has 26 lines"),
    "empty cell": (source(4, "x = 3", " "), "code cell 3 is empty"),
    "long notebook": (lengthen, "63 cells: at most 40"),
    "long to read": (source(0, "- add.", "- add.\n\n" + "word " * 7000), "36 minutes of reading: at most 35"),
    "another reading time": (source(0, "1 minute", "3 minutes"), "says 3 minutes of reading: tools/reading.py says 1"),
    "position as id": (lambda cells: cells[1].update(id="cell-07"), "the cell id 'cell-07' is no name"),
    "random id": (lambda cells: cells[1].update(id="9e3c107d"), "the cell id '9e3c107d' is no name"),
    "no answer at the top": (source(0, "**In short.**", ""), "lacks '**In short.**', the answer"),
    "no picture at the top": (lambda cells: cells[2].outputs.clear(), "draws the picture of the chapter"),
    "no recap": (source(5, "- Four.", "Four."), "the recap is no list of about five lines"),
    "no use": (source(5, "**Where it is used later.**", ""), "lacks '**Where it is used later.**'"),
    "nothing later": (source(5, "**After 2016.**", ""), "lacks '**After 2016.**'"),
    "prediction beside its result": (
        source(0, "- add.", "- add.\n\n**Before you run it.** Two?"),
        "the cell after the question in 'opening' lacks the tag hide-output",
    ),
    "no title": (source(0, "# 00", "00"), "lacks a title"),
    "no goals": (source(0, "be able to do", "see"), "lacks the heading '## What you will be able to do'"),
    "no prerequisites": (source(0, "nothing", ""), "lacks '**You need first:**'"),
    "no reading time": (source(0, "1 minute", "a while"), "lacks '**Reading:** N minutes'"),
    "no running time": (source(0, "1 second", "a while"), "lacks '**Running:** N seconds'"),
    "no exercises": (source(5, "## Exercises", ""), "the last headings are not 'Recap', 'Exercises', 'References'"),
    "no sheet": (source(5, "00x_", "00_"), "'Exercises' has no link to the sheet"),
    "no references": (source(5, "- G. Peano", "G. Peano"), "the list of references is empty"),
    "picture without words": (source(3, "*Figure: one grey pixel.*", ""), "picture of code cell 2 is not described"),
    "image without words": (source(0, "- add.", "![](cave.png)"), "an image has no alternative text"),
    "img without words": (source(0, "- add.", "<img src='cave.png'>"), "an <img> has no alt"),
    "figure without words": (source(0, "- add.", "```{figure} cave.png\nThe cave\n```"), "a {figure} has no :alt:"),
}


def test_the_sound_notebook_passes_every_guard(sound, request):
    assert complaints(sound) == []
    assert list(unseen_changes(sound, request.session)) == []


@pytest.mark.parametrize(("change", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_guard_complains_of(change, complaint, sound, tmp_path):
    found = complaints(altered(sound, tmp_path, "wrong", change))
    assert any(complaint in line for line in found), found


def test_guard_complains_of_foreign_metadata(sound, tmp_path):
    path = tmp_path / "00_foreign.ipynb"
    path.write_text(sound.read_text().replace('"name": "python"', '"name": "python",\n   "version": "3.11.7"', 1))
    assert complaints(path) == ["the file is not as `make notebooks` writes it: metadata or layout differ"]


def test_code_of_a_claim_is_folded_and_other_code_is_not(sound, tmp_path):
    def claim(cells: list[NotebookNode]) -> None:
        cells[1].source += '\nrate = Claim("2.7", "a rate")'

    folded, plain = (
        nbformat.read(altered(sound, tmp_path, name, change), as_version=4).cells[1].metadata
        for name, change in (("folded", claim), ("plain", lambda cells: None))
    )
    assert folded == {"tags": ["hide-input"], "jupyter": {"source_hidden": True}}
    assert plain == {}


def test_what_the_reader_is_to_predict_is_folded(sound, tmp_path):
    path = altered(sound, tmp_path, "predicted", tag("hide-output"))
    assert nbformat.read(path, as_version=4).cells[1].metadata == {
        "tags": ["hide-output"],
        "jupyter": {"outputs_hidden": True},
    }


def test_a_claim_whose_code_was_unfolded_is_noticed(sound, tmp_path):
    path = altered(sound, tmp_path, "unfolded", lambda cells: cells[1].update(source='Claim("2.7", "a rate")'))
    path.write_text(path.read_text().replace('"source_hidden": true', '"source_hidden": false'))
    assert "the file is not as `make notebooks` writes it: metadata or layout differ" in complaints(path)


@pytest.mark.parametrize(
    ("change", "digits"),
    [
        (tag("nbval-ignore-output"), "11242"),
        (tag("nbval-skip"), "11242"),
        (source(1, "print", "# NBVAL_IGNORE_OUTPUT\nprint"), "11242"),
        (store("stream", name="stdout", text="\nloss 0.5\rdone"), "05"),
    ],
    ids=["ignored by a tag", "skipped by a tag", "ignored by a comment", "overwritten by a carriage return"],
)
def test_digits_that_nbval_does_not_compare_are_found(change, digits, sound, tmp_path, request):
    unseen = [change for _, change in unseen_changes(altered(sound, tmp_path, "blind", change), request.session)]
    assert [found[1] for line in unseen if (found := re.search(r"the (\d) at", line))] == list(digits)


def test_digits_of_a_claim_are_compared(sound, tmp_path, request):
    """A claim stores JSON with numbers in it."""
    claim = {ledger.MIME: {"id": "2.4", "witnesses": [{"cases": 200, "worst": 1.5e-12}]}}
    stores_claim = store("display_data", data=claim)
    path = altered(sound, tmp_path, "claim", stores_claim)
    assert list(unseen_changes(path, request.session)) == []
    path = altered(sound, tmp_path, "ignored", lambda cells: (stores_claim(cells), tag("nbval-ignore-output")(cells)))
    unseen = [line for _, line in unseen_changes(path, request.session) if f"{ledger.MIME}: the" in line]
    assert len(unseen) == len("242001512")


def test_an_output_that_could_be_missing_is_found(sound, tmp_path, request):
    only_a_picture = store("display_data", data={PICTURE: PIXEL})
    unseen = list(unseen_changes(altered(sound, tmp_path, "blind", only_a_picture), request.session))
    assert unseen == [("sum", "output 2 could be missing")]


# --- nbval itself, end to end -----------------------------------------------------------------------------------------


def run_nbval(folder: Path, **environment: str) -> tuple[int, set[str]]:
    """Checks a folder as `make test` checks the course; the exit status and the names of the notebooks that failed."""
    shutil.copy(run.NOTEBOOKS / "conftest.py", folder)
    command = [*run.nbval(folder), "-n0", "-c", str(run.ROOT / "pyproject.toml")]
    done = subprocess.run(command, cwd=run.ROOT, env=os.environ | environment, capture_output=True, text=True)
    assert " passed" in done.stdout, done.stdout + done.stderr
    return done.returncode, set(re.findall(r"^FAILED .*?(\w+)\.ipynb", done.stdout, re.MULTILINE))


def wrong_picture(cells: list[NotebookNode]) -> None:
    assert cells[2].outputs[0].data[PICTURE].strip() == PIXEL
    cells[2].outputs[0].data[PICTURE] = PIXEL.replace("ABSK", "ABSL")


@pytest.mark.slow
def test_nbval_turns_red_on_a_changed_digit(sound, tmp_path):
    altered(sound, tmp_path, "right", lambda cells: None)
    assert run_nbval(tmp_path) == (0, set())
    altered(sound, tmp_path, "digit", wrong_digit)
    assert run_nbval(tmp_path) == (1, {"00_digit"})


@pytest.mark.slow
def test_nbval_misses_stripped_notebooks_and_pictures_which_is_why_there_are_guards(sound, tmp_path):
    stripped = altered(sound, tmp_path, "stripped", strip)
    altered(sound, tmp_path, "picture", wrong_picture)
    assert run_nbval(tmp_path) == (0, set())
    assert complaints(stripped) != []
    assert run_nbval(tmp_path, VAELIB_COMPARE_PICTURES="1") == (1, {"00_picture"})
