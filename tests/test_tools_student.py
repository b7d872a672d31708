"""The edition for students: nothing of a solution is left, and what is pasted back passes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import run  # tools/run.py
import student  # tools/student.py

SHEETS = sorted(run.NOTEBOOKS.glob("*x_exercises.ipynb"))
each_sheet = pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.stem)
SOURCE = '''\
def rate(mu):
    """One number."""
    ### BEGIN SOLUTION
    half = mu**2 / 2
    return half
    ### END SOLUTION'''


def test_a_solution_gives_way_to_what_nbgrader_would_write():
    assert student.cleared(SOURCE) == (
        'def rate(mu):\n    """One number."""\n    # YOUR CODE HERE\n    raise NotImplementedError()'
    )
    assert student.solutions(SOURCE) == ["    half = mu**2 / 2\n    return half\n"]
    assert student.cleared("x = 1") == "x = 1"


def test_what_was_printed_is_gone_and_the_expected_picture_stays():
    v4 = nbformat.v4
    picture = v4.new_output("display_data", data={"image/png": "abc"})
    printed = v4.new_output("stream", text="the answer is 3")
    cells = [v4.new_code_cell(SOURCE, id="answer-3-2"), v4.new_code_cell("draw()", id="draw-3-2")]
    cells[0].metadata = run.graded(cells[0]) | {"tags": ["hide-input"], "jupyter": {"source_hidden": True}}
    cells[0].outputs, cells[1].outputs = [printed], [printed, picture]
    edition = student.student_edition(v4.new_notebook(cells=cells))
    answer, draw, expected = edition.cells
    assert not answer.outputs + draw.outputs
    assert answer.metadata == run.graded(cells[0])
    assert expected.attachments == {"expected-1.png": {"image/png": "abc"}}
    assert "the answer is 3" not in nbformat.writes(edition)
    nbformat.validate(edition)


@each_sheet
def test_no_solution_leaks(path):
    sheet = nbformat.read(path, as_version=4)
    hidden = "".join(
        text for cell in sheet.cells if cell.cell_type == "code" for text in student.solutions(cell.source)
    )
    elsewhere = "\n".join(student.cleared(cell.source) for cell in sheet.cells)
    lines = {line.strip() for line in hidden.splitlines() if len(line.strip()) > 8}
    lines -= {line.strip() for line in elsewhere.splitlines()}
    assert lines
    edition = student.student_edition(sheet)
    text = "\n".join(cell.source for cell in edition.cells)
    assert not [line for line in lines if line in text]
    assert not any(cell.get("outputs") for cell in edition.cells)
    assert "SOLUTION" not in text


@each_sheet
def test_the_metadata_of_nbgrader_are_in_place(path):
    edition = student.student_edition(nbformat.read(path, as_version=4))
    graded = [cell for cell in edition.cells if "nbgrader" in cell.metadata]
    assert len(graded) == 2 * sum(cell.id.startswith("exercise-") for cell in edition.cells)
    for answer, grade in zip(graded[::2], graded[1::2], strict=True):
        assert student.STUB.splitlines()[1] in answer.source
        assert (answer.metadata.nbgrader.solution, answer.metadata.nbgrader.locked) == (True, False)
        assert (grade.metadata.nbgrader.grade, grade.metadata.nbgrader.points) == (True, 1)
        assert re.fullmatch(r'check\("[\w.]+", \w+\)', grade.source)


@pytest.mark.slow
@each_sheet
def test_untouched_it_runs_and_says_not_attempted(path, tmp_path):
    edition = student.student_edition(nbformat.read(path, as_version=4))
    code = "\n".join(
        f"print({cell.source})" if cell.id.startswith("grade-") else cell.source
        for cell in edition.cells
        if cell.cell_type == "code" and not cell.id.startswith("draw-")
    )
    (tmp_path / "sheet.py").write_text(code, encoding="utf-8")
    result = run_python(tmp_path / "sheet.py")
    verdicts = [line.partition(":")[0] for line in result.splitlines() if re.match(r"\w+\.\d+, ", line)]
    assert verdicts
    assert all(verdict.endswith(", not attempted") for verdict in verdicts), result


@each_sheet
def test_with_the_solutions_pasted_back_it_is_the_sheet(path):
    """Of which nbval says that it passes."""
    sheet = nbformat.read(path, as_version=4)
    solved, given = (
        [cell for cell in s.cells if cell.cell_type == "code"] for s in (sheet, student.student_edition(sheet))
    )
    assert [cell.id for cell in given] == [cell.id for cell in solved]
    apart = [cell.id for cell, ours in zip(given, solved, strict=True) if cell.source != ours.source]
    assert apart == [cell.id for cell in solved if student.solutions(cell.source)]
    assert all(name.startswith("answer-") for name in apart)
    judged = [cell for cell in solved if cell.id.startswith("grade-")]
    assert judged
    assert all(", right" in "".join(map(str, cell.outputs)) for cell in judged)


def run_python(script: Path) -> str:
    settings = os.environ | run.SETTINGS | {"MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_edition_has_every_chapter_and_what_it_links_to(tmp_path):
    sheets = student.write(tmp_path / "student")
    assert [sheet.name for sheet in sheets] == [sheet.name for sheet in SHEETS]
    there = {path.name for path in (tmp_path / "student").iterdir()}
    assert there == {path.name for path in run.NOTEBOOKS.iterdir() if path.suffix in (".ipynb", ".md")}
